"""One utterance being heard: from the first frame to the decision that it is over, and its text."""

import asyncio
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from mimi_mqtt.config.settings import VoiceSettings
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.voice.hearing.pool import HeardFrame
from mimi_mqtt.voice.services import Spawn
from mimi_mqtt.voice.utterance.earlier_part import MAX_PARTS, Beginning, joined
from mimi_mqtt.voice.utterance.endpointing import (
    End,
    Endpointer,
    EndpointEvent,
    Endpointing,
    EndpointSettings,
    SpeechBegan,
    SpeechWent,
    SpeechWentOn,
    Spoken,
    UtteranceEnded,
)
from mimi_mqtt.voice.utterance.transcription import Utterance

BARGE_IN_THRESHOLD: Final = 0.8
"""Voice probability that counts as speech during a reply: what is left of an echo sounds like a faint voice
(measured by `bench turns`)."""

_TICK_S: Final = 0.25


class Listening:
    """Hand it heard frames; `on_event` is told what they mean, `over` why listening ended.

    `hear` begins the utterance once someone speaks.
    It may be that a reply will be heard at the same time: see `reply_begins`. Nobody speaking for long only
    begins it anew, unless `manual`. `max_s`: how long it may get.
    """

    def __init__(
        self,
        hear: Callable[[], Utterance],
        voice: VoiceSettings,
        strategy: Endpointing,
        *,
        frame_ms: int,
        eager: bool = True,
        manual: bool = False,
        max_s: float | None = None,
        on_event: Callable[[EndpointEvent], None],
    ) -> None:
        self._hear = hear
        self._strategy = strategy
        self._frame_ms = float(frame_ms)
        self._alone = voice.speech_threshold, voice.min_speech_ms
        self._over_reply = BARGE_IN_THRESHOLD, voice.barge_in_ms
        self._max_s = voice.max_utterance_s
        self._settings = EndpointSettings(
            speech_threshold=voice.speech_threshold,
            min_speech_ms=voice.min_speech_ms,
            preroll_ms=voice.preroll_ms,
            max_utterance_s=self._max_s if max_s is None else max_s,
            no_speech_timeout_s=voice.no_speech_timeout_s,
            preemptive_silence_ms=voice.preemptive_silence_ms if eager else 0,
            manual=manual,
        )
        self.on_event = on_event
        self._loop = asyncio.get_running_loop()
        self._endpointer = self._new_endpointer()
        self._closed = False
        self.utterance: Utterance | None = None
        """The audio on its way to text, once someone speaks."""
        self.guessed = ""
        """The words so far, from a guess at a pause; for providers without interim text."""
        self.beginning: Beginning | None = None
        """What was said before, of the same utterance."""
        self.began_at = 0.0
        """When the utterance was found to have begun (loop time, s)."""
        self.speech_end = self._loop.time()
        """When the last speech was, once it is over (loop time, s)."""
        self.over: asyncio.Future[End] = self._loop.create_future()
        """Why listening ended."""

    @property
    def began(self) -> bool:
        """Whether someone is in the middle of an utterance."""
        return self._endpointer.began and not self._closed

    @property
    def spoken(self) -> Spoken:
        """What is known of the words so far."""
        spoken = self.utterance.spoken if self.utterance is not None else Spoken()
        if self.guessed and not spoken.text:
            spoken = replace(spoken, text=self.guessed, whole=True)
        if spoken.text and self.beginning is not None:
            spoken = replace(spoken, text=joined(self.beginning.text, spoken.text))
        return spoken

    @property
    def seconds(self) -> float:
        """How much audio it has, in seconds."""
        before = self.beginning.seconds if self.beginning is not None else 0.0
        return before + self._endpointer.length_ms / 1000

    @property
    def parts(self) -> int:
        """Of how many parts it consists."""
        return 1 if self.beginning is None else self.beginning.parts + 1

    @property
    def room_s(self) -> float:
        """So much may be added to it, in seconds; 0 when nothing may."""
        return max(self._max_s - self.seconds, 0.0) if self.parts < MAX_PARTS else 0.0

    def hear(self, frame: HeardFrame) -> None:
        """One frame, in order."""
        if not self._closed and not self._endpointer.ended:
            now = self._loop.time()
            self._follow(self._endpointer.frame(frame.pcm, self._frame_ms, frame.speech_probability, now))

    def reply_begins(self) -> None:
        """From now on it is heard over a reply: a faint voice may be its echo."""
        threshold, min_speech_ms = self._over_reply
        self._apply(
            replace(
                self._settings,
                speech_threshold=threshold,
                min_speech_ms=min_speech_ms,
                max_utterance_s=self._max_s,
            )
        )

    def reply_is_over(self) -> None:
        """What was heard over a reply is now heard without: a fainter voice counts again."""
        threshold, min_speech_ms = self._alone
        room_s = self._max_s - (self.beginning.seconds if self.beginning is not None else 0.0)
        self._apply(
            replace(
                self._settings,
                speech_threshold=threshold,
                min_speech_ms=min_speech_ms,
                max_utterance_s=room_s,
            )
        )

    def follow(self, earlier: "Listening", words: str, spawn: Spawn) -> None:
        """It goes on with what `earlier`, which now belongs to it, has heard: `words`, or not known yet."""
        self.beginning = Beginning(
            words,
            earlier.transcript,
            earlier.aclose,
            seconds=earlier.seconds,
            parts=earlier.parts,
            spawn=spawn,
        )

    def stop(self) -> None:
        """The device says that it is over. Frames on their way still count, until `close`."""
        if not self.over.done():
            self.speech_end = self._loop.time()
            self.over.set_result(End.STOPPED)

    def close(self) -> None:
        """Hears no more."""
        self._closed = True

    async def until_over(self) -> End:
        """Waits for the end, which an uplink that is silent brings about too."""
        while not self.over.done():
            await asyncio.wait({self.over}, timeout=_TICK_S)
            if not self._closed:
                self._follow(self._endpointer.tick(self._loop.time()))
        return self.over.result()

    async def transcript(self) -> Transcript:
        """The text, once it is over. Raises ProviderError."""
        if self.utterance is None:
            return Transcript("", final=True)
        return await self.whole(await self.utterance.finish())

    async def whole(self, transcript: Transcript) -> Transcript:
        """`transcript`, of the last part, with what was said before in front."""
        if self.beginning is None:
            return transcript
        await self.beginning.known()
        return self.beginning.before(transcript)

    async def guess(self) -> Transcript:
        """The text so far, for an eager answer. Raises ProviderError."""
        if self.utterance is None:
            return Transcript("", final=True)
        transcript = await self.utterance.guess()
        self.guessed = transcript.text
        return await self.whole(transcript)

    async def aclose(self) -> None:
        """Ends the transcription, if it still runs; safe to call twice."""
        self.close()
        if self.utterance is not None:
            await self.utterance.aclose()
        if self.beginning is not None:
            await self.beginning.aclose()

    def _apply(self, settings: EndpointSettings) -> None:
        self._settings = settings
        self._endpointer.apply(settings)

    def _new_endpointer(self) -> Endpointer:
        me = weakref.ref(self)  # the two would keep each other alive

        def spoken() -> Spoken:
            listening = me()
            return listening.spoken if listening is not None else Spoken()

        return Endpointer(self._settings, self._strategy, self._loop.time(), spoken)

    def _follow(self, events: list[EndpointEvent]) -> None:
        for event in events:
            match event:
                case SpeechBegan(audio):
                    self.began_at = self._loop.time()
                    self.utterance = self._hear()
                    for pcm in audio:
                        self.utterance.push(pcm)
                case SpeechWent(pcm):
                    if self.utterance is not None:
                        self.utterance.push(pcm)
                case SpeechWentOn():
                    self.guessed = ""
                case UtteranceEnded(End.NO_SPEECH) if not self._settings.manual:
                    self._endpointer = self._new_endpointer()  # the device listens on, so do we
                    continue
                case UtteranceEnded(reason, silence_ms):
                    if self.over.done():
                        continue
                    self.speech_end = self._loop.time() - silence_ms / 1000
                    self.over.set_result(reason)
            self.on_event(event)
