"""Timers of devices."""

import asyncio

import pytest

from mimi_mqtt.errors import ToolError
from mimi_mqtt.providers.durations import spoken_duration
from mimi_mqtt.tools.builtin.timers import (
    MAX_PER_DEVICE,
    MAX_SECONDS,
    MISSED_KEPT_S,
    Timers,
)
from mimi_mqtt.tools.registry import ToolBox

pytestmark = pytest.mark.virtual_time

KITCHEN = "aa-bb-cc-00-11-22"
STUDY = "aa-bb-cc-00-11-33"


class House:
    """Keeps what was announced; devices in `away` hear nothing."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []
        self.away: set[str] = set()
        self.timers = Timers(self.announce)

    def announce(self, device_id: str, text: str) -> bool:
        if device_id in self.away:
            return False
        self.said.append((device_id, text))
        return True

    def tools(self, device_id: str = KITCHEN) -> ToolBox:
        return ToolBox(self.timers.for_device(device_id))


async def test_due_timer_is_announced_on_its_device() -> None:
    house = House()
    assert await house.tools().call("set_timer", {"seconds": 300, "label": "tea"}) == "The tea timer is set."
    await house.tools(STUDY).call("set_timer", {"seconds": 60})
    await asyncio.sleep(299)
    assert house.said == [(STUDY, "Your timer for 1 minute is done.")]
    await asyncio.sleep(2)
    assert house.said[1:] == [(KITCHEN, "Your tea timer is done.")]
    assert await house.tools().call("list_timers", {}) == "No timers are running."


async def test_due_timers_are_told_in_the_language_of_the_device_at_that_time() -> None:
    house = House()
    languages = {KITCHEN: "en", STUDY: "ru"}
    house.timers = Timers(house.announce, languages.__getitem__)
    await house.tools().call("set_timer", {"seconds": 60, "label": "Tee"})
    await house.tools(STUDY).call("set_timer", {"seconds": 60})
    house.away.add(STUDY)
    languages[KITCHEN] = "de-DE"
    await asyncio.sleep(61)
    assert house.said == [(KITCHEN, "Dein Timer Tee ist abgelaufen.")]
    await asyncio.sleep(119)
    house.away.clear()
    house.timers.device_connected(STUDY)
    assert house.said[1:] == [(STUDY, "Таймер уже сработал: 1 минута. С тех пор прошло: 2 минуты.")]


async def test_list_tells_what_is_left_soonest_first() -> None:
    house = House()
    tools = house.tools()
    await tools.call("set_timer", {"seconds": 3600, "label": "roast"})
    await tools.call("set_timer", {"seconds": 90, "label": "egg timer"})
    await asyncio.sleep(30)
    listed = await tools.call("list_timers", {})
    assert listed.split("\n") == ["egg timer: 1 minute left", "roast timer: 59 minutes 30 seconds left"]
    assert await house.tools(STUDY).call("list_timers", {}) == "No timers are running."


async def test_cancelled_timer_is_not_announced() -> None:
    house = House()
    tools = house.tools()
    await tools.call("set_timer", {"seconds": 60, "label": "tea"})
    await tools.call("set_timer", {"seconds": 60, "label": "eggs"})
    assert await tools.call("cancel_timer", {"label": "Tea"}) == "The tea timer is cancelled."
    await asyncio.sleep(61)
    assert house.said == [(KITCHEN, "Your eggs timer is done.")]


async def test_the_only_timer_needs_no_label_to_be_cancelled() -> None:
    tools = House().tools()
    await tools.call("set_timer", {"seconds": 60, "label": "tea"})
    assert await tools.call("cancel_timer", {}) == "The tea timer is cancelled."


async def test_cancelling_what_can_not_be_told_apart_is_asked_about() -> None:
    tools = House().tools()
    with pytest.raises(ToolError, match="no timers are running"):
        await tools.call("cancel_timer", {})
    await tools.call("set_timer", {"seconds": 60, "label": "tea"})
    await tools.call("set_timer", {"seconds": 60})
    for label in ("", "cake"):
        with pytest.raises(ToolError, match="there are: tea timer, timer for 1 minute"):
            await tools.call("cancel_timer", {"label": label})


async def test_other_devices_timers_can_not_be_cancelled() -> None:
    house = House()
    await house.tools().call("set_timer", {"seconds": 60, "label": "tea"})
    with pytest.raises(ToolError, match="no timers"):
        await house.tools(STUDY).call("cancel_timer", {"label": "tea"})


async def test_label_is_given_once() -> None:
    tools = House().tools()
    await tools.call("set_timer", {"seconds": 60, "label": "tea"})
    with pytest.raises(ToolError, match="called TEA already"):
        await tools.call("set_timer", {"seconds": 60, "label": "TEA"})
    await asyncio.sleep(61)
    await tools.call("set_timer", {"seconds": 60, "label": "TEA"})


@pytest.mark.parametrize("seconds", [0, -5, MAX_SECONDS + 1])
async def test_duration_is_bounded(seconds: int) -> None:
    with pytest.raises(ToolError, match="at least 1 and at most 86400"):
        await House().tools().call("set_timer", {"seconds": seconds})


async def test_number_of_timers_is_bounded_per_device() -> None:
    house = House()
    house.away.add(KITCHEN)
    for _ in range(MAX_PER_DEVICE):
        await house.tools().call("set_timer", {"seconds": 60})
    for _ in range(2):
        with pytest.raises(ToolError, match="already; cancel one first"):
            await house.tools().call("set_timer", {"seconds": 60})
        await asyncio.sleep(61)  # those that were due and could not be told still count
    await house.tools(STUDY).call("set_timer", {"seconds": 60})


async def test_timer_due_while_the_device_is_away_is_told_once_it_is_back() -> None:
    house = House()
    house.away.add(KITCHEN)
    await house.tools().call("set_timer", {"seconds": 60, "label": "tea"})
    await asyncio.sleep(60 + 120)
    house.timers.device_connected(KITCHEN)
    assert house.said == []
    house.away.clear()
    for _ in range(2):
        house.timers.device_connected(KITCHEN)
    assert house.said == [(KITCHEN, "Your tea timer was done 2 minutes ago.")]


async def test_a_timer_of_a_device_that_does_not_return_for_a_day_is_given_up() -> None:
    house = House()
    house.away.add(KITCHEN)
    await house.tools().call("set_timer", {"seconds": 60, "label": "tea"})
    await asyncio.sleep(60 + MISSED_KEPT_S - 1)
    assert house.timers.missed(KITCHEN)
    await asyncio.sleep(2)
    assert not house.timers.missed(KITCHEN)
    house.away.clear()
    house.timers.device_connected(KITCHEN)
    assert house.said == []


async def test_timers_of_a_device_that_may_no_longer_connect_are_dropped() -> None:
    house = House()
    for device_id in (KITCHEN, STUDY):
        await house.tools(device_id).call("set_timer", {"seconds": 60, "label": "tea"})
    house.timers.drop(KITCHEN)
    assert await house.tools().call("list_timers", {}) == "No timers are running."
    await asyncio.sleep(61)
    assert house.said == [(STUDY, "Your tea timer is done.")]


async def test_nothing_is_announced_after_close() -> None:
    house = House()
    await house.tools().call("set_timer", {"seconds": 60})
    house.timers.close()
    await asyncio.sleep(120)
    assert house.said == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "1 second"),
        (60, "1 minute"),
        (90, "1 minute 30 seconds"),
        (3725, "1 hour 2 minutes 5 seconds"),
        (86_400, "24 hours"),
    ],
)
def test_durations_in_words(seconds: int, words: str) -> None:
    assert spoken_duration(seconds) == words
