"""The offline assistant in ten languages: what a recogniser writes, and what is done."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.providers.contract.chat import ChatMessage, ChatOptions, ToolSpec
from mimi_mqtt.providers.vendors.offline.assistant.clock import spoken_date
from mimi_mqtt.providers.vendors.offline.assistant.languages import OTHERS, pack
from mimi_mqtt.providers.vendors.offline.assistant.languages.pack import INTENTS, LONGEST_QUESTION, REPLIES
from mimi_mqtt.providers.vendors.offline.assistant.languages.reminder_words import (
    REPLIES as REMINDER_REPLIES,
)
from mimi_mqtt.providers.vendors.offline.assistant.phrases import FIXED
from tests.unit.providers.vendors.offline.assistant.dialogue import (
    GET_STATUS,
    RESULTS,
    SET_BRIGHTNESS,
    SET_VOLUME,
    TOOLS,
    Answer,
    ask,
    clock,
)

LANGUAGES = ("en", *OTHERS)
PHRASES = Path(__file__).parent / "phrases"
TIME = "It is four twenty-five in the afternoon."
END = ToolSpec("end_conversation", "", {"type": "object", "properties": {}})


def table(language: str) -> Mapping[str, Any]:
    loaded: Mapping[str, Any] = yaml.safe_load((PHRASES / f"{language}.yaml").read_text(encoding="utf-8"))
    return loaded


def rows(kind: str) -> list[Any]:
    """`(language, phrase)`, or `(language, phrase, value)`."""
    made = []
    for language in LANGUAGES:
        found = table(language).get(kind, ())
        for phrase in found:
            values = (found[phrase],) if isinstance(found, dict) else ()
            made.append(pytest.param(language, phrase, *values, id=f"{language}-{phrase}"))
    return made


async def said(language: str, phrase: str) -> Answer:
    answer = await ask(phrase, options=ChatOptions(language=language))
    assert answer.languages == {language}
    return answer


ENGLISH = {
    **FIXED,
    "name": "😊 I'm {name}, your voice assistant. Without a language model I only know a few things.",
    "cancelled": "👍 The timer is cancelled.",
    "how long": "🤔 For how long? Say, for example: set a timer for five minutes.",
    "sum": "🤓 That is {value}.",
    "about": "🤓 That is about {value}.",
    "zero": "🤔 Nobody can divide by zero, not even me.",
    "elsewhere": "🤔 I only know the time here. {time}",
    "tomorrow": "🙂 Tomorrow is {day}.",
    "yesterday": "🙂 Yesterday was {day}.",
}


def reply(language: str, key: str) -> tuple[str, ...]:
    texts = ENGLISH[key] if language == "en" else pack(language).replies[key]
    return (texts,) if isinstance(texts, str) else texts


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_a_table_of_phrases(language: str) -> None:
    found = dict(table(language))
    talk = found.pop("talk")
    assert sum(map(len, found.values())) + sum(map(len, talk.values())) >= 60
    least = {"sums": 12, "timers": 14, "time": 4, "date": 3, "clock": 4, "unknown": 4}
    assert {kind: len(found[kind]) for kind in least if len(found[kind]) < least[kind]} == {}


@pytest.mark.parametrize("language", OTHERS)
def test_every_language_has_all_that_is_needed(language: str) -> None:
    assert set(pack(language).intents) == set(INTENTS)
    assert set(pack(language).replies) == set(REPLIES)


@pytest.mark.parametrize(("language", "phrase", "seconds"), rows("timers"))
async def test_timers_are_set(language: str, phrase: str, seconds: int) -> None:
    answer = await said(language, phrase)
    assert answer.calls == [("set_timer", {"seconds": seconds, "label": ""})]
    assert language == "en" or pack(language).duration(seconds) in answer.text


@pytest.mark.parametrize(("language", "phrase"), rows("cancel"))
async def test_timers_are_cancelled(language: str, phrase: str) -> None:
    answer = await said(language, phrase)
    ((tool, arguments),) = answer.calls
    assert (tool, arguments["which"] in ("timer", "alarm")) == ("cancel_reminder", True)
    removed = (
        "👍 The timer is cancelled." if language == "en" else pack(language).reminders.replies["removed"]
    )
    assert answer.text in (*reply(language, "cancelled"), removed)


@pytest.mark.parametrize(("language", "phrase"), rows("list"))
async def test_timers_are_told(language: str, phrase: str) -> None:
    answer = await said(language, phrase)
    assert answer.calls == [("list_reminders", {})]
    assert ("20 seconds" if language == "en" else pack(language).duration(20)) in answer.text


@pytest.mark.parametrize(("language", "phrase"), rows("left"))
async def test_time_left_is_that_of_the_timers(language: str, phrase: str) -> None:
    assert (await said(language, phrase)).calls == [("list_reminders", {})]


@pytest.mark.parametrize(("language", "phrase", "told"), rows("labels"))
async def test_timers_have_names(language: str, phrase: str, told: tuple[str, str]) -> None:
    ((tool, arguments),) = (await said(language, phrase)).calls
    assert (tool, arguments["label" if tool == "set_timer" else "which"]) == tuple(told)


@pytest.mark.parametrize(("language", "phrase", "time"), rows("clock"))
async def test_alarms_ring_at_a_time_of_day(language: str, phrase: str, time: str) -> None:
    answer = await said(language, phrase)
    ((tool, arguments),) = answer.calls
    now, at = clock(None), datetime.strptime(time.removesuffix(" pm"), "%H:%M")
    due = now.replace(hour=at.hour + (12 if time.endswith(" pm") else 0), minute=at.minute)
    due += timedelta(days=due <= now)
    assert (tool, arguments["time"]) == ("set_reminder", f"{due:%Y-%m-%dT%H:%M}")
    assert pack(language).at(due) in answer.text


@pytest.mark.parametrize(("language", "phrase", "told"), rows("reminders"))
async def test_reminders_are_set(language: str, phrase: str, told: tuple[str, str, str]) -> None:
    time, text, repeat = told
    answer = await said(language, phrase)
    assert answer.calls == [("set_reminder", {"time": time, "text": text, "repeat": repeat})]
    assert text in answer.text
    assert pack(language).at(datetime.fromisoformat(time)) in answer.text


@pytest.mark.parametrize(("language", "phrase"), rows("reminders_without_time"))
async def test_a_time_that_is_missing_is_asked_for(language: str, phrase: str) -> None:
    answer = await said(language, phrase)
    assert (answer.calls, answer.text) == ([], pack(language).reminders.replies["when"])


SHOWN = (
    '{"id": "1", "kind": "timer", "name": "tea timer", "label": "tea", "seconds_left": 60}',
    '{"id": "2", "kind": "alarm", "time": "2026-11-23T07:30", "repeat": "FREQ=DAILY"}',
    '{"id": "3", "kind": "reminder", "time": "2026-11-22T09:00", "text": "Anna"}',
    '{"id": "4", "kind": "reminder", "time": "2026-11-23T10:00", "text": "Rex", '
    '"repeat": "FREQ=WEEKLY;BYDAY=MO,TH"}',
    '{"id": "5", "kind": "reminder", "time": "2026-11-25T11:00", "text": "Otto", "repeat": "FREQ=YEARLY"}',
)


@pytest.mark.parametrize(("language", "phrase"), rows("reminders_shown"))
async def test_reminders_are_told(language: str, phrase: str) -> None:
    results = {**RESULTS, "list_reminders": "\n".join(SHOWN)}
    answer = await ask(phrase, results=results, options=ChatOptions(language=language))
    words = pack(language).reminders
    assert answer.calls == [("list_reminders", {})]
    names = [words.names[day] for day in (0, 3)]
    for told in (
        "Anna",
        words.said_tomorrow,
        "Rex",
        *names,
        "Otto",
        pack(language).at(datetime(2026, 11, 25, 11)),
    ):
        assert told in answer.text
    assert "tea" not in answer.text
    nothing = await ask(phrase, options=ChatOptions(language=language))
    assert nothing.text == words.replies["nothing"]


@pytest.mark.parametrize(("language", "phrase", "which"), rows("reminders_cancelled"))
async def test_alarms_and_reminders_are_cancelled(language: str, phrase: str, which: str) -> None:
    assert (await said(language, phrase)).calls == [("cancel_reminder", {"which": which})]


@pytest.mark.parametrize(("language", "phrase", "told"), rows("reminders_changed"))
async def test_alarms_and_reminders_are_moved(language: str, phrase: str, told: tuple[str, str]) -> None:
    answer = await said(language, phrase)
    assert answer.calls == [("change_reminder", {"which": told[0], "time": told[1]})]
    moved = datetime.strptime(told[1], "%H:%M").replace(year=2026)
    assert pack(language).at(moved) in answer.text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", ["reminders", "reminders_shown", "reminders_cancelled", "reminders_changed"])
async def test_what_is_refused_or_can_not_be_done_is_said(language: str, kind: str) -> None:
    phrase = next(iter(table(language)[kind]))
    failed = dict.fromkeys(RESULTS, "error: no")
    options = ChatOptions(language=language)
    refused = await ask(phrase, results=failed, options=options)
    assert len(refused.calls) == 1
    assert refused.text.startswith(("😔", "🤔"))
    without = await ask(phrase, tools=(), options=options)
    assert (without.calls, without.text) == ([], pack(language).replies["no timers"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_its_words_for_reminders(language: str) -> None:
    words = pack(language).reminders
    assert set(words.replies) == set(REMINDER_REPLIES)
    assert (len(words.days), len(words.names)) == (7, 7)


@pytest.mark.parametrize(
    ("language", "phrase", "at"),
    [
        ("de", "Erinnere mich um fünf Uhr ans Essen.", 17),
        ("es", "Avísame a las cinco.", 17),
        ("fr", "Rappelle-moi à cinq heures.", 17),
        ("pt", "Me avise às cinco horas.", 17),
        ("vi", "Nhắc tôi lúc 5 giờ.", 17),
        ("ru", "Напомни мне в пять часов.", 17),
        ("ja", "5時に教えて。", 17),
        ("zh", "五点提醒我。", 17),
        ("ko", "다섯 시에 알려 줘.", 17),
        ("zh", "三点提醒我。", 3),
        ("zh", "凌晨五点提醒我。", 5),
        ("de", "Weck mich um fünf Uhr.", 5),
        ("ru", "Поставь будильник на 5:00.", 5),
        ("ja", "5時に起こして。", 5),
        ("zh", "五点叫醒我。", 5),
        ("ru", "Напомни мне утром в семь часов.", 7),
        ("ru", "Напомни мне вечером в семь часов.", 19),
        ("fr", "Rappelle-moi le matin à sept heures.", 7),
        ("fr", "Rappelle-moi ce soir à sept heures.", 19),
        ("pt", "Me lembre de manhã às sete horas.", 7),
        ("pt", "Me lembre à noite às sete horas.", 19),
        ("es", "Avísame por la mañana a las siete.", 7),
        ("es", "Avísame esta noche a las siete.", 19),
        ("de", "Erinnere mich morgens um sieben Uhr.", 7),
        ("de", "Erinnere mich um fünf Uhr an den Wecker.", 17),
        ("ja", "明け方5時に教えて。", 5),
        ("ja", "5時に会議のリマインダーをセットして。", 17),
        ("zh", "清早六点提醒我。", 6),
        ("zh", "五点提醒我叫我妈妈。", 17),
        ("vi", "Nhắc tôi lúc 7 giờ sáng.", 7),
        ("ko", "오전 일곱 시에 알려 줘.", 7),
    ],
)
async def test_an_hour_without_morning_or_evening_is_the_next_of_both(
    language: str, phrase: str, at: int
) -> None:
    """`clock` is at 16:25; who wants to be woken up means the morning."""
    ((tool, arguments),) = (await said(language, phrase)).calls
    now = clock(None)
    due = now.replace(hour=at, minute=0, second=0, microsecond=0)
    due += timedelta(days=due <= now)
    assert (tool, arguments["time"]) == ("set_reminder", f"{due:%Y-%m-%dT%H:%M}")


@pytest.mark.parametrize("language", OTHERS)
async def test_an_alarm_may_be_more_than_a_day_away(language: str) -> None:
    """`clock` is at 16:25 on the 21st."""
    phrase = {
        "de": "Weck mich morgen um 20 Uhr.",
        "es": "Despiértame mañana a las 20:00.",
        "fr": "Réveille-moi demain à 20h.",
        "pt": "Me acorde amanhã às 20:00.",
        "vi": "Ngày mai đánh thức tôi lúc 20 giờ.",
        "ru": "Разбуди меня завтра в 20:00.",
        "ja": "明日20時に起こして。",
        "zh": "明天20点叫我。",
        "ko": "내일 20시에 깨워 줘.",
    }[language]
    answer = await said(language, phrase)
    assert answer.calls == [("set_reminder", {"time": "2026-11-22T20:00", "text": "", "repeat": ""})]
    assert pack(language).reminders.said_tomorrow in answer.text


@pytest.mark.parametrize(("language", "phrase"), rows("too_long"))
async def test_a_timer_of_more_than_a_day_is_refused(language: str, phrase: str) -> None:
    answer = await said(language, phrase)
    assert answer.calls == []
    assert answer.text in reply(language, "too long")


@pytest.mark.parametrize(("language", "phrase"), rows("ask"))
async def test_a_timer_without_a_time_is_asked_about(language: str, phrase: str) -> None:
    answer = await said(language, phrase)
    assert answer.calls == []
    assert answer.text in reply(language, "how long")


@pytest.mark.parametrize(("language", "phrase", "value"), rows("sums"))
async def test_sums_are_right(language: str, phrase: str, value: str) -> None:
    (text,) = reply(language, "sum")
    assert (await said(language, phrase)).text == text.format(value=value)


@pytest.mark.parametrize(("language", "phrase", "value"), rows("about"))
async def test_rounded_results_are_said_to_be(language: str, phrase: str, value: str) -> None:
    (text,) = reply(language, "about")
    assert (await said(language, phrase)).text == text.format(value=value)


@pytest.mark.parametrize(("language", "phrase"), rows("zero"))
async def test_nobody_divides_by_zero(language: str, phrase: str) -> None:
    assert (await said(language, phrase)).text in reply(language, "zero")


@pytest.mark.parametrize(("language", "phrase"), rows("time"))
async def test_the_time_is_told(language: str, phrase: str) -> None:
    text = (await said(language, phrase)).text
    assert text == f"🙂 {TIME if language == 'en' else pack(language).time(clock(None))}"


@pytest.mark.parametrize(("language", "phrase"), rows("elsewhere"))
async def test_the_time_elsewhere_is_not_known(language: str, phrase: str) -> None:
    (text,) = reply(language, "elsewhere")
    time = TIME if language == "en" else pack(language).time(clock(None))
    assert (await said(language, phrase)).text == text.format(time=time)


@pytest.mark.parametrize(("language", "phrase"), rows("date"))
async def test_the_date_is_told(language: str, phrase: str) -> None:
    text = (await said(language, phrase)).text
    assert "21" in text
    assert "2026" in text


@pytest.mark.parametrize(
    ("key", "days", "language", "phrase"),
    [
        pytest.param(key, days, *row.values, id=row.id)
        for key, days in (("tomorrow", 1), ("yesterday", -1))
        for row in rows(key)
    ],
)
async def test_the_days_beside_today_are_told(key: str, days: int, language: str, phrase: str) -> None:
    (text,) = reply(language, key)
    then = clock(None) + timedelta(days=days)
    day = spoken_date(then) if language == "en" else pack(language).day(then)
    assert (await said(language, phrase)).text == text.format(day=day)


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


@pytest.mark.parametrize(("language", "phrase", "value"), rows("volume_by"))
async def test_the_volume_changes_by_a_number_or_to_it(
    language: str, phrase: str, value: int | list[int]
) -> None:
    """From 70; a value in brackets is set, whatever it was before."""
    volume = value[0] if isinstance(value, list) else value
    before: list[object] = [] if isinstance(value, list) else [(GET_STATUS, {})]
    assert (await said(language, phrase)).calls == [*before, (SET_VOLUME, {"volume": volume})]


@pytest.mark.parametrize(("language", "phrase"), rows("volume_told"))
async def test_the_volume_is_told(language: str, phrase: str) -> None:
    answer = await said(language, phrase)
    assert answer.calls == [(GET_STATUS, {})]
    assert answer.text in {text.format(value=70) for text in reply(language, "volume now")}


@pytest.mark.parametrize(("language", "phrase", "value"), rows("brightness"))
async def test_the_brightness_is_set(language: str, phrase: str, value: int) -> None:
    assert (await said(language, phrase)).calls == [(SET_BRIGHTNESS, {"brightness": value})]


@pytest.mark.parametrize(
    ("change", "language", "phrase"),
    [
        pytest.param(change, *row.values, id=row.id)
        for kind, change in (("brightness_up", 10), ("brightness_down", -10))
        for row in rows(kind)
    ],
)
async def test_it_becomes_brighter_and_darker(change: int, language: str, phrase: str) -> None:
    answer = await said(language, phrase)
    assert answer.calls == [(GET_STATUS, {}), (SET_BRIGHTNESS, {"brightness": 50 + change})]


@pytest.mark.parametrize(("language", "phrase"), rows("brightness_told"))
async def test_the_brightness_is_told(language: str, phrase: str) -> None:
    answer = await said(language, phrase)
    assert answer.calls == [(GET_STATUS, {})]
    assert answer.text in {text.format(value=50) for text in reply(language, "brightness now")}


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
        for language in LANGUAGES
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


@pytest.mark.parametrize("turn", ["en", "de", "es", "ru", "zh"])
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", ["timers", "sums", "time", "date", "volume"])
async def test_another_language_than_the_turns_is_understood_too(language: str, turn: str, kind: str) -> None:
    """A recogniser that does not tell the language leaves the turn's: the words decide."""
    for phrase in table(language)[kind]:
        if sum(map(str.isalpha, phrase)) > 3:
            own = await ask(phrase, options=ChatOptions(language=language))
            answer = await ask(phrase, options=ChatOptions(language=turn))
            # Words such as "silence" and "volume" are those of several languages.
            assert answer.calls == own.calls, phrase
            assert answer.calls or answer.languages == own.languages, phrase


