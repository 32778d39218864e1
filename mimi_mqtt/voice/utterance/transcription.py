"""Transcription of one utterance: its audio at the rate that speech to text wants, and its text."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, aclosing

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.resample import Resampler
from mimi_mqtt.errors import ProviderError
from mimi_mqtt.providers.contract.recording import (
    RecordedTranscription,
    Recording,
    Transcript,
    Transcription,
)
from mimi_mqtt.providers.contract.stt import SttCapabilities
from mimi_mqtt.voice.hearing.decoder import HEARING_RATE
from mimi_mqtt.voice.utterance.endpointing import Spoken


class Transcriber:
    """Transcriber of one utterance: `push` heard frames (16 kHz) as they come, then `finish`.

    `begin` opens a transcription by a provider with these `capabilities`; if it raises ProviderError, so does
    `finish`. `listen` transcribes a recording of what was said so far. `unheard` counts these seconds
    of audio as waiting for as long as its context lasts, or raises ProviderError.
    """

    def __init__(
        self,
        begin: Callable[[], Transcription],
        capabilities: SttCapabilities,
        listen: Callable[[Recording], AsyncGenerator[Transcript, None]] | None = None,
        unheard: Callable[[float], AbstractContextManager[None]] | None = None,
    ) -> None:
        self._listen = listen
        self._unheard = unheard
        self._streams = capabilities.streaming
        rate = capabilities.sample_rate
        self._resampler = Resampler(HEARING_RATE, rate) if rate != HEARING_RATE else None
        self._ended = False
        self._transcription: Transcription | ProviderError
        try:
            self._transcription = begin()
        except ProviderError as error:
            self._transcription = error

    def push(self, pcm: Pcm) -> None:
        """Adds a frame; never blocks."""
        if isinstance(self._transcription, Transcription) and not self._ended:
            self._transcription.push(self._resampler.process(pcm) if self._resampler else pcm)

    @property
    def spoken(self) -> Spoken:
        """The words understood so far."""
        transcription = self._transcription
        if isinstance(transcription, ProviderError):
            return Spoken()
        return Spoken(transcription.interim, transcription.endpoint)

    async def so_far(self) -> Transcript:
        """The transcript of what was said so far, while more may come. Raises ProviderError.

        A provider that streams has interim text, or nothing; one that takes audio in one piece is asked a
        second time, with the same recording, and its transcript is `final`.
        """
        transcription = self._transcription
        if isinstance(transcription, ProviderError):
            raise transcription
        if self._streams or self._listen is None or not isinstance(transcription, RecordedTranscription):
            return Transcript(self.spoken.text, final=False)
        transcript = Transcript("", final=True)
        async with aclosing(self._listen(transcription.recording.so_far())) as transcripts:
            async for part in transcripts:
                transcript = part
        return transcript

    async def finish(self) -> Transcript:
        """The final transcript. Raises ProviderError."""
        transcription = self.whole()
        if self._unheard is None or not isinstance(transcription, RecordedTranscription):
            return await transcription.finish()
        with self._unheard(transcription.recording.seconds):
            return await transcription.finish()

    def whole(self) -> Transcription:
        """The transcription, with all of the audio. Raises ProviderError when none could be opened."""
        if isinstance(self._transcription, ProviderError):
            raise self._transcription
        if self._resampler is not None and not self._ended:
            self._transcription.push(self._resampler.process(np.zeros(0, np.int16), last=True))
        self._ended = True
        return self._transcription

    async def aclose(self) -> None:
        """Cancels what still runs; safe after `finish`."""
        if isinstance(self._transcription, Transcription):
            await self._transcription.aclose()
