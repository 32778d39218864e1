"""One session: the device's messages and audio to the conversation, the conversation's speech to the device.

Everything heavy (the conversation, its decoder and buffers, the play-out stream) is made when it is first
needed: thousands of devices may say hello at once, and a hello must be answered first.
"""

import contextvars
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, Protocol

from prometheus_client import Counter

from mimi_mqtt.config import SessionSettings
from mimi_mqtt.config.prompt import DeviceFacts, UserFacts
from mimi_mqtt.fleet.agents import Agent
from mimi_mqtt.fleet.directory import DeviceInfo
from mimi_mqtt.log import bind_log_context
from mimi_mqtt.providers.runtime.fair_queue import bind_holder
from mimi_mqtt.session.glyphs.push import TextGlyphs
from mimi_mqtt.session.hello import downlink_frame_ms
from mimi_mqtt.session.link import AudioChannel, AudioStats
from mimi_mqtt.session.output import ControlSide, DeviceOutput
from mimi_mqtt.session.playout import Playout
from mimi_mqtt.voice.ports import Announcement, AudioFormat, ConversationSetup, Tools
from mimi_mqtt.wire.fitting import encode_within
from mimi_mqtt.wire.messages import (
    Abort,
    Alert,
    DeviceHello,
    Listen,
    ListenMode,
    ServerGoodbye,
    ServerMessage,
)

_log = logging.getLogger(__name__)

MAX_WAKE_WORD_CHARS: Final = 200
"""A longer wake word is cut."""
MAX_TYPED_CHARS: Final = 2_000
"""A longer question that was typed is cut."""
MAX_UNSPOKEN: Final = 16
"""Announcements that wait for the first `listen` of a session."""

_ended = Counter("mimi_sessions_ended_total", "Sessions ended, by reason.", ["reason"])


class VoiceConversation(Protocol):
    """The interface of `voice.conversation.Conversation` to its session; its docstrings tell the rest."""

    @property
    def last_activity(self) -> float:
        """Loop time of the last activity, in s; silence sent as audio does not count."""

    @property
    def busy(self) -> bool:
        """True while a turn is thinking or speaking."""

    @property
    def language(self) -> str:
        """The language that is spoken at present, a tag."""

    def listen(self, mode: ListenMode) -> None: ...  # noqa: D102 - as in Conversation, and so below
    def stop_listening(self) -> None: ...  # noqa: D102
    def wake_word(self, text: str) -> None: ...  # noqa: D102
    def typed(self, text: str) -> None: ...  # noqa: D102
    def played(self, opus: bytes, timestamp: int) -> None: ...  # noqa: D102
    def audio(self, opus: bytes, sequence: int, timestamp: int, now: float) -> None: ...  # noqa: D102
    def abort(self, reason: str) -> bool: ...  # noqa: D102
    def announce(self, announced: str | Announcement) -> None: ...  # noqa: D102
    def end_after_turn(self) -> None: ...  # noqa: D102
    async def drain(self, within_s: float) -> None: ...  # noqa: D102
    async def aclose(self) -> None: ...  # noqa: D102


class ConversationFactory(Protocol):
    """Makes a session's conversation: `voice.conversation.Conversation` with its services filled in."""

    def __call__(self, setup: ConversationSetup) -> VoiceConversation:
        """A new conversation, before its first turn."""


@dataclass(frozen=True, slots=True)
class Participants:
    """The device, its user and the agent of a session, as they were at hello. `language` is the one to
    begin with."""

    device: DeviceFacts
    user: UserFacts
    agent: Agent
    language: str


