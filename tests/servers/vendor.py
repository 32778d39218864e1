"""The base of every fake vendor: a real server on a free port, and faults that it plays in order."""

import asyncio
import socket
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route


@dataclass(frozen=True)
class Status:
    """The vendor answers with an HTTP error."""

    code: int
    message: str = "no"
    retry_after: str | None = None
    error_code: str | None = None


@dataclass(frozen=True)
class Silence:
    """The vendor takes the request and says nothing; with `after`, falls silent after so many parts."""

    after: int | None = None


@dataclass(frozen=True)
class Cut:
    """The vendor hangs up after so many parts of a good answer."""

    after: int = 0


@dataclass(frozen=True)
class Nonsense:
    """The vendor answers 200 with something else."""

    body: bytes = b"<html>It works!</html>"
    content_type: str = "text/html"


Fault = Status | Silence | Cut | Nonsense


class HungUp(Exception):
    """Raised inside an answer: uvicorn closes the connection without ending the body."""


@dataclass(frozen=True)
class Call:
    """A tool call that the vendor's model makes; `arguments` as JSON text."""

    id: str
    name: str
    arguments: str


@dataclass
class Asked:
    """One request as it came over the wire."""

    path: str
    headers: dict[str, str]
    fields: dict[str, Any]
    files: dict[str, bytes] = field(default_factory=dict)


class _Connections(set[Any]):
    """uvicorn's set of connections, which tells when the last one was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.none_left = asyncio.Event()

    def add(self, connection: Any) -> None:
        super().add(connection)
        self.none_left.clear()

    def discard(self, connection: Any) -> None:
        super().discard(connection)
        if not self:
            self.none_left.set()


class _Server(uvicorn.Server):
    """uvicorn's server, without its tenths of a second of waiting: there is one per test."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stopping = asyncio.Event()
        self.connections = self.server_state.connections = _Connections()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves the test runner's signal handlers alone."""
        yield

    async def main_loop(self) -> None:
        await self.stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for listening in sockets or ():
            listening.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        # Answers that had begun, then the connections themselves.
        await asyncio.gather(*self.server_state.tasks, return_exceptions=True)
        while self.server_state.connections:  # noqa: ASYNC110 - they close in the next rounds of the loop
            await asyncio.sleep(0)


class FakeVendor(ABC):
    """A service at `url` that plays the next of `faults` in each request, or else answers well.

    By itself it hears "hello world", answers "good " and "day", and says the samples 1, 2, 3 at 24 kHz.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.faults: deque[Fault] = deque()
        self.hung = asyncio.Event()
        self._closing = asyncio.Event()

    @property
    @abstractmethod
    def url(self) -> str:
        """Where it is."""

    @abstractmethod
    async def start(self) -> None:
        """From now on requests are answered."""

    @abstractmethod
    async def aclose(self) -> None:
        """From now on nobody is there."""

    def answer_with_calls(self, *calls: Call) -> None:
        """From now on the language model calls these tools."""
        raise NotImplementedError

    async def hang(self) -> None:
        """Falls silent until the vendor is closed."""
        self.hung.set()
        await self._closing.wait()


class VendorServer(FakeVendor):
    """Serves `routes()` over HTTP on 127.0.0.1; `port` 0 is a free one."""

    def __init__(self, port: int = 0) -> None:
        super().__init__()
        self._serving: asyncio.Task[None] | None = None
        self._socket = socket.create_server(("127.0.0.1", port))
        self._port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(Starlette(routes=self.routes()), log_config=None, lifespan="off")
        self._server = _Server(config)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def all_left(self) -> None:
        """Returns when no client is connected any more."""
        await self._server.connections.none_left.wait()

    def routes(self) -> Sequence[Route]:
        """The vendor's paths."""
        raise NotImplementedError

    async def start(self) -> None:
        self._serving = asyncio.create_task(self._server.serve([self._socket]))

    async def aclose(self) -> None:
        self._closing.set()
        self._server.stopping.set()
        if self._serving is not None:
            await self._serving
        self._socket.close()

    async def before_answer(self, status_body: type["ErrorBody"]) -> Response | None:
        """Plays a fault that replaces the whole answer."""
        match self.faults[0] if self.faults else None:
            case Status() as fault:
                self.faults.popleft()
                headers = {} if fault.retry_after is None else {"retry-after": fault.retry_after}
                return Response(
                    status_body(fault).render(), fault.code, headers, media_type="application/json"
                )
            case Nonsense() as fault:
                self.faults.popleft()
                return Response(fault.body, media_type=fault.content_type)
            case Silence(after=None):
                self.faults.popleft()
                await self.hang()
                return Response(status_code=503)
        return None

    def stream(self, parts: Sequence[bytes], content_type: str) -> StreamingResponse:
        """A good answer in `parts`, unless the next fault ends it early."""
        fault = self.faults.popleft() if self.faults else None
        return StreamingResponse(self._parts(parts, fault), media_type=content_type)

    async def _parts(self, parts: Sequence[bytes], fault: Fault | None) -> AsyncIterator[bytes]:
        for number, part in enumerate(parts):
            match fault:
                case Cut(after) if number >= after:
                    raise HungUp
                case Silence(after) if after is not None and number >= after:
                    await self.hang()
                    return
            yield part
            # Lets the part go out on its own.
            await asyncio.sleep(0)


class ErrorBody:
    """How a vendor words an error."""

    def __init__(self, fault: Status) -> None:
        self.fault = fault

    def render(self) -> bytes:
        raise NotImplementedError


async def read_json(request: Request) -> Asked:
    """The request with its JSON fields."""
    return Asked(request.url.path, dict(request.headers), await request.json())
