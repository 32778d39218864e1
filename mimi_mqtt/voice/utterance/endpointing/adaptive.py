"""Endpointing by this speaker's own pauses. Pure."""

from typing import Final

from mimi_mqtt.voice.utterance.endpointing.strategy import Spoken

SHORTEST_PAUSE_MS: Final = 120.0
"""Shortest pause: less is a consonant."""
_PAUSES_TO_TRUST: Final = 3
_MARGIN: Final = 1.25
_SPREADS: Final = 2


class Pauses:
    """Statistics of one speaker's pauses; kept for the whole session."""

    def __init__(self, end_silence_ms: float) -> None:
        self._normal_ms = end_silence_ms
        self._typical = 0.0
        self._spread = 0.0
        self._seen = 0

    def add(self, pause_ms: float) -> None:
        """Counts a pause within an utterance."""
        if pause_ms < SHORTEST_PAUSE_MS:
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
            return self._normal_ms
        # Smoothed mean and mean deviation as in TCP's retransmission timer (RFC 6298).
        wanted = _MARGIN * self._typical + _SPREADS * self._spread
        return min(max(wanted, 0.5 * self._normal_ms), self.longest_ms)

    @property
    def longest_ms(self) -> float:
        """Silence that ends any utterance."""
        return 1.5 * self._normal_ms


class AdaptiveSilence:
    """Ends an utterance after a silence that is longer than this speaker's pauses."""

    def __init__(self, pauses: Pauses) -> None:
        self._pauses = pauses

    def paused(self, pause_ms: float) -> None:
        """Learns from the pause."""
        self._pauses.add(pause_ms)

    def ended(self) -> None:
        """Changes nothing."""

    def end_silence_ms(self, spoken: Spoken, silence_ms: float) -> float:
        """This speaker's silence, whatever was said."""
        return self._pauses.end_silence_ms
