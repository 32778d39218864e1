"""The wire protocol of Gemini's language models, and the parts they want back."""

import base64
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from mimi_mqtt.errors import (
    ProviderBadAnswer,
    ProviderNotConfigured,
    ProviderRateLimited,
    ProviderRefused,
    ProviderUnavailable,
)
from mimi_mqtt.providers.contract.chat import ChatMessage, TextDelta, ToolCall, ToolSpec, Usage
from tests.integration.providers.asking import JPEG, QUESTION, events, model, text
from tests.servers.gemini_server import KEY, GeminiServer, chunk
from tests.servers.vendor import Status

LIGHT = ToolSpec("light", "Switches a light", {"type": "object", "properties": {"on": {"type": "boolean"}}})


@pytest.fixture
async def server() -> AsyncIterator[GeminiServer]:
    running = GeminiServer()
    await running.start()
    yield running
    await running.aclose()


def options(server: GeminiServer, **changes: Any) -> Mapping[str, Any]:
    return {"base_url": server.url, "api_key": KEY, **changes}


async def test_a_dialogue_with_tools_and_pictures_is_told_in_geminis_terms(server: GeminiServer) -> None:
    calls = (ToolCall("a", "light", {"on": True}), ToolCall("b", "volume", {}))
    messages = (
        ChatMessage("system", "Be brief."),
        ChatMessage("user", "light on", images=(JPEG,)),
        ChatMessage("assistant", "Wait.", calls),
        ChatMessage("tool", "done", tool_call_id="a"),
        ChatMessage("tool", "3", tool_call_id="b"),
        ChatMessage("assistant", "It is on."),
        ChatMessage("user", "thanks"),
    )
    async with model("gemini", options(server, llm_model="gemini-2.5-flash")) as llm:
        await text(llm, messages, tools=(LIGHT, ToolSpec("volume", "", {})))
    asked = server.asked[0]
    assert asked.path == "/v1beta/models/gemini-2.5-flash:streamGenerateContent"
    sent = asked.fields
    assert sent["systemInstruction"]["parts"] == [{"text": "Be brief."}]
    assert [content["role"] for content in sent["contents"]] == ["user", "model", "user", "model", "user"]
    user, assistant, results = (content["parts"] for content in sent["contents"][:3])
    assert user[0] == {"text": "light on"}
    # The SDK writes what lies deeper in snake case, which Google takes for the same.
    assert user[1]["inlineData"]["mime_type"] == "image/jpeg"
    assert base64.urlsafe_b64decode(user[1]["inlineData"]["data"]) == JPEG
    assert assistant == [
        {"text": "Wait."},
        {"functionCall": {"id": "a", "name": "light", "args": {"on": True}}},
        {"functionCall": {"id": "b", "name": "volume", "args": {}}},
    ]
    assert [part["functionResponse"] for part in results] == [
        {"id": "a", "name": "light", "response": {"result": "done"}},
        {"id": "b", "name": "volume", "response": {"result": "3"}},
    ]
    declared = sent["tools"][0]["functionDeclarations"]
    assert declared[0]["parameters_json_schema"] == LIGHT.parameters
    assert "parameters_json_schema" not in declared[1]


async def test_a_signature_goes_back_with_its_call(server: GeminiServer) -> None:
    signature = base64.b64encode(b"secret thought").decode()
    call = {"name": "light", "args": {}}
    server.chunks = [chunk({"functionCall": call, "thoughtSignature": signature})]
    async with model("gemini", options(server)) as llm:
        (made,) = (event for event in await events(llm, tools=(LIGHT,)) if isinstance(event, ToolCall))
        server.chunks = None
        result = ChatMessage("tool", "done", tool_call_id=made.id)
        await text(llm, (*QUESTION, ChatMessage("assistant", "", (made,)), result), tools=(LIGHT,))
    part = server.asked[1].fields["contents"][1]["parts"][0]
    assert base64.urlsafe_b64decode(part["thoughtSignature"]) == b"secret thought"
    assert part["functionCall"]["id"] == made.id


async def test_another_vendors_calls_are_marked_as_foreign(server: GeminiServer) -> None:
    calls = (ToolCall("call_1", "light", {}), ToolCall("call_2", "light", {}))
    results = (ChatMessage("tool", "done", tool_call_id=call.id) for call in calls)
    async with model("gemini", options(server)) as llm:
        await text(llm, (*QUESTION, ChatMessage("assistant", "", calls), *results), tools=(LIGHT,))
    first, second = server.asked[0].fields["contents"][1]["parts"]
    assert base64.urlsafe_b64decode(first["thoughtSignature"]) == b"skip_thought_signature_validator"
    assert "thoughtSignature" not in second


async def test_thoughts_are_not_part_of_the_answer_but_are_counted(server: GeminiServer) -> None:
    server.parts = ({"text": "hmm", "thought": True}, {"text": "Yes."})
    async with model("gemini", options(server)) as llm:
        assert await events(llm) == [TextDelta("Yes."), Usage(7, 2)]


async def test_options_are_sent_only_when_set(server: GeminiServer) -> None:
    async with model("gemini", options(server)) as llm:
        await text(llm)
    full = {"llm_temperature": 0.5, "llm_max_tokens": 9, "llm_thinking_level": "low"}
    async with model("gemini", options(server, **full)) as llm:
        await text(llm)
    async with model("gemini", options(server, llm_thinking_budget=0)) as llm:
        await text(llm)
    bare, filled, none = (asked.fields.get("generationConfig", {}) for asked in server.asked)
    assert not {"temperature", "maxOutputTokens", "thinkingConfig"} & set(bare)
    assert (filled["temperature"], filled["maxOutputTokens"]) == (0.5, 9)
    assert filled["thinkingConfig"]["thinking_level"] == "LOW"
    assert none["thinkingConfig"] == {"thinking_budget": 0}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('{"promptFeedback": {"blockReason": "SAFETY"}}', ProviderRefused),
        ('{"candidates": [{"finishReason": "SAFETY"}]}', ProviderRefused),
        ('{"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL"}]}', ProviderBadAnswer),
        ('{"candidates": [{"content": {"parts": [{"functionCall": {}}]}}]}', ProviderBadAnswer),
        ('{"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}', ProviderUnavailable),
    ],
)
async def test_an_answer_that_is_none_has_its_kind(
    server: GeminiServer, answer: str, expected: type[Exception]
) -> None:
    server.chunks = [answer]
    async with model("gemini", options(server)) as llm:
        with pytest.raises(expected):
            await text(llm)


async def test_googles_own_retry_after_is_understood(server: GeminiServer) -> None:
    server.faults.append(Status(429, "quota", error_code="17s"))
    async with model("gemini", options(server)) as llm:
        with pytest.raises(ProviderRateLimited) as caught:
            await text(llm)
    assert caught.value.retry_after_s == 17


async def test_either_variable_is_the_key(server: GeminiServer) -> None:
    async with model("gemini", {"base_url": server.url}, {"GOOGLE_API_KEY": KEY}) as llm:
        assert await text(llm) == "good day"
    with pytest.raises(ProviderNotConfigured, match="GEMINI_API_KEY or GOOGLE_API_KEY"):
        async with model("gemini", {}):
            pass


async def test_a_dialogue_that_the_assistant_began_begins_with_the_user(server: GeminiServer) -> None:
    greeted = (ChatMessage("assistant", "Hello!"), ChatMessage("user", "hello"))
    async with model("gemini", options(server)) as llm:
        await text(llm, greeted)
    roles = [message["role"] for message in server.asked[0].fields["contents"]]
    assert roles == ["user", "model", "user"]
