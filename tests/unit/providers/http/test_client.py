"""A client is made once, in a thread, when it is first asked for."""

import asyncio
import ssl
import threading

import httpx
import pytest

from mimi_mqtt.errors import ProviderNotConfigured
from mimi_mqtt.providers.http.client import LazyClient, http_client, trusted_certificates
from mimi_mqtt.providers.runtime.resilience import Limits


class Numbers(LazyClient[int]):
    """Its clients are numbers; `lacking` keeps it from making any."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[int] = []
        self.closed: list[int] = []
        self.threads: set[int] = set()
        self.lacking = False

    def _make(self) -> int:
        self.threads.add(threading.get_ident())
        if self.lacking:
            raise ProviderNotConfigured("numbers", "no key")
        self.made.append(len(self.made) + 1)
        return self.made[-1]

    async def _close(self, made: int) -> None:
        self.closed.append(made)


async def test_all_who_ask_get_the_same() -> None:
    client = Numbers()
    assert await asyncio.gather(*(client.get() for _ in range(5))) == [1] * 5
    assert client.made == [1]


async def test_the_event_loop_is_not_held_up() -> None:
    client = Numbers()
    await client.get()
    assert threading.get_ident() not in client.threads


async def test_it_is_closed_once_and_made_anew_when_it_is_asked_for_again() -> None:
    client = Numbers()
    await client.aclose()
    await client.get()
    await client.aclose()
    await client.aclose()
    assert client.closed == [1]
    assert await client.get() == 2


async def test_what_it_lacked_may_be_there_the_next_time() -> None:
    client = Numbers()
    client.lacking = True
    with pytest.raises(ProviderNotConfigured):
        await client.get()
    client.lacking = False
    assert await client.get() == 1


async def test_certificates_are_read_once_for_all() -> None:
    made: list[ssl.SSLContext] = []

    def make() -> ssl.SSLContext:
        made.append(ssl.create_default_context())
        return made[-1]

    assert trusted_certificates(make) is trusted_certificates(make)
    assert len(made) == 1


async def test_the_shared_certificates_trust_nobody_without_a_certificate() -> None:
    client = http_client(Limits())
    trusted = trusted_certificates(httpx.create_ssl_context)
    assert trusted.verify_mode is ssl.CERT_REQUIRED
    assert trusted.check_hostname
    await client.aclose()
