"""The load of `bench gate`: a process of its own that connects to 127.0.0.1 as many devices would.

Reads JSON objects (`Order`), one a line, from standard input, and answers each with one (`Outcome`); ends
with its input. Packets are made beforehand and sockets used bare: the load is faster than what it measures.
"""

import json
import os
import re
import resource
import select
import socket
import struct
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field

from mimi_mqtt.wire.mqtt import encode_connect, encode_publish
from mimi_mqtt.wire.topics import device_topic

_ANSWER_S = 20.0
_SILENCE_S = 5.0  # after which the server has no more questions
_RESET = struct.pack("ii", 1, 0)
_ACCEPTED = b"\x20\x02\x00\x00"
_HELLO_BYTES = b'"type":"hello"'
_HELLO = (
    b'{"type":"hello","version":3,"features":{"mcp":true},"transport":"udp","audio_params":'
    b'{"format":"opus","sample_rate":16000,"channels":1,"frame_duration":60}}'
)
_MCP_BYTES = b'"type":"mcp"'
_MCP_HEAD = b'{"type":"mcp","payload":{"jsonrpc":"2.0",'
_MCP_QUESTION = re.compile(rb'("id":\d+,)"method":"(initialize|tools/list)"')
_MCP_ANSWERS: dict[bytes, bytes] = {
    b"initialize": b'{"protocolVersion":"2024-11-05","capabilities":{"tools":{}}}',
    b"tools/list": (
        b'{"tools":[{"name":"self.audio_speaker.set_volume","description":"Sets the volume","inputSchema":'
        b'{"type":"object","properties":{"volume":{"type":"integer"}},"required":["volume"]}}]}'
    ),
}
"""A device's answers by method."""


@dataclass(frozen=True, slots=True)
class Order:
    """Task of the load process.

    `devices`: (id, password) of each, from now on. `connect`: each in turn, `parallel` at a time, `count`
    in all, and away again. `hold`: the first `count` connect and stay. `hello`: those that stay say hello at
    once. `tools`: they answer what the server asks about their tools, until it has no more questions. `drop`:
    they leave.
    """

    do: str
    port: int = 0
    count: int = 0
    parallel: int = 0
    core: int | None = None
    devices: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result: the number of right answers, the seconds they took in all, and each answer's time in ms."""

    answered: int
    seconds: float
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    send_seconds: float = 0.0


