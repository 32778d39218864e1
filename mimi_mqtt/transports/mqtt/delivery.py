"""Bytes of a connection that its client has not acknowledged yet.

Audio goes over UDP and can overtake a message over TCP; TCP's acknowledgements tell when the message arrived.
"""

import asyncio
import socket
import sys

if sys.platform == "linux":
    import fcntl
    import termios
    from typing import Final

    # SIOCOUTQ of tcp(7), the same number as TIOCOUTQ. Linux counts from snd_una to write_seq: what is on its
    # way and not acknowledged is included.
    _SIOCOUTQ: Final = termios.TIOCOUTQ
    _NO_BYTES: Final = bytes(4)

    # struct tcp_info of linux/tcp.h: tcpi_rtt is the 16th of its 32-bit fields, which follow 8 bytes.
    _RTT_AT: Final = 68
    _TCP_INFO_BYTES: Final = 104

    def _unacknowledged(descriptor: int) -> int:
        return int.from_bytes(fcntl.ioctl(descriptor, _SIOCOUTQ, _NO_BYTES), sys.byteorder)

    def _round_trip_us(sock: socket.socket) -> int:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        return int.from_bytes(info[_RTT_AT : _RTT_AT + 4], sys.byteorder)

else:

    def _round_trip_us(sock: socket.socket) -> int:
        return 0

    def _unacknowledged(descriptor: int) -> int:
        return 0


def undelivered(transport: asyncio.Transport) -> int:
    """Bytes written to `transport` that the client's TCP has not acknowledged; with TLS, encrypted ones.

    A WebSocket connection counts the bytes that wait in this process only, and so does every connection on a
    system without SIOCOUTQ. 0 once the connection is closed.
    """
    return 0 if transport.is_closing() else never_acknowledged(transport)


def never_acknowledged(transport: asyncio.Transport) -> int:
    """The same of a connection that is being closed, too, as long as its socket is there."""
    waiting = transport.get_write_buffer_size()
    sock = transport.get_extra_info("socket")
    if sock is None:
        return waiting
    try:
        return waiting + _unacknowledged(sock.fileno())
    except OSError:
        return waiting


def round_trip_ms(transport: asyncio.Transport) -> float | None:
    """The smoothed round-trip time of TCP to the client, in ms; None when the system does not tell."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return None
    try:
        measured = _round_trip_us(sock)
    except OSError:
        return None
    return measured / 1000 if measured else None
