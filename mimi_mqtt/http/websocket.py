"""WebSocket on one connection: uvicorn's protocol, with bounds on what a client may cost.

uvicorn's own reads as much as arrives at once, answers every ping without flow control, and waits for closing
handshakes. Here the parser is fed in pieces and only as fast as the application takes messages, frames are
counted, pongs wait for a client that reads, and a client that misbehaves is aborted.

Whole binary messages, and so all audio, are read without the library's parser, which has every other
frame, and a device's connection keeps neither a task nor its request. `mimi-mqtt bench websocket` then
measures 20 µs for a frame that is received, put in order and answered, 1.5 times an asyncio protocol that
knows no bound and only echoes, and 14 kB for an idle connection; with the parser it took 28 µs, and with the
task a connection had 32 kB. picows 2.3, in C, takes 1 µs less than that protocol, whose time is nearly all
the kernel's: not enough to let the bytes of strangers into C code, by a way to take over a connection that
is not documented.
"""

import asyncio
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State

from mimi_mqtt.http.accounting import CONNECTION
from mimi_mqtt.http.admission import Admission
from mimi_mqtt.http.direct import DIRECT, End, MessageSink
from mimi_mqtt.http.frame_bounds import FrameBounds
from mimi_mqtt.http.stalls import WRITE_TIMEOUT_S, WriteWatch
from mimi_mqtt.wire import rfc6455

LINGER_S: Final = 5.0
"""Seconds that a closing connection may take to accept its last bytes and to close."""

_OWN_PING: Final = b"probe"  # those of the keepalive have four bytes

