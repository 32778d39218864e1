"""A database of an older version keeps its devices."""

import asyncio
import json
import sqlite3
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, inspect

from mimi_mqtt.store import device_lists, devices, migrations, people, search, statistics
from mimi_mqtt.store.conversations import ConversationLog
from mimi_mqtt.store.device_lists import DeviceQuery
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Device, User
from mimi_mqtt.store.viewers import EVERYTHING

pytestmark = pytest.mark.databases("sqlite")


async def _move(store: Store, revision: str) -> None:
    def move(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        config.attributes["connection"] = connection
        command.downgrade(config, revision)

    async with store.write() as session:
        await (await session.connection()).run_sync(move)


async def test_devices_of_before_agents_have_the_default_one(store: Store, tmp_path: Path, url: str) -> None:
    await _move(store, "0002")
    await store.aclose()
    with sqlite3.connect(tmp_path / "mimi.db") as connection:
        assert "agent" not in {row[1] for row in connection.execute("PRAGMA table_info(devices)")}
        connection.execute(
            "INSERT INTO devices VALUES ('aa-bb-cc-00-11-22', 'one', 1, 1, NULL, 'Kitchen', "
            "'', '', '', '', '', 1, '2026-08-01 12:00:00', '2026-08-01 12:00:00', '2026-08-01 12:00:00')"
        )
    connection.close()
    again = Store(url)
    await again.open()
    async with again.read() as session:
        (found,) = await devices.list_all(session)
    await again.aclose()
    assert (found.name, found.agent, found.user_name) == ("Kitchen", "", "")


async def test_devices_of_before_addresses_were_kept_are_given_up_for_nobody(
    store: Store, tmp_path: Path, url: str
) -> None:
    await _move(store, "0005")
    await store.aclose()
    at = "2026-08-01 12:00:00"
    with sqlite3.connect(tmp_path / "mimi.db") as connection:
        connection.execute(
            "INSERT INTO devices VALUES "
            "('aa-bb-cc-00-11-22', 'one', 1, 1, NULL, '', '', '', '', '', '', 1, ?, ?, ?, '', '', '', 0)",
            (at, at, at),
        )
    connection.close()
    again = Store(url)
    await again.open()
    async with again.read() as session:
        (found,) = await devices.list_all(session)
        idle = await devices.never_connected(session, datetime.now(UTC))
    await again.aclose()
    assert (found.address, found.secret_id, found.connected_at) == ("", "", None)
    assert idle is None


async def test_reports_of_before_lose_what_identifies_a_sim_card(
    store: Store, tmp_path: Path, url: str
) -> None:
    await _move(store, "0003")
    await store.aclose()
    at = "2026-08-01 12:00:00"
    reports = {
        "aa-bb-cc-00-11-01": {
            "board": {"type": "ml307", "imei": "868123456789012", "cereg": {"ci": "0A1B2C"}}
        },
        "aa-bb-cc-00-11-02": {"board": {"type": "bread", "ssid": "home"}},
    }
    with sqlite3.connect(tmp_path / "mimi.db") as connection:
        for device_id, report in reports.items():
            connection.execute(
                "INSERT INTO devices VALUES "
                "(?, 'one', 1, 1, NULL, '', '', '', '', '', '', 1, ?, ?, ?, '', '')",
                (device_id, at, at, at),
            )
            connection.execute(
                "INSERT INTO ota_reports VALUES (?, ?, ?)", (device_id, at, json.dumps(report))
            )
    connection.close()
    again = Store(url)
    await again.open()
    async with again.read() as session:
        found = await devices.list_all(session)
        kept = [await devices.last_report(session, device.id) for device in found]
    await again.aclose()
    assert [device.cellular for device in found] == [True, False]
    assert [report.report if report is not None else None for report in kept] == [
        None,
        reports["aa-bb-cc-00-11-02"],
    ]
    assert b"868123456789012" not in (tmp_path / "mimi.db").read_bytes()


async def test_owners_go_with_their_columns_and_devices_stay(store: Store, tmp_path: Path, url: str) -> None:
    at = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)
    async with store.write() as session:
        device = Device(
            id="aa-bb-cc-00-11-22", client_id="one", name="K\u00fcche", owner_id="u-bob", tags=["a"],
            revision=0, created_at=at, updated_at=at, last_seen_at=at,
        )  # fmt: skip
        await devices.save_changed(session, device, at)
    await _move(store, "0010")
    await store.aclose()
    with sqlite3.connect(tmp_path / "mimi.db") as connection:
        columns = {row[1] for row in connection.execute("PRAGMA table_info(devices)")}
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    connection.close()
    assert not {"owner_id", "tags", "search", "owned_since"} & columns
    assert not {"seen_devices", "device_keys", "ota_requests", "boards", "ix_devices_owner"} & tables
    assert "ix_devices_last_seen_at" in tables
    again = Store(url)
    await again.open()
    async with again.read() as session:
        (found,) = await devices.list_all(session)
        searched = await device_lists.page(session, DeviceQuery(search="11-22"), None, 10)
    await again.aclose()
    assert (found.name, found.owner_id, found.tags, found.auto_update) == ("K\u00fcche", "", [], True)
    assert [device.id for device in searched] == ["aa-bb-cc-00-11-22"]


