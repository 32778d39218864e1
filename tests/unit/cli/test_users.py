"""`mimi-mqtt users` and `mimi-mqtt keys`, on the database of a server that is off."""

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mimi_mqtt.cli import main
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.people.access import Presented
from mimi_mqtt.people.accounts import Accounts
from mimi_mqtt.store.audit import AuditFilter
from tests.databases import sqlite_store

PASSWORD = "correct horse"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of a server that was started once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIMI_CONFIG", raising=False)
    (tmp_path / "broker.yaml").write_text(f"server: {{data_dir: {tmp_path / 'data'}}}\n")
    within(tmp_path, lambda _: asyncio.sleep(0))
    return tmp_path


def within(folder: Path, act: Callable[[Accounts], Awaitable[Any]]) -> Any:
    """What `act` returns of the accounts in the database."""

    async def run() -> Any:
        store = sqlite_store(folder / "data")
        await store.open()
        people = Accounts.build(store, Credentials.load(folder / "data"))
        try:
            return await act(people)
        finally:
            await people.aclose()
            await store.aclose()

    return asyncio.run(run())


def typed(monkeypatch: pytest.MonkeyPatch, text: str = PASSWORD) -> None:
    """What stands on standard input."""
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{text}\n"))


def listed(capsys: pytest.CaptureFixture[str], what: str = "users") -> list[dict[str, Any]]:
    capsys.readouterr()
    assert main([what, "list", "--json"]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def test_users_are_added_changed_listed_and_removed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["users"]) == 0
    assert "no user yet" in capsys.readouterr().out
    typed(monkeypatch)
    assert main(["users", "add", "ada", "--role", "admin", "--email", "a@x.org"]) == 0
    typed(monkeypatch)
    assert main(["users", "add", "bob", "--display-name", "Bob"]) == 0
    assert [(user["name"], user["role"], user["has_password"]) for user in listed(capsys)] == [
        ("ada", "admin", True), ("bob", "member", True),
    ]  # fmt: skip
    typed(monkeypatch, "another password")
    assert main(["users", "set", "BOB", "--password", "--role", "admin", "--rename", "robert"]) == 0
    signed_in = within(folder, lambda people: people.sign_in.check("robert", "another password", "a"))
    assert signed_in.role == "admin"
    assert main(["users", "set", "robert", "--disable"]) == 0
    assert within(folder, lambda people: people.sign_in.check("robert", "another password", "a")) is None
    assert main(["users", "remove", "robert"]) == 0
    assert [user["name"] for user in listed(capsys)] == ["ada"]
    entries = within(folder, lambda people: people.audit.page(AuditFilter(), 99))
    assert {entry.author for entry in entries} == {"command line"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["set", "nobody", "--disable"], "users list"),
        (["set", "ada"], "nothing to set"),
        (["set", "ada", "--role", "member"], "last administrator"),
        (["remove", "ada"], "last administrator"),
        (["add", "Ada"], "already"),
        (["add", "a b"], "user_name"),
        (["link"], "administrator already"),
        (["set", "ada", "--subject", "x"], "oidc.issuer"),
    ],
)
def test_what_is_not_possible_is_told(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    told: str,
) -> None:
    typed(monkeypatch)
    assert main(["users", "add", "ada", "--role", "admin"]) == 0
    typed(monkeypatch)
    assert main(["users", *arguments]) == 1
    assert told in capsys.readouterr().err


def test_short_password_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(monkeypatch, "short")
    assert main(["users", "add", "ada"]) == 2
    assert "at least 8" in capsys.readouterr().err


def test_links_are_printed_and_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["users", "link"]) == 0
    assert "/setup#token=" in capsys.readouterr().out
    assert main(["users", "add", "bob", "--link"]) == 0
    token = capsys.readouterr().out.partition("/setup#reset=")[2].split()[0]
    within(
        folder, lambda people: people.links.reset_password(token, "bob's own words", "a", datetime.now(UTC))
    )
    assert within(folder, lambda people: people.sign_in.check("bob", "bob's own words", "a")) is not None
    assert main(["users", "link", "bob"]) == 0
    assert "/setup#reset=" in capsys.readouterr().out


def test_keys_are_made_listed_and_revoked(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(monkeypatch)
    assert main(["users", "add", "bob"]) == 0
    assert main(["keys"]) == 0
    assert "no key" in capsys.readouterr().out
    assert main(["keys", "add", "bob", "script", "--scope", "commands", "--days", "3"]) == 0
    secret = capsys.readouterr().out.strip()
    caller = within(folder, lambda people: people.authenticator.authenticate(Presented(bearer=secret)))
    assert (caller.name, caller.scopes) == ("bob", {"commands"})
    (key,) = listed(capsys, "keys")
    assert secret not in str(key)
    assert main(["keys", "list", "--user", "bob"]) == 0
    assert key["id"] in capsys.readouterr().out
    assert main(["keys", "add", "bob", "too much", "--scope", "audit"]) == 1
    assert "more than the account" in capsys.readouterr().err
    assert main(["keys", "revoke", key["id"]]) == 0
    assert listed(capsys, "keys") == []
    assert main(["keys", "revoke", key["id"]]) == 1
