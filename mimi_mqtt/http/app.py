"""The HTTP application: its routes, and the form of its errors."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from mimi_mqtt.config import HttpSettings
from mimi_mqtt.errors import StoreError
from mimi_mqtt.fleet.directory import DeviceDirectory
from mimi_mqtt.fleet.provisioning import Provisioner
from mimi_mqtt.http.health import PartHealth as PartHealth
from mimi_mqtt.http.limits import REFUSED
from mimi_mqtt.http.ota import OtaEndpoint
from mimi_mqtt.http.pages import Pages
from mimi_mqtt.http.replies import CommonHeaders, error_reply, json_reply

_QUIET_S: Final = 60.0
"""Seconds between two log lines about the same failure of the database."""
MAX_REASONS: Final = 64
"""Failures of the database that are remembered within that time; further ones are not logged."""

_log = logging.getLogger(__name__)


def build_app(
    *,
    provisioner: Provisioner,
    directory: DeviceDirectory,
    health: Callable[[], Mapping[str, PartHealth]],
    mqtt_websocket: ASGIApp | None,
    settings: HttpSettings,
) -> Starlette:
    """The application. `health` is called for every page and check; `mqtt_websocket` serves MQTT over
    WebSocket at /mqtt."""
    pages = Pages(provisioner.endpoints, directory, health)

    async def front(request: Request) -> Response:
        return pages.page(request)

    async def healthz(_: Request) -> Response:
        parts = health()
        down = [name for name, part in parts.items() if not part.ok]
        return json_reply(
            {
                "status": "down" if down else "ok",
                "parts": {name: {"ok": part.ok, "detail": part.detail} for name, part in parts.items()},
            },
            503 if down else 200,
        )

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=None, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def mqtt_without_websocket(_: Request) -> Response:
        return error_reply(
            426,
            "this is MQTT over WebSocket: connect with ws:// and the subprotocol mqtt",
            {"Upgrade": "websocket"},
        )

    routes: list[BaseRoute] = [
        Route("/", front),
        Route("/healthz", healthz),
        Route("/metrics", metrics),
        *OtaEndpoint(provisioner, settings, pages).routes(),
    ]
    if mqtt_websocket is not None:
        # Half of the connections stay for devices that boot.
        bounded = _BoundedWebsockets(mqtt_websocket, max(1, settings.max_connections // 2))
        routes += [WebSocketRoute("/mqtt", bounded), Route("/mqtt", mqtt_without_websocket)]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(CommonHeaders)],
        exception_handlers={HTTPException: _refused, StoreError: _StoreFailures(), Exception: _failed},
    )
    # Devices follow no redirects (device contract, section 1).
    app.router.redirect_slashes = False
    return app


class _BoundedWebsockets:
    """At most `most` WebSockets at once; a further one is refused before the handshake ends."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._open >= self._most:
            REFUSED.labels("websockets").inc()
            await WebSocketClose(1013, "too many connections")(scope, receive, send)
            return
        self._open += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._open -= 1


async def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    detail = error.detail
    if error.status_code == 404:
        detail = f"there is nothing at {request.url.path[:200]}: the OTA address is /xiaozhi/ota/"
    elif error.status_code == 405:
        detail = f"{request.method[:20]} is not possible here"
    return error_reply(error.status_code, detail, error.headers)


class _StoreFailures:
    """Replies while the database fails; each reason is logged once a minute, however many devices ask."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}

    async def __call__(self, _: Request, error: Exception) -> Response:
        now, reason = time.monotonic(), str(error)
        self._told = {told: at for told, at in self._told.items() if now - at < _QUIET_S}
        if reason not in self._told and len(self._told) < MAX_REASONS:
            self._told[reason] = now
            _log.error("%s", reason)
        return error_reply(503, "the server's database does not work: see its log", {"Retry-After": "10"})


async def _failed(_: Request, error: Exception) -> Response:
    # The server logs it with its traceback.
    del error
    return error_reply(500, "the server made a mistake: see its log")
