"""The HTTP application: its routes, and the form of its errors."""

import logging
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp

from mimi_mqtt.config import HttpSettings
from mimi_mqtt.errors import StoreError
from mimi_mqtt.fleet.directory import DeviceDirectory
from mimi_mqtt.fleet.provisioning import Provisioner
from mimi_mqtt.http.guard import BrowserGuard
from mimi_mqtt.http.health import PartHealth as PartHealth
from mimi_mqtt.http.hosts import HostRules
from mimi_mqtt.http.monitoring import Monitoring, Readers
from mimi_mqtt.http.ota import OtaEndpoint
from mimi_mqtt.http.pages import Pages
from mimi_mqtt.http.replies import CommonHeaders, error_reply
from mimi_mqtt.shares import Ledger

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
    device_websocket: ASGIApp | None = None,
    device_path: str = "",
    settings: HttpSettings,
    ledger: Ledger | None = None,
    advice: Callable[[], Sequence[str]] = tuple,
) -> Starlette:
    """The application. `health` is called for every page and check; `mqtt_websocket` serves MQTT over
    WebSocket at /mqtt, `device_websocket` devices at `device_path`. `ledger` is the process's one; without it
    refusals are counted apart. `advice` has the commands that give a language model, where there is none."""
    ledger = ledger or Ledger()
    readers = Readers(settings)
    pages = Pages(provisioner.endpoints, directory, health, readers, advice)
    rules = HostRules(settings.allowed_hosts, provisioner.endpoints.public_host, socket.gethostname())

    async def front(request: Request) -> Response:
        return pages.page(request)

    async def mqtt_without_websocket(_: Request) -> Response:
        return error_reply(
            426,
            "this is MQTT over WebSocket: connect with ws:// and the subprotocol mqtt",
            {"Upgrade": "websocket"},
        )

    async def device_without_websocket(_: Request) -> Response:
        return error_reply(
            426, "this is the WebSocket of devices: connect with ws://", {"Upgrade": "websocket"}
        )

    routes: list[BaseRoute] = [
        Route("/", front),
        *Monitoring(readers, health).routes(),
        *OtaEndpoint(provisioner, settings, pages, ledger).routes(),
    ]
    if mqtt_websocket is not None:
        routes += [WebSocketRoute("/mqtt", mqtt_websocket), Route("/mqtt", mqtt_without_websocket)]
    if device_websocket is not None:
        routes += [
            WebSocketRoute(device_path, device_websocket),
            Route(device_path, device_without_websocket),
        ]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(CommonHeaders), Middleware(BrowserGuard, rules, ledger)],
        exception_handlers={HTTPException: _refused, StoreError: _StoreFailures(), Exception: _failed},
    )
    # Devices follow no redirects (device contract, section 1).
    app.router.redirect_slashes = False
    return app


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
