"""What home-lab people and testers run against a running server: mosquitto_pub and mosquitto_sub."""

import asyncio
import contextlib
import json
import re
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from mimi_mqtt.cli.device.booting import MqttAccess, boot_over_mqtt
from mimi_mqtt.cli.device.client import DeviceOptions, converse
from mimi_mqtt.wire.mqtt import parse_publish
from mimi_mqtt.wire.topics import device_id_from_mac, device_topic
from tests.e2e.conftest import MakeServer, Server, clean_environ
from tests.integration.mqtt.raw import RawClient

pytestmark = [pytest.mark.timeout(60), pytest.mark.asyncio(loop_scope="module")]

PASSWORD = "the administrator's"
ADMIN = ("-u", "admin", "-P", PASSWORD)
MAC = "02:00:00:00:00:0c"
DEVICE = device_id_from_mac(MAC)
MOSQUITTO_PORT = 1883
PATIENCE_S = 30
_GRANTED = re.compile(rb"Subscribed \(mid: 1\): [012]$", re.MULTILINE)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A server with an administrator."""
    folder: Path = tmp_path_factory.mktemp("served")
    (folder / "server.log").touch()
    binds = {f"MIMI_{part}__BIND": "127.0.0.1:0" for part in ("MQTT", "UDP", "HTTP")}
    server = Server(folder, clean_environ(**binds, MIMI_ACCOUNTS__ADMIN_PASSWORD=PASSWORD))
    await server.start()
    yield server
    assert await server.stop(signal.SIGTERM) == 0


@pytest_asyncio.fixture(loop_scope="module")
async def access(running: Server) -> MqttAccess:
    """What OTA tells the device."""
    return await boot_over_mqtt(running.ota, MAC, "en")


@pytest_asyncio.fixture(loop_scope="module")
async def device(access: MqttAccess) -> AsyncIterator[RawClient]:
    """The device, connected."""
    client = await RawClient.open(access.port)
    assert await client.connack(access.client_id, access.username, access.password) == 0
    yield client
    await client.close()


async def pub(port: int, *arguments: str) -> tuple[int, str]:
    """Runs mosquitto_pub; its exit code and what it said."""
    process = await asyncio.create_subprocess_exec(
        "mosquitto_pub", "-h", "127.0.0.1", "-p", str(port), *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(PATIENCE_S):
        output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


class Watcher:
    """A mosquitto_sub that has subscribed."""

    def __init__(self, output: asyncio.StreamReader) -> None:
        self._output = output
        self.seen: list[tuple[str, dict[str, Any]]] = []

    async def until(self, topic: str, kind: str) -> dict[str, Any]:
        """Waits for a JSON message of type `kind` on `topic`; every message up to it is in `seen`."""
        async with asyncio.timeout(PATIENCE_S):
            while line := (await self._output.readline()).decode():
                name, _, payload = line.strip().partition(" ")
                if payload.startswith("{"):
                    message = json.loads(payload)
                    self.seen.append((name, message))
                    if (name, message.get("type")) == (topic, kind):
                        return self.seen[-1][1]
        raise AssertionError(f"mosquitto_sub ended; it saw {self.seen}")


@asynccontextmanager
async def sub(port: int, *arguments: str) -> AsyncIterator[Watcher]:
    """Runs mosquitto_sub; entered when the server granted what it asked for. It buffers what it tells a pipe
    unless it is told not to."""
    process = await asyncio.create_subprocess_exec(
        "stdbuf", "-oL", "mosquitto_sub", "-h", "127.0.0.1", "-p", str(port), "-v", "-d", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            while (line := await process.stdout.readline()) and not _GRANTED.match(line):
                pass
        assert line, "it could not subscribe"
        yield Watcher(process.stdout)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def test_the_administrator_sees_a_conversation_without_its_keys(
    running: Server, access: MqttAccess
) -> None:
    up, down = device_topic(DEVICE, "up"), device_topic(DEVICE, "down")
    async with sub(access.port, *ADMIN, "-t", "mimi/#") as watcher:
        talk = asyncio.create_task(
            converse(DeviceOptions(ota=running.ota, mac=MAC, text="hi mimi", timeout_s=60))
        )
        told = await watcher.until(up, "hello")
        assert told["transport"] == "udp"
        hello = await watcher.until(down, "hello")
        assert hello["udp"]["port"]
        assert not re.fullmatch("[0-9a-f]{32}", hello["udp"]["key"])
        await watcher.until(up, "listen")
        await watcher.until(down, "tts")
        assert (await talk).ok
        await watcher.until(up, "goodbye")
    assert {name for name, _ in watcher.seen} >= {up, down}


async def test_the_administrator_pushes_an_alert_to_a_device(access: MqttAccess, device: RawClient) -> None:
    alert = {"type": "alert", "status": "Door", "message": "Somebody rang.", "emotion": "happy"}
    topic = device_topic(DEVICE, "down")
    code, said = await pub(access.port, *ADMIN, "-t", topic, "-m", json.dumps(alert), "-q", "1")
    assert code == 0, said
    while (message := json.loads((await device.publish_received()).payload)).get("type") != "alert":
        pass  # it is also asked for its tools
    assert message == alert


async def test_a_tester_with_a_devices_credentials_sees_that_device_only(
    access: MqttAccess, device: RawClient
) -> None:
    login = ("-i", "my-laptop", "-u", access.username, "-P", access.password)
    async with sub(access.port, *login, "-t", f"mimi/devices/{DEVICE}/#") as watcher:
        await device.publish_qos0(device_topic(DEVICE, "up"), b'{"type":"abort","session_id":"x"}')
        assert (await watcher.until(device_topic(DEVICE, "up"), "abort"))["session_id"] == "x"
    for foreign in ("#", "mimi/#", "mimi/devices/02-00-00-00-00-0a/#"):
        with pytest.raises(AssertionError, match="could not subscribe"):
            async with sub(access.port, *login, "-t", foreign):
                pass
    # The device is still the one that is connected.
    assert all(parse_publish(packet) for packet in await device.round_trip())


@pytest.mark.parametrize(
    "login",
    [(), ("-u", "admin", "-P", "wrong"), ("-u", DEVICE, "-P", PASSWORD), ("-u", "nobody", "-P", PASSWORD)],
)
async def test_strangers_are_refused(access: MqttAccess, login: tuple[str, ...]) -> None:
    code, said = await pub(access.port, *login, "-t", "house/light", "-m", "on")
    assert code != 0
    assert "not authorised" in said.lower() or "bad user name or password" in said.lower(), said


async def test_clients_of_mqtt_5_and_of_3_1_1_hear_each_other(access: MqttAccess) -> None:
    topic = "house/versions"
    for speaks, hears in (("mqttv5", "mqttv311"), ("mqttv311", "mqttv5")):
        async with sub(access.port, *ADMIN, "-V", hears, "-t", topic) as watcher:
            code, said = await pub(
                access.port, *ADMIN, "-V", speaks, "-t", topic, "-q", "1", "-m", '{"type": "hi"}'
            )
            assert code == 0, said
            await watcher.until(topic, "hi")


async def test_a_client_of_mqtt_5_with_a_wrong_password_is_told_so(access: MqttAccess) -> None:
    code, said = await pub(access.port, "-u", "admin", "-P", "wrong", "-V", "mqttv5", "-t", "a", "-m", "b")
    assert code != 0
    assert "not authorized" in said.lower() or "bad user name or password" in said.lower(), said


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


@asynccontextmanager
async def mosquitto() -> AsyncIterator[None]:
    """A Mosquitto on its usual port, this test's own or one that is there already."""
    if await _listens(MOSQUITTO_PORT):
        yield
        return
    process = await asyncio.create_subprocess_exec(
        "mosquitto", "-p", str(MOSQUITTO_PORT),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(PATIENCE_S):
            while process.returncode is None and not await _listens(MOSQUITTO_PORT):
                pass  # each try is a turn of the loop
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@pytest.mark.asyncio(loop_scope="function")
async def test_a_mosquitto_on_the_same_machine_keeps_its_port(make_server: MakeServer) -> None:
    server = make_server()
    del server.environ["MIMI_MQTT__BIND"]
    async with mosquitto():
        await server.start()
        shown = re.search(r"MQTT +(\d+)", server.welcome)
        assert shown
        assert int(shown[1]) > MOSQUITTO_PORT
        access = await boot_over_mqtt(server.ota, MAC, "en")
        assert access.port == int(shown[1])
        summary = await converse(DeviceOptions(ota=server.ota, mac=MAC, text="hi mimi", timeout_s=60))
        assert summary.ok, summary
        with socket.create_connection(("127.0.0.1", MOSQUITTO_PORT), PATIENCE_S):
            pass  # whoever had it still has it
        assert await server.stop() == 0
