"""Commands for devices from the command line: asked of the running server over MQTT, on its own account.

The server's HTTP port, which never moves, carries MQTT over WebSocket. The password follows from the server's
secret: a user who may read that file may ask, and no password needs to be set.
"""

import argparse
import asyncio
import json
import os
import secrets
import time
from pathlib import Path
from typing import Any, Final

import aiomqtt
import httpx
from paho.mqtt.reasoncodes import ReasonCode

from mimi_mqtt.commands.model import MAX_TIMEOUT_S
from mimi_mqtt.commands.request import parse
from mimi_mqtt.config import Settings, load_settings
from mimi_mqtt.config.bind import BindAddress
from mimi_mqtt.errors import MimiError
from mimi_mqtt.fleet.credentials import COMMAND_LINE_USER, Credentials
from mimi_mqtt.fleet.secret_files import SECRET_FILE
from mimi_mqtt.wire import strict_json
from mimi_mqtt.wire.topics import device_id_from_mac, device_topic

CONNECT_TIMEOUT_S: Final = 10.0
"""Longest wait for the server to accept the connection, in seconds."""
SLACK_S: Final = 5.0
"""Seconds that the reply is waited for beyond the command's own time-out."""

_ALL_ADDRESSES: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_NOT_AUTHORISED: Final = (4, 5, 134, 135)
"""Return codes of CONNACK (MQTT 3.1.1 section 3.2.2.3), and what paho makes of them."""


def declare(parser: argparse.ArgumentParser, *, timeout: bool = False) -> None:
    """Declares the device and --config, and --timeout where the command waits for a result."""
    parser.add_argument("device", metavar="DEVICE", help="its MAC address")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings (default: $MIMI_CONFIG, else ./broker.yaml)"
    )
    if timeout:
        parser.add_argument(
            "--timeout", type=float, metavar="S", help="longest wait for the result, in seconds"
        )


def ask(args: argparse.Namespace, command: str, **fields: object) -> dict[str, Any]:
    """Has the server carry out a command; returns its `result`.

    `fields` are those of `docs/mqtt.md`; None leaves one out. Raises MimiError, which says what is wrong.
    """
    settings = load_settings(args.config, os.environ)
    device_id = device_id_from_mac(args.device)
    given = {name: value for name, value in fields.items() if value is not None}
    payload = strict_json.dumps({"id": secrets.token_hex(8), "command": command, **given})
    request = parse(device_id, payload)  # a mistake is told before anything is asked
    timeout_s = request.command.timeout_s or request.command.default_timeout_s
    reply = asyncio.run(_exchange(settings, device_id, request.id, payload, timeout_s + SLACK_S))
    if reply["status"] != "done":
        raise MimiError(str(reply["message"]))
    result: dict[str, Any] = reply["result"]
    return result


def send_sound(args: argparse.Namespace, file: Path, **fields: object) -> dict[str, Any]:
    """Has the server play a sound file on a device; returns the `result` of `notify`.

    `fields` are those of `docs/mqtt.md`; None leaves one out. Raises MimiError, which says what is wrong.
    """
    from mimi_mqtt.http.device.notices import SEND_PATH

    settings = load_settings(args.config, os.environ)
    device_id = device_id_from_mac(args.device)
    try:
        sound = file.read_bytes()
    except OSError as error:
        raise MimiError(f"--audio: {file} can't be read: {error.strerror}") from error
    given = {
        name: "true" if value is True else str(value) for name, value in fields.items() if value is not None
    }
    where = server_address(settings)
    try:
        answer = httpx.post(
            f"http://{where}{SEND_PATH.format(device_id=device_id)}",
            params=given,
            content=sound,
            auth=(COMMAND_LINE_USER, command_line_password(settings)),
            timeout=MAX_TIMEOUT_S + SLACK_S,
            trust_env=False,
        )
        reply = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise MimiError(no_server(where, type(error).__name__)) from error
    if answer.status_code == 401:
        raise MimiError(other_secret(settings, where))
    if reply.get("status") != "done":
        raise MimiError(str(reply.get("message") or reply.get("error")))
    result: dict[str, Any] = reply["result"]
    return result


def server_address(settings: Settings) -> str:
    """The host and port at which this machine reaches the running server over HTTP."""
    bind = settings.http.bind
    return str(BindAddress(_ALL_ADDRESSES.get(bind.host, bind.host), bind.port))


def no_server(where: str, reason: str) -> str:
    """The message for a server that does not answer."""
    return (
        f"no server answers at {where} ({reason}): start it with `mimi-mqtt serve`, or name its settings by "
        "--config"
    )


def other_secret(settings: Settings, where: str) -> str:
    """The message for a server that does not take this machine's password."""
    return (
        f"the server at {where} does not use the secret {settings.server.data_dir / SECRET_FILE}: run this "
        "command in the server's folder, or name its settings by --config"
    )


async def _exchange(
    settings: Settings, device_id: str, request_id: str, payload: bytes, timeout_s: float
) -> dict[str, Any]:
    """The reply to `payload`."""
    bind = settings.http.bind
    host = _ALL_ADDRESSES.get(bind.host, bind.host)
    where = f"{host}:{bind.port}"
    client = aiomqtt.Client(
        host,
        bind.port,
        username=COMMAND_LINE_USER,
        password=command_line_password(settings),
        identifier=f"command-line-{request_id}",
        transport="websockets",
        websocket_path="/mqtt",
        timeout=CONNECT_TIMEOUT_S,
    )
    try:
        async with client:
            await client.subscribe(device_topic(device_id, "reply"), qos=1)
            await client.publish(device_topic(device_id, "command"), payload, qos=1)
            async with asyncio.timeout(timeout_s):
                return await _reply(client, request_id)
    except TimeoutError as error:
        raise MimiError(f"the server at {where} did not answer within {timeout_s:g} s") from error
    except aiomqtt.MqttCodeError as error:
        if (error.rc.value if isinstance(error.rc, ReasonCode) else error.rc) in _NOT_AUTHORISED:
            raise MimiError(other_secret(settings, where)) from error
        raise MimiError(f"the server at {where} ended the connection: {error}") from error
    except aiomqtt.MqttError as error:
        raise MimiError(no_server(where, str(error))) from error


async def _reply(client: aiomqtt.Client, request_id: str) -> dict[str, Any]:
    async for message in client.messages:
        reply = json.loads(message.payload)
        if isinstance(reply, dict) and reply.get("id") == request_id:
            return reply
    raise aiomqtt.MqttError("the connection ended before the reply")


def command_line_password(settings: Settings) -> str:
    """A password of `COMMAND_LINE_USER` for the next moments. Raises MimiError: the secret is not there."""
    return _credentials(settings).command_line_password(time.time())


def self_check_password(settings: Settings) -> str:
    """A password of `SELF_CHECK_USER` for the next moments. Raises MimiError: the secret is not there."""
    return _credentials(settings).self_check_password(time.time())


def _credentials(settings: Settings) -> Credentials:
    folder = settings.server.data_dir
    if not (folder / SECRET_FILE).exists():
        raise MimiError(
            f"there is no secret at {folder / SECRET_FILE}: run this command in the server's folder, or name "
            "its settings by --config"
        )
    return Credentials.load(folder)
