"""A vendor's client, made on first use: an SDK's or plain HTTP; and the base of providers that have one."""

import asyncio
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cache
from typing import Generic, Protocol, TypeVar

import httpx

from mimi_mqtt.providers.contract.provider import Provider
from mimi_mqtt.providers.runtime.resilience import Limits

T = TypeVar("T")


class LazyClient(ABC, Generic[T]):
    """A client that is made in a thread on first use: packages and certificates take a while to load."""

    def __init__(self) -> None:
        self._made: T | None = None
        self._making = asyncio.Lock()

    async def get(self) -> T:
        """The client. Raises what making it raises, such as ProviderNotConfigured."""
        if self._made is None:
            async with self._making:
                if self._made is None:
                    self._made = await asyncio.to_thread(self._make)
        return self._made

    async def aclose(self) -> None:
        """Closes the connections; a later `get` makes a new client."""
        made, self._made = self._made, None
        if made is not None:
            await self._close(made)

    @abstractmethod
    def _make(self) -> T:
        """A new client; called in a thread."""

    @abstractmethod
    async def _close(self, made: T) -> None:
        """Closes the connections of `made`."""


class Client(Protocol):
    """The interface of a client that `ClientProvider` uses."""

    async def get(self) -> object:
        """Makes it if need be."""

    async def aclose(self) -> None:
        """Closes its connections."""


class ClientProvider(Provider):
    """A provider that needs no more than its client; to be named before the role among the bases."""

    _client: Client

    async def start(self) -> None:
        """Makes the client. Raises ProviderNotConfigured."""
        await self._client.get()

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._client.aclose()


@cache
def trusted_certificates(make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """The TLS context that `make` makes, one for all callers, which must not change it.

    Reading the certificates takes tens of milliseconds and some megabytes; blocks the first time.
    """
    return make()


def http_client(limits: Limits) -> httpx.AsyncClient:
    """A client that keeps its connections: requests are a user's utterance apart, and by itself httpx
    hangs up after 5 s. Blocks while the certificates are read."""
    kept = httpx.Limits(max_connections=None, max_keepalive_connections=20, keepalive_expiry=60.0)
    trusted = trusted_certificates(httpx.create_ssl_context)
    return httpx.AsyncClient(timeout=limits.timeout_s, limits=kept, verify=trusted)


class HttpClient(LazyClient[httpx.AsyncClient]):
    """Plain HTTP, on connections that are kept."""

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self._limits = limits

    def _make(self) -> httpx.AsyncClient:
        return http_client(self._limits)

    async def _close(self, made: httpx.AsyncClient) -> None:
        await made.aclose()
