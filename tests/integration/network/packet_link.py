"""An IP link between two network namespaces, whose every packet passes through the test.

Two TUN devices, one in the namespace where the test and its server run as long as the link is open, one in
the namespace of the simulated device, and this process between them: it delays packets, holds those of TCP
back, loses them, and has the device acknowledge late, as the stacks of small devices do. Unlike with a proxy
the server's kernel sees true acknowledgements. The namespaces have no names and end with their threads and
sockets, whatever becomes of the test. Needs root and /dev/net/tun.
"""

import asyncio
import ctypes
import fcntl
import functools
import os
import queue
import struct
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

T = TypeVar("T")

MAX_ON_THE_WAY: Final = 2_000
"""Packets in one lane; one more is lost."""
MAX_PAYLOAD: Final = 65_536
_TUNSETIFF: Final = 0x400454CA  # linux/if_tun.h
_TUN_WITHOUT_HEADER: Final = 0x1001  # IFF_TUN | IFF_NO_PI
_CLONE_NEWNET: Final = 0x40000000
_TCP: Final = 6
_SYN: Final = 0x02
_ACK_ALONE: Final = 0x10
_RST: Final = 0x04


@functools.cache
def unavailable() -> str:
    """The reason why there can be no link here; empty when there can, and where nothing may be skipped."""
    if os.environ.get("CI") == "true":
        return ""
    if os.geteuid() != 0:
        return "a network namespace needs root"
    reasons: list[str] = []

    def attempt() -> None:
        try:
            _new_namespace()
            descriptor, name = _tun()
            try:
                _ip("link", "set", name, "up")
            finally:
                os.close(descriptor)
        except (OSError, subprocess.SubprocessError) as error:
            reasons.append(f"no TUN device or network namespace: {error}")

    attempting = threading.Thread(target=attempt)
    attempting.start()
    attempting.join()
    return "".join(reasons)


def _new_namespace() -> None:
    """Gives this thread, and those it starts, a network namespace of its own."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "a network namespace can't be made")


def _enter_namespace(descriptor: int) -> None:
    """Takes this thread to another network namespace."""
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "a network namespace can't be entered")


def _tun() -> tuple[int, str]:
    """A TUN device in the thread's namespace, which ends with its descriptor, and its name."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        answer = fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", b"mimi%d", _TUN_WITHOUT_HEADER))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor, answer[:16].rstrip(b"\0").decode()


def _open_tun(own: str, peer: str) -> int:
    """A TUN device that is up, with its address and that of the other side."""
    descriptor, name = _tun()
    try:
        _ip("address", "add", own, "peer", peer, "dev", name)
        _ip("link", "set", name, "up")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=10)


