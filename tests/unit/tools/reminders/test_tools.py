"""The tools as a language model calls them."""

import json
from datetime import timedelta
from typing import Any

import pytest

from mimi_mqtt.errors import StoreError, ToolError
from mimi_mqtt.tools.registry import ToolBox
from mimi_mqtt.tools.reminders.service import Reminders
from mimi_mqtt.tools.reminders.tools import NOTHING, DeviceReminders
from tests.fakes.reminders import NOW, MemoryRows

KITCHEN, STUDY = "aa-bb-cc-00-11-22", "aa-bb-cc-00-11-33"


class House:
    """Two devices, at 13:00 on a Friday."""

    def __init__(self) -> None:
        self.rows = MemoryRows()
        self.now = NOW
        self.reminders = Reminders(self.rows, "Europe/Berlin", now=lambda: self.now)
        self.kitchen = ToolBox(DeviceReminders(self.reminders, KITCHEN))
        self.study = ToolBox(DeviceReminders(self.reminders, STUDY))

    async def listed(self) -> list[dict[str, Any]]:
        told = await self.kitchen.call("list_reminders", {})
        return [] if told == NOTHING else [json.loads(line) for line in told.splitlines()]


@pytest.fixture
def house() -> House:
    return House()


async def test_timers_are_set_and_listed_soonest_first(house: House) -> None:
    call = house.kitchen.call
    assert await call("set_timer", {"seconds": 3600, "label": "roast"}) == "The roast timer is set."
    assert await call("set_timer", {"seconds": 90}) == "The timer is set for 1 minute 30 seconds."
    house.now += timedelta(seconds=30)
    short, roast = await house.listed()
    assert (short["name"], short["left"], short["seconds_left"]) == (
        "timer for 1 minute 30 seconds",
        "1 minute",
        60,
    )
    assert (roast["kind"], roast["label"], roast["left"]) == ("timer", "roast", "59 minutes 30 seconds")


async def test_alarms_and_reminders_are_set_in_local_time(house: House) -> None:
    call = house.kitchen.call
    told = await call("set_reminder", {"time": "2026-11-28T09:00", "text": "call mum"})
    assert told.startswith("The reminder is set: Saturday, 28 November 2026, 09:00: call mum (id ")
    told = await call("set_reminder", {"time": "07:30", "repeat": "weekdays"})
    assert told.startswith("The alarm is set: Monday, 30 November 2026, 07:30, then by FREQ=WEEKLY;BYDAY=MO,")
    reminder, alarm = await house.listed()
    assert (reminder["time"], reminder["text"], "repeat" in reminder) == (
        "2026-11-28T09:00",
        "call mum",
        False,
    )
    assert (alarm["kind"], alarm["time"], "text" in alarm) == ("alarm", "2026-11-30T07:30", False)


async def test_what_was_due_is_not_listed(house: House) -> None:
    await house.kitchen.call("set_timer", {"seconds": 60})
    (record,) = house.rows.records.values()
    from mimi_mqtt.tools.reminders.schedule import marked

    await house.rows.replace([marked(record, NOW + timedelta(minutes=2))])
    assert await house.listed() == []
    with pytest.raises(ToolError, match="no timers, alarms or reminders are running"):
        await house.kitchen.call("cancel_reminder", {})


async def test_one_is_changed_and_cancelled_by_its_id_or_words(house: House) -> None:
    call = house.kitchen.call
    await call("set_reminder", {"time": "2026-11-28T09:00", "text": "call mum"})
    (entry,) = await house.listed()
    told = await call("change_reminder", {"which": entry["id"], "time": "10:15", "repeat": "daily"})
    assert told.startswith(
        "The reminder is changed: Saturday, 28 November 2026, 10:15, then by FREQ=DAILY: call mum"
    )
    await call("change_reminder", {"which": "mum", "text": "call dad", "repeat": "none"})
    (entry,) = await house.listed()
    assert (entry["text"], "repeat" in entry) == ("call dad", False)
    assert await call("cancel_reminder", {"which": "call dad"}) == "The 10:15 reminder call dad is cancelled."
    assert await house.listed() == []


async def test_those_of_other_devices_are_out_of_reach(house: House) -> None:
    await house.kitchen.call("set_timer", {"seconds": 60, "label": "tea"})
    (entry,) = await house.listed()
    for which in ("tea", "", entry["id"]):
        with pytest.raises(ToolError, match="no timers"):
            await house.study.call("cancel_reminder", {"which": which})
        with pytest.raises(ToolError, match="no timers"):
            await house.study.call("change_reminder", {"which": which, "text": "x"})


@pytest.mark.parametrize(
    ("tool", "arguments", "problem"),
    [
        ("set_timer", {"seconds": 0}, "at least 1 and at most 86400"),
        ("set_reminder", {"time": "tomorrow at nine", "text": "x"}, "write it like now, 2026-11-27T13:00"),
        ("set_reminder", {"time": "09:00", "repeat": "every monday"}, "FREQ=WEEKLY;BYDAY=MO,TH"),
        ("set_reminder", {"text": "x"}, "'time' is missing"),
        ("set_reminder", {"time": "09:00", "text": "x" * 201}, "200"),
        ("cancel_reminder", {"which": "cake"}, "no timers"),
    ],
)
async def test_a_model_is_told_what_is_wrong(
    house: House, tool: str, arguments: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ToolError, match=problem):
        await house.kitchen.call(tool, arguments)


async def test_a_database_that_fails_is_told_without_its_details(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object, **__: object) -> None:
        raise StoreError("postgresql://mimi:secret@host is out of reach")

    monkeypatch.setattr(house.rows, "add", fails)
    monkeypatch.setattr(house.rows, "list", fails)
    for tool, arguments in (
        ("set_timer", {"seconds": 60}), ("set_reminder", {"time": "09:00"}), ("list_reminders", {}),
        ("change_reminder", {"which": "x", "text": "y"}), ("cancel_reminder", {}),
    ):  # fmt: skip
        with pytest.raises(ToolError, match="try again later") as caught:
            await house.kitchen.call(tool, arguments)
        assert "secret" not in str(caught.value)


def test_the_tools_cost_few_words_of_a_prompt(house: House) -> None:
    written = json.dumps([[spec.name, spec.description, spec.parameters] for spec in house.kitchen.specs()])
    assert len(written) < 2_600
