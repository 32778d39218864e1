"""Agents by key, and the agent that a device has."""

import logging
from collections.abc import Mapping

import pytest

from mimi_mqtt.config import AgentSettings, Settings
from mimi_mqtt.fleet.agents import AgentCatalog, AgentsInForce
from mimi_mqtt.fleet.directory import DeviceInfo


def agents(**others: AgentSettings) -> Mapping[str, AgentSettings]:
    return Settings(assistant=AgentSettings(name="Max"), agents=others).every_agent


CHEF = AgentSettings(name="Chef")


def device(agent: str) -> DeviceInfo:
    return DeviceInfo("aa-bb-cc-00-11-22", agent=agent)


@pytest.mark.parametrize(("given", "name"), [("", "Max"), ("default", "Max"), ("chef", "Chef")])
def test_a_device_has_the_agent_it_was_given(given: str, name: str) -> None:
    assert AgentCatalog(AgentsInForce(agents(chef=CHEF))).of(device(given)).settings.name == name


def test_the_default_agent_stands_in_for_one_that_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    catalog = AgentCatalog(AgentsInForce(agents(chef=CHEF)))
    with caplog.at_level(logging.WARNING):
        for given in ("cook", "cook", "maid", "cook"):
            assert catalog.of(device(given)).key == "default"
    assert len(caplog.records) == 2


def test_agents_come_change_and_go_while_the_server_runs() -> None:
    provisioned = AgentsInForce(agents())
    catalog = AgentCatalog(provisioned)
    assert catalog.find("chef") is None
    provisioned.replace(agents(chef=CHEF))
    assert catalog.of(device("chef")).settings.name == "Chef"
    provisioned.replace(agents(chef=AgentSettings(name="Cook")))
    assert catalog.of(device("chef")).settings.name == "Cook"
    provisioned.replace(agents())
    assert catalog.of(device("chef")).settings.name == "Max"


def test_of_two_agents_with_one_name_that_of_the_first_source_is_had() -> None:
    managed = AgentsInForce({"chef": AgentSettings(name="Other"), "maid": AgentSettings(name="Maid")})
    catalog = AgentCatalog(AgentsInForce(agents(chef=CHEF)), managed)
    assert catalog.of(device("chef")).settings.name == "Chef"
    assert catalog.of(device("maid")).settings.name == "Maid"


def test_the_tools_an_agent_may_use_follow_its_changes() -> None:
    provisioned = AgentsInForce(agents(chef=AgentSettings(tools=("set_timer", "self.*"))))
    tools = AgentCatalog(provisioned).tools_of("chef")
    assert list(tools) == ["set_timer", "self.*"]
    provisioned.replace(agents(chef=AgentSettings(tools=())))
    assert list(tools) == []
    provisioned.replace(agents())
    assert list(tools) == ["*"]
