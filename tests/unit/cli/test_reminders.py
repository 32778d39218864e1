"""`mimi-mqtt reminders` on a data folder, with no server running."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from mimi_mqtt.cli import main
from mimi_mqtt.store import devices
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.reminders import ReminderTable
from mimi_mqtt.store.tables import Device
from mimi_mqtt.tools.reminders.schedule import marked, settled
from tests.databases import new_database

NOW = datetime.now(UTC)
KITCHEN, REVOKED = "aa-bb-cc-00-11-22", "aa-bb-cc-00-11-33"
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with one device that may connect and one that may not."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIMI_CONFIG", raising=False)
    server = f"{{data_dir: {tmp_path / 'data'}, timezone: Europe/Berlin}}"
    (tmp_path / "broker.yaml").write_text(f"server: {server}\n")
    new_database(tmp_path / "data")
    asyncio.run(_fill(_url(tmp_path)))
    return tmp_path


def _url(folder: Path) -> str:
    return f"sqlite:///{folder / 'data' / 'mimi.db'}"


async def _fill(url: str) -> None:
    store = Store(url)
    await store.open()
    async with store.write() as session:
        for device_id in (KITCHEN, REVOKED):
            device = Device(
                id=device_id, client_id="one", allowed=device_id == KITCHEN, revision=0,
                created_at=NOW, updated_at=NOW, last_seen_at=NOW,
            )  # fmt: skip
            await devices.save_changed(session, device, NOW)
    await store.aclose()


def added(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The id of a reminder that is added."""
    capsys.readouterr()
    assert main(["reminders", "add", KITCHEN, *arguments]) == 0
    return capsys.readouterr().out.partition(" ")[0]


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert main(["reminders", "list", "--json", *arguments]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_one_is_added_listed_changed_and_cancelled(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reminder_id = added(capsys, "take the pill", "--at", "08:00", "--rrule", "weekdays")
    (found,) = listed(capsys)
    due = datetime.fromisoformat(found["due_at"]).astimezone(BERLIN)
    assert (found["id"], found["device"], found["kind"]) == (reminder_id, KITCHEN, "reminder")
    assert (due.hour, due.weekday() < 5, found["timezone"]) == (8, True, "Europe/Berlin")
    assert (
        main(["reminders", "change", reminder_id, "--at", "9:15", "--text", "take both", "--rrule", "none"])
        == 0
    )
    (found,) = listed(capsys, "--device", "AA:BB:CC:00:11:22")
    assert (found["text"], found["rrule"], found["time"][11:]) == ("take both", "", "09:15:00")
    assert main(["reminders"]) == 0
    assert "take both" in capsys.readouterr().out
    assert main(["reminders", "cancel", reminder_id]) == 0
    assert listed(capsys, "--all") == []
    assert main(["reminders", "list"]) == 0
    assert "nothing is set" in capsys.readouterr().err


def test_a_time_from_now_on_and_another_zone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    added(capsys, "look", "--in", "1h30m", "--expires", "2h")
    added(capsys, "", "--at", "06:00", "--timezone", "Asia/Tokyo")
    look, alarm = sorted(listed(capsys), key=lambda found: str(found["kind"]), reverse=True)
    left = datetime.fromisoformat(look["due_at"]) - datetime.now(UTC)
    assert timedelta(hours=1) < left < timedelta(hours=2)
    assert look["expires_s"] == 7_200
    assert datetime.fromisoformat(alarm["due_at"]).hour == 21
    assert (alarm["kind"], alarm["timezone"]) == ("alarm", "Asia/Tokyo")


def test_all_shows_what_ended_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told, dropped, waiting = (added(capsys, text, "--in", "60s") for text in ("one", "two", "three"))

    async def end() -> None:
        store = Store(_url(folder))
        await store.open()
        rows = ReminderTable(store)
        later = datetime.now(UTC) + timedelta(minutes=2)
        for reminder_id in (told, dropped, waiting):
            record = await rows.get(reminder_id)
            assert record is not None
            (record,) = await rows.replace([marked(record, later)])
            if reminder_id != waiting:
                at = later if reminder_id == told else None
                await rows.replace([settled(record, at, later)])
        await store.aclose()

    asyncio.run(end())
    assert [found["id"] for found in listed(capsys)] == [waiting]
    assert main(["reminders", "list", "--all"]) == 0
    lines = {line.partition(" ")[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "  told " in lines[told]
    assert "dropped" in lines[dropped]
    assert "to be told" in lines[waiting]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["add", REVOKED, "x", "--in", "5m"], "that may connect"),
        (["add", "aa-bb-cc-00-11-44", "x", "--in", "5m"], "mimi-mqtt devices list"),
        (["add", "kitchen", "x", "--in", "5m"], "MAC"),
        (["add", KITCHEN, "x", "--at", "2020-01-01T00:00"], "is past"),
        (["add", KITCHEN, "x", "--at", "08:00", "--rrule", "FREQ=MINUTELY"], "once an hour"),
        (
            ["add", KITCHEN, "x", "--at", "08:00", "--rrule", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=31"],
            "never due",
        ),
        (["add", KITCHEN, "x", "--at", "08:00", "--timezone", "Mars/Olympus"], "no time zone"),
        (["add", KITCHEN, "x", "--in", "5m", "--timezone", "Mars/Olympus"], "no time zone"),
        (["change", "1", "--text", "x"], "mimi-mqtt reminders list"),
        (["cancel", "1"], "there is no reminder 1"),
    ],
)
def test_mistakes_are_explained(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], problem: str
) -> None:
    assert main(["reminders", *arguments]) == 1
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--in", "soon"],
        ["--in", ""],
        ["--in", "0s"],
        ["--in", "9999d"],
        ["--in", "5m", "--at", "08:00"],
        ["--in", "5m", "--expires", "5s"],
        ["--in", "5m", "--expires", "31d"],
        [],
    ],
)
def test_wrong_arguments_are_told_by_the_parser(folder: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(["reminders", "add", KITCHEN, "x", *arguments])
