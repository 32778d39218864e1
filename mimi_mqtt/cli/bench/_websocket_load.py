"""The load of `bench websocket`: a process of its own that is many devices on WebSockets.

Reads JSON objects (`Order`), one a line, from standard input, and answers each with one (`Outcome`); ends
with its input. Connects to 127.0.0.1 only, each device from an address of its own, as what one address may
send is bounded. Sockets are used bare: the load is faster than what it measures.
"""

import json
import os
import select
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Literal

from mimi_mqtt.cli.bench._gate_load import raise_descriptor_limit
from mimi_mqtt.cli.bench._udp_load import speechlike
from mimi_mqtt.wire.rfc6455 import BINARY, TEXT

_ANSWER_S = 20.0
_RESET = struct.pack("ii", 1, 0)
_ACCEPTED = b"HTTP/1.1 101 "
_PING = 0x89
_HELLO = (
    b'{"type":"hello","version":1,"transport":"websocket","audio_params":'
    b'{"format":"opus","sample_rate":16000,"channels":1,"frame_duration":60}}'
)
_HELLO_BYTES = b'"type":"hello"'


@dataclass(frozen=True, slots=True)
class Order:
    """Task of the load process.

    `devices`: (MAC, token) of each, from now on. `connect`: each in turn, `parallel` at a time, `count` in
    all, and away again. `hold`: the first `count` connect and stay. `hello`: those that stay say hello at
    once. `talk`: they send `frames` each, one in `frame_ms`, and wait for as many if it is `answered`.
    `listen`: they wait for `frames` each. `drop`: they leave.
    """

    do: Literal["devices", "connect", "hold", "hello", "talk", "listen", "drop"]
    port: int = 0
    path: str = ""
    count: int = 0
    parallel: int = 0
    frames: int = 0
    frame_ms: int = 0
    answered: bool = False
    core: int | None = None
    devices: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result: the number of right answers, the seconds they took in all, each answer's time in ms, frames
    sent, and the lateness in ms of the frame that was sent latest."""

    answered: int
    seconds: float
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    sent: int = 0
    late_ms: float = 0.0


def _masked(first: int, payload: bytes) -> bytes:
    """A client's frame; masked with zeros, which costs the load nothing and the server as much."""
    length = len(payload)
    size = bytes((0x80 | length,)) if length < 126 else b"\xfe" + length.to_bytes(2)
    return bytes((first,)) + size + bytes(4) + payload


