"""The HTTP server on the process's own event loop: uvicorn without its signal handlers and its clock."""

import asyncio
import logging
import socket
from typing import Any

from starlette.types import ASGIApp
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from mimi_mqtt.config import HttpSettings
from mimi_mqtt.descriptors import ACCEPTS_AT_ONCE, BACKLOG
from mimi_mqtt.http.limits import REFUSED

_log = logging.getLogger(__name__)

HEADER_TIMEOUT_S = 10.0
"""Seconds for a request's head to arrive, from the connection or the first byte after the last response."""

_MAX_HEAD_BYTES = 16_384
_KEEP_ALIVE_S = 5
_GRACE_S = 1.0


class BoundedHttpProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 with two more bounds: on open connections, and on the time of a request's head."""

    max_connections = 2_000
    header_timeout_s = HEADER_TIMEOUT_S
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuses a connection beyond the bound before it costs anything more."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            REFUSED.labels("connections").inc()
            transport.abort()
        else:
            self._await_head()

    def data_received(self, data: bytes) -> None:
        """Feeds the parser; the clock runs while no request is being answered."""
        super().data_received(data)
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            self._head_came()
        elif self.cycle is None or self.cycle.response_complete:  # type: ignore[redundant-expr]
            self._await_head()
        else:
            self._head_came()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the clock."""
        self._head_came()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.header_timeout_s, self._too_slow)

    def _head_came(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        REFUSED.labels("head_time").inc()
        self.transport.abort()


class HttpServer:
    """Serves `app` on a bound socket. `max_websocket_bytes` bounds one WebSocket message."""

    def __init__(
        self,
        app: ASGIApp,
        settings: HttpSettings,
        *,
        max_websocket_bytes: int = 262_144,
        header_timeout_s: float = HEADER_TIMEOUT_S,
    ) -> None:
        bounds: dict[str, Any] = {
            "max_connections": settings.max_connections,
            "header_timeout_s": header_timeout_s,
        }
        self._config = Config(
            app,
            http=type("ConfiguredHttpProtocol", (BoundedHttpProtocol,), bounds),
            ws="websockets-sansio",
            ws_max_size=max_websocket_bytes,
            # Compression would let a small frame claim a large buffer.
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            # Any client can write the headers that a proxy writes.
            proxy_headers=False,
            server_header=False,
            date_header=False,
            h11_max_incomplete_event_size=_MAX_HEAD_BYTES,
            timeout_keep_alive=_KEEP_ALIVE_S,
            backlog=ACCEPTS_AT_ONCE,  # asyncio takes it for the number of accepts in a row
        )
        self._server: Server | None = None
        self._port = 0

    @property
    def port(self) -> int:
        """The port listened on; 0 before `start` and after `aclose`."""
        return self._port

    @property
    def healthy(self) -> bool:
        """True while connections are accepted."""
        return self._server is not None and all(server.is_serving() for server in self._server.servers)

    @property
    def connections(self) -> int:
        """Open connections, WebSockets included."""
        return len(self._server.server_state.connections) if self._server is not None else 0

    async def start(self, sock: socket.socket) -> None:
        """Listens on the bound `sock`, which is the server's from now on."""
        self._config.load()
        server = Server(self._config)
        server.lifespan = self._config.lifespan_class(self._config)
        await server.startup(sockets=[sock])
        sock.listen(BACKLOG)
        self._server = server
        self._port = int(sock.getsockname()[1])

    def stop_accepting(self) -> None:
        """Refuses new connections. Requests that run are answered, and their connections then closed; open
        WebSockets stay until `aclose`. Safe to call twice."""
        server = self._server
        if server is None:
            return
        for listener in server.servers:
            listener.close()
        for connection in list(server.server_state.connections):
            if isinstance(connection, BoundedHttpProtocol):
                connection.shutdown()

    async def aclose(self) -> None:
        """Stops accepting, lets answers end for a moment, closes everything; within 2 s. Safe to call
        twice."""
        self.stop_accepting()
        server, self._server = self._server, None
        self._port = 0
        if server is None:
            return
        state = server.server_state
        for connection in list(state.connections):
            connection.shutdown()
        if state.tasks:
            await asyncio.wait(set(state.tasks), timeout=_GRACE_S)
        if late := set(state.tasks):
            _log.warning("%d HTTP requests had to be cut", len(late))
            for task in late:
                task.cancel()
            await asyncio.wait(late, timeout=_GRACE_S)
        for connection in list(state.connections):
            connection.transport.abort()
