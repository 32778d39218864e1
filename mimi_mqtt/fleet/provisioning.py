"""Provisioning: a booting device gets its credentials, keys and clock, or a code to be allowed by.

The first request for a MAC address binds it to its Client-Id (`ota.new_devices: allow`); any other Client-Id
gets an activation section, and no credentials until a person allows it. A missing Client-Id is a value of its
own: it matches a device that never sent one, and no other.
"""

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncSession

from mimi_mqtt.config import OtaSettings
from mimi_mqtt.config.connections import SharesSettings
from mimi_mqtt.errors import OtaError
from mimi_mqtt.fleet.activation import (
    TOO_MANY_NEW,
    WAITING_SHARE,
    ActivationState,
    Asker,
    TooManyAskers,
    ask,
    poll,
    same_client,
)
from mimi_mqtt.fleet.credentials import Credentials, first_epoch
from mimi_mqtt.fleet.directory import DeviceDirectory, Registration
from mimi_mqtt.shares import Ledger, address_holder
from mimi_mqtt.store import devices, tables
from mimi_mqtt.store.devices import Boot
from mimi_mqtt.store.engine import Store, StoreConflict
from mimi_mqtt.store.tables import Activation, Device
from mimi_mqtt.store.values import bounded
from mimi_mqtt.wire.ota import (
    ActivationRequest,
    ActivationSection,
    FirmwareSection,
    MqttSection,
    OtaRequest,
    OtaResponse,
    ServerTimeSection,
    UdpSection,
    WebsocketSection,
)
from mimi_mqtt.wire.topics import device_topic

_log = logging.getLogger(__name__)

_ANSWERS = Counter("mimi_ota_answers_total", "OTA requests by their answer", ["answer"])
_POLLS = Counter("mimi_ota_activation_polls_total", "Activation polls by their answer", ["answer"])

NEVER_CONNECTED: Final = timedelta(hours=24)
"""Time for a device that registered by itself to connect; after it, it is forgotten when `ota.max_devices`
are registered and another one comes."""

WRITE_WITHIN_S: Final = 3.0
"""Longest wait of a device for a locked database, in seconds: then it is told to ask again."""

