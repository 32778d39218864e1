"""State machine of a device: messages and datagrams in, actions out. No I/O, no clock.

Behaves like the firmware that the device contract describes (sections 3, 4, 6 and 8), faults and all: it
discards audio unless it is speaking, forgets its queue when it begins to, goes on playing after an abort, and
stops listening while it speaks unless it is in realtime mode. In what families differ, its profile decides.
Times are seconds on the caller's clock; call `tick` at `next_wakeup`.
"""

import json
from collections.abc import Callable
from enum import Enum
from typing import Any, Final

from mimi_mqtt.cli.device.actions import (
    Action,
    AlertShown,
    ChannelClosed,
    ChannelOpened,
    Face,
    FetchNotice,
    Heard,
    Ignored,
    PicturePosted,
    Rebooted,
    Send,
    Sentence,
    SpeakingBegan,
    SpeakingEnded,
    StopNotice,
    ToolCalled,
)
from mimi_mqtt.cli.device.decode_queue import Counters, DecodeQueue
from mimi_mqtt.cli.device.hello import hello, read_answer
from mimi_mqtt.cli.device.profiles import DEFAULT, PROFILES, Profile
from mimi_mqtt.cli.device.screen import Screen
from mimi_mqtt.cli.device.tools import DeviceTools
from mimi_mqtt.cli.device.wires import Wire
from mimi_mqtt.errors import AudioPacketError
from mimi_mqtt.wire import strict_json
from mimi_mqtt.wire.glyphs import TextFont
from mimi_mqtt.wire.messages import AudioParams, ListenMode

HELLO_TIMEOUT_S: Final = 10.0
CHANNEL_TIMEOUT_S: Final = 120.0


class State(Enum):
    """The device's state. CONNECTING lasts from hello to the first `listen`."""

    IDLE = "idle"
    CONNECTING = "connecting"
    LISTENING = "listening"
    SPEAKING = "speaking"


