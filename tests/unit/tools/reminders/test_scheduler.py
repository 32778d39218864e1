"""Telling what is due: on time, late, once, and across restarts, in virtual time."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from mimi_mqtt.errors import StoreError
from mimi_mqtt.events import Event, ReminderChanged
from mimi_mqtt.store.reminders import ReminderRecord
from mimi_mqtt.tools.reminders import scheduler as scheduling
from mimi_mqtt.tools.reminders.ports import Told
from mimi_mqtt.tools.reminders.scheduler import (
    ENDED_KEPT,
    MAX_TELLING,
    POLL_S,
    RETRY_S,
    SWEEP_S,
    TELL_TIMEOUT_S,
    ReminderScheduler,
)
from mimi_mqtt.tools.reminders.service import Reminders
from mimi_mqtt.tools.reminders.tools import ReminderTools
from tests.fakes.reminders import NOW, Clock, MemoryRows

pytestmark = pytest.mark.virtual_time

KITCHEN, STUDY = "aa-bb-cc-00-11-22", "aa-bb-cc-00-11-33"
HOUR, DAY = 3_600, 86_400


class House:
    """A server with a scheduler, which may be killed and started again; devices in `away` hear nothing."""

    def __init__(self) -> None:
        self.rows = MemoryRows()
        self.clock = Clock()
        self.said: list[tuple[str, str]] = []
        self.expiries: list[float] = []
        self.away: set[str] = set()
        self.answers: list[Told] = []
        self.takes_s = 0.0
        self.language = "en"
        self.events: list[Event] = []
        self.start()

    def start(self) -> None:
        self.scheduler = ReminderScheduler(
            self.rows, self.announce, lambda _: self.language, now=self.clock.now, steady=self.clock.steady,
            publish=self.events.append,
        )  # fmt: skip
        self.reminders = Reminders(self.rows, "Europe/Berlin", now=self.clock.now, publish=self.events.append)
        self.tools = ReminderTools(self.reminders, self.scheduler)
        self.scheduler.start()

    async def restart(self, off_s: float) -> None:
        await self.scheduler.aclose()
        await asyncio.sleep(off_s)
        self.start()

    async def announce(self, device_id: str, text: str, expires_s: float) -> Told:
        if device_id in self.away:
            return "away"
        self.said.append((device_id, text))
        self.expiries.append(expires_s)
        await asyncio.sleep(self.takes_s)
        return self.answers.pop(0) if self.answers else "told"

    def works(self) -> bool:
        return self.scheduler.healthy

    @property
    def words(self) -> list[str]:
        return [text for _, text in self.said]


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    yield house
    await house.scheduler.aclose()


@pytest.fixture
def _for_days(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer looks at the database: virtual days are long."""
    monkeypatch.setattr(scheduling, "POLL_S", 600.0)


async def test_a_timer_is_told_on_its_device_when_it_is_due(house: House) -> None:
    await house.reminders.set_timer(KITCHEN, 300, "tea")
    await house.reminders.set_timer(STUDY, 60)
    await asyncio.sleep(59.9)
    assert house.said == []
    await asyncio.sleep(0.2)
    assert house.said == [(STUDY, "Your timer for 1 minute is done.")]
    await asyncio.sleep(240)
    assert house.said[1:] == [(KITCHEN, "Your tea timer is done.")]
    assert house.expiries == [pytest.approx(DAY, abs=1)] * 2
    assert await house.reminders.list() == []


async def test_each_step_of_a_reminder_is_an_event(house: House) -> None:
    tea = await house.reminders.set_timer(KITCHEN, 60, "tea")
    oven = await house.reminders.set_timer(STUDY, 600, "oven")
    await house.reminders.cancel(await house.reminders.change(oven, text="cake"))
    await asyncio.sleep(61)
    steps = [
        (event.device_id, event.reminder_id, event.change)
        for event in house.events
        if isinstance(event, ReminderChanged)
    ]
    assert steps == [
        (KITCHEN, tea.id, "set"), (STUDY, oven.id, "set"), (STUDY, oven.id, "changed"),
        (STUDY, oven.id, "cancelled"), (KITCHEN, tea.id, "due"), (KITCHEN, tea.id, "told"),
    ]  # fmt: skip


async def test_it_is_told_in_the_language_of_the_device_at_that_time(house: House) -> None:
    await house.reminders.set_timer(KITCHEN, 60, "Tee")
    house.language = "de-DE"
    await asyncio.sleep(61)
    assert house.words == ["Dein Timer Tee ist abgelaufen."]


@pytest.mark.usefixtures("_for_days")
async def test_an_alarm_rings_each_weekday(house: House) -> None:
    await house.reminders.set_reminder(KITCHEN, "07:30", repeat="weekdays")
    await asyncio.sleep(5 * DAY)
    assert house.words == ["It is 7:30 am. This is your alarm."] * 3  # from Friday to Wednesday, 1 pm
    (alarm,) = await house.reminders.list()
    assert alarm.wall == datetime(2026, 12, 3, 7, 30)


