"""Speech to text by pocketsphinx in a child process: English, no key, no internet.

Commands of the offline assistant are understood by a grammar, everything else by the general model, which is
old and makes many mistakes; see `sphinx.decoder` for how the two are weighed.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from importlib.util import find_spec

import numpy as np
from pydantic import Field

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import ProviderError, ProviderNotConfigured
from mimi_mqtt.providers.contract.provider import ProviderOptions
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.contract.stt import SpeechToText, SttCapabilities
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.providers.vendors.offline.sphinx.messages import Heard
from mimi_mqtt.providers.vendors.offline.sphinx.pool import Job, Pool
from mimi_mqtt.providers.vendors.offline.sphinx.span import SpeechSpan

_LANGUAGE = "en"


class PocketSphinxOptions(ProviderOptions):
    """Options of `providers.options.offline` for hearing."""

    stt_workers: int = Field(1, ge=1, le=16)
    """Decoding processes at most, each of about 150 MB; a further one is started when all are busy. While
    utterances have to wait for long ones, and some seconds after, there is one more for the short ones."""


class PocketSphinx(SpeechToText):
    """Understands English whatever the language hint; the transcript names it where a command matched.

    An utterance of at most nine seconds is decoded in whole, which normalises it best; a longer one in
    pieces. That begins when the speaker pauses, so that the result is usually there when the end of the
    utterance is decided.
    """

    Options = PocketSphinxOptions
    packages = ("pocketsphinx",)
    extra = "offline"
    capabilities = SttCapabilities(streaming=True, languages=frozenset({_LANGUAGE}))
    standby = True
    last_resort = True

    def __init__(self, name: str, options: PocketSphinxOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self._pool = Pool(name, options.stt_workers)

    @property
    def busy(self) -> bool:
        """See `SpeechToText`."""
        return self._pool.busy

    @property
    def pids(self) -> tuple[int, ...]:
        """The decoding processes that are there."""
        return self._pool.pids

    async def start(self) -> None:
        """Begins to load the models in a child; the first utterance waits for it.

        Raises ProviderNotConfigured when the package is missing.
        """
        if find_spec("pocketsphinx") is None:
            raise ProviderNotConfigured(
                self.name, "the Python package pocketsphinx is missing: pip install 'mimi-mqtt[offline]'"
            )
        self._pool.start()

    async def aclose(self) -> None:
        """Ends the children."""
        await self._pool.aclose()

    async def _transcribe(
        self, audio: AsyncIterator[Pcm], language: str | None
    ) -> AsyncGenerator[Transcript, None]:
        utterance = _Utterance(self._pool)
        shown = ""
        try:
            async for pcm in audio:
                utterance.push(pcm)
                if utterance.guess != shown:
                    shown = utterance.guess
                    yield Transcript(shown, final=False)
            heard = await utterance.finish()
        finally:
            utterance.close()
        # Other languages are heard as English, too, but hardly ever as a command.
        language = _LANGUAGE if heard.command else None
        yield Transcript(heard.text, final=True, language=language, confidence=heard.confidence)


class _Utterance:
    """The audio of one utterance, and the job that decodes it."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._span = SpeechSpan()
        self._chunks: list[Pcm] = []
        self._job: Job | None = None
        self._decoded_to = -1  # the frame after the speech that is being, or was, decoded

    @property
    def guess(self) -> str:
        """The text while the speaker pauses; empty as soon as the speaker goes on."""
        if self._job is None or self._span.pause != self._decoded_to:
            return ""
        if not self._job.result.done() or self._job.result.exception() is not None:
            return ""
        return self._job.result.result().text

    def push(self, pcm: Pcm) -> None:
        """Adds audio; at a pause the decoding of the audio so far begins."""
        self._chunks.append(pcm)
        self._span.push(pcm)
        end = self._span.pause
        if end is not None and end != self._decoded_to:
            self._decode(end, urgent=False)

    async def finish(self) -> Heard:
        """The transcript of all audio. Raises ProviderError."""
        if self._span.silent:
            return Heard("", False, None)
        end = self._span.pause
        if self._job is not None and end == self._decoded_to:
            self._pool.hurry(self._job)
            # A guess may have failed with its child; the whole is worth another try.
            with suppress(ProviderError):
                return await self._job.result
        return await self._decode(-1, urgent=True).result

    def close(self) -> None:
        """Drops the job that is no longer needed, if there is one."""
        if self._job is not None:
            self._pool.give_up(self._job)

    def _decode(self, end: int, *, urgent: bool) -> Job:
        self.close()
        first, last = self._span.bounds()
        pcm = np.concatenate(self._chunks)
        self._chunks = [pcm]
        self._job = self._pool.submit(pcm[first:last], urgent=urgent)
        self._decoded_to = end
        return self._job
