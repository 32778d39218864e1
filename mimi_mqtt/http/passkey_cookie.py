"""The cookie that holds the challenge for a passkey until the answer comes: signed, out of reach of scripts,
sent by pages of this site alone."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from mimi_mqtt.people.passkeys import CHALLENGE_S

PASSKEY_COOKIE: Final = "mimi_passkey"
"""Name of the cookie."""
_PATH: Final = "/api/v1"
MAX_CHARS: Final = 2_048


def give(response: Response, request: Request, value: str) -> None:
    """Has the browser keep the challenge."""
    response.set_cookie(
        PASSKEY_COOKIE, value, max_age=CHALLENGE_S, path=_PATH, secure=request.url.scheme == "https",
        httponly=True, samesite="strict",
    )  # fmt: skip


def shown(request: Request) -> str:
    """The value that a request has; "" for none."""
    return request.cookies.get(PASSKEY_COOKIE, "")[:MAX_CHARS]


def take_back(response: Response, request: Request) -> None:
    """Has the browser forget it."""
    response.delete_cookie(
        PASSKEY_COOKIE, path=_PATH, secure=request.url.scheme == "https", httponly=True, samesite="strict"
    )
