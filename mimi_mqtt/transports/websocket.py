"""Control and audio of devices over one WebSocket, as an ASGI application (device contract, section 5).

The device shows its credentials with the upgrade: the token that OTA gave it, Device-Id and Client-Id. Text
frames are control messages, binary ones audio. The end of the connection is the end of the session; there may
be several hellos and goodbyes on one connection, one session after the other.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import parse_qs

from prometheus_client import Counter, Gauge
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from mimi_mqtt.audio.opus import PacketCheck
from mimi_mqtt.config import Settings
from mimi_mqtt.errors import AudioPacketError, MessageError, ProtocolError
from mimi_mqtt.limits import TokenBucket
from mimi_mqtt.session.link import AudioRequest, AudioSink, AudioStats, ControlChannel, ControlSink
from mimi_mqtt.wire.messages import DeviceHello, ServerGoodbye, encode, parse
from mimi_mqtt.wire.ota import cleaned_client_id
from mimi_mqtt.wire.topics import Leaf, device_id_from_mac
from mimi_mqtt.wire.websocket_frame import MAX_FRAME_BYTES, VERSIONS, pack, unpack

_log = logging.getLogger(__name__)

PATH: Final = "/xiaozhi/v1/"
"""The path that OTA tells devices."""
MAX_UNSENT_AUDIO_BYTES: Final = 16_384
"""Bytes that a device has not read yet, beyond which audio for it is dropped: some seconds of speech."""
MAX_UNSENT_BYTES: Final = 131_072
"""Bytes that a device has not read yet, beyond which its connection ends."""
_MAX_QUERY_FIELDS: Final = 16
_BURST_FACTOR: Final = 4
_FLOOD_FACTOR: Final = 10
_DIRECT: Final = "mimi.direct"
_NORMAL, _GOING_AWAY = 1000, 1001
_GOODBYE: Final = encode(ServerGoodbye("")).partition(b'"session_id"')[0]

_devices = Gauge("mimi_websocket_devices", "Devices connected over a WebSocket.")
_refused = Counter("mimi_websocket_refused", "WebSockets of devices that were refused.", ["reason"])
_dropped = Counter("mimi_websocket_dropped", "Messages of devices that were dropped.", ["reason"])


class Frames(Protocol):
    """The connection below: `http.websocket.BoundedWebSocketProtocol`."""

    def deliver_to(self, sink: "WebSocketDevice") -> None:
        """Gives `sink` each message when it is parsed."""

    def send_now(self, payload: bytes, *, text: bool) -> bool:
        """Writes one message; False once the connection is closing."""

    def close_now(self, code: int) -> None:
        """Closes after what was written."""

    def evict(self) -> None:
        """Ends the connection at once."""

    @property
    def unsent(self) -> int:
        """Bytes that the kernel has not taken yet."""


class Gatekeeper(Protocol):
    """Knows devices by what they show: `fleet.directory.DeviceDirectory`."""

    def admits(self, device_id: str, client_id: str, token: bytes) -> bool:
        """True when the device may connect and `token` is its own."""


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a device shows with the upgrade, in headers, or in the query, as browsers can't set headers."""

    device_id: str
    client_id: str
    token: bytes
    version: int

    @classmethod
    def of(cls, scope: Scope) -> "_Shown":
        """Raises ProtocolError for a Device-Id that is none, a version there is not, and a long query."""
        headers = Headers(scope=scope)
        try:
            query = parse_qs(
                scope.get("query_string", b"").decode("latin-1"), max_num_fields=_MAX_QUERY_FIELDS
            )
        except ValueError:
            raise ProtocolError(f"the query has more than {_MAX_QUERY_FIELDS} fields") from None

        def told(name: str) -> str:
            return headers.get(name) or next(iter(query.get(name.lower(), ())), "")

        authorization = (headers.get("authorization") or next(iter(query.get("token", ())), "")).strip()
        scheme, _, rest = authorization.partition(" ")
        # A token with a space in it is sent without the word Bearer; ours have none.
        token = rest if scheme.lower() == "bearer" else authorization
        version = told("Protocol-Version") or "1"
        if version not in map(str, VERSIONS):
            known = ", ".join(map(str, VERSIONS))
            raise ProtocolError(f"Protocol-Version {version[:20]!r} does not exist: there are {known}")
        device_id = device_id_from_mac(told("Device-Id"))
        client_id = cleaned_client_id(told("Client-Id"))
        return cls(device_id, client_id, token.strip().encode("latin-1", "replace"), int(version))


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
    """One device's connection; implements `session.link.ControlChannel`."""

    transport = "websocket"
    is_tester = False

    def __init__(
        self, host: "WebSocketDevices", frames: Frames, shown: _Shown, local: str | None, peer: str | None
    ) -> None:
        self.device_id = shown.device_id
        self.local_host = local
        self.peer_host = peer
        self.version = shown.version
        """The version of binary frames, both ways."""
        self.audio: WebSocketAudio | None = None
        self.open = True
        self._host = host
        self._frames = frames
        now = host.clock()
        self._messages = TokenBucket(host.messages_per_s, host.messages_per_s * _BURST_FACTOR, now)
        self._packets = TokenBucket(host.packets_per_s, host.packets_per_s, now)
        self._excess = {self._messages: 0, self._packets: 0}
        self._bare = False
        self._framed = False
        self._said_version = shown.version

    # ── ControlChannel ──────────────────────────────────────────────────────────────────────────────────

    def send(self, payload: bytes) -> None:
        """Sends one control message; dropped when the connection is closed."""
        if self.open and self._frames.send_now(payload, text=True):
            self._host.sent(self, payload)
            if self._frames.unsent > MAX_UNSENT_BYTES:
                self._end("too slow: it does not read", abort=True)
            elif payload.startswith(_GOODBYE):
                self._host.soon(self._session_over)

    def _session_over(self) -> None:
        """Ends the connection of stock firmware, for which its end is the session's and `goodbye` unknown
        (device contract, section 5). Espressif's component knows it, and stays."""
        if self.audio is None and not self._bare:
            self._end("its session is over", code=_NORMAL if self._host.accepting else _GOING_AWAY)

    def undelivered(self) -> int:
        """0: audio follows control messages on the same connection, and can't overtake them."""
        return 0

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
        return self._frames.send_now(pack(version, opus, timestamp), text=False)

    # ── MessageSink ─────────────────────────────────────────────────────────────────────────────────────

    def text_received(self, payload: bytes) -> None:
        """A control message."""
        if not self.open or not self._allowed(self._messages):
            return
        if len(payload) > self._host.max_message_bytes:
            _dropped.labels("size").inc()
            return
        if b'"hello"' in payload:
            self._take_version(payload)
        self._host.received(self, payload)

    def binary_received(self, payload: bytes) -> None:
        """An audio packet, or a control message in a binary frame."""
        if not self.open or not self._allowed(self._packets):
            return
        audio, now = self.audio, self._host.clock()
        if len(payload) > MAX_FRAME_BYTES:
            _dropped.labels("size").inc()
        elif self._bare:
            if audio is not None:
                audio.received(payload, 0, now)
        else:
            self._unpack(payload, audio, now)

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

    def _allowed(self, bucket: TokenBucket) -> bool:
        """Counts a message; False beyond the device's rate: it is dropped, and a flood is cut off."""
        now = self._host.clock()
        if bucket.take(now):
            if self._excess[bucket] and bucket.left(now) > bucket.burst / 2:
                self._excess[bucket] = 0
            return True
        self._excess[bucket] += 1
        _dropped.labels("rate").inc()
        if self._excess[bucket] > bucket.burst * _FLOOD_FACTOR:
            self._end("flooding", abort=True)
        return False

    def _end(self, reason: str, *, abort: bool = False, code: int = _NORMAL) -> None:
        if not self.open:
            return
        self.open = False
        if abort:
            self._frames.evict()
        else:
            self._frames.close_now(code)
        self._host.closed(self, reason)

    def lost(self, reason: str, code: int = _NORMAL) -> None:
        """The connection is gone, or ends with the server."""
        self._end(reason, code=code)


