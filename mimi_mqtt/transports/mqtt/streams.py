"""Streams of one general client as amqtt reads and writes them."""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable

from amqtt.adapters import ReaderAdapter, WriterAdapter

from mimi_mqtt.transports.mqtt.limits import MAX_INPUT_BYTES


class PacketSource(ReaderAdapter):  # type: ignore[misc]  # amqtt is untyped here
    """The stream that amqtt reads: whole packets only.

    Lets the loop run between two packets, so that each takes effect before the next one, or the end, is seen.
    `hold` is called with True when too many bytes wait, and with False when no longer.
    """

    def __init__(self, hold: Callable[[bool], None]) -> None:
        self._hold = hold
        self._packets: deque[bytes] = deque()
        self._packet = b""
        self._at = 0
        self._size = 0
        self._held = False
        self._ended = False
        self._news = asyncio.Event()

    def put_first(self, packet: bytes) -> None:
        """Puts `packet` before all that wait."""
        self._packets.appendleft(packet)
        self._size += len(packet)
        self._news.set()

    def feed(self, packet: bytes) -> None:
        """Appends a packet."""
        self._packets.append(packet)
        self._size += len(packet)
        self._news.set()
        if self._size > MAX_INPUT_BYTES and not self._held:
            self._held = True
            self._hold(True)

    def finish(self) -> None:
        """Ends the stream after the packets that wait."""
        self._ended = True
        self._news.set()

    async def read(self, n: int = -1) -> bytes:
        """Waits for a packet; returns up to `n` bytes of it, `b""` at the end."""
        if self._at == len(self._packet):
            await asyncio.sleep(0)
            while not self._packets:
                if self._ended:
                    return b""
                self._news.clear()
                await self._news.wait()
            self._packet, self._at = self._packets.popleft(), 0
            self._size -= len(self._packet)
            if self._held and self._size < MAX_INPUT_BYTES // 2:
                self._held = False
                self._hold(False)
        end = len(self._packet) if n < 0 else self._at + n
        data = self._packet[self._at : end]
        self._at += len(data)
        return data

    def feed_eof(self) -> None:
        """Ends the stream: amqtt's name for `finish`."""
        self.finish()


class PacketSink(WriterAdapter):  # type: ignore[misc]  # amqtt is untyped here
    """The stream that amqtt writes; never waits: the buffer's bound cuts off a client that doesn't read."""

    def __init__(
        self, peer: tuple[str, int], write: Callable[[bytes], None], close: Callable[[], None]
    ) -> None:
        self._peer = peer
        self._write = write
        self._close = close

    def write(self, data: bytes) -> None:
        """Sends a whole packet."""
        self._write(data)

    async def drain(self) -> None:
        """Returns at once."""

    def get_peer_info(self) -> tuple[str, int]:
        """The client's address."""
        return self._peer

    def get_ssl_info(self) -> ssl.SSLObject | None:
        """Returns None: amqtt needs no certificates here."""
        return None

    async def close(self) -> None:
        """Closes the connection for amqtt."""
        self._close()
