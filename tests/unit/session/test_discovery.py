"""The device's tools are asked for after its hello was answered, once a connection."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import REGISTRY

from mimi_mqtt.config import SessionSettings, Settings
from mimi_mqtt.errors import ToolError
from mimi_mqtt.session.control import LiveDevices
from mimi_mqtt.shares import Rates
from mimi_mqtt.tools.builtin.clock import Clock
from mimi_mqtt.tools.device_mcp import NO_VISION, VisionAccess
from mimi_mqtt.tools.registry import Tool
from tests.fakes.session import DEVICE, OTHER_DEVICE, FakeControlChannel
from tests.unit.session.conftest import HELLO, House

pytestmark = pytest.mark.virtual_time

WITH_MCP = HELLO | {"features": {"mcp": True}}
VOLUME = {
    "name": "self.audio_speaker.set_volume",
    "description": "Sets the volume",
    "inputSchema": {
        "type": "object",
        "properties": {"volume": {"type": "integer", "minimum": 0, "maximum": 100}},
        "required": ["volume"],
    },
}


METHODS = ["initialize", "notifications/initialized", "tools/list"]


def serve_mcp(house: House, channel: FakeControlChannel, *tools: dict[str, Any]) -> list[dict[str, Any]]:
    """The device's end: answers, and keeps what it was asked. Its tool is the volume's, unless others are
    given."""
    asked: list[dict[str, Any]] = []
    results = {
        "initialize": {"protocolVersion": "2024-11-05", "capabilities": {"tools": {}}},
        "tools/list": {"tools": list(tools) or [VOLUME]},
        "tools/call": {"content": [{"type": "text", "text": "true"}], "isError": False},
    }

    def answer(message: dict[str, Any]) -> None:
        if message["type"] != "mcp":
            return
        payload = message["payload"]
        asked.append(payload)
        if "id" in payload:
            reply = {"jsonrpc": "2.0", "id": payload["id"], "result": results[payload["method"]]}
            told = {"type": "mcp", "session_id": message.get("session_id", ""), "payload": reply}
            asyncio.get_running_loop().call_soon(house.say, channel, told)

    channel.on_message = answer
    return asked


async def test_tools_are_discovered_after_the_answer_and_can_be_called(house: House) -> None:
    channel = house.connect()
    asked = serve_mcp(house, channel)
    house.say(channel, WITH_MCP)
    assert channel.story() == ["hello"]
    await asyncio.sleep(0.1)
    tools = house.listen(channel, "").tools
    names = [spec.name for spec in tools.specs()]
    assert "self__audio_speaker__set_volume" in names
    assert "set_timer" in names
    assert await tools.call("self__audio_speaker__set_volume", {"volume": 40}) == "true"
    assert asked[-1]["params"] == {"name": VOLUME["name"], "arguments": {"volume": 40}}


async def test_a_fault_of_one_device_leaves_the_others_their_tools(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """One fault ended discovery for all devices until a restart."""

    def vision(device_id: str) -> VisionAccess:
        if device_id == DEVICE:
            raise RuntimeError("a defect")
        return NO_VISION

    house.manager.discovery.vision = vision
    first, beside = house.connect(), house.connect(OTHER_DEVICE)
    not_asked, asked = serve_mcp(house, first), serve_mcp(house, beside)
    house.say(first, WITH_MCP)
    house.say(beside, WITH_MCP)
    await asyncio.sleep(0.1)
    assert [request["method"] for request in asked] == METHODS
    assert not_asked == []
    assert [type(record.exc_info[1]) for record in caplog.records if record.exc_info] == [RuntimeError]
    house.manager.discovery.vision = lambda device_id: NO_VISION
    house.say(first, WITH_MCP)
    await asyncio.sleep(0.1)
    assert [request["method"] for request in not_asked] == METHODS


async def test_a_reply_with_unescaped_quotes_fails_its_call_at_once(house: House) -> None:
    channel = house.connect()
    serve_mcp(house, channel)
    house.say(channel, WITH_MCP)
    await asyncio.sleep(0.1)
    tools = house.listen(channel, "").tools
    channel.on_message = None
    call = asyncio.create_task(tools.call("self__audio_speaker__set_volume", {"volume": 40}))
    await asyncio.sleep(0.1)
    begun = asyncio.get_running_loop().time()
    asked_by = channel.of_type("mcp")[-1]["payload"]["id"]
    broken = b'{"type":"mcp","payload":{"id":%d,"error":{"message":"no "amplifier""}}}' % asked_by
    house.manager.control_message(channel, broken)
    with pytest.raises(ToolError, match='the device says: no "amplifier"'):
        await call
    assert asyncio.get_running_loop().time() == begun


async def test_a_source_of_tools_registered_from_outside_is_in_every_session(house: House) -> None:
    house.manager.tool_catalog.register("second clock", lambda request: _Renamed(Clock("Asia/Tokyo")))
    channel = house.connect()
    tools = house.listen(channel, house.hello(channel)).tools
    assert "get_time_in_tokyo" in [spec.name for spec in tools.specs()]
    assert await tools.call("get_time_in_tokyo", {})


async def test_tools_that_a_command_asked_for_are_asked_for_again_after_a_restart(house: House) -> None:
    channel = house.connect()
    house.hello(channel)
    serve_mcp(house, channel)
    call = {"volume": 40}
    await LiveDevices(house.manager).call_tool(
        DEVICE, "self.audio_speaker.set_volume", call, user_tools=False
    )
    house.manager.control_closed(channel, "connection reset")
    back = house.connect()
    asked = serve_mcp(house, back)
    house.say(back, WITH_MCP)
    await asyncio.sleep(0.1)
    assert [payload["method"] for payload in asked].count("tools/list") == 1


class _Renamed:
    """A clock under another name."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def tools(self) -> list[Tool]:
        return [
            replace(tool, spec=replace(tool.spec, name="get_time_in_tokyo")) for tool in self._clock.tools()
        ]


