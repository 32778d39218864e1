"""Devices for commands without sessions: what is asked of them is written down."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from mimi_mqtt.commands.ports import Said
from mimi_mqtt.errors import ToolError
from mimi_mqtt.session.reach import Reach

DEVICE = "aa-bb-cc-00-11-22"
IDLE = "aa-bb-cc-00-11-33"
AWAY = "aa-bb-cc-00-11-44"
STRANGER = "aa-bb-cc-00-11-55"


@dataclass
class FakeControl:
    """Implements `commands.ports.DeviceControl`: DEVICE has a session, IDLE is connected, AWAY is not.

    The tool `volume` answers, `refuse` fails, `hang` waits until `answer` is set, `reboot` is for people, and
    `break` raises what no tool may raise.
    """

    asked: list[tuple[str, ...]] = field(default_factory=list)
    sessions: set[str] = field(default_factory=lambda: {DEVICE})
    online: set[str] = field(default_factory=lambda: {DEVICE, IDLE})
    known: set[str] = field(default_factory=lambda: {DEVICE, IDLE, AWAY})
    answer: asyncio.Event = field(default_factory=asyncio.Event)
    broken: bool = False
    old: bool = False
    """True: its firmware fetches no sounds."""

    def knows(self, device_id: str) -> bool:
        return device_id in self.known

    def connected(self, device_id: str) -> bool:
        return device_id in self.online

    def say(self, device_id: str, text: str) -> Said | None:
        if self.broken:
            raise RuntimeError("a fault in the sessions")
        self.asked.append(("say", device_id, text))
        return "spoken" if device_id in self.sessions else "shown"

    def alert(self, device_id: str, status: str, message: str, emotion: str) -> bool:
        self.asked.append(("alert", device_id, status, message, emotion))
        return True

    async def call_tool(
        self, device_id: str, tool: str, arguments: Mapping[str, JsonValue], *, user_tools: bool
    ) -> str:
        self.asked.append(("call", device_id, tool, str(dict(arguments))))
        match tool:
            case "volume":
                return "true"
            case "long":
                return "x" * 10_000
            case "hang":
                await self.answer.wait()
                return "at last"
            case "reboot" if user_tools:
                return "rebooting"
            case "break":
                raise RuntimeError("a fault in a tool")
        raise ToolError(f"there is no tool {tool!r}; there are: volume")

    def play(self, device_id: str, url: str, text: str) -> Reach:
        if device_id not in self.online:
            return Reach.AWAY
        if device_id in self.sessions:
            return Reach.TALKING
        if self.old:
            return Reach.ALERT
        self.asked.append(("play", device_id, url, text))
        return Reach.NOTIFY

    def reboot(self, device_id: str) -> bool:
        self.asked.append(("reboot", device_id))
        return device_id in self.online

    def end_session(self, device_id: str, reason: str) -> bool:
        self.asked.append(("end", device_id, reason))
        there = device_id in self.sessions
        self.sessions.discard(device_id)
        return there

    def disconnect(self, device_id: str, reason: str) -> bool:
        self.asked.append(("disconnect", device_id, reason))
        self.sessions.discard(device_id)
        there = device_id in self.online
        self.online.discard(device_id)
        return there
