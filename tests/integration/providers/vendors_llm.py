"""The rows of language models in the contract tests."""

from collections.abc import Mapping
from typing import Any

from tests.integration.providers.row import Vendor
from tests.servers import anthropic_server, coze_server, dify_server, gemini_server, home_assistant_server
from tests.servers.azure_openai_server import AzureOpenAiServer
from tests.servers.openai_server import KEY, OpenAiServer


def _custom(url: str) -> Mapping[str, Any]:
    return {"base_url": f"{url}/v1", "api_key": KEY, "llm_model": "a-model"}


def _azure(url: str) -> Mapping[str, Any]:
    return {"base_url": url, "api_key": KEY, "llm_model": "my-deployment"}


def _gemini(url: str) -> Mapping[str, Any]:
    return {"base_url": url, "api_key": gemini_server.KEY}


def _anthropic(url: str) -> Mapping[str, Any]:
    return {"base_url": url, "api_key": anthropic_server.KEY}


def _dify(url: str) -> Mapping[str, Any]:
    return {"base_url": f"{url}/v1", "api_key": dify_server.KEY}


def _coze(url: str) -> Mapping[str, Any]:
    return {"base_url": url, "api_key": coze_server.KEY, "bot_id": coze_server.BOT}


def _home_assistant(url: str) -> Mapping[str, Any]:
    return {"base_url": url, "api_key": home_assistant_server.TOKEN}


WRONG_KEY = {"api_key": "wrong-secret"}

# The other presets are the same client with other words: test_presets.py has what differs.
LLM = (
    Vendor("custom", OpenAiServer, _custom, WRONG_KEY),
    Vendor("azure", AzureOpenAiServer, _azure, WRONG_KEY),
    Vendor("gemini", gemini_server.GeminiServer, _gemini, WRONG_KEY),
    Vendor("anthropic", anthropic_server.AnthropicServer, _anthropic, WRONG_KEY),
    Vendor("dify", dify_server.DifyServer, _dify, WRONG_KEY, calls_tools=False),
    Vendor("coze", coze_server.CozeServer, _coze, WRONG_KEY, calls_tools=False),
    Vendor(
        "home_assistant",
        home_assistant_server.HomeAssistantServer,
        _home_assistant,
        WRONG_KEY,
        calls_tools=False,
        streams_answers=False,
    ),
)
