"""The cookie of a browser's session: a random value, out of reach of scripts, not sent with the requests of
other sites' pages (RFC 6265bis, section 5.6.7), and by https:// alone where it was given by https://."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from mimi_mqtt.http.clients import client_address
from mimi_mqtt.people.sessions import Browser, NewSession
from mimi_mqtt.shares import address_holder

SESSION_COOKIE: Final = "mimi_session"
"""Name of the cookie."""


def browser_of(request: Request) -> Browser:
    """The client of a request, for a session that begins."""
    return Browser(
        request.headers.get("user-agent", ""), holder_of(request), request.cookies.get(SESSION_COOKIE, "")
    )


def holder_of(request: Request) -> str:
    """The holder of the client's address."""
    return address_holder(client_address(request.scope))


def give(response: Response, request: Request, session: NewSession) -> None:
    """Has the browser keep a session's cookie."""
    response.set_cookie(
        SESSION_COOKIE, session.cookie, max_age=session.max_age_s, path="/", secure=_is_secure(request),
        httponly=True, samesite="lax",
    )  # fmt: skip


def take_back(response: Response, request: Request) -> None:
    """Has the browser forget the cookie."""
    response.delete_cookie(
        SESSION_COOKIE, path="/", secure=_is_secure(request), httponly=True, samesite="lax"
    )


def _is_secure(request: Request) -> bool:
    return request.url.scheme == "https"
