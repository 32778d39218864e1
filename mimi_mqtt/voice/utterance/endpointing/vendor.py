"""Endpointing by the recogniser's own judgement, where it has one (Deepgram's `speech_final`). Pure."""

from typing import Final

from mimi_mqtt.voice.utterance.endpointing.adaptive import Pauses
from mimi_mqtt.voice.utterance.endpointing.strategy import Spoken

_AGREED_MS: Final = 120.0
"""Silence that our own detector must hear too: the judgement may be about an earlier pause."""


class VendorEndpoint:
    """Ends an utterance when the recogniser says so; after this speaker's silence when it does not judge."""

    def __init__(self, pauses: Pauses) -> None:
        self._pauses = pauses

    def paused(self, pause_ms: float) -> None:
        """Learns from the pause, for recognisers that don't judge."""
        self._pauses.add(pause_ms)

    def ended(self) -> None:
        """Changes nothing."""

    def end_silence_ms(self, spoken: Spoken, silence_ms: float) -> float:
        """`_AGREED_MS` once the recogniser has judged, else this speaker's silence."""
        return _AGREED_MS if spoken.endpoint else self._pauses.end_silence_ms
