"""The live side of devices for the fleet: implements `fleet.live.LiveFleet` and
`fleet.claiming.NearbyDevices` with the connections and sessions of one manager."""

import asyncio
from collections.abc import Sequence
from typing import Any

from mimi_mqtt.fleet.live import AudioReport, DevicePresence
from mimi_mqtt.session.attachment import Attachment
from mimi_mqtt.session.manager import SessionManager
from mimi_mqtt.session.session import Session
from mimi_mqtt.shares import address_holder
from mimi_mqtt.wire.fitting import encode_within
from mimi_mqtt.wire.messages import Alert


class ConnectedDevices:
    """The devices that are connected to this process themselves; testers don't count."""

    def __init__(self, manager: SessionManager) -> None:
        self._manager = manager
        self._asking: dict[str, asyncio.Task[Sequence[dict[str, Any]]]] = {}
        """Devices that are being asked for all of their tools."""

    def _attachment(self, device_id: str) -> Attachment | None:
        attachment = self._manager.attachment(device_id)
        return attachment if attachment is not None and not attachment.is_tester else None

    def presence(self, device_id: str) -> DevicePresence | None:
        """See `LiveFleet`, and so below."""
        attachment = self._attachment(device_id)
        if attachment is None or attachment.channel is None:
            return None
        channel = attachment.channel
        return DevicePresence(channel.transport, attachment.connected_at, channel.peer_host or "")

    def online(self) -> Sequence[str]:
        """Ids, in any order."""
        return [attachment.device_id for attachment in self._manager.attachments()]

    def audio(self, device_id: str) -> AudioReport | None:
        """Of the live session."""
        session = self._manager.session(device_id)
        if session is None:
            return None
        return audio_report(session, self._attachment(device_id), asyncio.get_running_loop().time())

    def tools(self, device_id: str) -> Sequence[dict[str, Any]] | None:
        """Those that models may call."""
        attachment = self._attachment(device_id)
        return listed_tools(attachment) if attachment is not None else None

    async def every_tool(self, device_id: str) -> Sequence[dict[str, Any]] | None:
        """Asks the device itself, once a connection. All who ask meanwhile wait for one answer: a device
        takes few questions at once, and has to have room for those of its conversation."""
        asking = self._asking.get(device_id)
        if asking is None:
            attachment = self._attachment(device_id)
            if attachment is None or not attachment.connected:
                return None
            asking = asyncio.create_task(self._ask(attachment), name="question for all tools of a device")
            self._asking[device_id] = asking
            asking.add_done_callback(lambda done: self._asked(device_id, done))
        return await asyncio.shield(asking)

    async def _ask(self, attachment: Attachment) -> Sequence[dict[str, Any]]:
        if not attachment.tools.discovered:
            await attachment.ask_for_tools(self._manager.discovery.vision(attachment.device_id))
        return [
            {
                "name": tool.name,
                "description": tool.description,
                "input_schema": dict(tool.input_schema),
                "for_people": tool.user_only,
                "read_only": tool.read_only,
            }
            for tool in await attachment.tools.everything()
        ]

    def _asked(self, device_id: str, done: "asyncio.Task[Sequence[dict[str, Any]]]") -> None:
        del self._asking[device_id]
        if not done.cancelled():
            done.exception()  # of nobody's, when all who waited have gone

    def connected_from(self, address: str) -> Sequence[str]:
        """See `NearbyDevices`; Espressif's own client shows no texts."""
        return [
            attachment.device_id
            for attachment in self._manager.attachments()
            if attachment.channel is not None
            and attachment.kind.alerts
            and address_holder(attachment.channel.peer_host or "") == address
        ]

    def show(self, device_id: str, title: str, text: str) -> bool:
        """By an alert, which works in every state."""
        attachment = self._attachment(device_id)
        if attachment is None:
            return False
        attachment.send(encode_within(Alert(title, text, "neutral"), "", attachment.max_message_bytes))
        return True


def audio_report(session: Session, attachment: Attachment | None, now: float) -> AudioReport | None:
    """The audio of a session, live or over; `now` is the loop's clock. None when it never had a channel."""
    stats = session.stats
    if stats is None:
        return None
    over_udp = session.hello.transport == "udp"
    channel = attachment.channel if attachment is not None else None
    return AudioReport(
        session_id=session.session_id,
        transport=session.hello.transport,
        duration_s=now - session.opened_at,
        udp_seen=stats.received > 0 if over_udp else None,
        received=stats.received,
        lost=stats.lost,
        late=stats.late,
        jitter_ms=round(stats.jitter_ms, 1) if over_udp and stats.received > 1 else None,
        round_trip_ms=channel.round_trip_ms() if channel is not None else None,
    )


def listed_tools(attachment: Attachment) -> list[dict[str, Any]] | None:
    """The tools that a device listed, with its own names; None as long as they are not known."""
    tools = attachment.tools
    if not tools.discovered:
        return None
    return [
        {
            "name": tool.own_name,
            "description": tool.spec.description,
            "input_schema": dict(tool.spec.parameters),
            "read_only": tool.spec.read_only,
        }
        for tool in tools.tools()
    ]