async def test_a_cancelled_one_is_not_told(house: House) -> None:
    tea = await house.reminders.set_timer(KITCHEN, 60, "tea")
    await house.reminders.set_timer(KITCHEN, 60, "eggs")
    await house.reminders.cancel(tea)
    await asyncio.sleep(61)
    assert house.words == ["Your eggs timer is done."]


async def test_a_change_by_another_process_is_noticed(house: House) -> None:
    other = Reminders(house.rows, "Europe/Berlin", now=house.clock.now)
    await asyncio.sleep(POLL_S / 2)
    timer = await other.set_timer(KITCHEN, 4)
    await asyncio.sleep(4 + POLL_S)
    assert house.words == ["Your timer for 4 seconds is done."]
    assert (await house.rows.get(timer.id) or timer).ended_at is not None


async def test_what_is_due_while_its_device_is_away_is_told_once_it_is_back(house: House) -> None:
    house.away.add(KITCHEN)
    await house.reminders.set_timer(KITCHEN, 60, "tea")
    await asyncio.sleep(60 + 120)
    house.tools.device_connected(KITCHEN)
    await asyncio.sleep(1)
    house.away.clear()
    for _ in range(2):
        house.tools.device_connected(KITCHEN)
        await asyncio.sleep(1)
    assert house.words == ["Your tea timer was done 2 minutes ago."]


async def test_a_device_that_connects_while_it_is_found_away_is_told(house: House) -> None:
    connects: list[str] = []

    async def finds_it_away(device_id: str, text: str, _: float) -> Told:
        await asyncio.sleep(1)
        if connects:
            house.said.append((device_id, text))
            return "told"
        connects.append(device_id)
        house.tools.device_connected(device_id)
        return "away"

    house.scheduler._announce = finds_it_away
    await house.reminders.set_timer(KITCHEN, 60)
    await asyncio.sleep(70)
    assert len(house.said) == 1


async def test_a_device_that_does_not_return_in_time_is_not_told(house: House) -> None:
    house.away.add(KITCHEN)
    timer = await house.reminders.set_timer(KITCHEN, 60, "tea", expires_s=HOUR)
    await asyncio.sleep(60 + HOUR + SWEEP_S + POLL_S)
    kept = await house.rows.get(timer.id)
    assert kept is not None
    assert (kept.pending_at, kept.told_at) == (None, None)
    assert kept.ended_at is not None
    house.away.clear()
    house.tools.device_connected(KITCHEN)
    await asyncio.sleep(5)
    assert house.said == []


async def test_what_could_not_be_told_is_tried_again(house: House) -> None:
    house.answers = ["failed", "failed"]
    await house.reminders.set_timer(KITCHEN, 60, "tea")
    await asyncio.sleep(60 + 2 * (RETRY_S + POLL_S) + 1)
    assert house.words[0] == "Your tea timer is done."
    assert len(house.words) == 3
    assert all("was done" in text for text in house.words[1:])


async def test_telling_that_raises_or_never_ends_keeps_nobody_else(house: House) -> None:
    async def breaks(device_id: str, text: str, _: float) -> Told:
        if device_id == KITCHEN:
            raise RuntimeError("a mistake that nobody foresaw")
        if device_id == STUDY:
            await asyncio.sleep(10 * TELL_TIMEOUT_S)
        house.said.append((device_id, text))
        return "told"

    house.scheduler._announce = breaks
    for device_id in (KITCHEN, STUDY, "hall"):
        await house.reminders.set_timer(device_id, 60)
    await asyncio.sleep(61)
    assert [device_id for device_id, _ in house.said] == ["hall"]
    assert house.works()
    await asyncio.sleep(TELL_TIMEOUT_S)
    assert house.scheduler.telling == 0


async def test_several_on_one_device_are_told_one_after_another(house: House) -> None:
    house.takes_s = 3
    for number in range(1, 4):
        await house.reminders.set_timer(KITCHEN, 60, f"number {number}")
    await asyncio.sleep(61)
    assert len(house.said) == 1
    await asyncio.sleep(7)
    assert len(house.said) == 3


async def test_one_that_is_cancelled_while_it_waits_for_its_turn_is_not_told(house: House) -> None:
    house.takes_s = 3
    for number in range(1, 4):
        await house.reminders.set_timer(KITCHEN, 60, f"number {number}")
    await asyncio.sleep(61)
    told = house.words[0]
    (other, *_) = [record for record in await house.reminders.list() if record.text not in told]
    await house.reminders.cancel(other)
    await asyncio.sleep(20)
    assert len(house.said) == 2
    assert not any(other.text in text for text in house.words)


