"""What the session manager keeps of one control connection: its session, and its device's tools."""

import logging

from prometheus_client import Counter

from mimi_mqtt.errors import ToolError
from mimi_mqtt.session.link import ControlChannel
from mimi_mqtt.session.session import Session
from mimi_mqtt.tools.device_mcp import DeviceTools, Payload
from mimi_mqtt.wire.messages import ServerMcp, encode

_log = logging.getLogger(__name__)

_undiscovered = Counter(
    "mimi_session_undiscovered_total", "Devices that were asked for their tools and did not tell them."
)


class Connection:
    """One connected device. Small: thousands of them do nothing most of the time."""

    __slots__ = ("_discovering", "_tools", "channel", "malformed", "session")

    def __init__(self, channel: ControlChannel) -> None:
        self.channel = channel
        self.session: Session | None = None
        self.malformed = 0
        """Messages that could not be understood."""
        self._tools: DeviceTools | None = None
        self._discovering = False

    @property
    def tools(self) -> DeviceTools:
        """The device's tools: empty until `discover`, and gone with the connection."""
        if self._tools is None:
            self._tools = DeviceTools(self._send)
        return self._tools

    @property
    def wants_discovery(self) -> bool:
        """Whether the device's tools are neither known nor being asked for."""
        return not self._discovering and not (self._tools is not None and self._tools.discovered)

    async def discover(self) -> None:
        """Asks the device for its tools. One that does not answer is asked again after its next hello."""
        self._discovering = True
        try:
            await self.tools.discover()
        except ToolError as error:
            # Not a line each: after a mass reconnect these are thousands.
            _undiscovered.inc()
            _log.debug("the device's tools are not known: %s", error)
        finally:
            self._discovering = False

    def mcp_received(self, payload: Payload) -> None:
        """An `mcp` message's payload; answers to questions that were never asked are ignored."""
        if self._tools is not None:
            self._tools.received(payload)

    def close(self) -> None:
        """The connection is gone."""
        if self._tools is not None:
            self._tools.close()

    def _send(self, payload: Payload) -> None:
        session_id = self.session.session_id if self.session is not None else ""
        self.channel.send(encode(ServerMcp(payload), session_id))
