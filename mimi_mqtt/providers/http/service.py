"""Requests to a JSON service over plain HTTP, and answers of JSON or server-sent events."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import httpx
from pydantic import SecretStr

from mimi_mqtt.errors import ProviderBadAnswer
from mimi_mqtt.providers.http.client import HttpClient
from mimi_mqtt.providers.http.errors import http_errors, readable, status_error
from mimi_mqtt.providers.http.server_sent_events import EventReader, ServerSentEvent
from mimi_mqtt.providers.runtime.resilience import Limits

MAX_ANSWER_BYTES: Final = 1_000_000
"""Longest answer that is no stream; more is a broken one."""
MAX_COMPLAINT_BYTES: Final = 16_384
"""Bytes that are read of the reason for a refusal."""


class HttpService(HttpClient):
    """One vendor's HTTP service: requests with its key, ProviderError kinds. One per provider."""

    def __init__(
        self,
        name: str,
        limits: Limits,
        base_url: str,
        token: SecretStr | None,
        cures: Mapping[int, str] | None = None,
    ) -> None:
        super().__init__(limits)
        self._name = name
        self._base_url = base_url.rstrip("/")
        self._token = token
        self._cures = cures or {}

    @asynccontextmanager
    async def post(
        self, path: str, body: Mapping[str, object], params: Mapping[str, str] | None = None
    ) -> AsyncIterator[httpx.Response]:
        """`POST` of JSON; the answer's body is not read yet. Raises ProviderError kinds, also within."""
        client = await self.get()
        headers = {} if self._token is None else {"Authorization": f"Bearer {self._token.get_secret_value()}"}
        async with http_errors(self._name, self._limits, self._base_url):
            request = client.stream(
                "POST", self._base_url + path, json=dict(body), headers=headers, params=params
            )
            async with request as response:
                if not response.is_success:
                    complaint = await _beginning(response, MAX_COMPLAINT_BYTES)
                    message = readable(complaint, (self._token,))
                    status = response.status_code
                    raise status_error(self._name, status, message, response.headers, self._cures)
                yield response

    async def json(self, response: httpx.Response) -> Mapping[str, object]:
        """The JSON object that is the whole answer. Raises ProviderBadAnswer."""
        answer = await _beginning(response, MAX_ANSWER_BYTES + 1)
        if len(answer) > MAX_ANSWER_BYTES:
            raise ProviderBadAnswer(self._name, "the answer does not end")
        return json_object(self._name, answer)

    async def events(self, response: httpx.Response) -> AsyncGenerator[ServerSentEvent, None]:
        """The server-sent events of the answer as they come. Raises ProviderBadAnswer."""
        reader = EventReader(self._name)
        async for piece in response.aiter_bytes():
            for event in reader.feed(piece):
                yield event


async def _beginning(response: httpx.Response, most: int) -> bytes:
    """The first `most` bytes of the answer; the rest is not read."""
    read = bytearray()
    async for piece in response.aiter_bytes():
        read += piece
        if len(read) >= most:
            break
    return bytes(read[:most])


def json_object(name: str, text: str | bytes) -> Mapping[str, object]:
    """`text` as a JSON object. Raises ProviderBadAnswer."""
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProviderBadAnswer(name, "the answer is not JSON") from error
    if not isinstance(value, dict):
        raise ProviderBadAnswer(name, "the answer is not a JSON object")
    return value


def child(value: object, *keys: str) -> object:
    """The value at `keys` within nested JSON objects; None where there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def text_at(value: object, *keys: str) -> str:
    """The string at `keys`; empty where there is none."""
    found = child(value, *keys)
    return found if isinstance(found, str) else ""


def count_at(value: object, *keys: str) -> int:
    """The number at `keys`; 0 where there is none."""
    found = child(value, *keys)
    return found if isinstance(found, int) else 0
