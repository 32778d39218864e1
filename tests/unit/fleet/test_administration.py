from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.ext.asyncio import AsyncSession

from mimi_mqtt.errors import FleetError
from mimi_mqtt.fleet import administration, device_settings
from mimi_mqtt.fleet.administration import (
    NeverAsked,
    NotADevice,
    SeveralAskers,
    UnknownCode,
    UnknownDevice,
)
from mimi_mqtt.fleet.device_settings import DeviceChange
from mimi_mqtt.store import activations, conversation_pages, conversations, devices
from mimi_mqtt.store.conversation_pages import AT_ONCE
from mimi_mqtt.store.turn_record import TurnRecord
from tests.unit.fleet.conftest import DEVICE, Fleet, asking, code_for


async def test_allowing_by_id_needs_to_be_unambiguous(fleet: Fleet) -> None:
    provisioner = fleet.provisioner()
    await provisioner.provision(asking("uuid-1"), "10.0.0.1")
    first = await code_for(provisioner, "uuid-2", address="10.0.1.1")
    second = await code_for(provisioner, "uuid-3", address="10.0.1.2")
    with pytest.raises(SeveralAskers) as caught:
        await administration.allow(fleet.store, DEVICE, fleet.clock())
    assert set(caught.value.codes) == {first.code, second.code}
    assert first.code in str(caught.value)
    assert second.code in str(caught.value)
    allowed = await administration.allow(fleet.store, second.code, fleet.clock())
    assert allowed.client_id == "uuid-3"


@pytest.mark.parametrize("spelling", [DEVICE, "AA:BB:CC:00:11:22", " aabbcc001122 "])
async def test_the_only_asker_is_allowed_by_the_devices_address(fleet: Fleet, spelling: str) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    await code_for(provisioner, "uuid-1")
    allowed = await administration.allow(fleet.store, spelling, fleet.clock())
    assert (allowed.id, allowed.allowed, allowed.board) == (DEVICE, True, "bread-compact-wifi")


