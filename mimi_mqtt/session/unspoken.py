"""Texts for a device's next session: they waited in one that ended with its connection. Pure.

Over MQTT such a session goes on over the next connection, and its texts with it; over a WebSocket the end of
the connection is the end of the session (device contract, section 5).
"""

from collections import deque
from typing import Final

MAX_TEXTS: Final = 1_000
"""Texts of all devices that wait for a next session; the oldest is dropped beyond."""


class UnspokenTexts:
    """Keeps each text for `kept_s` seconds. `now` is the loop's clock, in s."""

    def __init__(self, kept_s: float) -> None:
        self._kept_s = kept_s
        self._texts: deque[tuple[float, str, str]] = deque(maxlen=MAX_TEXTS)  # the latest time, device, text

    def keep(self, device_id: str, text: str, now: float) -> None:
        """Adds a text for the device's next session."""
        self._texts.append((now + self._kept_s, device_id, text))

    def take(self, device_id: str, now: float) -> tuple[str, ...]:
        """The device's texts in the order in which they were to be said; they are kept no longer."""
        if not self._texts:
            return ()
        while self._texts and self._texts[0][0] <= now:
            self._texts.popleft()
        taken = tuple(text for _, device, text in self._texts if device == device_id)
        if taken:
            self._texts = deque((each for each in self._texts if each[1] != device_id), MAX_TEXTS)
        return taken
