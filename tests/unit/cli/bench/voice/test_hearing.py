"""Recognisers over many utterances, and many people who talk at once."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from mimi_mqtt.audio import Pcm
from mimi_mqtt.cli.bench.voice import talkers
from mimi_mqtt.cli.bench.voice.hearing import Utterance, heard, languages_found
from mimi_mqtt.cli.bench.voice.sentences import read
from mimi_mqtt.config.voice import VoiceSettings
from mimi_mqtt.errors import ProviderUnavailable
from mimi_mqtt.providers.contract.provider import ProviderOptions
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.contract.stt import SpeechToText, SttCapabilities
from mimi_mqtt.providers.runtime.fair_queue import current_holder
from mimi_mqtt.providers.runtime.resilience import Limits


class _OneAfterTheOther(SpeechToText):
    """Takes a second for each utterance; refuses those that would wait longer than `refuses_after`."""

    capabilities = SttCapabilities(streaming=False)

    def __init__(self, refuses_after: int = 1000) -> None:
        super().__init__("slow", ProviderOptions(), Limits(retries=0))
        self._lock = asyncio.Lock()
        self._waiting = 0
        self._refuses_after = refuses_after
        self.holders: set[str] = set()

    async def _transcribe(self, audio: AsyncIterator[Pcm], language: str | None) -> AsyncIterator[Transcript]:
        self.holders.add(current_holder())
        if self._waiting >= self._refuses_after:
            raise ProviderUnavailable(self.name, "is busy")
        self._waiting += 1
        async with self._lock:
            await asyncio.sleep(1)
        yield Transcript("turn on the light", final=True)


_SAID = [Utterance(read("Turn on the light.", command=True), np.ones(1600, np.int16))]


@pytest.mark.virtual_time
async def test_the_last_one_waits_for_all_others() -> None:
    stt = _OneAfterTheOther()
    row = await talkers.row(stt, "slow", "en", _SAID, 10)
    filler_s = VoiceSettings().filler_s
    assert row["talkers"] == 10
    assert row["one_moment"] == 10 - int(filler_s)
    assert row["refused"] == 0
    assert len(stt.holders) == 10


@pytest.mark.virtual_time
async def test_those_who_are_refused_are_counted_apart() -> None:
    row = await talkers.row(_OneAfterTheOther(refuses_after=3), "slow", "en", _SAID, 10)
    assert row["one_moment"] == 0
    assert row["refused"] == 7


@pytest.mark.virtual_time
async def test_ordinary_sentences_and_commands_are_scored_apart() -> None:
    said = [*_SAID, Utterance(read("Turn off the light."), np.ones(1600, np.int16))]
    tally = await heard(_OneAfterTheOther(), said, "en")
    figures = tally.figures("en")
    assert figures["wer_percent_commands"] == 0.0
    assert figures["wer_percent_ordinary"] == 25.0
    assert figures["wer_percent"] == 12.5
    assert figures["exact_percent"] == 50.0
    assert tally.written == [("Turn off the light.", "turn on the light")]
    assert "cer_percent" in tally.figures("ja")


class _Polyglot(SpeechToText):
    """Tells French when it may, whatever is expected."""

    capabilities = SttCapabilities(streaming=False, detects=None)

    async def _transcribe(self, audio: AsyncIterator[Pcm], language: str | None) -> AsyncIterator[Transcript]:
        yield Transcript("allume la lumière", final=True, language=language or "fr-FR")


async def test_a_language_counts_as_found_when_another_was_expected() -> None:
    stt = _Polyglot("polyglot", ProviderOptions(), Limits(retries=0))
    assert await languages_found(stt, _SAID, "fr") == 100.0
    assert await languages_found(stt, _SAID, "de") == 0.0
