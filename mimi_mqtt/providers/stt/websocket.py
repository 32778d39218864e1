"""A WebSocket to a speech-to-text service: closed without waiting, with errors in our own terms."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from pydantic import SecretStr
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
)
from websockets.typing import Subprotocol

from mimi_mqtt.errors import ProviderBadAnswer, ProviderRefused, ProviderUnavailable
from mimi_mqtt.providers.http_status import readable, status_error

# RFC 6455, section 7.4.1.
_POLICY_VIOLATION = 1008
_MESSAGE_TOO_BIG = 1009


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
    """A connection for one utterance. Raises ProviderError for whatever becomes of it, inside too.

    How long it may take is bounded by who waits for the transcript. `cures` are by HTTP status; `tls` as
    `tls_for` makes it.
    """
    try:
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
            # The answer is there, or nobody wants it any more: a close handshake would only hold it up.
            connection.transport.close()
    except InvalidStatus as error:
        response = error.response
        message = readable(bytes(response.body or b""), secrets)
        if response.status_code < 400:
            raise ProviderBadAnswer(
                name, f"{_place(url)} is no WebSocket service (HTTP {response.status_code})"
            ) from error
        answered = {key.lower(): value for key, value in response.headers.raw_items()}
        raise status_error(name, response.status_code, message, answered, cures) from error
    except InvalidMessage as error:
        if isinstance(error.__cause__, EOFError):
            raise ProviderUnavailable(name, f"{_place(url)} hung up") from error
        raise ProviderBadAnswer(name, f"{_place(url)} is no WebSocket service") from error
    except (InvalidURI, InvalidHandshake) as error:
        raise ProviderBadAnswer(name, f"{_place(url)} is no WebSocket service") from error
    except ConnectionClosed as error:
        if error.sent is not None and error.sent.code == _MESSAGE_TOO_BIG:
            raise ProviderBadAnswer(name, "an answer of more than 1 MiB") from error
        closed = error.rcvd
        message = readable(closed.reason, secrets) if closed else ""
        if closed is not None and closed.code == _POLICY_VIOLATION:
            raise ProviderRefused(name, f"refused: {message or closed.code}") from error
        why = f"{closed.code} {message}".strip() if closed else "connection lost"
        raise ProviderUnavailable(name, f"hung up in the middle ({why})") from error
    except OSError as error:
        if isinstance(error, TimeoutError):
            raise
        cause = error.strerror or type(error).__name__
        raise ProviderUnavailable(name, f"can't reach {_place(url)} ({cause})") from error


async def tls_for(url: str, *, verify: bool = True) -> ssl.SSLContext | None:
    """What a wss:// address needs, made in a thread as reading the certificates takes a while."""
    if not url.startswith("wss:"):
        return None
    context = await asyncio.to_thread(ssl.create_default_context)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _place(url: str) -> str:
    return url.partition("?")[0]
