"""Finds sessions by device and connection; opens, replaces and expires them.

Identity is the connection: a message acts only on the session that lives on the connection it came by,
whatever session id it names. So another device's id, one from before a restart, and one never given out are
all the same.

A session ends with its connection. Nothing would be gained by waiting for a reconnect: a stock device
reconnects only when it is idle, and then says hello anew; a session without control can't begin to speak.
"""

import asyncio
import contextvars
import logging
import secrets
from collections.abc import Coroutine, Mapping
from typing import Any, Final, Protocol

from prometheus_client import Counter, Gauge

from mimi_mqtt.config import SessionSettings, Settings
from mimi_mqtt.config.prompt import UserFacts
from mimi_mqtt.errors import MessageError
from mimi_mqtt.fleet.agents import Agent, AgentDirectory
from mimi_mqtt.fleet.directory import DeviceInfo
from mimi_mqtt.log import log_context
from mimi_mqtt.session.background import Background, Discovery
from mimi_mqtt.session.connection import Connection
from mimi_mqtt.session.link import AudioRequest, AudioTransport, ControlChannel
from mimi_mqtt.session.playout import Playout
from mimi_mqtt.session.session import ConversationFactory, Party, Session
from mimi_mqtt.tools.builtin.clock import Clock
from mimi_mqtt.tools.builtin.timers import Timers
from mimi_mqtt.tools.registry import ToolBox, ToolSource
from mimi_mqtt.voice.ports import AudioFormat
from mimi_mqtt.wire.messages import (
    Abort,
    Alert,
    AudioParams,
    DeviceGoodbye,
    DeviceHello,
    DeviceMcp,
    Listen,
    ServerGoodbye,
    ServerHello,
    UnknownMessage,
    encode,
    parse,
)

_log = logging.getLogger(__name__)

SAMPLE_RATES: Final = (8_000, 12_000, 16_000, 24_000, 48_000)
"""Uplink sample rates in Hz: those of Opus."""
FRAME_DURATIONS: Final = (20, 40, 60)
"""Frame lengths in ms, both ways."""
SENTENCE_END_S: Final = 3.0
"""How long a stop waits for the sentences being spoken, in seconds."""
TASKS_END_S: Final = 5.0
"""How long a stop waits for conversations to end, in seconds."""
MAX_SESSION_ID_CHARS: Final = 128
"""An unknown session id is repeated in `goodbye` up to this length; a longer one was never a session's."""

_HELLO_TRANSPORT: Final = {"mqtt": "udp", "websocket": "websocket"}  # by control transport

_active = Gauge("mimi_sessions_active", "Live sessions.")
_opened = Counter("mimi_sessions_opened_total", "Sessions opened.")
_refused = Counter("mimi_sessions_refused_total", "Hellos answered with an alert.")
_malformed = Counter("mimi_session_malformed_total", "Control messages that could not be understood.")
_stale = Counter("mimi_session_stale_total", "Control messages for a session that is not the connection's.")
_messages = Counter("mimi_session_messages_total", "Control messages from devices, by type.", ["type"])
_counted = {
    DeviceHello: _messages.labels("hello"),
    Listen: _messages.labels("listen"),
    Abort: _messages.labels("abort"),
    DeviceMcp: _messages.labels("mcp"),
    DeviceGoodbye: _messages.labels("goodbye"),
    UnknownMessage: _messages.labels("other"),
}


class KnownDevices(Protocol):
    """What is known of the devices that may connect: `fleet.directory.DeviceDirectory`."""

    def get(self, device_id: str) -> DeviceInfo | None:
        """The device, or None when it may not, or no longer, connect."""


