"""The outermost ASGI layer: finds out who asks, counts it, and measures what answering costs."""

import asyncio
import time
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final, cast

from starlette.types import ASGIApp, Receive, Scope, Send

from mimi_mqtt.http.admission import Admission, Evictable
from mimi_mqtt.http.clients import client_address
from mimi_mqtt.http.collection_clock import CollectionClock
from mimi_mqtt.http.replies import error_reply

CONNECTION = "mimi.connection"
"""Key of the connection, an `Evictable`, in a WebSocket scope's state."""

_COLLECTIONS: Final = CollectionClock()


class Accounting:
    """Serves `app` to addresses that are within their shares."""

    def __init__(self, app: ASGIApp, admission: Admission) -> None:
        _COLLECTIONS.start()
        self.stopping = False
        self._app = app
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI. Returns quietly when it is cancelled because the server stops."""
        try:
            await self._serve(scope, receive, send)
        except asyncio.CancelledError:
            if not self.stopping:
                raise

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        admission = self._admission
        peer = client_address(scope)
        admission.proxies.resolve(scope)
        address = client_address(scope)
        excess = admission.count(address)
        if excess is not None:
            headers = {"Retry-After": str(excess.retry_after_s)}
            if peer == address:  # a proxy's connection is others', too
                headers["Connection"] = "close"
            await error_reply(429, excess.message, headers)(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._serve_websocket(address, scope, receive, send)
        elif _is_ambiguous(scope):
            admission.refuse("ambiguous HTTP requests", address)
            message = "a request has Content-Length or Transfer-Encoding, not both"
            await error_reply(400, message, {"Connection": "close"})(scope, receive, send)
        else:
            answer = cast(Coroutine[Any, Any, None], self._app(scope, receive, send))
            await metered(answer, lambda seconds: admission.charge(address, seconds))

    async def _serve_websocket(self, address: str, scope: Scope, receive: Receive, send: Send) -> None:
        connection: Evictable = scope["state"][CONNECTION]
        connection.address = address
        if not self._admission.open_websocket(address, connection):
            message = "too many WebSockets from this address (shares.websockets_per_address)"
            await error_reply(429, message, {"Retry-After": "60"})(scope, receive, send)
            return
        await self._app(scope, receive, send)  # the connection leaves when it ends


@types.coroutine
def metered(
    coroutine: Coroutine[Any, Any, None], charge: Callable[[float], None]
) -> Generator[Any, Any, None]:
    """Awaits `coroutine`, and calls `charge` with the computing time of this thread that it took, in seconds,
    each time that it waits and at its end. Full garbage collections are not charged: they fall due to
    whoever is answered then."""
    value: Any = None
    error: BaseException | None = None
    while True:
        started = time.thread_time() - _COLLECTIONS.seconds
        try:
            waits_for = coroutine.send(value) if error is None else coroutine.throw(error)
        except StopIteration:
            return
        finally:
            charge(time.thread_time() - _COLLECTIONS.seconds - started)
        value, error = None, None
        try:
            value = yield waits_for
        except GeneratorExit:
            coroutine.close()
            raise
        except BaseException as thrown:  # noqa: BLE001  # such as cancellation: the coroutine's to handle
            error = thrown


def _is_ambiguous(scope: Scope) -> bool:
    """True for a request whose end two servers may see in different places (RFC 9112, 6.1)."""
    names = {name for name, _ in scope["headers"]}
    return b"content-length" in names and b"transfer-encoding" in names
