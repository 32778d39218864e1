"""A session is with the agent that its device had at hello."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from mimi_mqtt.config import AgentSettings, SessionSettings, Settings
from mimi_mqtt.config.prompt import DeviceFacts, UserFacts
from tests.fakes.session import DEVICE, OTHER_DEVICE
from tests.unit.session.conftest import House

pytestmark = pytest.mark.virtual_time


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House(
        Settings(
            session=SessionSettings(idle_timeout_s=30, max_sessions=3),
            agents={"teacher": AgentSettings(language="ja", tools=("list_timers",))},
        )
    )
    house.devices[OTHER_DEVICE] = replace(
        house.devices[OTHER_DEVICE], agent="teacher", user_name="Anna", name="Desk", board="box"
    )
    yield house
    await house.manager.aclose()


async def test_each_device_talks_to_its_own_agent(house: House) -> None:
    for device_id in (DEVICE, OTHER_DEVICE):
        channel = house.connect(device_id)
        house.listen(channel, house.hello(channel))
    default, teacher = house.conversations
    assert (default.agent, teacher.agent) == ("default", "teacher")
    assert (default.language, teacher.language) == ("vi-VN", "ja")
    assert {spec.name for spec in default.tools.specs()} == {
        "set_timer", "set_reminder", "list_reminders", "change_reminder", "cancel_reminder", "get_time",
        "end_conversation",
    }  # fmt: skip
    assert {spec.name for spec in teacher.tools.specs()} == {"list_reminders"}


async def test_a_conversation_is_told_of_its_device_and_its_user(house: House) -> None:
    channel = house.connect(OTHER_DEVICE)
    talk = house.listen(channel, house.hello(channel))
    assert talk.device == DeviceFacts(OTHER_DEVICE, "Desk", "box", "vi-VN", "")
    assert talk.user == UserFacts("Anna", "vi-VN")


async def test_another_agent_begins_with_the_next_session(house: House) -> None:
    channel = house.connect()
    first = house.hello(channel)
    house.devices[DEVICE] = replace(house.devices[DEVICE], agent="teacher")
    assert house.listen(channel, first).agent == "default"
    assert house.listen(channel, house.hello(channel)).agent == "teacher"
