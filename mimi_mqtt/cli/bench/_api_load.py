"""The load of `bench api`: a process of its own that asks 127.0.0.1 over HTTP, on open connections.

Reads JSON objects (`Order`), one a line, from standard input, and answers each with one (`Outcome`); ends
with its input. Each connection comes from an address of its own, as those of many homes do.
"""

import asyncio
import json
import os
import random
import sys
import time
from dataclasses import asdict, dataclass, field

from mimi_mqtt.cli.bench._api_database import CLIENT_ID, device_id

_ANSWER_S = 60.0
_OTA_BODY = json.dumps(
    {
        "version": 2, "language": "en-US", "flash_size": 16_777_216, "minimum_free_heap_size": 8_318_916,
        "mac_address": "{id}", "uuid": CLIENT_ID, "chip_model_name": "esp32s3",
        "application": {"name": "xiaozhi", "version": "2.2.1", "compile_time": "2026-01-02T03:04:05Z"},
        "board": {"type": "bread-compact-wifi", "name": "bread-compact-wifi", "ssid": "home", "rssi": -50},
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Order:
    """A task: `paths` are asked in turn, `count` times in all, `parallel` at a time, with the bearer token
    `token`; `pause_s` follows each, in seconds.

    With `devices`, each request is the OTA request of one of so many, at the first path.
    """

    port: int
    paths: list[str]
    count: int
    parallel: int
    token: str = ""
    devices: int = 0
    core: int | None = None
    pause_s: float = 0.0


@dataclass(slots=True)
class Outcome:
    """The number of answers with status 200, the times in ms, and what else was answered, by status."""

    answered: int = 0
    seconds: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    others: dict[str, int] = field(default_factory=dict)


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, request: bytes) -> int:
        """Sends a request, and reads its answer to the end; the status."""
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        begin = head.index(b"content-length:") + 15
        await self._reader.readexactly(int(head[begin : head.index(b"\r\n", begin)]))
        return int(head[9:12])

    def close(self) -> None:
        self._writer.close()


async def obey(order: Order) -> Outcome:
    """Does what is ordered."""
    if order.core is not None:
        os.sched_setaffinity(0, {order.core})
    rng = random.Random(order.count)
    requests = iter([_request(order, number, rng) for number in range(order.count)])
    outcome, times = Outcome(), []

    async def work(number: int) -> None:
        address = (f"127.0.1.{number % 250 + 1}", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", order.port, local_addr=address)
        connection = _Connection(reader, writer)
        try:
            for request in requests:
                began = time.perf_counter()
                status = await connection.ask(request)
                times.append(time.perf_counter() - began)
                if order.pause_s:
                    await asyncio.sleep(order.pause_s)
                if status == 200:
                    outcome.answered += 1
                else:
                    outcome.others[str(status)] = outcome.others.get(str(status), 0) + 1
        finally:
            connection.close()

    began = time.perf_counter()
    async with asyncio.timeout(_ANSWER_S * 5), asyncio.TaskGroup() as tasks:
        for number in range(min(order.parallel, order.count)):
            tasks.create_task(work(number))
    outcome.seconds = time.perf_counter() - began
    times.sort()
    outcome.p50_ms = times[len(times) // 2] * 1000
    outcome.p99_ms = times[min(len(times) - 1, len(times) * 99 // 100)] * 1000
    return outcome


def _request(order: Order, number: int, rng: random.Random) -> bytes:
    path = order.paths[number % len(order.paths)]
    if order.devices:
        asking = device_id(rng.randrange(order.devices))
        body = _OTA_BODY.replace("{id}", asking.replace("-", ":"))
        return (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{order.port}\r\n"
            f"Device-Id: {asking.replace('-', ':')}\r\nClient-Id: {CLIENT_ID}\r\n"
            f"User-Agent: bread-compact-wifi/2.2.1\r\nAccept-Language: en-US\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        ).encode()
    token = f"Authorization: Bearer {order.token}\r\n" if order.token else ""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{order.port}\r\n{token}\r\n".encode()


def main() -> None:
    """Obeys until standard input ends."""
    for line in sys.stdin:
        print(json.dumps(asdict(asyncio.run(obey(Order(**json.loads(line)))))), flush=True)


if __name__ == "__main__":
    main()
