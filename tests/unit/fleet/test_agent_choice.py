"""The choice of a device's agent: stored, in force at once, and audited."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlmodel import select

from mimi_mqtt.config import AccountSettings
from mimi_mqtt.config.agents import DEFAULT_AGENT, AgentSettings
from mimi_mqtt.errors import NotFound
from mimi_mqtt.fleet.accounts import Accounts
from mimi_mqtt.fleet.agent_choice import AgentChoice
from mimi_mqtt.fleet.agents import AgentCatalog, AgentsInForce
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.fleet.directory import DeviceDirectory
from mimi_mqtt.store import devices
from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import AuditEntry, Device
from tests.databases import sqlite_store

DEVICE = "aa-bb-cc-00-11-22"
NOW = datetime(2026, 11, 27, tzinfo=UTC)
BOB = Author("bob", "u-bob", "192.0.2.7")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = sqlite_store(tmp_path)
    await opened.open()
    async with opened.write() as session:
        device = Device(
            id=DEVICE, client_id="one", epoch=1, revision=0, created_at=NOW, updated_at=NOW, last_seen_at=NOW
        )
        await devices.save_changed(session, device, NOW)
    yield opened
    await opened.aclose()


async def test_the_choice_is_stored_in_force_and_audited_once(store: Store, tmp_path: Path) -> None:
    directory = DeviceDirectory(store, Credentials.load(tmp_path), Accounts(AccountSettings()))
    await directory.refresh()
    agents = AgentCatalog(AgentsInForce({DEFAULT_AGENT: AgentSettings(), "chef": AgentSettings()}))
    choice = AgentChoice(store, directory, agents)
    for agent in ("chef", "chef", DEFAULT_AGENT):
        await choice.set_agent(DEVICE, agent, BOB)
        info = directory.get(DEVICE)
        assert info is not None
        assert info.agent == ("" if agent == DEFAULT_AGENT else agent)
    async with store.read() as session:
        entries = (await session.scalars(select(AuditEntry))).all()
    assert [(each.action, each.target, each.before, each.after) for each in entries] == [
        ("device.agent", f"device:{DEVICE}", {"agent": ""}, {"agent": "chef"}),
        ("device.agent", f"device:{DEVICE}", {"agent": "chef"}, {"agent": ""}),
    ]
    assert {(each.author, each.user_id, each.address) for each in entries} == {("bob", "u-bob", "192.0.2.7")}


@pytest.mark.parametrize(("device_id", "agent"), [(DEVICE, "cook"), ("aa-bb-cc-00-11-99", "")])
async def test_what_there_is_not_changes_nothing(
    store: Store, tmp_path: Path, device_id: str, agent: str
) -> None:
    directory = DeviceDirectory(store, Credentials.load(tmp_path), Accounts(AccountSettings()))
    choice = AgentChoice(store, directory, AgentCatalog(AgentsInForce({DEFAULT_AGENT: AgentSettings()})))
    with pytest.raises(NotFound):
        await choice.set_agent(device_id, agent, BOB)
    async with store.read() as session:
        assert (await session.scalars(select(AuditEntry))).all() == []
