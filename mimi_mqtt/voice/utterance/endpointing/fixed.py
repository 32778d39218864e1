"""Endpointing by a fixed silence. Pure."""

from mimi_mqtt.voice.utterance.endpointing.strategy import Spoken


class FixedSilence:
    """`end_silence_ms` of silence ends every utterance."""

    def __init__(self, end_silence_ms: float) -> None:
        self._end_silence_ms = end_silence_ms

    def paused(self, pause_ms: float) -> None:
        """Changes nothing."""

    def ended(self) -> None:
        """Changes nothing."""

    def end_silence_ms(self, spoken: Spoken, silence_ms: float) -> float:
        """The configured silence, whatever was said."""
        return self._end_silence_ms
