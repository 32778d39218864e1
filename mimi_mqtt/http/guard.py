"""Checks of Host and Origin, which keep out the web pages of strangers.

Devices and programs send neither Origin nor Sec-Fetch-Site; a browser always does, and no page can change it.
"""

import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from mimi_mqtt.http.clients import PROXY_HOST, client_address
from mimi_mqtt.http.hosts import HostRules
from mimi_mqtt.http.replies import error_reply
from mimi_mqtt.shares import Ledger, address_holder, shown

_SETTING = "http.allowed_hosts"
_READING = ("GET", "HEAD")
_READ_BY_ANYONE = ("/", "/healthz", "/metrics")
"""Paths that hold no credentials and whose reading changes nothing."""


class BrowserGuard:
    """Passes on to `app` what comes from a device, a program, or a page that may use this server.

    421 for a Host that is not allowed. A request without one, HTTP/1.0's of health checks, may read pages
    without credentials: no browser sends it. 403 for a page of another origin, wherever something is changed,
    credentials are told, or a WebSocket is opened; a link to a page for people may be followed from anywhere.
    """

    def __init__(self, app: ASGIApp, rules: HostRules, ledger: Ledger) -> None:
        self._app = app
        self._rules = rules
        self._ledger = ledger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] in ("http", "websocket"):
            refusal = self._refusal(scope)
            if refusal is not None:
                status, share, message = refusal
                holder = address_holder(client_address(scope))
                self._ledger.refuse(share, holder, time.monotonic(), setting=_SETTING)
                await error_reply(status, message)(scope, receive, send)
                return
            self._tell_scheme(scope)
        await self._app(scope, receive, send)

    def _tell_scheme(self, scope: Scope) -> None:
        """Puts the scheme of http.public_url in place of that between a proxy and this server."""
        headers = Headers(scope=scope)
        if self._rules.is_public(headers.get("origin", ""), headers.get("host", "")):
            scheme = (self._rules.public_url or "").partition(":")[0]
            scope["scheme"] = scheme.replace("http", "ws") if scope["type"] == "websocket" else scheme

    def _refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        host = hosts[0] if hosts else ""
        harmless = (
            scope["type"] == "http" and scope["method"] in _READING and scope["path"] in _READ_BY_ANYONE
        )
        # A page can send X-Forwarded-Host, too, and some proxies pass it on: their own Host has to be right.
        for other in (*hosts[1:], scope.get(PROXY_HOST, "")):
            if other and not self._rules.allows(other):
                host = other
        if not (self._rules.allows(host) if host else harmless):
            named = f"the host name {shown(host)}" if host else "a request without a host name"
            return (
                421,
                "requests to foreign host names",
                f"{named} is not this server's: if it is, add it to http.allowed_hosts",
            )
        if harmless or not self._is_foreign(scope, headers, host):
            return None
        return (
            403,
            "requests of foreign web pages",
            "a web page of another origin may not do this: if it may, add its host to http.allowed_hosts",
        )

    def _is_foreign(self, scope: Scope, headers: Headers, host: str) -> bool:
        origin = headers.get("origin")
        if origin is not None:
            return not self._rules.allows_origin(origin, host)
        if headers.get("sec-fetch-site") != "cross-site":
            return False
        follows_a_link = (
            scope["type"] == "http"
            and scope["method"] in _READING
            and headers.get("sec-fetch-mode") == "navigate"
            and "device-id" not in headers
        )
        return not follows_a_link
