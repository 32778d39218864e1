"""Setting, finding, changing and cancelling."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mimi_mqtt.errors import ReminderError
from mimi_mqtt.tools.reminders import service
from mimi_mqtt.tools.reminders.service import (
    MAX_PER_DEVICE,
    MAX_TEXT_CHARS,
    MAX_TIMER_S,
    Reminders,
    local_zone,
    title,
)
from tests.fakes.reminders import NOW, MemoryRows

KITCHEN, STUDY = "aa-bb-cc-00-11-22", "aa-bb-cc-00-11-33"


@pytest.fixture
def reminders() -> Reminders:
    """13:00 on a Friday, where the user is."""
    return Reminders(MemoryRows(), "Europe/Berlin", now=lambda: NOW)


@pytest.mark.parametrize("seconds", [0, -5, MAX_TIMER_S + 1])
async def test_a_timer_is_bounded(reminders: Reminders, seconds: int) -> None:
    with pytest.raises(ReminderError, match="one second to twenty-four hours"):
        await reminders.set_timer(KITCHEN, seconds)


async def test_a_label_is_given_once_a_device(reminders: Reminders) -> None:
    await reminders.set_timer(KITCHEN, 60, "tea")
    with pytest.raises(ReminderError, match="called TEA already"):
        await reminders.set_timer(KITCHEN, 60, "TEA")
    await reminders.set_timer(STUDY, 60, "tea")


@pytest.mark.parametrize(
    ("at", "local"),
    [
        ("2026-11-28T09:00", "2026-11-28 09:00"),
        ("2026-11-28 09:00:30", "2026-11-28 09:00"),
        ("2026-11-28T09:00:00Z", "2026-11-28 10:00"),
        ("2026-11-28T09:00+09:00", "2026-11-28 01:00"),
        ("13:01", "2026-11-27 13:01"),
        ("13:00", "2026-11-28 13:00"),
        (" 7:05 ", "2026-11-28 07:05"),
    ],
)
async def test_times_are_those_of_the_user(reminders: Reminders, at: str, local: str) -> None:
    record = await reminders.set_reminder(KITCHEN, at, "call mum")
    assert f"{record.wall:%Y-%m-%d %H:%M}" == local
    assert (record.kind, record.zone) == ("reminder", "Europe/Berlin")


async def test_another_zone_and_owner_can_be_told(reminders: Reminders) -> None:
    record = await reminders.set_reminder(KITCHEN, "07:30", zone="Asia/Ho_Chi_Minh", owner="anna")
    assert record.due_at == datetime(2026, 11, 28, 0, 30, tzinfo=UTC)
    assert (record.kind, record.owner, record.zone) == ("alarm", "anna", "Asia/Ho_Chi_Minh")


@pytest.mark.parametrize(
    ("at", "problem"),
    [
        ("", "no local time: write it like now, 2026-11-27T13:00"),
        ("tomorrow", "no local time"),
        ("2026-11-28", "needs a time of day: write 2026-11-28T09:00"),
        ("2026-11-27T12:59", "is past"),
        ("2126-11-28T09:00", "too far ahead"),
        ("9999-12-31T23:59", "no local time"),
        ("0001-01-01T00:00", "no local time"),
        ("25:00", "no time of day"),
        ("9" * 5_000, "no local time"),
    ],
)
async def test_what_is_wrong_with_a_time_is_said(reminders: Reminders, at: str, problem: str) -> None:
    with pytest.raises(ReminderError, match=problem) as caught:
        await reminders.set_reminder(KITCHEN, at, "call mum")
    assert len(str(caught.value)) < 200


async def test_texts_are_bounded_and_plain(reminders: Reminders) -> None:
    record = await reminders.set_reminder(KITCHEN, "14:00", "call\x1b[2J\n  mum\0")
    assert record.text == "call [2J mum"
    with pytest.raises(ReminderError, match=f"at most {MAX_TEXT_CHARS}"):
        await reminders.set_reminder(KITCHEN, "14:00", "x" * (MAX_TEXT_CHARS + 1))


async def test_numbers_are_bounded_per_device_and_in_all(
    reminders: Reminders, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(MAX_PER_DEVICE):
        await reminders.set_timer(KITCHEN, 60)
    with pytest.raises(ReminderError, match="already; cancel one first"):
        await reminders.set_reminder(KITCHEN, "14:00")
    monkeypatch.setattr(service, "MAX_IN_ALL", MAX_PER_DEVICE + 1)
    await reminders.set_timer(STUDY, 60)
    with pytest.raises(ReminderError, match="which is its most"):
        await reminders.set_timer(STUDY, 60)


async def test_ids_are_short_and_each_is_given_once(reminders: Reminders) -> None:
    ids = {(await reminders.set_timer(f"device {number}", 60)).id for number in range(2_000)}
    assert len(ids) == 2_000
    assert all(reminder_id.isdecimal() and 4 <= len(reminder_id) <= 6 for reminder_id in ids)


async def test_one_is_found_by_what_people_call_it(reminders: Reminders) -> None:
    pasta = await reminders.set_timer(KITCHEN, 300, "pasta")
    alarm = await reminders.set_reminder(KITCHEN, "07:30")
    mum = await reminders.set_reminder(KITCHEN, "18:00", "call mum")
    await reminders.set_reminder(KITCHEN, "19:00", "call dad")
    for which, found in (
        (pasta.id, pasta), ("Pasta", pasta), ("pasta timer", pasta), ("timer", pasta), ("alarm", alarm),
        ("7:30", alarm), ("07:30", alarm), ("Call Mum", mum), ("mum", mum), ("18:00", mum),
    ):  # fmt: skip
        assert await reminders.find(KITCHEN, which) == found, which
    for which in ("", "call", "cake", "reminder"):
        with pytest.raises(ReminderError, match=r"say which one; there are: .*mum"):
            await reminders.find(KITCHEN, which)
    with pytest.raises(ReminderError, match="no timers, alarms or reminders"):
        await reminders.find(STUDY, "pasta")


async def test_the_only_one_needs_no_name(reminders: Reminders) -> None:
    tea = await reminders.set_timer(KITCHEN, 60, "tea")
    await reminders.cancel(await reminders.find(KITCHEN, ""))
    with pytest.raises(ReminderError, match="gone already"):
        await reminders.cancel(tea)


async def test_time_text_and_repetition_are_changed(reminders: Reminders) -> None:
    alarm = await reminders.set_reminder(KITCHEN, "2026-11-30T07:30", repeat="weekdays")
    alarm = await reminders.change(alarm, at="08:00")
    assert (f"{alarm.wall:%Y-%m-%d %H:%M}", alarm.rule) == (
        "2026-11-30 08:00",
        "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR",
    )
    alarm = await reminders.change(alarm, at="2026-12-01T09:00", text="get up")
    assert (f"{alarm.wall:%Y-%m-%d %H:%M}", alarm.text) == ("2026-12-01 09:00", "get up")
    alarm = await reminders.change(alarm, repeat="FREQ=DAILY;COUNT=3")
    assert alarm.rule == "FREQ=DAILY;COUNT=3"
    alarm = await reminders.change(alarm, repeat="none")
    assert (alarm.rule, f"{alarm.wall:%Y-%m-%d %H:%M}") == ("", "2026-12-01 09:00")
    alarm = await reminders.change(alarm, zone="Asia/Tokyo")
    assert alarm.due_at == datetime(2026, 12, 1, 0, 0, tzinfo=UTC)


async def test_a_time_of_day_that_is_past_today_is_tomorrow(reminders: Reminders) -> None:
    alarm = await reminders.set_reminder(KITCHEN, "18:00")
    assert f"{(await reminders.change(alarm, at='9:00')).wall:%d %H:%M}" == "28 09:00"


async def test_a_new_time_wins_over_the_hour_in_the_rule(reminders: Reminders) -> None:
    alarm = await reminders.set_reminder(KITCHEN, "07:30", repeat="FREQ=DAILY;BYHOUR=7;BYMINUTE=30")
    changed = await reminders.change(alarm, at="08:00")
    assert (f"{changed.wall:%H:%M}", changed.rule) == ("08:00", "FREQ=DAILY")


async def test_what_can_not_be_changed_is_said(reminders: Reminders) -> None:
    tea = await reminders.set_timer(KITCHEN, 60, "tea")
    mum = await reminders.set_reminder(KITCHEN, "18:00", "call mum")
    with pytest.raises(ReminderError, match="cancel it and set another"):
        await reminders.change(tea, at="18:00")
    with pytest.raises(ReminderError, match="say what to change"):
        await reminders.change(mum)
    with pytest.raises(ReminderError, match="needs a text"):
        await reminders.change(mum, text=" ")
    with pytest.raises(ReminderError, match="is past"):
        await reminders.change(mum, at="2026-11-01T09:00")
    await reminders.change(mum, text="call dad")
    with pytest.raises(ReminderError, match="try again"):
        await reminders.change(mum, text="call nobody")  # made from the record before
    assert (await reminders.change(tea, text="coffee")).text == "coffee"


async def test_one_that_has_ended_is_not_changed(reminders: Reminders) -> None:
    """It would be deleted before its new time."""
    mum = await reminders.set_reminder(KITCHEN, "18:00", "call mum")
    ended = replace(mum, due_at=None, ended_at=mum.due_at)
    with pytest.raises(ReminderError, match="has ended: set another one"):
        await reminders.change(ended, at="2026-12-24T18:00")


async def test_titles(reminders: Reminders) -> None:
    told = [
        title(await reminders.set_timer(KITCHEN, 90)),
        title(await reminders.set_reminder(KITCHEN, "07:30")),
        title(await reminders.set_reminder(KITCHEN, "18:00", "call mum")),
    ]
    assert told == ["timer for 1 minute 30 seconds", "07:30 alarm", "18:00 reminder call mum"]


def test_the_zone_is_the_configured_one_or_that_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert local_zone("Asia/Tokyo") == "Asia/Tokyo"
    monkeypatch.setattr("tzlocal.get_localzone_name", lambda: "Europe/Paris")
    assert local_zone(None) == "Europe/Paris"

    def unknown() -> str:
        raise LookupError

    monkeypatch.setattr("tzlocal.get_localzone_name", unknown)
    assert local_zone(None) == "Etc/UTC"
