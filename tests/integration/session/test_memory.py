"""Ended sessions leave nothing behind that only the garbage collector could free."""

import asyncio
import gc
import json
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from mimi_mqtt.audio.opus import OpusEncoder
from mimi_mqtt.config import Settings
from mimi_mqtt.config.voice import ProviderSettings
from mimi_mqtt.fleet.agents import AgentCatalog, AgentsInForce
from mimi_mqtt.fleet.directory import DeviceInfo
from mimi_mqtt.providers.catalog.registry import build
from mimi_mqtt.session.manager import SessionManager
from mimi_mqtt.transports.udp import UdpServer
from mimi_mqtt.transports.udp_rows import Row
from mimi_mqtt.voice.conversation import Conversation
from mimi_mqtt.voice.hearing.pool import HearingPool
from mimi_mqtt.voice.ports import ConversationSetup
from mimi_mqtt.voice.utterance.habits import HabitsCache
from tests.fakes.duplex import FakeS2s
from tests.fakes.session import DEVICE, FakeControlChannel
from tests.fakes.voice import SILENCE, SPEECH, FakeHearing, ScriptedLlm, ScriptedStt, services

pytestmark = pytest.mark.virtual_time

FRAME_S = 0.06
SESSIONS = 4
QUESTION = [SILENCE] * 2 + [SPEECH] * 12 + [SILENCE] * 14
HELLO = {"type": "hello", "version": 3, "transport": "udp", "features": {"mcp": True}}


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Remembered:
    """A session manager whose conversations are remembered weakly."""

    def __init__(self, *answers: list[str], s2s: FakeS2s | None = None) -> None:
        self.services = services(stt=ScriptedStt("what time is it"), llm=ScriptedLlm(*answers), s2s=s2s)
        self.udp = UdpServer(Settings().udp, lambda device_id: b"k" * 16)
        self.refs: list[tuple[str, weakref.ref[Any]]] = []
        self.manager = SessionManager(
            Settings(),
            devices={DEVICE: DeviceInfo(DEVICE, "192.0.2.1", "en")},
            audio_transports={"udp": self.udp},
            agents=AgentCatalog(AgentsInForce(Settings().every_agent)),
            converse=lambda agent: self._converse,
        )
        self.channel = FakeControlChannel()
        self.manager.control_opened(self.channel)

    def _converse(self, setup: ConversationSetup) -> Conversation:
        conversation = Conversation(setup, self.services)
        self._remember(conversation, conversation._context, conversation._engine, setup.output)
        return conversation

    def _remember(self, *things: object) -> None:
        self.refs += [(type(thing).__name__, weakref.ref(thing)) for thing in things if _can(thing)]

    def say(self, message: dict[str, Any]) -> None:
        self.manager.control_message(self.channel, json.dumps(message).encode())

    async def turn(self, mode: str, packets: Sequence[bytes] = QUESTION) -> None:
        """Hello, and a question."""
        self.say(HELLO)
        session = self.manager.session(DEVICE)
        assert session is not None
        (audio,) = self.udp._channels.values()
        audio.uplink._followed = Row(("127.0.0.1", 9), config=0, first=1, highest=1)
        self._remember(session, audio)
        self.say({"type": "listen", "session_id": "", "state": "start", "mode": mode})
        for sequence, packet in enumerate(packets, 1):
            session.audio_received(packet, sequence, 0, asyncio.get_running_loop().time())
            await asyncio.sleep(FRAME_S)

    async def settle(self) -> None:
        """Lets everything end that was begun; a thread forgets its last job with the next one."""
        await asyncio.sleep(60)
        await asyncio.get_running_loop().run_in_executor(self.services.encoders.threads, int)

    def voices(self) -> Counter[str]:
        """Objects of the voice package by class, in memory now."""
        return Counter(
            f"{type(thing).__module__}.{type(thing).__name__}"
            for thing in gc.get_objects()
            if str(type(thing).__module__).startswith("mimi_mqtt.voice.")
        )

    @property
    def alive(self) -> list[str]:
        """What is still in memory of all sessions."""
        return [name for name, ref in self.refs if ref() is not None]


def _can(thing: object) -> bool:
    return hasattr(type(thing), "__weakref__")


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("mode", ["auto", "realtime"])
@pytest.mark.parametrize("ending", ["goodbye", "hello", "in the middle", "idle"])
async def test_ended_sessions_are_gone_without_the_collector(mode: str, ending: str) -> None:
    house = Remembered(*[["Here you are. ", "Anything else?"]] * SESSIONS)
    before = house.voices()
    for _ in range(SESSIONS):
        await house.turn(mode)
        await asyncio.sleep(0.3 if ending == "in the middle" else 8)
        if ending == "idle":
            await asyncio.sleep(150)
        elif ending != "hello":
            house.say({"type": "goodbye", "session_id": ""})
            await asyncio.sleep(1)
    house.say({"type": "goodbye", "session_id": ""})
    await house.settle()
    assert "tts start" in house.channel.story()
    assert len(house.refs) > SESSIONS
    assert isinstance(house.services.hearing, FakeHearing)
    house.services.hearing.ears.clear()
    assert house.alive == []
    house.services.habits = HabitsCache()  # which keeps the habits of one device, however many its sessions
    assert house.voices() - before == Counter()
    await house.manager.aclose()
    house.services.encoders.close()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("mode", ["auto", "realtime"])
async def test_ended_sessions_by_speech_to_speech_are_gone_without_the_collector(mode: str) -> None:
    service = FakeS2s()
    house = Remembered(["Never asked."], s2s=service)
    before = house.voices()
    for _ in range(SESSIONS):
        await house.turn(mode)
        await asyncio.sleep(8)
        house.say({"type": "goodbye", "session_id": ""})
        await asyncio.sleep(1)
    await house.settle()
    assert house.channel.story().count("tts start") >= SESSIONS
    assert isinstance(house.services.hearing, FakeHearing)
    house.services.hearing.ears.clear()
    service.connections.clear()
    assert house.alive == []
    house.services.habits = HabitsCache()  # which keeps the habits of one device, however many its sessions
    assert house.voices() - before == Counter()
    await house.manager.aclose()
    house.services.encoders.close()


@pytest.mark.usefixtures("no_collector")
async def test_ended_sessions_with_real_hearing_are_gone_without_the_collector() -> None:
    vad = build("vad", ProviderSettings(), {})
    await vad.start()
    house = Remembered(["Never asked."])
    hearing = house.services.hearing = HearingPool(vad, 1)
    before = house.voices()
    silence = OpusEncoder(16_000).encode(np.zeros(960, np.int16))
    for _ in range(SESSIONS):
        await house.turn("realtime", [silence] * 20)
        house.say({"type": "goodbye", "session_id": ""})
        await asyncio.sleep(8)
    await house.settle()
    await asyncio.get_running_loop().run_in_executor(hearing._pool, int)
    assert house.alive == []
    house.services.habits = HabitsCache()  # which keeps the habits of one device, however many its sessions
    assert house.voices() - before == Counter()
    await house.manager.aclose()
    house.services.encoders.close()
    await hearing.aclose()
    await vad.aclose()
