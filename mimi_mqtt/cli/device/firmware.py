"""What a stock device does with what it is sent: messages and datagrams in, actions out. No I/O, no clock.

Behaves like the firmware that the device contract describes (sections 3, 4 and 6), faults and all: it
discards audio unless it is speaking, forgets its queue when it begins to, holds 40 packets, takes no sequence
twice, and stops listening while it speaks unless it is in realtime mode. Times are seconds on the caller's
clock; call `tick` at `next_wakeup`.
"""

import json
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from mimi_mqtt.cli.device.actions import (
    Action,
    AlertShown,
    ChannelClosed,
    ChannelOpened,
    Face,
    Heard,
    Play,
    Rebooted,
    Send,
    Sentence,
    SpeakingBegan,
    SpeakingEnded,
    ToolCalled,
)
from mimi_mqtt.cli.device.tools import DeviceTools
from mimi_mqtt.errors import AudioPacketError
from mimi_mqtt.wire import strict_json
from mimi_mqtt.wire.audio_packet import AudioCipher, pack_uplink, parse_header
from mimi_mqtt.wire.messages import AudioParams, ListenMode

QUEUE_PACKETS: Final = 40
HELLO_TIMEOUT_S: Final = 10.0
CHANNEL_TIMEOUT_S: Final = 120.0
EARLY_S: Final = 0.5
"""Audio discarded this long before `tts start`, in seconds, is a beginning that was cut off; any other audio
discarded after a `tts stop` is an end that was."""

_HEX_16_BYTES = re.compile("[0-9a-fA-F]{32}")


class State(Enum):
    """What the device is doing."""

    IDLE = "idle"
    CONNECTING = "connecting"
    LISTENING = "listening"
    SPEAKING = "speaking"


@dataclass(slots=True)
class Counters:
    """What happened to the downlink, in packets and, where the name says so, in ms of audio."""

    received: int = 0
    lost: int = 0
    """Sequences that never came, or came too late."""
    overflowed: int = 0
    """Came while 40 packets were waiting."""
    stale: int = 0
    """Came with a sequence that was not greater than the last."""
    malformed: int = 0
    played: int = 0
    clipped_start_ms: int = 0
    clipped_end_ms: int = 0


