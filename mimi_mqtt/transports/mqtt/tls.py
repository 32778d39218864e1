"""TLS as a layer between a socket and the gate: the time of its handshake counts as waiting for CONNECT.

asyncio's own TLS reports a connection only after its handshake, outside of the gate's bounds, and holds a
256 KiB buffer for each: a thousand silent sockets, or a thousand devices, would cost a quarter of a gigabyte.
Here a connection costs what OpenSSL needs. A handshake takes the server a millisecond: addresses take turns,
two milliseconds in each turn of the loop, so that a crowd of them delays nobody else.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Iterator
from typing import Any, cast

from mimi_mqtt.shares import address_holder
from mimi_mqtt.transports.mqtt.addresses import peer_host
from mimi_mqtt.transports.mqtt.background import Background

_READ_BYTES = 65_536


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """TLS connection: a protocol to the socket below, a transport to the protocol above.

    `handshakes` does the work of handshakes, by the holder of the client's address.
    """

    __slots__ = ("_handshakes", "_incoming", "_outgoing", "_paused", "_protocol", "_ready", "_socket", "_tls")

    def __init__(self, context: ssl.SSLContext, protocol: asyncio.Protocol, handshakes: Background) -> None:
        super().__init__()
        self._handshakes = handshakes
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._protocol = protocol
        self._ready = False
        self._paused = False
        self._socket: asyncio.Transport | None = None

    # ── to the socket ───────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes an accepted socket; the client speaks first."""
        self._socket = cast(asyncio.Transport, transport)
        self._protocol.connection_made(self)

    def data_received(self, data: bytes) -> None:
        """Takes bytes of the handshake, or of encrypted packets."""
        self._incoming.write(data)
        if self._ready:
            self._decrypt()
        else:
            self._below.pause_reading()
            self._handshakes.add(address_holder(peer_host(self._below) or ""), self._handshake())

    def _handshake(self) -> Iterator[None]:
        """Goes on with the handshake, in one step."""
        if not self.is_closing():
            self._below.resume_reading()
            try:
                self._decrypt()
            except BaseException:
                self.abort()
                raise
        yield

    def _decrypt(self) -> None:
        """Passes on what has arrived, until the protocol above pauses."""
        try:
            if not self._ready:
                self._tls.do_handshake()
                self._ready = True
            while not self._paused and not self.is_closing():
                plain = self._tls.read(_READ_BYTES)
                if not plain:
                    self.close()
                    return
                self._protocol.data_received(plain)
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError:
            # An alert tells the client why. A client that sent close_notify ends here too.
            self._flush()
            self._below.close()

    def pause_writing(self) -> None:
        """Reports that the socket's buffer is full."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Reports that the socket's buffer has room again."""
        self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Reports that the socket is closed."""
        self._protocol.connection_lost(exc)

    # ── to the protocol above ───────────────────────────────────────────────────────────────────────────

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypts and sends."""
        if data and not self.is_closing():
            self._tls.write(data)
            self._flush()

    def close(self) -> None:
        """Sends close_notify and closes."""
        if self.is_closing():
            return
        if self._ready:
            with contextlib.suppress(ssl.SSLError):  # the client's own goodbye is not waited for
                self._tls.unwrap()
            self._flush()
        self._below.close()

    def abort(self) -> None:
        """Closes at once."""
        self._below.abort()

    def is_closing(self) -> bool:
        """True when the socket is closed or closing."""
        return self._below.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The socket's addresses, or `ssl_object`."""
        return self._tls if name == "ssl_object" else self._below.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        """Encrypted bytes that wait in this process."""
        return self._below.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Bounds the socket's buffer."""
        self._below.set_write_buffer_limits(high, low)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hands the connection over."""
        self._protocol = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol that has the connection."""
        return self._protocol

    def pause_reading(self) -> None:
        """Reads no more from the socket for now, nor passes on what was read already."""
        self._paused = True
        self._below.pause_reading()

    def resume_reading(self) -> None:
        """Reads again, after what was read already."""
        self._paused = False
        self._below.resume_reading()
        asyncio.get_running_loop().call_soon(self._decrypt)

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._below.write(self._outgoing.read())

    @property
    def _below(self) -> asyncio.Transport:
        if self._socket is None:
            raise RuntimeError("the socket was not accepted yet")
        return self._socket


def tls_factory(
    context: ssl.SSLContext, connection: Callable[[], asyncio.Protocol], handshakes: Background
) -> Callable[[], TlsTransport]:
    """The protocol factory of a TLS listener."""
    return lambda: TlsTransport(context, connection(), handshakes)
