"""The language model of this machine: which one is found, and what happens without one."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing

import pytest
from prometheus_client import REGISTRY

from mimi_mqtt.config.voice import ProviderSettings
from mimi_mqtt.errors import ProviderNotConfigured, ProviderUnavailable
from mimi_mqtt.providers.catalog import local_servers as discovery
from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.providers.catalog.local_servers import FoundModel, find, ollama_address
from mimi_mqtt.providers.contract.chat import ChatMessage, TextDelta
from mimi_mqtt.providers.contract.provider import ProviderOptions
from mimi_mqtt.providers.runtime.fallback import LlmChain
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.providers.vendors.local import llm
from mimi_mqtt.providers.vendors.local.llm import LocalLanguageModel
from tests.servers.model_servers import ModelServer
from tests.servers.openai_server import OpenAiServer
from tests.servers.vendor import Status
from tests.unit.providers.fakes import FakeLlm, collect

NOBODY = "http://127.0.0.1:9"
TOOLS = ["completion", "tools"]
THINKS = [*TOOLS, "thinking"]
GIB = 1024**3
QUESTION = [ChatMessage("user", "hello")]


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    made = ModelServer()
    await made.start()
    yield made
    await made.aclose()


def at(server: ModelServer) -> Mapping[str, str]:
    return {"OLLAMA_HOST": server.url}


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        (":8080", "http://127.0.0.1:8080"),
        ("house", "http://house:11434"),
        ("192.168.1.5:11435", "http://192.168.1.5:11435"),
        ("http://house", "http://house:80"),
        ("https://house/ollama/", "https://house:443/ollama"),
        ("[::]:11434", "http://[::1]:11434"),
        ("[::1]", "http://[::1]:11434"),
        (" 'house:1' ", "http://house:1"),
        ("house:port", "http://127.0.0.1:11434"),
    ],
)
def test_the_address_is_read_as_ollama_reads_it(given: str, address: str) -> None:
    assert ollama_address({"OLLAMA_HOST": given}) == address


async def test_a_model_that_can_not_call_tools_is_passed_over(server: ModelServer) -> None:
    server.ollama = {"embed": ["embedding"], "talker:1b": ["completion"], "helper:4b": TOOLS}
    found = await find(at(server), NOBODY)
    assert found == FoundModel("ollama", f"{server.url}/v1", "helper:4b", loaded=False, size=1)


@pytest.mark.parametrize(
    ("sizes", "running", "chosen"),
    [
        ({"a": 1, "b": 2}, (), "b"),
        ({"a": 4 * 1024**3, "b": 40 * 1024**3}, (), "a"),
        ({"a": 30 * 1024**3, "b": 40 * 1024**3}, (), "a"),
        ({"a": 1, "b": 2}, ("a",), "a"),
    ],
)
async def test_one_in_memory_comes_first_then_the_largest_that_is_not_too_large(
    server: ModelServer, sizes: dict[str, int], running: tuple[str, ...], chosen: str
) -> None:
    server.ollama, server.sizes, server.running = {"a": TOOLS, "b": TOOLS}, sizes, running
    found = await find(at(server), NOBODY)
    assert found is not None
    assert found.model == chosen


async def chosen(server: ModelServer) -> str:
    found = await find(at(server), NOBODY)
    return "" if found is None else found.model


@pytest.mark.parametrize("running", [(), ("thinker",)])
async def test_one_that_answers_without_thinking_comes_before_one_that_thinks(
    server: ModelServer, running: tuple[str, ...]
) -> None:
    server.ollama, server.running = {"thinker": THINKS, "plain": TOOLS}, running
    server.sizes = {"thinker": 5 * GIB, "plain": 2 * GIB}
    assert await chosen(server) == "plain"


async def test_one_that_thinks_comes_before_one_that_is_too_large(server: ModelServer) -> None:
    server.ollama, server.sizes = {"thinker": THINKS, "huge": TOOLS}, {"thinker": 2 * GIB, "huge": 40 * GIB}
    assert await chosen(server) == "thinker"


async def test_a_model_that_ollama_asks_its_cloud_for_is_left_alone(server: ModelServer) -> None:
    server.ollama, server.cloud = {"huge:120b-cloud": TOOLS}, ["huge:120b-cloud"]
    assert await chosen(server) == ""
    server.ollama = {"huge:120b-cloud": TOOLS, "small": TOOLS}
    assert await chosen(server) == "small"


async def test_a_broken_model_does_not_hide_the_others(server: ModelServer) -> None:
    server.ollama, server.broken = {"broken": TOOLS, "whole": TOOLS}, ["broken"]
    assert await chosen(server) == "whole"


async def test_an_ollama_that_does_not_tell_what_is_in_memory_is_asked_too(server: ModelServer) -> None:
    server.ollama, server.old = {"helper": TOOLS}, True
    assert await chosen(server) == "helper"


async def test_of_a_slow_server_the_models_told_of_in_time_count(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "TIMEOUT_S", 0.5)
    server.ollama, server.slow = {"slow": TOOLS, "quick": TOOLS}, ["slow"]
    assert await chosen(server) == "quick"


async def test_lm_studio_is_found_too(server: ModelServer) -> None:
    server.lm_studio = [
        {"id": "embed", "type": "embeddings"},
        {"id": "small", "type": "llm", "state": "not-loaded", "capabilities": ["tool_use"]},
        {"id": "ready", "type": "llm", "state": "loaded", "capabilities": ["tool_use"]},
        {"id": "mute", "type": "llm", "state": "loaded", "capabilities": []},
    ]
    found = await find({"OLLAMA_HOST": NOBODY}, server.url)
    assert found == FoundModel("lmstudio", f"{server.url}/v1", "ready", loaded=True)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"models": 3}',
        b'{"models": [3]}',
        b"[" * 100_000,
        b'{"models": "' + b"x" * 2_000_000,
    ],
)
async def test_whatever_another_server_answers_is_no_model(server: ModelServer, raw: bytes) -> None:
    server.raw, server.lm_studio = raw, []
    assert await find(at(server), server.url) is None


async def test_a_name_that_can_not_be_shown_is_none(server: ModelServer) -> None:
    server.ollama = {"a\x1b[31m": TOOLS, "b" * 500: TOOLS}
    assert await find(at(server), NOBODY) is None


async def test_a_server_that_says_nothing_does_not_delay_for_long(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "TIMEOUT_S", 0.1)
    server.silent = True
    async with asyncio.timeout(10):
        assert await find(at(server), NOBODY) is None


# ── the provider ─────────────────────────────────────────────────────────────────────────────────────────


def made() -> LocalLanguageModel:
    return LocalLanguageModel("local", ProviderOptions(), Limits(timeout_s=5.0, retries=0))


@pytest.fixture
async def vendor() -> AsyncIterator[OpenAiServer]:
    """The server of a model, which wants no key."""
    made = OpenAiServer()
    made.key = "none"
    await made.start()
    yield made
    await made.aclose()


async def text_of(model: LocalLanguageModel | LlmChain) -> str:
    return "".join(
        event.text for event in await collect(model.chat(QUESTION)) if isinstance(event, TextDelta)
    )


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[FoundModel | None]:
    """The models that the searches find; the last one again and again."""
    results: list[FoundModel | None] = []

    async def one(_: object) -> FoundModel | None:
        return results.pop(0) if len(results) > 1 else results[0]

    monkeypatch.setattr(llm, "find", one)
    monkeypatch.setattr(llm, "LOOKS_EVERY_S", 0.01)
    return results


async def test_a_model_that_is_there_answers(vendor: OpenAiServer, found: list[FoundModel | None]) -> None:
    found.append(FoundModel("ollama", vendor.base_url, "qwen", loaded=True))
    model = made()
    await model.start()
    assert model.available
    assert model.answering == f"qwen of Ollama at {vendor.base_url}"
    assert await text_of(model) == "good day"
    assert vendor.asked[0].fields["model"] == "qwen"
    await model.aclose()


@pytest.mark.parametrize("server", ["ollama", "lmstudio"])
async def test_what_is_said_in_the_house_is_sent_to_no_proxy(
    vendor: OpenAiServer, found: list[FoundModel | None], monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
        monkeypatch.setenv(variable.lower(), "http://127.0.0.1:9")
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
    found.append(FoundModel(server, vendor.base_url, "qwen", loaded=True))
    model = made()
    assert await text_of(model) == "good day"
    await model.aclose()


@pytest.mark.parametrize(("thinks", "effort"), [(True, "none"), (False, None)])
async def test_one_that_thinks_is_told_to_answer_at_once(
    vendor: OpenAiServer, found: list[FoundModel | None], thinks: bool, effort: str | None
) -> None:
    found.append(FoundModel("ollama", vendor.base_url, "qwen", loaded=True, thinks=thinks))
    model = made()
    assert await text_of(model) == "good day"
    assert vendor.asked[0].fields.get("reasoning_effort") == effort
    await model.aclose()


async def test_a_request_is_counted_and_repeated_once(
    vendor: OpenAiServer, found: list[FoundModel | None]
) -> None:
    vendor.faults += [Status(503), Status(503)]
    found += [FoundModel("ollama", vendor.base_url, "qwen", loaded=True), None]
    model = LocalLanguageModel("local", ProviderOptions(), Limits(timeout_s=5.0, retries=1))
    labels = {"role": "llm", "name": "ollama"}
    counted = REGISTRY.get_sample_value("mimi_provider_requests_total", labels)
    with pytest.raises(ProviderNotConfigured):
        await text_of(model)
    assert len(vendor.asked) == 1  # the second try looked for a server, and found none
    assert REGISTRY.get_sample_value("mimi_provider_requests_total", labels) == counted
    await model.aclose()


async def test_an_answer_goes_on_when_another_one_fails(
    vendor: OpenAiServer, found: list[FoundModel | None]
) -> None:
    found += [FoundModel("ollama", vendor.base_url, "qwen", loaded=True), None]
    model = made()
    async with aclosing(model.chat(QUESTION)) as first:
        told = [await anext(first)]
        vendor.faults.append(Status(503))
        with pytest.raises(ProviderUnavailable):
            await text_of(model)
        assert not model.available
        told += [event async for event in first]
    assert "".join(event.text for event in told if isinstance(event, TextDelta)) == "good day"
    await model.aclose()


async def test_a_check_tells_which_model_answered(
    vendor: OpenAiServer, found: list[FoundModel | None]
) -> None:
    found.append(FoundModel("lmstudio", vendor.base_url, "gemma", loaded=True))
    model = made()
    assert await model.check() == f"gemma of LM Studio at {vendor.base_url} answered 'good day'"
    await model.aclose()


async def test_without_one_the_next_in_the_chain_answers_and_is_told(found: list[FoundModel | None]) -> None:
    found.append(None)
    local, spare = made(), FakeLlm([TextDelta("spare")], name="spare")
    chain = LlmChain([local, spare])
    await chain.start()
    assert chain.answering == "spare"
    assert await text_of(chain) == "spare"
    await chain.aclose()


async def test_alone_it_tells_the_commands_that_give_one(found: list[FoundModel | None]) -> None:
    found.append(None)
    model = made()
    with pytest.raises(ProviderNotConfigured, match="ollama pull"):
        await text_of(model)


async def test_a_server_that_comes_later_is_found(found: list[FoundModel | None]) -> None:
    found += [None, None, FoundModel("ollama", NOBODY, "late", loaded=False)]
    model = made()
    model._loop._every_s = 0.0
    await model.start()
    answering = [model.answering]
    async with asyncio.timeout(10):
        while not answering[-1]:
            await asyncio.sleep(0)
            answering.append(model.answering)
    assert answering[-1] == f"late of Ollama at {NOBODY}"
    await model.aclose()
    assert not model.available


async def test_a_start_does_not_wait_for_a_server_that_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = asyncio.Event()

    async def slow(_: object) -> FoundModel:
        await go_on.wait()
        return FoundModel("ollama", NOBODY, "slow", loaded=False)

    monkeypatch.setattr(llm, "find", slow)
    monkeypatch.setattr(llm, "START_WAIT_S", 0.01)
    model = made()
    await model.start()
    answering = [model.answering]
    go_on.set()
    async with asyncio.timeout(10):
        await model._look()  # waits for the one that runs
    assert [*answering, model.answering] == ["", f"slow of Ollama at {NOBODY}"]
    await model.aclose()


async def test_one_that_is_closed_while_it_looks_looks_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    cancelled = asyncio.Event()

    async def endless(_: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    monkeypatch.setattr(llm, "find", endless)
    monkeypatch.setattr(llm, "START_WAIT_S", 0.01)
    model = made()
    await model.start()
    await model.aclose()
    assert cancelled.is_set()


async def test_a_server_that_was_stopped_is_forgotten(found: list[FoundModel | None]) -> None:
    found += [FoundModel("ollama", f"{NOBODY}/v1", "gone", loaded=True), None]
    model = made()
    await model.start()
    with pytest.raises(ProviderUnavailable):
        await text_of(model)
    assert not model.available
    await model.aclose()


def test_it_is_asked_by_auto_unless_the_owner_says_no() -> None:
    assert registry.resolve("llm", ProviderSettings(), {}) == ("local", "offline")
    assert registry.resolve("llm", ProviderSettings(find_llm=False), {}) == ("offline",)


def test_it_is_not_asked_without_the_package_that_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "package_installed", lambda package: package != "openai")
    assert registry.resolve("llm", ProviderSettings(), {}) == ("offline",)
