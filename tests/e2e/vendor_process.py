"""A service with OpenAI's protocol in a process of its own, killed at an exact point of a request.

Run as a module it reads orders from standard input, one JSON object a line, and tells on standard output what
happened; `VendorProcess` is the test's end of it.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.servers.openai_server import KEY, OpenAiServer
from tests.servers.vendor import Silence

FIRST, SECOND = "The first part of this is told already.", "And here is the second one."
ANSWER = (FIRST, " And", " here is", " the second one.")
REST = ANSWER[2:]
"""What somebody else says who goes on after two pieces."""
SPEECH_MS = 900
"""Length of any speech of its, in four pieces."""

_READY_S = 60


def _tone() -> Sequence[bytes]:
    samples = 8_000 * np.sin(2 * np.pi * 300 * np.arange(24 * SPEECH_MS) / 24_000)
    return [part.astype("<i2").tobytes() for part in np.array_split(samples, 4)]


async def _serve(port: int, answer: Sequence[str]) -> None:
    vendor = OpenAiServer(port)
    vendor.words = ("what time", " is it")
    vendor.deltas = [{"content": piece} for piece in answer]
    vendor.speech = _tone()
    await vendor.start()
    orders = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    _tell(url=vendor.url)
    while order := await orders.readline():
        after = json.loads(order)["fall_silent_after"]
        vendor.faults.append(Silence(after))
        _tell(armed=True)
        await vendor.hung.wait()
        vendor.hung.clear()
        _tell(silent=True)
    await vendor.aclose()


def _tell(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


@dataclass
class VendorProcess:
    """One service; `start` again after `kill` is at the same address."""

    answer: Sequence[str] = ANSWER
    process: asyncio.subprocess.Process | None = None
    port: int = 0

    @property
    def options(self) -> dict[str, str]:
        """What the server is told of it."""
        return {"base_url": f"http://127.0.0.1:{self.port}/v1", "api_key": KEY}

    async def start(self) -> None:
        """Returns when it can be asked."""
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.e2e.vendor_process", str(self.port), *self.answer,
            cwd=Path(__file__).parents[2], stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        url = (await self._hear())["url"]
        self.port = int(url.rpartition(":")[2])

    async def arm(self, after: int | None) -> None:
        """In its next answer it falls silent: before the first part, or after so many."""
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"fall_silent_after": after}).encode() + b"\n")
        assert (await self._hear())["armed"]

    async def silent(self) -> None:
        """Returns when it has fallen silent in the middle of a request."""
        assert (await self._hear())["silent"]

    async def kill(self) -> None:
        """As the kernel does when memory runs out."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def _hear(self) -> dict[str, Any]:
        assert self.process is not None
        assert self.process.stdout is not None
        async with asyncio.timeout(_READY_S):
            line = await self.process.stdout.readline()
        assert line, "the service has ended"
        told: dict[str, Any] = json.loads(line)
        return told


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), sys.argv[2:]))
