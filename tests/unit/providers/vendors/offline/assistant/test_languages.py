"""The offline assistant in nine languages beside English: what a recogniser writes, and what is done."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.providers.contract.chat import ChatOptions, ToolSpec
from mimi_mqtt.providers.vendors.offline.assistant.languages import OTHERS, pack
from mimi_mqtt.providers.vendors.offline.assistant.languages.pack import INTENTS, LONGEST_QUESTION, REPLIES
from tests.unit.providers.vendors.offline.assistant.dialogue import (
    GET_STATUS,
    SET_BRIGHTNESS,
    SET_VOLUME,
    TOOLS,
    Answer,
    ask,
)

PHRASES = Path(__file__).parent / "phrases"
END = ToolSpec("end_conversation", "", {"type": "object", "properties": {}})


def table(language: str) -> Mapping[str, Any]:
    loaded: Mapping[str, Any] = yaml.safe_load((PHRASES / f"{language}.yaml").read_text(encoding="utf-8"))
    return loaded


def rows(kind: str) -> list[Any]:
    """`(language, phrase)`, or `(language, phrase, value)`."""
    made = []
    for language in OTHERS:
        found = table(language)[kind]
        for phrase in found:
            values = (found[phrase],) if isinstance(found, dict) else ()
            made.append(pytest.param(language, phrase, *values, id=f"{language}-{phrase}"))
    return made


async def said(language: str, phrase: str) -> Answer:
    answer = await ask(phrase, options=ChatOptions(language=language))
    assert answer.languages == {language}
    return answer


def reply(language: str, key: str) -> tuple[str, ...]:
    texts = pack(language).replies[key]
    return (texts,) if isinstance(texts, str) else texts


@pytest.mark.parametrize("language", OTHERS)
def test_every_language_has_sixty_phrases_and_all_that_is_needed(language: str) -> None:
    found = dict(table(language))
    talk = found.pop("talk")
    count = sum(map(len, found.values())) + sum(map(len, talk.values()))
    assert count >= 60
    assert set(pack(language).intents) == set(INTENTS)
    assert set(pack(language).replies) == set(REPLIES)


@pytest.mark.parametrize(("language", "phrase", "seconds"), rows("timers"))
async def test_timers_are_set(language: str, phrase: str, seconds: int) -> None:
    answer = await said(language, phrase)
    assert answer.calls == [("set_timer", {"seconds": seconds, "label": ""})]
    assert pack(language).duration(seconds) in answer.text


@pytest.mark.parametrize(("language", "phrase"), rows("cancel"))
async def test_timers_are_cancelled(language: str, phrase: str) -> None:
    answer = await said(language, phrase)
    assert answer.calls == [("cancel_timer", {"label": ""})]
    assert answer.text in reply(language, "cancelled")


@pytest.mark.parametrize(("language", "phrase"), rows("list"))
async def test_timers_are_told(language: str, phrase: str) -> None:
    answer = await said(language, phrase)
    assert answer.calls == [("list_timers", {})]
    assert pack(language).duration(20) in answer.text


@pytest.mark.parametrize(("language", "phrase"), rows("ask"))
async def test_a_timer_without_a_time_is_asked_about(language: str, phrase: str) -> None:
    answer = await said(language, phrase)
    assert answer.calls == []
    assert answer.text in reply(language, "how long")


@pytest.mark.parametrize(("language", "phrase", "value"), rows("sums"))
async def test_sums_are_right(language: str, phrase: str, value: str) -> None:
    (text,) = reply(language, "sum")
    assert (await said(language, phrase)).text == text.format(value=value)


@pytest.mark.parametrize(("language", "phrase"), rows("zero"))
async def test_nobody_divides_by_zero(language: str, phrase: str) -> None:
    assert (await said(language, phrase)).text in reply(language, "zero")


@pytest.mark.parametrize(("language", "phrase"), rows("time"))
async def test_the_time_is_told(language: str, phrase: str) -> None:
    text = (await said(language, phrase)).text
    assert "25" in text
    assert "16" in text or "4" in text


@pytest.mark.parametrize(("language", "phrase"), rows("date"))
async def test_the_date_is_told(language: str, phrase: str) -> None:
    text = (await said(language, phrase)).text
    assert "21" in text
    assert "2026" in text


@pytest.mark.parametrize(("language", "phrase", "value"), rows("volume"))
async def test_the_volume_is_set(language: str, phrase: str, value: int) -> None:
    answer = await said(language, phrase)
    assert answer.calls == [(SET_VOLUME, {"volume": value})]
    assert str(value) in answer.text


@pytest.mark.parametrize(("language", "phrase"), rows("volume_up"))
async def test_it_becomes_louder(language: str, phrase: str) -> None:
    assert (await said(language, phrase)).calls == [(GET_STATUS, {}), (SET_VOLUME, {"volume": 80})]


@pytest.mark.parametrize(("language", "phrase"), rows("volume_down"))
async def test_it_becomes_quieter(language: str, phrase: str) -> None:
    assert (await said(language, phrase)).calls == [(GET_STATUS, {}), (SET_VOLUME, {"volume": 60})]


@pytest.mark.parametrize(("language", "phrase", "value"), rows("brightness"))
async def test_the_brightness_is_set(language: str, phrase: str, value: int) -> None:
    assert (await said(language, phrase)).calls == [(SET_BRIGHTNESS, {"brightness": value})]


@pytest.mark.parametrize(("language", "phrase"), rows("battery"))
async def test_the_battery_is_told(language: str, phrase: str) -> None:
    assert "81" in (await said(language, phrase)).text


@pytest.mark.parametrize(("language", "phrase", "words"), rows("repeat"))
async def test_words_are_repeated(language: str, phrase: str, words: str) -> None:
    assert (await said(language, phrase)).words == words


@pytest.mark.parametrize(
    ("language", "intent", "phrase"),
    [
        pytest.param(language, intent, phrase, id=f"{language}-{phrase}")
        for language in OTHERS
        for intent, phrases in table(language)["talk"].items()
        for phrase in phrases
    ],
)
async def test_small_talk_is_answered(language: str, intent: str, phrase: str) -> None:
    key = "greeting" if intent == "hello" else intent
    texts = [text.format(name="MiMi") for text in reply(language, key)]
    assert (await said(language, phrase)).text in texts


@pytest.mark.parametrize(("language", "phrase"), rows("unknown"))
async def test_what_is_not_known_is_admitted(language: str, phrase: str) -> None:
    answer = await said(language, phrase)
    assert answer.calls == []
    assert answer.text in reply(language, "unknown")


@pytest.mark.parametrize("language", OTHERS)
async def test_a_goodbye_ends_the_conversation(language: str) -> None:
    phrase = table(language)["talk"]["goodbye"][0]
    options = ChatOptions(language=language)
    answer = await ask(
        phrase, tools=[*TOOLS, END], results={END.name: "The conversation ends."}, options=options
    )
    assert answer.calls == [(END.name, {})]


@pytest.mark.parametrize("language", OTHERS)
@pytest.mark.parametrize("kind", ["time", "sums"])
async def test_another_language_than_the_turns_is_understood_too(language: str, kind: str) -> None:
    """A recogniser that does not tell the language leaves the turn's."""
    phrase = next(phrase for phrase in table(language)[kind] if any(map(str.isalpha, phrase)))
    answer = await ask(phrase, options=ChatOptions(language="en"))
    assert answer.calls or answer.languages == {language} or language in ("es", "pt")


@pytest.mark.parametrize("language", OTHERS)
def test_long_inputs_are_cut_and_end_soon(language: str) -> None:
    for text in (
        "1 " * 5_000,
        "1+" * 5_000,
        "a " * 5_000,
        "半" * 5_000,
        "√" * 5_000,
        "(" * 5_000,
        "-" * 5_000,
    ):
        assert len(pack(language).plain(text)) <= 4 * LONGEST_QUESTION


@given(st.text(max_size=80), st.sampled_from(OTHERS))
async def test_no_text_breaks_it(text: str, language: str) -> None:
    answer = await ask(text, options=ChatOptions(language=language))
    assert answer.text