async def test_allowing_twice_does_not_end_the_credentials_just_given(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    shown = await code_for(provisioner, "uuid-1")
    first = await administration.allow(fleet.store, shown.code, fleet.clock())
    again = await administration.allow(fleet.store, DEVICE, fleet.clock())
    assert first.epoch == again.epoch


async def test_a_code_is_good_once(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    shown = await code_for(provisioner, "uuid-1")
    await administration.allow(fleet.store, shown.code, fleet.clock())
    with pytest.raises(UnknownCode):
        await administration.allow(fleet.store, shown.code, fleet.clock())


@pytest.mark.parametrize("nonsense", ["", "12345", "1234567", "device", "aa-bb-cc", "١٢٣٤٥٦x"])
async def test_what_is_neither_device_nor_code_is_explained(fleet: Fleet, nonsense: str) -> None:
    with pytest.raises(NotADevice, match="nor a code of six digits"):
        await administration.allow(fleet.store, nonsense, fleet.clock())


async def test_unknown_devices_are_explained(fleet: Fleet) -> None:
    with pytest.raises(NeverAsked):
        await administration.allow(fleet.store, DEVICE, fleet.clock())
    with pytest.raises(UnknownDevice):
        await administration.revoke(fleet.store, DEVICE, fleet.clock())
    with pytest.raises(UnknownDevice):
        await device_settings.change(fleet.store, DEVICE, DeviceChange(name="x"), fleet.clock())
    with pytest.raises(UnknownDevice):
        await administration.forget(fleet.store, DEVICE, fleet.clock())


async def test_forgetting_clears_those_who_wait_under_a_devices_name(fleet: Fleet) -> None:
    provisioner = fleet.provisioner(new_devices="activate")
    for number in range(9):
        await code_for(provisioner, f"uuid-{number}", address=f"10.0.1.{number}")
    with pytest.raises(SeveralAskers, match=r"^9 different devices .* and others\)$"):
        await administration.allow(fleet.store, DEVICE, fleet.clock())
    await administration.forget(fleet.store, "AA:BB:CC:00:11:22", fleet.clock())
    await code_for(provisioner, "genuine")
    async with fleet.store.read() as session:
        waiting = await activations.of_device(session, DEVICE)
    assert [asker.client_id for asker in waiting] == ["genuine"]


@pytest.mark.parametrize(
    "error",
    [
        NeverAsked(DEVICE),
        SeveralAskers(DEVICE, ("123456", "234567")),
        UnknownCode("123456"),
        UnknownDevice(DEVICE),
    ],
)
def test_errors_are_of_use_wherever_a_person_decides(error: FleetError) -> None:
    assert "mimi-mqtt" not in str(error)
    assert "`" not in str(error)


@pytest.mark.parametrize("how", ["one", "unseen"])
async def test_a_device_is_forgotten_with_its_conversations_in_short_transactions(
    fleet: Fleet, how: str
) -> None:
    """Other writers wait for each of them."""
    await fleet.provisioner().provision(asking(), "10.0.0.1")
    await fleet.directory.aclose()  # what it said when it booted is written
    said = [
        TurnRecord(f"s{number}", DEVICE, 1, fleet.clock(), "auto", "", "", "spoken", {})
        for number in range(2 * AT_ONCE + 1)
    ]
    async with fleet.store.write() as session:
        await conversations.save_turns(session, said)
    deleted: list[int] = []

    def note(_: Connection, cursor: DBAPICursor, statement: str, *rest: object) -> None:
        if statement.startswith("DELETE FROM conversations"):
            deleted.append(cursor.rowcount)

    engine = fleet.store._opened().sync_engine
    event.listen(engine, "after_cursor_execute", note)
    try:
        if how == "one":
            await administration.forget(fleet.store, DEVICE, fleet.clock())
        else:
            soon = fleet.clock() + timedelta(seconds=1)
            assert await administration.forget_unseen(fleet.store, soon, soon) == [DEVICE]
    finally:
        event.remove(engine, "after_cursor_execute", note)
    async with fleet.store.read() as session:
        assert await devices.list_all(session) == []
    assert sum(deleted) == len(said)
    assert max(deleted) <= AT_ONCE


async def test_a_device_that_came_back_is_not_forgotten_for_having_been_away(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fleet.provisioner().provision(asking(), "10.0.0.1")
    await fleet.directory.aclose()
    soon = fleet.clock() + timedelta(seconds=1)
    deletes = conversation_pages.forget_devices

    async def comes_back(session: AsyncSession, ids: Sequence[str], **bounds: Any) -> int:
        await devices.touch(session, {DEVICE: soon})
        return await deletes(session, ids, **bounds)

    monkeypatch.setattr(conversation_pages, "forget_devices", comes_back)
    assert await administration.forget_unseen(fleet.store, soon, soon) == []
    async with fleet.store.read() as session:
        assert [device.id for device in await devices.list_all(session)] == [DEVICE]


async def test_what_a_device_said_when_it_was_back_keeps_it_and_stays(fleet: Fleet) -> None:
    """The time at which it was seen is written later than its turns are."""
    await fleet.provisioner().provision(asking(), "10.0.0.1")
    await fleet.directory.aclose()
    seen, back = fleet.clock() + timedelta(seconds=1), fleet.clock() + timedelta(hours=1)
    said = [
        TurnRecord(name, DEVICE, 1, at, "auto", "", "", "spoken", {})
        for name, at in (("old", fleet.clock()), ("new", back))
    ]
    async with fleet.store.write() as session:
        await conversations.save_turns(session, said)
        assert await conversation_pages.forget_devices(session, [DEVICE], before=seen) == 1
        assert await conversation_pages.forget_devices(session, [DEVICE], before=seen) == 0
    assert await administration.forget_unseen(fleet.store, seen, back) == []