_PIECE_BYTES: Final = 1_024
"""Bytes that the library parses before frames are counted: at most 170 frames, 3 ms."""
_COUNTED_AT_ONCE: Final = 16
"""Plain frames of a connection that are counted together."""


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
        self.address = ""
        self._bounds = FrameBounds(self.loop.time())
        self._frames = 0
        self._awaited = 0
        self._unread = b""
        self._pong = b""
        self._probed_at = 0.0
        self._sink: MessageSink | None = None
        self._throttle: asyncio.TimerHandle | None = None
        self._linger: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the connection over from the protocol of HTTP."""
        super().connection_made(transport)
        # Nothing holds the protocol of HTTP any longer, which has a parser, a request and its head.
        self.admission.hand_over(self.transport.get_protocol(), self)  # type: ignore[arg-type]  # Evictable
        self._writes = WriteWatch(self.transport, self.write_timeout_s, self._stalled)
        if self.client is not None:
            self.address = self.client[0]

    def connection_lost(self, exc: Exception | None) -> None:
        """Frees the connection's place and stops the clocks."""
        self.admission.leave(self)
        self.admission.close_websocket(self)
        self._writes.close()
        self._unread = b""
        for timer in (self._throttle, self._linger):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def eof_received(self) -> None:
        """Gives a client that sends no more a while to read what was written; the transport closes then."""
        self._await_end()

    def evict(self) -> None:
        """Ends the connection at once."""
        self.transport.abort()

    # ── reading ─────────────────────────────────────────────────────────────────────────────────────────

    def data_received(self, data: bytes) -> None:
        """Parses what arrived as far as the application may take it now."""
        if not self.handshake_initiated:  # the request's head, whole, from the protocol of HTTP
            super().data_received(data)
            return
        if self._unread:
            data = self._unread + data
        if self._throttle is None and not self.read_paused:
            self._feed(data)
        else:
            self._unread = data
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
        try:
            self._feed(self._unread)
        except BaseException:
            # Of a fault in `data_received` the transport makes an end; this is called from elsewhere, too.
            self.transport.abort()
            raise
        if not self.read_paused and self._throttle is None:
            self.transport.resume_reading()

    def _feed(self, data: bytes) -> None:
        """Parses until a message is complete or nothing is left.

        Plain frames need no parser (`wire.rfc6455`). The library has all the others, and is at the begin of a
        frame whenever `_awaited` is 0: it never sees a part of one that it is not given to its end.
        """
        at, size, conn = 0, len(data), self.conn
        while at < size and not self.read_paused and self._throttle is None:
            if not self._awaited:
                frame = None
                if conn.state is State.OPEN and conn.cur_size is None:
                    frame = rfc6455.plain(data, at, self.config.ws_max_size)
                if frame is not None:
                    at = frame.end
                    self._frames += 1
                    self._take(frame.payload)
                elif not (awaited := rfc6455.frame_bytes(data, at)):
                    break  # not even its length is there yet
                else:
                    self._awaited = awaited
            if self._awaited:
                piece = data[at : at + min(self._awaited, _PIECE_BYTES)]
                at += len(piece)
                self._awaited -= len(piece)
                super().data_received(piece)
            if self.transport.is_closing():
                at = size
                self._await_end()
            elif self._frames >= _COUNTED_AT_ONCE:
                self._count_frames()
        self._unread = data[at:] if at < size else b""

    def _take(self, payload: bytes) -> None:
        """Passes the message of a plain frame on."""
        if self._sink is not None:
            self._sink.binary_received(payload)
            return
        self.curr_msg_data_type = "bytes"
        self.frames = [payload]
        self.send_receive_event_to_app()

    def _count_frames(self) -> None:
        """Counts the frames read since the last time; reads no more for a while beyond the address's rate."""
        frames, self._frames = self._frames, 0
        wait_s = self.admission.read_frames(self.address, frames)
        if wait_s > 0:
            self.transport.pause_reading()
            self._throttle = self.loop.call_later(wait_s, self._end_throttle)

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
        """Takes the answer to a ping, and so to the one before it: a client may leave that one unanswered
        (RFC 6455, 5.5.3)."""
        if not self._count_control():
            return
        pong, keepalive = bytes(event.data), self.pending_ping_payload
        if self._sink is not None:
            if pong == _OWN_PING:
                self._sink.pong_received()
                if keepalive is not None and self.ping_sent_at <= self._probed_at:
                    event = Frame(Opcode.PONG, keepalive)
            elif pong == keepalive and self._probed_at <= self.ping_sent_at:
                self._sink.pong_received()
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
        self._bounds.begin()
        return self._count_fragment(event)

    def _count_fragment(self, event: Frame) -> bool:
        allowed = self._bounds.fragment(len(event.data), self.loop.time())
        return self._within("WebSocket fragments", allowed)

    def _count_control(self) -> bool:
        self._frames += 1
        return self._within("WebSocket control frames", self._bounds.control(self.loop.time()))

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
        """Gives `sink` each message when it is parsed, those that came before first, and the end.

        The application returns then, and the connection goes on without it: a queue and a task cost as much
        again as a frame of audio, and with the request they were half of an idle connection's memory.
        """
        waiting = self.queue
        end = End(lambda: self.loop.call_soon(sink.connection_ended))
        self.queue = end  # type: ignore[assignment]
        self._sink = sink
        while not waiting.empty():
            message = waiting.get_nowait()
            if message["type"] != "websocket.receive":
                end.put_nowait(message)
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
        head = rfc6455.server_head(rfc6455.TEXT if text else rfc6455.BINARY, len(payload))
        self.transport.write(head + payload)
        return True

    def ping_now(self) -> None:
        """Writes a ping whose pong the sink is told of; nothing once the connection is closing."""
        if not (self.close_sent or self.disconnected or self.transport.is_closing()):
            self._probed_at = self.loop.time()
            self.transport.write(rfc6455.server_head(rfc6455.PING, len(_OWN_PING)) + _OWN_PING)

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

    async def run_asgi(self) -> None:
        """Runs the application; afterwards the connection ends, unless it has a sink."""
        try:
            await self.app(self.scope, self.receive, self.send)
        except ClientDisconnected:
            failed = False
        except BaseException:
            failed = True
            self.logger.exception("Exception in ASGI application\n")
        else:
            failed = not self.handshake_complete
            if failed:
                self.logger.error("ASGI callable returned without completing handshake.")
        if failed:
            self.send_500_response()
        elif self._sink is not None:
            del self.scope, self.request, self.response, self.app_state
            return
        # They refer to this protocol, which would be kept with them until the next full garbage collection.
        self.scope["state"].pop(CONNECTION, None)
        self.scope["extensions"].pop(DIRECT, None)
        if self.close_timer is None:
            self.transport.close()

    # ── writing ─────────────────────────────────────────────────────────────────────────────────────────

    async def send(self, message: Any) -> None:
        """Sends for the application. Raises ClientDisconnected when the handshake can no longer be completed:
        uvicorn's own says nothing, and calls it a mistake of the application afterwards."""
        if self.transport.is_closing() and not self.handshake_complete:
            raise ClientDisconnected
        await super().send(message)
        if message["type"] == "websocket.close" and self._unread and self._throttle is None:
            self._read_on()  # the client's own close frame may be in it

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
        if self._sink is None or self.transport.is_closing():
            self._await_end()

    def _await_end(self) -> None:
        if self._linger is None and not self.disconnected:
            self._linger = self.loop.call_later(LINGER_S, self.transport.abort)

    def _stalled(self) -> None:
        self._abuse("unread WebSocket messages")
