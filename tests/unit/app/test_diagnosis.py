"""What the running server finds of problems, by looking and by listening."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from mimi_mqtt.app import diagnosis, firmware
from mimi_mqtt.app.diagnosis import LOOK_EVERY_S, Check, Diagnosis
from mimi_mqtt.app.firmware import stuck_devices
from mimi_mqtt.config import BackupSettings
from mimi_mqtt.errors import StoreError
from mimi_mqtt.events import EventBus, ProviderFailed, ProviderRecovered, SessionOpened, SessionRefused
from mimi_mqtt.http.health import PartHealth
from mimi_mqtt.problems import Problem, Problems, Severity
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import (
    Activation,
    BackupRow,
    Device,
    FirmwareImage,
    RollOut,
    RollOutDevice,
    StoredBlob,
)
from tests.databases import sqlite_store

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = sqlite_store(tmp_path)
    await opened.open()
    yield opened
    await opened.aclose()


async def add_device(store: Store, device_id: str, seen: datetime = NOW) -> None:
    async with store.write() as session:
        session.add(
            Device(
                id=device_id, client_id="", revision=0, created_at=NOW, updated_at=NOW, last_seen_at=seen
            )
        )  # fmt: skip


async def ids(check: Check) -> list[tuple[str, Severity]]:
    return [(each.id, each.severity) for each in await check()]


async def test_a_fleet_without_udp_is_one_problem(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "MAX_DEVICES_TOLD", 2)
    check = diagnosis.devices_over_websocket(store)
    for number, found in ((2, {"device.udp:aa-0", "device.udp:aa-1"}), (3, {"udp"})):
        async with store.write() as session:
            session.add(
                Device(
                    id=f"aa-{number - 1}",
                    client_id="",
                    revision=0,
                    created_at=NOW,
                    updated_at=NOW,
                    last_seen_at=NOW,
                    fallback_at=NOW,
                )
            )
            if number == 2:
                session.add(
                    Device(
                        id="aa-0",
                        client_id="",
                        revision=0,
                        created_at=NOW,
                        updated_at=NOW,
                        last_seen_at=NOW,
                        fallback_at=NOW,
                    )
                )
        assert {id_ for id_, _ in await ids(check)} == found


async def test_parts_that_do_not_work_are_problems() -> None:
    state = {"udp": PartHealth(True), "store": PartHealth(False, "locked")}
    (found,) = await diagnosis.parts(lambda: state)()
    assert (found.id, found.severity) == ("part.store", Severity.ERROR)
    assert "locked" in found.cause


@pytest.mark.parametrize(
    ("free", "found"),
    [(10**9, []), (10**8, [("store.disk", Severity.WARNING)]), (10**7, [("store.disk", Severity.ERROR)])],
)
async def test_a_disk_that_gets_full_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, found: list[object]
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert await ids(diagnosis.disk(tmp_path)) == found


async def test_certificates_that_end_are_problems() -> None:
    told = [("http", "expires in 3 days", False, NOW), ("mqtt", "expired on 2026-01-01", True, NOW)]
    watch = SimpleNamespace(warnings=lambda: told)
    assert await ids(diagnosis.certificates(watch)) == [  # type: ignore[arg-type]
        ("tls.http", Severity.WARNING), ("tls.mqtt", Severity.ERROR),
    ]  # fmt: skip


async def test_a_clock_of_before_this_program_is_a_problem() -> None:
    assert await ids(diagnosis.clock(lambda: 0.0)) == [("clock", Severity.ERROR)]
    assert await ids(diagnosis.clock(NOW.timestamp)) == []


async def test_a_clock_that_was_set_back_is_a_problem_until_it_is_right(store: Store) -> None:
    assert await ids(diagnosis.clock_set_back(store, lambda: NOW)) == []
    await add_device(store, "aa-0", seen=NOW)
    back = NOW - timedelta(hours=1)
    assert await ids(diagnosis.clock_set_back(store, lambda: back)) == [("clock.back", Severity.WARNING)]
    assert await ids(diagnosis.clock_set_back(store, lambda: NOW)) == []


async def test_ports_that_moved_are_problems_and_free_ones_are_not() -> None:
    ports = [("mqtt.bind", 1883, 1884), ("mqtt.tls_bind", 0, 40_123), ("udp.bind", 8884, 8884)]
    (found,) = await diagnosis.moved_ports(lambda: ports)()
    assert (found.id, found.kind) == ("port.mqtt.bind", "port_moved")
    assert found.values == {"key": "mqtt.bind", "wanted": 1883, "used": 1884}


async def test_a_backup_is_old_when_two_were_due_since(store: Store, tmp_path: Path) -> None:
    settings = BackupSettings(folder=tmp_path, passphrase_file=tmp_path / "phrase", every_hours=24)
    started = NOW - timedelta(days=10)
    check = diagnosis.old_backups(store, settings, started, lambda: NOW)
    assert await ids(check) == [("backup.old", Severity.WARNING)]
    assert await ids(diagnosis.old_backups(store, BackupSettings(), started, lambda: NOW)) == []
    assert await ids(diagnosis.old_backups(store, settings, NOW - timedelta(hours=1), lambda: NOW)) == []
    for state, at, number in (("failed", NOW, 1), ("done", NOW - timedelta(days=3), 1), ("done", NOW, 0)):
        async with store.write() as session:
            row = BackupRow(node="n", name=f"{state}{at}", state=state, scheduled=True, started_at=at)
            session.add(row)
        assert len(await ids(check)) == number


async def test_firmware_that_is_stuck_is_a_problem_of_its_device(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    async with store.write() as session:
        session.add(StoredBlob(sha256="0" * 64, bytes=1, object="o", created_at=now, touched_at=now))
        await session.flush()
        image = FirmwareImage(
            board="b", version="2.0.0", channel="stable", chip="esp32", project="p", idf_version="5",
            built="", elf_sha256="", secure_version=0, signed=False, size=1, sha256="0" * 64,
            uploaded_by="ada", created_at=now,
        )  # fmt: skip
        session.add(image)
        await session.flush()
        assert image.id is not None
        rollout = RollOut(
            image_id=image.id, kind="roll-out", state="running", percent=100, channel="stable", devices=[],
            owners=[], groups=[], force=False, halt_after=9, halt_percent=90, come_back_min=15,
            created_by="ada", created_at=now, changed_at=now,
        )  # fmt: skip
        session.add(rollout)
        await session.flush()
        rollout_id = rollout.id
        assert rollout_id is not None
    cases: list[tuple[str, str, int, timedelta | None]] = [
        ("aa-0", "gone", 1, None), ("aa-1", "failed", 1, None), ("aa-2", "failed", 3, None),
        ("aa-3", "downloading", 0, timedelta(minutes=5)), ("aa-4", "downloading", 0, timedelta(hours=2)),
        ("aa-5", "done", 1, None),
    ]  # fmt: skip
    for device_id, progress, attempts, ago in cases:
        await add_device(store, device_id)
        async with store.write() as session:
            session.add(
                RollOutDevice(
                    rollout_id=rollout_id, device_id=device_id, progress=progress, attempts=attempts,
                    offered_at=now, began_at=None if ago is None else now - ago,
                )
            )  # fmt: skip
    found = await stuck_devices(store)
    assert [each.device_id for each in found] == ["aa-0", "aa-2", "aa-4"]
    monkeypatch.setattr(firmware, "MAX_STUCK_TOLD", 2)
    (one,) = await stuck_devices(store)
    assert (one.kind, one.values["count"], one.device_id) == ("rollout_stuck", 3, "")
    async with store.write() as session:
        row = await session.get(RollOut, rollout_id)
        assert row is not None
        row.state = "ended"
    assert list(await stuck_devices(store)) == []


async def test_a_missing_language_model_is_a_problem_with_its_commands() -> None:
    assert await ids(diagnosis.language_model(tuple)) == []
    (found,) = await diagnosis.language_model(lambda: ("ollama pull x",))()
    assert "ollama pull x" in found.cure


async def test_a_database_that_fails_is_a_problem(store: Store) -> None:
    assert await ids(diagnosis.database(store)) == []
    await store.aclose()
    assert await ids(diagnosis.database(store)) == [("store", Severity.ERROR)]


async def test_devices_that_wait_to_be_allowed_are_counted_and_not_named(store: Store) -> None:
    async with store.write() as session:
        for number in range(3):
            session.add(
                Activation(
                    device_id=f"aa-bb-cc-00-11-0{number}", client_id="one", code=f"12345{number}",
                    challenge="c",
                    created_at=NOW, asked_at=NOW, expires_at=NOW + timedelta(minutes=number),
                )
            )  # fmt: skip
    (found,) = await diagnosis.waiting_devices(store, lambda: NOW)()
    assert (found.id, found.cause) == ("devices.waiting", "2 devices wait to be allowed")
    assert await ids(diagnosis.waiting_devices(store, lambda: NOW + timedelta(days=1))) == []


async def test_refusals_are_told() -> None:
    assert await ids(diagnosis.refusals(lambda: "")) == []
    assert await ids(diagnosis.refusals(lambda: "connections: 5 refused")) == [("shares", Severity.INFO)]


@pytest.mark.virtual_time
async def test_failing_providers_are_problems_until_they_work_or_are_replaced() -> None:
    bus = EventBus()
    found = Diagnosis(Problems(), bus, {})
    found.start()
    for name in ("openai", "gemini"):
        bus.publish(ProviderFailed(role="llm", name=name, kind="ProviderTimeout"))
    bus.publish(ProviderRecovered(role="llm", name="openai"))
    assert [each.id for each in await found.current()] == ["provider.llm.gemini"]
    found.reloaded()
    assert await found.current() == []
    found.close()
    bus.publish(ProviderFailed(role="llm", name="gemini", kind="ProviderTimeout"))
    assert await found.current() == []


@pytest.mark.virtual_time
async def test_a_check_that_fails_or_hangs_keeps_no_other_back() -> None:
    looks = 0

    async def good() -> Iterable[Problem]:
        nonlocal looks
        looks += 1
        return [Problem(id="good", severity=Severity.INFO, cause="c", cure="c")]

    async def broken() -> Iterable[Problem]:
        raise RuntimeError("a mistake that nobody foresaw")

    async def locked() -> Iterable[Problem]:
        raise StoreError("locked")

    async def hangs() -> Iterable[Problem]:
        await asyncio.Event().wait()
        return ()

    checks = {"good": good, "broken": broken, "locked": locked, "hangs": hangs}
    found = Diagnosis(Problems(), EventBus(), checks)
    first, second = await asyncio.gather(found.current(), found.current())
    assert [each.id for each in first] == [each.id for each in second] == ["check.broken", "good"]
    assert looks == 1
    await asyncio.sleep(LOOK_EVERY_S)
    await found.current()
    assert looks == 2


@pytest.mark.virtual_time
async def test_a_device_that_was_refused_is_a_problem_until_it_talks() -> None:
    bus = EventBus()
    found = Diagnosis(Problems(), bus, {})
    found.start()
    for device_id in ("aa-bb-cc-00-11-22", "aa-bb-cc-00-11-33"):
        bus.publish(SessionRefused(device_id=device_id, reason="The server has no room."))
    bus.publish(SessionOpened(device_id="aa-bb-cc-00-11-33", session_id="s"))
    (told,) = await found.current()
    assert (told.id, told.device_id) == ("device.hello:aa-bb-cc-00-11-22", "aa-bb-cc-00-11-22")
    assert "no room" in told.cause
    found.close()
