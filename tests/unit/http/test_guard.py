"""Requests that the guard lets through, and the scheme by which they came."""

import pytest
from starlette.types import Receive, Scope, Send

from mimi_mqtt.http.guard import BrowserGuard
from mimi_mqtt.http.hosts import HostRules
from mimi_mqtt.shares import Ledger

PUBLIC = "https://voice.example.org"


async def passed(
    headers: dict[str, str], *, kind: str = "http", public_url: str | None = PUBLIC
) -> str | None:
    """The scheme of a request behind the guard; None when it was refused."""
    seen: list[str] = []

    async def app(scope: Scope, _: Receive, __: Send) -> None:
        seen.append(scope["scheme"])

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b""}

    async def send(_: object) -> None:
        return

    scope = {
        "type": kind, "method": "POST", "path": "/api/v1/session", "query_string": b"",
        "scheme": "http" if kind == "http" else "ws", "client": ("127.0.0.1", 1),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    await BrowserGuard(app, HostRules(public_url=public_url), Ledger())(scope, receive, send)
    return seen[0] if seen else None


@pytest.mark.parametrize(
    ("headers", "scheme"),
    [
        ({"Host": "inside:8003", "Origin": PUBLIC}, "https"),
        ({"Host": "voice.example.org", "Origin": PUBLIC}, "https"),
        ({"Host": "voice.example.org"}, "https"),
        ({"Host": "192.168.1.5:8003"}, "http"),
        ({"Host": "192.168.1.5:8003", "Origin": "http://192.168.1.5:8003"}, "http"),
        ({"Host": "inside:8003", "Origin": "http://voice.example.org"}, None),
        ({"Host": "inside:8003", "Origin": "https://evil.example"}, None),
        ({"Host": "evil.example", "Origin": PUBLIC}, None),
    ],
)
async def test_unsafe_requests_need_a_page_of_this_server(
    headers: dict[str, str], scheme: str | None
) -> None:
    assert await passed(headers) == scheme


async def test_websockets_keep_theirs() -> None:
    assert await passed({"Host": "voice.example.org"}, kind="websocket") == "wss"


async def test_without_a_public_address_nothing_is_put_in_its_place() -> None:
    assert await passed({"Host": "voice.lan", "Origin": "https://voice.lan"}, public_url=None) == "http"
