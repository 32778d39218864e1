"""The TLS context of a WebSocket's address."""

import ssl

import pytest

from mimi_mqtt.providers.http.websocket import tls_for


@pytest.mark.parametrize("verify", [True, False])
async def test_a_secure_address_is_verified_unless_it_is_trusted_anyway(verify: bool) -> None:
    context = await tls_for("wss://house.local:10095", verify=verify)
    assert context is not None
    assert (context.verify_mode is ssl.CERT_REQUIRED) is verify
    assert context.check_hostname is verify


async def test_a_plain_address_needs_nothing() -> None:
    assert await tls_for("ws://localhost:10095") is None