class _Held:
    """A connection that stays."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sent_at: deque[float] = deque()
        self._unread = b""

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """First byte and payload of what came; pings are answered. Raises ConnectionError at the end."""
        if not (data := self.sock.recv(65_536)):
            raise ConnectionError("the server ended the connection")
        data, at = self._unread + data, 0
        while len(data) >= at + 2:
            begin, length = at + 2, data[at + 1]
            if length == 126:
                begin, length = at + 4, int.from_bytes(data[at + 2 : at + 4])
            if len(data) < begin + length:
                break
            first, payload = data[at], data[begin : begin + length]
            at = begin + length
            if first == _PING:
                self.sock.send(_masked(0x8A, payload))
            else:
                yield first, payload
        self._unread = data[at:]


class _Load:
    def __init__(self) -> None:
        self._devices: list[tuple[str, str]] = []
        self._held: dict[int, _Held] = {}

    def obey(self, order: Order) -> Outcome:
        if order.do == "devices":
            if order.core is not None:
                os.sched_setaffinity(0, {order.core})
            self._devices = order.devices
            return Outcome(len(self._devices), 0.0)
        if order.do == "connect":
            return self._connect(order)
        if order.do == "hold":
            return self._hold(order)
        if order.do == "hello":
            return self._hello()
        if order.do in ("talk", "listen"):
            return self._talk(order)
        return self._drop()

    def _open(self, order: Order, index: int) -> socket.socket:
        number = index % len(self._devices)
        mac, token = self._devices[number]
        sock = socket.socket()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind((f"127.1.{number // 200}.{number % 200 + 1}", 0))
        sock.connect(("127.0.0.1", order.port))
        sock.sendall(
            f"GET {order.path} HTTP/1.1\r\nHost: 127.0.0.1:{order.port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"Sec-WebSocket-Version: 13\r\nDevice-Id: {mac}\r\nClient-Id: bench\r\n"
            f"Authorization: Bearer {token}\r\nProtocol-Version: 1\r\n\r\n".encode()
        )
        return sock

    def _connect(self, order: Order) -> Outcome:
        waiting: deque[tuple[float, socket.socket]] = deque()
        answered = 0
        times: list[float] = []
        began = time.perf_counter()
        for index in range(order.count + order.parallel):
            if index < order.count:
                waiting.append((time.perf_counter(), self._open(order, index)))
            if waiting and (index >= order.count or len(waiting) >= order.parallel):
                opened, sock = waiting.popleft()
                answered += sock.recv(4_096).startswith(_ACCEPTED)
                times.append((time.perf_counter() - opened) * 1000)
                _close(sock)
        return _outcome(answered, began, times)

    def _hold(self, order: Order) -> Outcome:
        began = time.perf_counter()
        answered = 0
        for index in range(order.count):
            sock = self._open(order, index)
            answered += sock.recv(4_096).startswith(_ACCEPTED)
            sock.setblocking(False)
            self._held[sock.fileno()] = _Held(sock)
        return Outcome(answered, time.perf_counter() - began)

    def _poll(self) -> select.epoll:
        poll = select.epoll()
        for descriptor in self._held:
            poll.register(descriptor, select.EPOLLIN)
        return poll

    def _hello(self) -> Outcome:
        """Answers are read while the rest is still being sent."""
        poll = self._poll()
        times: list[float] = []
        hello, began = _masked(TEXT, _HELLO), time.perf_counter()
        for number, held in enumerate(self._held.values(), 1):
            held.sent_at.append(time.perf_counter())
            held.sock.send(hello)
            if number % 64 == 0:
                self._read(poll, 0, TEXT, times, _HELLO_BYTES)
        while len(times) < len(self._held) and time.perf_counter() - began < _ANSWER_S:
            self._read(poll, 0.1, TEXT, times, _HELLO_BYTES)
        poll.close()
        return _outcome(len(times), began, times)

    def _talk(self, order: Order) -> Outcome:
        """In turns, so that the devices' frames are spread evenly over the time of one."""
        poll, frames = self._poll(), [_masked(BINARY, opus) for opus in speechlike(order.frame_ms)]
        times: list[float] = []
        sent, late, devices = 0, 0.0, [*self._held.values()]
        step = order.frame_ms / 1000 / max(1, len(devices))
        began = time.perf_counter()
        if order.do == "talk":
            for number in range(order.frames):
                for device, held in enumerate(devices):
                    due = began + (number * len(devices) + device) * step
                    while (left := due - time.perf_counter()) > 0:
                        self._read(poll, left, BINARY, times)
                    late = max(late, -left)
                    held.sent_at.append(time.perf_counter())
                    held.sock.send(frames[number % len(frames)])
                    sent += 1
        expected = order.frames * len(devices) if order.answered or order.do == "listen" else 0
        end = time.perf_counter() + 2 + (order.frames * order.frame_ms / 1000 if order.do == "listen" else 0)
        while len(times) < expected and time.perf_counter() < end:
            self._read(poll, 0.1, BINARY, times)
        poll.close()
        for held in devices:
            held.sent_at.clear()
        return _outcome(len(times), began, times, sent, late * 1000)

    def _read(
        self, poll: select.epoll, timeout_s: float, kind: int, times: list[float], has: bytes = b""
    ) -> None:
        """Takes what came: of each frame of `kind` that `has` something, the time since what it answers."""
        for descriptor, _ in poll.poll(timeout_s, 256):
            held = self._held[descriptor]
            try:
                for first, payload in held.frames():
                    if first == kind and has in payload:
                        now = time.perf_counter()
                        times.append((now - (held.sent_at.popleft() if held.sent_at else now)) * 1000)
            except ConnectionError:
                poll.unregister(descriptor)

    def _drop(self) -> Outcome:
        for held in self._held.values():
            _close(held.sock)
        count = len(self._held)
        self._held.clear()
        return Outcome(count, 0.0)


def _close(sock: socket.socket) -> None:
    """RST: no TIME_WAIT, so that runs do not exhaust the ports."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.close()


def _outcome(answered: int, began: float, times: list[float], sent: int = 0, late_ms: float = 0.0) -> Outcome:
    seconds = time.perf_counter() - began
    if not times:
        return Outcome(answered, seconds, sent=sent, late_ms=late_ms)
    times.sort()
    p50, p99 = times[len(times) // 2], times[min(len(times) - 1, len(times) * 99 // 100)]
    return Outcome(answered, seconds, p50, p99, sent, late_ms)


def main() -> None:
    """Obeys until standard input ends."""
    raise_descriptor_limit()
    socket.setdefaulttimeout(_ANSWER_S)
    load = _Load()
    for line in sys.stdin:
        print(json.dumps(asdict(load.obey(Order(**json.loads(line))))), flush=True)


if __name__ == "__main__":
    main()
