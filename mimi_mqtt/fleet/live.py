"""The live side of devices, as this process knows it: presence, the audio of the session, tools."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class DevicePresence:
    """A device's control connection; `transport` is `mqtt` or `websocket`."""

    transport: str
    since: datetime
    address: str = ""


@dataclass(frozen=True, slots=True)
class AudioReport:
    """The audio of one session, in packets and ms; None where it is not known. `udp_seen`: a good datagram of
    the device arrived; None: its audio goes another way."""

    session_id: str
    transport: str
    duration_s: float
    udp_seen: bool | None
    received: int
    lost: int
    late: int
    jitter_ms: float | None
    round_trip_ms: float | None

    @property
    def loss(self) -> float | None:
        """The part of the packets that was lost, 0 to 1."""
        sent = self.received + max(0, self.lost)
        return max(0, self.lost) / sent if sent else None


class LiveFleet(Protocol):
    """Connected devices of this process."""

    def presence(self, device_id: str) -> DevicePresence | None:
        """The device's connection; None while it has none."""

    def online(self) -> Sequence[str]:
        """The ids of all connected devices."""

    def audio(self, device_id: str) -> AudioReport | None:
        """The audio of the device's session so far; None without one."""

    def tools(self, device_id: str) -> Sequence[Mapping[str, Any]] | None:
        """The tools that the device listed for models, each with `name`, `description`, `input_schema` and
        `read_only`; None as long as they are not known."""

    async def every_tool(self, device_id: str) -> Sequence[Mapping[str, Any]] | None:
        """All tools of the device, which is asked; those it keeps for people have `for_people`. None: it is
        not connected. Raises ToolError without an answer."""
