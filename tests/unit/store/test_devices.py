from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from mimi_mqtt.store import activations, conversations, devices, tables
from mimi_mqtt.store.devices import Boot, BootFacts
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Activation, Device
from mimi_mqtt.store.turn_record import TurnRecord

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
    return Boot(device_id, "one", LATER, "bread", "bread-name", "2.0", None, report)


def turn(device_id: str, session_id: str, at: datetime = NOW) -> TurnRecord:
    return TurnRecord(session_id, device_id, 1, at, "auto", "hi", "hello", "spoken", {})


async def test_only_changes_of_concern_are_seen_by_other_directories(store: Store) -> None:
    first, second = await add(store, 1), await add(store, 2)
    async with store.write() as session:
        await devices.save_boots(session, [boot(second, {})])
    async with store.read() as session:
        known = max(found.revision for found in await devices.list_all(session))
    async with store.write() as session:
        await devices.touch(session, {second: LATER})
        await devices.save_boots(session, [boot(second, {"a": 1}), Boot(second, "one", LATER)])
    async with store.read() as session:
        assert await devices.changed_since(session, known) == []
    async with store.write() as session:
        found = await devices.get(session, first, lock=True)
        assert found is not None
        found.epoch += 1
        await devices.save_changed(session, found, LATER)
    async with store.read() as session:
        (changed,) = await devices.changed_since(session, known)
    assert (changed.id, changed.epoch, found.updated_at) == (first, 2, LATER)


async def test_changed_facts_of_a_board_are_seen_by_other_directories(store: Store) -> None:
    first, second, third = [await add(store, number) for number in range(3)]
    async with store.write() as session:
        await devices.save_boots(session, [boot(third, {})])
    async with store.read() as session:
        known = max(found.revision for found in await devices.list_all(session))
    modem = Boot(first, "one", LATER, "ml307", "ml307-1", "2.5.0", True, {})
    async with store.write() as session:
        await devices.save_boots(session, [modem, boot(second, {}), boot(third, {})])
    async with store.read() as session:
        changed = {found.id: BootFacts.of(found) for found in await devices.changed_since(session, known)}
    assert changed == {
        first: BootFacts("ml307", "ml307-1", "2.5.0", cellular=True),
        second: BootFacts("bread", "bread-name", "2.0"),
    }


async def test_what_a_device_leaves_out_stays_as_it_was(store: Store) -> None:
    device_id = await add(store, 1)
    async with store.write() as session:
        await devices.save_boots(session, [Boot(device_id, "one", LATER, "ml307", "x", "2.5.0", True, {})])
    async with store.write() as session:
        await devices.save_boots(session, [Boot(device_id, "one", LATER)])
    async with store.read() as session:
        (found,) = await devices.list_all(session)
    assert BootFacts.of(found) == BootFacts("ml307", "x", "2.5.0", cellular=True)


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


async def test_a_forgotten_device_takes_everything_with_it(store: Store) -> None:
    gone, kept = await add(store, 1), await add(store, 2)
    async with store.write() as session:
        await devices.save_boots(session, [boot(gone, {"a": 1}), boot(kept, {"a": 1})])
        await conversations.save_turns(session, [turn(gone, "s1"), turn(kept, "s2")])
    async with store.read() as session:
        known = max(found.revision for found in await devices.list_all(session))
    async with store.write() as session:
        await devices.forget(session, [gone], LATER)
    async with store.read() as session:
        assert [found.id for found in await devices.list_all(session)] == [kept]
        (told,) = await devices.forgotten_since(session, known)
        assert (told.id, told.forgotten_at) == (gone, LATER)
        assert await devices.last_report(session, gone) is None
        assert await devices.last_report(session, kept) is not None
        assert await conversations.latest(session, gone) == []
        assert await conversations.turns(session, "s1") == []
        assert len(await conversations.turns(session, "s2")) == 1


async def test_the_last_words_of_a_forgotten_device_are_not_kept(store: Store) -> None:
    gone, back = await add(store, 1), await add(store, 2)
    async with store.write() as session:
        await devices.forget(session, [gone, back], LATER)
    await add(store, 2)
    async with store.write() as session:
        await conversations.save_turns(session, [turn(gone, "s1"), turn(back, "s2")])
    async with store.read() as session:
        assert await conversations.turns(session, "s1") == []
        assert len(await conversations.turns(session, "s2")) == 1


async def test_a_device_that_comes_back_is_a_later_change_than_its_forgetting(store: Store) -> None:
    device_id = await add(store, 1)
    for _ in range(2):
        async with store.write() as session:
            await devices.forget(session, [device_id], LATER)
        await add(store, 1)
    async with store.read() as session:
        found = await devices.get(session, device_id)
        (told,) = await devices.forgotten_since(session, 0)
    assert found is not None
    assert found.revision > told.revision


async def test_it_is_not_remembered_for_ever_who_was_forgotten(store: Store) -> None:
    first, second = await add(store, 1), await add(store, 2)
    async with store.write() as session:
        await devices.forget(session, [first], NOW)
    async with store.write() as session:
        await devices.forget(session, [], NOW)
        await devices.forget(session, [second], NOW + devices.REMEMBERED + timedelta(seconds=1))
    async with store.read() as session:
        assert [told.id for told in await devices.forgotten_since(session, 0)] == [second]


async def test_unseen_devices_are_those_that_neither_booted_nor_talked(store: Store) -> None:
    silent, talks, boots = [await add(store, number) for number in (1, 2, 3)]
    async with store.write() as session:
        await conversations.save_turns(session, [turn(talks, "s1", LATER), turn(silent, "s2", NOW)])
        await devices.touch(session, {boots: LATER})
    async with store.read() as session:
        assert [found.id for found in await devices.unseen_since(session, LATER)] == [silent]
