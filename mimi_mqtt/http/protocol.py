"""HTTP/1.1 on one connection: uvicorn's protocol, with bounds on what a client may cost."""

import asyncio
import json
import time
from typing import Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from mimi_mqtt.http.admission import Admission, Excess
from mimi_mqtt.http.limits import REFUSED
from mimi_mqtt.http.stalls import WRITE_TIMEOUT_S, WriteWatch

HEADER_TIMEOUT_S: Final = 10.0
"""Seconds for a request's head to arrive, from the connection or the first byte after the last response."""
MAX_HEAD_BYTES: Final = 16_384
"""Largest head of a request, in bytes."""
MAX_PIPELINED: Final = 16
"""Requests of one connection that may arrive before the answer before was written; then it is closed."""
MAX_PIPELINED_BYTES: Final = 65_536
"""Bytes of such requests that are kept while another one is being answered."""

_BODY_PIECE_BYTES: Final = 16_384


class BoundedHttpProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 with more bounds: by `admission` for all connections of an address, and for each
    connection on the size and time of a request's head, on pipelined requests, and on unread answers."""

    # Set by the server, since uvicorn makes its protocols itself.
    admission: Admission
    header_timeout_s = HEADER_TIMEOUT_S
    write_timeout_s = WRITE_TIMEOUT_S

    admitted = False
    """True when the connection has its place already: an `Arrival` had it before."""
    accepted_at: float | None = None
    """Time of the loop from which the clock for the first head runs; None: from now."""

    address = ""
    _proxied = False
    _upgraded = False
    _head_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _pipelined = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuses a connection beyond the bounds before it costs anything more."""
        super().connection_made(transport)
        self._unread = bytearray()
        self._writes = WriteWatch(transport, self.write_timeout_s, self._stalled)
        self.address = self.client[0] if self.client is not None else ""
        self._proxied = self.address in self.admission.proxies
        if self.admitted or self.admission.arrive(self.address, self):
            self._await_head(self.accepted_at)
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Frees the connection's place and stops the clocks."""
        self.admission.leave(self)
        self._head_came()
        self._writes.close()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # uvicorn's own goes on when the connection broke

    # ── Evictable ───────────────────────────────────────────────────────────────────────────────────────

    @property
    def answering(self) -> bool:
        """True while a complete request is being answered, and for a WebSocket."""
        return self._upgraded or (not self._idle and not self.cycle.more_body)

    def evict(self) -> None:
        """Ends the connection at once."""
        self.transport.abort()

    @property
    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete  # type: ignore[redundant-expr]

    # ── reading ─────────────────────────────────────────────────────────────────────────────────────────

    def data_received(self, data: bytes) -> None:
        """Feeds the parser; the clock runs while no request is being answered."""
        if self.transport.is_closing() or self._refuse_unread():
            return
        started = time.thread_time()
        self._unread += data
        self._feed()
        if not self._proxied:
            self.admission.charge(self.address, time.thread_time() - started)
        self._watch_head()
        if not self._upgraded:
            self._writes.watch()

    def on_response_complete(self) -> None:
        """Goes on with what arrived meanwhile, unless there is too much of it."""
        if not self.transport.is_closing() and self._has_pipelined():
            self._pipelined += 1
            if self._pipelined > MAX_PIPELINED:
                self.admission.refuse("pipelined HTTP requests", self.address)
                self.transport.close()
            else:
                self._refuse_unread()
        super().on_response_complete()
        if not self.transport.is_closing():
            if self.conn.their_state is h11.IDLE:
                self._head_bytes = len(self.conn.trailing_data[0])
            if self._unread:
                self._feed()
                self._watch_head()
        self._writes.watch()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hands the connection over; its place stays taken until the WebSocket ends."""
        self._upgraded = True
        self._writes.stop()
        super().handle_websocket_upgrade(event)

    def send_400_response(self, msg: str) -> None:
        """Answers what is not HTTP, if nothing was answered yet, and ends the connection."""
        if not self._idle:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.abort()

    def shutdown(self) -> None:
        """Ends the connection, after the answer to a request that is being answered."""
        if not self.transport.is_closing():
            super().shutdown()

    def _feed(self) -> None:
        """Gives the parser what was read, in pieces: no head is longer than its bound, however it arrives."""
        unread = self._unread
        while unread and not self.transport.is_closing() and not self._upgraded:
            state = self.conn.their_state
            if state is h11.IDLE:
                size = max(1, MAX_HEAD_BYTES + 1 - self._head_bytes)
                self._head_bytes += min(size, len(unread))
            elif state is h11.SEND_BODY:
                size = _BODY_PIECE_BYTES
            elif state is h11.DONE:
                self.flow.pause_reading()
                if len(unread) > MAX_PIPELINED_BYTES:
                    self.admission.refuse("pipelined HTTP requests", self.address)
                    self.transport.abort()
                return
            else:
                unread.clear()
                return
            piece = bytes(unread[:size])
            del unread[:size]
            super().data_received(piece)
            if self.conn.their_state is not h11.IDLE:
                self._head_bytes = 0

    def _has_pipelined(self) -> bool:
        return bool(self._unread) or (self.conn.their_state is h11.DONE and self.conn.trailing_data[0] != b"")

    def _refuse_unread(self) -> bool:
        """Answers 429 and closes when the address is over its bounds and no request is being answered."""
        if self._proxied or not self._idle:
            return False
        excess = self.admission.excess(self.address)
        if excess is None:
            return False
        if self.conn.our_state in (h11.IDLE, h11.DONE):
            self.transport.write(_too_many(excess))
        self._unread.clear()
        self.transport.close()
        self._writes.watch()
        return True

    # ── clocks ──────────────────────────────────────────────────────────────────────────────────────────

    def pause_writing(self) -> None:
        """Starts the clock of a client that does not read."""
        super().pause_writing()
        self._writes.watch()

    def _stalled(self) -> None:
        self.admission.refuse("unread HTTP answers", self.address)
        self.transport.abort()

    def _watch_head(self) -> None:
        if self.transport.is_closing() or self._upgraded:
            self._head_came()
        elif self._idle:
            self._await_head()
        else:
            self._head_came()

    def _await_head(self, since: float | None = None) -> None:
        if self._head_timer is None:
            began = self.loop.time() if since is None else since
            self._head_timer = self.loop.call_at(began + self.header_timeout_s, self._too_slow)

    def _head_came(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        REFUSED.labels("head_time").inc()
        self.transport.abort()


def _too_many(excess: Excess) -> bytes:
    body = json.dumps({"error": excess.message}).encode()
    return (
        b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nConnection: close\r\n"
        b"Retry-After: %d\r\nContent-Length: %d\r\n\r\n%b" % (excess.retry_after_s, len(body), body)
    )
