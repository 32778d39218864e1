"""The real detector, by what people say to a voice assistant: which is little."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from py3langid import langid

from mimi_mqtt.voice.language import detector as module
from mimi_mqtt.voice.language.detector import LANGUAGES, LanguageDetector
from mimi_mqtt.voice.language.languages import Standing, by_words
from tests.unit.voice.utterance.endpointing.utterances import NAMES, UTTERANCES


@pytest.fixture
async def detector() -> AsyncIterator[LanguageDetector]:
    made = LanguageDetector()
    yield made
    await made.aclose()


async def judged(detector: LanguageDetector, text: str, current: str) -> str:
    return by_words(await detector.probabilities(text, (current,)), Standing(current, current))


@pytest.mark.parametrize("current", sorted(LANGUAGES))
async def test_utterances_change_the_language_to_their_own_or_not_at_all(
    detector: LanguageDetector, current: str
) -> None:
    outcomes = [
        (language, await judged(detector, text, current), text)
        for language, texts in UTTERANCES.items()
        for text in texts
    ]
    assert [outcome for outcome in outcomes if outcome[1] not in (outcome[0], current)] == []
    assert [outcome for outcome in outcomes if outcome[0] == current != outcome[1]] == []
    others = [outcome for outcome in outcomes if outcome[0] != current]
    assert sum(spoken == language for language, spoken, _ in others) > 0.8 * len(others)


@pytest.mark.parametrize("current", sorted(LANGUAGES))
async def test_names_and_interjections_change_nothing(detector: LanguageDetector, current: str) -> None:
    assert [name for name in NAMES if await judged(detector, name, current) != current] == []


async def test_a_devices_own_language_is_considered_beside_the_usual_ones(detector: LanguageDetector) -> None:
    text = "hoe laat is het vandaag in Amsterdam"
    assert await judged(detector, text, "nl-NL") == "nl-NL"
    probabilities = await detector.probabilities(text, ("nl-NL",))
    assert set(probabilities) == LANGUAGES | {"nl"}
    assert sum(probabilities.values()) == pytest.approx(1)


async def test_a_very_long_text_is_judged_by_its_beginning(detector: LanguageDetector) -> None:
    beginning = "wie spät ist es jetzt gerade " * 20
    assert await detector.probabilities(beginning + "what time is it " * 10_000, ()) == pytest.approx(
        dict(await detector.probabilities(beginning, ()))
    )


async def test_without_the_package_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_model", None)
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    detector = LanguageDetector()
    assert await detector.probabilities("guten Morgen", ("en",)) == {}
    await detector.aclose()


async def test_with_half_a_model_nothing_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = langid.MODEL_DIR / langid.MODEL_FILE
    half = tmp_path / "model.npz.xz"
    half.write_bytes(whole.read_bytes()[:100_000])
    monkeypatch.setattr(module, "_model", None)
    monkeypatch.setattr(langid, "MODEL_FILE", half)
    detector = LanguageDetector()
    assert await detector.probabilities("guten Morgen", ("en",)) == {}
    await detector.aclose()


async def test_a_fault_while_loading_tells_nothing_and_loading_is_tried_again_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loads = 0

    def broken() -> None:
        nonlocal loads
        loads += 1
        raise RuntimeError("can't start new thread")

    now = 1000.0
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "time", lambda: now)
    detector = LanguageDetector()
    with monkeypatch.context() as patched:
        patched.setattr(module, "_load", broken)
        assert await detector.probabilities("guten Morgen", ("en",)) == {}
        assert await detector.probabilities("guten Morgen", ("en",)) == {}
        assert loads == 1
    now += module.AGAIN_AFTER_S
    assert set(await detector.probabilities("guten Morgen", ("en",))) == LANGUAGES
    await detector.aclose()


async def test_nothing_is_loaded_before_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[object] = []
    monkeypatch.setattr(module, "_load", lambda: loads.append(1))
    detector = LanguageDetector()
    await detector.aclose()
    assert not loads
    await detector.probabilities("guten Morgen", ())
    await detector.probabilities("guten Abend", ())
    await detector.aclose()
    assert loads == [1]
