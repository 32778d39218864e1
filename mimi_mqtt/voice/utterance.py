"""One utterance on its way to who hears it, at the rate wanted there."""

from functools import partial

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.resample import Resampler
from mimi_mqtt.errors import ProviderError
from mimi_mqtt.providers.base import SpeechToText, Transcript, Transcription
from mimi_mqtt.voice.endpointing import Spoken
from mimi_mqtt.voice.hearing import HEARING_RATE


class Utterance:
    """Push heard frames (16 kHz) as they come, then `finish`. A provider that can't begin says so in
    `finish`."""

    def __init__(
        self, stt: SpeechToText, language: str, max_s: float, *, certain: bool = True, recorded: bool = False
    ) -> None:
        self._again = partial(Utterance, stt, language, max_s, certain=certain)
        self._recorded: list[Pcm] | None = [] if recorded else None
        self._failure: ProviderError | None = None
        self._transcription: Transcription | None = None
        self._streams = stt.capabilities.streaming
        rate = stt.capabilities.sample_rate
        self._resampler = Resampler(HEARING_RATE, rate) if rate != HEARING_RATE else None
        try:
            self._transcription = stt.open(language=language, certain=certain, max_s=max_s)
        except ProviderError as error:
            self._failure = error

    def push(self, pcm: Pcm) -> None:
        """Adds a frame; never blocks."""
        if self._recorded is not None:
            self._recorded.append(pcm)
        if self._transcription is not None:
            self._transcription.push(self._resampler.process(pcm) if self._resampler else pcm)

    @property
    def spoken(self) -> Spoken:
        """What the provider has understood so far."""
        transcription = self._transcription
        if transcription is None:
            return Spoken()
        return Spoken(transcription.interim, transcription.endpoint)

    async def guess(self) -> Transcript:
        """What was said so far, while more may come. Raises ProviderError.

        A provider that streams has interim text, or nothing; of one that takes audio in one piece a second
        transcription is made (when `recorded`), which is `final`.
        """
        if self._streams:
            return Transcript(self.spoken.text, final=False)
        again = self._again()
        try:
            for pcm in self._recorded or ():
                again.push(pcm)
            return await again.finish()
        finally:
            await again.aclose()

    async def finish(self) -> Transcript:
        """The final transcript. Raises ProviderError."""
        if self._failure is not None:
            raise self._failure
        if self._transcription is None:
            return Transcript("", final=True)
        if self._resampler is not None:
            self._transcription.push(self._resampler.process(np.zeros(0, np.int16), last=True))
        return await self._transcription.finish()

    async def aclose(self) -> None:
        """Cancels whatever is still running; safe after `finish`."""
        if self._transcription is not None:
            await self._transcription.aclose()
