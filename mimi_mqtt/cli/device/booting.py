"""The boot: asks OTA as a device does, and waits to be activated (device contract, sections 1, 2 and 8)."""

import asyncio
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from mimi_mqtt.cli.device.identity import client_id_for, serial_number_for
from mimi_mqtt.cli.device.profiles import DEFAULT, PROFILES, Profile
from mimi_mqtt.cli.device.trust import Trust
from mimi_mqtt.cli.device.updating import Updates, read_firmware
from mimi_mqtt.errors import DeviceFailure
from mimi_mqtt.wire import strict_json

BOARD: Final = "mimi-simulated"
TLS_PORT: Final = 8883
"""The only port a device speaks TLS on, and the one it takes when the endpoint names none."""
POLLS: Final = 10
"""Polls of `/activate` before OTA is asked again."""
PENDING_S: Final = 3.0
"""Seconds to the next poll after 202."""
REFUSED_S: Final = 10.0
"""Seconds to the next poll, or OTA request, after anything else."""
WEBSOCKET_PATH: Final = "/xiaozhi/v1/"
"""The path at which XiaoZhi servers serve devices over WebSocket."""
_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class MqttAccess:
    """OTA's `mqtt` section, as the device stores it; `keepalive_s` None: it names none."""

    host: str
    port: int
    client_id: str
    username: str
    password: str
    publish_topic: str
    subscribe_topic: str = ""
    keepalive_s: int | None = None

    @property
    def tls(self) -> bool:
        """True on port 8883: the device speaks TLS."""
        return self.port == TLS_PORT


@dataclass(frozen=True, slots=True)
class WebSocketAccess:
    """OTA's `websocket` section, and what the device shows with it."""

    url: str
    token: str
    mac: str
    client_id: str


Access = MqttAccess | WebSocketAccess


@dataclass(frozen=True, slots=True)
class Activation:
    """OTA's `activation` section: the code the device shows, and what it polls with."""

    code: str
    challenge: str


async def boot(
    ota_url: str,
    mac: str,
    language: str,
    profile: Profile = PROFILES[DEFAULT],
    show_code: Callable[[str], None] = lambda _: None,
    source: str | None = None,
    trust: Trust | None = None,
    updates: Updates | None = None,
) -> Access:
    """The access that OTA gives this device, which may take until a person has allowed it.

    `show_code` is given the activation code when there is one. `source` is the address that it asks from,
    None for the system's choice; `trust` None believes public authorities. With `updates` it takes the
    firmware that it is offered, and asks again with its version. Raises DeviceFailure with what is to be done
    about it, and Lost.
    """
    accepted = False
    async with client_for(ota_url, source, trust) as http:
        while True:
            headers = _headers(mac, language, profile)
            response = await _post(http, ota_url, headers, report(mac, language, profile))
            if response.status_code != httpx.codes.OK:
                said = response.text.strip()[:300]
                raise DeviceFailure(f"OTA at {ota_url} answered {response.status_code}, not 200: {said}")
            answer = read_answer(response.content, mac)
            if not isinstance(answer, Activation):
                seen = read_firmware(response.content) if updates is not None else None
                if updates is None or seen is None:
                    return answer
                version = await updates.take(http, seen, profile.version)
                if version is None:
                    return answer
                profile = profile.running(version)
                continue
            show_code(answer.code)
            if accepted:  # activated, and yet not: don't ask without a pause
                await asyncio.sleep(REFUSED_S)
            accepted = await _wait_for_activation(http, ota_url, headers, mac, profile, answer)


def client_for(url: str, source: str | None = None, trust: Trust | None = None) -> httpx.AsyncClient:
    """The device's HTTP client, from the address `source`; `trust` None believes public authorities."""
    verify = (trust or Trust()).context() if url.startswith("https:") else False
    transport = httpx.AsyncHTTPTransport(verify=verify, local_address=source, trust_env=False)
    return httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False, transport=transport)


async def boot_over_mqtt(ota_url: str, mac: str, language: str, *rest: Any) -> MqttAccess:
    """`boot` for a device that knows MQTT only. Raises DeviceFailure when OTA gives something else."""
    access = await boot(ota_url, mac, language, *rest)
    if not isinstance(access, MqttAccess):
        raise DeviceFailure(f"OTA told the device to use {access.url}, not MQTT")
    return access


async def _wait_for_activation(
    http: httpx.AsyncClient,
    ota_url: str,
    headers: dict[str, str],
    mac: str,
    profile: Profile,
    activation: Activation,
) -> bool:
    """Polls until it is time to ask OTA again; True when the server said that the code was entered."""
    if profile.activation == "ask-ota" or not activation.challenge:
        await asyncio.sleep(REFUSED_S)
        return False
    body = activation_body(mac, profile, activation.challenge)
    for _ in range(POLLS):
        response = await _post(http, f"{ota_url.rstrip('/')}/activate", headers, body)
        if response.status_code == httpx.codes.OK:
            return True
        pending = response.status_code == httpx.codes.ACCEPTED
        await asyncio.sleep(PENDING_S if pending else REFUSED_S)
    return False


