"""The interface between a WebSocket connection and an application that takes its messages without a queue."""

from collections.abc import Callable
from typing import Final, Protocol

DIRECT: Final = "mimi.direct"
"""The key, among a scope's extensions, of the connection itself, for applications that take its messages
without a queue."""


class MessageSink(Protocol):
    """The receiver of a connection's messages as they are parsed."""

    def text_received(self, payload: bytes) -> None:
        """A text message, whose bytes need not be UTF-8."""

    def binary_received(self, payload: bytes) -> None:
        """A binary message."""

    def pong_received(self) -> None:
        """The answer to `ping_now`, or to a later ping; more of them may come than were asked for."""

    def connection_ended(self) -> None:
        """No message follows; may be called more than once."""


class End:
    """Stand-in for the queue of a connection that has a sink: uvicorn still puts its end there."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call

    def put_nowait(self, _: object) -> None:
        """The end of the connection, as an application would be told it."""
        self._call()
