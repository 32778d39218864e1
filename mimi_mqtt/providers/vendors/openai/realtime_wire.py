"""The WebSocket of OpenAI's Realtime API, with ProviderError kinds."""

import base64
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Final, TypeVar

from pydantic import SecretStr

from mimi_mqtt.errors import (
    ProviderBadAnswer,
    ProviderError,
    ProviderRateLimited,
    ProviderRefused,
    ProviderUnavailable,
)
from mimi_mqtt.providers.http.errors import readable, websocket_errors

if TYPE_CHECKING:
    from openai.resources.realtime.realtime import AsyncRealtimeConnection
    from openai.types.realtime import RealtimeClientEventParam, RealtimeServerEvent

_REFUSALS: Final = ("invalid_request_error", "authentication_error", "permission_error")

T = TypeVar("T")

ErrorOf = Callable[[str | None, str | None, str | None], ProviderError]
"""Makes a ProviderError of an error of the service (its type, code and message)."""

MAX_KEPT: Final = 100
"""Utterances, items and answers of one connection that are known by name; the oldest is forgotten."""


class Wire:
    """The SDK's connection. What it sends and receives is JSON in text messages."""

    def __init__(
        self, name: str, url: str, connection: "AsyncRealtimeConnection", key: SecretStr | None
    ) -> None:
        self._name = name
        self._url = url
        self._connection = connection
        self._key = key

    async def send(self, event: "RealtimeClientEventParam") -> None:
        """Sends `event`. Raises ProviderError."""
        with websocket_errors(self._name, self._url, secrets=[self._key]):
            await self._connection.send(event)

    async def send_audio(self, audio: bytes) -> None:
        """input_audio_buffer.append; as it is sent the most often by far, the SDK's checks are spared.

        Raises ProviderError.
        """
        encoded = base64.b64encode(audio).decode()
        with websocket_errors(self._name, self._url, secrets=[self._key]):
            await self._connection.send_raw(f'{{"type": "input_audio_buffer.append", "audio": "{encoded}"}}')

    async def receive(self) -> "AsyncGenerator[RealtimeServerEvent, None]":
        """The service's events, until the connection is lost. Raises ProviderError."""
        while True:
            with websocket_errors(self._name, self._url, secrets=[self._key]):
                message = await self._connection.recv_bytes()
            try:
                event = self._connection.parse_event(message)
                kind: object = event.type
            except (ValueError, AttributeError, TypeError) as error:
                raise ProviderBadAnswer(self._name, "a message of an unknown shape") from error
            if not isinstance(kind, str):
                raise ProviderBadAnswer(self._name, "a message without a type")
            yield event

    def error(self, kind: str | None, code: str | None, message: str | None) -> ProviderError:
        """The ProviderError that an error event stands for."""
        said = readable(message or "", [self._key]) or code or kind or "failed without a reason"
        known = f"{kind} {code}"
        if "rate_limit" in known:
            return ProviderRateLimited(self._name, said)
        if code == "session_expired" or "server_error" in known:
            return ProviderUnavailable(self._name, said)
        if code == "insufficient_quota" or kind in _REFUSALS:
            return ProviderRefused(self._name, said)
        return ProviderUnavailable(self._name, said)

    async def aclose(self) -> None:
        """Hangs up."""
        with websocket_errors(self._name, self._url):
            await self._connection.close()


def keep(known: dict[str, T], name: str, value: T) -> None:
    """Adds `value`; the oldest goes when there are more than MAX_KEPT."""
    known[name] = value
    while len(known) > MAX_KEPT:
        del known[next(iter(known))]
