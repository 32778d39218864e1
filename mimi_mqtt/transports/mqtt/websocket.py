"""MQTT over WebSocket as an ASGI application: a transport like a socket's, so that the gate's rules hold.

MQTT 3.1.1 section 6: subprotocol `mqtt`, binary frames only, packets may span frames or share one.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import cast

from starlette.types import Receive, Scope, Send

from mimi_mqtt.transports.mqtt.limits import LINGER_S

_log = logging.getLogger(__name__)

_SUBPROTOCOL = "mqtt"
_UNSUPPORTED_DATA = 1003
_NORMAL = 1000
_GOING_AWAY = 1001
_PAUSE_BYTES = 65_536


class MqttWebSocket:
    """The ASGI application at `/mqtt`; `connection` makes the protocol of a new connection."""

    def __init__(self, connection: Callable[[], asyncio.Protocol]) -> None:
        self.open = False
        self._connection = connection
        self._transports: set[WebSocketTransport] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one WebSocket until it closes."""
        if scope["type"] != "websocket":
            raise ValueError(f"an ASGI scope of type {scope['type']!r} is not a WebSocket")
        await receive()  # websocket.connect
        if not self.open or _SUBPROTOCOL not in scope.get("subprotocols", ()):
            await send({"type": "websocket.close", "code": _GOING_AWAY})
            return
        await send({"type": "websocket.accept", "subprotocol": _SUBPROTOCOL})
        transport = WebSocketTransport(scope, self._connection())
        self._transports.add(transport)
        try:
            await transport.run(receive, send)
        finally:
            self._transports.discard(transport)

    async def aclose(self) -> None:
        """Drops all connections."""
        for transport in list(self._transports):
            transport.abort()


class WebSocketTransport(asyncio.Transport):
    """An asyncio transport on top of ASGI's `receive` and `send`."""

    def __init__(self, scope: Scope, protocol: asyncio.BaseProtocol) -> None:
        super().__init__({"peername": scope.get("client"), "sockname": scope.get("server")})
        self._protocol = protocol
        self._outgoing: deque[bytes] = deque()
        self._size = 0
        self._high = _PAUSE_BYTES
        self._closing = False
        self._close_code = _NORMAL
        self._wake = asyncio.Event()
        self._readable = asyncio.Event()
        self._readable.set()
        self._gone = asyncio.Event()

    async def run(self, receive: Receive, send: Send) -> None:
        """Moves bytes until either side closes."""
        self._current().connection_made(self)
        tasks = [
            asyncio.create_task(self._read(receive), name="mqtt websocket reader"),
            asyncio.create_task(self._write(send), name="mqtt websocket writer"),
        ]
        for task in tasks:
            task.add_done_callback(self._task_done)
        try:
            await self._gone.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.abort()
            self._current().connection_lost(None)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        """Ends this connection, and only this one, when its reader or writer failed."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            if not isinstance(error, OSError):  # an OSError means that the client is gone
                _log.error("a WebSocket connection failed", exc_info=error)
            self.abort()

    async def _read(self, receive: Receive) -> None:
        while True:
            await self._readable.wait()
            message = await receive()
            if message["type"] == "websocket.disconnect":
                self.abort()
                return
            data = message.get("bytes")
            if data is None:
                self._close_code = _UNSUPPORTED_DATA
                self.close()
                return
            if data and not self._closing:
                self._current().data_received(data)

    async def _write(self, send: Send) -> None:
        while True:
            while self._outgoing:
                data = b"".join(self._outgoing)
                self._outgoing.clear()
                await send({"type": "websocket.send", "bytes": data})
                self._size -= len(data)
            if self._closing:
                await send({"type": "websocket.close", "code": self._close_code})
                self._gone.set()
                return
            self._wake.clear()
            await self._wake.wait()

    # ── asyncio.Transport ───────────────────────────────────────────────────────────────────────────────

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queues bytes for the next binary frame."""
        if self._closing or not data:
            return
        self._outgoing.append(bytes(data))
        self._size += len(data)
        self._wake.set()
        if self._size > self._high:
            self._current().pause_writing()

    def close(self) -> None:
        """Closes once all bytes written have been sent, at the latest after LINGER_S."""
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_later(LINGER_S, self.abort)
        self._readable.set()
        self._wake.set()

    def abort(self) -> None:
        """Closes without sending the rest."""
        self._closing = True
        self._outgoing.clear()
        self._size = 0
        self._gone.set()

    def is_closing(self) -> bool:
        """True once `close` or `abort` was called."""
        return self._closing

    def get_write_buffer_size(self) -> int:
        """Bytes not handed to the WebSocket yet."""
        return self._size

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Sets the number of bytes beyond which the protocol's `pause_writing` is called."""
        self._high = _PAUSE_BYTES if high is None else high

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hands the connection over."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol that has the connection."""
        return self._protocol

    def pause_reading(self) -> None:
        """Receives no further frame for now; the WebSocket's own flow control then holds the client back."""
        self._readable.clear()

    def resume_reading(self) -> None:
        """Receives again."""
        self._readable.set()

    def _current(self) -> asyncio.Protocol:
        return cast(asyncio.Protocol, self._protocol)
