"""One session: the device's messages and audio to the conversation, the conversation's speech to the device.

Everything heavy (the conversation, its decoder and buffers, the play-out stream) is made when it is first
needed: thousands of devices may say hello at once, and a hello must be answered first.
"""

import asyncio
import contextvars
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final, Protocol

from prometheus_client import Counter

from mimi_mqtt.config import SessionSettings
from mimi_mqtt.config.prompt import DeviceFacts, UserFacts
from mimi_mqtt.fleet.agents import Agent
from mimi_mqtt.log import bind_log_context
from mimi_mqtt.session.link import AudioChannel, ControlChannel
from mimi_mqtt.session.playout import Playout, PlayoutStream
from mimi_mqtt.tools.builtin.end_conversation import EndConversation
from mimi_mqtt.tools.registry import ToolSource
from mimi_mqtt.voice.ports import AudioFormat, Output
from mimi_mqtt.voice.services import Tools
from mimi_mqtt.wire.messages import (
    Abort,
    Alert,
    Listen,
    ListenMode,
    Llm,
    ServerGoodbye,
    ServerMessage,
    Stt,
    Tts,
    encode,
)

_log = logging.getLogger(__name__)

READY_WAIT_S: Final = 2.0
"""How long `tts start` waits for the device's first audio packet, in seconds. A speaking device sends
nothing: if its address is not known by then it never will be, and the reply is shown as text."""

MAX_WAKE_WORD_CHARS: Final = 200
"""A longer wake word is cut."""

_unheard = Counter(
    "mimi_session_unheard_replies_total", "Replies begun without knowing the device's address."
)
_ended = Counter("mimi_sessions_ended_total", "Sessions ended, by reason.", ["reason"])


class VoiceConversation(Protocol):
    """What a session asks of `voice.conversation.Conversation`; its docstrings tell the rest."""

    @property
    def last_activity(self) -> float:
        """When somebody last did something, loop time in s; silence sent as audio does not count."""

    @property
    def busy(self) -> bool:
        """Whether a turn is thinking or speaking."""

    def listen(self, mode: ListenMode) -> None: ...  # noqa: D102 - as in Conversation, and so below
    def stop_listening(self) -> None: ...  # noqa: D102
    def wake_word(self, text: str) -> None: ...  # noqa: D102
    def played(self, opus: bytes, timestamp: int) -> None: ...  # noqa: D102
    def audio(self, opus: bytes, sequence: int, timestamp: int, now: float) -> None: ...  # noqa: D102
    def abort(self, reason: str) -> None: ...  # noqa: D102
    def announce(self, text: str) -> None: ...  # noqa: D102
    def end_after_turn(self) -> None: ...  # noqa: D102
    async def drain(self, within_s: float) -> None: ...  # noqa: D102
    async def aclose(self) -> None: ...  # noqa: D102


class ConversationFactory(Protocol):
    """Makes a session's conversation: `voice.conversation.Conversation` with its services filled in."""

    def __call__(
        self,
        *,
        device: DeviceFacts,
        user: UserFacts,
        session_id: str,
        uplink: AudioFormat,
        downlink: AudioFormat,
        output: Output,
        tools: Tools,
        language: str,
    ) -> VoiceConversation:
        """A conversation that nobody has said anything in yet."""


@dataclass(frozen=True, slots=True)
class Party:
    """Who talks to whom, as it was at hello. `language` is the one to begin with."""

    device: DeviceFacts
    user: UserFacts
    agent: Agent
    language: str


class SessionOwner(Protocol):
    """What a session asks of the manager."""

    @property
    def playout(self) -> Playout:
        """The timer of all downlinks."""

    @property
    def limits(self) -> SessionSettings:
        """The section `session` of the configuration."""

    def converse(self, agent: Agent) -> ConversationFactory:
        """Makes conversations with `agent`."""

    def toolbox(self, device_id: str, agent: Agent, end_conversation: ToolSource) -> Tools:
        """What an answer of `agent` can do for this device; `end_conversation` is the session's own."""

    def spawn(self, work: Coroutine[Any, Any, None], name: str, context: contextvars.Context) -> None:
        """Runs something to its end, and waits for it when the server stops."""

    def session_ended(self, session: "Session") -> None:
        """`session` is over; called once."""


