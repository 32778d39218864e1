"""Our own address as a device needs it: IPv4 when it came by IPv4, without a port."""

import asyncio


def local_host(transport: asyncio.BaseTransport) -> str | None:
    """The address of ours that the client reached, or None when the transport can't know.

    A socket that listens on IPv6 for both shows IPv4 as `::ffff:192.0.2.1`, which a device can't use.
    """
    name = transport.get_extra_info("sockname")
    return str(name[0]).removeprefix("::ffff:") if name else None
