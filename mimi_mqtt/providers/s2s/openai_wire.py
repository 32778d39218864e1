"""The WebSocket of OpenAI's Realtime API, with errors in our own terms."""

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from pydantic import SecretStr

from mimi_mqtt.errors import (
    ProviderBadAnswer,
    ProviderError,
    ProviderRateLimited,
    ProviderRefused,
    ProviderUnavailable,
)
from mimi_mqtt.providers.http_status import readable
from mimi_mqtt.providers.websocket_errors import websocket_errors

if TYPE_CHECKING:
    from openai.resources.realtime.realtime import AsyncRealtimeConnection
    from openai.types.realtime import RealtimeClientEventParam, RealtimeServerEvent


class Wire:
    """The SDK's connection, with errors in our own terms."""

    def __init__(
        self, name: str, url: str, connection: "AsyncRealtimeConnection", key: SecretStr | None
    ) -> None:
        self.name = name
        self._url = url
        self._connection = connection
        self._key = key

    async def send(self, event: "RealtimeClientEventParam") -> None:
        """Sends `event`. Raises ProviderError."""
        with websocket_errors(self.name, self._url, secrets=[self._key]):
            await self._connection.send(event)

    async def receive(self) -> "AsyncGenerator[RealtimeServerEvent, None]":
        """What comes, until the service hangs up. Raises ProviderError."""
        while True:
            with websocket_errors(self.name, self._url, secrets=[self._key]):
                message = await self._connection.recv_bytes()
            try:
                event = self._connection.parse_event(message)
                kind: object = event.type
            except (ValueError, AttributeError, TypeError) as error:
                raise ProviderBadAnswer(self.name, "a message of an unknown shape") from error
            if not isinstance(kind, str):
                raise ProviderBadAnswer(self.name, "a message without a type")
            yield event

    def error(self, kind: str | None, code: str | None, message: str | None) -> ProviderError:
        """What an error of the service means."""
        said = readable(message or "", [self._key]) or code or kind or "failed without a reason"
        if code == "insufficient_quota":
            return ProviderRefused(self.name, said)
        if "rate_limit" in f"{kind} {code}":
            return ProviderRateLimited(self.name, said)
        if code == "session_expired" or "server_error" in f"{kind} {code}":
            return ProviderUnavailable(self.name, said)
        if kind in ("invalid_request_error", "authentication_error", "permission_error"):
            return ProviderRefused(self.name, said)
        return ProviderUnavailable(self.name, said)

    async def aclose(self) -> None:
        """Hangs up."""
        with websocket_errors(self.name, self._url):
            await self._connection.close()
