"""Finds sessions by device and connection; opens, replaces and expires them.

Identity is the connection: a message acts only on the session that lives on the connection it came by,
whatever session id it names. So another device's id, one from before a restart, and one never given out are
all the same.

A session outlives its connection by `session.reattach_s`, and goes over to the device's next one
(`session.presence`). A hello always opens a new session and ends the old one silently.
"""

import asyncio
import contextvars
import logging
import secrets
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from prometheus_client import Counter, Gauge

from mimi_mqtt.config import SessionSettings, Settings
from mimi_mqtt.config.agents import DEFAULT_AGENT
from mimi_mqtt.config.prompt import UserFacts
from mimi_mqtt.errors import MessageError
from mimi_mqtt.events import EventBus
from mimi_mqtt.fleet.agents import Agent, AgentCatalog
from mimi_mqtt.fleet.directory import DeviceInfo
from mimi_mqtt.log import log_context
from mimi_mqtt.session.attachment import Attachment
from mimi_mqtt.session.audio_watch import AudioWatch
from mimi_mqtt.session.background import Background, Discovery
from mimi_mqtt.session.device_kind import UNKNOWN_DEVICE, DeviceKind, device_kind
from mimi_mqtt.session.glyphs.push import GlyphPusher, TextGlyphs
from mimi_mqtt.session.hello import downlink_frame_ms, refusal
from mimi_mqtt.session.last_sessions import LastSessions, RemembersSessions
from mimi_mqtt.session.link import AudioRequest, AudioTransport, ControlChannel
from mimi_mqtt.session.playout import Playout
from mimi_mqtt.session.presence import Presence
from mimi_mqtt.session.session import ConversationFactory, Participants, Session
from mimi_mqtt.session.telling import SessionEvents
from mimi_mqtt.session.unspoken import UnspokenTexts
from mimi_mqtt.shares import Ledger, Rates
from mimi_mqtt.supervision import SupervisedLoop
from mimi_mqtt.tools.builtin.sources import register_builtins
from mimi_mqtt.tools.catalog import ToolCatalog, ToolRequest
from mimi_mqtt.tools.observed import ObservedTools
from mimi_mqtt.tools.registry import ToolSource
from mimi_mqtt.tools.reminders.tools import ReminderTools
from mimi_mqtt.voice.ports import Announcement
from mimi_mqtt.wire.fitting import encode_within
from mimi_mqtt.wire.messages import (
    Abort,
    Alert,
    AudioParams,
    DeviceGoodbye,
    DeviceHello,
    DeviceMcp,
    Listen,
    ServerHello,
    UnknownMessage,
    encode,
    parse,
)

_log = logging.getLogger(__name__)

HELLOS_PER_S: Final = 5.0
"""Hellos of one device that are answered in a second, in the long run: each makes a session."""
HELLO_BURST: Final = 20
"""Hellos of one device that are answered at once."""
SENTENCE_END_S: Final = 3.0
"""The time that a stop gives the sentences being spoken, in seconds."""
TASKS_END_S: Final = 5.0
"""The time that a stop gives conversations to end, in seconds."""

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


def _kind(device: DeviceInfo | None) -> DeviceKind:
    if device is None:
        return UNKNOWN_DEVICE
    return device_kind(
        device.board, device.board_name, device.firmware_version, device.cellular, device.espressif
    )


def _nothing_to_keep(session: Session, attachment: Attachment | None) -> None:
    del session, attachment


class KnownDevices(Protocol):
    """The devices that may connect, and what is known of them: `fleet.directory.DeviceDirectory`."""

    def get(self, device_id: str) -> DeviceInfo | None:
        """The device, or None when it may not, or no longer, connect."""


