"""An utterance for a speech-to-speech service: recorded, streamed, and streamed again after a reconnect."""

import asyncio
from dataclasses import replace
from functools import partial
from typing import Protocol

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import ProviderError, ProviderTimeout, ProviderUnavailable
from mimi_mqtt.providers.contract.recording import Recording, Transcript
from mimi_mqtt.providers.contract.s2s import SpeechDuplex, SpeechUtterance
from mimi_mqtt.providers.runtime.realtime.connection import Connection
from mimi_mqtt.providers.runtime.resilience import Limits, retry_delay


class CarriesUtterances(Protocol):
    """The session, as its utterances use it."""

    name: str
    limits: Limits

    def understood(self, utterance: "DuplexUtterance") -> None:
        """Takes note of the utterance's final text."""

    async def ready(self) -> tuple[Connection, bool]:
        """A live connection; the second part is not used here. Raises ProviderError."""


class DuplexUtterance(SpeechUtterance):
    """Streams its recording to the session's connection from the first audio on; to the next if need be."""

    def __init__(
        self, session: CarriesUtterances, name: str, rate: int, language: str | None, max_s: float
    ) -> None:
        self.name = name
        self.recording = Recording(rate, max_s)
        self.answered = False
        """True once an answer to it was requested, so that it stays in the service's memory."""
        self.reported = False
        """True when its text was passed on with an answer."""
        self.final: Transcript | None = None
        self._session = session
        self._language = language
        self._latest = Transcript("", final=False)
        self._failure: ProviderError | None = None
        self._changed = asyncio.Event()
        self._connection: Connection | None = None
        self._streaming: asyncio.Task[None] | None = None
        self._sending: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def over(self) -> bool:
        """True when it was closed and nothing of it runs."""
        return self._closed and all(task.done() for task in (self._streaming, self._sending) if task)

    @property
    def interim(self) -> str:
        """The latest text."""
        return self._latest.text

    @property
    def endpoint(self) -> bool:
        """True when the service's voice activity detection marks the end."""
        return self._latest.endpoint

    def push(self, pcm: Pcm) -> None:
        """Adds audio; the first of it connects and streams."""
        if self._closed:
            return
        self.recording.push(pcm)
        if self._streaming is None and not self.recording.empty:
            self._streaming = asyncio.create_task(self._stream(), name=f"speech on its way: {self.name}")

    def end(self) -> None:
        """Ends the audio."""
        self.recording.end()

    async def finish(self) -> Transcript:
        """Ends the audio; the service's text of it, at once when there was no audio. Raises ProviderError."""
        self.end()
        if self.recording.empty:
            return Transcript("", final=True)
        name, timeout_s = self._session.name, self._session.limits.timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                while self.final is None:
                    if self._failure is not None:
                        raise self._failure
                    if self._closed and not self.answered:
                        raise ProviderUnavailable(name, "the utterance was closed before its end")
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError as error:
            raise ProviderTimeout(name, f"no transcript within {timeout_s:g} s") from error
        return self.final

    async def aclose(self) -> None:
        """Has the service forget it unless it was answered: then its text may still come."""
        if self._closed:
            return
        self._closed = True
        self.end()
        self._changed.set()
        if not self.answered:
            await self._forget()

    async def discard(self) -> None:
        """Has the service forget it even if it was answered."""
        await self.aclose()
        if self.answered:
            self.answered = False
            await self._forget()

    async def _forget(self) -> None:
        self._leave()
        await self.stop()
        if self._connection is not None:
            self._connection.post(lambda duplex: duplex.send_discard(self.name))

    async def stop(self) -> None:
        """Stops sending it."""
        tasks = [task for task in (self._streaming, self._sending) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def heard(self, transcript: Transcript) -> None:
        """Takes the service's text so far; the first final one counts."""
        if self.final is not None:
            return
        self._latest = replace(transcript, language=transcript.language or self._language)
        if transcript.final:
            self.final = self._latest
            self._leave()
            self._session.understood(self)
        self._changed.set()

    def failed(self, error: ProviderError) -> None:
        """Notes that the service has no text."""
        self._leave()
        self._failure = error
        self._changed.set()

    def lost(self, error: ProviderError) -> None:
        """Notes that its connection is lost; while it is being sent it moves to another one."""
        if self._streaming is None or self._streaming.done():
            self.failed(error)

    def _leave(self) -> None:
        if self._connection is not None:
            self._connection.leave(self)

    async def delivered(self, connection: Connection) -> None:
        """Returns when all of it is in the memory of `connection`'s service. Raises ProviderError."""
        if self._connection is not connection or self._sending is None:
            if self._sending is not None:
                self._sending.cancel()
            self._connection, self._failure = connection, None
            self._sending = asyncio.create_task(
                self._send(connection), name=f"speech to {self._session.name}"
            )
        sending = self._sending
        await asyncio.wait([sending])
        if sending.cancelled():
            raise ProviderUnavailable(self._session.name, "the utterance was closed before its end")
        if (error := sending.exception()) is not None:
            raise error

    async def _send(self, connection: Connection) -> None:
        async with connection.uplink:
            connection.carry(self)
            async for pcm in self.recording.play(self.recording.sample_rate):
                await connection.run(partial(_audio, self.name, pcm))
            await connection.run(lambda duplex: duplex.send_end(self.name))

    async def _stream(self) -> None:
        """Sends it while it is spoken; lost connections are made anew."""
        tries = 0
        while True:
            try:
                connection, _ = await self._session.ready()
                await self.delivered(connection)
                return
            except ProviderError as error:
                tries += 1
                delay = retry_delay(error, tries, self._session.limits)
                if self.answered:  # the request for the answer has retries of its own
                    return
                if delay is None:
                    self.failed(error)
                    return
            await asyncio.sleep(delay)


async def _audio(name: str, pcm: Pcm, duplex: SpeechDuplex) -> None:
    await duplex.send_audio(name, pcm)
