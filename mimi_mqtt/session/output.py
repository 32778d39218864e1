"""The conversation's output to the device: what is shown at once, what is spoken on the play-out clock.

The device discards audio unless it is in the speaking state (device contract, section 3), and UDP can
overtake TCP. So speech starts in steps: the first `listen` of the session, the device's audio address,
`tts start`, its acknowledgement, the guard gap, the first frame.
"""

import asyncio
import logging
from typing import Final, Protocol

from prometheus_client import Counter

from mimi_mqtt.config import SessionSettings
from mimi_mqtt.session.device_kind import DeviceKind
from mimi_mqtt.session.glyphs.push import MAX_BACKLOG_BYTES, TextGlyphs
from mimi_mqtt.session.link import AudioChannel
from mimi_mqtt.session.playout import Playout, PlayoutStream
from mimi_mqtt.wire.fitting import encode_within
from mimi_mqtt.wire.messages import Alert, Llm, ServerMessage, Stt, Tts

_log = logging.getLogger(__name__)

READY_WAIT_S: Final = 2.0
"""The time that `tts start` waits for the device's first audio packet, in seconds. A speaking device sends
nothing: if its address is not known by then it never will be, and the reply is shown as text."""
DELIVERY_WAIT_S: Final = 3.0
"""The time that the first frame waits for the acknowledgement of `tts start` while the device is connected,
in seconds."""
DELIVERY_POLL_S: Final = 0.005
"""The time between two looks for the acknowledgement, in seconds."""
AWAY_POLL_S: Final = 0.1
"""The same while the device has no connection: an access point that restarts takes many devices away."""
ARRIVAL_GAP_S: Final = 0.06
"""The least time between the acknowledgement of `tts start` and the first frame, in seconds."""

_not_delivered = Counter(
    "mimi_session_not_delivered_replies_total", "Replies begun without knowing the device's address."
)
_unacknowledged = Counter(
    "mimi_session_unacknowledged_starts_total",
    "Replies begun although the device had not acknowledged `tts start` in time.",
)


class ControlSide(Protocol):
    """The control side of a session's device: `attachment.Attachment`."""

    @property
    def device_id(self) -> str:
        """The device."""

    @property
    def connected(self) -> bool:
        """True while the device has a connection; without one, messages wait for the next."""

    @property
    def kind(self) -> DeviceKind:
        """The bounds of the device."""

    @property
    def max_message_bytes(self) -> int:
        """The longest message that the device takes, in bytes."""

    def send(self, payload: bytes) -> None:
        """Sends one encoded message, or keeps it for the device's next connection."""

    def undelivered(self) -> int:
        """Bytes sent that the device has not acknowledged, those that wait included."""


class OutputOwner(Protocol):
    """The interface of a session to its output."""

    def frame_sent(self, opus: bytes, timestamp: int) -> None:
        """A downlink frame has left for the device."""

    def end(self, reason: str, *, goodbye: bool = False) -> None:
        """Ends the session."""


