"""Certificates are read once."""

import ssl

from mimi_mqtt.providers.http.certificates import shared
from mimi_mqtt.providers.http.service import http_client
from mimi_mqtt.providers.runtime.resilience import Limits


async def test_they_are_read_once_for_all() -> None:
    made: list[ssl.SSLContext] = []

    def make() -> ssl.SSLContext:
        made.append(ssl.create_default_context())
        return made[-1]

    assert shared(make) is shared(make)
    assert len(made) == 1


async def test_what_is_shared_trusts_nobody_without_a_certificate() -> None:
    import httpx

    client = http_client(Limits())
    trusted = shared(httpx.create_ssl_context)
    assert trusted.verify_mode is ssl.CERT_REQUIRED
    assert trusted.check_hostname
    await client.aclose()
