"""The control side of one device: its connection, or the queue of what waits for its next one.

A session outlives its control connection (device contract, section 3: stock firmware reconnects by itself
after 10 s and says no new hello). While the device is away an attachment keeps the session's messages in
order; the device's next connection takes the attachment over and is sent them first.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Final

from prometheus_client import Counter

from mimi_mqtt.errors import ToolError
from mimi_mqtt.events import utc_now
from mimi_mqtt.session.device_kind import DeviceKind
from mimi_mqtt.session.link import ControlChannel
from mimi_mqtt.session.session import Session
from mimi_mqtt.tools.device_mcp import NO_VISION, REPLY_TIMEOUT_S, DeviceTools, Payload, VisionAccess
from mimi_mqtt.wire import strict_json
from mimi_mqtt.wire.messages import ServerMcp, encode

_log = logging.getLogger(__name__)

MAX_WAITING_MESSAGES: Final = 256
"""Messages that wait for a device's next connection."""
MAX_WAITING_BYTES: Final = 65_536
"""Bytes of the messages that wait for a device's next connection."""

_ONCE: Final = ("mcp", "hello")
"""Types of messages that are not sent twice: a call of a tool would be made again, and a device begins to
count its audio anew at each `hello`, with the key that it has, so that what it says next is taken for old."""

_undiscovered = Counter(
    "mimi_session_undiscovered_total", "Devices that were asked for their tools and did not tell them."
)
_overfull = Counter(
    "mimi_session_queue_overflows_total", "Sessions given up: too many messages waited for a reconnect."
)


