"""Control and audio of devices over one WebSocket, as an ASGI application (device contract, section 5).

The device shows its credentials with the upgrade: the token that OTA gave it, Device-Id and Client-Id. From
then on `websocket_device` serves it.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import parse_qs

from prometheus_client import Counter, Gauge
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from mimi_mqtt.audio.opus import PacketCheck
from mimi_mqtt.config import Settings
from mimi_mqtt.config.bind import before_port
from mimi_mqtt.errors import ProtocolError
from mimi_mqtt.fleet.directory import DeviceInfo
from mimi_mqtt.session.link import AudioRequest, AudioSink, ControlChannel, ControlSink
from mimi_mqtt.shares import KnownAddresses, address_holder
from mimi_mqtt.transports.websocket_device import GOING_AWAY, Frames, WebSocketAudio, WebSocketDevice
from mimi_mqtt.wire.ota import cleaned_client_id
from mimi_mqtt.wire.topics import Leaf, device_id_from_mac
from mimi_mqtt.wire.websocket_frame import VERSIONS

_log = logging.getLogger(__name__)

PATH: Final = "/xiaozhi/v1/"
"""The path that OTA tells devices."""
_MAX_QUERY_FIELDS: Final = 16
_DIRECT: Final = "mimi.direct"

_devices = Gauge("mimi_websocket_devices", "Devices connected over a WebSocket.")
_refused = Counter("mimi_websocket_refused", "WebSockets of devices that were refused.", ["reason"])


class Gatekeeper(Protocol):
    """Knows devices by what they show: `fleet.directory.DeviceDirectory`."""

    def admits(self, device_id: str, client_id: str, token: bytes) -> bool:
        """True when the device may connect and `token` is its own."""

    def get(self, device_id: str) -> DeviceInfo | None:
        """The device, or None when there is none that may connect."""


@dataclass(frozen=True, slots=True)
class _Shown:
    """Credentials of an upgrade, from its headers, or from its query, as browsers can't set headers."""

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


class WebSocketDevices:
    """The ASGI application at `PATH`; implements `session.link.AudioTransport`.

    `gatekeeper` knows the devices; control messages go to `sink`. `mirror` is shown each message: device,
    direction ("up" or "down") and payload. Addresses that devices connect from are added to `known`.
    """

    def __init__(
        self,
        settings: Settings,
        gatekeeper: Gatekeeper,
        sink: Callable[[], ControlSink],
        mirror: Callable[[str, Leaf, bytes], None] = lambda device_id, leaf, payload: None,
        known: KnownAddresses | None = None,
    ) -> None:
        self.messages_per_s = settings.mqtt.device_messages_per_s
        self.max_message_bytes = settings.mqtt.max_device_packet_bytes
        self.packets_per_s = float(settings.udp.max_datagrams_per_s)
        self.accepting = True
        self._gatekeeper = gatekeeper
        self._sink = sink
        self._mirror = mirror
        self._known = known
        self._devices: dict[str, WebSocketDevice] = {}
        self._checks: dict[tuple[int, int, bool], PacketCheck] = {}
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
        """Lets one device in; the connection serves it from then on, without a task."""
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
        known = self._gatekeeper.get(shown.device_id)
        device = WebSocketDevice(
            self, frames, shown.device_id, shown.version, _host(local), _host(peer),
            stays=known is not None and known.espressif,
        )  # fmt: skip
        try:
            self._take(device, peer)
            frames.deliver_to(device)
        except BaseException:
            device.lost("connection lost")
            raise

    async def _refuse(
        self, scope: Scope, receive: Receive, send: Send, status: int, reason: str, told: str
    ) -> None:
        _refused.labels(reason).inc()
        await JSONResponse({"error": told}, status)(scope, receive, send)

    def _take(self, device: WebSocketDevice, peer: Sequence[Any] | None) -> None:
        if (old := self._devices.get(device.device_id)) is not None:
            old.close("taken over by a new connection of the same device")
        self._devices[device.device_id] = device
        if self._known is not None and peer:
            self._known.add(address_holder(str(peer[0])))
        _devices.inc()
        host, port = (peer or ("somewhere", 0))[:2]
        _log.info(
            "device connected over WebSocket from %s:%s",
            before_port(str(host)),
            port,
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
        form = (request.sample_rate, request.frame_ms, request.stereo)
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
            device.lost("server stops", code=GOING_AWAY)


def _host(address: Sequence[Any] | None) -> str | None:
    return str(address[0]).removeprefix("::ffff:") if address else None
