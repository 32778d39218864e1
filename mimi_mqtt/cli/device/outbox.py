"""Messages that wait until the device's connection takes them; those that wait when it breaks are lost."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

MAX_WAITING: Final = 1_000

Message = TypeVar("Message")


class Outbox(Generic[Message]):
    """The way out of one connection after the other; `lost` is called when one broke."""

    def __init__(self, lost: Callable[[], None]) -> None:
        self.up = asyncio.Event()
        """Set while there is a connection."""
        self.times_lost = 0
        self._lost = lost
        self._waiting: asyncio.Queue[Message] = asyncio.Queue(MAX_WAITING)

    def put(self, message: Message) -> bool:
        """False while there is no connection, or when too many wait, as with a device."""
        if not self.up.is_set() or self._waiting.full():
            return False
        self._waiting.put_nowait(message)
        return True

    async def drain(self, send: Callable[[Message], Awaitable[None]]) -> None:
        """Sends one message after the other until it is cancelled, or `send` raises."""
        while True:
            message = await self._waiting.get()
            try:
                await send(message)
            finally:
                self._waiting.task_done()

    async def flush(self) -> None:
        """Waits until everything is sent, or lost with the connection."""
        await self._waiting.join()

    def break_down(self) -> bool:
        """The connection is gone, and what waited with it; False when there was none."""
        if not self.up.is_set():
            return False
        self.up.clear()
        self.times_lost += 1
        while not self._waiting.empty():
            self._waiting.get_nowait()
            self._waiting.task_done()
        self._lost()
        return True
