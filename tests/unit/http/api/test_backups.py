"""Backups and the database over the REST API: for administrators."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mimi_mqtt.backup.making import make
from mimi_mqtt.backup.ports import Installation
from mimi_mqtt.backup.scheduling import Backups
from mimi_mqtt.config import BackupSettings
from mimi_mqtt.fleet.secret_files import SECRET_FILE
from mimi_mqtt.store import backups as rows
from mimi_mqtt.store.audit import AuditFilter, entries
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.migrations import HEAD
from tests.fakes import api


@pytest.fixture
def backups(store: Store, tmp_path: Path) -> Backups:
    settings = BackupSettings(folder=tmp_path / "backups", passphrase_file=tmp_path / "words")
    return Backups(store, settings, {}, node="here")


async def test_a_backup_is_begun_and_listed(backups: Backups) -> None:
    async with api.client(backups=backups) as client:
        begun = await client.post("/backups")
        assert begun.status_code == 202
        assert begun.json()["state"] == "running"
        assert (await client.post("/backups")).status_code == 409
        listed = (await client.get("/backups")).json()
        assert [each["id"] for each in listed["items"]] == [begun.json()["id"]]
        assert listed["next"] is None


async def test_lists_have_pages(backups: Backups, store: Store) -> None:
    at = datetime(2026, 8, 1, tzinfo=UTC)
    for number in range(5):
        async with store.write() as session:
            row = await rows.begin(session, at, node="n", name=f"b{number}", every=None, retry=timedelta())
            assert row is not None
            assert row.id is not None
            await rows.end(session, row.id, at, size=1)
    names: list[str] = []
    async with api.client(backups=backups) as client:
        page = (await client.get("/backups", params={"limit": 2})).json()
        while page["next"] is not None:
            names += [each["name"] for each in page["items"]]
            page = (await client.get("/backups", params={"limit": 2, "cursor": page["next"]})).json()
        names += [each["name"] for each in page["items"]]
    assert names == ["b4", "b3", "b2", "b1", "b0"]


async def test_without_a_folder_it_is_told_what_to_set(store: Store) -> None:
    async with api.client(backups=Backups(store, BackupSettings(), {})) as client:
        refused = await client.post("/backups")
    assert refused.status_code == 422
    assert "backup.folder" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/backups"), ("POST", "/backups"), ("GET", "/database"), ("GET", "/backups/1"),
        ("GET", "/backups/1/content"), ("POST", "/backups/1/check"), ("DELETE", "/backups/1"),
    ],
)  # fmt: skip
async def test_members_have_no_access(method: str, path: str) -> None:
    for caller, status in (("bob", 403), ("eve", 403), ("", 401)):
        async with api.client(as_=caller) as client:
            assert (await client.request(method, path)).status_code == status


async def test_the_database_is_told_without_its_password(store: Store) -> None:
    async with api.client(database=store) as client:
        told = (await client.get("/database")).json()
    assert told["kind"] == ("sqlite" if store.is_sqlite else "postgresql")
    assert told["schema_revision"] == told["newest_schema_revision"] == HEAD
    assert told["bytes"] > 10_000
    assert (told["problem"], told["copies"]) == ("", [])


NAME = "mimi-20260801T120000Z.backup"


async def done(store: Store, *, name: str = NAME, node: str = "here", problem: str = "") -> int:
    """A backup that ended."""
    async with store.write() as session:
        row = await rows.begin(
            session, datetime.now(UTC), node=node, name=name, every=None, retry=timedelta(), author="ada"
        )
        assert row is not None
        assert row.id is not None
        await rows.end(session, row.id, datetime.now(UTC), size=None if problem else 6, problem=problem)
    return row.id


async def audited(store: Store, action: str) -> list[dict[str, object]]:
    async with store.read() as session:
        return [each.after or each.before for each in await entries(session, AuditFilter(action=action), 9)]


async def test_a_backup_is_downloaded_as_it_is(backups: Backups, store: Store, tmp_path: Path) -> None:
    (tmp_path / "backups").mkdir()
    (tmp_path / "backups" / NAME).write_bytes(b"sealed")
    number = await done(store)
    async with api.client(backups=backups) as client:
        assert (await client.get(f"/backups/{number}")).json()["author"] == "ada"
        reply = await client.get(f"/backups/{number}/content")
        assert reply.content == b"sealed"
        assert NAME in reply.headers["content-disposition"]
        assert reply.headers["cache-control"] == "no-store"
        part = await client.get(f"/backups/{number}/content", headers={"Range": "bytes=2-3"})
        assert (part.status_code, part.content) == (206, b"al")
    assert await audited(store, "backup.download") == [{"file": NAME}, {"file": NAME}]


async def test_what_is_not_here_is_told(backups: Backups, store: Store) -> None:
    lost, failed = await done(store), await done(store, problem="no room")
    async with api.client(backups=backups) as client:
        for number, status, word in (
            (lost, 409, "not in this server's"),
            (failed, 409, "not done"),
            (99, 404, ""),
        ):
            for method, path in (("GET", "content"), ("POST", "check")):
                reply = await client.request(method, f"/backups/{number}/{path}", json={"passphrase": "x"})
                assert reply.status_code == status
                assert word in reply.json()["detail"]
        assert (await client.get("/backups/99")).status_code == 404


async def test_a_name_in_the_database_is_no_path(backups: Backups, store: Store, tmp_path: Path) -> None:
    """Whoever can write the database gets no other file through a download, and deletes none."""
    (tmp_path / "secret").write_text("secret")
    number = await done(store, name="../secret")
    async with api.client(backups=backups) as client:
        assert (await client.get(f"/backups/{number}/content")).status_code == 409
        assert (await client.delete(f"/backups/{number}")).status_code == 204
    assert (tmp_path / "secret").exists()


async def test_a_backup_is_deleted_with_its_file(backups: Backups, store: Store, tmp_path: Path) -> None:
    (tmp_path / "backups").mkdir()
    file = tmp_path / "backups" / NAME
    file.write_bytes(b"sealed")
    number, elsewhere = (
        await done(store),
        await done(store, name="mimi-20260801T120001Z.backup", node="there"),
    )
    async with api.client(backups=backups) as client:
        assert (await client.delete(f"/backups/{number}")).status_code == 204
        assert (await client.delete(f"/backups/{number}")).status_code == 404
        refused = await client.delete(f"/backups/{elsewhere}")
        assert (refused.status_code, "there" in refused.json()["detail"]) == (409, True)
        running = (await client.post("/backups")).json()["id"]
        assert (await client.delete(f"/backups/{running}")).status_code == 409
    assert not file.exists()
    assert await audited(store, "backup.remove") == [{"file": NAME, "state": "done"}]


async def test_a_running_backup_tells_how_much_is_written(backups: Backups, tmp_path: Path) -> None:
    (tmp_path / "backups").mkdir()
    async with api.client(backups=backups) as client:
        begun = (await client.post("/backups")).json()
        assert (await client.get(f"/backups/{begun['id']}")).json()["bytes"] is None
        (tmp_path / "backups" / f".{begun['name']}.ab12.partial").write_bytes(b"12345")
        assert (await client.get(f"/backups/{begun['id']}")).json()["bytes"] == 5


async def test_a_check_tells_what_is_in_it_and_keeps_no_passphrase(
    backups: Backups, store: Store, tmp_path: Path, url: str
) -> None:
    (tmp_path / "backups").mkdir()
    (tmp_path / SECRET_FILE).write_bytes(b"s" * 32)
    words = "correct horse battery"
    made = await make(Installation(store, tmp_path), tmp_path / "backups" / NAME, words)
    backups.stored._environ = {key: value for key, value in os.environ.items() if not key.startswith("MIMI_")}
    number = await done(store)
    async with api.client(backups=backups) as client:
        right = await client.post(f"/backups/{number}/check", json={"passphrase": words})
        assert right.status_code == 200, right.text
        assert right.json()["rows"] == made.end.rows
        wrong = await client.post(f"/backups/{number}/check", json={"passphrase": "wrong horse"})
        assert wrong.status_code == 422
        assert "the passphrase is wrong" in wrong.json()["detail"]
        for passphrase in ("", "two\nlines", "x" * 2_000):
            refused = await client.post(f"/backups/{number}/check", json={"passphrase": passphrase})
            assert refused.status_code == 422
        assert all("horse" not in reply.text for reply in (right, wrong))
    told = await audited(store, "backup.check")
    assert told == [{"file": NAME, "restorable": False}, {"file": NAME, "restorable": True}]


async def test_one_check_at_a_time(backups: Backups, store: Store, tmp_path: Path) -> None:
    (tmp_path / "backups").mkdir()
    (tmp_path / "backups" / NAME).write_bytes(b"sealed")
    number = await done(store)
    backups.stored._checking = True
    async with api.client(backups=backups) as client:
        assert (await client.post(f"/backups/{number}/check", json={"passphrase": "x"})).status_code == 409
