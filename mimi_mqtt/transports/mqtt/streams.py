"""Streams of one general client as amqtt reads and writes them."""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from typing import Final

from amqtt.adapters import ReaderAdapter, WriterAdapter

from mimi_mqtt.transports.mqtt.limits import MAX_INPUT_BYTES
from mimi_mqtt.wire.mqtt import RawPacket

_OVERHEAD_BYTES: Final = 160
"""Memory of a waiting packet besides its bytes, about: a packet can have two bytes."""


class PacketSource(ReaderAdapter):  # type: ignore[misc]  # amqtt is untyped here
    """The stream that amqtt reads: whole packets only, each after `turn`.

    `turn` lets the loop run between two packets, so that each takes effect before the next one, or the end,
    is seen; it is told the size of the one that waits. `check` is called with a packet whose turn it is, and
    tells whether amqtt gets it. `hold` is called with True when too many bytes wait, and with False when no
    longer.
    """

    def __init__(
        self,
        hold: Callable[[bool], None],
        turn: Callable[[RawPacket], asyncio.Future[None]],
        check: Callable[[RawPacket], bool],
    ) -> None:
        self._hold = hold
        self._turn = turn
        self._check = check
        self._first = b""
        self._its_turn: asyncio.Future[None] | None = None
        self._packets: deque[RawPacket] = deque()
        self._packet = b""
        self._at = 0
        self._size = 0
        self._held = False
        self._ended = False
        self._news = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Packets that wait to be read."""
        return len(self._packets)

    def put_first(self, packet: bytes) -> None:
        """Puts `packet`, which is not checked, before all that wait."""
        self._first = packet
        self._news.set()

    def feed(self, packet: RawPacket) -> None:
        """Appends a packet."""
        self._packets.append(packet)
        self._size += len(packet.raw) + _OVERHEAD_BYTES
        self._news.set()
        if self._size > MAX_INPUT_BYTES and not self._held:
            self._held = True
            self._hold(True)

    def release(self) -> None:
        """Forgets its callbacks, as amqtt reads no more: their owner needs no garbage collector then."""
        self._hold, self._turn, self._check = _no_hold, _no_turn, _no_check

    def finish(self) -> None:
        """Ends the stream after the packets that wait."""
        self._ended = True
        self._news.set()

    async def read(self, n: int = -1) -> bytes:
        """Waits for a packet; returns up to `n` bytes of it, `b""` at the end."""
        if self._at == len(self._packet):
            await asyncio.sleep(0)  # whatever `turn` does: the packet before has taken effect
            self._packet, self._at = await self._next(), 0
        end = len(self._packet) if n < 0 else self._at + n
        data = self._packet[self._at : end]
        self._at += len(data)
        return data

    async def _next(self) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        while True:
            while not self._packets:
                if self._ended:
                    return b""
                self._news.clear()
                await self._news.wait()
            self._its_turn = self._turn(self._packets[0])
            await self._its_turn
            if not self._packets:  # dropped meanwhile
                continue
            packet = self._packets.popleft()
            self._size -= len(packet.raw) + _OVERHEAD_BYTES
            if self._held and self._size < MAX_INPUT_BYTES // 2:
                self._held = False
                self._hold(False)
            if self._check(packet):
                return packet.raw

    def drop(self) -> None:
        """Forgets the packets that wait, and ends the stream."""
        self._packets.clear()
        self._size = 0
        self.finish()
        if self._its_turn is not None and not self._its_turn.done():
            self._its_turn.set_result(None)

    def feed_eof(self) -> None:
        """Ends the stream: amqtt's name for `finish`."""
        self.finish()


def _no_hold(held: bool) -> None:
    del held


def _no_turn(packet: RawPacket) -> asyncio.Future[None]:
    del packet
    raise RuntimeError("the stream was released")


def _no_check(packet: RawPacket) -> bool:
    del packet
    return False


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