class DeviceOutput:
    """One session's output. Implements `voice.ports.Output` and `playout.PlayoutSink`.

    `may_speak` is False until the device began to listen: speech waits for `allow_speech`. `glyphs` are those
    that the device's font lacks; None when it wants none.
    """

    __slots__ = (
        "_ahead_frames", "_audio", "_control", "_delivery_began", "_frame_ms", "_frames_played", "_glyphs",
        "_limits", "_may_speak", "_owner", "_playout", "_session_id", "_start_sent", "_stream", "_timer",
        "_waited", "speaking",
    )  # fmt: skip

    def __init__(
        self,
        owner: OutputOwner,
        control: ControlSide,
        audio: AudioChannel,
        playout: Playout,
        limits: SessionSettings,
        session_id: str,
        *,
        frame_ms: int,
        ahead_frames: int,
        may_speak: bool,
        glyphs: TextGlyphs | None = None,
    ) -> None:
        self._owner: OutputOwner | None = owner
        self._control = control
        self._audio = audio
        self._playout = playout
        self._limits = limits
        self._session_id = session_id
        self._frame_ms = frame_ms
        self._ahead_frames = ahead_frames
        self._may_speak = may_speak
        self._glyphs = glyphs
        self._stream: PlayoutStream | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._start_sent: float | None = None  # when `tts start` of this speech was sent
        self._delivery_began = 0.0
        self._waited = False
        self._frames_played = 0
        self.speaking = False
        """True while a speech is open: `tts start` was sent, or will be."""

    # ── shown at once ────────────────────────────────────────────────────────────────────────────────────

    def show_transcript(self, text: str) -> None:
        """Shows the user's line."""
        self._show(Stt(text))

    def show_emotion(self, emotion: str, emoji: str = "") -> None:
        """Shows the face."""
        self._send(Llm(emotion, emoji))

    def show_alert(self, status: str, message: str, emotion: str = "sad") -> None:
        """Shows an alert, in every state of the device."""
        self._send(Alert(status, message, emotion))

    def end_session(self, reason: str) -> None:
        """Says goodbye and ends the session."""
        if self._owner is not None:
            self._owner.end(reason, goodbye=True)

    def _send(self, message: ServerMessage) -> None:
        if self._owner is not None:
            self._control.send(encode_within(message, self._session_id, self._control.max_message_bytes))

    def _show(self, message: Stt | Tts) -> None:
        """Sends a text, with glyphs while they surely arrive and do not delay speech: what waits for a
        connection is bounded, and is the speech's."""
        control, glyphs = self._control, self._glyphs
        if glyphs is None or not control.connected or control.undelivered() > MAX_BACKLOG_BYTES:
            self._send(message)
        elif self._owner is not None:
            most, spare = control.max_message_bytes, self._audio.spare_bytes
            for payload in glyphs.messages(message, self._session_id, most, spare):
                control.send(payload)

    # ── the start of a speech, step by step ──────────────────────────────────────────────────────────────

    def begin_speech(self) -> None:
        """Opens a speech. `tts start` goes out now; before the first `listen` at that; while the device's
        address is unknown at its first packet, or after `READY_WAIT_S`."""
        if self._owner is None or self.speaking:
            return
        self.speaking = True
        self._start_sent = None
        if self._stream is None:
            self._stream = self._playout.open(self, self._frame_ms, self._ahead_frames)
        self._stream.hold()
        if self._may_speak:
            self._start_when_ready()

    def allow_speech(self) -> None:
        """The device began to listen: before, it ignores `tts start` and discards the audio."""
        self._may_speak = True
        if self.speaking and self._start_sent is None and self._timer is None:
            self._start_when_ready()

    def address_known(self) -> None:
        """The device was heard: audio can be sent to it."""
        if self.speaking and self._start_sent is None and self._timer is not None and self._audio.ready:
            self._start()

    def _start_when_ready(self) -> None:
        if self._audio.ready:
            self._start()
        else:
            self._timer = asyncio.get_running_loop().call_later(READY_WAIT_S, self._start_without_address)

    def _start_without_address(self) -> None:
        _not_delivered.inc()
        _log.warning(
            "no audio packet from the device yet, its UDP address is unknown: "
            "the reply is shown but not spoken",
            extra={"device": self._control.device_id, "session": self._session_id},
        )
        self._start()

    def _start(self) -> None:
        self._cancel_timer()
        self._start_sent = self._delivery_began = self._playout.now()
        self._waited = False
        self._send(Tts("start"))
        self._await_delivery()

    def _await_delivery(self) -> None:
        """Starts the clock once the device has `tts start`; looks again as long as it hasn't."""
        self._timer = None
        sent = self._start_sent
        if self._stream is None or sent is None:
            return
        now = self._playout.now()
        if self._control.undelivered():
            poll_s = DELIVERY_POLL_S
            if not self._control.connected:
                poll_s = AWAY_POLL_S
                self._delivery_began = now  # a device that is away is waited for as long as its session is
            if now - self._delivery_began < DELIVERY_WAIT_S:
                self._waited = True
                self._timer = asyncio.get_running_loop().call_later(poll_s, self._await_delivery)
                return
            _unacknowledged.inc()
        first = sent + self._limits.guard_gap_ms / 1000
        self._stream.begin(max(first, now + ARRIVAL_GAP_S) if self._waited else first)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # ── a speech ─────────────────────────────────────────────────────────────────────────────────────────

    async def play_sentence(self, text: str) -> None:
        """Queues the beginning of a sentence."""
        if self._stream is not None and self.speaking:
            if self._glyphs is not None:
                self._glyphs.announce(text)
            self._stream.put_sentence(text)

    async def play(self, opus: bytes) -> None:
        """Queues a frame; waits while the queue is full. Raises PlayoutError when the speech failed."""
        if self._stream is not None and (self.speaking or self._stream.failed):
            await self._stream.put_frame(opus)

    @property
    def frames_played(self) -> int:
        """Frames of this speech, or the last one, that have left."""
        return self._stream.frames_sent if self._stream is not None else self._frames_played

    async def finish_speech(self) -> None:
        """Returns when the last frame has been played and `tts stop` was sent. Raises PlayoutError when the
        speech failed."""
        if self._stream is not None and (self.speaking or self._stream.failed):
            await self._stream.finish(self._limits.stop_margin_ms / 1000)

    def pause_speech(self) -> None:
        """Sends nothing for the time being; the device stays in the speaking state."""
        if self._stream is not None and self.speaking:
            self._stream.pause()

    def resume_speech(self) -> None:
        """Goes on after `pause_speech` from where it stopped."""
        if self._stream is not None:
            self._stream.resume()

    def stop_speech(self) -> None:
        """Drops what is queued, and sends `tts stop` if there was a `tts start`."""
        if not self.speaking:
            return
        self.speaking = False
        begun, self._start_sent = self._start_sent is not None, None
        self._cancel_timer()
        if self._stream is not None:
            self._stream.flush()
        if begun:
            self._send(Tts("stop"))

    def end_after_sentence(self) -> None:
        """Drops all that comes after the sentence being played."""
        if self._stream is not None and self.speaking:
            self._stream.end_after_sentence()

    # ── PlayoutSink: the clock to the device ─────────────────────────────────────────────────────────────

    def send_frame(self, opus: bytes, timestamp: int) -> None:
        """Sends a frame whose moment has come."""
        if self._owner is not None and self._audio.send(opus, timestamp):
            self._owner.frame_sent(opus, timestamp)

    def send_sentence(self, text: str) -> None:
        """Shows a sentence, just before its first frame."""
        self._show(Tts("sentence_start", text))

    def speech_over(self) -> None:
        """Sends `tts stop`: the speech was played, or it failed."""
        self.stop_speech()

    def close(self) -> None:
        """Ends the output: nothing is sent any more, and its session is no longer referred to."""
        self._owner = None
        self.stop_speech()
        if self._stream is not None:
            self._frames_played = self._stream.frames_sent
            self._stream = None
