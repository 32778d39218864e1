"""TLS as a layer between a socket and a protocol that bounds connections itself, before their handshake.

asyncio's own TLS reports a connection only after its handshake, outside of the bounds of the protocol above,
and holds a 256 KiB buffer for each: a thousand silent sockets, or a thousand devices, would cost a quarter of
a gigabyte. Here a connection costs what OpenSSL needs: 45 kB in its handshake. That takes the server up to a
millisecond: addresses take turns, two milliseconds in each turn of the loop, so that a crowd of them delays
nobody else.
"""

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

from mimi_mqtt.background import Background
from mimi_mqtt.shares import address_holder

MAX_HANDSHAKE_BYTES: Final = 16_384
"""Bytes that a client may send before its handshake is complete; OpenSSL alone would take 128 KiB."""
MAX_EXCESS_BYTES: Final = 65_536
"""Bytes that a client may send after its handshake and that hold no data, such as key updates, 27 bytes each,
which cost as much as a kilobyte of data. Every record may have `RECORD_BYTES` for itself."""
RECORD_BYTES: Final = 320
"""Most that a record needs beside its data: head, initialisation vector, code and padding of any cipher."""

_NOBODY: Final = asyncio.Protocol()
_READ_BYTES = 65_536
_PIECE_BYTES = 4_096
"""Bytes that are decrypted before their excess is looked at: at most 150 key updates, about a millisecond."""


def _free(_: float) -> None:
    """Charges nobody."""


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """TLS connection: a protocol to the socket below, a transport to the protocol above.

    `handshakes` does the work of handshakes, by the holder of the client's address; `charge` is given the
    computing time that they took, in seconds.
    """

    __slots__ = (
        "_charge", "_excess", "_handshakes", "_incoming", "_outgoing", "_paused", "_protocol", "_socket",
        "_tls", "_unread", "secure",
    )  # fmt: skip

    def __init__(
        self,
        context: ssl.SSLContext,
        protocol: asyncio.Protocol,
        handshakes: Background,
        charge: Callable[[float], None] = _free,
    ) -> None:
        super().__init__()
        self._handshakes = handshakes
        self._charge = charge
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._protocol = protocol
        self._paused = False
        self._socket: asyncio.Transport | None = None
        self._unread = b""
        self._excess = 0
        self.secure = False
        """True after the handshake."""

    # ── to the socket ───────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes an accepted socket; the client speaks first."""
        self._socket = cast(asyncio.Transport, transport)
        self._protocol.connection_made(self)

    def data_received(self, data: bytes) -> None:
        """Takes bytes of the handshake, or of encrypted data."""
        self._unread += data
        if self.secure:
            self._read()
        else:
            self._below.pause_reading()
            self._handshakes.add(_holder(self._below), self._handshake())

    def _handshake(self) -> Iterator[None]:
        """Goes on with the handshake, in one step."""
        if not self.is_closing():
            self._below.resume_reading()
            self._read()
        yield

    def _read(self) -> None:
        """Decrypts what has arrived and passes it on, until the protocol above pauses."""
        try:
            self._pass_on()
        except BaseException:
            self.abort()
            raise

    def _pass_on(self) -> None:
        if self.secure:
            self._decrypt()  # what was left when it paused
        unread, self._unread = self._unread, b""
        at = 0
        while at < len(unread) and not self._paused and not self.is_closing():
            piece = unread[at : at + _PIECE_BYTES]
            at += len(piece)
            self._excess += len(piece)
            if self._excess > (MAX_EXCESS_BYTES if self.secure else MAX_HANDSHAKE_BYTES):
                self.abort()
                return
            self._incoming.write(piece)
            self._decrypt()
        if at < len(unread) and not self.is_closing():
            self._unread = unread[at:]

    def _decrypt(self) -> None:
        try:
            if not self.secure:
                self._shake_hands()
            while not self._paused and not self.is_closing():
                plain = self._tls.read(_READ_BYTES)
                if not plain:
                    self.eof_received()
                    return
                self._excess = max(0, self._excess - len(plain) - RECORD_BYTES)
                self._flush()
                self._protocol.data_received(plain)
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError:
            # An alert tells the client why. A client that sent close_notify ends here too.
            self._flush()
            self._protocol.eof_received()
            self._below.close()

    def _shake_hands(self) -> None:
        began = time.thread_time()
        try:
            self._tls.do_handshake()
        finally:
            self._charge(time.thread_time() - began)
        self.secure = True
        self._excess = 0
        self._charge = _free

    def pause_writing(self) -> None:
        """Reports that the socket's buffer is full."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Reports that the socket's buffer has room again."""
        self._protocol.resume_writing()

    def eof_received(self) -> None:
        """Reports that the client sends no more, and closes."""
        self._protocol.eof_received()
        self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Reports that the socket is closed; keeps nothing of the protocol above, which keeps this."""
        protocol, self._protocol = self._protocol, _NOBODY
        self._unread = b""
        protocol.connection_lost(exc)

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
        if self.secure:
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
        """The socket's addresses, `ssl_object` or `sslcontext`."""
        if name == "ssl_object":
            return self._tls
        return self._tls.context if name == "sslcontext" else self._below.get_extra_info(name, default)

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
        asyncio.get_running_loop().call_soon(self._read_on)

    def _read_on(self) -> None:
        if self.secure and not self.is_closing():
            self._read()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._below.write(self._outgoing.read())

    @property
    def _below(self) -> asyncio.Transport:
        if self._socket is None:
            raise RuntimeError("the socket was not accepted yet")
        return self._socket


def tls_factory(
    context: Callable[[], ssl.SSLContext], connection: Callable[[], asyncio.Protocol], handshakes: Background
) -> Callable[[], TlsTransport]:
    """The protocol factory of a TLS listener; `context` is called for each connection."""
    return lambda: TlsTransport(context(), connection(), handshakes)


def _holder(transport: asyncio.BaseTransport) -> str:
    peer = transport.get_extra_info("peername")
    return address_holder(str(peer[0])) if peer else ""
