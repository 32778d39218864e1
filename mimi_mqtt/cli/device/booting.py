"""The boot: asks OTA as the firmware does (device contract, sections 1 and 2)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx

from mimi_mqtt import __version__
from mimi_mqtt.cli.device.identity import client_id_for
from mimi_mqtt.errors import DeviceFailure
from mimi_mqtt.wire import strict_json

BOARD: Final = "mimi-simulated"
TLS_PORT: Final = 8883
"""The only port a device speaks TLS on, and the one it takes when the endpoint names none."""
_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class MqttAccess:
    """OTA's `mqtt` section, as the device stores it."""

    host: str
    port: int
    client_id: str
    username: str
    password: str
    publish_topic: str
    keepalive_s: int

    @property
    def tls(self) -> bool:
        """Whether the device speaks TLS there."""
        return self.port == TLS_PORT


async def boot(ota_url: str, mac: str, language: str) -> MqttAccess:
    """What OTA tells this device. Raises DeviceFailure with what is to be done about it."""
    headers = {
        "Device-Id": mac,
        "Client-Id": client_id_for(mac),
        "User-Agent": f"{BOARD}/{__version__}",
        "Accept-Language": language,
        "Activation-Version": "1",
    }
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False) as http:
            response = await http.post(ota_url, headers=headers, json=_report(mac, language))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        raise DeviceFailure(f"OTA can't be reached at {ota_url}: {reason}. Is the server running?") from error
    if response.status_code != httpx.codes.OK:
        said = response.text.strip()[:300]
        raise DeviceFailure(f"OTA at {ota_url} answered {response.status_code}, not 200: {said}")
    return read_access(response.content, mac)


def read_access(body: bytes, mac: str) -> MqttAccess:
    """The MQTT access in OTA's answer. Raises DeviceFailure: activation wanted, no `mqtt` section."""
    try:
        answer = strict_json.loads(body)
    except ValueError as error:
        raise DeviceFailure(f"OTA did not answer with JSON: {error}") from error
    sections = answer if isinstance(answer, Mapping) else {}
    activation, mqtt = sections.get("activation"), sections.get("mqtt")
    if isinstance(activation, Mapping) and not isinstance(mqtt, Mapping):
        raise DeviceFailure(
            f"this device must be activated first; it shows the code {activation.get('code', '?')}. "
            f"Whoever runs the server allows it with `mimi-mqtt devices allow {mac}`"
        )
    if not isinstance(mqtt, Mapping):
        raise DeviceFailure("OTA gave no mqtt section, so there is nothing to connect to")
    host, _, port = _word(mqtt, "endpoint").partition(":")
    number = (
        int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else TLS_PORT if not port else 0
    )
    if not host or not 0 < number < 0x10000:
        raise DeviceFailure(f"OTA gave an MQTT endpoint that is none: {_word(mqtt, 'endpoint')!r}")
    keepalive = mqtt.get("keepalive", 240)
    return MqttAccess(
        host=host,
        port=number,
        client_id=_word(mqtt, "client_id"),
        username=_word(mqtt, "username"),
        password=_word(mqtt, "password"),
        publish_topic=_word(mqtt, "publish_topic"),
        keepalive_s=keepalive if type(keepalive) is int and 0 < keepalive < 0x10000 else 240,
    )


def _word(section: Mapping[str, Any], name: str) -> str:
    value = section.get(name, "")
    return value if isinstance(value, str) else ""


def _report(mac: str, language: str) -> dict[str, Any]:
    """The body, with the fields a real board sends."""
    return {
        "version": 2,
        "language": language,
        "flash_size": 16_777_216,
        "minimum_free_heap_size": "8318916",
        "mac_address": mac,
        "uuid": client_id_for(mac),
        "chip_model_name": "esp32s3",
        "chip_info": {"model": 9, "cores": 2, "revision": 2, "features": 18},
        "application": {
            "name": "xiaozhi",
            "version": __version__,
            "compile_time": "2026-01-01T00:00:00Z",
            "idf_version": "v5.4",
            "elf_sha256": "0" * 64,
        },
        "partition_table": [
            {"label": "ota_0", "type": 0, "subtype": 16, "address": 1_048_576, "size": 6_291_456}
        ],
        "ota": {"label": "ota_0"},
        "board": {
            "type": BOARD,
            "name": BOARD,
            "ssid": "simulated",
            "rssi": -50,
            "channel": 6,
            "ip": "127.0.0.1",
            "mac": mac,
        },
    }
