"""The addresses of a connection's two ends, without a port: IPv4 when the device came by IPv4."""

import asyncio


def local_host(transport: asyncio.BaseTransport) -> str | None:
    """The server address that the client reached, or None when the transport can't know.

    A socket that listens on IPv6 for both shows IPv4 as `::ffff:192.0.2.1`, which a device can't use.
    """
    name = transport.get_extra_info("sockname")
    return str(name[0]).removeprefix("::ffff:") if name else None


def peer_host(transport: asyncio.BaseTransport) -> str | None:
    """The address that the client connected from, or None when the transport can't know."""
    name = transport.get_extra_info("peername")
    return str(name[0]).removeprefix("::ffff:") if name else None
