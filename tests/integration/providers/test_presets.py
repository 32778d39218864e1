"""Each service that speaks OpenAI's protocol: its key, its model, and in what it differs."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from mimi_mqtt.errors import ProviderNotConfigured, ProviderRateLimited, ProviderRefused, ProviderUnavailable
from mimi_mqtt.providers.catalog import presets, requirements
from mimi_mqtt.providers.contract.chat import ChatMessage, ToolCall, ToolSpec, Usage
from tests.integration.providers.asking import JPEG, QUESTION, events, model, text
from tests.servers.azure_openai_server import AzureOpenAiServer
from tests.servers.openai_server import KEY, OpenAiServer
from tests.servers.vendor import Call, Status

NAMES = [name for name, preset in presets.PRESETS.items() if "llm" in preset.roles and name != "azure"]


@pytest.fixture
async def server() -> AsyncIterator[OpenAiServer]:
    running = OpenAiServer()
    await running.start()
    yield running
    await running.aclose()


@pytest.fixture
async def azure() -> AsyncIterator[AzureOpenAiServer]:
    running = AzureOpenAiServer()
    await running.start()
    yield running
    await running.aclose()


@pytest.mark.parametrize("name", NAMES)
async def test_each_answers_calls_tools_and_refuses_a_wrong_key(
    name: str, server: OpenAiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = presets.PRESETS[name]
    # The service moves to this machine; the user sets nothing but the key, where there is one.
    moved = own if own.base_url is None else replace(own, base_url=server.base_url)
    table = {**presets.PRESETS, name: moved}
    for module in (presets, requirements):
        monkeypatch.setattr(module, "PRESETS", table)
    given = {"base_url": server.base_url} if own.base_url is None else {}
    variable = own.key or ""
    environ = {variable: KEY} if variable else {}
    options = given | ({} if variable else {"api_key": KEY})
    async with model(name, options, environ) as llm:
        assert await text(llm) == "good day"
        server.answer_with_calls(Call("call_a", "light", '{"on": true}'))
        called = await events(llm, tools=(ToolSpec("light", "Switches a light", {}),))
    assert ToolCall("call_a", "light", {"on": True}) in called
    asked = next(asked for asked in server.asked if asked.path == "/v1/chat/completions")
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    if name != "openai":
        assert asked.fields["model"] == own.roles["llm"]["llm_model"] or "first-model"
    extra = own.roles["llm"].get("llm_extra", {})
    assert isinstance(extra, dict)
    assert asked.fields.items() >= extra.items()
    assert ("stream_options" in asked.fields) is own.roles["llm"].get("llm_usage", True)

    async with model(name, {**given, "api_key": "wrong-secret"}) as llm:
        with pytest.raises(ProviderRefused) as caught:
            await text(llm)
    assert "wrong-secret" not in str(caught.value)
    assert (variable or f"providers.options.{name}.api_key") in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
async def test_no_organization_of_openais_goes_to_others(
    name: str, server: OpenAiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-private")
    options = {"base_url": server.base_url, "api_key": KEY, "llm_model": "m"}
    async with model(name, options) as llm:
        await text(llm)
    assert "openai-organization" not in server.asked[0].headers


@pytest.mark.parametrize("name", ["lmstudio", "vllm", "custom"])
async def test_without_a_model_the_servers_first_is_taken(name: str, server: OpenAiServer) -> None:
    server.models = ["text-embedding-nomic", "qwen3-8b", "llama"]
    async with model(name, {"base_url": server.base_url, "api_key": KEY}) as llm:
        await text(llm)
        await text(llm)
    chats = [asked.fields["model"] for asked in server.asked if asked.path.endswith("/completions")]
    assert chats == ["qwen3-8b", "qwen3-8b"]
    assert len(server.asked) == 3


async def test_after_a_refusal_the_server_is_asked_again_what_it_serves(server: OpenAiServer) -> None:
    async with model("vllm", {"base_url": server.base_url, "api_key": KEY, "llm_usage": False}) as llm:
        await text(llm)
        server.models = ["second-model"]
        server.faults.append(Status(404, "The model `first-model` does not exist."))
        with pytest.raises(ProviderRefused):
            await text(llm)
        await text(llm)
    assert server.asked[-1].fields["model"] == "second-model"


async def test_a_server_without_a_model_says_so(server: OpenAiServer) -> None:
    server.models = ["text-embedding-nomic"]
    async with model("lmstudio", {"base_url": server.base_url, "api_key": KEY}) as llm:
        with pytest.raises(ProviderNotConfigured, match="load one there"):
            await text(llm)


async def test_mistral_is_given_ids_of_nine_characters(server: OpenAiServer) -> None:
    calls = (ToolCall("toolu_01ABC", "light", {}), ToolCall("abcDEF123", "light", {}))
    messages = (
        *QUESTION,
        ChatMessage("assistant", "", calls),
        ChatMessage("tool", "done", tool_call_id="toolu_01ABC"),
        ChatMessage("tool", "done", tool_call_id="abcDEF123"),
    )
    async with model("mistral", {"base_url": server.base_url, "api_key": KEY}) as llm:
        await text(llm, messages)
    sent = server.asked[0].fields["messages"]
    ids = [call["id"] for call in sent[2]["tool_calls"]]
    assert ids == [message["tool_call_id"] for message in sent[3:]]
    assert all(re.fullmatch("[A-Za-z0-9]{9}", call_id) for call_id in ids)
    assert ids[1] == "abcDEF123"


async def test_usage_is_read_also_where_it_is_not_asked_for(server: OpenAiServer) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
    choice = {"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}
    server.raw_chunks = [{"choices": [choice], "usage": usage}]
    async with model("mistral", {"base_url": server.base_url, "api_key": KEY}) as llm:
        assert Usage(3, 1) in await events(llm)


@pytest.mark.parametrize(
    ("code", "expected"),
    [(429, ProviderRateLimited), (402, ProviderRefused), (502, ProviderUnavailable)],
)
async def test_openrouters_errors_within_a_stream_have_a_status(
    server: OpenAiServer, code: int, expected: type[Exception]
) -> None:
    server.raw_chunks = [{"error": {"code": code, "message": "Provider disconnected"}, "choices": []}]
    async with model("openrouter", {"base_url": server.base_url, "api_key": KEY}) as llm:
        with pytest.raises(expected, match="Provider disconnected"):
            await text(llm)


async def test_pictures_are_shown(server: OpenAiServer) -> None:
    messages = (ChatMessage("user", "what is this?", images=(JPEG,)), ChatMessage("user", "", images=(JPEG,)))
    async with model("custom", {"base_url": server.base_url, "api_key": KEY, "llm_model": "m"}) as llm:
        await text(llm, messages)
    first, second = (message["content"] for message in server.asked[0].fields["messages"])
    assert [part["type"] for part in first] == ["text", "image_url"]
    assert first[1]["image_url"]["url"].startswith("data:image/jpeg;base64,/9j/4")
    assert [part["type"] for part in second] == ["image_url"]


async def test_azure_is_asked_by_deployment_and_version(azure: AzureOpenAiServer) -> None:
    environ = {"AZURE_OPENAI_ENDPOINT": azure.url, "AZURE_OPENAI_API_KEY": KEY}
    async with model("azure", {"llm_model": "my-gpt", "llm_max_tokens": 9}, environ) as llm:
        await text(llm)
    asked = azure.asked[0]
    assert asked.path == "/openai/deployments/my-gpt/chat/completions"
    assert azure.queries == [{"api-version": "2024-10-21"}]
    assert asked.fields["max_completion_tokens"] == 9
    assert "authorization" not in asked.headers


async def test_azures_newer_address_is_like_openais(azure: AzureOpenAiServer) -> None:
    options = {"base_url": f"{azure.url}/openai/v1", "api_key": KEY, "llm_model": "my-gpt"}
    async with model("azure", options) as llm:
        assert await text(llm) == "good day"
    assert azure.asked[0].path == "/openai/v1/chat/completions"
    assert azure.queries == [{}]
