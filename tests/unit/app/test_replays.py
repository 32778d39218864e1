"""Replays for people: who is asked, what is refused, what is left in the audit."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlmodel import select

from mimi_mqtt.app.replays import TurnReplays
from mimi_mqtt.config import Settings
from mimi_mqtt.config.agents import AgentSettings
from mimi_mqtt.errors import Conflict, Invalid, LimitReached, NotFound
from mimi_mqtt.files.recordings import Recordings
from mimi_mqtt.files.uploads import Seer
from mimi_mqtt.memory.history import ConversationHistory
from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import AuditEntry
from mimi_mqtt.store.viewers import Asker
from mimi_mqtt.voice.replay import ReplayOfTurn, ReplayWish
from mimi_mqtt.voice.services import VoiceServices
from mimi_mqtt.wire.ogg import OggOpusReader
from tests.databases import sqlite_store
from tests.fakes.blobs import blobs_in
from tests.fakes.voice import ScriptedLlm, Wait, services
from tests.unit.store.conversation_checks import said, save

ADA = Asker("u-ada", is_admin=True)


class Voices:
    """Stands for the pool: notes the settings, and answers by `made`."""

    def __init__(self) -> None:
        self.made = services()
        self.two = asyncio.Event()
        self.asked: list[tuple[AgentSettings, str]] = []

    @asynccontextmanager
    async def audition(self, settings: Settings, key: str) -> AsyncIterator[VoiceServices]:
        self.asked.append((settings.every_agent[key], key))
        if len(self.asked) == 2:
            self.two.set()
        yield self.made


class House:
    def __init__(self, store: Store, recordings: Recordings) -> None:
        self.store, self.voices = store, Voices()
        chef = AgentSettings(prompt="Cook.", voice="Ava")
        settings = Settings(agents={"chef": {"prompt": "Cook.", "voice": "Ava"}})
        assert settings.every_agent["chef"].voice == chef.voice
        history = ConversationHistory(store, ZoneInfo("UTC"))
        voices: Any = self.voices
        self.replays = TurnReplays(lambda: settings, voices, history, recordings, lambda device_id: None)

    async def again(
        self, id_: str = "s1", number: int = 1, asker: Asker = ADA, who: str = "ada", **wish: str
    ) -> ReplayOfTurn:
        seer = Seer(None if asker.is_admin else asker.user_id)
        return await self.replays.run(asker, seer, Author(who), id_, number, ReplayWish(**wish))


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    store = sqlite_store(tmp_path)
    await store.open()
    await save(
        store, said(), said(number=2, agent="chef"), said(number=3, agent="gone"),
        said(number=4, heard="", reply="Lunch!", kind="announcement"),
    )  # fmt: skip
    made = House(store, Recordings(await blobs_in(store, tmp_path / "files"), keep_days=30))
    yield made
    made.voices.made.encoders.close()
    await store.aclose()


async def test_the_agent_that_answered_is_asked_with_what_is_wished(house: House) -> None:
    found = await house.again(number=2, tts="offline", llm="offline")
    agent, key = house.voices.asked[0]
    assert (key, agent.prompt, agent.tts, agent.llm, agent.stt) == (
        "chef",
        "Cook.",
        ("offline",),
        ("offline",),
        (),
    )
    assert agent.voice is None, "the voice of another provider"
    assert (found.agent, found.replayed.reply) == ("chef", "Hi there.")
    reader = OggOpusReader()
    assert len(reader.feed(found.audio)) == len(found.replayed.packets) > 5
    reader.finish()
    await house.again(number=3)
    await house.again(agent="chef")
    assert [key for _, key in house.voices.asked[1:]] == ["default", "chef"]
    assert house.voices.asked[2][0].voice == "Ava"


async def test_it_is_not_a_turn_but_stands_in_the_audit(house: House) -> None:
    await house.again(tts="offline")
    async with house.store.read() as session:
        (entry,) = (await session.scalars(select(AuditEntry))).all()
    assert (entry.action, entry.target, entry.author) == ("turn.replay", "conversation:s1", "ada")
    assert entry.after is not None
    assert entry.after["turn"] == 1
    assert house.voices.made.log.records == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ({"agent": "nobody"}, "agent: there is no agent 'nobody'"),
        ({"tts": "nothing"}, "tts: there is no provider 'nothing'"),
        ({"stt": "piper"}, "stt: there is no provider 'piper'"),
    ],
)
async def test_what_there_is_none_of_is_refused(house: House, wish: dict[str, str], told: str) -> None:
    with pytest.raises(Invalid, match=told):
        await house.replays.run(ADA, Seer(None), Author("ada"), "s1", 1, ReplayWish(**wish))


async def test_only_what_was_asked_can_be_asked_again(house: House) -> None:
    with pytest.raises(Conflict, match="nothing was asked"):
        await house.again(number=4)
    with pytest.raises(NotFound):
        await house.again(asker=Asker("u-eve"))
    with pytest.raises(NotFound):
        await house.again(number=9)


async def test_a_model_that_acts_is_not_asked(house: House) -> None:
    house.voices.made.llm.has_side_effects = True
    with pytest.raises(Conflict, match="acts by itself"):
        await house.again()


async def test_each_caller_has_one_and_all_have_two(house: House) -> None:
    held = asyncio.Event()
    house.voices.made.llm = ScriptedLlm([Wait(held), "At last."])
    first = asyncio.create_task(house.again(who="ada"))
    second = asyncio.create_task(house.again(who="tim"))
    await house.voices.two.wait()
    with pytest.raises(LimitReached):
        await house.again(who="ada")
    with pytest.raises(LimitReached):
        await house.again(who="bob")
    held.set()
    await asyncio.gather(first, second)
    await house.again(who="bob")
