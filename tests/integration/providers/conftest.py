"""A fake vendor per test, and providers built for it the way the server builds them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.providers.contract.provider import Provider, Role
from tests.integration.providers.row import Vendor
from tests.servers.vendor import FakeVendor

Connect = Callable[..., Awaitable[Provider]]


@pytest.fixture
async def server(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeVendor]:
    running = vendor.server()
    await running.start()
    vendor.arrange(running.url, monkeypatch)
    yield running
    await running.aclose()


@pytest.fixture
async def connect(role: Role, vendor: Vendor, server: FakeVendor) -> AsyncIterator[Connect]:
    """Builds and starts the provider: `await connect(timeout_s=…, retries=…, **options)`."""
    open_providers: list[Provider] = []

    async def build(*, timeout_s: float = 15.0, retries: int = 0, **changes: Any) -> Provider:
        settings = vendor.settings(role, server.url, **changes)
        limits = {"timeout_s": timeout_s, "retries": retries}
        provider = registry.build(role, settings.model_copy(update=limits), {})
        provider.limits = replace(provider.limits, backoff_s=0.0)
        open_providers.append(provider)
        await provider.start()
        return provider

    yield build
    for provider in open_providers:
        await provider.aclose()
