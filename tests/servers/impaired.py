"""Bad networks on the loopback, for tests: a TCP proxy and a UDP proxy between a device and the server.

Both run on the test's loop, listen on a free port of 127.0.0.1 and are bounded in connections and in what
they hold. What happens to a datagram is drawn from a seeded generator, one for each flow and direction, so
the n-th datagram of a flow fares alike in every run.

The kernel acknowledges for the TCP proxy whatever the proxy does with the bytes: the server's side sees an
acknowledged stall. For acknowledgements that come late or never, see `tests.integration.network.packet_link`.
"""

import asyncio
import heapq
import random
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Literal

MAX_CONNECTIONS: Final = 64
MAX_FLOWS: Final = 64
MAX_HELD: Final = 2_000
"""Datagrams on their way in one direction of one flow; one more is lost."""
MAX_CHUNKS: Final = 16
"""Pieces of a TCP stream on their way in one direction; then no more is read, and the window closes."""
_CHUNK: Final = 4_096

Direction = Literal["up", "down"]
"""up: from the device to the server; down: to the device."""


# ── TCP ──────────────────────────────────────────────────────────────────────────────────────────────────


class Valve:
    """Lets bytes pass, or holds them back."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()

    def hold(self) -> None:
        """Nothing passes until `release`."""
        self._open.clear()

    def release(self) -> None:
        """What was held passes, in order."""
        self._open.set()

    def stall(self, seconds: float) -> None:
        """Holds for `seconds`, from now."""
        self.hold()
        asyncio.get_running_loop().call_later(seconds, self.release)

    async def passable(self) -> None:
        """Returns while nothing is held."""
        await self._open.wait()


class TcpProxy:
    """A TCP proxy to `upstream`, a port of 127.0.0.1.

    `delay_s` is added in each direction; `bytes_per_s` throttles the way down; `window_bytes` is the receive
    buffer that the server sees (SO_RCVBUF: the kernel doubles it, and has a least). A valve that holds is a
    peer that reads nothing, so its window closes.
    """

    def __init__(
        self,
        upstream: int,
        *,
        delay_s: float = 0.0,
        bytes_per_s: float | None = None,
        window_bytes: int | None = None,
    ) -> None:
        self.upstream = upstream
        self.delay_s = delay_s
        self.bytes_per_s = bytes_per_s
        self.window_bytes = window_bytes
        self.up, self.down = Valve(), Valve()
        self.connections = 0
        """Connections accepted so far."""
        self.port = 0
        self._listening: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._pairs: list[_Pair] = []

    async def __aenter__(self) -> "TcpProxy":
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.setblocking(False)
        self.port = int(self._listening.getsockname()[1])
        self._accepting = asyncio.create_task(self._accept(self._listening))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._accepting is not None and self._listening is not None:
            self._accepting.cancel()
            await asyncio.wait([self._accepting])
            self._listening.close()
        for pair in self._pairs:
            await pair.aclose()

    def cut(self, *, server_learns: bool = True) -> None:
        """Breaks every connection with a reset. With `server_learns` False the server's side stays open, and
        what is written to it vanishes, as when a NAT has forgotten the connection."""
        for pair in self._pairs:
            pair.cut(server_learns)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            device, _ = await loop.sock_accept(listening)
            self._pairs = [pair for pair in self._pairs if not pair.closed]
            if len(self._pairs) >= MAX_CONNECTIONS:
                device.close()
                continue
            server = socket.socket()
            if self.window_bytes is not None:
                # Before the connection is made: a window that was announced can't shrink.
                server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.window_bytes)
            for sock in (device, server):
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                await loop.sock_connect(server, ("127.0.0.1", self.upstream))
            except OSError:
                device.close()
                server.close()
                continue
            self.connections += 1
            self._pairs.append(_Pair(self, device, server))


class _Pair:
    """One connection through the proxy: a socket on each side, and a task for each direction."""

    def __init__(self, proxy: TcpProxy, device: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._device = device
        self._server = server
        self.closed = False
        self._cutting: asyncio.Task[None] | None = None
        self._tasks = [
            asyncio.create_task(self._carry(device, server, proxy.up, None)),
            asyncio.create_task(self._carry(server, device, proxy.down, proxy.bytes_per_s)),
        ]

    async def _carry(
        self, source: socket.socket, target: socket.socket, valve: Valve, bytes_per_s: float | None
    ) -> None:
        """Carries one direction to its end, which closes the other side."""
        loop = asyncio.get_running_loop()
        way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(MAX_CHUNKS)
        reading = asyncio.create_task(self._read(source, way, valve))
        try:
            while True:
                due, data = await way.get()
                await asyncio.sleep(due - loop.time())
                await valve.passable()
                if not data:
                    break
                if bytes_per_s is not None:
                    await asyncio.sleep(len(data) / bytes_per_s)
                await loop.sock_sendall(target, data)
        except OSError:
            pass  # the connection broke
        finally:
            reading.cancel()
            await asyncio.wait([reading])
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    async def _read(
        self, source: socket.socket, way: "asyncio.Queue[tuple[float, bytes]]", valve: Valve
    ) -> None:
        """Reads until the end, which is passed on as no bytes."""
        loop = asyncio.get_running_loop()
        while True:
            await valve.passable()
            data, ended = await _received(source)
            await way.put((loop.time() + self._proxy.delay_s, data))
            if ended:
                return

    def cut(self, server_learns: bool) -> None:
        if self._cutting is None and not self.closed:
            self._cutting = asyncio.create_task(self._cut(server_learns))

    async def _cut(self, server_learns: bool) -> None:
        await self._stop_carrying()
        _reset(self._device)
        if server_learns:
            _reset(self._server)
        else:
            while not (await _received(self._server))[1]:
                pass  # swallowed
            self._server.close()
        self.closed = True

    async def _stop_carrying(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def aclose(self) -> None:
        if self._cutting is not None:
            self._cutting.cancel()
            await asyncio.wait([self._cutting])
        await self._stop_carrying()
        self.closed = True
        self._device.close()
        self._server.close()


async def _received(sock: socket.socket) -> tuple[bytes, bool]:
    """The next bytes, and True at the end, however it came."""
    try:
        data = await asyncio.get_running_loop().sock_recv(sock, _CHUNK)
    except OSError:
        data = b""
    return data, not data


def _reset(sock: socket.socket) -> None:
    """Closes with a reset. No task may wait for the socket."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


