"""The API's bench, small: figures that can be true, whatever the machine's speed."""

import argparse
import asyncio
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from mimi_mqtt.cli.bench import _api_database, api
from mimi_mqtt.store import search, statistics
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.viewers import EVERYTHING


async def test_the_database_is_what_the_server_would_have_written(tmp_path: Path) -> None:
    path = tmp_path / "mimi.db"
    store = Store(f"sqlite:///{path}")
    await store.open()
    await store.aclose()
    now = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)
    filled = await asyncio.to_thread(_api_database.fill, path, 30, 2_000, now)
    assert (filled.devices, filled.conversations, filled.turns) == (30, 500, 2_000)
    with closing(sqlite3.connect(path)) as db:
        (devices,) = db.execute("SELECT count(*) FROM devices").fetchone()
        (turns,) = db.execute("SELECT sum(turns) FROM conversations").fetchone()
        (counted,) = db.execute(
            "SELECT sum(turns) FROM daily_statistics WHERE device_id != '' AND role = ''"
        ).fetchone()
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    assert (devices, turns, counted) == (30, 2_000, 2_000)
    await store.open()
    async with store.read() as session:
        (agent, _) = await statistics.read(
            session, EVERYTHING, "agent", filled.last_day.replace(year=2025), filled.last_day, limit=9
        )
        found = await search.find(session, EVERYTHING, _api_database.CHINESE, limit=5)
        rare = await search.find(session, EVERYTHING, _api_database.RARE, limit=5)
    await store.aclose()
    assert agent.agent == "chef"
    assert all(_api_database.CHINESE in each.turn.heard for each in found)
    assert len(found) == 5
    assert [each.turn.id for each in rare] == [1]


async def test_every_part_is_measured() -> None:
    parser = argparse.ArgumentParser()
    api.configure(parser)
    args = parser.parse_args(["--devices", "20", "--turns", "200", "--seconds", "1", "--asks", "3"])
    figures = await asyncio.to_thread(api.measure, args)
    assert figures == json.loads(json.dumps(figures))
    assert (figures["devices"], figures["turns"]) == (20, 200)
    times = [value for name, value in figures.items() if name.endswith(("_ms", "_s")) and name != "filled_s"]
    assert len(times) > 40
    assert all(isinstance(value, int | float) and value > 0 for value in times)
    ratio = figures["ota_ratio_to_reference"]
    assert isinstance(ratio, float)
    assert ratio > 0
