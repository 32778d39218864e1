"""Devices as the fleet sees their connections."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mimi_mqtt.errors import ToolError
from mimi_mqtt.session.live_fleet import ConnectedDevices
from mimi_mqtt.session.manager import SessionManager


class Asked:
    """A connected device that is asked for its tools, and the sessions of a server with it alone."""

    def __init__(self, *, answers: bool = True) -> None:
        self.answers = answers
        self.times = 0
        self.is_tester, self.connected, self.device_id = False, True, "aa"
        self.tools = SimpleNamespace(discovered=False, everything=self.everything)
        self.told: list[str] = []
        self.discovery = SimpleNamespace(vision=lambda device_id: f"vision of {device_id}")

    def attachment(self, device_id: str) -> "Asked | None":
        return self if device_id == self.device_id else None

    async def ask_for_tools(self, vision: str) -> None:
        self.told.append(vision)

    async def everything(self) -> list[Any]:
        self.times += 1
        await asyncio.sleep(0)
        if not self.answers:
            raise ToolError("no answer")
        return [
            SimpleNamespace(name="light", description="", input_schema={}, user_only=False, read_only=True)
        ]


def devices_of(asked: Asked) -> ConnectedDevices:
    return ConnectedDevices(cast("SessionManager", asked))


async def test_a_device_is_asked_once_by_all_who_look_at_its_tools() -> None:
    """Whoever asks again and again would leave no room for the calls of the device's conversation."""
    asked = Asked()
    devices = devices_of(asked)
    found = await asyncio.gather(*(devices.every_tool("aa") for _ in range(20)))
    assert [tools is not None and tools[0]["name"] for tools in found] == ["light"] * 20
    assert asked.times == 1
    assert asked.told == ["vision of aa"]  # or its camera would not know where its photos go
    assert await devices.every_tool("bb") is None
    await devices.every_tool("aa")
    assert asked.times == 2


async def test_a_failure_is_told_to_all_and_the_next_asks_again() -> None:
    asked = Asked(answers=False)
    devices = devices_of(asked)
    found = await asyncio.gather(*(devices.every_tool("aa") for _ in range(3)), return_exceptions=True)
    assert [str(error) for error in found] == ["no answer"] * 3
    assert asked.times == 1
    waiting = asyncio.create_task(devices.every_tool("aa"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    asked.answers = True
    for _ in range(3):
        await asyncio.sleep(0)
    assert await devices.every_tool("aa") is not None