@pytest.mark.parametrize("language", OTHERS)
async def test_the_last_answer_is_said_again(language: str) -> None:
    phrase = {
        "de": "Wiederhole das bitte.",
        "es": "¿Qué has dicho?",
        "fr": "Répète ça.",
        "pt": "Repete isso.",
        "vi": "Nhắc lại đi.",
        "ru": "Повтори ещё раз.",
        "ja": "もう一度言って。",
        "zh": "再说一遍。",
        "ko": "다시 말해 줘.",
    }[language]
    options = ChatOptions(language=language)
    before = [ChatMessage("assistant", "🙂 Eins.")]
    assert (await ask(phrase, options=options, before=before)).text == "🙂 Eins."
    assert (await ask(phrase, options=options)).text in reply(language, "how to repeat")


@pytest.mark.parametrize(("language", "phrase"), rows("again"))
async def test_there_are_several_ways_to_ask_for_the_last_answer(language: str, phrase: str) -> None:
    options = ChatOptions(language=language)
    before = [ChatMessage("assistant", "🙂 Eins.")]
    assert (await ask(phrase, options=options, before=before)).text == "🙂 Eins."


@pytest.mark.parametrize(("language", "phrase"), rows("jokes"))
async def test_there_are_several_ways_to_ask_for_a_joke(language: str, phrase: str) -> None:
    assert (await said(language, phrase)).text in reply(language, "joke")


