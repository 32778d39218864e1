"""Packets of one general client that wait for their turn."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from mimi_mqtt.transports.mqtt.limits import MAX_INPUT_BYTES
from mimi_mqtt.wire.mqtt import RawPacket

_OVERHEAD_BYTES: Final = 160
"""Memory of a waiting packet besides its bytes, about: a packet can have two bytes."""


class PacketQueue:
    """A queue between a connection, which adds packets, and the task that handles them in order.

    `turn` lets the loop run between two packets; it is told the size of the one that waits. `hold` is called
    with True when too many bytes wait, and with False when no longer.
    """

    __slots__ = ("_ended", "_held", "_hold", "_its_turn", "_news", "_packets", "_size", "_turn")

    def __init__(
        self, hold: Callable[[bool], None], turn: Callable[[RawPacket], asyncio.Future[None]]
    ) -> None:
        self._hold = hold
        self._turn = turn
        self._its_turn: asyncio.Future[None] | None = None
        self._packets: deque[RawPacket] = deque()
        self._size = 0
        self._held = False
        self._ended = False
        self._news = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Packets that wait for their turn."""
        return len(self._packets)

    def add(self, packet: RawPacket) -> None:
        """Appends a packet."""
        self._packets.append(packet)
        self._size += len(packet.raw) + _OVERHEAD_BYTES
        self._news.set()
        if self._size > MAX_INPUT_BYTES and not self._held:
            self._held = True
            self._hold(True)

    def finish(self) -> None:
        """Ends the queue after the packets that wait."""
        self._ended = True
        self._news.set()

    def drop(self) -> None:
        """Forgets the packets that wait, and ends the queue."""
        self._packets.clear()
        self._size = 0
        self.finish()
        if self._its_turn is not None and not self._its_turn.done():
            self._its_turn.set_result(None)

    def release(self) -> None:
        """Forgets its callbacks, as nobody takes packets any more: their owner needs no garbage collector."""
        self._hold, self._turn = _no_hold, _no_turn

    async def next(self) -> RawPacket | None:
        """The next packet once it is its turn, or None at the end."""
        while True:
            while not self._packets:
                if self._ended:
                    return None
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
            return packet


def _no_hold(held: bool) -> None:
    del held


def _no_turn(packet: RawPacket) -> asyncio.Future[None]:
    del packet
    raise RuntimeError("the queue was released")
