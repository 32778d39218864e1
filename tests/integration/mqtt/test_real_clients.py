"""mosquitto_pub, mosquitto_sub, paho and aiomqtt against the running broker."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import paho.mqtt.client as paho
import pytest
from cryptography.hazmat.primitives import serialization
from paho.mqtt.enums import CallbackAPIVersion

from mimi_mqtt.errors import StartupError
from tests.integration.mqtt.conftest import DEVICE, DOWN, UP, Running, StartServer
from tests.integration.mqtt.raw import PATIENCE_S

ADMIN = ("-u", "admin", "-P", "admin password")
TESTER = ("-u", DEVICE, "-P", "right")


async def mosquitto_pub(mqtt: Running, *arguments: str, port: int | None = None) -> None:
    process = await asyncio.create_subprocess_exec(
        "mosquitto_pub", "-h", "127.0.0.1", "-p", str(port or mqtt.port), *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(PATIENCE_S):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


@asynccontextmanager
async def mosquitto_sub(
    mqtt: Running, *arguments: str, port: int | None = None
) -> AsyncIterator[asyncio.StreamReader]:
    """Its output, once it has subscribed: it is told by a message of its own."""
    process = await asyncio.create_subprocess_exec(
        "mosquitto_sub", "-h", "127.0.0.1", "-p", str(port or mqtt.port), "-v", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        await mqtt.until(lambda: mqtt.server.subscriptions > 0)
        yield process.stdout
    finally:
        process.terminate()
        await process.communicate()


async def _line(output: asyncio.StreamReader) -> str:
    async with asyncio.timeout(PATIENCE_S):
        return (await output.readline()).decode().strip()


@pytest.mark.parametrize("qos", ["0", "1", "2"])
async def test_mosquitto_clients_with_wildcards_at_every_qos(mqtt: Running, qos: str) -> None:
    async with mosquitto_sub(mqtt, *ADMIN, "-t", "house/+/#", "-q", qos) as output:
        await mosquitto_pub(mqtt, *ADMIN, "-t", "house/kitchen/light", "-m", "on", "-q", qos)
        assert await _line(output) == "house/kitchen/light on"


async def test_mosquitto_sub_gets_retained_messages(mqtt: Running) -> None:
    await mosquitto_pub(mqtt, *ADMIN, "-t", "house/door", "-m", "open", "-r", "-q", "1")
    async with mosquitto_sub(mqtt, *ADMIN, "-t", "house/#") as output:
        assert await _line(output) == "house/door open"


async def test_mosquitto_will_is_delivered_when_the_process_is_killed(mqtt: Running) -> None:
    async with mosquitto_sub(mqtt, *ADMIN, "-t", "last/#", "-q", "2") as output:
        process = await asyncio.create_subprocess_exec(
            "mosquitto_sub", "-h", "127.0.0.1", "-p", str(mqtt.port), *ADMIN, "-t", "x",
            "--will-topic", "last/words", "--will-payload", "farewell", "--will-qos", "2",
        )  # fmt: skip
        await mqtt.until(lambda: mqtt.server.subscriptions == 2)
        process.kill()
        await process.wait()
        assert await _line(output) == "last/words farewell"


async def test_mosquitto_pub_sends_many_lines_and_disconnects(mqtt: Running) -> None:
    async with mosquitto_sub(mqtt, *ADMIN, "-t", "lines", "-q", "1") as output:
        process = await asyncio.create_subprocess_exec(
            "mosquitto_pub", "-h", "127.0.0.1", "-p", str(mqtt.port), *ADMIN, "-t", "lines", "-l", "-q", "1",
            stdin=asyncio.subprocess.PIPE,
        )  # fmt: skip
        await process.communicate(b"".join(b"%d\n" % index for index in range(300)))
        assert [await _line(output) for _ in range(300)] == [f"lines {index}" for index in range(300)]


async def test_mosquitto_clients_play_a_device(mqtt: Running) -> None:
    mqtt.sink.reply = b'{"type":"hello","session_id":"1"}'
    async with mosquitto_sub(mqtt, *TESTER, "-t", f"mimi/devices/{DEVICE}/#") as output:
        await mosquitto_pub(mqtt, *TESTER, "-t", UP, "-m", '{"type":"hello"}')
        assert await _line(output) == UP + ' {"type":"hello"}'
        assert await _line(output) == DOWN + ' {"type":"hello","session_id":"1"}'


async def test_mosquitto_pub_as_the_device_itself(mqtt: Running) -> None:
    await mosquitto_pub(mqtt, *TESTER, "-i", DEVICE, "-t", UP, "-m", "{}", "-q", "2")
    assert mqtt.sink.messages == [(DEVICE, b"{}")]


class PahoClient:
    """paho in its own thread; what arrives is put on the test's loop."""

    def __init__(self, **options: Any) -> None:
        self._loop = asyncio.get_running_loop()
        self.arrived: asyncio.Queue[tuple[str, bytes, int, bool]] = asyncio.Queue()
        self.subscribed = asyncio.Event()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, **options)
        self.client.username_pw_set("admin", "admin password")
        self.client.on_message = self._message
        self.client.on_subscribe = lambda *_: self._tell(self.subscribed.set)

    def _tell(self, what: Any, *arguments: Any) -> None:
        self._loop.call_soon_threadsafe(what, *arguments)

    def _message(self, _: object, __: object, message: paho.MQTTMessage) -> None:
        self._tell(
            self.arrived.put_nowait, (message.topic, message.payload, message.qos, bool(message.retain))
        )

    async def use(self, port: int, *filters: tuple[str, int]) -> None:
        await asyncio.to_thread(self.client.connect, "127.0.0.1", port)
        self.client.loop_start()
        self.client.subscribe(list(filters))
        async with asyncio.timeout(PATIENCE_S):
            await self.subscribed.wait()

    async def next(self) -> tuple[str, bytes, int, bool]:
        async with asyncio.timeout(PATIENCE_S):
            return await self.arrived.get()

    async def stop(self) -> None:
        self.client.disconnect()
        await asyncio.to_thread(self.client.loop_stop)


