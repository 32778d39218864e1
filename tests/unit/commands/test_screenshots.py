"""A screenshot is asked for, posted and handed over; what goes wrong is told."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from mimi_mqtt.commands.model import Principal
from mimi_mqtt.commands.runner import Commands
from mimi_mqtt.commands.screenshots import Belonging, Screenshots
from mimi_mqtt.errors import Conflict, LimitReached, NotFound, ToolError
from mimi_mqtt.events import EventBus
from mimi_mqtt.files.upload_links import LINKS_PER_DEVICE, UploadLinks
from mimi_mqtt.store.audit import Author

pytestmark = pytest.mark.virtual_time

DEVICE = "aa-bb-cc-00-11-22"
BOB = Principal("bob", DEVICE, user_tools=True)


class Device:
    """The device: posts at the link, or does as it was told. A `DeviceControl` for tools."""

    def __init__(self, links: UploadLinks) -> None:
        self._links = links
        self.here = self.known = True
        self.does: Callable[[], None] | None = None
        self.asked: list[tuple[str, Mapping[str, Any], bool]] = []
        self.go_on = asyncio.Event()
        self.go_on.set()

    def knows(self, _: str) -> bool:
        return self.known

    def connected(self, _: str) -> bool:
        return self.here

    async def call_tool(self, _: str, tool: str, arguments: Mapping[str, Any], *, user_tools: bool) -> str:
        self.asked.append((tool, arguments, user_tools))
        await self.go_on.wait()
        if self.does is not None:
            self.does()
            return "true"
        url = arguments["url"]
        assert url.startswith("http://10.0.0.2:8003/xiaozhi/u/")
        link = self._links.take(url.rpartition("/")[2], asyncio.get_running_loop().time())
        assert link is not None
        assert (link.device_id, link.owner_id, link.group_id) == (DEVICE, "u-bob", "g-home")
        assert link.author.user_id == "u-bob"
        link.upload_id = "f1"
        return "true"


class House:
    def __init__(self) -> None:
        self.links = UploadLinks()
        self.device = Device(self.links)
        self.screenshots = Screenshots(
            Commands(self.device, EventBus()),  # type: ignore[arg-type]
            self.links,
            lambda _: Belonging("u-bob", "g-home"),
            address=lambda _: "http://10.0.0.2:8003",
            path="/xiaozhi/u/",
        )

    async def take(self) -> str:
        return await self.screenshots.take(DEVICE, by=BOB, author=Author("bob", "u-bob"), quality=50)


async def test_a_screenshot_is_asked_for_by_the_tool_that_is_for_people() -> None:
    house = House()
    assert await house.take() == "f1"
    ((tool, arguments, user_tools),) = house.device.asked
    assert (tool, arguments["quality"], user_tools) == ("self.screen.snapshot", 50, True)
    assert len(house.links) == 0


async def test_a_device_that_is_away_or_unknown_is_told() -> None:
    house = House()
    house.device.here = False
    with pytest.raises(Conflict, match="not connected"):
        await house.take()
    house.device.known = False
    with pytest.raises(NotFound):
        await house.take()
    house.screenshots._address = lambda _: None
    with pytest.raises(NotFound):
        await house.take()
    assert len(house.links) == 0


async def test_a_device_without_a_screen_is_told() -> None:
    house = House()

    def fails() -> None:
        raise ToolError("the device says: Unknown tool: self.screen.snapshot")

    house.device.does = fails
    with pytest.raises(ToolError, match="Unknown tool"):
        await house.take()
    assert len(house.links) == 0


async def test_a_device_that_never_answers_is_given_up() -> None:
    house = House()
    house.device.go_on.clear()
    with pytest.raises(ToolError, match="no result within 45 s"):
        await house.take()
    assert len(house.links) == 0


async def test_a_device_that_says_so_and_sends_nothing_is_told() -> None:
    house = House()
    house.device.does = lambda: None
    with pytest.raises(ToolError, match="none arrived"):
        await house.take()


async def test_screenshots_of_a_device_are_bounded() -> None:
    house = House()
    house.device.go_on.clear()
    async with asyncio.TaskGroup() as group:
        taken = [group.create_task(house.take()) for _ in range(LINKS_PER_DEVICE)]
        await asyncio.sleep(1)
        with pytest.raises(LimitReached):
            await house.take()
        house.device.go_on.set()
    assert [task.result() for task in taken] == ["f1"] * LINKS_PER_DEVICE
