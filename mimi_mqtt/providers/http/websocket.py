"""A WebSocket to a speech-to-text service: closed without waiting, with ProviderError kinds."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from pydantic import SecretStr
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from mimi_mqtt.providers.http.errors import websocket_errors


@asynccontextmanager
async def open_socket(
    name: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    secrets: Sequence[SecretStr | None] = (),
    cures: Mapping[int, str] | None = None,
    subprotocols: Sequence[str] = (),
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[ClientConnection]:
    """A connection for one utterance. Raises ProviderError for all its failures, inside too.

    Its time is bounded by the caller. `cures` are by HTTP status; `tls` as `tls_for` makes it.
    """
    with websocket_errors(name, url, secrets=secrets, cures=cures):
        connection = await connect(
            url,
            additional_headers=headers,
            subprotocols=[Subprotocol(protocol) for protocol in subprotocols] or None,
            compression=None,
            open_timeout=None,
            # Servers that compute on their event loop answer no pings; an utterance is short.
            ping_interval=None,
            ssl=tls,
        )
        try:
            yield connection
        finally:
            # The answer is there, or not wanted any more: a close handshake would only delay it.
            connection.transport.close()


async def tls_for(url: str, *, verify: bool = True) -> ssl.SSLContext | None:
    """The TLS context of a wss:// address, made in a thread as reading the certificates takes a while."""
    if not url.startswith("wss:"):
        return None
    context = await asyncio.to_thread(ssl.create_default_context)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