async def _post(
    http: httpx.AsyncClient, url: str, headers: dict[str, str], body: dict[str, Any]
) -> httpx.Response:
    try:
        return await http.post(url, headers=headers, json=body)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        cure = "Is the server running?"
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            cure = "--tls-ca names the authority of a certificate that is not a public one's"
        raise DeviceFailure(f"OTA can't be reached at {url}: {reason}. {cure}") from error


def activation_body(mac: str, profile: Profile, challenge: str) -> dict[str, Any]:
    """The body of a poll: empty with activation version 1, signed and nested as py-xiaozhi sends it."""
    if profile.activation != "nested":
        return {}
    key = sha256(mac.encode()).hexdigest().encode()
    return {
        "Payload": {
            "algorithm": "hmac-sha256",
            "serial_number": serial_number_for(mac),
            "challenge": challenge,
            "hmac": hmac.new(key, challenge.encode(), "sha256").hexdigest(),
        }
    }


def _headers(mac: str, language: str, profile: Profile) -> dict[str, str]:
    headers = {
        "Device-Id": mac,
        "Client-Id": client_id_for(mac),
        "User-Agent": profile.user_agent,
    }
    if profile.minimal_headers:
        return headers
    headers["Accept-Language"] = language
    if profile.activation == "nested":
        return headers | {"Activation-Version": "2", "Serial-Number": serial_number_for(mac)}
    return headers | {"Activation-Version": "1"}


def read_answer(body: bytes, mac: str = "") -> Access | Activation:
    """The access in OTA's answer, MQTT before WebSocket as in firmware, or the activation it wants first.
    Raises DeviceFailure: none of these."""
    try:
        answer = strict_json.loads(body)
    except ValueError as error:
        raise DeviceFailure(f"OTA did not answer with JSON: {error}") from error
    sections = answer if isinstance(answer, Mapping) else {}
    activation, mqtt, websocket = (sections.get(name) for name in ("activation", "mqtt", "websocket"))
    if isinstance(activation, Mapping) and not isinstance(mqtt, Mapping):
        return Activation(_word(activation, "code") or "?", _word(activation, "challenge"))
    if isinstance(websocket, Mapping) and not isinstance(mqtt, Mapping):
        url, token = _word(websocket, "url"), _word(websocket, "token")
        if not url.startswith(("ws://", "wss://")):
            raise DeviceFailure(f"OTA gave a WebSocket address that is none: {url!r}")
        return WebSocketAccess(url, token, mac, client_id_for(mac))
    if not isinstance(mqtt, Mapping):
        raise DeviceFailure("OTA gave no mqtt section, so there is nothing to connect to")
    host, _, port = _word(mqtt, "endpoint").partition(":")
    number = (
        int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else TLS_PORT if not port else 0
    )
    if not host or not 0 < number < 0x10000:
        raise DeviceFailure(f"OTA gave an MQTT endpoint that is none: {_word(mqtt, 'endpoint')!r}")
    keepalive = mqtt.get("keepalive")
    return MqttAccess(
        host=host,
        port=number,
        client_id=_word(mqtt, "client_id"),
        username=_word(mqtt, "username"),
        password=_word(mqtt, "password"),
        publish_topic=_word(mqtt, "publish_topic"),
        subscribe_topic=_word(mqtt, "subscribe_topic"),
        keepalive_s=keepalive if type(keepalive) is int and 0 < keepalive < 0x10000 else None,
    )


def over_websocket(access: Access, ota_url: str, mac: str) -> WebSocketAccess:
    """The access over WebSocket of a device that OTA told to use MQTT: the token is the same, and the path
    the usual one."""
    if isinstance(access, WebSocketAccess):
        return access
    address = urlsplit(ota_url)
    scheme = "wss" if address.scheme == "https" else "ws"
    return WebSocketAccess(
        f"{scheme}://{address.netloc}{WEBSOCKET_PATH}", access.password, mac, client_id_for(mac)
    )


def _word(section: Mapping[str, Any], name: str) -> str:
    value = section.get(name, "")
    return value if isinstance(value, str) else ""


def report(mac: str, language: str, profile: Profile) -> dict[str, Any]:
    """The body of the OTA request, with the fields a real board sends."""
    return {
        "version": 2,
        "language": language,
        "flash_size": 16_777_216,
        "minimum_free_heap_size": "8318916" if profile.heap_is_text else 8_318_916,
        "mac_address": mac,
        "uuid": client_id_for(mac),
        "chip_model_name": "esp32s3",
        "chip_info": {"model": 9, "cores": 2, "revision": 2, "features": 18},
        "application": {
            "name": "xiaozhi",
            "version": profile.version,
            "compile_time": "2026-01-01T00:00:00Z",
            "idf_version": "v5.4",
            "elf_sha256": "0" * 64,
        },
        "partition_table": [
            {"label": "ota_0", "type": 0, "subtype": 16, "address": 0x20000, "size": 0x3F0000},
            {"label": "ota_1", "type": 0, "subtype": 17, "address": 0x410000, "size": 0x3F0000},
            {"label": "assets", "type": 1, "subtype": 130, "address": 0x800000, "size": 0x800000},
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
