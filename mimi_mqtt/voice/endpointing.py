"""When an utterance begins and when it is over. Pure: heard frames and `now` in, events out.

Time is counted in audio, so a late or bursty network changes nothing; only an uplink from which nothing at
all comes is judged by the clock (`tick`). The silence that ends an utterance follows this speaker's own
pauses.
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Final

from mimi_mqtt.audio import Pcm

_STALL_S: Final = 1.5
"""An uplink that is silent for so long in the middle of an utterance has ended it; Wi-Fi hiccups are
shorter."""
_MANUAL_STALL_S: Final = 10.0
"""In manual mode the user decides; only a lost `stop` is made up for."""
_SHORTEST_PAUSE_MS: Final = 120.0
"""Less is a consonant, not a pause."""
_PAUSES_TO_TRUST: Final = 3
_LOWEST_PROBABILITY: Final = 0.6
"""Once speech has begun, this share of the threshold counts as its continuation."""


@dataclass(frozen=True, slots=True)
class SpeechBegan:
    """Someone speaks. `audio` is what was heard so far of it, pre-roll included."""

    audio: tuple[Pcm, ...]


@dataclass(frozen=True, slots=True)
class SpeechWent:
    """A further frame of the utterance."""

    audio: Pcm


class End(Enum):
    """Why listening ended."""

    SILENCE = "silence"
    """The speaker has finished."""
    STALLED = "stalled"
    """The uplink stopped in the middle of the utterance."""
    TOO_LONG = "too long"
    """The utterance reached its bound."""
    NO_SPEECH = "no speech"
    """Nobody spoke."""
    STOPPED = "stopped"
    """The device said so."""


@dataclass(frozen=True, slots=True)
class UtteranceEnded:
    """Listening is over; `silence_ms` of audio (or of stall) came after the last speech."""

    reason: End
    silence_ms: float


EndpointEvent = SpeechBegan | SpeechWent | UtteranceEnded


class Pauses:
    """What is known of one speaker's pauses; kept for the whole session."""

    def __init__(self, end_silence_ms: float) -> None:
        self._normal = end_silence_ms
        self._typical = 0.0
        self._spread = 0.0
        self._seen = 0

    def add(self, pause_ms: float) -> None:
        """The speaker paused for so long within an utterance."""
        if pause_ms < _SHORTEST_PAUSE_MS:
            return
        self._seen += 1
        if self._seen == 1:
            self._typical, self._spread = pause_ms, pause_ms / 2
            return
        self._spread += (abs(pause_ms - self._typical) - self._spread) / 4
        self._typical += (pause_ms - self._typical) / 8

    @property
    def end_silence_ms(self) -> float:
        """Silence that ends this speaker's utterances: half to one and a half times the configured one."""
        if self._seen < _PAUSES_TO_TRUST:
            return self._normal
        # Smoothed mean and mean deviation as in TCP's retransmission timer (RFC 6298), and half as much
        # again.
        wanted = 1.5 * (self._typical + 4 * self._spread)
        return min(max(wanted, 0.5 * self._normal), 1.5 * self._normal)


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """The bounds of one utterance; names as in `voice` settings. `manual`: only the device ends an
    utterance."""

    speech_threshold: float = 0.5
    min_speech_ms: float = 180
    preroll_ms: float = 300
    max_utterance_s: float = 30
    no_speech_timeout_s: float = 15
    manual: bool = False


class Endpointer:
    """One utterance: give it frames until it says UtteranceEnded, then make another.

    In manual mode the utterance begins with the first frame and lasts until the device says so.
    """

    def __init__(self, settings: EndpointSettings, pauses: Pauses, now: float) -> None:
        self._settings = settings
        self._pauses = pauses
        self._heard_at = now
        self._waiting: deque[tuple[Pcm, float]] = deque()
        self._waiting_ms = 0.0
        self._onset_ms = 0.0  # speech so far, before it counts as begun
        self._quiet_ms = 0.0  # since the last speech
        self._before_ms = 0.0  # audio without an utterance
        self._length_ms = 0.0
        self.began = False
        self.ended = False

    def frame(self, pcm: Pcm, duration_ms: float, probability: float, now: float) -> list[EndpointEvent]:
        """One heard frame; what it means. Nothing once the utterance has ended."""
        if self.ended:
            return []
        self._heard_at = now
        if self._settings.manual:
            return self._manual_frame(pcm, duration_ms)
        threshold = self._settings.speech_threshold
        if self.began:
            return self._further_frame(pcm, duration_ms, probability >= threshold * _LOWEST_PROBABILITY)
        return self._early_frame(pcm, duration_ms, probability >= threshold)

    def tick(self, now: float) -> list[EndpointEvent]:
        """Time passed; ends an utterance whose uplink has gone quiet. Call a few times a second."""
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
            if self._quiet_ms > _SHORTEST_PAUSE_MS:
                self._onset_ms = 0.0
        self._forget_old()
        if self._onset_ms == 0.0 and self._before_ms >= self._settings.no_speech_timeout_s * 1000:
            return [self._end(End.NO_SPEECH, self._before_ms)]
        return []

    def _forget_old(self) -> None:
        keep_ms = self._settings.preroll_ms
        if self._onset_ms:
            keep_ms += self._onset_ms + _SHORTEST_PAUSE_MS + self._quiet_ms
        while self._waiting and self._waiting_ms - self._waiting[0][1] >= keep_ms:
            self._waiting_ms -= self._waiting.popleft()[1]

    def _further_frame(self, pcm: Pcm, duration_ms: float, speech: bool) -> list[EndpointEvent]:
        self._length_ms += duration_ms
        events: list[EndpointEvent] = [SpeechWent(pcm)]
        if speech:
            self._pauses.add(self._quiet_ms)
            self._quiet_ms = 0.0
        else:
            self._quiet_ms += duration_ms
            if self._quiet_ms >= self._pauses.end_silence_ms:
                events.append(self._end(End.SILENCE, self._quiet_ms))
                return events
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
        return UtteranceEnded(reason, silence_ms)
