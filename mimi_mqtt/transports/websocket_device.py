"""One device's connection over a WebSocket, and the audio of its session (device contract, section 5).

Text frames are control messages, binary ones audio. The end of the connection is the end of the session;
there may be several hellos and goodbyes on one connection, one session after the other.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

from prometheus_client import Counter

from mimi_mqtt.audio.opus import PacketCheck
from mimi_mqtt.errors import AudioPacketError, MessageError
from mimi_mqtt.limits import TokenBucket
from mimi_mqtt.session.link import AudioSink, AudioStats
from mimi_mqtt.transports.websocket_capacity import WebSocketCapacity
from mimi_mqtt.wire.messages import DeviceHello, ServerGoodbye, encode, parse
from mimi_mqtt.wire.websocket_frame import MAX_FRAME_BYTES, VERSIONS, pack, unpack

MAX_UNSENT_AUDIO_BYTES: Final = 16_384
"""Bytes that a device has not read yet, beyond which audio for it is dropped: some seconds of speech."""
MAX_UNSENT_BYTES: Final = 131_072
"""Bytes that a device has not read yet, beyond which its connection ends."""
NORMAL: Final = 1000
"""The close code of a session that is over (RFC 6455, section 7.4.1)."""
GOING_AWAY: Final = 1001
"""The close code of a server that stops."""
_BURST_FACTOR: Final = 4
_FLOOD_FACTOR: Final = 10
_GOODBYE: Final = encode(ServerGoodbye("")).partition(b'"session_id"')[0]

_dropped = Counter("mimi_websocket_dropped", "Messages of devices that were dropped.", ["reason"])


class Frames(Protocol):
    """The connection below: `http.websocket.BoundedWebSocketProtocol`."""

    def deliver_to(self, sink: "WebSocketDevice") -> None:
        """Gives `sink` each message when it is parsed."""

    def send_now(self, payload: bytes, *, text: bool) -> bool:
        """Writes one message; False once the connection is closing."""

    def ping_now(self) -> None:
        """Writes a ping, whose pong its sink is told of."""

    def close_now(self, code: int) -> None:
        """Closes after what was written."""

    def evict(self) -> None:
        """Ends the connection at once."""

    @property
    def unsent(self) -> int:
        """Bytes that the kernel has not taken yet."""


class DeviceHost(Protocol):
    """The server of a connection: `transports.websocket.WebSocketDevices`."""

    messages_per_s: float
    """Control messages of one device in a second, in the long run."""
    packets_per_s: float
    """Audio packets of one device in a second."""
    max_message_bytes: int
    accepting: bool
    """False once the server stops."""

    def clock(self) -> float:
        """The loop's clock, in seconds."""

    def soon(self, call: Callable[[], None]) -> None:
        """Calls after what is under way."""

    def received(self, device: "WebSocketDevice", payload: bytes) -> None:
        """Delivers a control message."""

    def sent(self, device: "WebSocketDevice", payload: bytes) -> None:
        """Takes notice of a message that was sent."""

    def closed(self, device: "WebSocketDevice", reason: str) -> None:
        """Forgets a device."""