async def test_managed_resources_can_be_taken_back_and_made_again(store: Store, url: str) -> None:
    def tables(connection: Connection) -> set[str]:
        return set(inspect(connection).get_table_names())

    async def found(opened: Store) -> set[str]:
        async with opened.read() as session:
            return await (await session.connection()).run_sync(tables)

    assert {"managed", "managed_versions"} <= await found(store)
    await _move(store, "0010")
    assert not {"managed", "managed_versions"} & await found(store)
    await store.aclose()
    again = Store(url)
    await again.open()
    assert {"managed", "managed_versions"} <= await found(again)
    await again.aclose()


async def test_turns_of_before_are_counted_and_found_after_the_start(
    store: Store, tmp_path: Path, url: str
) -> None:
    await _move(store, "0012")
    await store.aclose()
    at = "2026-08-01 12:00:00"
    with sqlite3.connect(tmp_path / "mimi.db") as connection:
        connection.execute("INSERT INTO conversations VALUES ('s1', 'aa-bb-cc-00-11-22', ?, ?)", (at, at))
        for number in (1, 2):
            connection.execute(
                "INSERT INTO turns VALUES (NULL, 's1', ?, ?, 'auto', 'the lamp', 'Yes.', 'answered', "
                "'{\"first_audio\": 800.0}', '[]')",
                (number, at),
            )
    connection.close()
    again = Store(url)
    await again.open()
    log = ConversationLog(again, keep_days=36_500)
    await log.start()
    viewed = {"since": date(2026, 8, 1), "until": date(2026, 8, 1), "limit": 9}
    async with asyncio.timeout(20):
        while log._backfill._loop._task is None or not log._backfill._done:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.01)
    async with again.read() as session:
        (day,) = await statistics.read(session, EVERYTHING, "day", **viewed)  # type: ignore[arg-type]
        found = await search.find(session, EVERYTHING, "lamp", limit=9)
    assert log.healthy
    await log.aclose()
    await again.aclose()
    assert day.numbers["turns"] == 2
    assert day.p50_ms == pytest.approx(800, rel=0.1)
    assert [each.turn.number for each in found] == [2, 1]
    assert (found[0].conversation.turns, found[0].conversation.owner_id) == (2, "")


async def test_people_of_before_are_found_by_their_names(store: Store, url: str) -> None:
    at = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)
    async with store.write() as session:
        bob = User(
            id="u-bob", name="bob", folded_name="bob", display_name="Bob STRAUß", role="member",
            created_at=at, updated_at=at,
        )  # fmt: skip
        session.add(bob)
    await _move(store, "0025")
    await store.aclose()
    again = Store(url)
    await again.open()
    async with again.read() as session:
        found = [user.name for user in await people.users(session, 5, text="strauss")]
    await again.aclose()
    assert found == ["bob"]
