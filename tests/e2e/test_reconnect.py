"""A device whose control connection is cut, or whose server is killed, in every state.

As stock firmware does, it reconnects by itself and says no hello; it is never left listening or speaking.
"""

import asyncio
import contextlib
import json
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.opus import OpusEncoder
from mimi_mqtt.cli.device.booting import MqttAccess, boot_over_mqtt
from mimi_mqtt.cli.device.profiles import DEFAULT, PROFILES
from mimi_mqtt.cli.device.speech import synthesise
from mimi_mqtt.session.presence import HELLO_GRACE_S
from mimi_mqtt.wire.audio_packet import AudioCipher, pack_uplink
from mimi_mqtt.wire.mqtt import PacketType, encode_publish, parse_publish
from tests.e2e.conftest import Server, clean_environ
from tests.integration.mqtt.raw import RawClient

pytestmark = [pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]

FRAME = 960  # samples, 60 ms
HELLO = {
    "type": "hello", "version": 3, "transport": "udp",
    "audio_params": {"format": "opus", "sample_rate": 16000, "channels": 1, "frame_duration": 60},
}  # fmt: skip
PATIENCE_S = 40.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """One server for all: each test finds it as the one before left it."""
    folder: Path = tmp_path_factory.mktemp("reconnected")
    (folder / "server.log").touch()
    binds = {f"MIMI_{part}__BIND": "127.0.0.1:0" for part in ("MQTT", "UDP", "HTTP")}
    server = Server(folder, clean_environ(**binds))
    await server.start()
    yield server
    assert await server.stop(signal.SIGTERM) == 0
    assert "Traceback" not in server.log


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def question() -> Pcm:
    """The user's words, with silence after them."""
    words = await synthesise("what time is it", 16_000, "en", "offline")
    return np.concatenate([words, np.zeros(16_000 * 2, np.int16)])


