"""The REST API as an ASGI application that is imported and built with its first request, in a thread: the
imports take some 0.2 s, which neither the start nor the devices wait for."""

import asyncio
import hashlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mimi_mqtt.http.replies import json_reply

if TYPE_CHECKING:
    from fastapi import FastAPI

API_PREFIX: Final = "/api/v1"
"""The place of the API on the server."""


class LoadedOnUse:
    """Passes on to the application that `build` returns, which runs in a thread when the first request
    comes."""

    def __init__(self, build: "Callable[[], FastAPI]") -> None:
        self._build = build
        self._app: FastAPI | None = None
        self._document: tuple[bytes, str] | None = None
        self._loading = asyncio.Lock()

    async def load(self) -> "FastAPI":
        """The application, built once."""
        if self._app is None:
            async with self._loading:
                if self._app is None:
                    self._app = await asyncio.to_thread(self._build)
        return self._app

    async def document(self, request: Request) -> Response:
        """The OpenAPI document, made once."""
        app = await self.load()
        if self._document is None:
            async with self._loading:
                if self._document is None:
                    self._document = await asyncio.to_thread(_encoded, app)
        body, tag = self._document
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return json_reply(body, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        app = self._app or await self.load()
        await app(scope, receive, send)


def _encoded(app: "FastAPI") -> tuple[bytes, str]:
    """The OpenAPI document as JSON, and its ETag."""
    body = json.dumps(app.openapi(), ensure_ascii=False, separators=(",", ":")).encode()
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'