class Firmware:
    """One device. Every method takes the time and returns what is to be done about it, in order."""

    def __init__(self, uplink: AudioParams | None = None, tools: DeviceTools | None = None) -> None:
        self.uplink = uplink or AudioParams()
        self.tools = tools or DeviceTools()
        self.state = State.IDLE
        self.session_id = ""
        self.counters = Counters()
        self.next_wakeup: float | None = None
        self._mode: ListenMode = "auto"
        self._cipher: AudioCipher | None = None
        self._nonce = b""
        self._downlink = AudioParams()
        self._sent = 0
        self._highest = 0
        self._queue: deque[tuple[float, bytes]] = deque()  # with their time of arrival
        self._queue_free_at = 0.0
        self._stopping = False
        self._decoder_fresh = True
        self._discarded: list[tuple[float, int]] = []
        self._spoken_before = False
        self._hello_deadline: float | None = None
        self._last_incoming = 0.0
        self._messages: dict[object, Callable[[dict[str, Any], float], list[Action]]] = {
            "hello": self._on_hello,
            "goodbye": self._on_goodbye,
            "tts": self._on_tts,
            "stt": lambda message, _: [Heard(_text(message, "text"))],
            "llm": lambda message, _: [Face(_text(message, "emotion"))],
            "mcp": self._on_mcp,
            "alert": self._on_alert,
            "system": self._on_system,
        }

    @property
    def channel_open(self) -> bool:
        """Whether there is an audio channel."""
        return self._cipher is not None

    # ── what its owner does ──────────────────────────────────────────────────────────────────────────────

    def open_channel(self, now: float) -> list[Action]:
        """Says hello; the answer must come within 10 s."""
        self.state = State.CONNECTING
        self._forget_channel()
        self._hello_deadline = now + HELLO_TIMEOUT_S
        hello = {
            "type": "hello",
            "version": 3,
            "features": {"mcp": True},
            "transport": "udp",
            "audio_params": {
                "format": "opus",
                "sample_rate": self.uplink.sample_rate,
                "channels": self.uplink.channels,
                "frame_duration": self.uplink.frame_duration,
            },
        }
        return self._done([_send(hello)])

    def start_listening(self, mode: ListenMode) -> list[Action]:
        """Begins a turn: from now on the microphone is sent."""
        self._mode = mode
        self.state = State.LISTENING
        return self._done([self._listen("start", mode=mode)])

    def stop_listening(self) -> list[Action]:
        """Manual mode's button is let go."""
        if self.state is not State.LISTENING:
            return []
        self.state = State.IDLE
        return self._done([self._listen("stop")])

    def wake_word(self, text: str) -> list[Action]:
        """The wake word was heard; the firmware begins to listen right after."""
        return self._done([self._listen("detect", text=text)])

    def abort(self, reason: str = "") -> list[Action]:
        """Interrupts the server's speech."""
        message = {"session_id": self.session_id, "type": "abort"}
        return self._done([_send(message | ({"reason": reason} if reason else {}))])

    def close_channel(self) -> list[Action]:
        """Says goodbye."""
        if self._cipher is None:
            return []
        farewell = _send({"session_id": self.session_id, "type": "goodbye"})
        return self._done([farewell, *self._close("closed by the device")])

    def microphone(self, opus: bytes) -> bytes | None:
        """The datagram for one microphone frame, or None while the device does not send."""
        sends = self.state is State.LISTENING or (self.state is State.SPEAKING and self._mode == "realtime")
        if self._cipher is None or not sends:
            return None
        self._sent += 1
        return self._cipher.encrypt(pack_uplink(self._nonce, 0, self._sent, len(opus)), opus)

    # ── what comes from the server ───────────────────────────────────────────────────────────────────────

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
        react = self._messages.get(kind) if isinstance(kind, str) else None
        if react is not None:
            actions += react(message, now)
        return self._done(actions)

    def datagram(self, datagram: bytes, now: float) -> list[Action]:
        """A packet from the audio server."""
        if self._cipher is None:
            return []
        try:
            header = parse_header(datagram)
        except AudioPacketError:
            self.counters.malformed += 1
            return []
        if header.sequence <= self._highest:
            self.counters.stale += 1
            return []
        self._last_incoming = now
        self.counters.received += 1
        self.counters.lost += header.sequence - self._highest - 1
        self._highest = header.sequence
        actions = self._advance(now)
        frame_ms = self._downlink.frame_duration
        if self.state is not State.SPEAKING or self._stopping:
            self._discarded.append((now, frame_ms))
            if not self._spoken_before:
                self.counters.clipped_start_ms += frame_ms
                self._discarded.clear()
        elif len(self._queue) >= QUEUE_PACKETS:
            self.counters.overflowed += 1
        else:
            self._queue.append((now, self._cipher.decrypt(datagram)))
            actions += self._advance(now)
        return self._done(actions)

    def tick(self, now: float) -> list[Action]:
        """Time went by: frames begin to sound, a drained queue ends the speech, waiting ends."""
        actions = self._advance(now)
        if self._hello_deadline is not None and now >= self._hello_deadline:
            actions += self._close(f"hello was not answered within {HELLO_TIMEOUT_S:.0f} s")
        elif self._cipher is not None and now >= self._last_incoming + CHANNEL_TIMEOUT_S:
            actions += self._close(f"nothing came from the server for {CHANNEL_TIMEOUT_S:.0f} s")
        return self._done(actions)

    def settle(self) -> None:
        """Counts what was discarded since the last `tts stop` as cut off: nothing more is expected."""
        self.counters.clipped_end_ms += sum(ms for _, ms in self._discarded)
        self._discarded.clear()

    # ── reactions ────────────────────────────────────────────────────────────────────────────────────────

    def _on_hello(self, message: dict[str, Any], now: float) -> list[Action]:
        if self._hello_deadline is None:
            return []
        udp = message.get("udp")
        if message.get("transport") != "udp" or not isinstance(udp, dict):
            return self._close("hello was answered without a udp section")
        server, port, key, nonce = (udp.get(name) for name in ("server", "port", "key", "nonce"))
        if not isinstance(server, str) or not server or type(port) is not int or not 0 < port < 0x10000:
            return self._close("hello was answered without the audio server's address")
        for name, value in (("key", key), ("nonce", nonce)):
            if not isinstance(value, str) or not _HEX_16_BYTES.fullmatch(value):
                return self._close(f"hello was answered with a {name} that is not 32 hex digits")
        audio = message.get("audio_params")
        given = audio if isinstance(audio, dict) else {}
        self._downlink = AudioParams(
            _number(given, "sample_rate", 24_000), 1, _number(given, "frame_duration", 60)
        )
        self._hello_deadline = None
        self.session_id = _text(message, "session_id")
        self._cipher = AudioCipher(bytes.fromhex(str(key)))
        self._nonce = bytes.fromhex(str(nonce))
        self.state = State.IDLE
        self._last_incoming = now
        return [ChannelOpened(server, port, self.session_id, self._downlink)]

    def _on_goodbye(self, message: dict[str, Any], now: float) -> list[Action]:
        if self._cipher is None or message.get("session_id") != self.session_id:
            return []
        return self._close("the server said goodbye")

    def _on_tts(self, message: dict[str, Any], now: float) -> list[Action]:
        match message.get("state"):
            case "start":
                return self._begin_speaking(now)
            case "stop" if self.state is State.SPEAKING and not self._stopping:
                return self._stop_speaking(now)
            case "sentence_start":
                return [Sentence(_text(message, "text"))]
        return []

    def _begin_speaking(self, now: float) -> list[Action]:
        if self.state is State.CONNECTING or (self.state is State.SPEAKING and not self._stopping):
            return []
        for at, ms in self._discarded:
            if now - at <= EARLY_S:
                self.counters.clipped_start_ms += ms
            else:
                self.counters.clipped_end_ms += ms
        self._discarded.clear()
        actions: list[Action] = [SpeakingEnded()] if self._stopping else []
        self._cut_queue()
        self._stopping = False
        self._decoder_fresh = True
        self._spoken_before = True
        self.state = State.SPEAKING
        return [*actions, SpeakingBegan()]

    def _stop_speaking(self, now: float) -> list[Action]:
        if self._mode == "manual":
            self._cut_queue()
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
        if reply is not None:
            actions.append(_send({"session_id": self.session_id, "type": "mcp", "payload": reply}))
        return actions

    def _on_alert(self, message: dict[str, Any], now: float) -> list[Action]:
        status, text, emotion = (message.get(name) for name in ("status", "message", "emotion"))
        if isinstance(status, str) and isinstance(text, str) and isinstance(emotion, str):
            return [AlertShown(status, text)]
        return []

    def _on_system(self, message: dict[str, Any], now: float) -> list[Action]:
        if message.get("command") != "reboot":
            return []
        return [*self._close("the server had the device reboot"), Rebooted()]

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────

    def _advance(self, now: float) -> list[Action]:
        """Plays what is due, one frame a frame's time; ends a speech that was stopped and has drained."""
        actions: list[Action] = []
        frame_s = self._downlink.frame_duration / 1000
        while self._queue and self._queue_free_at <= now:
            arrived, opus = self._queue.popleft()
            at = max(self._queue_free_at, arrived)
            actions.append(Play(opus, at, self._decoder_fresh))
            self._decoder_fresh = False
            self.counters.played += 1
            self._queue_free_at = at + frame_s
        if self._stopping and not self._queue and now >= self._queue_free_at:
            self._stopping = False
            self.state = State.LISTENING
            actions.append(SpeakingEnded())
            if self._mode == "auto":
                actions.append(self._listen("start", mode=self._mode))
        return actions

    def _cut_queue(self) -> None:
        self.counters.clipped_end_ms += len(self._queue) * self._downlink.frame_duration
        self._queue.clear()

    def _close(self, reason: str) -> list[Action]:
        self._forget_channel()
        self.state = State.IDLE
        return [ChannelClosed(reason)]

    def _forget_channel(self) -> None:
        self._cut_queue()
        self._hello_deadline = None
        self._cipher = None
        self._stopping = False
        self._sent = self._highest = 0

    def _done(self, actions: list[Action]) -> list[Action]:
        """Sets the alarm; every public method ends here."""
        alarms = []
        if self._hello_deadline is not None:
            alarms.append(self._hello_deadline)
        if self._cipher is not None:
            alarms.append(self._last_incoming + CHANNEL_TIMEOUT_S)
        if self._queue or self._stopping:
            alarms.append(self._queue_free_at)
        self.next_wakeup = min(alarms, default=None)
        return actions

    def _listen(self, state: str, **fields: str) -> Send:
        return _send({"session_id": self.session_id, "type": "listen", "state": state, **fields})


def _send(message: dict[str, Any]) -> Send:
    return Send(json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode(errors="replace"))


def _text(message: dict[str, Any], name: str) -> str:
    value = message.get(name)
    return value if isinstance(value, str) else ""


def _number(message: dict[str, Any], name: str, default: int) -> int:
    value = message.get(name)
    return value if type(value) is int and 0 < value <= 192_000 else default
