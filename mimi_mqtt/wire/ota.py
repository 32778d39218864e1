"""OTA and activation: the requests of a booting device and the replies to it.

Fields come and go between firmware versions, so a request needs nothing but the device's MAC address, and a
field of an unexpected type counts as missing. Source: the device contract, sections 1, 2 and 8.
"""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mimi_mqtt.errors import OtaError, ProtocolError
from mimi_mqtt.wire import strict_json
from mimi_mqtt.wire.accept_language import preferred
from mimi_mqtt.wire.subscriber import SubscriberMask, is_cellular
from mimi_mqtt.wire.topics import device_id_from_mac

_MAX_TEXT = 64
_MAX_CLIENT_ID = 128
# What the firmware's `std::stoi`, applied to each part between dots, takes without aborting the device.
_PART = r"[0-9]{1,9}(?:[^.0-9][^.]*)?"
# Cellular modules quote credentials inside an AT command (device contract, section 1).
_NOT_IN_AT_COMMANDS = re.compile('[",\\r\\n]')
_COMPARABLE_VERSION = re.compile(rf"{_PART}(?:\.{_PART})*")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


def is_comparable_version(version: str) -> bool:
    """True when a device can compare `version` with its own; any other aborts it, so never send one."""
    return _COMPARABLE_VERSION.fullmatch(version) is not None


def _clean(value: object, most: int = _MAX_TEXT) -> str:
    """The printable characters of a header or field; empty for anything but a string."""
    if not isinstance(value, str):
        return ""
    return "".join(character for character in value[: most * 4] if character.isprintable()).strip()[:most]


def cleaned_client_id(value: object) -> str:
    """A Client-Id as it is kept and compared."""
    return _clean(value, _MAX_CLIENT_ID)


def _part(report: Mapping[str, Any], *path: str) -> object:
    value: object = report
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _object(body: bytes) -> dict[str, Any]:
    if not body.strip():
        return {}
    try:
        report = strict_json.loads(body)
    except ValueError as error:
        raise OtaError(f"the body is not JSON: {error}") from error
    if not isinstance(report, dict):
        raise OtaError("the body is not a JSON object")
    return report


class OtaRequest(_Frozen):
    """The OTA request of a booting device. `device_id` is canonical; texts are printable and bounded."""

    device_id: str
    client_id: str = Field("", repr=False)
    """The installation's UUID, as the device wrote it; empty when it has none. With the MAC address it gets
    the device's credentials: it is a secret like them."""
    board: str = ""
    """The board's type, such as `bread-compact-wifi`."""
    board_name: str = ""
    cellular: bool | None = None
    """True for a board with a modem in place of Wi-Fi; None when the report says nothing of its board."""
    firmware_version: str = ""
    language: str = ""
    """The first choice of Accept-Language, such as `zh-CN`; empty when unknown."""
    activation_version: int = 1
    serial_number: str = Field("", repr=False)
    needs_port_8883: bool = False
    """True for Espressif's own client: its MQTT is always TLS to port 8883 with a publicly trusted
    certificate, whatever it is told (device contract, section 8)."""
    report: dict[str, Any] = Field(default_factory=dict, repr=False)
    """The body without what identifies a modem or SIM card; empty when it is not JSON."""
    body_fault: str = ""
    """The fault of a body that was left out; empty without one."""

    @classmethod
    def from_http(cls, headers: Mapping[str, str], body: bytes) -> "OtaRequest":
        """Reads a request; the caller bounds the body. Raises OtaError: no MAC address.

        A body that is not JSON is left out when the headers name the device: firmware writes the name of its
        Wi-Fi network into it without escaping quotation marks (`wifi_board.cc`), and would ask for ever.
        """
        head = {name.lower(): value for name, value in headers.items()}
        fault = ""
        try:
            report = _object(body)
        except OtaError as error:
            if not head.get("device-id"):
                raise
            report, fault = {}, str(error)
        mac = head.get("device-id") or _clean(report.get("mac_address"))
        if not mac:
            raise OtaError("no Device-Id header: it must hold the device's MAC address")
        try:
            device_id = device_id_from_mac(mac)
        except ProtocolError as error:
            raise OtaError(f"Device-Id: {error}") from error
        client_id = head.get("client-id") or report.get("uuid")
        if isinstance(client_id, str) and len(client_id) > _MAX_CLIENT_ID:
            raise OtaError(f"Client-Id is longer than {_MAX_CLIENT_ID} characters")
        # Espressif's own component sends the chip's name, without a slash and a version (section 8).
        agent_board, slash, agent_version = _clean(head.get("user-agent")).partition("/")
        language = preferred(head.get("accept-language", "")) or preferred(_clean(report.get("language")))
        serial_number = _clean(head.get("serial-number"))
        version = head.get("activation-version", "").strip()
        mask = SubscriberMask(report)

        def masked(text: str) -> str:
            return mask.of_text(text)[:_MAX_TEXT]

        return cls(
            device_id=device_id,
            client_id=cleaned_client_id(client_id),
            board=masked(_clean(_part(report, "board", "type")) or agent_board),
            board_name=masked(_clean(_part(report, "board", "name"))),
            cellular=is_cellular(report),
            firmware_version=masked(_clean(_part(report, "application", "version")) or agent_version),
            language=masked(_clean(language)),
            needs_port_8883=bool(agent_board) and not slash and "activation-version" not in head,
            activation_version=2 if version == "2" and serial_number else 1,
            serial_number=masked(serial_number),
            report=mask.of_object(report),
            body_fault=fault,
        )


