"""One utterance of the user: from the first heard frame to the decision that it is over, and its text."""

import asyncio
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from mimi_mqtt.config.voice import VoiceSettings
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.runtime.usage import UsageMeter, metering
from mimi_mqtt.voice.language.words import join
from mimi_mqtt.voice.ports import HeardFrame, Spawn
from mimi_mqtt.voice.utterance.earlier_part import MAX_PARTS, EarlierPart
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
from mimi_mqtt.voice.utterance.transcription import Transcriber

BARGE_IN_THRESHOLD: Final = 0.8
"""Speech probability that counts as speech during a reply: what is left of an echo sounds like a faint voice
(measured by `bench turns`)."""

_TICK_S: Final = 0.25


class UserUtterance:
    """Takes heard frames; tells `on_event` what they mean, the end of the utterance included.

    `transcribe` begins the transcription once someone speaks; `answers_early`: SpeechPaused is wanted. When
    nobody speaks for long it only begins anew, unless `manual`. `max_s` bounds its length in place of
    `voice.max_utterance_s`. An uplink that goes silent ends it too, by a timer: `close` it.
    """

    def __init__(
        self,
        transcribe: Callable[[], Transcriber],
        voice: VoiceSettings,
        strategy: Endpointing,
        *,
        frame_ms: int,
        answers_early: bool = True,
        manual: bool = False,
        max_s: float | None = None,
        on_event: Callable[[EndpointEvent], None],
    ) -> None:
        self._transcribe = transcribe
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
            preemptive_silence_ms=voice.preemptive_silence_ms if answers_early else 0,
            manual=manual,
        )
        self._on_event = on_event
        self._loop = asyncio.get_running_loop()
        self._endpointer = self._new_endpointer()
        self._closed = False
        self._ended: UtteranceEnded | None = None
        self._words = ""  # so far, from a request at a pause; for providers without interim text
        self._earlier: EarlierPart | None = None
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(_TICK_S, self._tick)
        self.usage = UsageMeter()
        """The use of providers by its transcription."""
        self.transcriber: Transcriber | None = None
        """The audio on its way to text, once someone speaks."""
        self.began_at = 0.0
        """Time at which the utterance was found to have begun (loop time, s)."""
        self.speech_end = self._loop.time()
        """End of the last speech, once the utterance is over (loop time, s)."""

    @property
    def began(self) -> bool:
        """True when someone has spoken."""
        return self._endpointer.began

    @property
    def in_progress(self) -> bool:
        """True when someone is in the middle of the utterance."""
        return self._endpointer.began and not self._closed

    @property
    def spoken(self) -> Spoken:
        """The words known so far."""
        spoken = self.transcriber.spoken if self.transcriber is not None else Spoken()
        if self._words and not spoken.text:
            spoken = replace(spoken, text=self._words, whole=True)
        if spoken.text and self._earlier is not None:
            spoken = replace(spoken, text=join(self._earlier.text, spoken.text))
        return spoken

    @property
    def seconds(self) -> float:
        """Length of its audio, in seconds."""
        before = self._earlier.seconds if self._earlier is not None else 0.0
        return before + self._endpointer.length_ms / 1000

    @property
    def parts(self) -> int:
        """Number of parts it was joined from."""
        return 1 if self._earlier is None else self._earlier.parts + 1

    @property
    def room_s(self) -> float:
        """Seconds of audio that may be added to it; 0 when nothing may."""
        return max(self._max_s - self.seconds, 0.0) if self.parts < MAX_PARTS else 0.0

    # ── frames ───────────────────────────────────────────────────────────────────────────────────────────

    def hear(self, frame: HeardFrame) -> None:
        """Takes one frame, in order."""
        if not self._closed and not self._endpointer.ended:
            now = self._loop.time()
            self._follow(self._endpointer.frame(frame.pcm, self._frame_ms, frame.speech_probability, now))

    def attach(self, on_event: Callable[[EndpointEvent], None]) -> None:
        """Replaces `on_event`, and tells the new one the end if that came before."""
        self._on_event = on_event
        if self._ended is not None:
            on_event(self._ended)

    def stop(self) -> bool:
        """The device says that the utterance is over; frames on their way still count, until `close`.

        False when it was over before. No event follows.
        """
        if self._ended is not None:
            return False
        self.speech_end = self._loop.time()
        self._ended = UtteranceEnded(End.STOPPED, 0.0)
        return True

    def reply_begins(self) -> None:
        """From now on it is heard over a reply: a faint voice may be an echo."""
        threshold, min_speech_ms = self._over_reply
        self._apply(threshold, min_speech_ms, self._max_s)

    def reply_is_over(self) -> None:
        """From now on no reply is heard with it: a fainter voice counts again."""
        threshold, min_speech_ms = self._alone
        self._apply(
            threshold,
            min_speech_ms,
            self._max_s - (self._earlier.seconds if self._earlier is not None else 0.0),
        )

    def follow(self, earlier: "UserUtterance", words: str, spawn: Spawn) -> None:
        """Makes `earlier` the earlier part of this utterance: `words`, or not known yet."""
        self._earlier = EarlierPart(
            words,
            earlier.transcript,
            earlier.aclose,
            seconds=earlier.seconds,
            parts=earlier.parts,
            spawn=spawn,
        )

    # ── text ─────────────────────────────────────────────────────────────────────────────────────────────

    async def transcript(self) -> Transcript:
        """The final transcript, once it is over. Raises ProviderError."""
        if self.transcriber is None:
            return Transcript("", final=True)
        return await self.whole(await self.transcriber.finish())

    async def whole(self, transcript: Transcript) -> Transcript:
        """`transcript`, of the last part, with the words of the earlier part in front."""
        if self._earlier is None:
            return transcript
        await self._earlier.known()
        return self._earlier.before(transcript)

    async def so_far(self) -> Transcript:
        """The transcript of what was said so far, for a preemptive reply. Raises ProviderError."""
        if self.transcriber is None:
            return Transcript("", final=True)
        transcript = await self.transcriber.so_far()
        self._words = transcript.text
        return await self.whole(transcript)

    def close(self) -> None:
        """Takes no more frames, and tells of no more events."""
        self._closed = True
        self._on_event = _nothing
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def aclose(self) -> None:
        """Closes it and ends the transcription, if that still runs; safe to call twice."""
        self.close()
        if self.transcriber is not None:
            await self.transcriber.aclose()
        if self._earlier is not None:
            await self._earlier.aclose()

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────

    def _apply(self, speech_threshold: float, min_speech_ms: float, max_utterance_s: float) -> None:
        self._settings = replace(
            self._settings,
            speech_threshold=speech_threshold,
            min_speech_ms=min_speech_ms,
            max_utterance_s=max_utterance_s,
        )
        self._endpointer.apply(self._settings)

    def _new_endpointer(self) -> Endpointer:
        me = weakref.ref(self)  # the two would keep each other alive

        def spoken() -> Spoken:
            utterance = me()
            return utterance.spoken if utterance is not None else Spoken()

        return Endpointer(self._settings, self._strategy, self._loop.time(), spoken)

    def _tick(self) -> None:
        self._timer = self._loop.call_later(_TICK_S, self._tick)
        self._follow(self._endpointer.tick(self._loop.time()))

    def _follow(self, events: list[EndpointEvent]) -> None:
        for event in events:
            match event:
                case SpeechBegan(audio):
                    self.began_at = self._loop.time()
                    with metering(self.usage):  # the first audio starts the task that transcribes
                        self.transcriber = self._transcribe()
                        for pcm in audio:
                            self.transcriber.push(pcm)
                case SpeechWent(pcm):
                    if self.transcriber is not None:
                        with metering(self.usage):
                            self.transcriber.push(pcm)
                case SpeechWentOn():
                    self._words = ""
                case UtteranceEnded(End.NO_SPEECH) if not self._settings.manual:
                    self._endpointer = self._new_endpointer()  # the device listens on, so do we
                    continue
                case UtteranceEnded(_, silence_ms):
                    if self._ended is not None:
                        continue
                    self.speech_end = self._loop.time() - silence_ms / 1000
                    self._ended = event
            self._on_event(event)


def _nothing(event: EndpointEvent) -> None:
    """Stands for the listener of a closed utterance."""
