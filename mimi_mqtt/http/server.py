"""The HTTP server on the process's own event loop: uvicorn without its signal handlers and its clock."""

import asyncio
import logging
import socket
from functools import partial
from typing import Any, Final

from starlette.types import ASGIApp
from uvicorn import Config, Server

from mimi_mqtt.config import HttpSettings, SharesSettings
from mimi_mqtt.descriptors import ACCEPTS_AT_ONCE, BACKLOG
from mimi_mqtt.http.accounting import Accounting
from mimi_mqtt.http.admission import Admission
from mimi_mqtt.http.arrival import HANDSHAKE_TIMEOUT_S, Arrival, Entrance
from mimi_mqtt.http.protocol import HEADER_TIMEOUT_S, MAX_HEAD_BYTES, BoundedHttpProtocol
from mimi_mqtt.http.stalls import WRITE_TIMEOUT_S
from mimi_mqtt.http.websocket import BoundedWebSocketProtocol
from mimi_mqtt.shares import KnownAddresses, Ledger
from mimi_mqtt.tls.certificate import ServerCertificate

ALPN: Final = ("http/1.1",)
"""Protocols offered by ALPN: a browser would speak HTTP/2 otherwise."""

_log = logging.getLogger(__name__)

_KEEP_ALIVE_S = 5
_GRACE_S = 1.0
_CUT_S = 0.2


def certificate_of(settings: HttpSettings) -> ServerCertificate | None:
    """The certificate of the HTTP port, if one is set. Raises StartupError when it can't be used."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return ServerCertificate("http", settings.tls_certificate, settings.tls_key, alpn=ALPN)


class HttpServer:
    """Serves `app` on a bound socket. `max_websocket_bytes` bounds one WebSocket message.

    `ledger` and `known` are those of the process; without them the server counts for itself. With
    `certificate` the same socket speaks TLS too.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: HttpSettings,
        *,
        shares: SharesSettings | None = None,
        ledger: Ledger | None = None,
        known: KnownAddresses | None = None,
        certificate: ServerCertificate | None = None,
        max_websocket_bytes: int = 262_144,
        handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S,
        header_timeout_s: float = HEADER_TIMEOUT_S,
        write_timeout_s: float = WRITE_TIMEOUT_S,
    ) -> None:
        admission = Admission(
            settings,
            shares or SharesSettings(),
            ledger if ledger is not None else Ledger(),
            known if known is not None else KnownAddresses(),
        )
        self._accounting = Accounting(app, admission)
        bounds: dict[str, Any] = {"admission": admission, "write_timeout_s": write_timeout_s}
        times = {"header_timeout_s": header_timeout_s}
        protocol = type("ConfiguredHttpProtocol", (BoundedHttpProtocol,), bounds | times)
        self._entrance: Entrance | None = None
        if certificate is not None:
            self._entrance = Entrance(
                certificate, admission, plain=settings.plain, timeout_s=handshake_timeout_s
            )
        self._config = Config(
            self._accounting,
            http=protocol if self._entrance is None else _arriving(self._entrance, protocol),
            ws=type("ConfiguredWebSocketProtocol", (BoundedWebSocketProtocol,), bounds),
            ws_max_size=max_websocket_bytes,
            # Compression would let a small frame claim a large buffer.
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            # `Accounting` believes those of http.trusted_proxies.
            proxy_headers=False,
            server_header=False,
            date_header=False,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
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
        """Open connections, WebSockets and those in their handshake included."""
        arriving = len(self._entrance.arrivals) if self._entrance is not None else 0
        return arriving + (len(self._server.server_state.connections) if self._server is not None else 0)

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
        if self._entrance is not None:
            self._entrance.close()
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
        self._accounting.stopping = True
        # A request whose client has gone ends by itself; what does not is cancelled.
        for connection in list(state.connections):
            connection.transport.abort()
        if state.tasks:
            await asyncio.wait(set(state.tasks), timeout=_CUT_S)
        if late := set(state.tasks):
            _log.warning("%d HTTP requests had to be cut", len(late))
            for task in late:
                task.cancel()
            await asyncio.wait(late, timeout=_GRACE_S)


def _arriving(entrance: Entrance, protocol: type[BoundedHttpProtocol]) -> Any:
    """The factory that uvicorn calls for each connection: makes an `Arrival`, which makes a `protocol` when
    its first bytes are known."""

    def arrival(**options: Any) -> Arrival:
        return Arrival(entrance, partial(protocol, **options))

    return arrival
