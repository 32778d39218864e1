"""Clients that write bytes as they please."""

import asyncio
import gc
import weakref
from collections.abc import Iterable
from dataclasses import dataclass

PATIENCE_S = 20.0

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """A client's frame, masked with zeros (RFC 6455, 5.2)."""
    head = bytes([fin << 7 | opcode])
    if len(payload) < 126:
        head += bytes([0x80 | len(payload)])
    elif len(payload) < 65_536:
        head += b"\xfe" + len(payload).to_bytes(2, "big")
    else:
        head += b"\xff" + len(payload).to_bytes(8, "big")
    return head + bytes(4) + payload


@dataclass
class RawHttp:
    """A TCP connection to an HTTP server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def open(cls, port: int, address: str = "127.0.0.1", limit: int = 65_536) -> "RawHttp":
        """Connects from the loopback address `address`."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0), limit=limit))

    @classmethod
    async def websocket(
        cls, port: int, address: str = "127.0.0.1", headers: str = "", *, limit: int = 65_536
    ) -> "RawHttp":
        """Opens a WebSocket at /mqtt."""
        client = await cls.open(port, address, limit)
        client.upgrade(headers)
        return client

    def upgrade(self, headers: str = "") -> None:
        """Asks for a WebSocket at /mqtt."""
        self.writer.write(
            b"GET /mqtt HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Protocol: mqtt\r\n" + headers.encode() + b"\r\n"
        )

    async def head(self) -> bytes:
        """The head of an answer."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def rest(self) -> bytes:
        """All that the server still sends until it ends the connection, in whatever way."""
        received = b""
        async with asyncio.timeout(PATIENCE_S):
            try:
                while data := await self.reader.read(65_536):
                    received += data
            except ConnectionError:
                pass
        return received

    async def written(self) -> bool:
        """Waits until the server has taken what was written; False when it has ended the connection."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self.writer.drain()
        except ConnectionError:
            return False
        return True

    async def close(self) -> None:
        """Ends the connection at once."""
        self.writer.transport.abort()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)


async def wait_until_freed(client: RawHttp, protocols: Iterable[object]) -> None:
    """Closes the connection, and returns when the server's `protocols` of it are gone. Raises TimeoutError
    when only a garbage collection would free them."""
    left = [weakref.ref(protocol) for protocol in protocols]
    del protocols
    assert left
    gc.collect()
    gc.disable()
    try:
        await client.close()
        async with asyncio.timeout(PATIENCE_S):
            while any(ref() is not None for ref in left):  # noqa: ASYNC110  # the end of an object has no event
                await asyncio.sleep(0.001)
    finally:
        gc.enable()