# ── restarts ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_reminder_is_told_after_a_restart(house: House) -> None:
    await house.reminders.set_reminder(KITCHEN, "14:00", "call mum")
    await asyncio.sleep(HOUR / 2)
    await house.restart(off_s=60)
    await asyncio.sleep(HOUR / 2)
    assert house.words == ["Reminder: call mum."]


async def test_what_was_due_while_the_server_was_off_is_told_with_its_time(house: House) -> None:
    await house.reminders.set_reminder(KITCHEN, "14:00")
    await house.restart(off_s=HOUR + 20 * 60)
    await asyncio.sleep(1)
    assert house.words == ["Your 2:00 pm alarm was due 20 minutes ago."]


async def test_of_days_off_one_occurrence_is_told(house: House) -> None:
    await house.reminders.set_reminder(KITCHEN, "14:00", "take the pill", "daily")
    await house.restart(off_s=50 * DAY)
    await asyncio.sleep(1)
    assert house.words == ["Your 2:00 pm reminder was due 23 hours ago: take the pill."]
    await asyncio.sleep(HOUR)
    assert house.words[1:] == ["Reminder: take the pill."]


async def test_what_is_older_than_its_expiry_after_a_restart_is_dropped(house: House) -> None:
    await house.reminders.set_timer(KITCHEN, 60)
    await house.restart(off_s=DAY + 120)
    await asyncio.sleep(5)
    assert house.said == []
    assert await house.reminders.list() == []
    assert len(await house.reminders.list(ended=True)) == 1


@pytest.mark.usefixtures("_for_days")
async def test_a_crash_between_marking_and_telling_makes_it_late_and_not_lost(house: House) -> None:
    house.takes_s = 30
    await house.reminders.set_timer(KITCHEN, 60, "tea")
    await asyncio.sleep(61)
    assert len(house.said) == 1  # begun, and not known to be told
    (marked,) = await house.rows.pending()
    assert marked.due_at is None
    house.takes_s = 0
    await house.restart(off_s=60)
    await asyncio.sleep(1)
    assert house.words[1:] == ["Your tea timer was done 1 minute ago."]
    await house.restart(off_s=60)
    await asyncio.sleep(DAY)
    assert len(house.said) == 2


async def test_what_was_told_is_settled_at_the_end(house: House) -> None:
    house.takes_s = 1
    await house.reminders.set_timer(KITCHEN, 60)
    await asyncio.sleep(60.5)
    await asyncio.sleep(0.6)
    await house.restart(off_s=10)
    await asyncio.sleep(10)
    assert len(house.said) == 1


@pytest.mark.usefixtures("_for_days")
async def test_ended_ones_are_kept_for_some_days(house: House) -> None:
    await house.reminders.set_timer(KITCHEN, 60)
    await asyncio.sleep(120)
    assert len(await house.reminders.list(ended=True)) == 1
    await asyncio.sleep(ENDED_KEPT.total_seconds() + 600)
    assert await house.reminders.list(ended=True) == []


# ── a change while it is told, a database that fails ─────────────────────────────────────────────────────


async def test_a_change_while_it_is_told_does_not_have_it_told_again(house: House) -> None:
    house.takes_s = 10
    alarm = await house.reminders.set_reminder(KITCHEN, "14:00", "call mum", "daily")
    await asyncio.sleep(HOUR + 1)
    kept = await house.rows.get(alarm.id)
    assert kept is not None
    await house.reminders.change(kept, text="call dad")
    await asyncio.sleep(60)
    house.tools.device_connected(KITCHEN)
    await asyncio.sleep(60)
    assert house.words == ["Reminder: call mum."]
    (changed,) = await house.reminders.list()
    assert (changed.text, changed.pending_at) == ("call dad", None)


async def test_a_database_that_fails_after_telling_does_not_have_it_told_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_rows, faults = house.rows.replace, [""]

    async def fails_now(records: Sequence[ReminderRecord]) -> Sequence[ReminderRecord]:
        if faults[-1]:
            raise StoreError(faults[-1])
        return await replace_rows(records)

    monkeypatch.setattr(house.rows, "replace", fails_now)
    house.takes_s = 1
    await house.reminders.set_timer(KITCHEN, 60)
    await asyncio.sleep(60.5)
    faults.append("the disk is full")
    await asyncio.sleep(30)
    assert not house.works()
    house.tools.device_connected(KITCHEN)
    faults.clear()
    faults.append("")
    await asyncio.sleep(60)
    assert house.works()
    assert len(house.said) == 1
    assert await house.reminders.list() == []


async def test_a_rule_that_can_not_be_read_any_more_is_due_once(house: House) -> None:
    alarm = await house.reminders.set_reminder(KITCHEN, "14:00", repeat="daily")
    house.rows.records[alarm.id] = replace(alarm, rule="FREQ=FORTNIGHTLY")
    await asyncio.sleep(HOUR + 1)
    assert len(house.said) == 1
    assert house.works()
    assert await house.reminders.list() == []


