"""Reminders of a whole server: told on a device, across restarts and a kill, and by two processes once."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.reminders import ReminderTable
from mimi_mqtt.tools.reminders import scheduler as scheduling
from mimi_mqtt.tools.reminders.ports import Told
from mimi_mqtt.tools.reminders.scheduler import ReminderScheduler
from mimi_mqtt.tools.reminders.service import Reminders
from tests.databases import sqlite_store
from tests.integration.test_app import boot, device, running, told, until

pytestmark = pytest.mark.timeout(60)

KITCHEN = "aa-bb-cc-00-11-01"


@asynccontextmanager
async def command_line(folder: Path) -> AsyncIterator[Reminders]:
    """Another process on the same database."""
    store = sqlite_store(folder)
    await store.open()
    try:
        yield Reminders(ReminderTable(store), "Etc/UTC")
    finally:
        await store.aclose()


async def until_left(reminders: Reminders | ReminderTable, number: int) -> None:
    """Until so many are set, or are still to be told."""
    while len(await reminders.list()) > number:  # noqa: ASYNC110 - what is waited for has no event of its own
        await asyncio.sleep(0.02)


def client_of(port: int) -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=60.0, base_url=f"http://127.0.0.1:{port}", trust_env=False)


async def test_an_idle_device_is_told_a_reminder_that_was_set_an_hour_before_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as app, client_of(app.http_port) as client, command_line(tmp_path) as others:
        await boot(client, 1)
        at = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0, tzinfo=None)
        await others.set_reminder(KITCHEN, at.isoformat(), "call mum")
    async with (
        running(tmp_path) as app,
        client_of(app.http_port) as client,
        device(await boot(client, 1)) as connection,
    ):
        await until(lambda: app.health()["mqtt"].detail.endswith("1 devices, 0 others"))
        later = at.replace(tzinfo=UTC) + timedelta(seconds=1) - datetime.now(UTC)
        monkeypatch.setattr(scheduling, "utc_now", lambda: datetime.now(UTC) + later)
        message = await told(connection)
    assert (message["type"], message["message"]) == ("alert", "Reminder: call mum.")


async def test_a_device_that_was_away_is_told_when_it_connects(tmp_path: Path) -> None:
    async with running(tmp_path) as app, client_of(app.http_port) as client, command_line(tmp_path) as others:
        access = await boot(client, 1)
        timer = await others.set_timer(KITCHEN, 1, "tea")
        while (await others.list())[0].pending_at is None:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)
        async with device(access) as connection:
            message = await told(connection)
        await until_left(others, 0)
        (kept,) = await others.list(ended=True)
    assert message["message"].startswith("Your tea timer ")
    assert (kept.id, kept.told_at is not None) == (timer.id, True)


async def test_a_device_that_is_revoked_is_told_nothing_more(tmp_path: Path) -> None:
    async with running(tmp_path) as app, client_of(app.http_port) as client, command_line(tmp_path) as others:
        await boot(client, 1)
        await others.set_timer(KITCHEN, 3_600, "tea")
        app._parts.live.sessions.disconnect("aa-bb-cc-00-11-99", "revoked")  # of another device
        await others.set_timer("aa-bb-cc-00-11-99", 1)
        await until_left(others, 1)
        assert [record.device_id for record in await others.list(ended=True)] == [KITCHEN]


KILLED = """
import asyncio, sys
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.reminders import ReminderTable
from mimi_mqtt.tools.reminders.scheduler import ReminderScheduler
from mimi_mqtt.tools.reminders.service import Reminders

async def tells(device_id, text, expires_s):
    print("telling", flush=True)
    await asyncio.sleep(3600)
    return "told"

async def main():
    store = Store(sys.argv[1])
    await store.open()
    rows = ReminderTable(store)
    scheduler = ReminderScheduler(rows, tells)
    scheduler.start()
    await Reminders(rows, "Etc/UTC").set_timer("aa-bb-cc-00-11-01", 1, "tea")
    await asyncio.sleep(3600)

asyncio.run(main())
"""


async def test_a_server_that_is_killed_between_marking_and_telling_tells_it_late(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'mimi.db'}"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, url, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"telling\n"
    process.send_signal(signal.SIGKILL)
    await process.wait()

    store, said = Store(url), asyncio.Queue[str]()

    async def tells(device_id: str, text: str, expires_s: float) -> Told:
        said.put_nowait(text)
        return "told"

    await store.open()
    rows = ReminderTable(store)
    later = ReminderScheduler(rows, tells, now=lambda: datetime.now(UTC) + timedelta(minutes=5))
    later.start()
    assert await said.get() == "Your tea timer was done 5 minutes ago."
    await until_left(rows, 0)
    await later.aclose()
    await store.aclose()
    assert said.empty()


async def test_two_processes_on_one_database_tell_it_once(tmp_path: Path) -> None:
    stores = [sqlite_store(tmp_path) for _ in range(2)]
    said: list[str] = []

    async def tells(device_id: str, text: str, expires_s: float) -> Told:
        said.append(device_id)
        return "told"

    schedulers = []
    for store in stores:
        await store.open()
        schedulers.append(ReminderScheduler(ReminderTable(store), tells))
    reminders = Reminders(ReminderTable(stores[0]), "Etc/UTC")
    for number in range(40):
        await reminders.set_timer(f"device {number}", 1)
    for scheduler in schedulers:
        scheduler.start()
    await until_left(reminders, 0)
    for scheduler, store in zip(schedulers, stores, strict=True):
        await scheduler.aclose()
        await store.aclose()
    assert sorted(said) == sorted(f"device {number}" for number in range(40))