class Lane:
    """Packets of one kind on their way in one direction; they never overtake each other."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._way: deque[tuple[float, bytes]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._held = False

    def hold(self) -> None:
        """Nothing arrives until `release`."""
        self._held = True

    def release(self) -> None:
        """What was held arrives, in order."""
        self._held = False
        self._deliver()

    def stall(self, seconds: float) -> None:
        """Holds for `seconds`, from now."""
        self.hold()
        self._loop.call_later(seconds, self.release)

    def carry(self, packet: bytes, due: float) -> None:
        """Delivers `packet` at `due` (loop time, s), or behind the one before."""
        if len(self._way) < MAX_ON_THE_WAY:
            self._way.append((due, packet))
            if self._timer is None:
                self._deliver()

    def close(self) -> None:
        """Loses what is on its way."""
        if self._timer is not None:
            self._timer.cancel()
        self._way.clear()

    def _deliver(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._way and not self._held:
            due, packet = self._way[0]
            if due > self._loop.time():
                self._timer = self._loop.call_at(due, self._deliver)
                return
            self._way.popleft()
            with suppress(OSError):  # the other side's queue is full, or the link is going away
                os.write(self._descriptor, packet)


class PacketLink:
    """The link. `host` is the server's address on it; sockets that this thread makes while the link is open
    belong to it, so the server has to be started then. TCP goes in three lanes: `tcp_down` to the device,
    `tcp_up` from it, and `acks_up`, its segments that acknowledge and carry nothing. UDP is only delayed.

    `delay_s` is one way, in both directions. With `ack_tick_s` such acknowledgements leave the device at
    multiples of this time only: lwIP may hold them until its timer of 250 ms.
    """

    def __init__(self, *, delay_s: float = 0.0, ack_tick_s: float = 0.0) -> None:
        self._loop = asyncio.get_running_loop()
        self._delay_s = delay_s
        self._ack_tick_s = ack_tick_s
        self._lost_ports: set[int] = set()
        self._last_up: dict[int, bytes] = {}
        self._opened: list[tuple[int, int]] = []
        # A subnet of four addresses of 198.18.0.0/15, which is set aside for tests of networks (RFC 2544).
        first = (198 << 24) + (18 << 16) + os.getpid() % 32_768 * 4
        self.host, self._device_host = (
            ".".join(str(byte) for byte in (first + number).to_bytes(4, "big")) for number in (1, 2)
        )
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._here = self._there = -1

    async def __aenter__(self) -> "PacketLink":
        made: asyncio.Future[int] = self._loop.create_future()
        self._thread = threading.Thread(target=self._inhabit, args=(made,), daemon=True)
        self._thread.start()
        self._there = await made
        self._outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _new_namespace()
            _ip("link", "set", "lo", "up")
            self._here = _open_tun(self.host, self._device_host)
        except BaseException:
            self._end()
            raise
        self.tcp_down, self._other_down = Lane(self._there), Lane(self._there)
        self.tcp_up, self.acks_up, self._other_up = Lane(self._here), Lane(self._here), Lane(self._here)
        self._loop.add_reader(self._here, self._readable, self._here, self._down)
        self._loop.add_reader(self._there, self._readable, self._there, self._up)
        return self

    async def __aexit__(self, *_: object) -> None:
        for descriptor in (self._here, self._there):
            self._loop.remove_reader(descriptor)
        for lane in (self.tcp_down, self._other_down, self.tcp_up, self.acks_up, self._other_up):
            lane.close()
        self._end()

    def _end(self) -> None:
        _enter_namespace(self._outside)
        os.close(self._outside)
        for descriptor in (self._here, self._there):
            if descriptor >= 0:
                os.close(descriptor)
        self._work.put(None)

    def stall(self, seconds: float) -> None:
        """Holds TCP back in both directions for `seconds`; UDP goes on."""
        for lane in (self.tcp_down, self.tcp_up, self.acks_up):
            lane.stall(seconds)

    def break_for_device(self, port: int) -> None:
        """Resets the device's TCP connections to `port`, and loses all further packets of them: the server is
        not told, as when a NAT or an access point has forgotten the device."""
        for own, segment in self._last_up.items():
            if _ports(segment)[1] == port and own not in self._lost_ports:
                self._lost_ports.add(own)
                with suppress(OSError):
                    os.write(self._there, _reset_for(segment))

    def connections(self, port: int) -> int:
        """Number of TCP connections made to `port`."""
        return len({own for own, other in self._opened if other == port})

    async def inside(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Runs `work` on a loop of its own in the namespace: sockets that it makes are there.

        It can't be cancelled from here, so it must be bounded.
        """
        done: asyncio.Future[T] = self._loop.create_future()

        def run() -> None:
            try:
                result = asyncio.run(work())
            except BaseException as error:  # noqa: BLE001 - carried over to the thread that waits
                self._loop.call_soon_threadsafe(_settle, done, None, error)
            else:
                self._loop.call_soon_threadsafe(_settle, done, result, None)

        self._work.put(run)
        return await done

    def _inhabit(self, made: "asyncio.Future[int]") -> None:
        """The thread that has the namespace: does what is asked for until the link ends."""
        try:
            _new_namespace()
            _ip("link", "set", "lo", "up")
            descriptor = _open_tun(self._device_host, self.host)
        except BaseException as error:  # noqa: BLE001 - carried over to the thread that waits
            self._loop.call_soon_threadsafe(_settle, made, None, error)
            return
        self._loop.call_soon_threadsafe(_settle, made, descriptor, None)
        while (work := self._work.get()) is not None:
            work()

    def _readable(self, descriptor: int, carry: Callable[[bytes, float], None]) -> None:
        now = self._loop.time()
        for _ in range(64):
            try:
                packet = os.read(descriptor, MAX_PAYLOAD)
            except OSError:
                return
            carry(packet, now)

    def _down(self, packet: bytes, now: float) -> None:
        due = now + self._delay_s
        if not _is_tcp(packet):
            self._other_down.carry(packet, due)
        elif _ports(packet)[1] not in self._lost_ports:
            self.tcp_down.carry(packet, due)

    def _up(self, packet: bytes, now: float) -> None:
        due = now + self._delay_s
        if not _is_tcp(packet):
            self._other_up.carry(packet, due)
            return
        if _flags(packet) & _SYN:
            self._opened.append(_ports(packet))
        if _ports(packet)[0] in self._lost_ports:
            return
        self._last_up[_ports(packet)[0]] = packet[: (packet[0] & 15) * 4 + 20]
        if _acknowledges_only(packet):
            if self._ack_tick_s:
                due += self._ack_tick_s - now % self._ack_tick_s
            self.acks_up.carry(packet, due)
        else:
            self.tcp_up.carry(packet, due)


def _settle(waiting: "asyncio.Future[Any]", result: object, error: BaseException | None) -> None:
    if waiting.cancelled():
        return
    if error is not None:
        waiting.set_exception(error)
    else:
        waiting.set_result(result)


def _is_tcp(packet: bytes) -> bool:
    return len(packet) >= 40 and packet[0] >> 4 == 4 and packet[9] == _TCP


def _ports(packet: bytes) -> tuple[int, int]:
    """Source and destination of a TCP segment."""
    ports: tuple[int, int] = struct.unpack_from("!HH", packet, (packet[0] & 15) * 4)
    return ports


def _flags(packet: bytes) -> int:
    """Flags of a TCP segment (RFC 9293, 3.1)."""
    return packet[(packet[0] & 15) * 4 + 13]


def _reset_for(segment: bytes) -> bytes:
    """A reset by the other side, in answer to the last segment that acknowledged: at the sequence number that
    it expects, which is the only one it believes (RFC 5961, 3.2)."""
    start = (segment[0] & 15) * 4
    source, destination, _, expected = struct.unpack_from("!HHII", segment, start)
    tcp = struct.pack("!HHIIBBHHH", destination, source, expected, 0, 5 << 4, _RST, 0, 0, 0)
    addresses = segment[16:20] + segment[12:16]
    checksum = _checksum(addresses + struct.pack("!BBH", 0, _TCP, len(tcp)) + tcp)
    tcp = tcp[:16] + struct.pack("!H", checksum) + tcp[18:]
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, _TCP, 0) + addresses
    return ip[:10] + struct.pack("!H", _checksum(ip)) + ip[12:] + tcp


def _checksum(data: bytes) -> int:
    """The Internet checksum of an even number of bytes (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _acknowledges_only(packet: bytes) -> bool:
    """True for a TCP segment with the flag ACK alone and no data."""
    ip_bytes = (packet[0] & 15) * 4
    tcp_bytes = (packet[ip_bytes + 12] >> 4) * 4
    return _flags(packet) == _ACK_ALONE and len(packet) == ip_bytes + tcp_bytes
