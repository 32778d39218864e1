"""The process that makes a bench's load: given its order on standard input, it answers in lines of JSON."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Final, Protocol

from mimi_mqtt.errors import StartupError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

LOAD_TIMEOUT_S: Final = 300.0
"""The longest wait for one line of an answer, in seconds, unless the bench says otherwise."""

_MAX_ANSWER_BYTES: Final = 1 << 26


class Answer(Protocol):
    """Reads one line of the load's answer."""

    async def __call__(self, timeout_s: float = ...) -> bytes:
        """The next line. Raises StartupError when the load ended early, TimeoutError when it takes longer."""


@asynccontextmanager
async def load_process(module: str, order: "DataclassInstance") -> AsyncIterator[Answer]:
    """Starts the load `module` of this package with `order`; what is yielded reads one line of its answer."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"mimi_mqtt.cli.bench.{module}",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_MAX_ANSWER_BYTES,
    )  # fmt: skip
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        raise StartupError("the load process has no pipes")

    async def answer(timeout_s: float = LOAD_TIMEOUT_S) -> bytes:
        async with asyncio.timeout(timeout_s):
            line = await stdout.readline()
        if not line:
            raise StartupError("the load process ended early")
        return line

    try:
        stdin.write(json.dumps(asdict(order)).encode() + b"\n")
        yield answer
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