# ── UDP ──────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a datagram may meet, the same in both directions. Shares are from 0 to 1, times are seconds.

    `burst` is the share of datagrams that begin a loss of `burst_length` in a row. `jitter_s` is drawn evenly
    for each datagram, so they may overtake each other; `late` is the share held back by `late_s` besides.
    """

    loss: float = 0.0
    burst: float = 0.0
    burst_length: int = 3
    delay_s: float = 0.0
    jitter_s: float = 0.0
    late: float = 0.0
    late_s: float = 0.08
    duplicate: float = 0.0


@dataclass(slots=True)
class Fate:
    """Counts of one direction, in datagrams; `passed` has the duplicates too."""

    passed: int = 0
    lost: int = 0
    duplicated: int = 0
    held_back: int = 0


class _Way:
    """One direction of one flow: draws each datagram's fate and delivers it when it is due."""

    def __init__(self, conditions: Callable[[], Conditions], seed: str, fate: Fate) -> None:
        self._conditions = conditions
        self._random = random.Random(seed)
        self._fate = fate
        self._burst_left = 0
        self._due: list[tuple[float, int, bytes]] = []
        self._ticket = 0
        self._timer: asyncio.TimerHandle | None = None
        self.deliver: Callable[[bytes], None] = lambda _: None

    def carry(self, datagram: bytes) -> None:
        conditions, draw = self._conditions(), self._random.random
        # Always as many draws, so that one condition doesn't shift the others'.
        loss, burst, late, twice, jitter, jitter_again = (draw() for _ in range(6))
        lost = loss < conditions.loss
        if self._burst_left:
            self._burst_left -= 1
            lost = True
        elif burst < conditions.burst:
            self._burst_left = conditions.burst_length - 1
            lost = True
        if lost or len(self._due) >= MAX_HELD:
            self._fate.lost += 1
            return
        delay_s = conditions.delay_s
        if late < conditions.late:
            self._fate.held_back += 1
            delay_s += conditions.late_s
        self._send(datagram, delay_s + jitter * conditions.jitter_s)
        if twice < conditions.duplicate:
            self._fate.duplicated += 1
            self._send(datagram, delay_s + jitter_again * conditions.jitter_s)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due.clear()

    def _send(self, datagram: bytes, delay_s: float) -> None:
        self._fate.passed += 1
        if delay_s <= 0:
            self.deliver(datagram)
            return
        self._ticket += 1
        due = asyncio.get_running_loop().time() + delay_s
        heapq.heappush(self._due, (due, self._ticket, datagram))
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(self._due[0][0], self._deliver_due)

    def _deliver_due(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time() + 0.001  # a loop may call a rounding error too early
        while self._due and self._due[0][0] <= now:
            self.deliver(heapq.heappop(self._due)[2])
        if self._due:
            self._arm()


@dataclass(slots=True)
class Binding:
    """A source address that the server sees, with the number of datagrams sent from it and come to it.

    `after_move` has an entry for each datagram that came although `next` had taken its place: the number of
    datagrams that had been sent from `next` by then.
    """

    sent: int = 0
    came: int = 0
    after_move: list[int] = field(default_factory=list)
    next: "Binding | None" = None


class Flow:
    """One device behind the proxy."""

    def __init__(self, proxy: "UdpProxy", device: tuple[str, int], number: int) -> None:
        self._proxy = proxy
        self._loop = asyncio.get_running_loop()
        self.fates: dict[Direction, Fate] = {"up": Fate(), "down": Fate()}
        self._up, self._down = (
            _Way(lambda: proxy.conditions, f"{proxy.seed}/{number}/{direction}", fate)
            for direction, fate in self.fates.items()
        )
        self._up.deliver = self._to_server
        self._down.deliver = lambda datagram: proxy.to_device(datagram, device)
        self.bindings: list[Binding] = []
        self._sockets: list[socket.socket] = []
        self.rebind()

    def rebind(self) -> None:
        """Sends from another port from now on. The old one stays open and leads nowhere, as in a NAT."""
        binding = Binding()
        if self.bindings:
            self.bindings[-1].next = binding
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.connect(("127.0.0.1", self._proxy.upstream))
        self._loop.add_reader(sock.fileno(), self._from_server, sock, binding)
        self.bindings.append(binding)
        self._sockets.append(sock)

    def from_device(self, datagram: bytes) -> None:
        self._up.carry(datagram)

    def _to_server(self, datagram: bytes) -> None:
        self.bindings[-1].sent += 1
        with suppress(OSError):  # the server is gone, or its buffer full: lost, as in any network
            self._sockets[-1].send(datagram)

    def _from_server(self, sock: socket.socket, binding: Binding) -> None:
        with suppress(OSError):
            while True:
                datagram = sock.recv(2_048)
                if binding.next is None:
                    binding.came += 1
                    self._down.carry(datagram)
                else:
                    binding.after_move.append(binding.next.sent)

    def close(self) -> None:
        self._up.close()
        self._down.close()
        for sock in self._sockets:
            self._loop.remove_reader(sock.fileno())
            sock.close()


class UdpProxy(asyncio.DatagramProtocol):
    """A UDP proxy to `upstream`, a port of 127.0.0.1 that may be set later. `conditions` may change at any
    moment. Each source address is a flow of its own, in the order of their first datagrams."""

    def __init__(self, conditions: Conditions | None = None, *, upstream: int = 0, seed: int = 1) -> None:
        self.upstream = upstream
        self.conditions = conditions or Conditions()
        self.seed = seed
        self.port = 0
        self._flows: dict[tuple[str, int], Flow] = {}
        self._transport: asyncio.DatagramTransport | None = None

    async def __aenter__(self) -> "UdpProxy":
        self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0), family=socket.AF_INET
        )
        self.port = int(self._transport.get_extra_info("sockname")[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        for flow in self._flows.values():
            flow.close()
        if self._transport is not None:
            self._transport.close()
            await asyncio.sleep(0)  # for the transport to close its socket

    @property
    def flows(self) -> list[Flow]:
        """The devices' flows."""
        return list(self._flows.values())

    def rebind(self) -> None:
        """Moves every flow to another source port."""
        for flow in self._flows.values():
            flow.rebind()

    def fate(self, direction: Direction) -> Fate:
        """The sum over all flows."""
        total = Fate()
        for flow in self._flows.values():
            fate = flow.fates[direction]
            total.passed += fate.passed
            total.lost += fate.lost
            total.duplicated += fate.duplicated
            total.held_back += fate.held_back
        return total

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """See asyncio."""
        flow = self._flows.get(addr)
        if flow is None:
            if len(self._flows) >= MAX_FLOWS:
                return
            flow = self._flows[addr] = Flow(self, addr, len(self._flows))
        flow.from_device(data)

    def to_device(self, data: bytes, device: tuple[str, int]) -> None:
        """Delivers to a device's socket."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data, device)
