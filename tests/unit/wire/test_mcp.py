import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.errors import MessageError
from mimi_mqtt.wire import mcp
from mimi_mqtt.wire.mcp import DeviceTool, McpError, McpNotification, McpResult

json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=8,
)


def test_requests_and_notifications() -> None:
    assert mcp.request(7, "tools/call", {"name": "a"}) == {
        "jsonrpc": "2.0",
        "id": 7,
        "method": "tools/call",
        "params": {"name": "a"},
    }
    assert mcp.request(1, "ping") == {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    assert mcp.notification("notifications/initialized") == {
        "jsonrpc": "2.0",
        "method": "notifications/initialized",
    }
    assert mcp.notification("x", {"a": 1})["params"] == {"a": 1}


def test_initialize_tells_the_camera_where_to_post() -> None:
    assert mcp.initialize_params("mimi", "1") == {
        "protocolVersion": "2024-11-05",
        "capabilities": {},
        "clientInfo": {"name": "mimi", "version": "1"},
    }
    vision = mcp.initialize_params("mimi", "1", "http://h/vision", "t")["capabilities"]
    assert vision == {"vision": {"url": "http://h/vision", "token": "t"}}


@pytest.mark.parametrize(
    ("payload", "reply"),
    [
        ({"jsonrpc": "2.0", "id": 1, "result": {"tools": []}}, McpResult(1, {"tools": []})),
        ({"id": 1, "result": None}, McpResult(1, None)),
        ({"id": 2, "error": {"message": "Unknown tool: x"}}, McpError(2, "Unknown tool: x")),
        ({"id": 2, "error": {"code": -32601, "message": "no"}}, McpError(2, "no", -32601)),
        ({"error": {"message": "parse error"}}, McpError(None, "parse error")),
        ({"id": 2, "error": {}}, McpError(2, "the device gave no reason")),
        (
            {"method": "notifications/state", "params": {"a": 1}},
            McpNotification("notifications/state", {"a": 1}),
        ),
        ({"method": "notifications/x"}, McpNotification("notifications/x", {})),
    ],
)
def test_replies(payload: dict[str, Any], reply: object) -> None:
    assert mcp.parse_reply(payload) == reply


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"id": 1},
        {"id": "1", "result": {}},
        {"id": True, "result": {}},
        {"id": 1.0, "result": {}},
        {"result": {}},
        {"id": 1, "error": "no"},
        {"id": 1, "error": {"message": 1}},
        {"id": 1, "error": {"message": "a", "code": "b"}},
        {"method": 1},
        {"method": "a", "params": []},
        {"method": "tools/list", "id": 1},
    ],
)
def test_malformed_replies_are_refused(payload: dict[str, Any]) -> None:
    with pytest.raises(MessageError):
        mcp.parse_reply(payload)


def test_pages_of_tools() -> None:
    schema = {"type": "object", "properties": {"volume": {"type": "integer"}}}
    page = {
        "tools": [{"name": "self.a", "description": "A", "inputSchema": schema}, {"name": "b"}],
        "nextCursor": "self.c",
    }
    assert mcp.parse_tools_page(page) == (
        (DeviceTool("self.a", "A", schema), DeviceTool("b", "", {"type": "object", "properties": {}})),
        "self.c",
    )
    assert mcp.parse_tools_page({"tools": []}) == ((), "")


@pytest.mark.parametrize(
    "result",
    [
        None,
        [],
        {},
        {"tools": {}},
        {"tools": [1]},
        {"tools": [{}]},
        {"tools": [{"name": ""}]},
        {"tools": [{"name": "a", "description": 1}]},
        {"tools": [{"name": "a", "inputSchema": []}]},
        {"tools": [], "nextCursor": 1},
    ],
)
def test_malformed_pages_are_refused(result: object) -> None:
    with pytest.raises(MessageError):
        mcp.parse_tools_page(result)


def test_call_results() -> None:
    content = [{"type": "text", "text": "one"}, {"type": "image"}, {"type": "text", "text": "two"}]
    assert mcp.parse_call_result({"content": content, "isError": False}) == ("one\ntwo", False)
    assert mcp.parse_call_result({"isError": True}) == ("", True)


@pytest.mark.parametrize(
    "result", [None, "x", {"content": {}}, {"content": [1]}, {"content": [{"text": 1}]}, {"isError": "no"}]
)
def test_malformed_call_results_are_refused(result: object) -> None:
    with pytest.raises(MessageError):
        mcp.parse_call_result(result)


@given(
    json_values, st.dictionaries(st.sampled_from(["id", "method", "params", "result", "error"]), json_values)
)
def test_any_json_is_read_or_refused(value: object, payload: dict[str, Any]) -> None:
    for parse in (
        lambda: mcp.parse_reply(payload),
        lambda: mcp.parse_tools_page(value),
        lambda: mcp.parse_call_result(value),
    ):
        try:
            parse()
        except MessageError:
            continue


def test_function_names() -> None:
    assert mcp.function_name("self.audio_speaker.set_volume") == "self__audio_speaker__set_volume"
    assert mcp.function_name("smart home/licht an") == "smart_home_licht_an"
    assert mcp.function_name("") == "_"


def test_long_names_stay_apart() -> None:
    names = {mcp.function_name("self." + "x" * 80 + end) for end in ("a", "b")}
    assert len(names) == 2
    assert all(len(name) == 64 for name in names)


@given(st.text())
def test_any_name_fits_every_api(tool_name: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", mcp.function_name(tool_name))
