"""Refusal of U+0000 in addresses of requests: PostgreSQL has no text with it, so there is nothing of such a
name."""

from starlette.types import ASGIApp, Receive, Scope, Send

from mimi_mqtt.http.api.problems import problem_reply


class NoNullCharacters:
    """Answers requests whose path or query has U+0000; wraps an ASGI application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and "\0" in scope["path"]:
            reply = problem_reply(404, "there is nothing with the character U+0000 in its address")
            await reply(scope, receive, send)
        elif scope["type"] == "http" and b"%00" in scope["query_string"]:
            reply = problem_reply(422, "no parameter may have the character U+0000 (%00)")
            await reply(scope, receive, send)
        else:
            await self._app(scope, receive, send)
