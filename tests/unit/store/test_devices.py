from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from mimi_mqtt.store import activations, devices, tables
from mimi_mqtt.store.devices import Boot
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Activation, Device

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


def boot(device_id: str, report: Mapping[str, object]) -> Boot:
    return Boot(device_id, "one", LATER, "bread", "2.0", report)


async def test_only_changes_of_concern_are_seen_by_other_directories(store: Store) -> None:
    first, second = await add(store, 1), await add(store, 2)
    async with store.read() as session:
        known = max(found.revision for found in await devices.list_all(session))
    async with store.write() as session:
        await devices.touch(session, {second: LATER})
        await devices.save_boots(session, [boot(second, {"a": 1})])
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


async def test_devices_that_are_gone_are_not_touched(store: Store) -> None:
    there, gone = await add(store, 1), "aa-bb-cc-00-11-99"
    async with store.write() as session:
        await devices.touch(session, {gone: LATER, there: LATER})
        await devices.save_boots(session, [boot(gone, {}), boot(there, {})])
    async with store.read() as session:
        (found,) = await devices.list_all(session)
        assert await devices.last_report(session, gone) is None
    assert found.last_seen_at == LATER


async def test_the_last_boot_replaces_those_before(store: Store) -> None:
    device_id = await add(store, 1)
    for number in (1, 2, 3, 4):
        async with store.write() as session:
            reports: list[dict[str, object]] = [{"n": 10 * number}, {"n": number}]
            await devices.save_boots(session, [boot(device_id, report) for report in reports])
    async with store.read() as session:
        last = await devices.last_report(session, device_id)
        found = await devices.get(session, device_id)
    assert last is not None
    assert (last.report, last.received_at) == ({"n": 4}, LATER)
    assert found is not None
    assert (found.board, found.firmware_version, found.last_seen_at) == ("bread", "2.0", LATER)


async def test_the_boot_of_a_device_that_was_taken_away_meanwhile_changes_nothing(store: Store) -> None:
    revoked, moved, kept = [await add(store, number) for number in (1, 2, 3)]
    async with store.write() as session:
        for device_id in (revoked, moved, kept):
            session.add(
                Activation(
                    device_id=device_id, client_id="one", code=device_id[-2:], challenge="", created_at=NOW,
                    asked_at=NOW, expires_at=LATER,
                )
            )  # fmt: skip
        for found in await devices.list_all(session):
            found.allowed = found.id != revoked
            found.client_id = "two" if found.id == moved else "one"
    async with store.write() as session:
        await devices.save_boots(session, [boot(device_id, {"a": 1}) for device_id in (revoked, moved, kept)])
    async with store.read() as session:
        assert [found.board for found in await devices.list_all(session)] == ["", "", "bread"]
        assert await devices.last_report(session, revoked) is None
        assert await devices.last_report(session, moved) is None
        waiting = [waiting.device_id for waiting in await activations.list_all(session)]
    assert waiting == [revoked, moved]


async def test_a_report_beyond_its_bound_is_not_kept(store: Store) -> None:
    device_id = await add(store, 1)
    async with store.write() as session:
        await devices.save_boots(session, [boot(device_id, {"x": "y" * tables.REPORT_CHARS})])
    async with store.read() as session:
        last = await devices.last_report(session, device_id)
    assert last is not None
    assert last.report == {}