class WebSocketDevices:
    """The ASGI application at `PATH`; implements `session.link.AudioTransport`.

    `gatekeeper` knows the devices; control messages go to `sink`. `mirror` is shown each message: device,
    direction ("up" or "down") and payload.
    """

    def __init__(
        self,
        settings: Settings,
        gatekeeper: Gatekeeper,
        sink: Callable[[], ControlSink],
        mirror: Callable[[str, Leaf, bytes], None] = lambda device_id, leaf, payload: None,
    ) -> None:
        self.messages_per_s = settings.mqtt.device_messages_per_s
        self.max_message_bytes = settings.mqtt.max_device_packet_bytes
        self.packets_per_s = float(settings.udp.max_datagrams_per_s)
        self.accepting = True
        self._gatekeeper = gatekeeper
        self._sink = sink
        self._mirror = mirror
        self._devices: dict[str, WebSocketDevice] = {}
        self._checks: dict[tuple[int, int], PacketCheck] = {}
        self._loop = asyncio.get_running_loop()

    def clock(self) -> float:
        """The loop's clock, in seconds."""
        return self._loop.time()

    def soon(self, call: Callable[[], None]) -> None:
        """Calls after what is under way."""
        self._loop.call_soon(call)

    def __len__(self) -> int:
        return len(self._devices)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one device until its connection ends."""
        if scope["type"] != "websocket":
            raise ValueError(f"an ASGI scope of type {scope['type']!r} is not a WebSocket")
        await receive()  # websocket.connect
        try:
            shown = _Shown.of(scope)
        except ProtocolError as error:
            await self._refuse(scope, receive, send, 400, "request", str(error))
            return
        if not self.accepting:
            await self._refuse(scope, receive, send, 503, "stopping", "the server is being restarted")
            return
        if not self._gatekeeper.admits(shown.device_id, shown.client_id, shown.token):
            told = "wrong token for this Device-Id and Client-Id: ask the OTA address again"
            await self._refuse(scope, receive, send, 401, "token", told)
            return
        await send({"type": "websocket.accept"})
        frames: Frames = scope["extensions"][_DIRECT]
        local, peer = (scope.get(name) for name in ("server", "client"))
        device = WebSocketDevice(self, frames, shown, _host(local), _host(peer))
        try:
            self._take(device, peer)
            frames.deliver_to(device)
            while (await receive())["type"] != "websocket.disconnect":
                pass
        finally:
            device.lost("connection lost")

    async def _refuse(
        self, scope: Scope, receive: Receive, send: Send, status: int, reason: str, told: str
    ) -> None:
        _refused.labels(reason).inc()
        await JSONResponse({"error": told}, status)(scope, receive, send)

    def _take(self, device: WebSocketDevice, peer: Sequence[Any] | None) -> None:
        if (old := self._devices.get(device.device_id)) is not None:
            old.close("taken over by a new connection of the same device")
        self._devices[device.device_id] = device
        _devices.inc()
        _log.info(
            "device connected over WebSocket from %s:%s",
            *(peer or ("somewhere", 0))[:2],
            extra={"device": device.device_id},
        )
        self._sink().control_opened(device)

    # ── for its devices ─────────────────────────────────────────────────────────────────────────────────

    def received(self, device: WebSocketDevice, payload: bytes) -> None:
        """Delivers a control message."""
        self._mirror(device.device_id, "up", payload)
        self._sink().control_message(device, payload)

    def sent(self, device: WebSocketDevice, payload: bytes) -> None:
        """Takes notice of a message that was sent."""
        self._mirror(device.device_id, "down", payload)

    def closed(self, device: WebSocketDevice, reason: str) -> None:
        """Forgets a device."""
        if self._devices.get(device.device_id) is device:
            del self._devices[device.device_id]
        _devices.dec()
        _log.info("device left: %s", reason, extra={"device": device.device_id})
        self._sink().control_closed(device, reason)
        if device.audio is not None:
            device.audio.close()

    # ── AudioTransport ──────────────────────────────────────────────────────────────────────────────────

    def open(self, channel: ControlChannel, request: AudioRequest, sink: AudioSink) -> WebSocketAudio:
        """The audio of a session on its device's own connection. Raises AudioError for a rate Opus doesn't
        have."""
        if not isinstance(channel, WebSocketDevice):
            raise TypeError("audio over a WebSocket belongs to a control connection over the same one")
        form = (request.sample_rate, request.frame_ms)
        check = self._checks.get(form)
        if check is None:
            check = self._checks[form] = PacketCheck(*form)
        if channel.audio is not None:
            channel.audio.close()
        audio = WebSocketAudio(channel, check, sink)
        channel.opened(audio)
        return audio

    # ── for the rest of the server ──────────────────────────────────────────────────────────────────────

    def disconnect(self, device_id: str, reason: str) -> None:
        """Ends the device's connection, after what was sent to it before."""
        if (device := self._devices.get(device_id)) is not None:
            device.close(reason)

    def push(self, device_id: str, payload: bytes) -> bool:
        """Sends a control message to the device; False when it is not connected here."""
        device = self._devices.get(device_id)
        if device is not None:
            device.send(payload)
        return device is not None

    def speak_as(self, device_id: str, payload: bytes) -> bool:
        """Takes a message as the device's own; False when it is not connected here."""
        device = self._devices.get(device_id)
        if device is not None:
            self._sink().control_message(device, payload)
        return device is not None

    def stop_accepting(self) -> None:
        """Refuses new connections; those there are stay."""
        self.accepting = False

    def close(self) -> None:
        """Ends all connections; safe to call twice."""
        self.accepting = False
        for device in [*self._devices.values()]:
            device.lost("server stops", code=_GOING_AWAY)


def _host(address: Sequence[Any] | None) -> str | None:
    return str(address[0]).removeprefix("::ffff:") if address else None