async def test_tools_are_asked_for_once_a_connection(house: House) -> None:
    channel = house.connect()
    asked = serve_mcp(house, channel)
    house.say(channel, WITH_MCP)
    await asyncio.sleep(0.1)
    house.say(channel, WITH_MCP)
    await asyncio.sleep(0.1)
    assert [payload["method"] for payload in asked].count("tools/list") == 1
    assert len(house.listen(channel, "").tools.specs()) == 8
    again = house.connect()
    asked = serve_mcp(house, again)
    house.say(again, WITH_MCP)
    await asyncio.sleep(0.1)
    assert [payload["method"] for payload in asked].count("tools/list") == 1


async def test_a_device_that_restarts_while_it_is_asked_for_its_tools_is_asked_again(house: House) -> None:
    house.say(house.connect(), WITH_MCP)
    await asyncio.sleep(0.1)  # asked, and gone before it answers
    again = house.connect()
    asked = serve_mcp(house, again)
    house.say(again, WITH_MCP)
    await asyncio.sleep(0.1)
    assert [payload["method"] for payload in asked].count("tools/list") == 1
    assert "self__audio_speaker__set_volume" in [spec.name for spec in house.listen(again, "").tools.specs()]


@pytest.mark.parametrize("features", [{}, {"mcp": False}, {"aec": True}])
async def test_device_without_mcp_is_asked_nothing(house: House, features: dict[str, Any]) -> None:
    channel = house.connect()
    house.hello(channel, features=features)
    await asyncio.sleep(15)
    assert channel.story() == ["hello"]


async def test_devices_that_do_not_tell_their_tools_are_counted(house: House) -> None:
    def counted() -> float:
        return REGISTRY.get_sample_value("mimi_session_undiscovered_total") or 0.0

    before = counted()
    silent, talkative = house.connect(), house.connect(OTHER_DEVICE)
    serve_mcp(house, talkative)
    for channel in (silent, talkative):
        house.say(channel, WITH_MCP)
    await asyncio.sleep(15)
    assert counted() - before == 1
    leaving = house.connect()
    house.say(leaving, WITH_MCP)
    await asyncio.sleep(1)
    house.manager.control_closed(leaving, "gone")
    await asyncio.sleep(15)
    assert counted() - before == 2