class SessionManager:
    """All sessions of this process. Implements `link.ControlSink` and `session.SessionOwner`.

    `audio_transports` by the hello's `transport`; `converse` makes an agent's conversations, being
    `voice.conversation.Conversation` with its `services` filled in; `last` remembers which session a device
    believes in; `ledger` counts hellos beyond a device's share; `glyphs` has those that devices' fonts lack;
    `reminders` sets and tells timers. Make it on the running loop; `await aclose()` before the transports
    close.
    """

    def __init__(
        self,
        settings: Settings,
        devices: KnownDevices,
        audio_transports: Mapping[str, AudioTransport],
        agents: AgentCatalog,
        converse: Callable[[Agent], ConversationFactory],
        last: RemembersSessions | None = None,
        events: EventBus | None = None,
        *,
        ledger: Ledger | None = None,
        glyphs: GlyphPusher | None = None,
        reminders: ReminderTools | None = None,
    ) -> None:
        self._glyphs = glyphs if glyphs is not None else GlyphPusher()
        self._ledger = ledger if ledger is not None else Ledger()
        self._hellos = Rates(HELLOS_PER_S, HELLO_BURST)
        self._settings = settings
        self._devices = devices
        self._audio_transports = audio_transports
        self._agents = agents
        self._converse = converse
        self._events = SessionEvents(events if events is not None else EventBus(), agents)
        self._last = last if last is not None else LastSessions()
        self._presence = Presence(settings.session.reattach_s, self._last)
        self._sessions: dict[str, Session] = {}  # by device id
        self._unspoken = UnspokenTexts(settings.session.reattach_s)
        self._background = Background()
        self._discovery = Discovery(self._background)
        self._reminders = reminders
        self.discovery: Final = self._discovery
        """Asks devices for their tools; `vision` tells them where their photos go."""
        self.tool_catalog: Final = ToolCatalog()
        """The sources of tools; those registered here are in the tool boxes made from then on."""
        register_builtins(self.tool_catalog, reminders, settings.server.timezone)
        self._playout = Playout()
        self.on_audio_missing: Callable[[str], None] = lambda device_id: None
        """Called with a device that listens and whose audio does not arrive."""
        self.on_session_over: Callable[[Session, Attachment | None], None] = _nothing_to_keep
        """Called with each session that is over and its device's control side, which may be another's."""
        self._audio_watch = AudioWatch(
            self._presence.connected,
            self._presence.acknowledged,
            lambda device_id: self.on_audio_missing(device_id),
        )
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self._expiry = SupervisedLoop(
            "session expiry", self._expire, every_s=min(1.0, settings.session.idle_timeout_s / 10)
        )
        self._expiry.start()

    def reconfigure(self, settings: Settings) -> None:
        """Takes the sections `session` and `voice`, and `server.language`, from `settings` from now on."""
        self._settings = settings

    @property
    def count(self) -> int:
        """Live sessions."""
        return len(self._sessions)

    @property
    def healthy(self) -> bool:
        """True while silent sessions are being ended."""
        return self._expiry.healthy

    def session(self, device_id: str) -> Session | None:
        """The device's live session."""
        return self._sessions.get(device_id)

    def sessions(self) -> Sequence[Session]:
        """The live sessions of all devices."""
        return tuple(self._sessions.values())

    def connected(self, device_id: str) -> bool:
        """True while the device itself is connected, by whatever transport."""
        return self._presence.connected(device_id)

    # ── ControlSink: what transports deliver ─────────────────────────────────────────────────────────────

    def control_opened(self, channel: ControlChannel) -> None:
        """A device connected. An older connection of it is dying, and its session goes over to this one."""
        try:
            device = self._devices.get(channel.device_id)
            self._presence.opened(channel, _kind(device))
            if not channel.is_tester:
                self._events.connected(channel, device)
            if self._reminders is not None:
                self._loop.call_soon(self._reminders.device_connected, channel.device_id)
        except Exception:  # noqa: BLE001 - the border: a fault here is one device's, not its transport's
            self._device_failed(channel)

    def control_closed(self, channel: ControlChannel, reason: str) -> None:
        """The connection is gone; its session waits for the device's next one."""
        try:
            session = self._sessions.get(channel.device_id)
            if (session is not None and session.busy) or channel.unacknowledged():
                self._glyphs.forget(channel.device_id)  # it may have missed some
            was_open = self._presence.by_channel(channel) is not None
            self._presence.closed(channel)
            if was_open and not channel.is_tester:
                self._events.gone(channel, reason)
        except Exception:  # noqa: BLE001 - the border: a fault here is one device's, not its transport's
            self._device_failed(channel)

    def control_message(self, channel: ControlChannel, payload: bytes) -> None:
        """One message. What can't be understood is counted, logged once a connection, and changes nothing."""
        attachment = self._presence.by_channel(channel)
        if attachment is None:
            return
        try:
            message = parse(payload)
        except MessageError as error:
            self._count_malformed(attachment, error)
            attachment.mcp_broken(payload)
            return
        _counted[type(message)].inc()
        try:
            if isinstance(message, DeviceHello):
                self._hello(attachment, channel, message)
            elif not isinstance(message, UnknownMessage):
                attachment.flush(channel)
                self._dispatch(attachment, message)
        except Exception:  # noqa: BLE001 - the border: what one device causes, only that device pays for
            self._device_failed(channel)

    def _device_failed(self, channel: ControlChannel) -> None:
        """Called where an unforeseen exception was caught: it ends the device's session, and no more."""
        session = self._sessions.get(channel.device_id)
        if session is None:
            _log.exception("a device's connection or message failed", extra={"device": channel.device_id})
        else:
            session.fail()

    def _count_malformed(self, attachment: Attachment, error: MessageError) -> None:
        _malformed.inc()
        attachment.malformed += 1
        if attachment.malformed == 1:
            _log.warning(
                "a message can't be understood and is ignored, like any further one: %s",
                error,
                extra={"device": attachment.device_id},
            )

    def _dispatch(self, attachment: Attachment, message: Listen | Abort | DeviceMcp | DeviceGoodbye) -> None:
        session = attachment.session
        now = self._loop.time()
        # Firmware may have forgotten its session id; the connection knows it.
        current = session is not None and message.session_id in ("", session.session_id)
        if isinstance(message, DeviceMcp):
            # Before any hello too, and with any id: answers are matched by number, on their own connection.
            if session is not None and current:
                session.touch(now)
            with log_context(device=attachment.device_id):
                attachment.mcp_received(message.payload)
        elif isinstance(message, DeviceGoodbye):
            over = session.session_id if session is not None and current else message.session_id
            if not attachment.is_tester:  # what a tester knows its device may not
                self._last.over(attachment.device_id, over)
            if session is not None and current:
                session.end("goodbye")
            else:
                _stale.inc()
        elif session is None or not current:
            _stale.inc()
            self._presence.stale(attachment, message.session_id)
        else:
            session.received(message, now)
            if isinstance(message, Listen) and not attachment.is_tester:
                self._audio_watch.listen(session, message, now)

    # ── hello ────────────────────────────────────────────────────────────────────────────────────────────

    def _hello(self, attachment: Attachment, channel: ControlChannel, hello: DeviceHello) -> None:
        """Answers first; whatever takes time comes after, or when it is needed.

        Hellos beyond the device's share are not answered: it keeps the session it has.
        """
        device_id = channel.device_id
        now = self._loop.time()
        if not self._hellos.take(device_id, now):
            self._ledger.refuse("hellos", device_id, now)
            return
        device = self._devices.get(device_id)
        server = self._settings.server
        host = server.public_host or (device.host if device is not None else None) or channel.local_host
        refused = self._refusal(channel, hello)
        if device is None:
            refused = "This device is not registered. Please restart it."
        elif not host:
            refused = "The server does not know its own address: set server.public_host in broker.yaml."
        if refused or device is None or not host:
            _refused.inc()
            if not attachment.refused:
                attachment.refused = True
                _log.warning("hello refused: %s", refused, extra={"device": device_id})
                if not attachment.is_tester:
                    self._events.refused(device_id, refused)
            channel.send(encode(Alert("Error", refused, "sad")))
            return

        previous = self._sessions.get(device_id)
        if previous is not None:
            previous.end("replaced")
        attachment.flush(channel)
        attachment.hello_said(channel)
        session_id = secrets.token_hex(16)
        asked = hello.audio
        attachment.kind = _kind(device)
        session = Session(self, attachment, session_id, device, hello, now)
        audio = self._audio_transports[hello.transport].open(
            channel,
            AudioRequest(
                device_id, session_id, host, asked.sample_rate, asked.frame_duration, asked.channels == 2
            ),
            session,
        )
        session.attach(audio)
        attachment.session = self._sessions[device_id] = session
        self._presence.claim(attachment)
        downlink = AudioParams(self.downlink_rate, 1, downlink_frame_ms(hello))
        attachment.send(encode(ServerHello(hello.transport, session_id, downlink, audio.describe())))
        for text in self._unspoken.take(device_id, now):
            session.announce(text)

        if not attachment.is_tester and channel.transport == "mqtt":
            self._last.opened(device_id, session_id)
        _opened.inc()
        _active.inc()
        self._events.opened(session)
        _log.debug("session opened", extra={"device": device_id, "session": session_id})
        if hello.glyph_push:
            self._glyphs.warm()
        if hello.mcp and attachment.wants_introduction:
            self._discovery.want(attachment)

    def _refusal(self, channel: ControlChannel, hello: DeviceHello) -> str:
        if self._closing:
            return "The server is being restarted. Please try again in a moment."
        refused = refusal(hello, channel.transport, self._audio_transports.keys())
        if refused:
            return refused
        sessions = self._sessions
        if len(sessions) >= self._settings.session.max_sessions and channel.device_id not in sessions:
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

    @property
    def downlink_rate(self) -> int:
        """Sample rate of what is spoken, in Hz."""
        return self._settings.voice.downlink_sample_rate

    def participants(self, device: DeviceInfo) -> Participants:
        """The device, its user, and the agent it has."""
        agent = self._agents.of(device)
        user = UserFacts(device.user_name, device.language or self._settings.server.language)
        return Participants(device.facts, user, agent, agent.settings.language or user.language)

    def language_of(self, device_id: str) -> str:
        """The language that a device is spoken to in: that of its conversation, else the one set for it."""
        session = self._sessions.get(device_id)
        if session is not None:
            return session.language
        device = self._devices.get(device_id)
        return self._settings.server.language if device is None else self.participants(device).language

    def speaker(self, device_id: str) -> tuple[str, str]:
        """The key of the agent that a device has, and the language in which it is spoken to."""
        device = self._devices.get(device_id)
        agent = DEFAULT_AGENT if device is None else self._agents.of(device).key
        return agent, self.language_of(device_id)

    def kind(self, device_id: str) -> DeviceKind:
        """The kind of a device, by what it last said of itself."""
        return _kind(self._devices.get(device_id))

    def converse(self, agent: Agent) -> ConversationFactory:
        """Makes conversations with `agent`."""
        return self._converse(agent)

    def toolbox(self, session: Session, agent: Agent, end_conversation: Callable[[], None]) -> ObservedTools:
        """The tools `agent` may use in `session`; `end_conversation` makes the present turn its last."""
        attachment = self._presence.of_device(session.device_id)
        allowed = self._agents.tools_of(agent.key)
        ours = attachment is not None and attachment.session is session
        device = attachment.tools if attachment is not None and ours else None
        return self._tools(ToolRequest(session.device_id, allowed, device, end_conversation))

    def _tools(self, request: ToolRequest) -> ObservedTools:
        return ObservedTools(self.tool_catalog.toolbox(request), request.device_id, self._events.bus)

    def glyphs(self, session: Session) -> TextGlyphs | None:
        """The glyphs for the texts of `session`; None when its device wants none."""
        attachment = self._presence.of_device(session.device_id)
        tester = attachment is not None and attachment.is_tester
        keeps = session.control.kind.keeps_glyphs
        return self._glyphs.session(session.device_id, session.hello, keeps=keeps, tester=tester)

    def spawn(self, work: Coroutine[Any, Any, None], name: str, context: contextvars.Context) -> None:
        """Runs what a session leaves behind to its end."""
        self._background.spawn(work, name, context)

    def session_ended(self, session: Session, *, goodbye: bool) -> None:
        """Forgets it; what it was still to announce is shown instead, or waits for the device's next one."""
        _active.dec()
        self._audio_watch.ended(session)
        device_id = session.device_id
        if self._sessions.get(device_id) is session:
            del self._sessions[device_id]
        attachment = self._presence.of_device(device_id)
        if attachment is not None and attachment.session is session:
            self._presence.session_ended(attachment, session.session_id, goodbye=goodbye)
        self.on_session_over(session, attachment)
        # Afterwards: an observer that has the device told something must not find the ended session.
        self._events.ended(session, self._loop.time())
        for announced in session.unspoken:
            if not isinstance(announced, str):
                announced.concluded(False)
            elif not self.announce(device_id, announced):
                self._unspoken.keep(device_id, announced, self._loop.time())

    # ── from the server's side ───────────────────────────────────────────────────────────────────────────

    def announce(self, device_id: str, text: str) -> bool:
        """Says `text` in the device's session; without one, shows it as an alert. False: not connected."""
        attachment = self._presence.of_device(device_id)
        if attachment is None or not attachment.connected:
            return False
        session = self._sessions.get(device_id)
        if session is not None:
            try:
                session.announce(text)
            except Exception:  # noqa: BLE001 - the border: a fault in a conversation ends that session only
                session.fail()
        else:
            attachment.send(encode_within(Alert("Notice", text, "neutral"), "", attachment.max_message_bytes))
        return True

    def announce_in_session(self, device_id: str, announcement: Announcement) -> bool:
        """Hands an announcement to the device's session. False: it has none, or is away."""
        session = self._sessions.get(device_id)
        if session is None or self.attachment(device_id) is None:
            return False
        try:
            session.announce(announcement)
        except Exception:  # noqa: BLE001 - the border: a fault in a conversation ends that session only
            session.fail()
            return False
        return True

    def has_agent(self, key: str) -> bool:
        """True when there is such an agent."""
        return self._agents.find(key) is not None

    def forget_owner(self, device_id: str) -> None:
        """The device belongs to somebody else: its reminders, and what it was still to be told, are
        dropped."""
        self._unspoken.take(device_id, self._loop.time())
        if self._reminders is not None:
            self._reminders.drop(device_id)

    def disconnect(self, device_id: str, reason: str) -> None:
        """Says goodbye to the device, whatever its state, and ends its connection; `reason` is one word.

        The reminders of a device that may no longer connect are dropped, and so is what it was still to be
        told; its last session is forgotten.
        """
        self._presence.disconnect(device_id, reason)
        if not self.knows(device_id):
            self._unspoken.take(device_id, self._loop.time())
            if self._reminders is not None:
                self._reminders.drop(device_id)
            if (last := self._last.get(device_id)) is not None:
                self._last.over(device_id, last)

    def booted(self, device_id: str) -> None:
        """The device asked for its configuration, as it does when it starts: see `Presence.booted`."""
        self._presence.booted(device_id)
        self._glyphs.forget(device_id)

    def attachments(self) -> Iterator[Attachment]:
        """The control sides of the devices that are connected themselves."""
        return (each for each in self._presence if each.connected and not each.is_tester)

    def knows(self, device_id: str) -> bool:
        """True when there is such a device, connected or not, that may connect."""
        return self._devices.get(device_id) is not None

    def attachment(self, device_id: str) -> Attachment | None:
        """The device's control side; None while it has no connection."""
        attachment = self._presence.of_device(device_id)
        return attachment if attachment is not None and attachment.connected else None

    def tools(
        self, attachment: Attachment, allowed: Sequence[str] | None, device_tools: ToolSource | None = None
    ) -> ObservedTools:
        """The server's and the device's tools outside a conversation, as far as the patterns of `allowed` or,
        without them, the device's agent permits. `device_tools` take the place of those that it lists."""
        device_id = attachment.device_id
        if allowed is None:
            device = self._devices.get(device_id)
            allowed = self._agents.of(device).settings.tools if device is not None else ()
        return self._tools(ToolRequest(device_id, allowed, device_tools or attachment.tools))

    async def _expire(self) -> None:
        now = self._loop.time()
        idle_since = now - self.limits.idle_timeout_s
        for session in list(self._sessions.values()):
            try:
                if session.idle_since() <= idle_since:
                    session.end("idle", goodbye=True)
            except Exception:  # noqa: BLE001 - the border: the others still have to expire
                session.fail()
        self._presence.expire(now)
        self._audio_watch.check(now)

    async def aclose(self) -> None:
        """Takes no new hello, lets the sentences being spoken end, says goodbye to all, waits for the rest.

        The transports must still be there to carry it.
        """
        self._closing = True
        self._discovery.close()
        await self._expiry.aclose()
        drains = [asyncio.ensure_future(session.drain(SENTENCE_END_S)) for session in self._sessions.values()]
        if drains:
            await asyncio.wait(drains, timeout=SENTENCE_END_S + 1)
        for session in list(self._sessions.values()):
            session.end("shutdown", goodbye=True)
        for drain in drains:
            drain.cancel()
        await asyncio.gather(*drains, return_exceptions=True)
        self._presence.close()  # nobody waits any more for a device's answer
        await self._background.aclose(TASKS_END_S)
        self._glyphs.close()
        self.playout.close()