class Attachment:
    """One device's control side. Small: thousands of them do nothing most of the time.

    Implements `session.ControlSide`. Made with the device's connection; without a session it ends with it.
    """

    __slots__ = (
        "__weakref__", "_asked_on", "_discovering", "_said_goodbye", "_tools", "_vision_due", "_waiting",
        "_waiting_bytes", "channel", "connected_at", "device_id", "is_tester", "kind", "lost_at",
        "malformed", "overfull", "refused", "restarted", "session",
    )  # fmt: skip

    def __init__(self, channel: ControlChannel, kind: DeviceKind) -> None:
        self.device_id = channel.device_id
        self.is_tester = channel.is_tester
        self.channel: ControlChannel | None = channel
        """The connection; None while the device is away."""
        self.connected_at = utc_now()
        """The time at which the connection was opened."""
        self.session: Session | None = None
        self.kind = kind
        """The bounds of the device."""
        self.malformed = 0
        """Messages that could not be understood."""
        self.refused = False
        """True once a hello was refused, until one is answered: further refusals are not logged."""
        self.lost_at: float | None = None
        """Loop time of the loss of the connection, in s; None while there is one."""
        self.overfull = False
        """True once a message was dropped because too many wait: the device can't be told the whole story."""
        self.restarted = False
        """True once the device asked for its configuration since its last hello, which it does when it
        starts."""
        self._waiting: deque[tuple[float, bytes]] | None = None  # with the loop time at which each is stale
        self._waiting_bytes = 0
        self._tools: DeviceTools | None = None
        self._asked_on: ControlChannel | None = None
        self._discovering: DeviceTools | None = None  # those being asked for
        self._vision_due: VisionAccess | None = None  # of a session that began while they are
        self._said_goodbye: tuple[str, float] | None = None

    # ── the connection comes and goes ────────────────────────────────────────────────────────────────────

    @property
    def resumable(self) -> bool:
        """True when the session may go over to another connection: over MQTT, and only the device's own.
        Over a WebSocket the end of the connection is the end of the session (device contract, section 5)."""
        return not self.is_tester and (self.channel is None or self.channel.transport == "mqtt")

    def detach(self, now: float) -> None:
        """The connection is gone: messages wait from now on, those first that were lost with it."""
        channel, self.channel = self.channel, None
        self.lost_at = now
        if self._waiting is None:
            self._waiting = deque()
        if channel is not None and self.session is not None:
            self._send_again(channel.unacknowledged())

    def _send_again(self, lost: Sequence[bytes]) -> None:
        """Keeps messages whose arrival is unknown for the next connection: without its `tts stop` a device
        speaks for ever. They may come twice, which devices don't mind, except for those of `_ONCE`."""
        if sum(map(len, lost)) <= MAX_WAITING_BYTES // 2:
            for payload in lost:
                if _type_of(payload) not in _ONCE:
                    self.send(payload)

    def attach(self, channel: ControlChannel) -> None:
        """The device is back on `channel`, which is sent nothing before `flush`."""
        self.channel = channel
        self.connected_at = utc_now()
        self.lost_at = None
        self._said_goodbye = None
        if self._waiting is None:
            self._waiting = deque()

    def flush(self, channel: ControlChannel) -> None:
        """Sends what waits, in order; nothing when `channel` is not the connection any more."""
        waiting = self._waiting
        if self.channel is not channel or waiting is None:
            return
        now = asyncio.get_running_loop().time()
        self._waiting, self._waiting_bytes = None, 0
        for stale_at, payload in waiting:
            if now < stale_at:
                channel.send(payload)

    def drop_waiting(self) -> None:
        """Forgets the messages that wait: the session they belong to is over."""
        if self._waiting is not None:
            self._waiting.clear()
            self._waiting_bytes = 0

    def close(self) -> None:
        """The end: what waits is dropped, and tool calls that wait fail."""
        self._waiting, self._waiting_bytes = None, 0
        self.channel = None
        self.close_tools()

    def close_tools(self) -> None:
        """Tool calls that wait for the device fail, and so do new ones."""
        if self._tools is not None:
            self._tools.close()

    # ── messages to the device ───────────────────────────────────────────────────────────────────────────

    @property
    def max_message_bytes(self) -> int:
        """The longest message that the device takes, in bytes."""
        return self.kind.max_message_bytes

    def send(self, payload: bytes, *, useful_s: float = float("inf")) -> None:
        """Sends one message, or keeps it for the next connection, there at most `useful_s` seconds."""
        if self._waiting is None:
            if self.channel is not None:
                self.channel.send(payload)
            return
        size = self._waiting_bytes + len(payload)
        if self.overfull or len(self._waiting) >= MAX_WAITING_MESSAGES or size > MAX_WAITING_BYTES:
            if not self.overfull:
                self.overfull = True
                _overfull.inc()
                _log.warning(
                    "too many messages wait for the device's next connection: its session will end",
                    extra={"device": self.device_id},
                )
            return
        self._waiting.append((asyncio.get_running_loop().time() + useful_s, payload))
        self._waiting_bytes = size

    @property
    def connected(self) -> bool:
        """True while the device has a connection."""
        return self.channel is not None

    def undelivered(self) -> int:
        """Bytes sent that the device has not acknowledged, those included that wait for a connection."""
        if self.channel is None or self._waiting is not None:
            return self._waiting_bytes
        return self.channel.undelivered()

    def goodbye_said(self, session_id: str, now: float) -> None:
        """Remembers that `goodbye` for this session was just sent."""
        self._said_goodbye = (session_id, now)

    def said_goodbye_since(self, session_id: str, since: float) -> bool:
        """True when the last `goodbye` was for this session and sent at `since` (loop time, s) or later."""
        said = self._said_goodbye
        return said is not None and said[0] == session_id and said[1] >= since

    # ── the device's tools ───────────────────────────────────────────────────────────────────────────────

    @property
    def tools(self) -> DeviceTools:
        """The device's tools: empty until `discover`."""
        if self._tools is None:
            self._tools = DeviceTools(self._send_mcp)
        return self._tools

    def hello_said(self, channel: ControlChannel) -> None:
        """The device said hello on `channel`. After another connection than that it may have started anew: it
        has other tools, and answers nothing that it was asked before."""
        self.restarted = self.refused = False
        if self._asked_on is not None and self._asked_on is not channel:
            self.close_tools()
            self._tools = self._asked_on = None

    @property
    def wants_discovery(self) -> bool:
        """True when the tools are neither known nor being asked for."""
        return self._tools is None or not (self._tools.discovered or self._discovering is self._tools)

    @property
    def has_camera(self) -> bool:
        """True when the device is known to have a camera."""
        return self._tools is not None and self._tools.has_camera

    @property
    def wants_introduction(self) -> bool:
        """True when the device is to be asked for its tools, or told where its photos go: it has a camera, or
        may have one, as its tools are being asked for."""
        return self.wants_discovery or self._discovering is not None or self.has_camera

    async def renew_vision(self, vision: VisionAccess) -> None:
        """Tells a device with a camera where its photos go in this session, and with which token. While its
        tools are being asked for, which began before this session, that is done when they are known."""
        if self._discovering is not None:
            self._vision_due = vision
            return
        try:
            await self.tools.introduce(vision)
        except ToolError as error:
            _log.debug("the device was not told where its photos go: %s", error)

    async def discover(self, vision: VisionAccess = NO_VISION) -> None:
        """Asks the device for its tools. One that does not answer is asked again after its next hello."""
        try:
            await self.ask_for_tools(vision)
        except ToolError as error:
            # Not a line each: after a mass reconnect these are thousands.
            _undiscovered.inc()
            _log.debug("the device's tools are not known: %s", error)

    async def ask_for_tools(self, vision: VisionAccess = NO_VISION) -> None:
        """Asks the device for its tools; `vision` is where its photos go. Raises ToolError without an
        answer."""
        tools = self._discovering = self.tools
        self._asked_on = self.channel
        due: VisionAccess | None = None
        try:
            await tools.discover(vision)
        finally:
            if self._discovering is tools:
                self._discovering = None
                due, self._vision_due = self._vision_due, None
        if due is not None and tools.has_camera:
            await self.renew_vision(due)

    def mcp_received(self, payload: Payload) -> None:
        """An `mcp` message's payload; answers to questions that were never asked are ignored."""
        if self._tools is not None:
            self._tools.received(payload)

    def mcp_broken(self, raw: bytes) -> None:
        """A message of broken JSON: where it is a tool's answer, its call fails at once."""
        if self._tools is not None:
            self._tools.received_broken(raw)

    def _send_mcp(self, payload: Payload) -> None:
        session_id = self.session.session_id if self.session is not None else ""
        message = encode(ServerMcp(payload), session_id)
        if len(message) > self.max_message_bytes:
            raise ToolError(
                f"the call has {len(message)} bytes and this device takes {self.max_message_bytes}: "
                "use shorter arguments"
            )
        # A call that was given up is not carried out later.
        self.send(message, useful_s=REPLY_TIMEOUT_S)


def _type_of(message: bytes) -> object:
    try:
        parsed = strict_json.loads(message)
    except ValueError:  # not one of ours: an administrator may push anything
        return None
    return parsed.get("type") if isinstance(parsed, dict) else None
