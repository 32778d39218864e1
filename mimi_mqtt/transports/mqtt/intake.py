"""Intake of a client's bytes: in slices, one a turn of the loop; the socket is not read meanwhile.

One read can hold a hundred thousand tiny packets: handled at once, they would delay every other connection.
"""

import asyncio
from collections.abc import Callable

from mimi_mqtt.transports.mqtt.limits import SLICE_BYTES


class Intake:
    """A queue between a socket and `consume`, which is called with at most SLICE_BYTES at a time."""

    __slots__ = ("_consume", "_held", "_paused", "_scheduled", "_then", "_transport", "_waiting")

    def __init__(self, transport: asyncio.Transport, consume: Callable[[bytes], None]) -> None:
        self._transport = transport
        self._consume = consume
        self._waiting = bytearray()
        self._held = False
        self._paused = False
        self._scheduled = False
        self._then: Callable[[], None] | None = None

    def feed(self, data: bytes) -> None:
        """Takes bytes that were read from the socket."""
        self._waiting += data
        if not self._scheduled:
            self._work()

    def hold(self, held: bool) -> None:
        """Stops calling `consume`, or goes on."""
        self._held = held
        if not held and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._work)

    def finish(self, then: Callable[[], None]) -> None:
        """Ends the intake: calls `then` once everything fed has been consumed."""
        self._then = then
        if not self._scheduled:
            self._work()

    def drop(self) -> None:
        """Forgets the bytes that were not consumed."""
        self._waiting.clear()

    def release(self) -> None:
        """Forgets `consume`, as nothing more is to be consumed: its owner needs no garbage collector then."""
        self._consume = _ignore
        self._waiting.clear()

    def _work(self) -> None:
        self._scheduled = False
        if self._waiting and not self._held:
            data = bytes(self._waiting[:SLICE_BYTES])
            del self._waiting[:SLICE_BYTES]
            self._consume(data)
        if self._waiting and not self._held:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._work)
        pause = self._held or bool(self._waiting)
        if pause != self._paused and not self._transport.is_closing():
            self._paused = pause
            if pause:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()
        if self._then is not None and not self._waiting:
            then, self._then = self._then, None
            then()


def _ignore(data: bytes) -> None:
    del data
