"""A session over a real control connection: audio does not overtake `tts start`."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from mimi_mqtt.config import Settings
from mimi_mqtt.config.connections import MqttSettings
from mimi_mqtt.fleet.agents import AgentCatalog, AgentsInForce
from mimi_mqtt.fleet.directory import DeviceInfo
from mimi_mqtt.session.manager import SessionManager
from mimi_mqtt.transports.mqtt.server import MqttServer
from mimi_mqtt.voice.ports import ConversationSetup
from mimi_mqtt.wire.mqtt import PacketType, encode_publish, parse_publish
from tests.fakes.session import FakeAudioTransport, FakeConversation
from tests.integration.mqtt.conftest import DEVICE, UP, FakeAccounts, listening_socket
from tests.integration.mqtt.raw import RawClient

STALL_S = 0.4
CHUNK = b"x" * 1_000


class House:
    """A device on a real MQTT server with real sessions; only audio and conversation are fakes."""

    def __init__(self) -> None:
        self.audio = FakeAudioTransport()
        self.conversations: list[FakeConversation] = []
        self.manager = SessionManager(
            Settings(),
            devices={DEVICE: DeviceInfo(DEVICE, "127.0.0.1")},
            audio_transports={"udp": self.audio},
            agents=AgentCatalog(AgentsInForce(Settings().every_agent)),
            converse=lambda agent: self._converse,
        )
        settings = MqttSettings(max_write_buffer_bytes=8_000_000)
        self.server = MqttServer(settings, FakeAccounts(), self.manager)

    def _converse(self, setup: ConversationSetup) -> FakeConversation:
        self.conversations.append(FakeConversation(setup))
        return self.conversations[-1]

    async def open(self) -> RawClient:
        """The device connects, says hello and begins to listen."""
        sock = listening_socket()
        await self.server.start(sock)
        device = await RawClient.open(sock.getsockname()[1], receive_buffer=4_096)
        assert await device.connack(DEVICE, DEVICE, "right") == 0
        for message in ({"type": "hello"}, {"type": "listen", "state": "start", "mode": "auto"}):
            await device.send(encode_publish(UP, json.dumps(message).encode()))
        assert await next_message(device) == "hello"
        await device.round_trip()
        return device

    async def stall(self, device: RawClient) -> int:
        """Sends to the device, which reads nothing any more, until its window is full."""
        device.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's transport reads
        attachment = self.manager.attachment(DEVICE)
        assert attachment is not None
        for count in range(1, 4_000):
            attachment.send(json.dumps({"type": "filler", "x": CHUNK.decode()}).encode())
            await asyncio.sleep(0)
            if attachment.undelivered() > 4 * len(CHUNK):
                return count
        raise AssertionError("everything was acknowledged")


async def next_message(device: RawClient) -> str:
    """The next message's type, with the state of `tts`."""
    packet = await device.expect(PacketType.PUBLISH)
    message = json.loads(parse_publish(packet).payload)
    return f"{message['type']} {message.get('state', '')}".strip()


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    yield house
    await house.manager.aclose()
    await house.server.aclose()


async def test_a_reply_that_meets_a_stalled_connection_keeps_its_first_syllable(house: House) -> None:
    device = await house.open()
    fillers = await house.stall(device)
    loop = asyncio.get_running_loop()
    output = house.conversations[0].output
    output.begin_speech()
    for _ in range(5):
        await output.play(b"frame")
    finished = asyncio.ensure_future(output.finish_speech())
    await asyncio.sleep(STALL_S)  # the network's
    assert house.audio.channels[0].sent == []
    resumed = loop.time()
    device.writer.transport.resume_reading()  # type: ignore[attr-defined]
    for _ in range(fillers):
        assert await next_message(device) == "filler"
    assert await next_message(device) == "tts start"
    await finished
    sent = [at for at, _, _ in house.audio.channels[0].sent]
    assert len(sent) == 5
    assert sent[0] > resumed
    assert await next_message(device) == "tts stop"
    await device.close()


async def test_a_reply_over_a_good_connection_does_not_wait(house: House) -> None:
    device = await house.open()
    output = house.conversations[0].output
    output.begin_speech()
    await output.play(b"frame")
    assert await next_message(device) == "tts start"
    await output.finish_speech()
    assert await next_message(device) == "tts stop"
    assert len(house.audio.channels[0].sent) == 1
    await device.close()