# ── devices ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_device_that_may_no_longer_connect_loses_what_was_set(house: House) -> None:
    for device_id in (KITCHEN, STUDY):
        await house.reminders.set_timer(device_id, 60, "tea")
    house.tools.drop(KITCHEN)
    await asyncio.sleep(61)
    assert house.said == [(STUDY, "Your tea timer is done.")]
    assert await house.reminders.list(KITCHEN, ended=True) == []


async def test_a_device_that_nobody_knows_loses_what_was_set(house: House) -> None:
    house.answers = ["unknown"]
    await house.reminders.set_timer(KITCHEN, 60)
    await house.reminders.set_timer(KITCHEN, 90)
    await asyncio.sleep(120)
    assert len(house.said) == 1
    assert await house.reminders.list(KITCHEN, ended=True) == []


async def test_five_thousand_due_at_once_are_spread_out_and_told_once(house: House) -> None:
    house.takes_s = 1
    most = 0
    for number in range(5_000):
        record = ReminderRecord(str(number), f"device {number}", "alarm", "", NOW, NOW, HOUR, zone="Etc/UTC")
        house.rows.records[record.id] = record
    house.scheduler.changed()
    for _ in range(5_000 // MAX_TELLING + 20):
        await asyncio.sleep(1)
        most = max(most, house.scheduler.telling)
    assert most <= MAX_TELLING
    told = Counter(device_id for device_id, _ in house.said)
    assert (len(told), set(told.values())) == (5_000, {1})
    assert await house.reminders.list() == []


async def test_texts_are_never_logged(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.answers = ["failed", "told"]
    with caplog.at_level(logging.INFO):
        await house.reminders.set_timer(KITCHEN, 60, "privacy")
        await asyncio.sleep(120)
        house.away.add(KITCHEN)
        await house.reminders.set_timer(KITCHEN, 60, "privacy", expires_s=60)
        await asyncio.sleep(60 + 2 * SWEEP_S)
    assert house.said
    assert caplog.records
    assert not [record for record in caplog.records if "privacy" in record.getMessage()]


# ── the system's clock is set ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("hours", [-24 * 365 * 56, -2, 2, 24 * 365 * 56])
async def test_a_running_timer_goes_by_elapsed_time_when_the_clock_is_set(house: House, hours: int) -> None:
    await house.reminders.set_timer(KITCHEN, 300, "tea")
    await asyncio.sleep(100)
    house.clock.ahead += timedelta(hours=hours)
    await asyncio.sleep(199)
    assert house.said == []
    await asyncio.sleep(2 + POLL_S)
    assert house.words == ["Your tea timer is done."]


@pytest.mark.parametrize("days", [-90, 90])
async def test_a_timer_that_is_set_right_after_the_clock_was_is_not_moved(house: House, days: int) -> None:
    await house.reminders.set_timer(KITCHEN, 300, "tea")
    await asyncio.sleep(60)
    house.clock.ahead += timedelta(days=days)
    await house.reminders.set_timer(KITCHEN, 300, "eggs")
    await asyncio.sleep(240 + POLL_S)
    assert house.words == ["Your tea timer is done."]
    await asyncio.sleep(60)
    assert house.words[1:] == ["Your eggs timer is done."]


async def test_an_alarm_goes_by_the_clock_that_was_set(house: House) -> None:
    await house.reminders.set_reminder(KITCHEN, "16:00")
    house.clock.ahead -= timedelta(hours=2)
    await asyncio.sleep(4 * HOUR)
    assert house.said == []
    house.clock.ahead += timedelta(minutes=59)
    await asyncio.sleep(POLL_S + 1)
    assert house.said == []
    await asyncio.sleep(60)
    assert house.words == ["It is 4:00 pm. This is your alarm."]


@pytest.mark.usefixtures("_for_days")
async def test_a_clock_that_is_set_back_does_not_have_it_told_twice(house: House) -> None:
    await house.reminders.set_reminder(KITCHEN, "14:00", repeat="daily")
    await asyncio.sleep(HOUR + 1)
    house.clock.ahead -= timedelta(minutes=30)
    await asyncio.sleep(DAY / 2)
    assert len(house.said) == 1
    await asyncio.sleep(DAY / 2 + HOUR)
    assert len(house.said) == 2


async def test_a_timer_of_before_a_restart_goes_by_the_clock(house: House) -> None:
    await house.reminders.set_timer(KITCHEN, 300, "tea")
    await house.restart(off_s=0)
    house.clock.ahead += timedelta(minutes=10)  # set right after a boot without a clock of its own
    await asyncio.sleep(POLL_S + 1)
    assert house.words == ["Your tea timer was done 5 minutes ago."]
