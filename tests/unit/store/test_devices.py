from datetime import UTC, datetime, timedelta

from mimi_mqtt.store import devices, tables
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Device

NOW = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


async def add(store: Store, number: int) -> str:
    device_id = f"aa-bb-cc-00-11-{number:02x}"
    async with store.write() as session:
        device = Device(
            id=device_id, client_id="one", revision=0, created_at=NOW, updated_at=NOW, last_seen_at=NOW
        )
        await devices.save_changed(session, device, NOW)
    return device_id


async def test_only_changes_of_concern_are_seen_by_other_directories(store: Store) -> None:
    first, second = await add(store, 1), await add(store, 2)
    async with store.read() as session:
        known = max(found.revision for found in await devices.list_all(session))
    async with store.write() as session:
        await devices.touch(session, {second: LATER})
        await devices.save_report(session, second, {"a": 1}, LATER)
    async with store.read() as session:
        assert await devices.changed_since(session, known) == []
    async with store.write() as session:
        found = await devices.get(session, first, lock=True)
        assert found is not None
        found.epoch += 1
        await devices.save_changed(session, found, LATER)
    async with store.read() as session:
        (changed,) = await devices.changed_since(session, known)
    assert (changed.id, changed.epoch, changed.updated_at) == (first, 2, LATER)


async def test_seen_devices_are_touched_together(store: Store) -> None:
    ids = [await add(store, number) for number in range(3)]
    async with store.write() as session:
        await devices.touch(session, {ids[0]: LATER, ids[2]: LATER})
        await devices.touch(session, {})
    async with store.read() as session:
        assert [found.last_seen_at for found in await devices.list_all(session)] == [LATER, NOW, LATER]


async def test_the_last_report_replaces_the_one_before(store: Store) -> None:
    device_id = await add(store, 1)
    for report in ({"n": 1}, {"n": 2}):
        async with store.write() as session:
            await devices.save_report(session, device_id, report, LATER)
    async with store.read() as session:
        last = await devices.last_report(session, device_id)
    assert last is not None
    assert (last.report, last.received_at) == ({"n": 2}, LATER)


async def test_a_report_beyond_its_bound_is_not_kept(store: Store) -> None:
    device_id = await add(store, 1)
    async with store.write() as session:
        await devices.save_report(session, device_id, {"x": "y" * tables.REPORT_CHARS}, NOW)
    async with store.read() as session:
        last = await devices.last_report(session, device_id)
    assert last is not None
    assert last.report == {}
