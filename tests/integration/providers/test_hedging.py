"""Hedging with the vendor's real client: a vendor that takes the request and says nothing is left at once."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from mimi_mqtt.config.voice import ProviderSettings
from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.providers.contract.provider import Role
from tests.integration.providers.test_contract import request
from tests.servers.openai_server import KEY, OpenAiServer
from tests.servers.vendor import Silence
from tests.unit.providers.fakes import metric


@pytest.fixture
async def servers() -> AsyncIterator[tuple[OpenAiServer, OpenAiServer]]:
    running = OpenAiServer(), OpenAiServer()
    await asyncio.gather(*(server.start() for server in running))
    yield running
    await asyncio.gather(*(server.aclose() for server in running))


@pytest.mark.parametrize("role", ["stt", "llm", "tts"])
async def test_a_silent_vendor_loses_to_the_next_one(
    role: Role, servers: tuple[OpenAiServer, OpenAiServer]
) -> None:
    silent, _ = servers
    silent.faults.append(Silence())
    names = (f"openai:silent-{role}", f"openai:good-{role}")
    options = {
        name: {"base_url": f"{server.url}/v1", "api_key": KEY}
        for name, server in zip(names, servers, strict=True)
    }
    settings = ProviderSettings.model_validate({role: names, "options": options, "hedge_ms": 30})
    provider = registry.build(role, settings, {})
    await provider.start()
    try:
        # Far sooner than the time-out of 15 s that a chain without hedging waits for.
        async with asyncio.timeout(10):
            assert await request(provider)
    finally:
        await provider.aclose()
    assert not silent.faults
    assert metric("mimi_provider_hedges_total", role=role, name=names[0]) == 1
    assert metric("mimi_provider_hedges_won_total", role=role, name=names[1]) == 1
    assert metric("mimi_provider_resting", role=role, name=names[0]) == 0
    # The second had no reason to be asked twice, and the first answers again when it can.
    assert metric("mimi_provider_requests_total", role=role, name=names[1]) == 1
