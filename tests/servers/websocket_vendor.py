"""The base of fake vendors with a WebSocket; faults are HTTP answers, messages or lost connections."""

import asyncio
import json
import ssl
from collections.abc import Sequence
from email.utils import formatdate
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from tests.servers.vendor import Asked, Cut, FakeVendor, Fault, HungUp, Nonsense, Silence, Status


class WebSocketVendor(FakeVendor):
    """Serves `converse` on 127.0.0.1; subclasses say who may in and how an utterance is answered."""

    subprotocols: Sequence[Subprotocol] | None = None
    tls: ssl.SSLContext | None = None

    def __init__(self) -> None:
        super().__init__()
        self._server: Server | None = None
        self._port = 0
        self._asked_by: dict[ServerConnection, Asked] = {}

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self._port}"

    async def start(self) -> None:
        self._server = await serve(
            self._talk,
            "127.0.0.1",
            self._port,
            process_request=self._let_in,
            subprotocols=self.subprotocols,
            compression=None,
            ssl=self.tls,
        )
        self._port = next(iter(self._server.sockets)).getsockname()[1]

    async def aclose(self) -> None:
        self._closing.set()
        if self._server is not None:
            for connection in [*self._server.connections]:
                connection.transport.abort()
            self._server.close()
            await self._server.wait_closed()

    def refusal(self, asked: Asked) -> Response | None:
        """The answer to a client that is refused."""
        return None

    def error_body(self, fault: Status) -> bytes:
        """How the vendor words an error."""
        return json.dumps({"message": fault.message}).encode()

    def first_fault(self) -> Fault | None:
        """The fault that is played on a new connection."""
        return self.faults.popleft() if self.faults else None

    async def converse(self, line: "Line") -> None:
        """Hears one utterance and answers it."""
        raise NotImplementedError

    async def _let_in(self, connection: ServerConnection, request: Request) -> Response | None:
        headers = {key.lower(): value for key, value in request.headers.raw_items()}
        asked = Asked(request.path, headers, {})
        self.asked.append(asked)
        self._asked_by[connection] = asked
        if response := self.refusal(asked):
            return response
        match self.faults[0] if self.faults else None:
            case Status() as fault:
                self.faults.popleft()
                return answer(fault.code, self.error_body(fault), fault.retry_after)
        return None

    async def _talk(self, connection: ServerConnection) -> None:
        try:
            await self.converse(Line(self, connection, self._asked_by.pop(connection), self.first_fault()))
        except HungUp:
            connection.transport.abort()
        except ConnectionClosed:
            # The client has what it wants.
            await asyncio.sleep(0)


class Line:
    """One connection, on which `fault` is played."""

    def __init__(
        self, vendor: WebSocketVendor, connection: ServerConnection, asked: Asked, fault: Fault | None
    ) -> None:
        self.asked = asked
        self.connection = connection
        self._vendor = vendor
        self._fault = fault
        self._said = 0

    async def say(self, message: Any) -> None:
        """Sends `message` as JSON, unless the fault comes before it."""
        await self.send(json.dumps(message))

    async def send(self, message: str | bytes) -> None:
        """Sends `message` as it is, unless the fault comes before it."""
        match self._fault:
            case Nonsense(body):
                await self.connection.send(body.decode())
                await self._hang()
            case Cut(after) if self._said >= after:
                raise HungUp
            case Silence(after) if self._said >= (after or 0):
                await self._hang()
        self._said += 1
        await self.connection.send(message)

    async def _hang(self) -> None:
        await self._vendor.hang()
        raise HungUp


def answer(status: int, body: bytes, retry_after: str | None = None) -> Response:
    """An HTTP answer instead of a WebSocket."""
    headers = Headers({"Content-Length": str(len(body)), "Date": formatdate(usegmt=True)})
    if retry_after is not None:
        headers["Retry-After"] = retry_after
    return Response(status, "", headers, body)