class WebSocketAudio:
    """One session's audio on its device's connection; implements `session.link.AudioChannel`."""

    __slots__ = ("_check", "_device", "_sequence", "_sink", "stats")

    def __init__(self, device: "WebSocketDevice", check: PacketCheck, sink: AudioSink) -> None:
        self._device: WebSocketDevice | None = device
        self._check = check
        self._sink = sink
        self._sequence = 0
        self.stats = AudioStats()

    @property
    def ready(self) -> bool:
        """True while the connection is there."""
        return self._device is not None

    @property
    def spare_bytes(self) -> int:
        """Bytes of control messages that may be sent now without delaying audio."""
        return self._device.spare_bytes() if self._device is not None else 0

    @property
    def carries_timestamps(self) -> bool:
        """True for frames of version 2."""
        return self._device is not None and self._device.version == 2

    def describe(self) -> Mapping[str, Any]:
        """Nothing: the device knows where its audio goes."""
        return {}

    def send(self, opus: bytes, timestamp: int) -> bool:
        """Sends one frame; False when it was dropped: closed, or a device that does not read."""
        if self._device is None or not self._device.send_audio(opus, timestamp):
            return False
        self.stats.sent += 1
        return True

    def close(self) -> None:
        """Ends the channel; the connection stays for the next hello."""
        device, self._device = self._device, None
        if device is not None and device.audio is self:
            device.audio = None

    def fits(self, packet: bytes) -> bool:
        """True for an Opus packet of the format that the device announced."""
        return self._check(packet)

    def received(self, opus: bytes, timestamp: int, now: float) -> None:
        """Passes an authentic packet on; one of another format is counted."""
        if not self._check(opus):
            self.stats.forged += 1
            return
        self._sequence += 1
        self.stats.received += 1
        self._sink.audio_received(opus, self._sequence, timestamp, now)


