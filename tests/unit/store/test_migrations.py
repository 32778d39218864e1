"""A database of an older version keeps its devices."""

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from mimi_mqtt.store import devices, migrations
from mimi_mqtt.store.engine import Store


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
