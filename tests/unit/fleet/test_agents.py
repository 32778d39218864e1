"""Which agent a device has."""

import logging

import pytest

from mimi_mqtt.config import AgentSettings, Settings
from mimi_mqtt.fleet.agents import AgentDirectory
from mimi_mqtt.fleet.directory import DeviceInfo

AGENTS = Settings(
    assistant=AgentSettings(name="Max"), agents={"chef": AgentSettings(name="Chef")}
).every_agent


def device(agent: str) -> DeviceInfo:
    return DeviceInfo("aa-bb-cc-00-11-22", b"k" * 16, agent=agent)


@pytest.mark.parametrize(("given", "name"), [("", "Max"), ("default", "Max"), ("chef", "Chef")])
def test_a_device_has_the_agent_it_was_given(given: str, name: str) -> None:
    assert AgentDirectory(AGENTS).of(device(given)).settings.name == name


def test_the_default_agent_stands_in_for_one_that_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    agents = AgentDirectory(AGENTS)
    with caplog.at_level(logging.WARNING):
        for given in ("cook", "cook", "maid", "cook"):
            assert agents.of(device(given)).key == "default"
    assert len(caplog.records) == 2
