"""Text to speech: silence is only for texts without words, and speech ends."""

import numpy as np
import pytest

from mimi_mqtt.errors import ProviderBadAnswer
from mimi_mqtt.providers.contract.provider import speaks
from mimi_mqtt.providers.contract.tts import MAX_SPEECH_S, SpeechChunk, has_words
from tests.unit.providers.fakes import FakeTts, chunk, collect


async def test_chunks_pass_through_in_order() -> None:
    tts = FakeTts([chunk(1, 2), chunk(3)])
    assert [list(part.pcm) for part in await collect(tts.speak("hello"))] == [[1, 2], [3]]


async def test_empty_chunks_are_dropped() -> None:
    tts = FakeTts([chunk(), chunk(3)])
    assert [list(part.pcm) for part in await collect(tts.speak("hello"))] == [[3]]


@pytest.mark.parametrize("text", ["", "  \n", "…", "🙂", "?!"])
async def test_a_text_without_words_is_silence_and_asks_nobody(text: str) -> None:
    tts = FakeTts([chunk(1)])
    assert await collect(tts.speak(text)) == []
    assert tts.asked == []


@pytest.mark.parametrize("text", ["hello", "5", "你好", "xin chào", "привет", "สวัสดี"])
def test_words_of_any_script_are_speakable(text: str) -> None:
    assert has_words(text)


async def test_no_speech_for_words_is_a_bad_answer() -> None:
    with pytest.raises(ProviderBadAnswer):
        await collect(FakeTts([]).speak("hello"))


async def test_endless_speech_is_cut_off() -> None:
    minute = SpeechChunk(np.zeros(60 * 8_000, np.int16), 8_000)
    tts = FakeTts([minute] * (int(MAX_SPEECH_S // 60) + 1))
    with pytest.raises(ProviderBadAnswer):
        await collect(tts.speak("hello"))


async def test_check_says_how_much_was_spoken() -> None:
    tts = FakeTts([SpeechChunk(np.zeros(8_000, np.int16), 16_000)])
    assert await tts.check() == "0.5 s of speech at 16000 Hz"


@pytest.mark.parametrize(
    ("languages", "language", "expected"),
    [
        (None, "vi", True),
        (frozenset({"en"}), None, True),
        (frozenset({"en-US"}), "en", True),
        (frozenset({"en"}), "en_GB", True),
        (frozenset({"en"}), "EN-gb", True),
        (frozenset({"en", "de"}), "vi", False),
    ],
)
def test_languages_match_by_primary_subtag(
    languages: frozenset[str] | None, language: str | None, expected: bool
) -> None:
    assert speaks(languages, language) is expected
