"""Connections before their first byte of HTTP: TLS or not is told by the first byte that the client sends.

One port speaks both. A device keeps the OTA address that was once typed into it, and follows no redirect:
with TLS in the place of plain HTTP, those that were told http:// would find nobody.

A connection is counted, by address, when it is accepted, and has its place all through the handshake; uvicorn
knows of it only afterwards.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Final, cast

from prometheus_client import Counter

from mimi_mqtt.background import Background
from mimi_mqtt.http.admission import Admission
from mimi_mqtt.http.clients import is_same_machine
from mimi_mqtt.http.limits import REFUSED
from mimi_mqtt.http.protocol import BoundedHttpProtocol
from mimi_mqtt.tls.certificate import ServerCertificate
from mimi_mqtt.tls.transport import TlsTransport

_log = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT_S: Final = 10.0
"""Seconds for the handshake of TLS and the first byte of a request, from the connection."""
_HANDSHAKE: Final = 0x16
"""The first byte of TLS: the type of a record of its handshake (RFC 8446, 5.1). No request begins with it."""

_handshakes = Counter("mimi_http_tls_handshakes", "Handshakes of TLS on the HTTP port.", ["outcome"])

_ONLY_TLS: Final = json.dumps(
    {"error": "this server is reached over TLS alone (http.plain): use https:// or wss://"}
).encode()
_REFUSAL: Final = (
    b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: TLS/1.2\r\nConnection: Upgrade, close\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(_ONLY_TLS), _ONLY_TLS)
)

MakeProtocol = Callable[[], BoundedHttpProtocol]


class _Faults:
    """The log of faults in handshakes."""

    def fault(self, border: str, detail: str) -> None:
        """Logs the exception being handled."""
        _log.exception("%s: %s", border, detail)


class Entrance:
    """State that all arriving connections of an HTTP server with a certificate share.

    `plain` lets anyone do without TLS; without it only this machine and trusted proxies may.
    """

    def __init__(
        self,
        certificate: ServerCertificate,
        admission: Admission,
        *,
        plain: bool = True,
        timeout_s: float = HANDSHAKE_TIMEOUT_S,
    ) -> None:
        self.certificate = certificate
        self.admission = admission
        self.plain = plain
        self.timeout_s = timeout_s
        self.handshakes = Background(_Faults())
        self.arrivals: set[Arrival] = set()

    def close(self) -> None:
        """Ends the connections that are arriving; safe to call twice."""
        self.handshakes.close()
        for arrival in list(self.arrivals):
            arrival.evict()


class Arrival(asyncio.Protocol):
    """One connection before its first byte of HTTP; an `admission.Evictable`."""

    __slots__ = ("_entrance", "_make", "_timer", "_tls", "_transport", "accepted_at", "address")

    answering = False

    def __init__(self, entrance: Entrance, make: MakeProtocol) -> None:
        self._entrance = entrance
        self._make = make
        self._transport: asyncio.Transport | None = None
        self._tls: TlsTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.accepted_at = 0.0
        self.address = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes an accepted socket, and later TLS on it."""
        if self._tls is not None:
            return
        self._transport = cast(asyncio.Transport, transport)
        self.address = _host(transport, "peername")
        if not self._entrance.admission.arrive(self.address, self):
            self._transport.abort()
            return
        self._entrance.arrivals.add(self)
        loop = asyncio.get_running_loop()
        self.accepted_at = loop.time()
        self._timer = loop.call_later(self._entrance.timeout_s, self._too_slow)

    def data_received(self, data: bytes) -> None:
        """Takes the first bytes of the connection, and the first that were encrypted."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._tls is not None:
            _handshakes.labels("completed").inc()
            self._hand_over(self._tls, data, None)
        elif data[0] == _HANDSHAKE:
            self._begin_tls(transport, data)
        elif self._may_be_plain(transport):
            self._hand_over(transport, data, self.accepted_at)
        else:
            REFUSED.labels("plain").inc()
            transport.write(_REFUSAL)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Frees the connection's place."""
        del exc
        if self._tls is not None:
            _handshakes.labels("completed" if self._tls.secure else "failed").inc()
        self._settle()
        self._entrance.admission.leave(self)

    def evict(self) -> None:
        """Ends the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def _begin_tls(self, transport: asyncio.Transport, data: bytes) -> None:
        entrance = self._entrance
        if self.address not in entrance.admission.proxies:
            # Over its bounds it is told so after the handshake, a few times: then it is not let in.
            entrance.admission.excess(self.address)
        tls = self._tls = TlsTransport(entrance.certificate.context, self, entrance.handshakes, self._charge)
        transport.set_protocol(tls)
        tls.connection_made(transport)
        tls.data_received(data)

    def _hand_over(self, transport: asyncio.Transport, data: bytes, accepted_at: float | None) -> None:
        self._settle()
        protocol = self._make()
        self._entrance.admission.hand_over(self, protocol)
        protocol.admitted = True
        protocol.accepted_at = accepted_at
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(data)

    def _may_be_plain(self, transport: asyncio.Transport) -> bool:
        if self._entrance.plain or self.address in self._entrance.admission.proxies:
            return True
        return is_same_machine(self.address, _host(transport, "sockname"))

    def _charge(self, seconds: float) -> None:
        # A proxy's connections are others', too.
        if self.address not in self._entrance.admission.proxies:
            self._entrance.admission.charge(self.address, seconds)

    def _too_slow(self) -> None:
        REFUSED.labels("handshake_time" if self._tls is not None else "head_time").inc()
        self.evict()

    def _settle(self) -> None:
        """The connection is another protocol's, or gone: nothing of it is kept, as it refers to this."""
        self._entrance.arrivals.discard(self)
        self._transport = self._tls = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _host(transport: asyncio.BaseTransport, end: str) -> str:
    name = transport.get_extra_info(end)
    return str(name[0]) if name else ""