_TRIES = 3
_ACTIVATION_TIMEOUT_MS = 30_000
_TLS_PORT = 8883
# `std::stoi` of the firmware aborts the device on anything but digits, and beyond 31 bits.
_VERSION = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9}){0,7}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Ports and addresses as devices see them; `public_host` None: the address that a device used.

    `websocket_path` None: no WebSocket channel is served; `http_port` is the port it would be on.
    """

    mqtt_port: int
    udp_port: int
    mqtt_tls_port: int | None = None
    http_port: int | None = None
    websocket_path: str | None = None
    public_host: str | None = None


class Provisioner:
    """Answers OTA and activation requests. Devices are told `keepalive_s` and the offset of `timezone`."""

    def __init__(
        self,
        store: Store,
        directory: DeviceDirectory,
        credentials: Credentials,
        endpoints: Endpoints,
        settings: OtaSettings,
        *,
        shares: SharesSettings | None = None,
        ledger: Ledger | None = None,
        keepalive_s: int = 240,
        timezone: str | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.endpoints = endpoints
        self._store = store
        self._directory = directory
        self._credentials = credentials
        self._settings = settings
        self._waiting_share = (shares or SharesSettings()).waiting_devices_per_address
        self._ledger = ledger or Ledger()
        self._keepalive_s = keepalive_s
        self._timezone = ZoneInfo(timezone) if timezone is not None else None
        self._clock = clock
        self._websocket_told = False
        if endpoints.mqtt_port == _TLS_PORT:
            _log.warning(
                "plain MQTT is on port %d, where stock devices speak TLS: set mqtt.bind to another port",
                _TLS_PORT,
            )

    @property
    def new_devices_per_hour(self) -> int:
        """The most new devices from one address within an hour."""
        return self._settings.new_devices_per_hour

    async def provision(
        self,
        request: OtaRequest,
        host: str,
        may_be_new: Callable[[], bool] = lambda: True,
        *,
        address: str = "",
        origin: str | None = None,
    ) -> OtaResponse:
        """The answer to an OTA request that was sent to `host` (a name or IPv4 address that the caller
        checked) from the IP address `address`. `may_be_new` is called before a new device is registered or
        becomes an activation. `origin` starts the address of a WebSocket, such as `wss://voice.example.org`;
        None stands for `host` and the HTTP port.

        Raises OtaError when no further device can be registered (TooManyAskers when others still can be), and
        StoreError when the database fails or is locked for longer than `WRITE_WITHIN_S`.
        """
        host = self.endpoints.public_host or host
        now = self._clock()
        common = OtaResponse(server_time=self._server_time(now), firmware=_own_firmware(request))
        known = await self._directory.registration(request.device_id)
        # Known devices that ask as before are answered without the database, however many boot at once.
        if known is None or not _is_as_before(known, request, host):
            holder = address_holder(address)
            try:
                outcome = await self._decided(_asker(request, host, holder), request, now, may_be_new)
            except TooManyAskers:
                self._refuse("new devices", holder, "ota.new_devices_per_hour")
                raise
            if isinstance(outcome, Activation):
                return common.model_copy(update={"activation": self._activation(outcome, now)})
            self._directory.apply(outcome)
            known = Registration.of(outcome)
        self._directory.booted(_boot(request, now))
        _ANSWERS.labels("credentials").inc()
        return common.model_copy(update=self._channels(known, host, request, origin))

    async def activate(self, asker: Asker, body: ActivationRequest) -> ActivationState:
        """The answer to a poll. Raises StoreError."""
        challenge = body.challenge if body.version == 2 else None
        state = await poll(self._store, asker, challenge, self._clock())
        _POLLS.labels(state.value).inc()
        return state

    async def _decided(
        self, asker: Asker, request: OtaRequest, now: datetime, may_be_new: Callable[[], bool]
    ) -> Device | Activation:
        for _ in range(_TRIES - 1):
            try:
                return await self._decide(asker, request, now, may_be_new)
            except StoreConflict:
                continue  # another node registered the same device in the same moment: now it is known
        return await self._decide(asker, request, now, may_be_new)

    async def _decide(
        self, asker: Asker, request: OtaRequest, now: datetime, may_be_new: Callable[[], bool]
    ) -> Device | Activation:
        async with self._store.write(within_s=WRITE_WITHIN_S) as session:
            device = known = await devices.get(session, asker.device_id, lock=True)
            if known is None and self._settings.new_devices == "allow":
                device = await self._take_in(session, asker, now, may_be_new)
            if device is None or not device.allowed or not same_client(device.client_id, asker.client_id):
                return await ask(
                    session, asker, now, may_be_new, share=self._waiting_share, displaced=self._displaced
                )
            if device.revision == 0 or not _is_as_before(Registration.of(device), request, asker.host):
                device.host = bounded(asker.host, tables.HOST_CHARS)
                device.reported_language = bounded(asker.language, tables.LANGUAGE_CHARS)
                await devices.save_changed(session, device, now)
        if known is None:
            _log.info("new device registered", extra={"device": asker.device_id})
        return device

    async def _take_in(
        self, session: AsyncSession, asker: Asker, now: datetime, may_be_new: Callable[[], bool]
    ) -> Device:
        if not may_be_new():
            raise TooManyAskers(TOO_MANY_NEW)
        if await devices.count(session) >= self._settings.max_devices:
            idle = await devices.never_connected(session, now - NEVER_CONNECTED)
            if idle is None:
                _ANSWERS.labels("full").inc()
                self._refuse("registered devices", asker.address, "ota.max_devices")
                raise OtaError(
                    f"{self._settings.max_devices} devices are registered already: "
                    "raise ota.max_devices on the server"
                )
            self._refuse("registered devices", idle.address, "ota.max_devices")
            await devices.forget(session, [idle.id], now)
        return Device(
            id=asker.device_id,
            client_id=asker.client_id,
            epoch=first_epoch(),
            address=bounded(asker.address, tables.ADDRESS_CHARS),
            revision=0,
            created_at=now,
            updated_at=now,
            last_seen_at=now,
        )

    def _displaced(self, holder: str) -> None:
        self._refuse(WAITING_SHARE, holder, "shares.waiting_devices_per_address")

    def _refuse(self, share: str, holder: str, setting: str) -> None:
        self._ledger.refuse(share, holder, time.monotonic(), setting=setting)

    def _activation(self, waiting: Activation, now: datetime) -> ActivationSection:
        _ANSWERS.labels("activation").inc()
        if waiting.created_at == now:
            _log.info(
                "device waits to be allowed: mimi-mqtt devices allow %s",
                waiting.code,
                extra={"device": waiting.device_id},
            )
        return ActivationSection(
            code=waiting.code,
            message=f"Allow this device on the server:\nmimi-mqtt devices allow {waiting.code}",
            challenge=waiting.challenge,
            timeout_ms=_ACTIVATION_TIMEOUT_MS,
        )

    def _channels(
        self, device: Registration, host: str, request: OtaRequest, origin: str | None
    ) -> dict[str, MqttSection | WebsocketSection | UdpSection]:
        password = self._credentials.mqtt_password(device.device_id, device.epoch)
        path = self.endpoints.websocket_path
        usual = self._settings.transport
        if request.needs_port_8883 and self.endpoints.mqtt_tls_port != _TLS_PORT and path is not None:
            usual = "websocket"
        if (device.transport or usual) == "websocket":
            if path is not None:
                port = f":{self.endpoints.http_port}" if self.endpoints.http_port else ""
                origin = origin or f"ws://{host}{port}"
                return {"websocket": WebsocketSection(url=origin + path, token=password)}
            if not self._websocket_told:
                self._websocket_told = True
                _log.warning(
                    "websocket is set as transport, but not served: devices are told to use mqtt",
                    extra={"device": device.device_id},
                )
        return {
            # The port is always named: without one, and on 8883, stock firmware wants TLS with a public CA.
            "mqtt": MqttSection(
                endpoint=f"{host}:{self.endpoints.mqtt_port}",
                client_id=device.device_id,
                username=device.device_id,
                password=password,
                publish_topic=device_topic(device.device_id, "up"),
                subscribe_topic=device_topic(device.device_id, "down"),
                keepalive=self._keepalive_s,
            ),
            "udp": UdpSection(
                server=host,
                port=self.endpoints.udp_port,
                key=self._credentials.udp_key(device.device_id, device.epoch).hex(),
            ),
        }

    def _server_time(self, now: datetime) -> ServerTimeSection:
        offset = now.astimezone(self._timezone).utcoffset()
        return ServerTimeSection(
            timestamp=int(now.timestamp() * 1000),
            timezone_offset=int(offset.total_seconds() // 60) if offset is not None else 0,
        )


def _is_as_before(known: Registration, request: OtaRequest, host: str) -> bool:
    """True when the asker has the Client-Id that the device is bound to, and host and language are as
    known."""
    return (
        same_client(known.client_id, request.client_id)
        and known.host == bounded(host, tables.HOST_CHARS)
        and known.reported_language == bounded(request.language, tables.LANGUAGE_CHARS)
    )


def _boot(request: OtaRequest, now: datetime) -> Boot:
    return Boot(
        device_id=request.device_id,
        client_id=request.client_id,
        at=now,
        board=request.board,
        board_name=request.board_name,
        firmware_version=request.firmware_version,
        cellular=request.cellular,
        report=request.report,
    )


def _asker(request: OtaRequest, host: str, address: str) -> Asker:
    return Asker(
        device_id=request.device_id,
        client_id=request.client_id,
        board=request.board,
        firmware_version=request.firmware_version,
        language=request.language,
        serial_number=request.serial_number,
        host=host,
        address=address,
    )


def _own_firmware(request: OtaRequest) -> FirmwareSection:
    version = request.firmware_version
    return FirmwareSection(version=version if _VERSION.fullmatch(version) else "0.0.0", url="")