_WEAKEST_DBM, _STRONGEST_DBM = -140, 0
_CSQ_STEPS = 31  # 99 stands for unknown (3GPP TS 27.007, +CSQ)


def signal_dbm(report: Mapping[str, Any]) -> int | None:
    """Strength of the radio signal in an OTA report, in dBm: `rssi` of a Wi-Fi board, or `csq` of a modem;
    None when it says nothing of it."""
    rssi, csq = _part(report, "board", "rssi"), _part(report, "board", "csq")
    if type(rssi) is int and _WEAKEST_DBM <= rssi < _STRONGEST_DBM:
        return rssi
    steps = _clean(csq).partition(",")[0] if isinstance(csq, str) else str(csq)
    if steps.isascii() and steps.isdecimal() and len(steps) <= 2 and int(steps) <= _CSQ_STEPS:
        return 2 * int(steps) - 113
    return None


class MqttSection(_Frozen):
    """Control over MQTT. Wins over `websocket`; written to the device's flash as it is."""

    endpoint: str
    """`host:port`, where stock firmware speaks TLS on port 8883 alone; a host for Espressif's client, which
    always uses that port."""
    client_id: str
    username: str
    password: str = Field(repr=False)
    publish_topic: str
    subscribe_topic: str
    keepalive: int = 240

    @field_validator("client_id", "username", "password")
    @classmethod
    def _fits_an_at_command(cls, text: str) -> str:
        if _NOT_IN_AT_COMMANDS.search(text):
            raise ValueError("a cellular modem can't be told credentials with quotes or commas")
        return text


class WebsocketSection(_Frozen):
    """Control and audio over a WebSocket; the device takes it only without `mqtt`."""

    url: str
    token: str = Field(repr=False)
    version: int = 1


class UdpSection(_Frozen):
    """The audio channel's server and the device's master key; stock firmware waits for hello's instead."""

    server: str
    port: int
    key: str = Field(repr=False)
    """32 hex digits."""
    encryption: str = "aes-128-ctr"


class ServerTimeSection(_Frozen):
    """Sets the device's clock."""

    timestamp: int
    """Milliseconds since 1970."""
    timezone_offset: int
    """Minutes east of Greenwich."""


class FirmwareSection(_Frozen):
    """The newest firmware: the device's own version and an empty `url` when there is no newer one."""

    version: str
    url: str = ""
    force: int = Field(0, ge=0, le=1)

    @field_validator("version")
    @classmethod
    def _device_survives(cls, version: str) -> str:
        if not is_comparable_version(version):
            raise ValueError(f"version {version!r} is not dotted numbers and would abort the device")
        return version


class ActivationSection(_Frozen):
    """The code that the device shows and speaks until a person allows it; it polls only when `challenge` is
    there."""

    code: str = Field(repr=False)
    message: str = Field(repr=False)
    challenge: str | None = Field(None, repr=False)
    timeout_ms: int | None = None


class OtaResponse(_Frozen):
    """The reply to an OTA request; sections that are None are left out."""

    mqtt: MqttSection | None = None
    websocket: WebsocketSection | None = None
    udp: UdpSection | None = None
    server_time: ServerTimeSection | None = None
    firmware: FirmwareSection | None = None
    activation: ActivationSection | None = None

    def to_json(self) -> bytes:
        """The response's body."""
        return strict_json.dumps(self.model_dump(exclude_none=True))


class ActivationRequest(_Frozen):
    """A poll of `/activate`. Version 1 is empty; version 2 proves that the chip knows its key."""

    version: int = 1
    serial_number: str = Field("", repr=False)
    challenge: str = Field("", repr=False)
    hmac: bytes = Field(b"", repr=False)
    """HMAC-SHA256 of `challenge`, 32 bytes, with version 2."""

    @classmethod
    def from_body(cls, body: bytes) -> "ActivationRequest":
        """Reads a poll's body, in stock firmware's form or nested in `Payload` as py-xiaozhi sends it; raises
        OtaError."""
        fields = _object(body)
        if "algorithm" not in fields and isinstance(nested := fields.get("Payload"), dict):
            fields = nested
        if not fields:
            return cls()
        if fields.get("algorithm") != "hmac-sha256":
            raise OtaError("field 'algorithm' must be 'hmac-sha256'")
        texts = {}
        for name in ("serial_number", "challenge", "hmac"):
            value = fields.get(name)
            if not isinstance(value, str) or not 0 < len(value) <= 256:
                raise OtaError(f"field {name!r} must be a string")
            texts[name] = value
        if not re.fullmatch("[0-9a-fA-F]{64}", texts["hmac"]):
            raise OtaError("field 'hmac' must be 64 hex digits")
        return cls(
            version=2,
            serial_number=texts["serial_number"],
            challenge=texts["challenge"],
            hmac=bytes.fromhex(texts["hmac"]),
        )