class SessionManager:
    """All sessions of this process. Implements `link.ControlSink` and `session.SessionOwner`.

    `audio_transports` by the hello's `transport`; `converse` makes an agent's conversations, by the agent's
    key, being `voice.conversation.Conversation` with its `services` filled in. Make it on the running loop;
    `await aclose()` before the transports close.
    """

    def __init__(
        self,
        settings: Settings,
        devices: KnownDevices,
        audio_transports: Mapping[str, AudioTransport],
        agents: AgentDirectory,
        converse: Mapping[str, ConversationFactory],
    ) -> None:
        self._settings = settings
        self._devices = devices
        self._audio_transports = audio_transports
        self._agents = agents
        self._converse = converse
        self._connections: dict[ControlChannel, Connection] = {}
        self._of_device: dict[str, Connection] = {}
        self._sessions: dict[str, Session] = {}  # by device id
        self._background = Background()
        self._discovery = Discovery(self._background)
        self._timers = Timers(self.announce)
        self._clock = Clock(settings.server.timezone)
        self._playout = Playout()
        self._closing = False
        self._expire_every_s = min(1.0, settings.session.idle_timeout_s / 10)
        self._loop = asyncio.get_running_loop()
        self._expiry = self._loop.call_later(self._expire_every_s, self._expire)

    @property
    def count(self) -> int:
        """Live sessions."""
        return len(self._sessions)

    def session(self, device_id: str) -> Session | None:
        """The device's live session."""
        return self._sessions.get(device_id)

    # ── ControlSink: what transports deliver ─────────────────────────────────────────────────────────────

    def control_opened(self, channel: ControlChannel) -> None:
        """A device connected. An older connection of it is dying, and its session ends now."""
        previous = self._sessions.get(channel.device_id)
        if previous is not None:
            previous.end("disconnected")
        self._connections[channel] = self._of_device[channel.device_id] = Connection(channel)
        if self._timers.missed(channel.device_id):
            self._loop.call_soon(self._timers.device_connected, channel.device_id)

    def control_closed(self, channel: ControlChannel, reason: str) -> None:
        """The connection is gone, and with it the session that lived on it."""
        connection = self._connections.pop(channel, None)
        if connection is None:
            return
        if self._of_device.get(channel.device_id) is connection:
            del self._of_device[channel.device_id]
        connection.close()
        if connection.session is not None:
            connection.session.end("disconnected")

    def control_message(self, channel: ControlChannel, payload: bytes) -> None:
        """One message. What can't be understood is counted, logged once a connection, and changes nothing."""
        connection = self._connections.get(channel)
        if connection is None:
            return
        try:
            message = parse(payload)
        except MessageError as error:
            self._count_malformed(connection, error)
            return
        _counted[type(message)].inc()
        try:
            if isinstance(message, DeviceHello):
                self._hello(connection, message)
            elif not isinstance(message, UnknownMessage):
                self._dispatch(connection, message)
        except Exception:  # noqa: BLE001 - the border: what one device causes, only that device pays for
            if connection.session is not None:
                connection.session.fail()
            else:
                _log.exception("a control message failed", extra={"device": channel.device_id})

    def _count_malformed(self, connection: Connection, error: MessageError) -> None:
        _malformed.inc()
        connection.malformed += 1
        if connection.malformed == 1:
            _log.warning(
                "a message can't be understood and is ignored, like any further one: %s",
                error,
                extra={"device": connection.channel.device_id},
            )

    def _dispatch(self, connection: Connection, message: Listen | Abort | DeviceMcp | DeviceGoodbye) -> None:
        session = connection.session
        now = self._loop.time()
        # Firmware may have forgotten its session id; the connection knows it.
        current = session is not None and message.session_id in ("", session.session_id)
        if isinstance(message, DeviceMcp):
            # Before any hello too, and with any id: answers are matched by number, on their own connection.
            if session is not None and current:
                session.touch(now)
            with log_context(device=connection.channel.device_id):
                connection.mcp_received(message.payload)
        elif session is None or not current:
            _stale.inc()
            if isinstance(message, Listen) and len(message.session_id) <= MAX_SESSION_ID_CHARS:
                connection.channel.send(encode(ServerGoodbye(message.session_id)))
        elif isinstance(message, DeviceGoodbye):
            session.end("goodbye")
        else:
            session.received(message, now)

    # ── hello ────────────────────────────────────────────────────────────────────────────────────────────

    def _hello(self, connection: Connection, hello: DeviceHello) -> None:
        """Answers first; whatever takes time comes after, or when it is needed."""
        channel = connection.channel
        device_id = channel.device_id
        device = self._devices.get(device_id)
        server = self._settings.server
        host = server.public_host or (device.host if device is not None else None) or channel.local_host
        refusal = self._refusal(channel, hello)
        if device is None:
            refusal = "This device is not registered. Please restart it."
        elif not host:
            refusal = "The server does not know its own address: set server.public_host in broker.yaml."
        if refusal or device is None or not host:
            _refused.inc()
            _log.warning("hello refused: %s", refusal, extra={"device": device_id})
            channel.send(encode(Alert("Error", refusal, "sad")))
            return

        previous = self._sessions.get(device_id)
        if previous is not None:
            previous.end("replaced")
        session_id = secrets.token_hex(16)
        rate, frame_ms = hello.audio.sample_rate, hello.audio.frame_duration
        downlink = AudioFormat(self._settings.voice.downlink_sample_rate, frame_ms)
        agent = self._agents.of(device)
        user = UserFacts(device.user_name, device.language or server.language)
        party = Party(device.facts, user, agent, agent.settings.language or user.language)
        uplink = AudioFormat(rate, frame_ms)
        session = Session(self, channel, session_id, uplink, downlink, party, self._loop.time())
        audio = self._audio_transports[hello.transport].open(
            AudioRequest(device_id, session_id, device.udp_key, host, rate, frame_ms), session
        )
        session.attach(audio)
        answer = ServerHello(
            hello.transport, session_id, AudioParams(downlink.sample_rate, 1, frame_ms), audio.describe()
        )
        connection.session = self._sessions[device_id] = session
        channel.send(encode(answer))

        _opened.inc()
        _active.inc()
        _log.debug("session opened", extra={"device": device_id, "session": session_id})
        if hello.mcp and connection.wants_discovery:
            self._discovery.want(connection)

    def _refusal(self, channel: ControlChannel, hello: DeviceHello) -> str:
        audio = hello.audio
        if self._closing:
            return "The server is being restarted. Please try again in a moment."
        transport = hello.transport
        if transport != _HELLO_TRANSPORT.get(channel.transport) or transport not in self._audio_transports:
            return f"The transport {transport[:20]!r} is not possible on this connection."
        if audio.channels != 1:
            return f"Audio must have one channel, not {audio.channels}."
        if audio.sample_rate not in SAMPLE_RATES:
            return f"A sample rate of {audio.sample_rate} Hz is not possible; 16000 is."
        if audio.frame_duration not in FRAME_DURATIONS:
            return f"Frames of {audio.frame_duration} ms are not possible; 20, 40 and 60 are."
        if (
            len(self._sessions) >= self._settings.session.max_sessions
            and channel.device_id not in self._sessions
        ):
            return "The server has no room for another conversation. Please try again later."
        return ""

    # ── SessionOwner: what sessions ask for ──────────────────────────────────────────────────────────────

    @property
    def playout(self) -> Playout:
        """The timer of all downlinks."""
        return self._playout

    @property
    def limits(self) -> SessionSettings:
        """The section `session` of the configuration."""
        return self._settings.session

    def converse(self, agent: Agent) -> ConversationFactory:
        """Makes conversations with `agent`."""
        return self._converse[agent.key]

    def toolbox(self, device_id: str, agent: Agent, end_conversation: ToolSource) -> ToolBox:
        """The tools `agent` may use: the server's, the session's `end_conversation`, and the device's own."""
        sources: list[ToolSource] = [self._timers.for_device(device_id), self._clock, end_conversation]
        connection = self._of_device.get(device_id)
        if connection is not None:
            sources.append(connection.tools)
        return ToolBox(*sources, allowed=agent.settings.tools)

    def spawn(self, work: Coroutine[Any, Any, None], name: str, context: contextvars.Context) -> None:
        """Runs what a session leaves behind to its end."""
        self._background.spawn(work, name, context)

    def session_ended(self, session: Session) -> None:
        """Forgets it."""
        _active.dec()
        if self._sessions.get(session.device_id) is session:
            del self._sessions[session.device_id]
        for connection in (self._of_device.get(session.device_id), self._connections.get(session.channel)):
            if connection is not None and connection.session is session:
                connection.session = None

    # ── from the server's side ───────────────────────────────────────────────────────────────────────────

    def announce(self, device_id: str, text: str) -> bool:
        """Says `text` in the device's session; without one, shows it as an alert. False: not connected."""
        session = self._sessions.get(device_id)
        if session is not None:
            session.announce(text)
            return True
        connection = self._of_device.get(device_id)
        if connection is None:
            return False
        connection.channel.send(encode(Alert("Notice", text, "neutral")))
        return True

    def _expire(self) -> None:
        self._expiry = self._loop.call_later(self._expire_every_s, self._expire)
        idle_since = self._loop.time() - self.limits.idle_timeout_s
        for session in list(self._sessions.values()):
            try:
                if session.idle_since() <= idle_since:
                    session.end("idle", goodbye=True)
            except Exception:  # noqa: BLE001 - the border: the others still have to expire
                session.fail()

    async def aclose(self) -> None:
        """Takes no new hello, lets the sentences being spoken end, says goodbye to all, waits for the rest.

        The transports must still be there to carry it.
        """
        self._closing = True
        self._discovery.close()
        self._expiry.cancel()
        drains = [asyncio.ensure_future(session.drain(SENTENCE_END_S)) for session in self._sessions.values()]
        if drains:
            await asyncio.wait(drains, timeout=SENTENCE_END_S + 1)
        for session in list(self._sessions.values()):
            session.end("shutdown", goodbye=True)
        for drain in drains:
            drain.cancel()
        await asyncio.gather(*drains, return_exceptions=True)
        for connection in self._connections.values():
            connection.close()  # nobody waits any more for a device's answer
        await self._background.aclose(TASKS_END_S)
        self._timers.close()
        self.playout.close()
