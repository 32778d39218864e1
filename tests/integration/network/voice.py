"""A voice of tones: what is said, heard and answered are notes, which survive loss and show order.

Loaded by the server's registry in place of vendors: all else of the server is real. `stage` is what a test
has happen before the transcript and before the answer.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.providers.contract.chat import ChatMessage, ChatOptions, LlmEvent, TextDelta, ToolSpec
from mimi_mqtt.providers.contract.llm import LanguageModel
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.contract.stt import SpeechToText, SttCapabilities
from mimi_mqtt.providers.contract.tts import SpeechChunk, TextToSpeech, TtsCapabilities, VoiceOptions
from mimi_mqtt.providers.contract.vad import VadStream, VoiceActivityDetector

NOTES: Final = {"do": 400.0, "re": 620.0, "mi": 960.0, "fa": 1_500.0, "so": 2_300.0}
SAID_MS: Final = 360
"""A note of the user's: six frames, so that a burst of losses leaves some of it."""
ANSWERED_MS: Final = 240
_WINDOW_MS: Final = 40
_LEAST_WINDOWS: Final = 2
_LOUD: Final = 500.0
_CLEAR: Final = 0.25  # of all of the spectrum
_RATE: Final = 24_000


@dataclass
class Stage:
    """What happens in a turn besides; the answer is the tune, `times` over."""

    before_transcript: Callable[[], Awaitable[None]] | None = None
    before_answer: Callable[[], Awaitable[None]] | None = None
    times: int = 1


stage = Stage()


def sound(tune: str, rate: int, note_ms: int) -> Pcm:
    """The notes among the words of `tune`."""
    time = np.arange(rate * note_ms // 1000) / rate
    tones = [
        (8_000 * np.sin(2 * np.pi * NOTES[word] * time)).astype(np.int16)
        for word in tune.lower().replace(".", " ").split()
        if word in NOTES
    ]
    return np.concatenate(tones) if tones else np.zeros(0, np.int16)


def notes(pcm: Pcm, rate: int) -> str:
    """The notes in `pcm`, each once however long it sounds."""
    size = rate * _WINDOW_MS // 1000
    windows = pcm[: pcm.size // size * size].reshape(-1, size).astype(np.float64)
    spectra = np.abs(np.fft.rfft(windows * np.hanning(size)))
    bins = {name: round(hertz * size / rate) for name, hertz in NOTES.items()}
    heard: list[str] = []
    for window, spectrum in zip(windows, spectra, strict=True):
        levels = {name: float(spectrum[at - 1 : at + 2].sum()) for name, at in bins.items()}
        best = max(levels, key=lambda name: levels[name])
        clear = float(np.abs(window).mean()) > _LOUD and levels[best] > _CLEAR * spectrum.sum()
        heard.append(best if clear else "")
    runs = [(name, len(list(run))) for name, run in groupby(filter(None, heard))]
    long_enough = [name for name, length in runs if length >= _LEAST_WINDOWS]
    return " ".join(name for name, _ in groupby(long_enough))


class LoudnessVad(VoiceActivityDetector):
    """Takes for speech what is loud."""

    def open(self) -> VadStream:
        return VadStream()

    def probabilities(self, batch: Sequence[tuple[VadStream, Pcm]]) -> list[float]:
        return [float(np.abs(pcm.astype(np.int32)).mean() > _LOUD) for _, pcm in batch]


class NoteStt(SpeechToText):
    """Understands notes."""

    capabilities = SttCapabilities(streaming=False)

    async def _transcribe(self, audio: AsyncIterator[Pcm], language: str | None) -> AsyncIterator[Transcript]:
        pieces = [piece async for piece in audio]
        if stage.before_transcript is not None:
            await stage.before_transcript()
        yield Transcript(notes(np.concatenate(pieces), self.capabilities.sample_rate), final=True)


class NoteLlm(LanguageModel):
    """Repeats the notes, as often as the stage says."""

    async def _chat(
        self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec], options: ChatOptions
    ) -> AsyncIterator[LlmEvent]:
        if stage.before_answer is not None:
            await stage.before_answer()
        for _ in range(stage.times):
            yield TextDelta(f"{messages[-1].content}. ")


class NoteTts(TextToSpeech):
    """Speaks notes; a text without any is the note do."""

    capabilities = TtsCapabilities(streaming=True)

    async def _synthesize(self, text: str, voice: VoiceOptions) -> AsyncIterator[SpeechChunk]:
        spoken = sound(text, _RATE, ANSWERED_MS)
        yield SpeechChunk(spoken if spoken.size else sound("do", _RATE, ANSWERED_MS), _RATE)
