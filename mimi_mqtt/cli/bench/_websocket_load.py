"""The load of `bench websocket`: a process of its own that is many devices on WebSockets.

Reads one JSON object (`Load`) from its standard input and prints one JSON line when all are connected, one
when all have talked. Connects to 127.0.0.1 only.
"""

import asyncio
import json
import os
import sys
import time
from dataclasses import asdict, dataclass, field

from mimi_mqtt.cli.bench._udp_load import speechlike


@dataclass(frozen=True, slots=True)
class Load:
    """Task: `devices` connections to `path`, each of which sends a frame of `frame_ms` in real time for
    `seconds`, and waits for as many in answer."""

    port: int
    path: str
    devices: int
    seconds: int
    frame_ms: int
    core: int | None


@dataclass(slots=True)
class Result:
    """What the devices saw: frames sent and answered, round trips in ms, and the lateness of the load."""

    connect_s: float = 0.0
    sent: int = 0
    answered: int = 0
    round_trip_ms: list[float] = field(default_factory=list)
    late_ms: float = 0.0


class _Device:
    """One device; frames are masked with zeros, which costs the load nothing and the server as much."""

    def __init__(self, load: Load, number: int) -> None:
        self._load = load
        self._number = number
        self._sent_at: list[float] = []

    async def connect(self) -> None:
        # Each from an address of its own: what one address may send is bounded.
        source = f"127.1.{self._number // 200}.{self._number % 200 + 1}"
        self._reader, self._writer = await asyncio.open_connection(
            "127.0.0.1", self._load.port, local_addr=(source, 0)
        )
        mac = f"02:be:{self._number >> 24 & 255:02x}:{self._number >> 16 & 255:02x}"
        mac += f":{self._number >> 8 & 255:02x}:{self._number & 255:02x}"
        self._writer.write(
            f"GET {self._load.path} HTTP/1.1\r\nHost: 127.0.0.1:{self._load.port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"Sec-WebSocket-Version: 13\r\nDevice-Id: {mac}\r\nClient-Id: bench\r\n"
            "Authorization: Bearer bench\r\nProtocol-Version: 1\r\n\r\n".encode()
        )
        head = await self._reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101"):
            raise ConnectionError(head.decode(errors="replace"))

    async def talk(self, frames: list[bytes], begin: float, result: Result) -> None:
        period = self._load.frame_ms / 1000
        count = int(self._load.seconds / period)
        begin += period * (self._number / self._load.devices)
        reading = asyncio.create_task(self._read(count, result))
        for number in range(count):
            due = begin + number * period
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            result.late_ms = max(result.late_ms, 1000 * (time.perf_counter() - due))
            opus = frames[number % len(frames)]
            length = bytes((0x80 | len(opus),)) if len(opus) < 126 else b"\xfe" + len(opus).to_bytes(2)
            self._sent_at.append(time.perf_counter())
            self._writer.write(b"\x82" + length + bytes(4) + opus)
            result.sent += 1
        try:
            async with asyncio.timeout(2):
                await reading
        except TimeoutError:
            pass  # what has not come by now is lost, and reported as that

    async def _read(self, count: int, result: Result) -> None:
        answered = 0
        while answered < count:
            first, length = await self._reader.readexactly(2)
            if length == 126:
                length = int.from_bytes(await self._reader.readexactly(2))
            await self._reader.readexactly(length)
            if first == 0x82:
                result.round_trip_ms.append(1000 * (time.perf_counter() - self._sent_at[answered]))
                answered += 1
                result.answered += 1

    def close(self) -> None:
        self._writer.close()


async def _run(load: Load) -> None:
    result, frames = Result(), speechlike(load.frame_ms)
    devices = [_Device(load, number) for number in range(load.devices)]
    began = time.perf_counter()
    for start in range(0, len(devices), 20):
        await asyncio.gather(*(device.connect() for device in devices[start : start + 20]))
    result.connect_s = time.perf_counter() - began
    print(json.dumps({"connect_s": result.connect_s}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    begin = time.perf_counter() + 0.2
    await asyncio.gather(*(device.talk(frames, begin, result) for device in devices))
    print(json.dumps(asdict(result)), flush=True)
    for device in devices:
        device.close()


if __name__ == "__main__":
    order = Load(**json.loads(sys.stdin.readline()))
    if order.core is not None:
        os.sched_setaffinity(0, {order.core})
    asyncio.run(_run(order))
