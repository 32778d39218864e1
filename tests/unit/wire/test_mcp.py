import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.errors import MessageError
from mimi_mqtt.wire import mcp, messages
from mimi_mqtt.wire.mcp import CallResult, DeviceTool, McpError, McpNotification, McpResult, Media

JPEG = b"\xff\xd8\xff"

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


def test_annotations_say_for_whom_a_tool_is_and_what_it_changes() -> None:
    def one(name: str, annotations: object) -> DeviceTool:
        (tool,), _ = mcp.parse_tools_page({"tools": [{"name": name, "annotations": annotations}]})
        return tool

    assert one("self.format_disk", {"audience": ["user"]}).user_only
    assert not one("self.reboot", {"audience": ["user", "assistant"]}).user_only
    assert not one("self.reboot", {"audience": ["assistant"]}).user_only
    silent: tuple[object, ...] = (
        None, [], "user", {}, {"audience": []}, {"audience": "user"}, {"audience": [1]},
    )  # fmt: skip
    for nothing in silent:
        assert one("self.reboot", nothing).user_only
        assert not one("self.lamp", nothing).user_only
    assert one("self.lamp", {"readOnlyHint": True}).read_only
    assert not one("self.lamp", {"readOnlyHint": "yes"}).read_only


def test_call_results() -> None:
    content = [{"type": "text", "text": "one"}, {"type": "resource"}, {"type": "text", "text": "two"}]
    assert mcp.parse_call_result({"content": content, "isError": False}) == CallResult("one\ntwo")
    assert mcp.parse_call_result({"isError": True}) == CallResult("", failed=True)


@pytest.mark.parametrize(
    ("part", "media"),
    [
        ({"type": "image", "data": "/9j/", "mimeType": "image/png"}, Media("image", "image/png", JPEG)),
        ({"type": "image", "image": "/9j/"}, Media("image", "image/jpeg", JPEG)),
        ({"type": "image", "image": "data:image/webp;base64,/9j/"}, Media("image", "image/webp", JPEG)),
        (
            {"type": "image", "image": '{"type":"image","mimeType":"image/png","data":"/9j/"}'},
            Media("image", "image/png", JPEG),
        ),
        ({"type": "audio", "data": "/9j/"}, Media("audio", "audio/wav", JPEG)),
        ({"type": "audio", "data": "/9j/", "mimeType": "audio/ogg"}, Media("audio", "audio/ogg", JPEG)),
    ],
)
def test_results_of_images_and_sounds(part: dict[str, Any], media: Media) -> None:
    assert mcp.parse_call_result({"content": [part]}) == CallResult("", (media,))
    assert mcp.parse_call_result(part) == CallResult("", (media,))


def test_the_number_of_images_is_bounded() -> None:
    content = [{"type": "image", "image": "/9j/"}] * 100
    assert len(mcp.parse_call_result({"content": content}).media) == mcp.MAX_MEDIA


@pytest.mark.parametrize(
    "result",
    [
        None, "x", {"content": {}}, {"content": [1]}, {"content": [{"text": 1}]}, {"isError": "no"},
        {"type": "image"}, {"type": "image", "image": 1}, {"type": "image", "image": "not base64!"},
        {"type": "image", "image": "{broken"}, {"type": "image", "image": "{}"},
        {"type": "audio", "data": "é"}, {"type": "audio", "data": "/9j/", "mimeType": 1},
    ],
)  # fmt: skip
def test_malformed_call_results_are_refused(result: object) -> None:
    with pytest.raises(MessageError):
        mcp.parse_call_result(result)


@pytest.mark.parametrize(
    ("payload", "reply"),
    [
        (
            '{"jsonrpc":"2.0","id":7,"error":{"message":"Unknown tool: "lamp""}}',
            McpError(7, 'Unknown tool: "lamp"'),
        ),
        (
            '{"jsonrpc":"2.0","id":7,"error":{"code":-32601,"message":"Unknown tool: "lamp""}}',
            McpError(7, 'Unknown tool: "lamp"', -32601),
        ),
        (
            '{"jsonrpc": "2.0", "id": 7, "error": {"message": "say "hi" now", "code": -32602}}',
            McpError(7, 'say "hi" now', -32602),
        ),
        ('{"id":7,"error":{"message":"""}}', McpError(7, '"')),
        (
            '{"id":7,"result":{"content":[{"type":"text","text":"a "b" c"}],"isError":false}}',
            McpError(7, "its reply is not valid JSON: a quote in a text is not escaped"),
        ),
    ],
)
def test_a_reply_with_unescaped_quotes_still_fails_its_call(payload: str, reply: McpError) -> None:
    raw = f'{{"session_id":"abc","type":"mcp","payload":{payload}}}'.encode()
    with pytest.raises(MessageError):
        messages.parse(raw)
    assert mcp.salvage_reply(raw) == reply


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b'{"type":"listen","payload":{"id":1,"error":{"message":"a""}}',
        b'{"type":"mcp","payload":{"error":{"message":"the "id":7, is wrong"}}',
        b'{"type":"mcp","payload":{"id":"7","error":{"message":"a"b"}}',
        b'{"type":"mcp","payload":{"method":"x","params":{"a":"b"c"}}}',
        b'{"type":"mcp","payload":{' + b" " * 600 + b'"id":7,"error":{"message":"a"b"}}}',
    ],
)  # fmt: skip
def test_what_names_no_request_is_not_salvaged(raw: bytes) -> None:
    assert mcp.salvage_reply(raw) is None


@given(st.binary(max_size=200), st.sampled_from([b"", b'"code":-1}', b'"}}']))
def test_any_broken_message_is_salvaged_or_not(middle: bytes, end: bytes) -> None:
    mcp.salvage_reply(middle)
    found = mcp.salvage_reply(b'{"type":"mcp","payload":{"id":7,"error":{"message":"' + middle * 20 + end)
    assert found is not None
    assert found.id == 7
    assert len(found.message) <= mcp.MAX_ERROR_CHARS


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
