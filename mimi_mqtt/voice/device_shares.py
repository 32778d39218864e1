"""Shares of one device in what conversations have in common: audio threads, speech to text, turns."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import prometheus_client

from mimi_mqtt.config.connections import SharesSettings
from mimi_mqtt.errors import ProviderUnavailable
from mimi_mqtt.shares import Ledger, Rates

UPLINK_SPEED: Final = 1.5
"""Seconds of audio a second that are taken from one device in the long run; it records one."""
UPLINK_BURST_S: Final = 5.0
"""Seconds of audio that a device may send at once: what it held while the network stood still, and the wake
word that it recorded before it was connected."""
MAX_UNHEARD_S: Final = 600.0
"""Seconds of audio of all devices that may wait for speech to text; beyond, each has an equal part of it."""
TOLD_EVERY_S: Final = 30.0
"""Seconds between two messages to a device about the turns that it is refused."""

_excess = prometheus_client.Counter(
    "mimi_hearing_excess_packets_total", "Packets dropped because a device sends faster than it can record."
)


class DeviceShares:
    """One for all conversations; the bounds are those of `settings`, refusals go to `ledger`. `now` is
    monotonic seconds."""

    def __init__(self, settings: SharesSettings | None = None, ledger: Ledger | None = None) -> None:
        settings = settings or SharesSettings()
        self._ledger = ledger or Ledger()
        self._uplink = Rates(UPLINK_SPEED, UPLINK_BURST_S)
        self._turns = Rates(settings.turns_per_minute / 60, settings.turns_per_minute)
        self._told = Rates(1 / TOLD_EVERY_S, 1)
        self._max_unheard_s = settings.unheard_audio_s
        self._unheard: Counter[str] = Counter()  # ms of audio, by device

    def take_audio(self, device_id: str, seconds: float, now: float) -> bool:
        """Takes a packet of `seconds` into account; False when it is to be dropped."""
        if self._uplink.take(device_id, now, seconds):
            return True
        _excess.inc()
        self._ledger.refuse("audio faster than it is spoken", device_id, now)
        return False

    def take_turn(self, device_id: str, now: float) -> bool:
        """Takes a turn into account; False when it may not begin."""
        if self._turns.take(device_id, now):
            return True
        self._ledger.refuse("turns", device_id, now, setting="shares.turns_per_minute")
        return False

    def may_be_told(self, device_id: str, now: float) -> bool:
        """True when the device is to be told that a turn was refused: not each time."""
        return self._told.take(device_id, now)

    @contextmanager
    def unheard(self, device_id: str, seconds: float, now: float) -> Iterator[None]:
        """Counts audio as waiting for speech to text. Raises ProviderUnavailable where that is too much.

        An utterance of a device of which nothing waits is refused only where all together have too much.
        """
        ms = round(seconds * 1000)
        waiting = self._unheard.get(device_id, 0)
        own = waiting + ms
        too_much = waiting > 0 and own > self._max_unheard_s * 1000
        if self._unheard.total() + ms > MAX_UNHEARD_S * 1000:
            too_much = too_much or own > MAX_UNHEARD_S * 1000 / len({*self._unheard, device_id})
        if too_much:
            setting = "shares.unheard_audio_s"
            self._ledger.refuse("speech that waits to be recognised", device_id, now, setting=setting)
            raise ProviderUnavailable("speech to text", f"too much audio waits ({setting})")
        self._unheard[device_id] = own
        try:
            yield
        finally:
            self._unheard[device_id] -= ms
            if not self._unheard[device_id]:
                del self._unheard[device_id]