class Device:
    """A device of raw parts: its microphone never stops, whatever becomes of its control connection."""

    def __init__(self, access: MqttAccess) -> None:
        self.access = access
        self.session_id = ""
        self.messages: list[dict[str, Any]] = []
        self.frames = 0
        self._told = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._mqtt: RawClient | None = None
        self._hearing: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._sock: socket.socket | None = None
        self._words = np.zeros(0, np.int16)

    def _spawn(self, work: Any) -> "asyncio.Task[None]":
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        return task

    async def connect(self) -> None:
        self._mqtt = await RawClient.open(self.access.port)
        access = self.access
        assert await self._mqtt.connack(access.client_id, access.username, access.password) == 0
        self._reading = self._spawn(self._read(self._mqtt))

    async def cut(self) -> None:
        """The connection is lost, without a word."""
        assert self._mqtt is not None
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
        self._mqtt.writer.transport.abort()

    async def _read(self, mqtt: RawClient) -> None:
        while (packet := await mqtt.packet()) is not None:
            if packet.type is PacketType.PUBLISH:
                self.messages.append(json.loads(parse_publish(packet).payload))
                self._told.set()

    async def say(self, message: dict[str, Any]) -> None:
        assert self._mqtt is not None
        payload = json.dumps(message | {"session_id": self.session_id}).encode()
        await self._mqtt.send(encode_publish(self.access.publish_topic, payload))

    async def hello(self) -> None:
        self.messages.clear()
        await self.say(HELLO)
        told = await self.told("hello")
        self.session_id = told["session_id"]
        section = told["udp"]
        await self._microphone(AudioCipher(bytes.fromhex(section["key"])), section)

    async def _microphone(self, cipher: AudioCipher, section: dict[str, Any]) -> None:
        if self._sock is not None and self._hearing is not None:
            self._hearing.cancel()
            await asyncio.wait({self._hearing})  # before its descriptor is another socket's
            self._sock.close()
        sock = self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.connect((section["server"], section["port"]))
        self._spawn(self._stream(sock, cipher, bytes.fromhex(section["nonce"])))
        self._hearing = self._spawn(self._hear(sock))

    async def _stream(self, sock: socket.socket, cipher: AudioCipher, nonce: bytes) -> None:
        encoder = OpusEncoder(16_000)
        sequence = 0
        while self._sock is sock:
            frame, self._words = self._words[:FRAME], self._words[FRAME:]
            packet = encoder.encode(np.pad(frame, (0, FRAME - len(frame))))
            sequence += 1
            header = pack_uplink(nonce, 0, sequence, len(packet))
            with contextlib.suppress(ConnectionRefusedError):  # the server was killed
                sock.send(cipher.encrypt(header, packet))
            await asyncio.sleep(0.06)

    async def _hear(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while self._sock is sock:
            try:
                await loop.sock_recv(sock, 2048)
            except ConnectionRefusedError:
                return
            self.frames += 1
            self._told.set()

    async def listen(self, mode: str = "auto") -> None:
        await self.say({"type": "listen", "state": "start", "mode": mode})

    def ask(self, words: Pcm) -> None:
        self._words = words

    async def told(self, kind: str, state: str | None = None) -> dict[str, Any]:
        """The first such message since `messages` was cleared."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for message in self.messages:
                    if message["type"] == kind and state in (None, message.get("state")):
                        return message
                self._told.clear()
                await self._told.wait()

    async def hears(self, frames: int) -> None:
        """Until so many more frames were heard."""
        wanted = self.frames + frames
        async with asyncio.timeout(PATIENCE_S):
            while self.frames < wanted:
                self._told.clear()
                await self._told.wait()

    async def close(self) -> None:
        sock, self._sock = self._sock, None
        if self._mqtt is not None:
            self._mqtt.writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if sock is not None:
            sock.close()


@pytest_asyncio.fixture(loop_scope="module")
async def device(running: Server) -> AsyncIterator[Device]:
    """A connected device."""
    made = Device(await boot_over_mqtt(running.ota, "02:00:00:00:00:1c", "en", PROFILES[DEFAULT], print))
    await made.connect()
    yield made
    await made.close()


async def _away_and_back(device: Device) -> None:
    """As esp-mqtt does, only sooner: it reconnects by itself and says nothing."""
    await device.cut()
    await asyncio.sleep(1.0)
    await device.connect()


async def _next_turn(device: Device, question: Pcm) -> None:
    """What a person does then: press the button and ask."""
    await device.hello()
    await device.listen()
    device.ask(question)
    await device.hears(3)
    await device.told("tts", "stop")


async def test_cut_while_idle(device: Device, question: Pcm) -> None:
    await device.hello()
    await device.say({"type": "goodbye"})
    await _away_and_back(device)
    device.messages.clear()
    await asyncio.sleep(HELLO_GRACE_S + 0.5)
    assert device.messages == []
    await _next_turn(device, question)


async def test_cut_between_hello_and_listen(device: Device, question: Pcm) -> None:
    await device.hello()
    await _away_and_back(device)
    await device.listen()
    device.ask(question)
    await device.told("tts", "start")
    await device.hears(3)
    await device.told("tts", "stop")
    assert not [message for message in device.messages if message["type"] == "goodbye"]


@pytest.mark.parametrize("mode", ["auto", "realtime"])
async def test_cut_while_listening(device: Device, question: Pcm, mode: str) -> None:
    await device.hello()
    await device.listen(mode)
    device.ask(question)
    await asyncio.sleep(0.3)
    await _away_and_back(device)
    await device.told("stt")
    await device.hears(3)
    await device.told("tts", "stop")


async def test_cut_while_thinking(device: Device, question: Pcm) -> None:
    await device.hello()
    await device.listen()
    device.ask(question)
    await device.told("stt")
    await device.cut()
    await asyncio.sleep(1.0)
    await device.connect()
    await device.told("tts", "stop")
    await device.listen()
    device.messages.clear()
    device.ask(question)
    await device.told("tts", "start")
    await device.told("tts", "stop")


async def test_cut_while_speaking(device: Device, question: Pcm) -> None:
    await device.hello()
    await device.listen()
    device.ask(question)
    await device.told("tts", "start")
    await device.hears(3)
    await device.cut()
    await device.hears(3)  # the reply goes on
    await device.connect()
    await device.told("tts", "stop")


async def test_cut_while_a_reply_is_paused_for_somebody_who_speaks(device: Device, question: Pcm) -> None:
    await device.hello()
    await device.listen("realtime")
    device.ask(question)
    await device.told("tts", "start")
    await device.hears(3)
    device.messages.clear()
    device.ask(question)
    await asyncio.sleep(0.5)
    await _away_and_back(device)
    await device.told("tts", "stop")
    await device.told("stt")
    device.messages.clear()
    await device.told("tts", "stop")


@pytest.mark.parametrize("state", ["listening", "thinking", "speaking"])
async def test_a_device_is_sent_home_after_the_server_was_killed(
    running: Server, device: Device, question: Pcm, state: str
) -> None:
    await device.hello()
    await device.listen()
    if state == "listening":
        await asyncio.sleep(1.0)
    else:
        device.ask(question)
        await (device.told("stt") if state == "thinking" else device.hears(3))
    await device.cut()
    await running.restart(signal.SIGKILL)
    device.messages.clear()
    await device.connect()
    async with asyncio.timeout(12):
        assert await device.told("goodbye") == {"type": "goodbye", "session_id": device.session_id}
    await _next_turn(device, question)


async def test_a_revoked_device_is_told_goodbye(running: Server, device: Device) -> None:
    await device.hello()
    await device.listen()
    revoked = await running.run("devices", "revoke", "02-00-00-00-00-1c")
    assert revoked.code == 0, revoked.err
    assert (await device.told("goodbye"))["session_id"] == device.session_id
    await running.run("devices", "allow", "02-00-00-00-00-1c")
