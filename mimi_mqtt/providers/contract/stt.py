"""The contract of speech-to-text providers."""

from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.resample import Resampler
from mimi_mqtt.errors import ProviderBadAnswer
from mimi_mqtt.providers.contract.non_speech import words_only
from mimi_mqtt.providers.contract.provider import Provider, speaks
from mimi_mqtt.providers.contract.recording import (
    RecordedTranscription,
    Recording,
    Transcript,
    TranscriptionWait,
)
from mimi_mqtt.providers.runtime.resilience import closing_parts, resilient
from mimi_mqtt.providers.runtime.usage import count_audio

SPEECH_RATE: Final = 16_000
"""Rate of the speech that `check` takes, in Hz."""


@dataclass(frozen=True, slots=True)
class SttCapabilities:
    """`streaming`: works while the speaker speaks. `languages` None: any. `sample_rate` it wants, in Hz.

    `detects`: among these languages it finds out which is spoken; None: among all that it knows.
    """

    streaming: bool
    languages: frozenset[str] | None = None
    sample_rate: int = 16_000
    detects: frozenset[str] | None = frozenset()


class SpeechToText(Provider):
    """Speech to text. Vendors implement `_transcribe`."""

    role = "stt"
    capabilities: SttCapabilities

    @property
    def busy(self) -> bool:
        """True while an utterance of the current device (`fair_queue.current_holder`) waits for others to be
        transcribed before it."""
        return False

    def open(
        self, *, language: str | None = None, certain: bool = True, max_s: float = 30.0
    ) -> RecordedTranscription:
        """Begins an utterance of at most `max_s` seconds; `language` is a hint such as `en`.

        Not `certain`: another may be spoken, and providers that can detect it do. Nothing is asked of the
        vendor before the first audio. The caller closes it.
        """
        recording = Recording(self.capabilities.sample_rate, max_s)
        return RecordedTranscription(self.name, recording, partial(self.listen, recording, language, certain))

    async def listen(
        self, recording: Recording, language: str | None, certain: bool = True
    ) -> AsyncGenerator[Transcript, None]:
        """The transcripts of `recording`, which may still grow; the final one is last. Raises ProviderError.

        A failed request is repeated with the same audio; time-outs count from the end of the audio. One that
        takes whole utterances is asked when the utterance is over, and not at all when it is dropped before.
        """
        if not self.capabilities.streaming:
            await recording.until_ended()
        attempts = resilient(
            partial(self._one_listen, recording, language, certain),
            role=self.role,
            name=self.name,
            limits=self.limits,
            wait=partial(TranscriptionWait, recording),
            repeatable=True,
        )
        async with aclosing(attempts) as transcripts:
            async for transcript in transcripts:
                yield transcript

    async def _one_listen(
        self, recording: Recording, language: str | None, certain: bool
    ) -> AsyncIterator[Transcript]:
        audio = recording.play(self.capabilities.sample_rate, whole=not self.capabilities.streaming)
        if language is None or certain or not speaks(self.capabilities.detects, language):
            heard = self._transcribe(audio, language)
        else:
            heard = self._detect(audio, language)
        async with closing_parts(heard) as transcripts:
            async for transcript in transcripts:
                if transcript.final:
                    count_audio(self.name, recording.seconds, self.price)
                yield replace(transcript, text=words_only(transcript.text))
                if transcript.final:
                    return
        raise ProviderBadAnswer(self.name, "ended without a final transcript")

    @abstractmethod
    def _transcribe(self, audio: AsyncIterator[Pcm], language: str | None) -> AsyncIterator[Transcript]:
        """Yields interim transcripts, if it can, and the final one last.

        `audio` comes as it is spoken when the capabilities say `streaming`, else in one piece after the end;
        it is never empty. Raises ProviderError kinds; anything else is a bug that ends the request.

        The transcript's language is what the vendor says, or was made to listen for; None where neither is
        known.
        """

    def _detect(self, audio: AsyncIterator[Pcm], likely: str) -> AsyncIterator[Transcript]:
        """`_transcribe` with detection of the language, most likely `likely`: for vendors that take a
        hint that doesn't bind them."""
        return self._transcribe(audio, None)

    async def check(self, speech: Pcm | None = None) -> str:
        """Transcribes `speech` (16 kHz), or without it half a second of a quiet tone.

        A tone says less: recognisers that are made for speech may search for words in it for long.
        """
        rate = self.capabilities.sample_rate
        if speech is None:
            sound = (1000 * np.sin(2 * np.pi * 220 * np.arange(rate // 2) / rate)).astype(np.int16)
        else:
            sound = Resampler(SPEECH_RATE, rate).process(speech, last=True)
        transcription = self.open(max_s=sound.size / rate + 1.0)
        try:
            transcription.push(sound)
            transcript = await transcription.finish()
        finally:
            await transcription.aclose()
        return (
            f"understood {transcript.text!r}" if speech is not None else "half a second of audio understood"
        )
