"""The process that makes a bench's load: given its order on standard input, it answers in lines of JSON."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from mimi_mqtt.errors import StartupError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

LOAD_TIMEOUT_S: Final = 300.0
"""The longest wait for one line of an answer, in seconds, unless the bench says otherwise."""

_MAX_ANSWER_BYTES: Final = 1 << 26
_REST_S: Final = 0.2


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


# ── many orders, one after the other ─────────────────────────────────────────────────────────────────────


class Answered(Protocol):
    """The result of an order."""

    @property
    def answered(self) -> int:
        """How many were answered rightly."""


OutcomeT = TypeVar("OutcomeT", bound=Answered)


class Obedient(Generic[OutcomeT]):
    """A load that takes one order after the other; `outcome` is made of each answer."""

    def __init__(
        self,
        writer: asyncio.StreamWriter,
        reader: asyncio.StreamReader,
        outcome: Callable[..., OutcomeT],
        timeout_s: float,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._outcome = outcome
        self._timeout_s = timeout_s

    async def obey(self, order: "DataclassInstance") -> OutcomeT:
        """Waits until it is done, and for the server to have dealt with what it left."""
        outcome = await self._obey(order)
        await asyncio.sleep(_REST_S)
        return outcome

    async def measured(self, order: "DataclassInstance", asked: int) -> tuple[OutcomeT, float]:
        """The outcome, and the CPU seconds of this process from the order to the last answer.

        Raises StartupError unless all `asked` were answered.
        """
        outcome, cpu_seconds = await self.watched(order)
        if outcome.answered != asked:
            raise StartupError(f"only {outcome.answered} of {asked} answered: the figures would mean nothing")
        return outcome, cpu_seconds

    async def watched(self, order: "DataclassInstance") -> tuple[OutcomeT, float]:
        """The outcome, whatever it is, and the CPU seconds of this process meanwhile."""
        began = time.process_time()
        outcome = await self._obey(order)
        return outcome, time.process_time() - began

    async def _obey(self, order: "DataclassInstance") -> OutcomeT:
        self._writer.write(json.dumps(asdict(order)).encode() + b"\n")
        async with asyncio.timeout(self._timeout_s):
            answer = await self._reader.readline()
        if not answer:
            raise StartupError("the load process ended early")
        return self._outcome(**json.loads(answer))


@asynccontextmanager
async def obedient_load(
    module: str, outcome: Callable[..., OutcomeT], timeout_s: float = 60.0
) -> AsyncIterator[Obedient[OutcomeT]]:
    """Starts the load `module` of this package, which ends with its input."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"mimi_mqtt.cli.bench.{module}",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    if process.stdin is None or process.stdout is None:
        raise StartupError("the load process has no pipes")
    try:
        yield Obedient(process.stdin, process.stdout, outcome, timeout_s)
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(5):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
