"""The client of a device's MCP server."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.errors import ToolError
from mimi_mqtt.tools.device_mcp import (
    MAX_PAGES,
    MAX_PENDING,
    MAX_TOOL_CHARS,
    MAX_TOOLS,
    REPLY_TIMEOUT_S,
    DeviceTools,
)
from mimi_mqtt.tools.registry import ToolBox
from mimi_mqtt.tools.result import ToolResult
from mimi_mqtt.wire.mcp import Media
from mimi_mqtt.wire.messages import ServerMcp, encode
from tests.virtual_time import run

pytestmark = pytest.mark.virtual_time


def tool(name: str, **extra: Any) -> dict[str, Any]:
    return {"name": name, "description": f"does {name}", "inputSchema": {"type": "object"}} | extra


class Device:
    """The other end. `pages` is its tool list; `on_call` answers tools/call with a result or an error."""

    def __init__(self, *pages: list[dict[str, Any]]) -> None:
        self.pages = pages
        self.asked: list[Mapping[str, Any]] = []
        self.silent = False
        self.on_call: Callable[[Mapping[str, Any]], dict[str, Any]] = lambda params: text_result("done")
        self.client = DeviceTools(self.receive)

    def receive(self, payload: Mapping[str, Any]) -> None:
        self.asked.append(payload)
        if "id" not in payload or self.silent:
            return
        params = payload.get("params", {})
        body: dict[str, Any]
        match payload["method"]:
            case "initialize":
                body = {"result": {"protocolVersion": "2024-11-05"}}
            case "tools/list":
                page = int(params["cursor"] or 0)
                following = {"nextCursor": str(page + 1)} if page + 1 < len(self.pages) else {}
                body = {"result": {"tools": self.pages[page], **following}}
            case _:
                body = self.on_call(params)
        reply = {"jsonrpc": "2.0", "id": payload["id"], **body}
        asyncio.get_running_loop().call_soon(self.client.received, reply)

    @property
    def methods(self) -> list[str]:
        return [payload["method"] for payload in self.asked]

    @property
    def names(self) -> list[str]:
        return [found.spec.name for found in self.client.tools()]


def text_result(*texts: str, failed: bool = False) -> dict[str, Any]:
    return {"result": {"content": [{"type": "text", "text": text} for text in texts], "isError": failed}}


async def test_discovery_introduces_itself_and_reads_all_pages() -> None:
    device = Device([tool("self.a")], [tool("self.b")], [tool("self.c")])
    await device.client.discover()
    assert device.methods == ["initialize", "notifications/initialized"] + ["tools/list"] * 3
    assert device.names == ["self__a", "self__b", "self__c"]
    assert device.client.discovered
    params = device.asked[0]["params"]
    assert params["protocolVersion"] == "2024-11-05"
    assert params["capabilities"] == {}
    assert all(type(payload["id"]) is int for payload in device.asked if "id" in payload)
    assert all("withUserTools" not in payload.get("params", {}) for payload in device.asked)


async def test_a_camera_is_told_where_its_photos_go_again_and_again() -> None:
    device = Device([tool("self.camera.take_photo")], [tool("self.audio_speaker.set_volume")])
    await device.client.discover(("http://10.0.0.2:8003/mcp/vision/explain", "token-1"))
    assert device.client.has_camera
    vision = {"url": "http://10.0.0.2:8003/mcp/vision/explain", "token": "token-1"}
    assert device.asked[0]["params"]["capabilities"] == {"vision": vision}
    await device.client.introduce((vision["url"], "token-2"))
    assert device.methods[-1] == "initialize"
    assert device.asked[-1]["params"]["capabilities"]["vision"]["token"] == "token-2"
    assert len(device.names) == 2


async def test_a_device_without_a_camera_has_none() -> None:
    device = Device([tool("self.audio_speaker.set_volume")])
    assert not device.client.has_camera
    await device.client.discover()
    assert not device.client.has_camera


async def test_tool_is_called_by_the_devices_own_name_and_its_real_reply_is_awaited() -> None:
    device = Device([tool("self.audio_speaker.set_volume")])
    await device.client.discover()
    done = False

    def act(params: Mapping[str, Any]) -> dict[str, Any]:
        nonlocal done
        done = True
        return text_result("true")

    device.on_call = act
    (volume,) = device.client.tools()
    assert await volume.run({"volume": 40}) == ToolResult("true")
    assert done
    assert device.asked[-1]["params"] == {
        "name": "self.audio_speaker.set_volume",
        "arguments": {"volume": 40},
    }


async def test_names_that_collide_stay_two_tools() -> None:
    device = Device([tool("self.a.b"), tool("self__a.b"), tool("self.a__b")])
    await device.client.discover()
    assert device.names == ["self__a__b", "self__a__b_2", "self__a__b_3"]
    called: list[str] = []

    def act(params: Mapping[str, Any]) -> dict[str, Any]:
        called.append(params["name"])
        return text_result("ok")

    device.on_call = act
    for found in device.client.tools():
        await found.run({})
    assert called == ["self.a.b", "self__a.b", "self.a__b"]


async def test_long_names_that_collide_stay_within_what_models_take() -> None:
    device = Device([tool("a" * 60 + "." + "b" * 2), tool("a" * 60 + "__" + "b" * 2)])
    await device.client.discover()
    assert len(set(device.names)) == 2
    assert all(len(name) <= 64 for name in device.names)


async def test_tools_for_people_are_left_out_even_when_listed() -> None:
    device = Device([tool("self.reboot"), tool("self.upgrade_firmware"), tool("self.get_device_status")])
    await device.client.discover()
    assert device.names == ["self__get_device_status"]


async def test_a_tool_for_people_is_told_by_its_annotations() -> None:
    device = Device(
        [
            tool("self.format_disk", annotations={"audience": ["user"]}),
            tool("self.reboot", annotations={"audience": ["user", "assistant"]}),
            tool("self.lamp.get", annotations={"readOnlyHint": True}),
        ]
    )
    await device.client.discover()
    assert [(found.spec.name, found.spec.read_only) for found in device.client.tools()] == [
        ("self__reboot", False),
        ("self__lamp__get", True),
    ]


async def test_a_reply_with_unescaped_quotes_fails_its_call_at_once() -> None:
    device = Device()
    device.silent = True
    call = asyncio.ensure_future(device.client.call("self.lamp", {}))
    await asyncio.sleep(0)
    begun = asyncio.get_running_loop().time()
    device.client.received_broken(b"{ no reply at all")
    device.client.received_broken(
        b'{"session_id":"s","type":"mcp","payload":{"jsonrpc":"2.0","id":%d,'
        b'"error":{"message":"Unknown tool: "self.lamp""}}}' % device.asked[-1]["id"]
    )
    with pytest.raises(ToolError, match=r'the device says: Unknown tool: "self\.lamp"'):
        await call
    assert asyncio.get_running_loop().time() == begun


@pytest.mark.parametrize("body", [{"error": "no"}, {"error": {"message": 7}}, {}])
async def test_a_malformed_reply_fails_its_call_at_once(body: dict[str, Any]) -> None:
    device = Device()
    device.on_call = lambda params: body
    begun = asyncio.get_running_loop().time()
    with pytest.raises(ToolError, match="can't be understood"):
        await device.client.call("self.a", {})
    assert asyncio.get_running_loop().time() == begun


async def test_an_image_of_the_camera_is_a_typed_result() -> None:
    device = Device([tool("self.a")])
    device.on_call = lambda params: {"result": {"content": [{"type": "image", "image": "/9j/"}]}}
    await device.client.discover()
    box = ToolBox(device.client)
    photo = Media("image", "image/jpeg", b"\xff\xd8\xff")
    assert await box.run("self__a", {}) == ToolResult("", (photo,))
    assert await box.call("self__a", {}) == "[image: image/jpeg, 3 bytes]"


async def test_a_photo_may_take_longer_than_other_calls() -> None:
    device = Device([tool("self.camera.take_photo")])
    await device.client.discover()
    device.silent = True
    begun = asyncio.get_running_loop().time()
    with pytest.raises(ToolError, match="did not answer tools/call within 40 s"):
        await ToolBox(device.client).call("self__camera__take_photo", {})
    assert asyncio.get_running_loop().time() - begun == pytest.approx(40.0)


async def test_a_call_that_is_too_long_for_the_device_is_refused_with_the_reason() -> None:
    longest = 2_000

    def send(payload: Mapping[str, Any]) -> None:
        if len(encode(ServerMcp(payload), "0" * 32)) > longest:
            raise ToolError(f"this device takes {longest} bytes")

    client = DeviceTools(send)
    with pytest.raises(ToolError, match="takes 2000 bytes"):
        await client.call("self.screen.show", {"text": "đ" * 1_000})
    for _ in range(2 * MAX_PENDING):  # a refused call does not count as waiting
        with pytest.raises(ToolError, match="takes 2000 bytes"):
            await client.call("self.screen.show", {"text": "đ" * 1_000})


async def test_endless_pages_are_not_followed() -> None:
    device = Device(*[[tool(f"self.t{page}")] for page in range(1000)])
    await device.client.discover()
    assert device.methods.count("tools/list") == MAX_PAGES


async def test_cursor_that_repeats_ends_the_list() -> None:
    device = Device([tool("self.a")])
    device.pages = ([tool("self.a")], [tool("self.b")])

    def loop_forever(payload: Mapping[str, Any]) -> None:
        device.asked.append(payload)
        if "id" in payload:
            result: dict[str, Any] = {"tools": [tool("self.a")], "nextCursor": "again"}
            reply = {"jsonrpc": "2.0", "id": payload["id"], "result": result}
            asyncio.get_running_loop().call_soon(client.received, reply)

    client = DeviceTools(loop_forever)
    await client.discover()
    assert device.methods.count("tools/list") == 2


async def test_number_and_size_of_tools_are_bounded() -> None:
    giant = tool("self.giant", description="x" * (MAX_TOOL_CHARS + 1))
    device = Device([giant] + [tool(f"self.t{number}") for number in range(MAX_TOOLS + 50)])
    await device.client.discover()
    assert len(device.names) == MAX_TOOLS
    assert "self__giant" not in device.names


async def test_texts_of_a_result_are_joined() -> None:
    device = Device([tool("self.a")])
    device.on_call = lambda params: text_result("one", "two")
    assert await device.client.call("self.a", {}) == ToolResult("one\ntwo")


async def test_failed_result_is_an_error() -> None:
    device = Device([tool("self.a")])
    device.on_call = lambda params: text_result("no such lamp", failed=True)
    with pytest.raises(ToolError, match="no such lamp"):
        await device.client.call("self.a", {})


async def test_error_object_carries_only_a_message() -> None:
    device = Device([tool("self.a")])
    device.on_call = lambda params: {"error": {"message": "Missing required argument: volume"}}
    with pytest.raises(ToolError, match="Missing required argument: volume"):
        await device.client.call("self.a", {})


@pytest.mark.parametrize("result", [None, 7, [], "true", {"content": 5}, {"content": [7]}])
async def test_result_that_is_none_is_an_error(result: object) -> None:
    device = Device()
    device.on_call = lambda params: {"result": result}
    with pytest.raises(ToolError, match="can't be understood"):
        await device.client.call("self.a", {})


async def test_list_that_is_none_is_an_error() -> None:
    device = Device([{"name": 7}])
    with pytest.raises(ToolError, match="can't be understood"):
        await device.client.discover()
    assert not device.client.discovered


async def test_silent_device_is_waited_for_and_given_up() -> None:
    device = Device()
    device.silent = True
    begun = asyncio.get_running_loop().time()
    with pytest.raises(ToolError, match="did not answer"):
        await device.client.call("self.a", {})
    assert asyncio.get_running_loop().time() - begun == pytest.approx(REPLY_TIMEOUT_S)


async def test_late_and_unknown_replies_are_ignored() -> None:
    device = Device()
    device.silent = True
    with pytest.raises(ToolError):
        await device.client.call("self.a", {})
    late = device.asked[-1]["id"]
    for reply_id in (late, late + 1, 10**9, -1):
        device.client.received({"jsonrpc": "2.0", "id": reply_id, "result": {}})
        device.client.received({"jsonrpc": "2.0", "id": reply_id, "error": {"message": "no"}})
    device.silent = False
    assert await device.client.call("self.a", {}) == ToolResult("done")


async def test_second_reply_to_the_same_call_is_ignored() -> None:
    device = Device()
    device.silent = True
    call = asyncio.ensure_future(device.client.call("self.a", {}))
    await asyncio.sleep(0)
    reply = {"jsonrpc": "2.0", "id": device.asked[-1]["id"], **text_result("first")}
    device.client.received(reply)
    device.client.received({**reply, **text_result("second")})
    assert await call == ToolResult("first")


async def test_lost_connection_fails_what_waits_and_what_comes() -> None:
    device = Device()
    device.silent = True
    call = asyncio.ensure_future(device.client.call("self.a", {}))
    await asyncio.sleep(0)
    device.client.close()
    with pytest.raises(ToolError, match="went away"):
        await call
    with pytest.raises(ToolError, match="not connected"):
        await device.client.call("self.a", {})


async def test_a_device_is_asked_for_one_thing_at_a_time() -> None:
    device = Device([tool("self.a"), tool("self.b")])
    await device.client.discover()
    device.asked.clear()
    device.silent = True
    box = ToolBox(device.client)
    both = asyncio.gather(box.call("self__a", {}), box.call("self__b", {}), return_exceptions=True)
    await asyncio.sleep(REPLY_TIMEOUT_S - 1)
    assert len(device.asked) == 1
    device.silent = False
    first, second = await both
    assert isinstance(first, ToolError)
    assert second == "done"


async def test_calls_at_once_are_bounded() -> None:
    device = Device()
    device.silent = True
    calls = [asyncio.ensure_future(device.client.call("self.a", {})) for _ in range(MAX_PENDING)]
    await asyncio.sleep(0)
    with pytest.raises(ToolError, match="busy"):
        await device.client.call("self.a", {})
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    device.silent = False
    assert await device.client.call("self.a", {}) == ToolResult("done")


PAYLOADS = st.dictionaries(
    st.sampled_from(["jsonrpc", "id", "result", "error", "method", "params"]),
    st.none() | st.integers(0, 3) | st.text(max_size=5) | st.just({"message": 1}) | st.just({"message": "x"}),
)


@given(st.lists(PAYLOADS, max_size=6))
def test_no_payload_raises_into_the_connection(payloads: list[dict[str, Any]]) -> None:
    async def scenario() -> None:
        device = Device()
        device.silent = True
        call = asyncio.ensure_future(device.client.call("self.a", {}))
        await asyncio.sleep(0)
        for payload in payloads:
            device.client.received(payload)
        device.client.close()
        (result,) = await asyncio.gather(call, return_exceptions=True)
        assert isinstance(result, ToolError | ToolResult)
        if isinstance(result, ToolResult):
            assert any("result" in payload for payload in payloads)

    run(scenario())
