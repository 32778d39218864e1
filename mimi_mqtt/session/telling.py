"""Domain events of connections and sessions, published for the session manager."""

from typing import Final

from mimi_mqtt.events import (
    DeviceConnected,
    DeviceGone,
    EventBus,
    SessionEnded,
    SessionOpened,
    SessionRefused,
)
from mimi_mqtt.fleet.agents import AgentCatalog
from mimi_mqtt.fleet.directory import DeviceInfo
from mimi_mqtt.session.link import ControlChannel
from mimi_mqtt.session.session import Session

MAX_REASON_CHARS: Final = 200
"""A longer reason of a refusal, which may hold a device's own words, is cut."""


class SessionEvents:
    """Publishes on `bus`; a hello waits for it, so an event without an observer costs next to nothing."""

    __slots__ = ("_agents", "bus")

    def __init__(self, bus: EventBus, agents: AgentCatalog) -> None:
        self.bus = bus
        self._agents = agents

    def connected(self, channel: ControlChannel, device: DeviceInfo | None) -> None:
        """The device itself connected; `device` is what is known of it."""
        if self.bus.wanted(DeviceConnected):
            self.bus.publish(
                DeviceConnected(
                    device_id=channel.device_id,
                    transport=channel.transport,
                    board=device.board if device is not None else "",
                    firmware=device.firmware_version if device is not None else "",
                )
            )

    def gone(self, channel: ControlChannel, reason: str) -> None:
        """The device's last connection is gone."""
        if self.bus.wanted(DeviceGone):
            self.bus.publish(DeviceGone(device_id=channel.device_id, reason=reason))

    def opened(self, session: Session) -> None:
        """The hello of `session` was answered."""
        if self.bus.wanted(SessionOpened):
            self.bus.publish(
                SessionOpened(
                    device_id=session.device_id,
                    session_id=session.session_id,
                    transport=session.hello.transport,
                    agent=self._agents.of(session.device).key,
                )
            )

    def refused(self, device_id: str, reason: str) -> None:
        """A hello was refused."""
        if self.bus.wanted(SessionRefused):
            self.bus.publish(SessionRefused(device_id=device_id, reason=reason[:MAX_REASON_CHARS]))

    def ended(self, session: Session, now: float) -> None:
        """`session` is over; `now` is the loop's clock, in s."""
        if self.bus.wanted(SessionEnded):
            self.bus.publish(
                SessionEnded(
                    device_id=session.device_id,
                    session_id=session.session_id,
                    reason=session.end_reason,
                    duration_s=now - session.opened_at,
                )
            )