async def test_device_that_never_answers_is_asked_again_after_its_next_hello(house: House) -> None:
    channel = house.connect()
    house.say(channel, WITH_MCP)
    await asyncio.sleep(15)
    asked = serve_mcp(house, channel)
    house.say(channel, WITH_MCP)
    await asyncio.sleep(0.1)
    assert [payload["method"] for payload in asked] == [
        "initialize",
        "notifications/initialized",
        "tools/list",
    ]


async def test_mcp_before_any_hello_is_taken(house: House) -> None:
    channel = house.connect()
    for payload in ({"method": "notifications/state", "params": {}}, {"id": 1, "result": {}}):
        house.say(channel, {"type": "mcp", "session_id": "", "payload": {"jsonrpc": "2.0"} | payload})
    assert channel.messages == []
    house.hello(channel)


async def test_the_answer_to_a_call_may_come_by_the_next_connection(house: House) -> None:
    channel = house.connect()
    serve_mcp(house, channel)
    house.say(channel, WITH_MCP)
    await asyncio.sleep(0.1)
    tools = house.listen(channel, "").tools
    house.manager.control_closed(channel, "gone")
    call = asyncio.ensure_future(tools.call("self__audio_speaker__set_volume", {"volume": 1}))
    await asyncio.sleep(5)
    back = house.connect()
    asked = serve_mcp(house, back)
    assert await call == "true"
    assert [payload["method"] for payload in asked] == ["tools/call"]


async def test_a_call_that_was_given_up_is_not_carried_out_later(house: House) -> None:
    channel = house.connect()
    serve_mcp(house, channel)
    house.say(channel, WITH_MCP)
    await asyncio.sleep(0.1)
    tools = house.listen(channel, "").tools
    house.manager.control_closed(channel, "gone")
    with pytest.raises(ToolError, match="did not answer"):
        await tools.call("self__audio_speaker__set_volume", {"volume": 1})
    await asyncio.sleep(1)
    back = house.connect()
    asked = serve_mcp(house, back)
    await asyncio.sleep(1)
    assert asked == []


async def test_lost_connection_ends_the_call_that_waits(house: House) -> None:
    house.settings = Settings(session=SessionSettings(reattach_s=0))
    await house.manager.aclose()
    house.manager = house.start()
    channel = house.connect()
    serve_mcp(house, channel)
    house.say(channel, WITH_MCP)
    await asyncio.sleep(0.1)
    tools = house.listen(channel, "").tools
    channel.on_message = None
    call = asyncio.ensure_future(tools.call("self__audio_speaker__set_volume", {"volume": 1}))
    await asyncio.sleep(0.1)
    house.manager.control_closed(channel, "gone")
    with pytest.raises(ToolError, match="went away"):
        await call


async def test_hellos_that_come_together_are_all_answered_before_the_first_tool_is_asked_for(
    house: House,
) -> None:
    first, second = house.connect(DEVICE), house.connect(OTHER_DEVICE)
    house.say(first, WITH_MCP)
    house.say(second, WITH_MCP)
    assert (first.story(), second.story()) == (["hello"], ["hello"])
    await asyncio.sleep(0.1)
    assert (first.story(), second.story()) == (["hello", "mcp"], ["hello", "mcp"])


async def test_discovery_waits_for_a_pause_between_hellos_but_not_for_ever(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house.manager, "_hellos", Rates(1000, 1000))  # one device stands for many
    first = house.connect(DEVICE)
    house.say(first, WITH_MCP)
    second = house.connect(OTHER_DEVICE)
    for _ in range(200):
        house.say(second, WITH_MCP)
        await asyncio.sleep(0.004)
    assert first.story() == ["hello"]
    for _ in range(100):
        house.say(second, WITH_MCP)
        await asyncio.sleep(0.004)
    assert first.story() == ["hello", "mcp"]


