"""Where reminders are kept: the table, and the fake that other tests use in its place."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlmodel import select

from mimi_mqtt.fleet import administration
from mimi_mqtt.store import devices
from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.reminders import ReminderRecord, ReminderTable, sort_key
from mimi_mqtt.store.tables import AuditEntry, Device
from mimi_mqtt.tools.reminders.ports import ReminderRows
from tests.databases import sqlite_store
from tests.fakes.reminders import NOW, MemoryRows

KITCHEN, STUDY = "aa-bb-cc-00-11-22", "aa-bb-cc-00-11-33"
MINUTE = timedelta(minutes=1)


@pytest.fixture(params=["table", "memory"])
def rows(request: pytest.FixtureRequest, store: Store) -> ReminderRows:
    return MemoryRows() if request.param == "memory" else ReminderTable(store)


def record(number: int, device_id: str = KITCHEN, due: datetime | None = NOW) -> ReminderRecord:
    return ReminderRecord(
        id=str(number), device_id=device_id, kind="alarm", text="Guten Morgen 🌞", due_at=due, created_at=NOW,
        expires_s=60, wall=datetime(2026, 11, 27, 13, 0), zone="Europe/Berlin", rule="FREQ=DAILY",
        owner="anna",
    )  # fmt: skip


async def fill(rows: ReminderRows, *records: ReminderRecord) -> None:
    for each in records:
        assert await rows.add(each, most_of_device=9, most=9) is None


async def test_a_record_is_kept_as_it_is(rows: ReminderRows) -> None:
    alarm = record(1)
    timer = ReminderRecord("2", KITCHEN, "timer", "", NOW + MINUTE, NOW, 60, duration_s=60)
    await fill(rows, alarm, timer)
    assert [await rows.get("1"), await rows.get("2"), await rows.get("3")] == [alarm, timer, None]
    assert "Morgen" not in repr(alarm)


async def test_numbers_are_bounded_and_ids_are_given_once(rows: ReminderRows) -> None:
    assert await rows.add(record(1), most_of_device=2, most=3) is None
    assert await rows.add(record(1), most_of_device=2, most=3) == "id"
    assert await rows.add(record(2), most_of_device=2, most=3) is None
    assert await rows.add(record(3), most_of_device=2, most=3) == "device"
    assert await rows.add(record(3, STUDY), most_of_device=2, most=3) is None
    assert await rows.add(record(4, STUDY), most_of_device=2, most=3) == "all"
    ended = await rows.replace([replace(record(1), due_at=None, ended_at=NOW)])
    assert len(ended) == 1
    assert await rows.add(record(4), most_of_device=2, most=3) is None


async def test_those_of_a_device_are_listed_soonest_first(rows: ReminderRows) -> None:
    over = replace(record(4, due=None), ended_at=NOW)
    await fill(rows, record(1, due=NOW + 2 * MINUTE), record(2, due=NOW + MINUTE), record(3, STUDY), over)
    assert [each.id for each in await rows.list(KITCHEN)] == ["2", "1"]
    assert [each.id for each in await rows.list(KITCHEN, ended=True)] == ["4", "2", "1"]
    assert [each.id for each in await rows.list()] == ["3", "2", "1"]


async def test_what_is_due_is_found_longest_due_first(rows: ReminderRows) -> None:
    assert await rows.next_due() is None
    await fill(rows, record(1), record(2, due=NOW - MINUTE), record(3, due=NOW + MINUTE), record(4, due=None))
    assert await rows.next_due() == NOW - MINUTE
    assert [each.id for each in await rows.due(NOW, 9)] == ["2", "1"]
    assert [each.id for each in await rows.due(NOW, 1)] == ["2"]
    assert await rows.due(NOW - 2 * MINUTE, 9) == []


async def test_a_change_from_an_older_record_is_refused(rows: ReminderRows) -> None:
    await fill(rows, record(1), record(2))
    (written,) = await rows.replace([replace(record(1), text="first")])
    assert written.version == 2
    again = await rows.replace([replace(record(1), text="second"), replace(record(2), text="third")])
    assert [each.id for each in again] == ["2"]
    kept = await rows.get("1")
    assert kept is not None
    assert kept == written


async def test_pending_ones_are_found_and_those_of_no_use(rows: ReminderRows) -> None:
    await fill(rows, record(1), record(2), record(3))
    for each in (record(1), record(2)):
        until = NOW + int(each.id) * MINUTE
        await rows.replace([replace(each, due_at=None, pending_at=NOW, pending_until=until)])
    assert [each.id for each in await rows.pending()] == ["1", "2"]
    assert [each.id for each in await rows.pending(expired_by=NOW + MINUTE)] == ["1"]


async def test_records_are_deleted(rows: ReminderRows) -> None:
    await fill(
        rows, record(1), record(2), record(3, STUDY), replace(record(4, STUDY), ended_at=NOW, due_at=None)
    )
    assert await rows.delete("1")
    assert not await rows.delete("1")
    await rows.delete_of_device(KITCHEN)
    await rows.delete_ended(NOW)
    assert [each.id for each in await rows.list(ended=True)] in (["3", "4"], ["4", "3"])
    await rows.delete_ended(NOW + MINUTE)
    assert [each.id for each in await rows.list(ended=True)] == ["3"]


async def test_running_ones_are_moved(rows: ReminderRows) -> None:
    await fill(rows, record(1), record(2), record(3, due=None))
    await rows.shift({"1", "3", "5"}, MINUTE)
    assert {each.id: each.due_at for each in await rows.list()} == {"1": NOW + MINUTE, "2": NOW, "3": None}
    assert not await rows.replace([record(1)])  # made from the record before


@pytest.mark.parametrize("end", [administration.revoke, administration.forget])
async def test_a_device_that_is_revoked_or_forgotten_loses_its_reminders(store: Store, end: object) -> None:
    rows = ReminderTable(store)
    async with store.write() as session:
        for device_id in (KITCHEN, STUDY):
            device = Device(
                id=device_id, client_id="one", revision=0, created_at=NOW, updated_at=NOW, last_seen_at=NOW
            )
            await devices.save_changed(session, device, NOW)
    await fill(rows, record(1), record(2, STUDY))
    assert callable(end)
    await end(store, KITCHEN, NOW)
    assert [each.id for each in await rows.list()] == ["2"]


async def test_pages_follow_each_other_in_the_order_of_lists(rows: ReminderRows) -> None:
    assert isinstance(rows, ReminderTable | MemoryRows)
    ended = replace(record(7, STUDY, None), ended_at=NOW - MINUTE)
    await fill(
        rows, record(1, due=NOW + MINUTE), record(2), record(3, STUDY), record(4, due=NOW + 2 * MINUTE), ended
    )
    assert sorted(await rows.devices()) == [KITCHEN, STUDY]
    for of, with_ended, expected in (
        (None, False, ["2", "3", "1", "4"]), ([KITCHEN], False, ["2", "1", "4"]), ([], False, []),
        ([STUDY], True, ["7", "3"]), (["aa-bb-cc-00-11-99"], True, []),
    ):  # fmt: skip
        found: list[str] = []
        after = None
        while page := await rows.page(of, after, 1, ended=with_ended):
            found += [each.id for each in page]
            after = (sort_key(page[-1]), page[-1].id)
        assert found == expected


async def test_a_change_of_an_older_version_is_not_written(rows: ReminderRows) -> None:
    await fill(rows, record(1))
    author = Author("bob", "u-bob")
    later = replace(record(1), due_at=NOW + MINUTE)
    changed = await rows.change(record(1), later, author)
    assert changed is not None
    assert (changed.version, changed.due_at) == (2, NOW + MINUTE)
    assert await rows.change(record(1), later, author) is None
    assert not await rows.delete("1", author, version=1)
    assert await rows.delete("1", author, version=2)
    assert not await rows.delete("1", author)


async def test_changes_of_people_are_audited_without_their_words(tmp_path: Path) -> None:
    store = sqlite_store(tmp_path)
    await store.open()
    rows, author = ReminderTable(store), Author("bob", "u-bob")
    await rows.add(record(1), most_of_device=9, most=9, author=author)
    await rows.add(record(2), most_of_device=9, most=9)
    await rows.change(record(1), replace(record(1), due_at=NOW + MINUTE), author)
    await rows.delete("1", author, version=1)
    await rows.delete("1", author)
    await rows.delete("1", author)
    await rows.delete("2")
    async with store.read() as session:
        entries = (await session.scalars(select(AuditEntry))).all()
    await store.aclose()
    assert [each.action for each in entries] == ["reminder.create", "reminder.change", "reminder.cancel"]
    assert {each.target for each in entries} == {"reminder:1"}
    assert "Morgen" not in repr([(each.before, each.after) for each in entries])
