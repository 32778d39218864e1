"""What amqtt reads from and writes to, for one general client."""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable

from amqtt.adapters import ReaderAdapter, WriterAdapter

from mimi_mqtt.transports.mqtt.limits import MAX_INPUT_BYTES


class PacketSource(ReaderAdapter):  # type: ignore[misc]  # amqtt is untyped here
    """What amqtt reads: whole packets only. Lets the loop run between two packets, so that each takes effect
    before the next one, or the end, is seen. `hold` is called when too much waits, and when no longer."""

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
        """Puts `packet` before everything that waits."""
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
        """No more packets will come."""
        self._ended = True
        self._news.set()

    async def read(self, n: int = -1) -> bytes:
        """Up to `n` bytes of one packet; `b""` at the end."""
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
        """amqtt's word for `finish`."""
        self.finish()


class PacketSink(WriterAdapter):  # type: ignore[misc]  # amqtt is untyped here
    """What amqtt writes to. Never waits: a client that does not read is cut off by the buffer's bound."""

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
        """Nothing to wait for."""

    def get_peer_info(self) -> tuple[str, int]:
        """The client's address."""
        return self._peer

    def get_ssl_info(self) -> ssl.SSLObject | None:
        """amqtt has no use for certificates here."""
        return None

    async def close(self) -> None:
        """amqtt has finished with the connection."""
        self._close()