class _Load:
    def __init__(self) -> None:
        self._connects: list[bytes] = []
        self._hellos: list[bytes] = []
        self._topics: list[str] = []
        self._held: list[socket.socket] = []
        self._asked: list[tuple[int, bytes]] = []

    def obey(self, order: Order) -> Outcome:
        if order.do == "devices":
            if order.core is not None:
                os.sched_setaffinity(0, {order.core})
            for device_id, password in order.devices:
                self._connects.append(
                    encode_connect(device_id, username=device_id, password=password.encode(), keepalive_s=240)
                )
                self._topics.append(device_topic(device_id, "up"))
                self._hellos.append(encode_publish(self._topics[-1], _HELLO))
            return Outcome(len(self._connects), 0.0)
        if order.do == "connect":
            return self._connect(order)
        if order.do == "hold":
            return self._hold(order.port, order.count)
        if order.do == "hello":
            return self._hello()
        if order.do == "tools":
            return self._tools()
        return self._drop()

    def _open(self, port: int, index: int) -> socket.socket:
        sock = socket.socket()
        sock.connect(("127.0.0.1", port))
        sock.sendall(self._connects[index % len(self._connects)])
        return sock

    def _connect(self, order: Order) -> Outcome:
        waiting: deque[socket.socket] = deque()
        answered = 0
        began = time.perf_counter()
        for index in range(order.count + order.parallel):
            if index < order.count:
                waiting.append(self._open(order.port, index))
            if waiting and (index >= order.count or len(waiting) >= order.parallel):
                sock = waiting.popleft()
                answered += sock.recv(4) == _ACCEPTED
                # RST: no TIME_WAIT, so that runs do not exhaust the ports.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                sock.close()
        return Outcome(answered, time.perf_counter() - began)

    def _hold(self, port: int, count: int) -> Outcome:
        began = time.perf_counter()
        answered = 0
        for index in range(count):
            self._held.append(self._open(port, index))
            if index >= 100:
                answered += self._held[index - 100].recv(4) == _ACCEPTED
        for sock in self._held[max(0, len(self._held) - 100) :]:
            answered += sock.recv(4) == _ACCEPTED
        return Outcome(answered, time.perf_counter() - began)

    def _poll(self) -> tuple[select.epoll, dict[int, int]]:
        """Waits for all that stay; with the number of each by its descriptor."""
        poll = select.epoll()
        numbers: dict[int, int] = {}
        for number, sock in enumerate(self._held):
            sock.setblocking(False)
            numbers[sock.fileno()] = number
            poll.register(sock.fileno(), select.EPOLLIN)
        return poll, numbers

    def _hello(self) -> Outcome:
        """Answers are read while the rest is still being sent: a device's time is its own, from just before
        its hello is sent until its answer was read."""
        poll, numbers = self._poll()
        sent = [0.0] * len(self._held)
        times: list[float] = []
        outstanding = len(self._held)

        def read() -> int:
            # Never sleeping: a server's `send` to a sleeping process of this machine also pays for waking it.
            done = 0
            for descriptor, _ in poll.poll(0, 256):
                number = numbers[descriptor]
                data = self._held[number].recv(65_536)
                now = time.perf_counter()
                if sent[number] and (_HELLO_BYTES in data or not data):
                    if data:
                        times.append((now - sent[number]) * 1000)
                    sent[number] = 0.0
                    done += 1
                if _MCP_BYTES in data:
                    self._asked.append((number, data))  # to be answered when the hellos are done with
                elif not data:
                    poll.unregister(descriptor)
            return done

        began = time.perf_counter()
        for number, sock in enumerate(self._held):
            sent[number] = time.perf_counter()
            sock.send(self._hellos[number])
            if number % 64 == 63:
                outstanding -= read()
        send_seconds = time.perf_counter() - began
        while outstanding and time.perf_counter() - began < _ANSWER_S:
            outstanding -= read()
        seconds = time.perf_counter() - began
        poll.close()
        times.sort()
        if not times:
            return Outcome(0, seconds)
        p50, p99 = times[len(times) // 2], times[min(len(times) - 1, len(times) * 99 // 100)]
        return Outcome(len(times), seconds, p50, p99, send_seconds)

    def _tools(self) -> Outcome:
        poll, numbers = self._poll()
        began = time.perf_counter()
        told = 0
        asked, self._asked = self._asked, []
        while asked or told < len(self._held):
            for number, data in asked:
                for request_id, method in _MCP_QUESTION.findall(data):
                    reply = _MCP_HEAD + request_id + b'"result":' + _MCP_ANSWERS[method] + b"}}"
                    self._held[number].send(encode_publish(self._topics[number], reply))
                    told += method == b"tools/list"
            asked = []
            for descriptor, _ in poll.poll(_SILENCE_S, 256):
                data = self._held[numbers[descriptor]].recv(65_536)
                if data:
                    asked.append((numbers[descriptor], data))
                else:
                    poll.unregister(descriptor)
            if not asked:
                break
        poll.close()
        return Outcome(told, time.perf_counter() - began)

    def _drop(self) -> Outcome:
        for sock in self._held:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            sock.close()
        count = len(self._held)
        self._held.clear()
        self._asked.clear()
        return Outcome(count, 0.0)


def raise_descriptor_limit() -> int:
    """Allows this process as many open files as the system does; how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def main() -> None:
    """Obeys until standard input ends."""
    raise_descriptor_limit()
    socket.setdefaulttimeout(_ANSWER_S)
    load = _Load()
    for line in sys.stdin:
        print(json.dumps(asdict(load.obey(Order(**json.loads(line))))), flush=True)


if __name__ == "__main__":
    main()
