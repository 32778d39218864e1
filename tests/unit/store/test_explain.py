"""Database errors are told with what mends them."""

import errno
import shutil
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from mimi_mqtt.errors import StoreError
from mimi_mqtt.store import devices
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.explain import explain
from tests.unit.store.test_engine import NOW, device

CURE = r"can't grow: the disk is full\. Free some space, .*server\.data_dir.*store\.max_size_mb"


@pytest.mark.databases("sqlite")
async def test_a_disk_that_is_full_is_told_with_its_cure(store: Store) -> None:
    async with store.read() as session:
        pages = (await session.execute(text("PRAGMA page_count"))).scalar_one()

    async def fill() -> None:
        async with store.write() as session:
            await session.execute(text(f"PRAGMA max_page_count={pages}"))
            for number in range(1000):
                await devices.save_changed(session, device(f"device {number}"), NOW)

    with pytest.raises(StoreError, match=CURE):
        await fill()


@pytest.mark.parametrize("reason", ["disk I/O error", "unable to open database file"])
def test_what_sqlite_says_of_a_full_disk_otherwise_is_told_so_too(
    reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = make_url(f"sqlite:///{tmp_path}/mimi.db")
    error = sqlite3.OperationalError(reason)
    assert "full" not in str(explain(error, url))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 0))
    with pytest.raises(StoreError, match=CURE):
        raise explain(error, url)


def test_a_folder_without_room_for_a_new_database_is_told_with_its_cure(tmp_path: Path) -> None:
    error = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(StoreError, match=CURE):
        raise explain(error, make_url(f"sqlite:///{tmp_path}/mimi.db"))