class Session:
    """Hello to goodbye. Implements `link.AudioSink`, `voice.events.Output` and `playout.PlayoutSink`."""

    __slots__ = (
        "_audio", "_context", "_conversation", "_downlink", "_last_message", "_opened", "_owner", "_party",
        "_ready_timer", "_speaking", "_stream", "_uplink", "channel", "device_id", "ended", "session_id",
    )  # fmt: skip

    def __init__(
        self,
        owner: SessionOwner,
        channel: ControlChannel,
        session_id: str,
        uplink: AudioFormat,
        downlink: AudioFormat,
        party: Party,
        now: float,
    ) -> None:
        self.device_id = channel.device_id
        self.session_id = session_id
        self.ended = False
        self._owner = owner
        self.channel = channel
        self._uplink = uplink
        self._downlink = downlink
        self._party = party
        self._opened = self._last_message = now
        self._audio: AudioChannel | None = None
        self._conversation: VoiceConversation | None = None
        self._context: contextvars.Context | None = None
        self._stream: PlayoutStream | None = None
        self._speaking = False
        self._ready_timer: asyncio.TimerHandle | None = None

    def attach(self, audio: AudioChannel) -> None:
        """Gives the session its audio channel, which needed the session first."""
        self._audio = audio

    # ── from the device ──────────────────────────────────────────────────────────────────────────────────

    def received(self, message: Listen | Abort, now: float) -> None:
        """A message that is this session's."""
        self._last_message = now
        match message:
            case Listen(state="start", mode=mode):
                self._in_context(self._talk().listen, mode)
            case Listen(state="stop"):
                self._in_context(self._talk().stop_listening)
            case Listen(text=text):
                self._in_context(self._talk().wake_word, text[:MAX_WAKE_WORD_CHARS])
            case Abort(reason=reason) if self._conversation is not None:
                self._in_context(self._conversation.abort, reason)

    def touch(self, now: float) -> None:
        """The device showed that it lives, by a message that is not the session's business."""
        self._last_message = now

    def audio_received(self, opus: bytes, sequence: int, timestamp: int, now: float) -> None:
        """See `link.AudioSink`."""
        if self.ended:
            return
        try:
            if self._ready_timer is not None and self._audio is not None and self._audio.ready:
                self._start_speech()
            self._in_context(self._talk().audio, opus, sequence, timestamp, now)
        except Exception:  # noqa: BLE001 - the border: a fault here ends this session, not the audio of all
            self.fail()

    def idle_since(self) -> float:
        """When somebody last did something, in loop time; infinite while a turn is thinking or speaking.

        A stream of silence is not activity: a device that listens sends it for ever, and gives up by itself
        when it hears nothing for 120 s.
        """
        talk = self._conversation
        if talk is None:
            return self._last_message
        return float("inf") if talk.busy or self._speaking else max(self._last_message, talk.last_activity)

    # ── to the conversation ──────────────────────────────────────────────────────────────────────────────

    def _talk(self) -> VoiceConversation:
        if self._conversation is None:
            self._context = contextvars.copy_context()
            self._context.run(bind_log_context, device=self.device_id, session=self.session_id)
            party = self._party
            self._conversation = self._context.run(
                self._owner.converse(party.agent),
                device=party.device,
                user=party.user,
                session_id=self.session_id,
                uplink=self._uplink,
                downlink=self._downlink,
                output=self,
                tools=self._owner.toolbox(self.device_id, party.agent, EndConversation(self._end_after_turn)),
                language=party.language,
            )
        return self._conversation

    def _in_context(self, call: Any, *arguments: object) -> None:
        # Whatever the conversation starts from here carries the ids of this session on its log lines.
        if self._context is not None:
            self._context.run(call, *arguments)

    def _end_after_turn(self) -> None:
        if self._conversation is not None:
            self._conversation.end_after_turn()

    def announce(self, text: str) -> None:
        """Says `text` when the running turn is over."""
        self._in_context(self._talk().announce, text)

    # ── Output: the conversation to the device ───────────────────────────────────────────────────────────

    def show_transcript(self, text: str) -> None:
        """See `voice.events.Output`, and so below."""
        self._send(Stt(text))

    def show_emotion(self, emotion: str, emoji: str = "") -> None:
        """The face."""
        self._send(Llm(emotion, emoji))

    def show_alert(self, status: str, message: str, emotion: str = "sad") -> None:
        """Works in every state."""
        self._send(Alert(status, message, emotion))

    def begin_speech(self) -> None:
        """`tts start` now; while the device's address is unknown: at its first packet or `READY_WAIT_S`."""
        if self.ended or self._speaking or self._audio is None:
            return
        self._speaking = True
        if self._stream is None:
            ahead = self._owner.limits.playout_ahead_frames
            self._stream = self._owner.playout.open(self, self._downlink.frame_ms, ahead)
        self._stream.hold()
        if self._audio.ready:
            self._start_speech()
        else:
            loop = asyncio.get_running_loop()
            self._ready_timer = loop.call_later(READY_WAIT_S, self._start_unheard)

    def _start_unheard(self) -> None:
        _unheard.inc()
        _log.warning(
            "the device sent no audio, so nobody knows where its reply should go: it is shown only",
            extra={"device": self.device_id, "session": self.session_id},
        )
        self._start_speech()

    def _start_speech(self) -> None:
        if self._ready_timer is not None:
            self._ready_timer.cancel()
            self._ready_timer = None
        if self._stream is not None:
            self._send(Tts("start"))
            self._stream.begin(self._owner.playout.now() + self._owner.limits.guard_gap_ms / 1000)

    async def play_sentence(self, text: str) -> None:
        """A mark in the queue."""
        if self._stream is not None and self._speaking:
            self._stream.put_sentence(text)

    async def play(self, opus: bytes) -> None:
        """A frame in the queue; waits while it is full."""
        if self._stream is not None and self._speaking:
            await self._stream.put_frame(opus)

    @property
    def frames_played(self) -> int:
        """Frames of this speech, or the last one, that have left."""
        return self._stream.frames_sent if self._stream is not None else 0

    async def finish_speech(self) -> None:
        """Until the last frame has been played and `tts stop` was sent."""
        if self._stream is not None and self._speaking:
            await self._stream.finish(self._owner.limits.stop_margin_ms / 1000)

    def pause_speech(self) -> None:
        """Silence for the time being; the device stays in the speaking state."""
        if self._stream is not None and self._speaking:
            self._stream.pause()

    def resume_speech(self) -> None:
        """From where it stopped."""
        if self._stream is not None:
            self._stream.resume()

    def stop_speech(self) -> None:
        """Silence now."""
        if not self._speaking:
            return
        self._silence()

    def _silence(self) -> None:
        self._speaking = False
        begun = self._ready_timer is None
        if self._ready_timer is not None:
            self._ready_timer.cancel()
            self._ready_timer = None
        if self._stream is not None:
            self._stream.flush()
        if begun:
            self._send(Tts("stop"))

    def end_session(self, reason: str) -> None:
        """The conversation is over for good."""
        self.end(reason, goodbye=True)

    # ── PlayoutSink: the clock to the device ─────────────────────────────────────────────────────────────

    def send_frame(self, opus: bytes, timestamp: int) -> None:
        """See `playout.PlayoutSink`, and so below."""
        if self._audio is not None and self._audio.send(opus, timestamp) and self._conversation is not None:
            self._conversation.played(opus, timestamp)

    def send_sentence(self, text: str) -> None:
        """The text comes just before its first frame."""
        self._send(Tts("sentence_start", text))

    def speech_played(self) -> None:
        """`tts stop`, from the play-out clock."""
        if self._speaking:
            self._silence()

    def _send(self, message: ServerMessage) -> None:
        if not self.ended:
            self.channel.send(encode(message, self.session_id))

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    async def drain(self, within_s: float) -> None:
        """Lets the sentence being spoken end, for at most `within_s`."""
        if self._stream is not None and self._speaking:
            self._stream.end_after_sentence()
        if self._conversation is not None:
            await self._conversation.drain(within_s)

    def fail(self) -> None:
        """Called where an unforeseen exception was caught: logs it, tells the device, ends the session."""
        _log.exception("the session failed", extra={"device": self.device_id, "session": self.session_id})
        self.show_alert("Error", "Something went wrong on the server. Please try again.")
        self.end("failure", goodbye=True)

    def end(self, reason: str, *, goodbye: bool = False) -> None:
        """Ends the session, once: cancels the turn, closes the audio channel, says `goodbye` if asked to."""
        if self.ended:
            return
        if goodbye:
            if self._speaking:
                self._silence()
            self._send(ServerGoodbye(self.session_id))
        self.ended = True
        if self._speaking:
            self._silence()
        if self._audio is not None:
            self._audio.close()
        if self._conversation is not None and self._context is not None:
            self._owner.spawn(self._conversation.aclose(), "end of a conversation", self._context.copy())
        self._owner.session_ended(self)
        _ended.labels(reason if reason in _REASONS else "conversation").inc()
        self._log_end(reason)

    def _log_end(self, reason: str) -> None:
        if self._audio is None:
            return
        stats = self._audio.stats
        _log.info(
            "session ended: %s; %.1f s, packets: %d received, %d lost, %d sent",
            reason,
            self._owner.playout.now() - self._opened,
            stats.received,
            stats.lost,
            stats.sent,
            extra={"device": self.device_id, "session": self.session_id},
        )


_REASONS: Final = frozenset({"replaced", "idle", "disconnected", "goodbye", "shutdown", "failure"})
"""The reasons that are a label of their own; what a conversation gives as a reason is free text."""
