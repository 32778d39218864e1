"""Replies that all endpoints share: JSON, errors that say how to mend them, and common headers."""

import json
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_COMMON = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


def json_reply(
    content: Mapping[str, object] | bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON reply with its Content-Length; `content` may be encoded already."""
    body = content if isinstance(content, bytes) else json.dumps(content, ensure_ascii=False).encode()
    return Response(body, status, headers, media_type="application/json")


def error_reply(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """The reply `{"error": message}`; `message` says what is wrong and what to do about it."""
    return json_reply({"error": message}, status, headers)


def problem_json(status: int, detail: str) -> Response:
    """A problem document (RFC 9457), for what the API does not answer by itself."""
    content = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return Response(json.dumps(content).encode(), status, media_type="application/problem+json")


class CommonHeaders:
    """Puts the date and the security headers on every HTTP response; a response's own value wins."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Date"] = formatdate(usegmt=True)
                for name, value in _COMMON.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)