class WebSocketDevice:
    """One device's connection; implements `session.link.ControlChannel`. `stays`: by what OTA knows it is
    Espressif's component, which goes on after `goodbye`."""

    transport = "websocket"
    is_tester = False

    def __init__(
        self,
        host: DeviceHost,
        frames: Frames,
        device_id: str,
        version: int,
        local: str | None,
        peer: str | None,
        *,
        stays: bool = False,
    ) -> None:
        self.device_id = device_id
        self.local_host = local
        self.peer_host = peer
        self.version = version
        """The version of binary frames, both ways."""
        self.audio: WebSocketAudio | None = None
        self.open = True
        self._host = host
        self._frames = frames
        now = host.clock()
        self._messages = TokenBucket(host.messages_per_s, host.messages_per_s * _BURST_FACTOR, now)
        self._packets = TokenBucket(host.packets_per_s, host.packets_per_s, now)
        self._excess: dict[TokenBucket, int] = {}
        self._stays = stays
        self._bare = False
        self._framed = False
        self._said_version = version
        self._capacity: WebSocketCapacity | None = None  # made when it is first asked for

    # ── ControlChannel ──────────────────────────────────────────────────────────────────────────────────

    def send(self, payload: bytes) -> None:
        """Sends one control message; dropped when the connection is closed."""
        if self.open and self._frames.send_now(payload, text=True):
            self._host.sent(self, payload)
            if self._frames.unsent > MAX_UNSENT_BYTES:
                self._end("too slow: it does not read", abort=True)
            elif payload.startswith(_GOODBYE):
                self._host.soon(self._session_over)
            elif self._capacity is not None:
                self._measure(self._capacity, len(payload))

    def _measure(self, capacity: WebSocketCapacity, size: int) -> None:
        now = self._host.clock()
        capacity.sent(size, now)
        if capacity.begin_probe(size, now):
            self._frames.ping_now()

    def _session_over(self) -> None:
        """Ends the connection of stock firmware, for which its end is the session's and `goodbye` unknown
        (device contract, section 5). Espressif's component knows it, and stays (section 8)."""
        if self.audio is None and not (self._stays or self._bare):
            self._end("its session is over", code=NORMAL if self._host.accepting else GOING_AWAY)

    def undelivered(self) -> int:
        """0: audio follows control messages on the same connection, and can't overtake them."""
        return 0

    def round_trip_ms(self) -> float | None:
        """None: it is not measured."""
        return None

    def unacknowledged(self) -> Sequence[bytes]:
        """None: with the connection the session ends, too."""
        return ()

    def close(self, reason: str) -> None:
        """Ends the connection after what was sent."""
        self._end(reason)

    # ── audio ───────────────────────────────────────────────────────────────────────────────────────────

    def send_audio(self, opus: bytes, timestamp: int) -> bool:
        """Sends one Opus packet; False when it was dropped."""
        if not self.open or self._frames.unsent > MAX_UNSENT_AUDIO_BYTES:
            return False
        version = 1 if self._bare else self.version
        frame = pack(version, opus, timestamp)
        if self._capacity is not None:
            self._capacity.sent(len(frame), self._host.clock())
        return self._frames.send_now(frame, text=False)

    def spare_bytes(self) -> int:
        """Bytes that may be sent now without delaying audio by more than `MAX_DELAY_S`; from the first call
        on the connection is measured."""
        now = self._host.clock()
        if self._capacity is None:
            self._capacity = WebSocketCapacity(now)
        return 0 if self._frames.unsent else self._capacity.spare(now)

    # ── MessageSink ─────────────────────────────────────────────────────────────────────────────────────

    def text_received(self, payload: bytes) -> None:
        """A control message."""
        if not self.open or not self._allowed(self._messages, self._host.clock()):
            return
        if len(payload) > self._host.max_message_bytes:
            _dropped.labels("size").inc()
            return
        if b'"hello"' in payload:
            self._take_version(payload)
        self._host.received(self, payload)

    def binary_received(self, payload: bytes) -> None:
        """An audio packet, or a control message in a binary frame."""
        now = self._host.clock()
        if not self.open or not self._allowed(self._packets, now):
            return
        audio = self.audio
        if len(payload) > MAX_FRAME_BYTES:
            _dropped.labels("size").inc()
        elif self._bare or self.version == 1:
            if audio is not None:
                audio.received(payload, 0, now)
        else:
            self._unpack(payload, audio, now)

    def pong_received(self) -> None:
        """The answer to `ping_now`."""
        if self._capacity is not None:
            self._capacity.answered(self._host.clock())

    def _unpack(self, payload: bytes, audio: WebSocketAudio | None, now: float) -> None:
        try:
            frame = unpack(self.version, payload)
        except AudioPacketError:
            # Espressif's component sends bare Opus, whatever version it names (device contract, section 8).
            if audio is not None and not self._framed and audio.fits(payload):
                self._bare = True
                audio.received(payload, 0, now)
            else:
                _dropped.labels("frame").inc()
            return
        self._framed = True
        if frame.is_json:
            self.text_received(frame.payload)
        elif audio is not None:
            audio.received(frame.payload, frame.timestamp, now)

    def connection_ended(self) -> None:
        """The connection is gone."""
        self.lost("connection lost")

    def _take_version(self, payload: bytes) -> None:
        """A hello names the version of the frames that follow it, once it is answered."""
        with suppress(MessageError):
            message = parse(payload)
            if isinstance(message, DeviceHello) and message.version in VERSIONS:
                self._said_version = message.version

    def opened(self, audio: WebSocketAudio) -> None:
        """A session begins, with frames of the version that its hello named."""
        self.audio, self.version = audio, self._said_version
        self._bare = self._framed = False

    def _allowed(self, bucket: TokenBucket, now: float) -> bool:
        """Counts a message; False beyond the device's rate: it is dropped, and a flood is cut off."""
        excess = self._excess
        if bucket.take(now):
            if excess and bucket in excess and bucket.left(now) > bucket.burst / 2:
                del excess[bucket]
            return True
        excess[bucket] = excess.get(bucket, 0) + 1
        _dropped.labels("rate").inc()
        if excess[bucket] > bucket.burst * _FLOOD_FACTOR:
            self._end("flooding", abort=True)
        return False

    def _end(self, reason: str, *, abort: bool = False, code: int = NORMAL) -> None:
        if not self.open:
            return
        self.open = False
        if abort:
            self._frames.evict()
        else:
            self._frames.close_now(code)
        self._host.closed(self, reason)

    def lost(self, reason: str, code: int = NORMAL) -> None:
        """The connection is gone, or ends with the server."""
        self._end(reason, code=code)