async def test_stop_does_not_wait_for_a_device_that_does_not_answer(house: House) -> None:
    channel = house.connect()
    house.say(channel, WITH_MCP)
    await asyncio.sleep(0.1)
    begun = asyncio.get_running_loop().time()
    await house.manager.aclose()
    assert asyncio.get_running_loop().time() == pytest.approx(begun)


async def test_a_call_that_is_too_long_for_the_device_is_refused_with_a_reason(house: House) -> None:
    house.devices[DEVICE] = replace(house.devices[DEVICE], cellular=True)
    channel = house.connect()
    asked = serve_mcp(house, channel)
    house.say(channel, WITH_MCP)
    await asyncio.sleep(0.1)
    device = house.manager.attachment(DEVICE)
    assert device is not None
    called = len(asked)
    with pytest.raises(ToolError, match=r"this device takes 2000"):
        await device.tools.call("self.screen.show", {"text": "a" * 2_000})
    assert len(asked) == called
    await device.tools.call("self.audio_speaker.set_volume", {"volume": 1})
    assert len(asked) == called + 1


CAMERA = {
    "name": "self.camera.take_photo",
    "description": "Takes a photo.",
    "inputSchema": {"type": "object", "properties": {"question": {"type": "string"}}},
}


def told_visions(asked: list[dict[str, Any]]) -> list[str]:
    """The tokens with which a device was to post photos, in order."""
    introductions = [payload["params"] for payload in asked if payload["method"] == "initialize"]
    return [told["capabilities"].get("vision", {}).get("token", "") for told in introductions]


async def test_a_camera_gets_a_new_token_with_each_session(house: House) -> None:
    def session_of(device_id: str) -> tuple[str, str]:
        session = house.manager.session(device_id)
        return "http://10.0.0.2:8003/v", f"of {session.session_id if session is not None else 'nothing'}"

    house.manager.discovery.vision = session_of
    channel = house.connect()
    asked = serve_mcp(house, channel, CAMERA)
    tokens = []
    for _ in range(3):
        house.say(channel, WITH_MCP)
        tokens.append(session_of(DEVICE)[1])
        await asyncio.sleep(0.1)
    assert len(set(tokens)) == 3
    assert told_visions(asked) == tokens
    assert [payload["method"] for payload in asked].count("tools/list") == 1

    session = house.manager.session(DEVICE)
    assert session is not None
    session.end("goodbye")
    await LiveDevices(house.manager).call_tool(DEVICE, "self.camera.take_photo", {}, user_tools=False)
    assert told_visions(asked)[3:] == ["of nothing"]


async def test_a_session_that_begins_while_tools_are_asked_for_has_a_token_of_its_own(house: House) -> None:
    """The device was closed and woken again, and posted photos with the token of the session before."""

    def session_of(device_id: str) -> tuple[str, str]:
        session = house.manager.session(device_id)
        return "http://10.0.0.2:8003/v", f"of {session.session_id if session is not None else 'nothing'}"

    house.manager.discovery.vision = session_of
    channel = house.connect()
    asked = serve_mcp(house, channel, CAMERA)
    answer = channel.on_message
    assert answer is not None
    kept: list[dict[str, Any]] = []
    channel.on_message = kept.append
    tokens = []
    for _ in range(3):
        house.say(channel, WITH_MCP)
        tokens.append(session_of(DEVICE)[1])
        await asyncio.sleep(0.1)
    channel.on_message = answer
    for message in kept:
        answer(message)
    await asyncio.sleep(0.1)
    assert told_visions(asked) == [tokens[0], tokens[2]]


async def test_a_device_without_a_camera_is_introduced_to_once(house: House) -> None:
    house.manager.discovery.vision = lambda _: ("http://10.0.0.2:8003/v", "token")
    channel = house.connect()
    asked = serve_mcp(house, channel)
    for _ in range(2):
        house.say(channel, WITH_MCP)
        await asyncio.sleep(0.1)
    await LiveDevices(house.manager).call_tool(
        DEVICE, "self.audio_speaker.set_volume", {"volume": 4}, user_tools=False
    )
    assert told_visions(asked) == ["token"]
