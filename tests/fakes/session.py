"""Stand-ins for what surrounds a session: the control channel, the audio channel, the conversation."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mimi_mqtt.session.link import AudioRequest, AudioSink, AudioStats, ControlChannel
from mimi_mqtt.voice.ports import Announcement, ConversationSetup
from mimi_mqtt.wire.messages import ListenMode

DEVICE = "aa-bb-cc-00-11-22"
OTHER_DEVICE = "aa-bb-cc-00-11-33"


@dataclass(eq=False)
class FakeControlChannel:
    """A device's control connection; keeps what it was sent, and when, and calls `on_message` with it."""

    device_id: str = DEVICE
    transport: str = "mqtt"
    local_host: str | None = "192.0.2.1"
    peer_host: str | None = None
    is_tester: bool = False
    sent: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    on_message: Callable[[dict[str, Any]], None] | None = None
    closed: str | None = None
    unacknowledged_bytes: int = 0
    lost: int = 0

    def undelivered(self) -> int:
        return self.unacknowledged_bytes

    def round_trip_ms(self) -> float | None:
        return 12.5

    def unacknowledged(self) -> list[bytes]:
        """The last `lost` messages."""
        return [json.dumps(message).encode() for message in self.messages[-self.lost :]] if self.lost else []

    def send(self, payload: bytes) -> None:
        message = json.loads(payload)
        self.sent.append((asyncio.get_running_loop().time(), message))
        if self.on_message is not None:
            self.on_message(message)

    def close(self, reason: str) -> None:
        self.closed = reason

    @property
    def messages(self) -> list[dict[str, Any]]:
        """All that was sent."""
        return [message for _, message in self.sent]

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        """What was sent of one type."""
        return [message for message in self.messages if message["type"] == kind]

    def story(self) -> list[str]:
        """Types, with the state of `tts` and the text of a sentence: `["stt", "tts start", …]`."""
        parts = (("type", "state", "text") if m["type"] == "tts" else ("type",) for m in self.messages)
        return [
            " ".join(message[part] for part in wanted if part in message)
            for wanted, message in zip(parts, self.messages, strict=True)
        ]


@dataclass(eq=False)
class FakeAudioChannel:
    """A session's audio; `sent` has the loop's time, the frame and its timestamp, `section` its hello."""

    request: AudioRequest
    sink: AudioSink
    ready: bool = True
    closed: bool = False
    stats: AudioStats = field(default_factory=AudioStats)
    sent: list[tuple[float, bytes, int]] = field(default_factory=list)
    sequence: int = 0
    section: Mapping[str, Any] | None = None
    spare_bytes: int | None = None
    carries_timestamps: bool = True

    def describe(self) -> Mapping[str, Any]:
        if self.section is not None:
            return self.section
        return {"udp": {"server": self.request.host, "port": 8884, "key": "00" * 16, "nonce": "01" * 16}}

    def send(self, opus: bytes, timestamp: int) -> bool:
        if self.closed or not self.ready:
            return False
        self.sent.append((asyncio.get_running_loop().time(), opus, timestamp))
        return True

    def close(self) -> None:
        self.closed = True

    def hear(self, opus: bytes = b"\x00opus", timestamp: int = 0) -> None:
        """A packet came from the device, and was believed."""
        self.ready = True
        self.sequence += 1
        self.stats.received += 1
        self.sink.audio_received(opus, self.sequence, timestamp, asyncio.get_running_loop().time())


class FakeAudioTransport:
    """Opens `FakeAudioChannel`s and keeps them; `ready` and `section` are what a fresh one has."""

    def __init__(self, *, ready: bool = True) -> None:
        self.ready = ready
        self.channels: list[FakeAudioChannel] = []
        self.section: Mapping[str, Any] | None = None

    def open(self, channel: ControlChannel, request: AudioRequest, sink: AudioSink) -> FakeAudioChannel:
        assert channel.device_id == request.device_id
        opened = FakeAudioChannel(request, sink, ready=self.ready, section=self.section)
        self.channels.append(opened)
        return opened


class FakeConversation:
    """Keeps what it was told as `calls`; a test speaks through `output`."""

    def __init__(self, setup: ConversationSetup) -> None:
        self.device_id = setup.device.id
        self.device = setup.device
        self.user = setup.user
        self.session_id = setup.session_id
        self.uplink = setup.uplink
        self.downlink = setup.downlink
        self.output = setup.output
        self.tools = setup.tools
        self.language = setup.language
        self.agent = ""
        self.last_activity = asyncio.get_running_loop().time()
        self.busy = False
        self.calls: list[tuple[str, ...]] = []
        self.echoes: list[int] = []
        self.labels: list[int] = []
        self.announcements: list[Announcement] = []
        self.closed = False
        self.failure: Exception | None = None

    def _called(self, *call: str) -> None:
        self.calls.append(call)
        if self.failure is not None:
            raise self.failure

    def listen(self, mode: ListenMode) -> None:
        self._called("listen", mode)

    def stop_listening(self) -> None:
        self._called("stop_listening")

    def wake_word(self, text: str) -> None:
        self._called("wake_word", text)

    def typed(self, text: str) -> None:
        self._called("typed", text)

    def audio(self, opus: bytes, sequence: int, timestamp: int, now: float) -> None:
        self.labels.append(timestamp)
        self._called("audio", str(sequence))

    def played(self, opus: bytes, timestamp: int) -> None:
        self.echoes.append(timestamp)

    def abort(self, reason: str) -> bool:
        self._called("abort", reason)
        return reason == "stop_listening"

    def announce(self, announced: str | Announcement) -> None:
        self._called("announce", announced if isinstance(announced, str) else announced.text)
        if isinstance(announced, Announcement):
            self.announcements.append(announced)

    def end_after_turn(self) -> None:
        self._called("end_after_turn")

    async def drain(self, within_s: float) -> None:
        self._called("drain")
        await asyncio.wait({asyncio.ensure_future(self.output.finish_speech())}, timeout=within_s)

    async def aclose(self) -> None:
        self.closed = True
