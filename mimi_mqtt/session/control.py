"""Devices as commands and notices reach them: the session manager's side of `commands.ports`."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from mimi_mqtt.errors import ToolError
from mimi_mqtt.session.manager import SessionManager
from mimi_mqtt.session.reach import Reach
from mimi_mqtt.tools.observed import ObservedTools
from mimi_mqtt.voice.ports import Announcement
from mimi_mqtt.wire.fitting import encode_within
from mimi_mqtt.wire.messages import Alert, Notify, Subtitle, System, encode

EVERY_TOOL: Final = ("*",)
_OF_DEVICES: Final = "self."
"""The prefix of all tool names of stock firmware (device contract, section 6)."""


def _has(tools: ObservedTools, name: str) -> bool:
    return any(spec.name == name for spec in tools.specs())


class LiveDevices:
    """Implements `commands.ports.DeviceControl` and `NoticeControl` with the sessions and connections of one
    manager."""

    def __init__(self, manager: SessionManager) -> None:
        self._manager = manager

    def knows(self, device_id: str) -> bool:
        """See `DeviceControl`, and so below."""
        return self._manager.knows(device_id)

    def connected(self, device_id: str) -> bool:
        """True while the device has a connection."""
        return self._manager.attachment(device_id) is not None

    def say(self, device_id: str, text: str) -> Literal["spoken", "shown"] | None:
        """Speech in a session, else an alert."""
        in_session = self._manager.session(device_id) is not None
        if not self._manager.announce(device_id, text):
            return None
        return "spoken" if in_session else "shown"

    def alert(self, device_id: str, status: str, message: str, emotion: str) -> bool:
        """Works in every state."""
        attachment = self._manager.attachment(device_id)
        if attachment is None:
            return False
        alert = Alert(status, message, emotion)
        attachment.send(encode_within(alert, "", attachment.max_message_bytes))
        return True

    def reach(self, device_id: str) -> Reach:
        """A device over WebSocket without a session is about to say hello, or Espressif's."""
        attachment = self._manager.attachment(device_id)
        if attachment is None or attachment.channel is None:
            return Reach.AWAY
        if self._manager.session(device_id) is not None:
            return Reach.TALKING
        if attachment.channel.transport != "mqtt":
            return Reach.SILENT
        kind = self._manager.kind(device_id)
        return Reach.NOTIFY if kind.notifies else Reach.ALERT if kind.alerts else Reach.SILENT

    def speaker(self, device_id: str) -> tuple[str, str]:
        """Those of its next session, or of the present one."""
        return self._manager.speaker(device_id)

    def announce(self, device_id: str, announcement: Announcement) -> bool:
        """After the running turn."""
        return self._manager.announce_in_session(device_id, announcement)

    def notify(self, device_id: str, url: str, subtitles: tuple[Subtitle, ...]) -> bool:
        """Sends `notify`; subtitles that do not fit the device are left out."""
        attachment = self._manager.attachment(device_id)
        if attachment is None:
            return False
        attachment.send(encode_within(Notify(url, subtitles), "", attachment.max_message_bytes))
        return True

    def play(self, device_id: str, url: str, text: str) -> Reach:
        """By `notify`, to an idle device whose firmware knows it."""
        reach = self.reach(device_id)
        if reach is Reach.NOTIFY:
            self.notify(device_id, url, (Subtitle(0, text),) if text else ())
        return reach

    def reboot(self, device_id: str) -> bool:
        """By `system`, which every firmware knows, in any state."""
        attachment = self._manager.attachment(device_id)
        if attachment is None:
            return False
        session = attachment.session
        attachment.send(encode(System("reboot"), session.session_id if session is not None else ""))
        return True

    async def call_tool(
        self, device_id: str, tool: str, arguments: Mapping[str, Any], *, user_tools: bool
    ) -> str:
        """The device is asked for its tools first, when they are not known yet."""
        attachment = self._manager.attachment(device_id)
        if attachment is None:
            raise ToolError("the device is not connected")
        tools = self._manager.tools(attachment, EVERY_TOOL if user_tools else None)
        vision = self._manager.discovery.vision
        if not attachment.tools.discovered and not _has(tools, tool):
            await attachment.ask_for_tools(vision(device_id))
        elif "camera" in tool and attachment.has_camera and self._manager.session(device_id) is None:
            # The token that it has ended with its last session.
            await attachment.renew_vision(vision(device_id))
        names = {known.own_name: known.spec.name for known in attachment.tools.tools() if known.own_name}
        name = names.get(tool, tool)
        if user_tools and tool.startswith(_OF_DEVICES) and not _has(tools, name):
            # One that it keeps for people: not in the list that models are told of.
            tools = self._manager.tools(attachment, EVERY_TOOL, attachment.tools.unlisted(tool))
            name = tool
        return await tools.call(name, arguments)

    def end_session(self, device_id: str, reason: str) -> bool:
        """With `goodbye`."""
        session = self._manager.session(device_id)
        if session is None:
            return False
        session.end(reason, goodbye=True)
        return True

    def disconnect(self, device_id: str, reason: str) -> bool:
        """With `goodbye`, where there is a session."""
        if not self.connected(device_id):
            return False
        self._manager.disconnect(device_id, reason)
        return True
