"""The interface between commands and live devices, implemented by `session.control`."""

from collections.abc import Mapping
from typing import Literal, Protocol

from pydantic import JsonValue

Said = Literal["spoken", "shown"]
"""The way a text reached a device: queued as speech of its session, or shown as an alert without one."""


class DeviceControl(Protocol):
    """Devices as commands reach them. All but `call_tool` return at once, and act at once or not at all."""

    def knows(self, device_id: str) -> bool:
        """True for a device that may connect, connected or not."""

    def connected(self, device_id: str) -> bool:
        """True while the device has a control connection, of any transport."""

    def say(self, device_id: str, text: str) -> Said | None:
        """Speaks `text` when the running turn is over; without a session shows it. None: not connected."""

    def alert(self, device_id: str, status: str, message: str, emotion: str) -> bool:
        """Shows a message. False: not connected."""

    async def call_tool(
        self, device_id: str, tool: str, arguments: Mapping[str, JsonValue], *, user_tools: bool
    ) -> str:
        """Calls a tool of the device or of its session, and returns its result's text.

        With `user_tools` the device's tools for people are there too. Raises ToolError, whose message is for
        a person: not connected, no such tool, a wrong argument, a failure, no answer.
        """

    def end_session(self, device_id: str, reason: str) -> bool:
        """Ends the session with `goodbye`. False: there is none."""

    def disconnect(self, device_id: str, reason: str) -> bool:
        """Ends the session and the control connection. False: not connected."""
