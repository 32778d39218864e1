"""The common part of the fake speech-to-speech services, so that one set of tests serves all of them."""

import asyncio
from collections.abc import Callable

from tests.servers.vendor import Call
from tests.servers.websocket_vendor import WebSocketVendor


class S2sService(WebSocketVendor):
    """By itself it hears "hello world" and says "good day" with the samples 1, 2, 3.

    Faults other than an HTTP status are played instead of parts of an answer, which are counted from 0 in
    each connection.
    """

    def __init__(self) -> None:
        super().__init__()
        self.memory: list[str] = []
        """The memory of the latest connection: `audio N` (samples), `user …`, `assistant …`, `result …`."""
        self.prompt = ""
        self.tools: list[str] = []
        self.calls: tuple[Call, ...] = ()
        self.talks_on = False
        """True: answers go on until they are stopped."""
        self.talking = asyncio.Event()
        """Set when an answer has begun."""
        self.stopped = asyncio.Event()
        """Set when an answer was stopped by the client."""
        self.words: asyncio.Event = asyncio.Event()
        """Clear it to hold the user's words back."""
        self.words.set()

    def answer_with_calls(self, *calls: Call) -> None:
        """Until it is given their results."""
        self.calls = calls

    def hang_up(self) -> None:
        """Cuts all connections."""
        if self._server is not None:
            for connection in [*self._server.connections]:
                connection.transport.abort()


async def until(condition: Callable[[], object]) -> None:
    """Lets everything go on until `condition` holds."""
    while not condition():  # noqa: ASYNC110 - what is waited for happens behind a socket, and tells nobody
        await asyncio.sleep(0)
