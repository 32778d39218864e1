"""Sessions on a real UDP server: speech goes where the device of the live session is, and nowhere else."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from mimi_mqtt.audio.opus import OpusDecoder, OpusEncoder
from mimi_mqtt.config import Settings
from mimi_mqtt.fleet.agents import AgentCatalog, AgentsInForce
from mimi_mqtt.fleet.directory import DeviceInfo
from mimi_mqtt.session.manager import SessionManager
from mimi_mqtt.transports.udp import UdpServer
from mimi_mqtt.voice.ports import ConversationSetup
from mimi_mqtt.wire.audio_packet import AudioCipher, pack_uplink, parse_header
from tests.fakes.session import DEVICE, FakeControlChannel, FakeConversation

FRAME = OpusEncoder(16_000).encode((8000 * np.sin(np.arange(960) / 6)).astype(np.int16))
DTX_SILENCE = b"\x58"  # SILK, wideband, 60 ms, without a frame
LISTEN = json.dumps({"type": "listen", "session_id": "", "state": "start", "mode": "auto"}).encode()
HELLO = json.dumps({"type": "hello", "version": 3, "transport": "udp"}).encode()


class Listener(FakeConversation):
    """A conversation that tells `heard` when it heard something."""

    def __init__(self, heard: "asyncio.Queue[Listener]", setup: ConversationSetup) -> None:
        super().__init__(setup)
        self.heard = heard

    def audio(self, opus: bytes, sequence: int, timestamp: int, now: float) -> None:
        super().audio(opus, sequence, timestamp, now)
        assert opus in (FRAME, DTX_SILENCE)
        self.heard.put_nowait(self)


class House:
    """A session manager on a UDP server, with one device connected."""

    def __init__(self, udp: UdpServer) -> None:
        self.udp = udp
        self.conversations: list[Listener] = []
        self.heard: asyncio.Queue[Listener] = asyncio.Queue()
        devices = {DEVICE: DeviceInfo(DEVICE, "127.0.0.1")}
        self.manager = SessionManager(
            Settings(),
            devices=devices,
            audio_transports={"udp": udp},
            agents=AgentCatalog(AgentsInForce(Settings().every_agent)),
            converse=lambda agent: self._converse,
        )
        self.channel = FakeControlChannel(peer_host="127.0.0.1")
        self.manager.control_opened(self.channel)

    def _converse(self, setup: ConversationSetup) -> Listener:
        self.conversations.append(Listener(self.heard, setup))
        return self.conversations[-1]

    def hello(self) -> "Device":
        """The device says hello, opens its audio socket and begins to listen."""
        self.manager.control_message(self.channel, HELLO)
        device = Device(self.channel.messages[-1]["udp"])
        self.manager.control_message(self.channel, LISTEN)
        return device


class Device:
    """The audio end of a device, as its hello told it."""

    def __init__(self, section: dict[str, Any]) -> None:
        self.cipher = AudioCipher(bytes.fromhex(section["key"]))
        self.nonce = bytes.fromhex(section["nonce"])
        self.sequence = 0
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.connect((section["server"], section["port"]))

    def speak(self, packet: bytes = FRAME) -> None:
        self.sequence += 1
        self.sock.send(self.cipher.encrypt(pack_uplink(self.nonce, 0, self.sequence, len(packet)), packet))

    async def hear(self) -> tuple[int, int, bytes]:
        """The next packet's timestamp, sequence and payload."""
        async with asyncio.timeout(20):
            datagram = await asyncio.get_running_loop().sock_recv(self.sock, 2048)
        header = parse_header(datagram)
        return header.timestamp, header.sequence, self.cipher.decrypt(datagram)

    def hears_nothing(self) -> bool:
        try:
            self.sock.recv(2048)
        except BlockingIOError:
            return True
        return False


@pytest.fixture
async def house() -> AsyncIterator[House]:
    udp = UdpServer(Settings().udp, lambda device_id: b"0123456789abcdef")
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind(("127.0.0.1", 0))
    await udp.start(sock)
    house = House(udp)
    yield house
    await house.manager.aclose()
    await udp.aclose()


async def next_heard(house: House) -> Listener:
    async with asyncio.timeout(20):
        return await house.heard.get()


async def test_device_is_heard_and_hears_the_reply_in_order(house: House) -> None:
    device = house.hello()
    device.speak()
    output = (await next_heard(house)).output
    frames = [bytes([number]) * 40 for number in range(6)]
    for _ in range(2):
        output.begin_speech()
        for frame in frames:
            await output.play(frame)
        await output.finish_speech()
    heard = [await device.hear() for _ in range(12)]
    assert [payload for _, _, payload in heard] == frames * 2
    assert all(later[0] > sooner[0] and later[1] > sooner[1] for sooner, later in pairwise(heard))
    assert house.channel.story() == ["hello"] + ["tts start", "tts stop"] * 2
    device.sock.close()


async def test_silence_by_dtx_is_ordinary_audio(house: House) -> None:
    device = house.hello()
    for _ in range(5):
        device.speak(DTX_SILENCE)
        assert (await next_heard(house)).calls[-1][0] == "audio"
    (channel,) = house.udp._channels.values()
    stats = channel.stats
    assert (stats.received, stats.forged, stats.lost, stats.late) == (5, 0, 0, 0)
    assert len(OpusDecoder(16_000).decode(DTX_SILENCE)) == 960
    device.sock.close()


async def test_reply_that_began_before_the_device_was_heard_arrives_whole(house: House) -> None:
    device = house.hello()
    listen = {"type": "listen", "session_id": "", "state": "detect", "text": "hi mimi"}
    house.manager.control_message(house.channel, json.dumps(listen).encode())
    output = house.conversations[0].output
    output.begin_speech()
    for number in range(4):
        await output.play(bytes([number]) * 40)
    device.speak()
    await output.finish_speech()
    assert [(await device.hear())[2][0] for _ in range(4)] == [0, 1, 2, 3]
    device.sock.close()


async def test_downlink_never_goes_to_the_address_of_a_replaced_session(house: House) -> None:
    old = house.hello()
    old.speak()
    speaker = await next_heard(house)
    speaker.output.begin_speech()
    new = house.hello()
    await speaker.output.play(b"for nobody" * 4)
    old.speak()  # its keys and its ssrc are forgotten
    new.speak()
    output = (await next_heard(house)).output
    output.begin_speech()
    await output.play(b"for the new one" * 3)
    await output.finish_speech()
    assert (await new.hear())[2] == b"for the new one" * 3
    assert old.hears_nothing()
    assert new.hears_nothing()
    assert speaker.calls == [("listen", "auto"), ("audio", "1")]
    old.sock.close()
    new.sock.close()
