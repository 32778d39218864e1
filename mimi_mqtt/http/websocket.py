"""WebSocket on one connection: uvicorn's protocol, with bounds on what a client may cost.

uvicorn's own reads as much as arrives at once, answers every ping without flow control, and waits for closing
handshakes. Here the parser is fed in pieces and only as fast as the application takes messages, frames are
counted, pongs wait for a client that reads, and a client that misbehaves is aborted.
"""

import asyncio
from typing import Any, Final, Protocol

from uvicorn.config import Config
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import Frame
from websockets.http11 import Request

from mimi_mqtt.http.accounting import CONNECTION
from mimi_mqtt.http.admission import Admission
from mimi_mqtt.http.stalls import WRITE_TIMEOUT_S, WriteWatch
from mimi_mqtt.limits import TokenBucket

CONTROL_FRAMES_PER_S: Final = 5.0
"""Pings, pongs and close frames of one connection in a second, in the long run."""
CONTROL_FRAMES_BURST: Final = 50.0
"""Control frames of one connection at once."""
FRAGMENTS_PER_S: Final = 200.0
"""Fragments of messages of one connection in a second, in the long run."""
FRAGMENTS_BURST: Final = 1_024.0
"""Fragments of one connection at once."""
MAX_FRAGMENTS: Final = 512
"""Fragments of one message."""
MAX_EMPTY_FRAGMENTS: Final = 8
"""Fragments of one message that hold nothing."""
LINGER_S: Final = 5.0
"""Seconds that a closing connection may take to accept its last bytes and to close."""

_TEXT_FRAME, _BINARY_FRAME = 0x81, 0x82

_PIECE_BYTES: Final = 1_024
"""Bytes that are parsed before frames are counted: at most 170 frames, 3 ms."""


DIRECT: Final = "mimi.direct"
"""The key, among a scope's extensions, of the connection itself, for applications that take its messages
without a queue."""


class MessageSink(Protocol):
    """The receiver of a connection's messages as they are parsed."""

    def text_received(self, payload: bytes) -> None:
        """A text message, whose bytes need not be UTF-8."""

    def binary_received(self, payload: bytes) -> None:
        """A binary message."""


class BoundedWebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket with bounds; `admission` counts the frames of all connections of an address."""

    # Set by the server, since uvicorn makes its protocols itself.
    admission: Admission
    write_timeout_s = WRITE_TIMEOUT_S

    answering = True
    """A WebSocket is never idle."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        now = self.loop.time()
        self.address = ""
        self._control = TokenBucket(CONTROL_FRAMES_PER_S, CONTROL_FRAMES_BURST, now)
        self._fragment_rate = TokenBucket(FRAGMENTS_PER_S, FRAGMENTS_BURST, now)
        self._frames = 0
        self._fragments = 0
        self._empty_fragments = 0
        self._unread = b""
        self._pong = b""
        self._sink: MessageSink | None = None
        self._throttle: asyncio.TimerHandle | None = None
        self._linger: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the connection over from HTTP; `http` is the protocol that had it until now."""
        super().connection_made(transport)
        self._http = self.transport.get_protocol()
        self._writes = WriteWatch(self.transport, self.write_timeout_s, self._stalled)
        if self.client is not None:
            self.address = self.client[0]

    def connection_lost(self, exc: Exception | None) -> None:
        """Frees the connection's place and stops the clocks."""
        self.admission.leave(self._http)  # type: ignore[arg-type]  # a BoundedHttpProtocol
        self._writes.stop()
        self._unread = b""
        for timer in (self._throttle, self._linger):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def evict(self) -> None:
        """Ends the connection at once."""
        self.transport.abort()

    # ── reading ─────────────────────────────────────────────────────────────────────────────────────────

    def data_received(self, data: bytes) -> None:
        """Parses what arrived as far as the application may take it now."""
        self._unread = self._unread + data if self._unread else data
        if self._throttle is None and not self.read_paused:
            self._feed()
        else:
            self.transport.pause_reading()

    async def receive(self) -> Any:
        """The next message for the application; reads on once it has taken all that were parsed."""
        message = await self.queue.get()
        if self.read_paused and self.queue.empty():
            self.read_paused = False
            if self._throttle is None:
                self._read_on()
        return message

    def _read_on(self) -> None:
        self._feed()
        if not self.read_paused and self._throttle is None:
            self.transport.resume_reading()

    def _feed(self) -> None:
        """Parses until a message is complete or nothing is left."""
        unread, at = self._unread, 0
        while at < len(unread) and not self.read_paused and self._throttle is None:
            piece = unread[at : at + _PIECE_BYTES]
            at += len(piece)
            super().data_received(piece)
            if self.transport.is_closing():
                at = len(unread)
                self._await_end()
            elif self._frames:
                frames, self._frames = self._frames, 0
                wait_s = self.admission.read_frames(self.address, frames)
                if wait_s > 0:
                    self.transport.pause_reading()
                    self._throttle = self.loop.call_later(wait_s, self._end_throttle)
        self._unread = unread[at:]

    def _end_throttle(self) -> None:
        self._throttle = None
        if not self.read_paused and not self.transport.is_closing():
            self._read_on()

    # ── frames ──────────────────────────────────────────────────────────────────────────────────────────

    def handle_connect(self, event: Request) -> None:
        """Lets the application's outermost layer know the connection."""
        super().handle_connect(event)
        if self.response.status_code == 101:
            self.scope["state"][CONNECTION] = self
            self.scope["extensions"][DIRECT] = self  # type: ignore[assignment]

    def handle_text(self, event: Frame) -> None:
        """Begins a text message."""
        if self._begin(event):
            super().handle_text(event)

    def handle_bytes(self, event: Frame) -> None:
        """Begins a binary message."""
        if self._begin(event):
            if self._sink is not None and event.fin:
                if not self.close_sent:
                    self._sink.binary_received(bytes(event.data))
                return
            super().handle_bytes(event)

    def handle_cont(self, event: Frame) -> None:
        """Goes on with a message of several frames."""
        self._frames += 1
        if self._count_fragment(event):
            super().handle_cont(event)

    def handle_ping(self) -> None:
        """Answers with a pong; while the client reads nothing only the last one is kept (RFC 6455, 5.5.3)."""
        if self._count_control():
            if self.writable.is_set():
                super().handle_ping()
            elif pongs := self.conn.data_to_send():  # one for each ping of the piece
                self._pong = pongs[-1]

    def handle_pong(self, event: Frame) -> None:
        """Takes the answer to a ping."""
        if self._count_control():
            super().handle_pong(event)

    def handle_close(self, event: Frame) -> None:
        """Answers the closing handshake."""
        if self._count_control():
            super().handle_close(event)

    def handle_parser_exception(self) -> None:
        """Tells the client what is wrong, if it reads."""
        super().handle_parser_exception()
        if not self.writable.is_set():
            self.transport.abort()

    def keepalive_timeout(self) -> None:
        """Ends the connection of a client that does not answer pings."""
        self._abuse("unanswered WebSocket pings")

    def _begin(self, event: Frame) -> bool:
        self._frames += 1
        if event.fin:
            return not self.transport.is_closing()
        self._fragments = self._empty_fragments = 0
        return self._count_fragment(event)

    def _count_fragment(self, event: Frame) -> bool:
        self._fragments += 1
        if not event.data:
            self._empty_fragments += 1
        return self._within(
            "WebSocket fragments",
            self._fragments <= MAX_FRAGMENTS
            and self._empty_fragments <= MAX_EMPTY_FRAGMENTS
            and self._fragment_rate.take(self.loop.time()),
        )

    def _count_control(self) -> bool:
        self._frames += 1
        return self._within("WebSocket control frames", self._control.take(self.loop.time()))

    def _within(self, share: str, allowed: bool) -> bool:
        """True when a frame is taken; otherwise the connection has ended."""
        if self.transport.is_closing():
            return False
        if not allowed:
            self._abuse(share)
        return allowed

    def _abuse(self, share: str) -> None:
        if not self.transport.is_closing():
            self.admission.refuse(share, self.address)
        self.frames = []
        self.transport.abort()

    # ── without a queue ─────────────────────────────────────────────────────────────────────────────────

    def deliver_to(self, sink: MessageSink) -> None:
        """Gives `sink` each message when it is parsed, those that came before first; `receive` has only the
        end of the connection from now on. For audio: a queue and a task cost as much again as the frame."""
        waiting = []
        while not self.queue.empty():
            waiting.append(self.queue.get_nowait())
        self._sink = sink
        for message in waiting:
            if message["type"] != "websocket.receive":
                self.queue.put_nowait(message)
            elif (text := message.get("text")) is not None:
                sink.text_received(text.encode())
            else:
                sink.binary_received(message.get("bytes") or b"")
        if self.read_paused:
            self.read_paused = False
            if self._throttle is None:
                self._read_on()

    def send_receive_event_to_app(self) -> None:
        """Passes a complete message on."""
        sink = self._sink
        if sink is None:
            super().send_receive_event_to_app()
            return
        data = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
        self.frames = []
        if self.close_sent or self.transport.is_closing():
            return
        if self.curr_msg_data_type == "text":
            sink.text_received(bytes(data))
        else:
            sink.binary_received(bytes(data))

    def send_now(self, payload: bytes, *, text: bool) -> bool:
        """Writes one message at once, however much waits already; False once the connection is closing."""
        if self.close_sent or self.disconnected or self.transport.is_closing():
            return False
        # Whole frames of a server have a head and no mask (RFC 6455, section 5.2); the library's way to the
        # same bytes takes twice as long as all the rest.
        first, length = _TEXT_FRAME if text else _BINARY_FRAME, len(payload)
        if length < 126:
            head = bytes((first, length))
        elif length < 0x10000:
            head = bytes((first, 126, length >> 8, length & 0xFF))
        else:
            head = bytes((first, 127)) + length.to_bytes(8)
        self.transport.write(head + payload)
        return True

    def close_now(self, code: int) -> None:
        """Sends a close frame and ends the connection once it was written: some clients never answer it."""
        if self.close_sent or self.disconnected or self.transport.is_closing():
            return
        self.conn.send_close(code)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.transport.close()
        self._await_end()

    @property
    def unsent(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return self.transport.get_write_buffer_size()

    # ── writing ─────────────────────────────────────────────────────────────────────────────────────────

    async def send(self, message: Any) -> None:
        """Sends for the application. Raises ClientDisconnected when the handshake can no longer be completed:
        uvicorn's own says nothing, and calls it a mistake of the application afterwards."""
        if self.transport.is_closing() and not self.handshake_complete:
            raise ClientDisconnected
        await super().send(message)

    def pause_writing(self) -> None:
        """Starts the clock of a client that does not read."""
        super().pause_writing()
        self._writes.watch()

    def resume_writing(self) -> None:
        """Stops the clock, and sends the pong that waited."""
        super().resume_writing()
        self._writes.stop()
        pong, self._pong = self._pong, b""
        if pong and not self.close_sent and not self.transport.is_closing():
            self.transport.write(pong)

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """Gives the connection a while to close after its application has ended."""
        super().on_task_complete(task)
        self._await_end()

    def _await_end(self) -> None:
        if self._linger is None and not self.disconnected:
            self._linger = self.loop.call_later(LINGER_S, self.transport.abort)

    def _stalled(self) -> None:
        self._abuse("unread WebSocket messages")
