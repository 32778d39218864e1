from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import select

from mimi_mqtt.errors import Forbidden, Invalid
from mimi_mqtt.fleet import administration, ownership
from mimi_mqtt.fleet.administration import UnknownDevice
from mimi_mqtt.fleet.device_settings import DeviceChange, change
from mimi_mqtt.memory.recent import RecentTurns
from mimi_mqtt.store import conversations
from mimi_mqtt.store.tables import Conversation, OtaReport, Reminder, WaitingNotice
from mimi_mqtt.store.turn_record import TurnRecord
from tests.unit.fleet.conftest import DEVICE, Fleet, asking, code_for, password_of
from tests.unit.fleet.test_claiming import ADMIN, BOB, EVE, claims, device, person


class People:
    """Bob, Eve and a group. Implements `ownership.People`."""

    async def has_user(self, user_id: str) -> bool:
        return user_id in ("u-bob", "u-eve")

    async def has_group(self, group_id: str) -> bool:
        return group_id == "g-home"


async def owned_by_bob(fleet: Fleet) -> bytes:
    provisioner = fleet.provisioner(new_devices="activate")
    shown = await code_for(provisioner, "uuid-1")
    await claims(fleet).claim(shown.code, BOB)
    return password_of(await provisioner.provision(asking("uuid-1"), "10.0.0.1"))


async def test_a_device_that_moves_gets_other_credentials(fleet: Fleet) -> None:
    old = await owned_by_bob(fleet)
    assert fleet.directory.authenticate(DEVICE, DEVICE, old) is not None
    await ownership.transfer(fleet.store, DEVICE, "u-eve", fleet.clock(), People(), BOB)
    moved: list[bool] = []
    fleet.directory.on_revoked = lambda device_id: moved.append(fleet.directory.has_moved(device_id))
    await fleet.directory.refresh()
    assert moved == [True]
    assert fleet.directory.authenticate(DEVICE, DEVICE, old) is None
    new = password_of(await fleet.provisioner().provision(asking("uuid-1"), "10.0.0.1"))
    assert fleet.directory.authenticate(DEVICE, DEVICE, new) is not None
    await administration.rotate(fleet.store, DEVICE, fleet.clock(), EVE)
    await fleet.directory.refresh()
    assert moved == [True, False]


async def test_the_new_owner_finds_nothing_of_the_old_one(fleet: Fleet) -> None:
    await owned_by_bob(fleet)
    mine = DeviceChange(
        name="Bob's", user_name="Bob", room="Bedroom", tags=("mine",), notes="key under the mat", agent="x"
    )
    await change(fleet.store, DEVICE, mine, fleet.clock(), BOB)
    said_at = fleet.clock()
    async with fleet.store.write() as session:
        record = TurnRecord("s1", DEVICE, 1, said_at, "auto", "my secret", "kept", "answered", {})
        await conversations.save_turns(session, [record])
        session.add(
            Reminder(
                id="r1", version=1, device_id=DEVICE, kind="timer", text="pills", duration_s=1, wall="",
                zone="", rule="", expires_s=1, created_at=said_at,
            )
        )  # fmt: skip
        session.add(
            WaitingNotice(
                id="n1", device_id=DEVICE, text="for Bob", urgent=False, shown=False, tries=0,
                created_at=said_at, expires_at=said_at + timedelta(days=1),
            )
        )  # fmt: skip
    assert "my secret" in await RecentTurns(fleet.store).recall(DEVICE, "s2")
    fleet.clock.advance(minutes=1)
    await ownership.transfer(fleet.store, DEVICE, "u-eve", fleet.clock(), People(), BOB)
    row = await device(fleet)
    assert (row.name, row.user_name, row.room, row.tags, row.notes, row.agent) == ("", "", "", [], "", "")
    assert "mine" not in row.search
    async with fleet.store.read() as session:
        for table in (Reminder, WaitingNotice, OtaReport):
            assert not (await session.scalars(select(table))).all()
        assert len((await session.scalars(select(Conversation))).all()) == 1  # the old owner's
    assert await RecentTurns(fleet.store).recall(DEVICE, "s2") == ""


async def test_a_turn_that_is_written_late_is_not_told_to_the_new_owner(fleet: Fleet) -> None:
    await owned_by_bob(fleet)
    began = fleet.clock()
    fleet.clock.advance(minutes=1)
    await ownership.transfer(fleet.store, DEVICE, "u-eve", fleet.clock(), People(), BOB)
    late = fleet.clock() + timedelta(seconds=1)
    async with fleet.store.write() as session:
        for number, at in ((1, began), (2, late)):
            record = TurnRecord("s1", DEVICE, number, at, "auto", "my secret", "kept", "answered", {})
            await conversations.save_turns(session, [record])
    assert await RecentTurns(fleet.store).recall(DEVICE, "s2") == ""


async def test_a_device_of_nobody_is_assigned_without_an_interruption(fleet: Fleet) -> None:
    right = password_of(await fleet.provisioner().provision(asking("uuid-1"), "10.0.0.1"))
    await ownership.transfer(fleet.store, DEVICE, "u-bob", fleet.clock(), People(), ADMIN)
    await fleet.directory.refresh()
    assert fleet.directory.authenticate(DEVICE, DEVICE, right) is not None
    assert fleet.revoked == []


async def test_only_the_owner_and_administrators_give_a_device_away(fleet: Fleet) -> None:
    await owned_by_bob(fleet)
    await ownership.share(
        fleet.store, DEVICE, "g-home", fleet.clock(), People(), person("bob", "192.0.2.7", "g-home")
    )
    with pytest.raises(UnknownDevice):
        await ownership.transfer(fleet.store, DEVICE, "u-eve", fleet.clock(), People(), EVE)
    friend = person("eve", "198.51.100.9", "g-home")
    with pytest.raises(Forbidden):
        await ownership.transfer(fleet.store, DEVICE, "u-eve", fleet.clock(), People(), friend)
    with pytest.raises(Invalid, match="no user"):
        await ownership.transfer(fleet.store, DEVICE, "u-nobody", fleet.clock(), People(), BOB)
    with pytest.raises(Invalid, match="no group"):  # he is not in it
        await ownership.share(fleet.store, DEVICE, "g-home", fleet.clock(), People(), BOB)


async def test_what_a_device_may_do_is_audited_with_its_author(fleet: Fleet) -> None:
    from mimi_mqtt.store.tables import AuditEntry

    await owned_by_bob(fleet)
    await ownership.transfer(fleet.store, DEVICE, "u-eve", fleet.clock(), People(), BOB)
    await administration.revoke(fleet.store, DEVICE, fleet.clock(), EVE)
    await administration.forget(fleet.store, DEVICE, fleet.clock(), EVE)
    async with fleet.store.read() as session:
        told = (await session.scalars(select(AuditEntry).order_by(AuditEntry.id))).all()  # type: ignore[arg-type]
    assert [(entry.action, entry.author) for entry in told] == [
        ("device.claim", "bob"),
        ("device.transfer", "bob"),
        ("device.revoke", "eve"),
        ("device.forget", "eve"),
    ]
    assert (told[1].before, told[1].after) == ({"owner_id": "u-bob"}, {"owner_id": "u-eve"})
    assert told[0].at.tzinfo is UTC or told[0].at <= datetime.now(UTC)
