"""A vendor's client, made on first use, and the providers that live by one."""

import asyncio
from abc import ABC, abstractmethod
from typing import Generic, Protocol, TypeVar

from mimi_mqtt.providers.contract.provider import Provider

T = TypeVar("T")


class LazyClient(ABC, Generic[T]):
    """What is made in a thread when it is first asked for: packages and certificates take a while to load."""

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
    """What `ClientProvider` asks of a client."""

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
