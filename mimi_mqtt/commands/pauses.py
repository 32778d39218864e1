"""Pauses of devices: until when a device is told nothing further, and what is done then."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class _Pause:
    until: float  # loop time, s
    timer: asyncio.TimerHandle | None = None


class Pauses:
    """The pauses of all devices; `over` is called with a device for which `is_over` was False, at the end of
    its pause. Belongs to the running loop's thread."""

    def __init__(self, over: Callable[[str], None]) -> None:
        self._over = over
        self._loop = asyncio.get_running_loop()
        self._of: dict[str, _Pause] = {}

    def __len__(self) -> int:
        """Devices with a pause that is not forgotten."""
        return len(self._of)

    def extend(self, device_id: str, seconds: float) -> None:
        """The device's pause lasts at least so long from now on."""
        until = self._loop.time() + seconds
        pause = self._of.setdefault(device_id, _Pause(until))
        pause.until = max(pause.until, until)

    def end(self, device_id: str) -> None:
        """The device has no pause any more."""
        if (pause := self._of.pop(device_id, None)) is not None and pause.timer is not None:
            pause.timer.cancel()

    def is_over(self, device_id: str) -> bool:
        """True when the device has no pause; else `over` is called at its end."""
        pause = self._of.get(device_id)
        if pause is None or pause.until <= self._loop.time():
            return True
        if pause.timer is None:
            pause.timer = self._loop.call_at(pause.until, self._ended, device_id)
        return False

    def forget_past(self) -> None:
        """Forgets pauses that are over."""
        now = self._loop.time()
        past = [name for name, pause in self._of.items() if pause.timer is None and pause.until <= now]
        for device_id in past:
            del self._of[device_id]

    def close(self) -> None:
        """Calls `over` for none any more."""
        for device_id in list(self._of):
            self.end(device_id)

    def _ended(self, device_id: str) -> None:
        self._of[device_id].timer = None
        self._over(device_id)
