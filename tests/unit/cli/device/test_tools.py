import json
from typing import Any

import pytest

from mimi_mqtt.cli.device.tools import GET_STATUS, SET_VOLUME, SNAPSHOT, TAKE_PHOTO, DeviceTools
from mimi_mqtt.wire import mcp


def ask(tools: DeviceTools, method: str, params: dict[str, Any] | None = None) -> mcp.McpReply:
    reply, _ = tools.answer(mcp.request(1, method, params))
    assert reply is not None
    return mcp.parse_reply(reply)


def call(tools: DeviceTools, name: str, arguments: object) -> mcp.McpReply:
    return ask(tools, "tools/call", {"name": name, "arguments": arguments})


def test_initialize_names_the_protocol_version() -> None:
    reply = ask(DeviceTools(), "initialize", mcp.initialize_params("mimi", "1"))
    assert isinstance(reply, mcp.McpResult)
    assert isinstance(reply.result, dict)
    assert reply.result["protocolVersion"] == "2024-11-05"


def test_tools_come_page_by_page() -> None:
    tools = DeviceTools()
    names: list[str] = []
    cursor = ""
    for _ in range(2):
        reply = ask(tools, "tools/list", {"cursor": cursor})
        assert isinstance(reply, mcp.McpResult)
        page, cursor = mcp.parse_tools_page(reply.result)
        names += [tool.name for tool in page]
    assert names == [GET_STATUS, SET_VOLUME]
    assert cursor == ""


def test_tools_fit_one_page_when_that_is_wanted() -> None:
    reply = ask(DeviceTools(tools_per_page=10), "tools/list")
    assert isinstance(reply, mcp.McpResult)
    page, cursor = mcp.parse_tools_page(reply.result)
    assert (len(page), cursor) == (2, "")


def test_volume_is_set_and_shown_in_the_status() -> None:
    tools = DeviceTools(volume=10)
    reply, called = tools.answer(
        mcp.request(1, "tools/call", {"name": SET_VOLUME, "arguments": {"volume": 40}})
    )
    assert called == SET_VOLUME
    assert reply is not None
    done = mcp.parse_reply(reply)
    assert isinstance(done, mcp.McpResult)
    assert mcp.parse_call_result(done.result) == mcp.CallResult("true")
    status = call(tools, GET_STATUS, {})
    assert isinstance(status, mcp.McpResult)
    result = mcp.parse_call_result(status.result)
    assert not result.failed
    assert json.loads(result.text)["audio_speaker"] == {"volume": 40}


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (SET_VOLUME, {}, "Missing valid argument: volume"),
        (SET_VOLUME, {"volume": "40"}, "Missing valid argument: volume"),
        (SET_VOLUME, {"volume": True}, "Missing valid argument: volume"),
        (SET_VOLUME, {"volume": -1}, "Value is below minimum allowed: 0"),
        (SET_VOLUME, {"volume": 101}, "Value exceeds maximum allowed: 100"),
        (SET_VOLUME, [], "Invalid arguments"),
        ("self.reboot", {}, "Unknown tool: self.reboot"),
    ],
)
def test_bad_calls_are_errors_with_only_a_message(name: str, arguments: object, message: str) -> None:
    tools = DeviceTools(volume=10)
    reply, _ = tools.answer(mcp.request(5, "tools/call", {"name": name, "arguments": arguments}))
    assert reply == {"jsonrpc": "2.0", "id": 5, "error": {"message": message}}
    assert tools.volume == 10


def test_unknown_methods_params_and_cursors_are_errors() -> None:
    tools = DeviceTools()
    assert isinstance(ask(tools, "resources/list"), mcp.McpError)
    assert isinstance(ask(tools, "tools/list", {"cursor": "nowhere"}), mcp.McpError)
    reply, _ = tools.answer({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": []})
    assert reply is not None
    assert "error" in reply


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": "1", "method": "initialize"},
        {"jsonrpc": "1.0", "id": 1, "method": "initialize"},
        {"jsonrpc": "2.0", "id": 1, "method": 7},
        {"jsonrpc": "2.0", "id": 1, "result": {}},
    ],
)
def test_a_device_is_silent_about_notifications_and_junk(payload: dict[str, Any]) -> None:
    assert DeviceTools().answer(payload) == (None, "")


def listed(tools: DeviceTools, **more: object) -> list[str]:
    reply = ask(tools, "tools/list", {"cursor": "", **more})
    assert isinstance(reply, mcp.McpResult)
    page, _ = mcp.parse_tools_page(reply.result)
    return [tool.name for tool in page]


def test_the_screen_is_listed_for_people_alone() -> None:
    tools = DeviceTools(tools_per_page=10, camera=True)
    assert listed(tools) == [GET_STATUS, SET_VOLUME, TAKE_PHOTO]
    assert listed(tools, withUserTools=True) == [GET_STATUS, SET_VOLUME, TAKE_PHOTO, SNAPSHOT]
    assert TAKE_PHOTO not in listed(DeviceTools(tools_per_page=10), withUserTools=True)


def test_a_photo_goes_where_the_last_initialize_said() -> None:
    tools = DeviceTools(camera=True)
    arguments = {"name": TAKE_PHOTO, "arguments": {"question": "what?"}}
    assert isinstance(ask(tools, "tools/call", arguments), mcp.McpError)
    ask(tools, "initialize", mcp.initialize_params("mimi", "1", "http://a/v", "token-1"))
    ask(tools, "initialize", mcp.initialize_params("mimi", "1", "http://b/v", "token-2"))
    reply, called = tools.answer(mcp.request(7, "tools/call", arguments))
    assert (reply, called) == (None, TAKE_PHOTO)
    assert tools.post is not None
    assert (tools.post.url, tools.post.token, tools.post.question) == ("http://b/v", "token-2", "what?")
    done = mcp.parse_reply(tools.posted(7, "a kettle", failed=False))
    assert isinstance(done, mcp.McpResult)
    assert mcp.parse_call_result(done.result) == mcp.CallResult("a kettle")
    failed = mcp.parse_reply(tools.posted(7, "status code: 401", failed=True))
    assert isinstance(failed, mcp.McpError)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": TAKE_PHOTO, "arguments": {}},
        {"name": SNAPSHOT, "arguments": {"quality": 3}},
        {"name": SNAPSHOT, "arguments": []},
    ],
)
def test_a_picture_without_its_arguments_is_refused(wrong: dict[str, Any]) -> None:
    assert isinstance(ask(DeviceTools(camera=True), "tools/call", wrong), mcp.McpError)
