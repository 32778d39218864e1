"""Provisioning: a booting device gets its credentials, keys, clock and firmware, or a code to be allowed by.

Whether it is let in is decided by `registration`. A device that may not come in gets an answer without
credentials and code, at which firmware goes on with the settings that it has (device contract, section 1).
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from prometheus_client import Counter

from mimi_mqtt.config import OtaSettings
from mimi_mqtt.config.connections import SharesSettings
from mimi_mqtt.errors import OtaError
from mimi_mqtt.fleet.activation import ActivationState, Asker, TooManyAskers, poll, same_client
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.fleet.device_keys import DeviceKeys
from mimi_mqtt.fleet.directory import DeviceDirectory, Registration
from mimi_mqtt.fleet.firmware import versions
from mimi_mqtt.fleet.firmware_offers import FirmwareOffers, NoFirmware, NoImages
from mimi_mqtt.fleet.ota_log import Answer, OtaLog, Request
from mimi_mqtt.fleet.proof import Proof, Prover
from mimi_mqtt.fleet.registration import ANSWERS, Registrar
from mimi_mqtt.shares import Ledger, address_holder
from mimi_mqtt.store.devices import Boot
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Activation
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
    signal_dbm,
)
from mimi_mqtt.wire.topics import device_topic

_log = logging.getLogger(__name__)

_POLLS = Counter("mimi_ota_activation_polls_total", "Activation polls by their answer", ["answer"])

_ACTIVATION_TIMEOUT_MS = 30_000
_TLS_PORT = 8883


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

    def websocket_origin(self, host: str) -> str:
        """The start of a WebSocket address at `host`, where nothing tells the way that a request came."""
        return f"ws://{host}:{self.http_port}" if self.http_port else f"ws://{host}"

    def http_origin(self, host: str) -> str:
        """The same of an HTTP address."""
        return _http(self.websocket_origin(host))


class Provisioner:
    """Answers OTA and activation requests. Devices are told `keepalive_s` and the offset of `timezone`.

    `is_public` tells whether the public trusts the certificate of MQTT over TLS for a host.
    """

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
        keys: DeviceKeys | None = None,
        offers: FirmwareOffers | None = None,
        log: OtaLog | None = None,
        is_public: Callable[[str], bool] = lambda host: False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.endpoints = endpoints
        self._is_public = is_public
        self._store = store
        self._directory = directory
        self._credentials = credentials
        self._settings = settings
        self._ledger = ledger = ledger or Ledger()
        waiting_share = (shares or SharesSettings()).waiting_devices_per_address
        self._registrar = Registrar(store, settings, ledger, waiting_share=waiting_share)
        keys = keys or DeviceKeys(store, credentials)
        self._prover = Prover(store, keys, settings, ledger, directory.apply)
        self.offers = offers or NoImages()
        self._requests = log or OtaLog(store, share=waiting_share)
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
        origin = origin or self.endpoints.websocket_origin(host)
        now, holder = self._clock(), address_holder(address)
        known = await self._directory.registration(request.device_id)
        # Known devices are answered without the database, however many boot at once: what they report is
        # written behind their backs.
        if known is None or not same_client(known.client_id, request.client_id):
            try:
                outcome = await self._registrar.decide(
                    _asker(request, host, holder), now, may_be_new, _http(origin)
                )
            except OtaError as error:
                if isinstance(error, TooManyAskers):
                    self._registrar.refuse("new devices", holder, "ota.new_devices_per_hour")
                self._note(request, now, holder, Answer.REFUSED, refusal=str(error))
                raise
            if outcome is None or isinstance(outcome, Activation):
                return self._without_credentials(request, outcome, now, holder, may_be_new)
            self._directory.apply(outcome)
            known = Registration.of(outcome)
        self._directory.booted(_boot(request, now, host, _http(origin)))
        ANSWERS.labels("credentials").inc()
        firmware, reason = await self._firmware(request, _http(origin))
        channels = self._channels(known, host, request, origin)
        answer = Answer.MQTT if "mqtt" in channels else Answer.WEBSOCKET
        self._note(request, now, holder, answer, reason, firmware)
        return OtaResponse(server_time=self._server_time(now), firmware=firmware, **channels)

    def unreadable(self, address: str, reason: str) -> None:
        """Takes note of a request from the IP address `address` that is not one of a device."""
        holder = address_holder(address)
        self._requests.add(Request("", self._clock(), holder, "", "", Answer.UNREADABLE, reason=reason))

    async def activate(self, asker: Asker, body: ActivationRequest) -> ActivationState:
        """The answer to a poll. Raises StoreError."""
        now = self._clock()
        challenge = body.challenge if body.version == 2 else None
        state = await poll(self._store, asker, challenge, now)
        if body.version == 2 and state is not ActivationState.REFUSED:
            proof = await self._prover.check(asker, body, now)
            if proof is Proof.WRONG:
                state = ActivationState.REFUSED
                _POLLS.labels("wrong_proof").inc()
            elif proof is Proof.ADMITTED:
                state = ActivationState.DONE
        _POLLS.labels(state.value).inc()
        return state

    def _without_credentials(
        self,
        request: OtaRequest,
        waiting: Activation | None,
        now: datetime,
        holder: str,
        may_be_new: Callable[[], bool],
    ) -> OtaResponse:
        """A code to be allowed by, or nothing but the time for a device that may not come in."""
        common = OtaResponse(server_time=self._server_time(now), firmware=_own_firmware(request))
        if waiting is not None:
            self._note(request, now, holder, Answer.CODE)
            return common.model_copy(update={"activation": self._activation(waiting, now)})
        ANSWERS.labels("locked").inc()
        if self._requests.knows(request.device_id) or may_be_new():
            self._note(request, now, holder, Answer.LOCKED)
        else:
            self._registrar.refuse("unlisted devices", holder, "ota.new_devices_per_hour")
        return common

    def _note(
        self,
        request: OtaRequest,
        now: datetime,
        holder: str,
        answer: Answer,
        reason: str = "",
        firmware: FirmwareSection | None = None,
        refusal: str = "",
    ) -> None:
        self._requests.add(
            Request(
                request.device_id, now, holder, request.board, request.firmware_version, answer,
                "; ".join(filter(None, (request.body_fault, reason))),
                firmware.version if firmware is not None and firmware.url else "", request.serial_number,
                signal_dbm(request.report),
                refusal,
            )
        )  # fmt: skip

    async def _firmware(self, request: OtaRequest, origin: str) -> tuple[FirmwareSection, str]:
        """The firmware that the device is offered; for none its own version, no address, and the reason."""
        offer = await self.offers.offer(request, origin)
        if isinstance(offer, NoFirmware):
            return _own_firmware(request), offer.reason
        return FirmwareSection(version=offer.version, url=offer.url, force=int(offer.force)), ""

    def _activation(self, waiting: Activation, now: datetime) -> ActivationSection:
        ANSWERS.labels("activation").inc()
        if waiting.created_at == now:
            _log.info(
                "device waits to be allowed: mimi-mqtt devices allow %s",
                waiting.code,
                extra={"device": waiting.device_id},
            )
        return ActivationSection(
            code=waiting.code,
            message=f"Enter this code on the server, or run\nmimi-mqtt devices allow {waiting.code}",
            challenge=waiting.challenge,
            timeout_ms=_ACTIVATION_TIMEOUT_MS,
        )

    def _channels(
        self, device: Registration, host: str, request: OtaRequest, origin: str
    ) -> dict[str, MqttSection | WebsocketSection | UdpSection]:
        password = self._credentials.mqtt_password(device.device_id, device.epoch)
        path = self.endpoints.websocket_path
        usual = self._settings.transport
        if request.needs_port_8883 and path is not None and not self._takes_public_tls(host):
            usual = "websocket"
        if (device.transport or usual) == "websocket":
            if path is not None:
                return {"websocket": WebsocketSection(url=origin + path, token=password)}
            if not self._websocket_told:
                self._websocket_told = True
                _log.warning(
                    "websocket is set as transport, but not served: devices are told to use mqtt",
                    extra={"device": device.device_id},
                )
        return {
            # The port is named: without one, and on 8883, stock firmware wants TLS with a public CA. The
            # client of Espressif wants that always, and takes the whole text for the host (device contract,
            # section 8).
            "mqtt": MqttSection(
                endpoint=host if request.needs_port_8883 else f"{host}:{self.endpoints.mqtt_port}",
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

    def _takes_public_tls(self, host: str) -> bool:
        """True when MQTT is served as Espressif's client wants it: by TLS on port 8883, with a certificate
        that the public trusts."""
        return self.endpoints.mqtt_tls_port == _TLS_PORT and self._is_public(host)

    def _server_time(self, now: datetime) -> ServerTimeSection:
        offset = now.astimezone(self._timezone).utcoffset()
        return ServerTimeSection(
            timestamp=int(now.timestamp() * 1000),
            timezone_offset=int(offset.total_seconds() // 60) if offset is not None else 0,
        )


def _http(websocket_origin: str) -> str:
    """The start of an HTTP address that leads the way of a WebSocket's."""
    return websocket_origin.replace("ws", "http", 1)


def _boot(request: OtaRequest, now: datetime, host: str, origin: str) -> Boot:
    return Boot(
        device_id=request.device_id,
        client_id=request.client_id,
        at=now,
        # Without its report a device's headers may name another board than that does.
        board="" if request.body_fault else request.board,
        board_name=request.board_name,
        firmware_version=request.firmware_version,
        cellular=request.cellular,
        report=None if request.body_fault else request.report,
        espressif=request.needs_port_8883 if request.firmware_version else None,
        host=host,
        origin=origin,
        language=request.language,
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
    return FirmwareSection(version=version if versions.is_plain(version) else "0.0.0", url="")
