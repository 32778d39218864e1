"""Timers that the assistant sets: `set_timer`, `list_timers`, `cancel_timer`.

They belong to the device, not to a session: a new hello does not touch them. One that becomes due while its
device is away is told when the device comes back within a day.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mimi_mqtt.errors import ToolError
from mimi_mqtt.providers.contract.chat import ToolSpec
from mimi_mqtt.providers.durations import spoken_duration
from mimi_mqtt.tools.builtin.timer_texts import due_sentence, missed_sentence, named
from mimi_mqtt.tools.registry import Tool

_log = logging.getLogger(__name__)

MAX_SECONDS: Final = 24 * 3600
"""Longest timer."""
MAX_PER_DEVICE: Final = 20
"""Timers of one device at once, those included that were due while it was away."""
MAX_LABEL_CHARS: Final = 40
MISSED_KEPT_S: Final = 24 * 3600.0
"""The time that a timer which was due while its device was away waits for the device, in seconds."""

Announcer = Callable[[str, str], bool]
"""`(device id, text)`: tells the device; False when it is not connected."""
LanguageOf = Callable[[str], str]
"""`(device id)`: the language in which the device is told something."""

_SET = ToolSpec(
    name="set_timer",
    description="Sets a timer. The device says when it is due. The label is what it is for, or empty.",
    parameters={
        "type": "object",
        "properties": {
            "seconds": {"type": "integer", "minimum": 1, "maximum": MAX_SECONDS},
            "label": {"type": "string", "maxLength": MAX_LABEL_CHARS, "default": ""},
        },
        "required": ["seconds"],
    },
)
_LIST = ToolSpec(
    name="list_timers",
    description="Lists the running timers and the time they have left.",
    parameters={"type": "object", "properties": {}},
    read_only=True,
)
_CANCEL = ToolSpec(
    name="cancel_timer",
    description="Cancels the timer with this label; with an empty label, the only timer there is.",
    parameters={
        "type": "object",
        "properties": {"label": {"type": "string", "maxLength": MAX_LABEL_CHARS, "default": ""}},
    },
)


@dataclass(slots=True, eq=False)
class _Timer:
    label: str
    seconds: int
    due: float  # loop time
    handle: asyncio.TimerHandle | None = None  # until it is due; if it could not be told, until given up
    missed: bool = False  # it was due, and its device was away

    @property
    def name(self) -> str:
        return named(self.label) if self.label else f"timer for {spoken_duration(self.seconds)}"

    def stop(self) -> None:
        if self.handle is not None:
            self.handle.cancel()
            self.handle = None


class Timers:
    """The timers of all devices. `announce` speaks or shows a text on a device, in the language that
    `language_of` tells. The tools' own answers are for a language model, and in English."""

    def __init__(self, announce: Announcer, language_of: LanguageOf = lambda _: "en") -> None:
        self._announce = announce
        self._language_of = language_of
        self._of: dict[str, list[_Timer]] = {}

    def for_device(self, device_id: str) -> "DeviceTimers":
        """The three tools, bound to one device."""
        return DeviceTimers(self, device_id)

    def set(self, device_id: str, seconds: int, label: str) -> str:
        """Starts a timer; says so. Raises ToolError when the device has too many, or one of that label."""
        timers = self._of.get(device_id, [])
        if len(timers) >= MAX_PER_DEVICE:
            raise ToolError(f"there are {MAX_PER_DEVICE} timers already; cancel one first")
        if not 1 <= seconds <= MAX_SECONDS:
            raise ToolError("a timer runs from one second to twenty-four hours")
        label = " ".join(label.split())[:MAX_LABEL_CHARS]
        if label and any(timer.label.casefold() == label.casefold() and not timer.missed for timer in timers):
            raise ToolError(f"there is a timer called {label} already; cancel it or choose another label")
        loop = asyncio.get_running_loop()
        timer = _Timer(label, seconds, loop.time() + seconds)
        timer.handle = loop.call_at(timer.due, self._due, device_id, timer)
        self._of.setdefault(device_id, []).append(timer)
        return f"The {timer.name} is set." if label else f"The timer is set for {spoken_duration(seconds)}."

    def list(self, device_id: str) -> str:
        """The running timers with what is left of them, in words."""
        now = asyncio.get_running_loop().time()
        running = sorted(
            (timer for timer in self._of.get(device_id, ()) if not timer.missed), key=lambda timer: timer.due
        )
        if not running:
            return "No timers are running."
        return "\n".join(
            f"{timer.name}: {spoken_duration(max(1, round(timer.due - now)))} left" for timer in running
        )

    def cancel(self, device_id: str, label: str) -> str:
        """Stops the timer of that label, or if empty the only timer. Raises ToolError when none fits."""
        running = [timer for timer in self._of.get(device_id, ()) if not timer.missed]
        if not running:
            raise ToolError("no timers are running")
        wanted = " ".join(label.split()).casefold()
        fitting = [timer for timer in running if timer.label.casefold() == wanted] if wanted else running
        if len(fitting) != 1:
            names = ", ".join(timer.name for timer in running)
            raise ToolError(f"say which timer to cancel; there are: {names}")
        timer = fitting[0]
        self._forget(device_id, timer)
        return f"The {timer.name} is cancelled."

    def missed(self, device_id: str) -> bool:
        """True when a timer was due while the device was away."""
        return any(timer.missed for timer in self._of.get(device_id, ()))

    def device_connected(self, device_id: str) -> None:
        """Tells a device that came back which timers it missed."""
        now = asyncio.get_running_loop().time()
        for timer in [timer for timer in self._of.get(device_id, ()) if timer.missed]:
            ago = max(1, round(now - timer.due))
            language = self._language_of(device_id)
            if self._announce(device_id, missed_sentence(language, timer.label, timer.seconds, ago)):
                self._forget(device_id, timer)

    def drop(self, device_id: str) -> None:
        """Stops all timers of a device that may no longer connect."""
        for timer in self._of.pop(device_id, ()):
            timer.stop()

    def close(self) -> None:
        """Stops all timers: the server ends."""
        for device_id in list(self._of):
            self.drop(device_id)

    def _due(self, device_id: str, timer: _Timer) -> None:
        sentence = due_sentence(self._language_of(device_id), timer.label, timer.seconds)
        if self._announce(device_id, sentence):
            self._forget(device_id, timer)
        else:
            timer.missed = True
            timer.handle = asyncio.get_running_loop().call_later(
                MISSED_KEPT_S, self._forget, device_id, timer
            )
            _log.info("a timer is due and its device is away", extra={"device": device_id})

    def _forget(self, device_id: str, timer: _Timer) -> None:
        timer.stop()
        timers = self._of.get(device_id, [])
        if timer in timers:
            timers.remove(timer)
        if not timers:
            self._of.pop(device_id, None)


class DeviceTimers:
    """One device's view of the timers: a source of tools."""

    __slots__ = ("_device_id", "_timers")

    def __init__(self, timers: Timers, device_id: str) -> None:
        self._timers = timers
        self._device_id = device_id

    def tools(self) -> Sequence[Tool]:
        """The three tools. Made anew each time: kept here, they would keep this view and it them alive."""
        return (Tool(_SET, self._set), Tool(_LIST, self._list), Tool(_CANCEL, self._cancel))

    async def _set(self, arguments: Mapping[str, Any]) -> str:
        return self._timers.set(self._device_id, arguments["seconds"], arguments.get("label", ""))

    async def _list(self, _: Mapping[str, Any]) -> str:
        return self._timers.list(self._device_id)

    async def _cancel(self, arguments: Mapping[str, Any]) -> str:
        return self._timers.cancel(self._device_id, arguments.get("label", ""))
