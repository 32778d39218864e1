"""Endpointer of one utterance: its begin, pauses and end. Pure: heard frames and `now` in, events out.

Time is counted in audio, so a late or bursty network changes nothing; only an uplink from which nothing at
all comes is judged by the clock (`tick`). How much silence ends the utterance is the strategy's business.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from mimi_mqtt.audio import Pcm
from mimi_mqtt.voice.utterance.endpointing.adaptive import SHORTEST_PAUSE_MS
from mimi_mqtt.voice.utterance.endpointing.strategy import Endpointing, Spoken

_STALL_S: Final = 1.5
"""An uplink that is silent for so long in the middle of an utterance has ended it; Wi-Fi hiccups are
shorter."""
_MANUAL_STALL_S: Final = 10.0
"""In manual mode the user decides; only a lost `stop` is made up for."""
_LOWEST_PROBABILITY: Final = 0.6
"""Once speech has begun, this share of the threshold counts as its continuation."""


@dataclass(frozen=True, slots=True)
class SpeechBegan:
    """A user began to speak. `audio` is what was heard so far of it, pre-roll included."""

    audio: tuple[Pcm, ...]


@dataclass(frozen=True, slots=True)
class SpeechWent:
    """A further frame of the utterance."""

    audio: Pcm


@dataclass(frozen=True, slots=True)
class SpeechPaused:
    """A first, short silence: the utterance may be over (only with `preemptive_silence_ms`)."""


@dataclass(frozen=True, slots=True)
class SpeechWentOn:
    """The utterance was not over: the speaker goes on after a SpeechPaused."""


class End(Enum):
    """Reasons for the end of an utterance."""

    SILENCE = "silence"
    """The speaker has finished."""
    STALLED = "stalled"
    """The uplink stopped in the middle of the utterance."""
    TOO_LONG = "too long"
    """The utterance reached its bound."""
    NO_SPEECH = "no speech"
    """There was no speech."""
    STOPPED = "stopped"
    """The device ended it."""


@dataclass(frozen=True, slots=True)
class UtteranceEnded:
    """The utterance is over; `silence_ms` of audio (or of stall) came after the last speech."""

    reason: End
    silence_ms: float


EndpointEvent = SpeechBegan | SpeechWent | SpeechPaused | SpeechWentOn | UtteranceEnded


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """Bounds of one utterance; names as in the `voice` settings.

    `manual`: only the device ends it. `preemptive_silence_ms` 0: no SpeechPaused.
    """

    speech_threshold: float = 0.5
    min_speech_ms: float = 180
    preroll_ms: float = 300
    max_utterance_s: float = 30
    no_speech_timeout_s: float = 15
    preemptive_silence_ms: float = 0
    manual: bool = False


def _nothing_known() -> Spoken:
    return Spoken()


class Endpointer:
    """One utterance: give it frames until it says UtteranceEnded, then make another.

    In manual mode the utterance begins with the first frame and lasts until the device says so. `spoken` is
    asked for what is known of the words, at every silent frame.
    """

    def __init__(
        self,
        settings: EndpointSettings,
        strategy: Endpointing,
        now: float,
        spoken: Callable[[], Spoken] = _nothing_known,
    ) -> None:
        self._settings = settings
        self._strategy = strategy
        self._spoken = spoken
        self._heard_at = now
        self._paused = False
        self._waiting: deque[tuple[Pcm, float]] = deque()
        self._waiting_ms = 0.0
        self._onset_ms = 0.0  # speech so far, before it counts as begun
        self._quiet_ms = 0.0  # since the last speech
        self._before_ms = 0.0  # audio without an utterance
        self._length_ms = 0.0
        self.began = False
        self.ended = False

    def frame(self, pcm: Pcm, duration_ms: float, probability: float, now: float) -> list[EndpointEvent]:
        """Takes one heard frame; the events it brings. None once the utterance has ended."""
        if self.ended:
            return []
        self._heard_at = now
        if self._settings.manual:
            return self._manual_frame(pcm, duration_ms)
        threshold = self._settings.speech_threshold
        if self.began:
            return self._further_frame(pcm, duration_ms, probability >= threshold * _LOWEST_PROBABILITY)
        return self._early_frame(pcm, duration_ms, probability >= threshold)

    @property
    def length_ms(self) -> float:
        """Length of its audio, in ms."""
        return self._length_ms

    def apply(self, settings: EndpointSettings) -> None:
        """Changes the bounds from now on."""
        self._settings = settings

    def tick(self, now: float) -> list[EndpointEvent]:
        """Ends an utterance whose uplink has gone quiet. Call it a few times a second."""
        stalled_s = now - self._heard_at
        if self.ended:
            return []
        if self.began and stalled_s >= (_MANUAL_STALL_S if self._settings.manual else _STALL_S):
            return [self._end(End.STALLED, self._quiet_ms + stalled_s * 1000)]
        if not self.began and stalled_s >= self._settings.no_speech_timeout_s:
            return [self._end(End.NO_SPEECH, stalled_s * 1000)]
        return []

    def _early_frame(self, pcm: Pcm, duration_ms: float, speech: bool) -> list[EndpointEvent]:
        self._waiting.append((pcm, duration_ms))
        self._waiting_ms += duration_ms
        self._before_ms += duration_ms
        if speech:
            self._onset_ms += duration_ms
            self._quiet_ms = 0.0
            if self._onset_ms >= self._settings.min_speech_ms:
                self.began = True
                self._length_ms = self._waiting_ms
                began = SpeechBegan(tuple(frame for frame, _ in self._waiting))
                self._waiting.clear()
                return [began]
        else:
            self._quiet_ms += duration_ms
            # A click or a cough is forgotten, but a stop consonant may split a word.
            if self._quiet_ms > SHORTEST_PAUSE_MS:
                self._onset_ms = 0.0
        self._forget_old()
        if self._onset_ms == 0.0 and self._before_ms >= self._settings.no_speech_timeout_s * 1000:
            return [self._end(End.NO_SPEECH, self._before_ms)]
        return []

    def _forget_old(self) -> None:
        keep_ms = self._settings.preroll_ms
        if self._onset_ms:
            keep_ms += self._onset_ms + SHORTEST_PAUSE_MS + self._quiet_ms
        while self._waiting and self._waiting_ms - self._waiting[0][1] >= keep_ms:
            self._waiting_ms -= self._waiting.popleft()[1]

    def _further_frame(self, pcm: Pcm, duration_ms: float, speech: bool) -> list[EndpointEvent]:
        self._length_ms += duration_ms
        events: list[EndpointEvent] = [SpeechWent(pcm)]
        if speech:
            if self._quiet_ms:
                self._strategy.paused(self._quiet_ms)
            self._quiet_ms = 0.0
            if self._paused:
                self._paused = False
                events.append(SpeechWentOn())
        else:
            self._quiet_ms += duration_ms
            if self._quiet_ms >= self._strategy.end_silence_ms(self._spoken(), self._quiet_ms):
                events.append(self._end(End.SILENCE, self._quiet_ms))
                return events
            if not self._paused and 0 < self._settings.preemptive_silence_ms <= self._quiet_ms:
                self._paused = True
                events.append(SpeechPaused())
        if self._length_ms >= self._settings.max_utterance_s * 1000:
            events.append(self._end(End.TOO_LONG, self._quiet_ms))
        return events

    def _manual_frame(self, pcm: Pcm, duration_ms: float) -> list[EndpointEvent]:
        event: EndpointEvent = SpeechWent(pcm) if self.began else SpeechBegan((pcm,))
        self.began = True
        self._length_ms += duration_ms
        if self._length_ms >= self._settings.max_utterance_s * 1000:
            return [event, self._end(End.TOO_LONG, 0.0)]
        return [event]

    def _end(self, reason: End, silence_ms: float) -> UtteranceEnded:
        self.ended = True
        self._strategy.ended()
        return UtteranceEnded(reason, silence_ms)
