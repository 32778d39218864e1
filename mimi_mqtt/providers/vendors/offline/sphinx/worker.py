"""Control of one decoding child: start, requests, end."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import NamedTuple

import mimi_mqtt
from mimi_mqtt.errors import ProviderNotConfigured, ProviderUnavailable
from mimi_mqtt.providers.vendors.offline.sphinx.messages import (
    HEADER,
    MAX_ANSWER_BYTES,
    READY,
    Heard,
    pack_request,
    parse_answer,
    parse_ready,
)

_MODULE = "mimi_mqtt.providers.vendors.offline.sphinx.child"
_START_S = 30.0
_DECODE_S = 90.0  # several times what the longest utterance takes: the child hangs
_END_S = 2.0
# No keys or passwords for a process that has no use for them.
_ENVIRONMENT = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "POCKETSPHINX_PATH",
    "VIRTUAL_ENV",
)


class _Pipes(NamedTuple):
    read: asyncio.StreamReader
    write: asyncio.StreamWriter


class Worker:
    """A child process, with a request at a time.

    A subprocess on pipes and not multiprocessing: that would import the server's main module again, keeps a
    process of its own to track its resources, and its pipes block the loop. All other descriptors are closed
    in the child, so that it never holds one of our sockets.
    """

    def __init__(self, provider: str, niceness: int = 0) -> None:
        """`niceness` is added to that of this process: with a positive one the child gives way to others."""
        self._provider = provider
        self._niceness = niceness
        self._process: asyncio.subprocess.Process | None = None
        self._numbers = count(READY + 1)

    @property
    def pid(self) -> int | None:
        """The child's process id while it is there."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Starts the child and waits until its models are loaded; nothing when it runs.

        Raises ProviderNotConfigured, or ProviderUnavailable when it can't be started or dies.
        """
        if self._process is not None and self._process.returncode is None:
            return
        await self.aclose()
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                _MODULE,
                str(self._niceness),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=_environment(),
            )
        except OSError as error:
            raise ProviderUnavailable(self._provider, f"the decoder can't be started: {error}") from None
        async with self._border(_START_S, "can't load its models"):
            number, body = await self._read()
            failure = parse_ready(body) if number == READY else f"began with message {number}"
        if failure:
            await self.aclose()
            raise ProviderNotConfigured(
                self._provider, f"pocketsphinx can't be loaded ({failure}): pip install 'mimi-mqtt[offline]'"
            )

    async def decode(self, pcm: bytes, *, commands: bool) -> Heard:
        """The transcript of `pcm`, mono 16 kHz s16le; `commands`: it may be one of the assistant's. One call
        at a time, after `start`.

        Raises ProviderUnavailable when the child is gone or hangs; it is ended then. Cancelling ends it too.
        """
        number = next(self._numbers)
        async with self._border(_DECODE_S, "does not answer"):
            self._pipes.write.write(pack_request(number, pcm, commands=commands))
            await self._pipes.write.drain()
            answered, body = await self._read()
            if answered != number:
                raise ValueError(f"answered {answered} instead of {number}")
            heard = parse_answer(body)
        return heard

    async def _read(self) -> tuple[int, bytes]:
        number, length = HEADER.unpack(await self._pipes.read.readexactly(HEADER.size))
        if length > MAX_ANSWER_BYTES:
            raise ValueError("too long an answer")
        return number, await self._pipes.read.readexactly(length)

    @property
    def _pipes(self) -> _Pipes:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise BrokenPipeError
        return _Pipes(process.stdout, process.stdin)

    @asynccontextmanager
    async def _border(self, timeout_s: float, doing: str) -> AsyncIterator[None]:
        """Ends the child on any failure between it and the server; the next call starts another."""
        try:
            async with asyncio.timeout(timeout_s):
                yield
        except TimeoutError:
            await self._kill()
            raise ProviderUnavailable(self._provider, f"the decoding process {doing}") from None
        except (asyncio.IncompleteReadError, ConnectionError):
            code = await self._end()
            raise ProviderUnavailable(self._provider, f"the decoding process ended ({code})") from None
        except ValueError as error:
            await self._kill()
            raise ProviderUnavailable(
                self._provider, f"the decoding process answered nonsense: {error}"
            ) from None
        except asyncio.CancelledError:
            await self._kill()
            raise

    async def _kill(self) -> int | None:
        """Ends the child at once; its exit code, negative for a signal."""
        process, self._process = self._process, None
        if process is None:
            return None
        if process.returncode is None:
            # It may be gone, and not yet known to be.
            with suppress(ProcessLookupError):
                process.kill()
        return await process.wait()

    async def _end(self) -> int | None:
        """Lets the child end by itself, which it does when its input ends; else as `_kill`."""
        process = self._process
        if process is None:
            return None
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(_END_S):
                await process.wait()
        except TimeoutError:
            return await self._kill()
        self._process = None
        return process.returncode

    async def aclose(self) -> None:
        """Ends the child and waits for it, so that no zombie is left; safe to call twice."""
        await self._end()


def _environment() -> dict[str, str]:
    """The variables that the child needs, and the path of this package."""
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    return kept | {"PYTHONPATH": str(Path(mimi_mqtt.__file__).resolve().parents[1])}
