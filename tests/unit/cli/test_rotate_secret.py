"""`mimi-mqtt rotate-secret`, with a running server and without."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mimi_mqtt.cli import main
from mimi_mqtt.config import Settings
from mimi_mqtt.errors import StoreError
from mimi_mqtt.fleet import secret_files
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.fleet.device_keys import DeviceKeys, ImportedKey
from mimi_mqtt.managed.resources import Change, ManagedResources, opened
from mimi_mqtt.store.audit import COMMAND_LINE
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.managed import with_secrets
from mimi_mqtt.store.tables import ManagedResource
from tests.databases import sqlite_store
from tests.unit.cli.test_server_process import server


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with a secret."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIMI_CONFIG", raising=False)
    data = tmp_path / "data"
    (tmp_path / "broker.yaml").write_text(f"server: {{data_dir: {data}}}\n")
    secret_files.load(data, 0)
    return data


@pytest.mark.parametrize(("arguments", "days"), [([], 30), (["--keep-days", "7"], 7), (["--now"], 0)])
def test_the_secret_is_rotated_without_a_server(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], days: int
) -> None:
    before, now = secret_files.load(folder, 0), time.time()
    assert main(["rotate-secret", *arguments]) == 0
    after = secret_files.load(folder, 0)
    assert after.current != before.current
    assert after.old == (before.current if days else None)
    assert after.old_until == pytest.approx(now + days * 86_400 if days else 0, abs=600)
    assert "the next one that starts" in capsys.readouterr().out


def test_a_second_rotation_within_the_first_says_whom_it_shuts_out(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rotate-secret"]) == 0
    assert "can't connect until it boots" not in capsys.readouterr().out
    assert main(["rotate-secret"]) == 0
    assert "can't connect until it boots" in capsys.readouterr().out


def test_a_running_server_takes_it_over(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with server(folder):
        assert main(["rotate-secret"]) == 0
    assert "the running server uses it" in capsys.readouterr().out


def test_a_server_that_refuses_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with server(folder, "broker.yaml has a mistake"):
        assert main(["rotate-secret"]) == 1
    told = capsys.readouterr().err
    assert "broker.yaml has a mistake" in told
    assert "mimi-mqtt reload" in told


def test_without_a_secret_none_is_made(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / secret_files.SECRET_FILE).unlink()
    assert main(["rotate-secret"]) == 1
    assert "--config" in capsys.readouterr().err
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [["--keep-days", "0"], ["--keep-days", "x"], ["--now", "--keep-days", "3"]]
)
def test_nonsense_is_refused(folder: Path, arguments: list[str]) -> None:
    before = secret_files.load(folder, 0)
    with pytest.raises(SystemExit) as ended:
        main(["rotate-secret", *arguments])
    assert ended.value.code == 2
    assert secret_files.load(folder, 0) == before


async def with_chip_keys(folder: Path, act: Callable[[DeviceKeys], Awaitable[None]]) -> None:
    store = Store(f"sqlite:///{folder / 'mimi.db'}")
    await store.open()
    try:
        await act(DeviceKeys(store, Credentials.load(folder)))
    finally:
        await store.aclose()


async def register(keys: DeviceKeys) -> None:
    await keys.register([ImportedKey("SN-1", b"1" * 32)], datetime.now(UTC))


async def check(keys: DeviceKeys) -> None:
    (row,) = await keys.page("", 10)
    assert keys.is_readable(row)


@pytest.mark.parametrize("arguments", [[], ["--now"]])
def test_keys_of_chips_are_readable_with_the_new_secret_alone(folder: Path, arguments: list[str]) -> None:
    asyncio.run(with_chip_keys(folder, register))
    assert main(["rotate-secret", *arguments]) == 0
    secret_files.delete_old(folder)
    asyncio.run(with_chip_keys(folder, check))


@pytest.mark.parametrize("keys", [DeviceKeys, ManagedResources])
def test_a_rotation_whose_sealing_failed_loses_no_keys_when_it_is_run_again(
    folder: Path, keys: type[object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(with_chip_keys(folder, register))
    before, reseal, calls = secret_files.load(folder, 0), keys.reseal, 0  # type: ignore[attr-defined]

    async def locked(self: object, *given: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 2:  # the first one is before the rotation
            raise StoreError("the database is locked")
        return await reseal(self, *given)

    with monkeypatch.context() as busy:
        busy.setattr(keys, "reseal", locked)
        assert main(["rotate-secret", "--now"]) == 1
    told = capsys.readouterr()
    assert "the database is locked" in told.err
    assert "run this command again" in told.err
    assert "every device is without a connection" not in told.out
    assert secret_files.load(folder, time.time() + 3_600).old == before.current
    assert main(["rotate-secret", "--now"]) == 0
    assert secret_files.load(folder, 0).old is None
    asyncio.run(with_chip_keys(folder, check))


def test_a_database_that_fails_before_the_rotation_leaves_the_secret(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(with_chip_keys(folder, register))
    before = secret_files.load(folder, 0)

    async def locked(_: object) -> int:
        raise StoreError("the database is locked")

    monkeypatch.setattr(DeviceKeys, "reseal", locked)
    assert main(["rotate-secret", "--now"]) == 1
    assert "the database is locked" in capsys.readouterr().err
    assert secret_files.load(folder, 0) == before


@pytest.mark.parametrize("arguments", [[], ["--now"]])
def test_keys_of_providers_outlive_a_rotation_without_a_server(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    async def stored() -> ManagedResource:
        store = sqlite_store(folder)
        await store.open()
        try:
            resources = ManagedResources(store, Credentials.load(folder), {}, Settings)
            if await resources.find("provider", "openai") is None:
                await resources.put(Change("provider", "openai", {}, {"api_key": "sk-1"}), COMMAND_LINE)
            async with store.read() as session:
                (row,) = await with_secrets(session)
            return row
        finally:
            await store.aclose()

    before = asyncio.run(stored())
    for _ in range(2):
        assert main(["rotate-secret", *arguments]) == 0
    after = asyncio.run(stored())
    assert after.secret_id == Credentials.load(folder).secret_id != before.secret_id
    assert opened(after, Credentials.load(folder)).secrets == {"api_key": "sk-1"}
    assert capsys.readouterr().err == ""
