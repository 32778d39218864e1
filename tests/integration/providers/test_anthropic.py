"""Anthropic's wire protocol, and its rules for a dialogue."""

import base64
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from mimi_mqtt.errors import ProviderBadAnswer, ProviderRateLimited, ProviderRefused, ProviderUnavailable
from mimi_mqtt.providers.contract.chat import ChatMessage, TextDelta, ToolCall, ToolSpec, Usage
from tests.integration.providers.asking import JPEG, QUESTION, events, model, text
from tests.servers.anthropic_server import KEY, TEXT, AnthropicServer, block, texts

LIGHT = ToolSpec("light", "Switches a light", {"type": "object", "properties": {"on": {"type": "boolean"}}})


@pytest.fixture
async def server() -> AsyncIterator[AnthropicServer]:
    running = AnthropicServer()
    await running.start()
    yield running
    await running.aclose()


def options(server: AnthropicServer, **changes: Any) -> Mapping[str, Any]:
    return {"base_url": server.url, "api_key": KEY, **changes}


async def test_a_dialogue_with_tools_and_pictures_is_told_in_anthropics_terms(
    server: AnthropicServer,
) -> None:
    calls = (ToolCall("toolu_a", "light", {"on": True}), ToolCall("call:b", "volume", {}))
    messages = (
        ChatMessage("system", "Be brief."),
        ChatMessage("user", "light on", images=(JPEG,)),
        ChatMessage("assistant", "", calls),
        ChatMessage("tool", "done", tool_call_id="toolu_a"),
        ChatMessage("tool", "3", tool_call_id="call:b"),
        ChatMessage("user", "and now?"),
    )
    async with model("anthropic", options(server)) as llm:
        await text(llm, messages, tools=(LIGHT, ToolSpec("volume", "", {})))
    sent = server.asked[0].fields
    assert sent["system"] == "Be brief."
    assert [message["role"] for message in sent["messages"]] == ["user", "assistant", "user"]
    user, assistant, results = (message["content"] for message in sent["messages"])
    data = base64.b64encode(JPEG).decode()
    source = {"type": "base64", "media_type": "image/jpeg", "data": data}
    assert user == [{"type": "image", "source": source}, {"type": "text", "text": "light on"}]
    assert assistant == [
        {"type": "tool_use", "id": "toolu_a", "name": "light", "input": {"on": True}},
        {"type": "tool_use", "id": "call_b", "name": "volume", "input": {}},
    ]
    # All results of one round come together, and first.
    assert results == [
        {"type": "tool_result", "tool_use_id": "toolu_a", "content": "done"},
        {"type": "tool_result", "tool_use_id": "call_b", "content": "3"},
        {"type": "text", "text": "and now?"},
    ]
    assert sent["tools"] == [
        {"name": "light", "description": "Switches a light", "input_schema": dict(LIGHT.parameters)},
        {"name": "volume", "description": "", "input_schema": {"type": "object", "properties": {}}},
    ]
    assert "tool_choice" not in sent


async def test_past_calls_have_their_tools_also_when_none_may_be_called(server: AnthropicServer) -> None:
    call = ToolCall("toolu_a", "light", {})
    result = ChatMessage("tool", "done", tool_call_id="toolu_a")
    async with model("anthropic", options(server)) as llm:
        await text(llm, (*QUESTION, ChatMessage("assistant", "", (call,)), result))
    sent = server.asked[0].fields
    assert [tool["name"] for tool in sent["tools"]] == ["light"]
    assert sent["tool_choice"] == {"type": "none"}


async def test_thoughts_are_not_spoken_and_go_back_with_the_results(server: AnthropicServer) -> None:
    server.events = [
        *block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "The light "},
            {"type": "thinking_delta", "thinking": "then."},
            {"type": "signature_delta", "signature": "sig"},
        ),
        *block(1, {"type": "redacted_thinking", "data": "xyz"}),
        *block(2, TEXT, *texts("Wait.")),
        *block(
            3,
            {"type": "tool_use", "id": "toolu_a", "name": "light", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"on": true}'},
        ),
    ]
    async with model("anthropic", options(server, llm_thinking="adaptive")) as llm:
        answer = await events(llm, tools=(LIGHT,))
        call = ToolCall("toolu_a", "light", {"on": True})
        assert answer == [TextDelta("Wait."), call, Usage(7, 2)]
        result = ChatMessage("tool", "done", tool_call_id="toolu_a")
        await text(llm, (*QUESTION, ChatMessage("assistant", "Wait.", (call,)), result), tools=(LIGHT,))
    back = server.asked[1].fields["messages"][1]["content"]
    assert [part["type"] for part in back] == ["thinking", "redacted_thinking", "text", "tool_use"]
    assert back[0] == {"type": "thinking", "thinking": "The light then.", "signature": "sig"}
    assert server.asked[1].fields["thinking"] == {"type": "adaptive"}


async def test_options_are_sent_only_when_set(server: AnthropicServer) -> None:
    async with model("anthropic", options(server)) as llm:
        await text(llm)
    changes = {"llm_thinking": None, "llm_effort": "low", "llm_cache": False, "llm_max_tokens": 99}
    async with model("anthropic", options(server, **changes)) as llm:
        await text(llm)
    bare, full = (asked.fields for asked in server.asked)
    assert (bare["thinking"], bare["cache_control"]) == ({"type": "disabled"}, {"type": "ephemeral"})
    assert "output_config" not in bare
    assert full["output_config"] == {"effort": "low"}
    assert full["max_tokens"] == 99
    assert not {"thinking", "cache_control"} & set(full)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("overloaded_error", ProviderUnavailable),
        ("rate_limit_error", ProviderRateLimited),
        ("invalid_request_error", ProviderRefused),
    ],
)
async def test_an_error_within_the_stream_has_its_kind(
    server: AnthropicServer, kind: str, expected: type[Exception]
) -> None:
    server.events = [{"type": "error", "error": {"type": kind, "message": "so it is"}}]
    async with model("anthropic", options(server)) as llm:
        with pytest.raises(expected, match="so it is"):
            await text(llm)


async def test_an_answer_without_its_end_broke_off(server: AnthropicServer) -> None:
    server.ends = False
    async with model("anthropic", options(server)) as llm:
        with pytest.raises(ProviderUnavailable):
            await text(llm)


async def test_a_model_that_declines_is_a_refusal(server: AnthropicServer) -> None:
    server.events, server.stop_reason = [], "refusal"
    async with model("anthropic", options(server)) as llm:
        with pytest.raises(ProviderRefused, match="declines"):
            await text(llm)


async def test_a_delta_of_no_block_is_a_bad_answer(server: AnthropicServer) -> None:
    delta = {"type": "thinking_delta", "thinking": "x"}
    server.events = [{"type": "content_block_delta", "index": 9, "delta": delta}]
    async with model("anthropic", options(server)) as llm:
        with pytest.raises(ProviderBadAnswer):
            await text(llm)


async def test_a_dialogue_that_the_assistant_began_begins_with_the_user(server: AnthropicServer) -> None:
    greeted = (ChatMessage("assistant", "Hello!"), ChatMessage("user", "hello"))
    async with model("anthropic", options(server)) as llm:
        await text(llm, greeted)
    roles = [message["role"] for message in server.asked[0].fields["messages"]]
    assert roles == ["user", "assistant", "user"]