@pytest.mark.parametrize("language", OTHERS)
async def test_a_joke_is_not_told_twice_in_a_row(language: str) -> None:
    phrase = {
        "de": "Erzähl einen Witz.",
        "es": "Cuéntame un chiste.",
        "fr": "Raconte-moi une blague.",
        "pt": "Conte uma piada.",
        "vi": "Kể chuyện cười đi.",
        "ru": "Расскажи анекдот.",
        "ja": "冗談を言って。",
        "zh": "讲个笑话。",
        "ko": "농담 해 줘.",
    }[language]
    jokes = reply(language, "joke")
    before = [ChatMessage("assistant", joke) for joke in jokes[:-1]]
    answer = await ask(phrase, options=ChatOptions(language=language), before=before)
    assert answer.text == jokes[-1]


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


@pytest.mark.parametrize("language", LANGUAGES)
async def test_long_sentences_are_answered(language: str) -> None:
    """A pattern that goes back over and over would not come to an end here."""
    found = table(language)
    phrases = [
        phrase
        for kind in ("timers", "clock", "reminders", "sums", "volume", "time", "unknown")
        for phrase in list(found[kind])[:12]
    ]
    for phrase in phrases:
        word = phrase.rstrip(".?。？")
        for text in (f"{word} " * 40, word.replace(" ", "") * 40, f"{word[:4]}" * 120 + "!"):
            assert (await ask(text, options=ChatOptions(language=language))).text


@given(st.text(max_size=80), st.sampled_from(OTHERS))
async def test_no_text_breaks_it(text: str, language: str) -> None:
    answer = await ask(text, options=ChatOptions(language=language))
    assert answer.text
