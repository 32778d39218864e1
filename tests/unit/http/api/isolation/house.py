"""A database for examples: accounts, a group of bob's, and devices of each of them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlmodel import SQLModel

from mimi_mqtt.store import devices
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Device, GroupMember, User, UserGroup
from tests.databases import sqlite_store

NOW = datetime.now(UTC)
BOBS, EVES = "aa-bb-cc-00-11-01", "aa-bb-cc-00-11-02"
NOWHERE = "aa-bb-cc-00-11-99"
"""A device that there is none of."""
PEOPLE = ("ada", "bob", "eve")
HOME = "g-home"


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Store]:
    """The database in a folder, with the accounts, bob's group and two devices."""
    store = sqlite_store(folder)
    await store.open()
    try:
        await add(
            store,
            [
                User(
                    id=f"u-{name}", name=name, folded_name=name, role="admin" if name == "ada" else "member",
                    email=f"{name}@mail.example", created_at=NOW, updated_at=NOW,
                )
                for name in PEOPLE
            ],
            [UserGroup(id=HOME, name="Bob's household", created_at=NOW, updated_at=NOW)],
            [GroupMember(group_id=HOME, user_id="u-bob")],
        )  # fmt: skip
        async with store.write() as session:
            for device in (device_of(BOBS, "u-bob", "Bob's kitchen"), device_of(EVES, "u-eve", "Eve's hall")):
                await devices.save_changed(session, device, NOW)
        yield store
    finally:
        await store.aclose()


def device_of(device_id: str, owner_id: str, name: str = "") -> Device:
    """A device that registered."""
    return Device(
        id=device_id, client_id=f"client-{device_id}", epoch=1, owner_id=owner_id, name=name, revision=0,
        created_at=NOW, updated_at=NOW, last_seen_at=NOW,
    )  # fmt: skip


async def add(store: Store, *tables: Sequence[SQLModel]) -> None:
    """Adds rows, those of one table after those of the table before."""
    async with store.write() as session:
        for rows in tables:
            session.add_all(rows)
            await session.flush()