class Firmware:
    """One device. Every method returns what is to be done, in order; `now` is the time where it matters."""

    def __init__(
        self,
        uplink: AudioParams | None = None,
        tools: DeviceTools | None = None,
        profile: Profile = PROFILES[DEFAULT],
        font: TextFont | None = None,
    ) -> None:
        self.websocket_version: int | None = None
        """The version of its WebSocket frames; None: audio goes over UDP."""
        self.uplink = uplink or AudioParams()
        self.profile = profile
        self.screen = Screen(font or profile.text_font)
        self.tools = tools or DeviceTools(error_codes=profile.mcp_error_codes)
        self.state = State.IDLE
        self.session_id = ""
        self.counters = Counters()
        self.next_wakeup: float | None = None
        self._mode: ListenMode = "auto"
        self._wire: Wire | None = None
        self._queue = DecodeQueue(profile.queue_packets, self.counters)
        self._sent = 0
        self._highest = 0
        self._stopping = False
        self._hello_deadline: float | None = None
        self._last_incoming = 0.0
        self._plays_notice = False
        self._messages: dict[object, Callable[[dict[str, Any], float], list[Action]]] = {
            "hello": self._on_hello,
            "goodbye": self._on_goodbye,
            "tts": self._on_tts,
            "stt": self._on_stt,
            "llm": lambda message, _: [Face(_text(message, "emotion"))],
            "mcp": self._on_mcp,
            "alert": self._on_alert,
            "notify": self._on_notify,
            "system": self._on_system,
        }

    @property
    def channel_open(self) -> bool:
        """True while there is an audio channel."""
        return self._wire is not None

    def usable(self, now: float) -> bool:
        """True when waking the device needs no new channel.

        Only now a channel that was silent for 120 s counts as dead (section 3); until a person wakes the
        device it stays as it was.
        """
        return self._wire is not None and now < self._last_incoming + CHANNEL_TIMEOUT_S

    @property
    def microphone_open(self) -> bool:
        """True while microphone frames are sent."""
        listens = self.state is State.LISTENING or (self.state is State.SPEAKING and self._mode == "realtime")
        return self._wire is not None and listens

    # ── what its owner does ──────────────────────────────────────────────────────────────────────────────

    def open_channel(self, now: float) -> list[Action]:
        """Says hello; the answer must come within 10 s."""
        stopped = self._stop_notice()
        self.state = State.CONNECTING
        self._forget_channel()
        self._hello_deadline = now + HELLO_TIMEOUT_S
        return self._done([*stopped, _send(hello(self.uplink, self.websocket_version, self.screen.font))])

    def start_listening(self, mode: ListenMode) -> list[Action]:
        """Begins a turn: from now on the microphone is sent."""
        self._mode = mode
        self.state = State.LISTENING
        return self._done([*self._stop_notice(), self._listen_start()])

    def stop_listening(self) -> list[Action]:
        """Manual mode's button is let go."""
        if self.state is not State.LISTENING:
            return []
        self.state = State.IDLE
        return self._done([self._listen("stop")])

    def notice_over(self) -> None:
        """The notice was played, or could not be."""
        self._plays_notice = False

    def wake_word(self, text: str) -> list[Action]:
        """The wake word was heard; the firmware begins to listen right after."""
        return self._done([self._listen("detect", text=text)])

    def interrupt(self) -> list[Action]:
        """A press of the button.

        While the device speaks it is an `abort`, and the queue plays on until the server says `stop`; while
        it listens it is an `abort` and a `listen start` with no `stop` between. Otherwise nothing.
        """
        message = {"session_id": self.session_id, "type": "abort"}
        if self.profile.abort_reason:
            message["reason"] = self.profile.abort_reason
        if self.state is State.SPEAKING:
            return self._done([_send(message)])
        if self.state is State.LISTENING:
            return self._done([_send(message), self._listen_start()])
        return []

    def close_channel(self) -> list[Action]:
        """Says goodbye."""
        if self._wire is None:
            return []
        farewell = _send({"session_id": self.session_id, "type": "goodbye"})
        return self._done([farewell, *self._close("closed by the device")])

    def microphone(self, opus: bytes, now: float) -> bytes | None:
        """The datagram for one microphone frame, or None while the device does not send."""
        if self._wire is None or not self.microphone_open:
            return None
        self._sent += 1
        timestamp = round(now * 1000) & 0xFFFFFFFF if self.profile.tick_timestamps else 0
        return self._wire.seal(opus, timestamp, self._sent)

    # ── what its connection does ─────────────────────────────────────────────────────────────────────────

    def control_lost(self) -> list[Action]:
        """The control connection broke; most devices don't notice (section 3)."""
        outlives = self.profile.outlives_control and self.websocket_version is None
        if outlives or self._wire is None:
            return []
        return self._done(self._close("the control connection was lost"))

    def send_failed(self) -> list[Action]:
        """A message could not be sent: the device shows an error, becomes idle and needs a new channel."""
        if self.state is State.IDLE and self._wire is None:
            return []
        return self._done(self._close("a message could not be sent, the control connection was down"))

    def control(self, payload: bytes, now: float) -> list[Action]:
        """A message on whatever topic. What it can't understand it ignores."""
        try:
            message = strict_json.loads(payload)
        except ValueError:
            return []
        if not isinstance(message, dict):
            return []
        self._last_incoming = now
        actions = self._advance(now)
        kind = message.get("type")
        if isinstance(kind, str):
            if kind in self.profile.understands:
                actions += self._messages[kind](message, now)
            else:
                actions.append(Ignored(kind))
        return self._done(actions)

    def datagram(self, datagram: bytes, now: float) -> list[Action]:
        """A packet from the audio server."""
        if self._wire is None:
            return []
        try:
            packet = self._wire.open(datagram)
        except AudioPacketError:
            self.counters.malformed += 1
            return []
        sequence = packet.sequence
        repeated = sequence == self._highest and self.profile.takes_equal_sequence
        if sequence <= self._highest and not repeated:
            self.counters.stale += 1
            return []
        self._last_incoming = now
        self.counters.received += 1
        self.counters.lost += max(0, sequence - self._highest - 1)
        self._highest = sequence
        actions = self._advance(now)
        if self.state is not State.SPEAKING or self._stopping:
            self._queue.discard(now)
        else:
            self._queue.push(packet.opus, now)
            actions += self._advance(now)
        return self._done(actions)

    def tick(self, now: float) -> list[Action]:
        """Time went by: frames begin to sound, a drained queue ends the speech, a hello is given up."""
        actions = self._advance(now)
        if self._hello_deadline is not None and now >= self._hello_deadline:
            actions += self._close(f"hello was not answered within {HELLO_TIMEOUT_S:.0f} s")
        return self._done(actions)

    def settle(self) -> None:
        """Counts what was discarded since the last `tts stop` as cut off: nothing more is expected."""
        self._queue.settle()

    # ── reactions ────────────────────────────────────────────────────────────────────────────────────────

    def _on_hello(self, message: dict[str, Any], now: float) -> list[Action]:
        if self._hello_deadline is None:
            return []
        access = read_answer(message, self.websocket_version)
        if isinstance(access, str):
            return self._close(access)
        self._hello_deadline = None
        self._queue.frame_ms = access.downlink.frame_duration
        self.session_id = access.session_id
        self._wire = access.wire
        self._last_incoming = now
        return [ChannelOpened(access.server, access.port, access.session_id, access.downlink, access.ssrc)]

    def _on_goodbye(self, message: dict[str, Any], now: float) -> list[Action]:
        given = message.get("session_id")
        for_any = not given and self.profile.closes_without_id
        if self._wire is None or not (for_any or given == self.session_id):
            return []
        return self._close("the server said goodbye")

    def _on_stt(self, message: dict[str, Any], now: float) -> list[Action]:
        text = _text(message, "text")
        shown = self.screen.show(text, message)
        return [*shown, Heard(text)] if text else shown  # an empty line makes no bubble

    def _on_tts(self, message: dict[str, Any], now: float) -> list[Action]:
        match message.get("state"):
            case "start":
                return self._begin_speaking(now)
            case "stop" if self.state is State.SPEAKING and not self._stopping:
                return self._stop_speaking(now)
            case "sentence_start":
                text = _text(message, "text")
                shown = self.screen.show(text, message)
                return [*shown, Sentence(text)] if text else shown
        return []

    def _begin_speaking(self, now: float) -> list[Action]:
        if self.state is State.CONNECTING or (self.state is State.SPEAKING and not self._stopping):
            return []
        actions: list[Action] = [SpeakingEnded()] if self._stopping else []
        self._queue.begin(now)
        self._stopping = False
        self.state = State.SPEAKING
        return [*actions, SpeakingBegan()]

    def _stop_speaking(self, now: float) -> list[Action]:
        if self._mode == "manual":
            self._queue.cut()
            self.state = State.IDLE
            return [SpeakingEnded()]
        self._stopping = True
        return self._advance(now)

    def _on_mcp(self, message: dict[str, Any], now: float) -> list[Action]:
        payload = message.get("payload")
        if not isinstance(payload, dict):
            return []
        reply, called = self.tools.answer(payload)
        actions: list[Action] = [ToolCalled(called)] if called else []
        if self.tools.post is not None:
            actions.append(self.tools.post)
        if reply is not None:
            actions.append(_send({"session_id": self.session_id, "type": "mcp", "payload": reply}))
        return actions

    def picture_posted(self, request_id: int, result: str, failed: bool) -> list[Action]:
        """Answers the tool call whose picture was posted."""
        reply = self.tools.posted(request_id, result, failed)
        sent = _send({"session_id": self.session_id, "type": "mcp", "payload": reply})
        return [PicturePosted(result, failed), sent]

    def _on_alert(self, message: dict[str, Any], now: float) -> list[Action]:
        status, text, emotion = (message.get(name) for name in ("status", "message", "emotion"))
        if isinstance(status, str) and isinstance(text, str) and isinstance(emotion, str):
            return [AlertShown(status, text)]
        return []

    def _on_notify(self, message: dict[str, Any], now: float) -> list[Action]:
        if self.state is not State.IDLE or self._plays_notice:
            return [Ignored("notify")]
        url = _text(message, "audio_url")
        if not url:
            return []
        lines = message.get("subtitles")
        texts = (
            [_text(line, "text") for line in lines if isinstance(line, dict)]
            if isinstance(lines, list)
            else []
        )
        self._plays_notice = True
        return [FetchNotice(url, tuple(texts))]

    def _stop_notice(self) -> list[Action]:
        playing, self._plays_notice = self._plays_notice, False
        return [StopNotice()] if playing else []

    def _on_system(self, message: dict[str, Any], now: float) -> list[Action]:
        if message.get("command") != "reboot":
            return []
        return [*self._close("the server had the device reboot"), Rebooted()]

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────

    def _advance(self, now: float) -> list[Action]:
        """Plays what is due; ends a speech that was stopped and has drained."""
        actions: list[Action] = [*self._queue.advance(now)]
        if self._stopping and self._queue.drained(now):
            self._stopping = False
            self.state = State.LISTENING
            actions.append(SpeakingEnded())
            if self._mode == "auto":
                actions.append(self._listen_start())
        return actions

    def _close(self, reason: str) -> list[Action]:
        self._forget_channel()
        self.state = State.IDLE
        return [ChannelClosed(reason)]

    def _forget_channel(self) -> None:
        self._queue.cut()
        self._hello_deadline = None
        self._wire = None
        self._stopping = False
        self._sent = self._highest = 0

    def _done(self, actions: list[Action]) -> list[Action]:
        """Sets the alarm; every public method ends here."""
        alarms = [] if self._hello_deadline is None else [self._hello_deadline]
        if self._stopping or self._queue.waiting:
            alarms.append(self._queue.free_at)
        self.next_wakeup = min(alarms, default=None)
        return actions

    def _listen_start(self) -> Send:
        return self._listen("start", mode=self.profile.auto_mode if self._mode == "auto" else self._mode)

    def _listen(self, state: str, **fields: str) -> Send:
        return _send({"session_id": self.session_id, "type": "listen", "state": state, **fields})


def _send(message: dict[str, Any]) -> Send:
    return Send(json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode(errors="replace"))


def _text(message: dict[str, Any], name: str) -> str:
    value = message.get(name)
    return value if isinstance(value, str) else ""
