"""A session manager among fakes, in virtual time."""

import functools
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from mimi_mqtt.config import SessionSettings, Settings
from mimi_mqtt.events import EventBus
from mimi_mqtt.fleet.agents import AgentCatalog, AgentsInForce
from mimi_mqtt.fleet.directory import DeviceInfo
from mimi_mqtt.session.glyphs.push import GlyphPusher
from mimi_mqtt.session.last_sessions import LastSessions
from mimi_mqtt.session.manager import SessionManager
from mimi_mqtt.session.session import Session
from mimi_mqtt.voice.ports import ConversationSetup
from tests.fakes.reminders import MemoryRows, reminders
from tests.fakes.session import (
    DEVICE,
    OTHER_DEVICE,
    FakeAudioChannel,
    FakeAudioTransport,
    FakeControlChannel,
    FakeConversation,
)

HELLO: dict[str, Any] = {
    "type": "hello",
    "version": 3,
    "transport": "udp",
    "features": {},
    "audio_params": {"format": "opus", "sample_rate": 16000, "channels": 1, "frame_duration": 60},
}


class Devices(dict[str, DeviceInfo]):
    """The devices that may connect."""


@dataclass
class House:
    """A session manager and what surrounds it."""

    settings: Settings = field(
        default_factory=lambda: Settings(session=SessionSettings(idle_timeout_s=30, max_sessions=3))
    )
    devices: Devices = field(default_factory=Devices)
    audio: FakeAudioTransport = field(default_factory=FakeAudioTransport)
    conversations: list[FakeConversation] = field(default_factory=list)
    last: LastSessions | None = None
    events: EventBus = field(default_factory=EventBus)
    glyphs: GlyphPusher | None = None
    rows: MemoryRows = field(default_factory=MemoryRows)

    def __post_init__(self) -> None:
        for device_id in (DEVICE, OTHER_DEVICE):
            self.devices[device_id] = DeviceInfo(device_id, "198.51.100.7", "vi-VN")
        self.manager = self.start()

    def start(self) -> SessionManager:
        """A server, or the same one after a restart."""
        told, self.scheduler = reminders(
            lambda device_id, text: self.manager.announce(device_id, text),
            lambda device_id: self.manager.language_of(device_id),
            self.rows,
        )
        self.scheduler.start()
        return SessionManager(
            self.settings,
            devices=self.devices,
            audio_transports={"udp": self.audio},
            agents=AgentCatalog(AgentsInForce(self.settings.every_agent)),
            converse=lambda agent: functools.partial(self._converse, agent.key),
            last=self.last,
            events=self.events,
            glyphs=self.glyphs,
            reminders=told,
        )

    def _converse(self, agent: str, setup: ConversationSetup) -> FakeConversation:
        conversation = FakeConversation(setup)
        conversation.agent = agent
        self.conversations.append(conversation)
        return conversation

    def connect(self, device_id: str = DEVICE, **properties: Any) -> FakeControlChannel:
        """A device connects."""
        channel = FakeControlChannel(device_id, **properties)
        self.manager.control_opened(channel)
        return channel

    def say(self, channel: FakeControlChannel, message: object) -> None:
        """The device sends a message."""
        self.manager.control_message(channel, json.dumps(message).encode())

    def hello(self, channel: FakeControlChannel, **changes: Any) -> str:
        """The device says hello; its new session's id."""
        self.say(channel, HELLO | changes)
        return str(channel.of_type("hello")[-1]["session_id"])

    def listen(self, channel: FakeControlChannel, session_id: str, mode: str = "auto") -> FakeConversation:
        """The device begins to listen; the conversation that hears it."""
        self.say(channel, {"type": "listen", "session_id": session_id, "state": "start", "mode": mode})
        return self.conversations[-1]

    def session(self, device_id: str = DEVICE) -> Session:
        """The device's live session."""
        session = self.manager.session(device_id)
        assert session is not None
        return session

    @property
    def last_audio(self) -> FakeAudioChannel:
        """The newest session's audio channel."""
        return self.audio.channels[-1]


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    yield house
    await house.scheduler.aclose()
    await house.manager.aclose()