class SessionOwner(Protocol):
    """The interface of the manager to its sessions."""

    @property
    def playout(self) -> Playout:
        """The timer of all downlinks."""

    @property
    def limits(self) -> SessionSettings:
        """The section `session` of the configuration."""

    @property
    def downlink_rate(self) -> int:
        """Sample rate of what is spoken, in Hz."""

    def participants(self, device: DeviceInfo) -> Participants:
        """The participants of a session of `device`."""

    def converse(self, agent: Agent) -> ConversationFactory:
        """Makes conversations with `agent`."""

    def toolbox(self, session: "Session", agent: Agent, end_conversation: Callable[[], None]) -> Tools:
        """The tools of `agent` in `session`; `end_conversation` makes the present turn the last."""

    def glyphs(self, session: "Session") -> TextGlyphs | None:
        """The glyphs for the texts of `session`; None when its device wants none."""

    def spawn(self, work: Coroutine[Any, Any, None], name: str, context: contextvars.Context) -> None:
        """Runs something to its end, and waits for it when the server stops."""

    def session_ended(self, session: "Session", *, goodbye: bool) -> None:
        """`session` is over; called once. `goodbye`: the device was sent one."""


class Session:
    """One conversation with a device, hello to goodbye. Implements `link.AudioSink` and `output.OutputOwner`.

    `hello` and `device` are as they were when it began. At its end a session lets go of everything it used,
    and everything lets go of it: sessions come by the thousand, and none may wait for the collector.
    """

    __slots__ = (
        "__weakref__", "_audio", "_context", "_conversation", "_last_message", "_listened",
        "_output", "_owner", "_stats", "_unspoken", "control", "device", "end_reason", "ended", "hello",
        "opened_at", "session_id",
    )  # fmt: skip

    def __init__(
        self,
        owner: SessionOwner,
        control: ControlSide,
        session_id: str,
        device: DeviceInfo,
        hello: DeviceHello,
        now: float,
    ) -> None:
        self.session_id = session_id
        self.ended = False
        self.control = control
        self.device = device
        self.hello = hello
        """The device's hello: its features, its font, the format of its audio."""
        self._owner = owner
        self.end_reason = ""
        """The reason of its end, in one word of a few; empty while it lives."""
        self.opened_at = self._last_message = now
        """Loop time of its hello, in s."""
        self._listened = False
        self._unspoken: deque[str | Announcement] | None = None
        self._audio: AudioChannel | None = None
        self._stats: AudioStats | None = None
        self._output: DeviceOutput | None = None
        self._conversation: VoiceConversation | None = None
        self._context: contextvars.Context | None = None

    @property
    def device_id(self) -> str:
        """The device."""
        return self.device.device_id

    @property
    def stats(self) -> AudioStats | None:
        """The counters of its audio, the last ones after its end; None when it never had a channel."""
        return self._audio.stats if self._audio is not None else self._stats

    def attach(self, audio: AudioChannel) -> None:
        """Gives the session its audio channel, which needed the session first."""
        self._audio = audio

    # ── from the device ──────────────────────────────────────────────────────────────────────────────────

    def received(self, message: Listen | Abort, now: float) -> None:
        """Acts on a message of this session."""
        self._last_message = now
        match message:
            case Listen(state="start", mode=mode):
                self._in_context(self._talk().listen, mode)
            case Listen(state="stop"):
                self._in_context(self._talk().stop_listening)
            case Listen(text=text, typed=True):
                self._in_context(self._talk().typed, text[:MAX_TYPED_CHARS])
            case Listen(text=text):
                self._in_context(self._talk().wake_word, text[:MAX_WAKE_WORD_CHARS])
            case Abort(reason=reason) if self._conversation is not None:
                self._in_context(self._conversation.abort, reason)
        if not self._listened and isinstance(message, Listen) and not self.ended:
            self._first_listen()

    def _first_listen(self) -> None:
        """Lets speech begin: from here on the device plays it (device contract, section 3, ordering)."""
        self._listened = True
        if self._output is not None:
            self._output.allow_speech()
        unspoken, self._unspoken = self._unspoken, None
        for announced in unspoken or ():
            self.announce(announced)

    def touch(self, now: float) -> None:
        """Notes that the device lives: it sent a message that is not the session's business."""
        self._last_message = now

    def audio_received(self, opus: bytes, sequence: int, timestamp: int, now: float) -> None:
        """Passes one authentic packet to the conversation."""
        if self.ended:
            return
        try:
            if self._output is not None:
                self._output.address_known()
            # It is that of a frame that was played only with server AEC; Espressif's component sends its tick
            # count (device contract, sections 4 and 8).
            played = timestamp if self.hello.aec else 0
            self._in_context(self._talk().audio, opus, sequence, played, now)
        except Exception:  # noqa: BLE001 - the border: a fault here ends this session, not the audio of all
            self.fail()

    def idle_since(self) -> float:
        """Loop time of the last activity, in s; infinite while a turn is thinking or speaking.

        A stream of silence is not activity: a device that listens sends it for ever, and gives up by itself
        when it hears nothing for 120 s.
        """
        talk = self._conversation
        if talk is None:
            return self._last_message
        return float("inf") if self.busy else max(self._last_message, talk.last_activity)

    @property
    def busy(self) -> bool:
        """True while a turn is thinking or speaking."""
        return self.speaking or (self._conversation is not None and self._conversation.busy)

    @property
    def listened(self) -> bool:
        """True once the device has listened."""
        return self._listened

    @property
    def audio_stats(self) -> AudioStats:
        """The counters of its audio channel; zeros without one."""
        return self._audio.stats if self._audio is not None else AudioStats()

    @property
    def heard(self) -> bool:
        """True once audio of the device came."""
        return self._audio is not None and self._audio.stats.received > 0

    @property
    def udp_port(self) -> int | None:
        """The port that the device sends its audio to; None when it goes over the control connection."""
        section = self._audio.describe().get("udp") if self._audio is not None else None
        return int(section["port"]) if section is not None else None

    @property
    def speaking(self) -> bool:
        """True while the device is told to speak: it sends no audio then."""
        return self._output is not None and self._output.speaking

    def alert(self, alert: Alert) -> None:
        """Shows `alert` on the device."""
        self._send(alert)

    # ── to the conversation ──────────────────────────────────────────────────────────────────────────────

    def _talk(self) -> VoiceConversation:
        if self._conversation is not None:
            return self._conversation
        if self._audio is None or self.ended:
            raise RuntimeError("a conversation needs a live session with an audio channel")
        owner, wanted = self._owner, self.hello.audio
        participants = owner.participants(self.device)
        downlink = AudioFormat(owner.downlink_rate, downlink_frame_ms(self.hello))
        output = self._output = DeviceOutput(
            self,
            self.control,
            self._audio,
            owner.playout,
            owner.limits,
            self.session_id,
            frame_ms=downlink.frame_ms,
            ahead_frames=self.control.kind.lead_frames(owner.limits.playout_ahead_frames, downlink.frame_ms),
            may_speak=self._listened,
            glyphs=owner.glyphs(self),
        )
        self._context = contextvars.copy_context()
        self._context.run(bind_log_context, device=self.device_id, session=self.session_id)
        self._context.run(bind_holder, self.device_id)
        self._conversation = self._context.run(
            owner.converse(participants.agent),
            ConversationSetup(
                device=participants.device,
                user=participants.user,
                session_id=self.session_id,
                uplink=AudioFormat(wanted.sample_rate, wanted.frame_duration),
                downlink=downlink,
                output=output,
                tools=owner.toolbox(self, participants.agent, self._end_after_turn),
                language=participants.language,
                unlabelled_echo=self.hello.aec and not self._audio.carries_timestamps,
                owner_id=self.device.owner_id,
            ),
        )
        return self._conversation

    def _in_context(self, call: Callable[..., object], *arguments: object) -> None:
        # Whatever the conversation starts from here carries the ids of this session on its log lines.
        if self._context is not None:
            self._context.run(call, *arguments)

    def _end_after_turn(self) -> None:
        if self._conversation is not None:
            self._conversation.end_after_turn()

    def announce(self, announced: str | Announcement) -> None:
        """Says a text when the running turn is over, and not before the session's first `listen`."""
        if self.ended:
            _not_spoken(announced)
            return
        if self._listened:
            self._in_context(self._talk().announce, announced)
            return
        if self._unspoken is None:
            self._unspoken = deque()
        if len(self._unspoken) == MAX_UNSPOKEN:
            _log.warning(
                "an announcement was dropped: %d wait for the device to listen",
                MAX_UNSPOKEN,
                extra={"device": self.device_id, "session": self.session_id},
            )
            _not_spoken(self._unspoken.popleft())
        if isinstance(announced, Announcement) and announced.urgent:
            before = sum(isinstance(other, Announcement) and other.urgent for other in self._unspoken)
            self._unspoken.insert(before, announced)
        else:
            self._unspoken.append(announced)

    @property
    def language(self) -> str:
        """The language of the conversation, or the one that it will begin with."""
        if self._conversation is not None:
            return self._conversation.language
        return self._owner.participants(self.device).language

    @property
    def unspoken(self) -> tuple[str | Announcement, ...]:
        """Announcements that wait for the first `listen`."""
        return tuple(self._unspoken or ())

    # ── to the device ────────────────────────────────────────────────────────────────────────────────────

    def frame_sent(self, opus: bytes, timestamp: int) -> None:
        """Tells the conversation of a downlink frame that has left: its echo may come back."""
        if self._conversation is not None:
            self._conversation.played(opus, timestamp)

    def _send(self, message: ServerMessage) -> None:
        if not self.ended:
            self.control.send(encode_within(message, self.session_id, self.control.max_message_bytes))

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    async def drain(self, within_s: float) -> None:
        """Lets the sentence being spoken end, for at most `within_s`."""
        if self._output is not None:
            self._output.end_after_sentence()
        if self._conversation is not None:
            await self._conversation.drain(within_s)

    def fail(self) -> None:
        """Called where an unforeseen exception was caught: logs it, tells the device, ends the session. Never
        raises."""
        _log.exception("the session failed", extra={"device": self.device_id, "session": self.session_id})
        told = Alert("Error", "Something went wrong on the server. Please try again.", "sad")
        self._attempt(lambda: self._send(told))
        self.end("failure", goodbye=True)

    def end(self, reason: str, *, goodbye: bool = False) -> None:
        """Ends the session, once: cancels the turn, closes the audio channel, says `goodbye` if asked to.

        Never raises: a part that fails is logged, and keeps no other from its end, nor the caller from what
        it does next for the device.
        """
        if self.ended:
            return
        output, audio, conversation, context = self._output, self._audio, self._conversation, self._context
        if goodbye:
            if output is not None:
                self._attempt(output.stop_speech)
            self._attempt(lambda: self._send(ServerGoodbye(self.session_id)))
        self.ended = True
        self._stats = self.stats
        self.end_reason = reason if reason in _REASONS else "conversation"
        self._output = self._audio = self._conversation = self._context = None
        if conversation is not None and context is not None:
            self._owner.spawn(conversation.aclose(), "end of a conversation", context.copy())
        if output is not None:
            self._attempt(output.close)
        if audio is not None:
            self._attempt(audio.close)
        self._attempt(lambda: self._owner.session_ended(self, goodbye=goodbye))
        _ended.labels(self.end_reason).inc()
        if audio is not None:
            self._log_end(reason, audio)

    def _attempt(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception:  # noqa: BLE001 - the border of one part of a session's end
            _log.exception(
                "a session failed at its end", extra={"device": self.device_id, "session": self.session_id}
            )

    def _log_end(self, reason: str, audio: AudioChannel) -> None:
        if not _log.isEnabledFor(logging.INFO):
            return
        stats = audio.stats
        _log.info(
            "session ended: %s; %.1f s, packets: %d received, %d lost, %d sent",
            reason,
            self._owner.playout.now() - self.opened_at,
            stats.received,
            stats.lost,
            stats.sent,
            extra={"device": self.device_id, "session": self.session_id},
        )


def _not_spoken(announced: str | Announcement) -> None:
    if isinstance(announced, Announcement):
        announced.concluded(False)


_REASONS: Final = frozenset(
    {"replaced", "idle", "disconnected", "goodbye", "shutdown", "failure", "revoked", "command"}
)
"""The reasons that are a label of their own; what a conversation gives as a reason is free text."""