async def _paho_round(port: int, **options: Any) -> None:
    client = PahoClient(**options)
    await client.use(port, ("paho/#", 2))
    for qos in (0, 1, 2):
        client.client.publish(f"paho/{qos}", b"%d" % qos, qos)
        assert await client.next() == (f"paho/{qos}", b"%d" % qos, qos, False)
    await client.stop()


async def test_paho_at_every_qos(mqtt: Running) -> None:
    await _paho_round(mqtt.port, client_id="paho")


async def test_paho_resumes_a_persistent_session(mqtt: Running) -> None:
    first = PahoClient(client_id="house", clean_session=False)
    await first.use(mqtt.port, ("t", 2))
    await first.stop()
    await mosquitto_pub(mqtt, *ADMIN, "-t", "t", "-m", "kept", "-q", "2")
    again = PahoClient(client_id="house", clean_session=False)
    await again.use(mqtt.port, ("other", 0))
    assert await again.next() == ("t", b"kept", 2, False)
    await again.stop()


async def test_aiomqtt_with_wildcards_retained_and_wills(mqtt: Running) -> None:
    async with asyncio.timeout(PATIENCE_S):
        account = {"username": "admin", "password": "admin password"}
        async with aiomqtt.Client("127.0.0.1", mqtt.port, **account) as client:  # type: ignore[arg-type]
            await client.subscribe("mimi/status")
            status = await anext(client.messages)
            assert isinstance(status.payload, bytes)
            assert json.loads(status.payload)["state"] == "online"
            await client.subscribe("+/temperature", qos=1)
            await client.publish("kitchen/temperature", 21, qos=2, retain=True)
            message = await anext(client.messages)
            assert (str(message.topic), message.payload, message.qos) == ("kitchen/temperature", b"21", 1)
            await client.unsubscribe("+/temperature")


async def test_tls_with_a_certificate_of_our_own(start_server: StartServer, certificates: Path) -> None:
    mqtt = await start_server(
        tls_certificate=certificates / "server.crt", tls_key=certificates / "server.key"
    )
    port = mqtt.tls_port
    ca = ("--cafile", str(certificates / "ca.crt"))
    async with mosquitto_sub(mqtt, *ADMIN, *ca, "-t", "t", port=port) as output:
        await mosquitto_pub(mqtt, *ADMIN, *ca, "-t", "t", "-m", "secret", "-q", "2", port=port)
        assert await _line(output) == "t secret"
    context = ssl.create_default_context(cafile=str(certificates / "ca.crt"))
    async with asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00")
        assert await reader.readexactly(4) == b"\x20\x02\x00\x00"
        big = b"x" * 200_000
        writer.write(b"\x82\x06\x00\x01\x00\x01t\x00" + b"\x30" + _length(len(big) + 3) + b"\x00\x01t" + big)
        assert await reader.readexactly(5) == b"\x90\x03\x00\x01\x00"
        assert (await reader.readexactly(7 + len(big)))[-len(big) :] == big
        writer.write(b"\xe0\x00")
        assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize(
    ("certificate", "key", "told"),
    [
        ("none.crt", "server.key", r"mqtt\.tls_certificate .*none\.crt can't be read"),
        ("server.crt", "none.key", r"mqtt\.tls_key .*none\.key can't be read"),
        ("server.key", "server.key", "in PEM"),
        ("server.crt", "locked.key", "without a passphrase"),
    ],
)
async def test_a_certificate_that_can_not_be_used_is_explained(
    start_server: StartServer, certificates: Path, tmp_path: Path, certificate: str, key: str, told: str
) -> None:
    for name in ("server.crt", "server.key"):
        (tmp_path / name).write_bytes((certificates / name).read_bytes())
    private = serialization.load_pem_private_key((certificates / "server.key").read_bytes(), None)
    (tmp_path / "locked.key").write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(StartupError, match=told):
        await start_server(tls_certificate=tmp_path / certificate, tls_key=tmp_path / key)


def _length(value: int) -> bytes:
    return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14))


async def test_silent_and_broken_tls_handshakes_are_dropped(
    start_server: StartServer, certificates: Path
) -> None:
    mqtt = await start_server(
        tls_certificate=certificates / "server.crt", tls_key=certificates / "server.key"
    )
    mqtt.port = mqtt.tls_port
    broken = await mqtt.open()
    await broken.send(b"GET / HTTP/1.1\r\n\r\n")
    assert await broken.closed() == []
    silent = await mqtt.open()
    await mqtt.until(lambda: mqtt.server.counters.pending == 1)
    mqtt.pass_time(6)
    assert await silent.closed() == []
