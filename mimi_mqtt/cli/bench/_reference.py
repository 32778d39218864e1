"""The reference of a bench: an asyncio protocol that answers with fixed bytes, measured in the same run."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from mimi_mqtt.descriptors import ACCEPTS_AT_ONCE, BACKLOG


@asynccontextmanager
async def reference(protocol: Callable[[], asyncio.Protocol]) -> AsyncIterator[int]:
    """Serves `protocol` on a free port of the loopback; yields the port."""
    sock = listening()
    server = await asyncio.get_running_loop().create_server(protocol, sock=sock, backlog=ACCEPTS_AT_ONCE)
    sock.listen(BACKLOG)  # as the server does
    try:
        yield int(sock.getsockname()[1])
    finally:
        server.close()


def listening() -> socket.socket:
    """A socket that listens on a free port of the loopback."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(1024)
    sock.setblocking(False)
    return sock
