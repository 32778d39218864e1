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
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.types import ASGIApp

from mimi_mqtt.commands.notice_urls import NoticeUrls
from mimi_mqtt.commands.runner import Commands
from mimi_mqtt.config import HttpSettings
from mimi_mqtt.errors import StoreError
from mimi_mqtt.fleet.directory import DeviceDirectory
from mimi_mqtt.fleet.provisioning import Provisioner
from mimi_mqtt.http.api.loading import API_PREFIX, LoadedOnUse
from mimi_mqtt.http.device.notices import NoticeSound, SoundUpload
from mimi_mqtt.http.device.ota import OtaEndpoint
from mimi_mqtt.http.docs import Docs
from mimi_mqtt.http.guard import BrowserGuard
from mimi_mqtt.http.health import PartHealth
from mimi_mqtt.http.hosts import HostRules
from mimi_mqtt.http.monitoring import Monitoring, Readers
from mimi_mqtt.http.plain_page import PlainPage, wants_page
from mimi_mqtt.http.replies import CommonHeaders, error_reply, problem_json
from mimi_mqtt.http.web.app import SETUP_PATH, WebApp
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
    notice_urls: NoticeUrls | None = None,
    commands: Commands | None = None,
    settings: HttpSettings,
    ledger: Ledger | None = None,
    advice: Callable[[], Sequence[str]] = tuple,
    is_certified: Callable[[str], bool] = lambda _: False,
    api: LoadedOnUse | None = None,
    web: WebApp | None = None,
    more: Callable[[Ledger], Sequence[BaseRoute]] = lambda _: (),
) -> Starlette:
    """The application. `health` is called for the plain page and each check; `mqtt_websocket` serves MQTT
    over WebSocket at /mqtt, `device_websocket` devices at `device_path`. `notice_urls` are the addresses at
    which devices fetch sound, and `commands` takes sounds that people send. `ledger` is the process's one;
    without it refusals are counted apart. `advice` has the commands that give a language model, where there
    is none. `is_certified` is true for names in the server's own certificate. `api` is the REST API, `web`
    the web app, by default the built one; `more` gives the routes of further parts."""
    ledger = ledger or Ledger()
    web = web or WebApp()
    readers = Readers(settings)
    plain = PlainPage(provisioner.endpoints, directory, health, readers, advice, web.is_built)
    rules = HostRules(
        settings.allowed_hosts, provisioner.endpoints.public_host, socket.gethostname(), is_certified,
        settings.public_url,
    )  # fmt: skip

    async def front(request: Request) -> Response:
        return web.page(request) if web.is_built else plain.page(request)

    async def refused(request: Request, error: Exception) -> Response:
        if _is_missing(error) and wants_page(request) and web.has_page(request):
            return web.page(request)
        return await _refused(request, error)

    async def mqtt_without_websocket(_: Request) -> Response:
        return error_reply(
            426,
            "this is MQTT over WebSocket: connect with ws:// or wss:// and the subprotocol mqtt",
            {"Upgrade": "websocket"},
        )

    async def device_without_websocket(_: Request) -> Response:
        return error_reply(
            426, "this is the WebSocket of devices: connect with ws:// or wss://", {"Upgrade": "websocket"}
        )

    routes: list[BaseRoute] = [
        Route("/", front),
        Route(SETUP_PATH, front),
        *web.routes(),
        *Monitoring(readers, health).routes(),
        *OtaEndpoint(provisioner, settings, plain, ledger).routes(),
    ]
    if mqtt_websocket is not None:
        routes += [WebSocketRoute("/mqtt", mqtt_websocket), Route("/mqtt", mqtt_without_websocket)]
    if device_websocket is not None:
        routes += [
            WebSocketRoute(device_path, device_websocket),
            Route(device_path, device_without_websocket),
        ]
    if notice_urls is not None:
        routes += NoticeSound(notice_urls, ledger).routes()
    if commands is not None:
        routes += SoundUpload(commands, directory).routes()
    routes += more(ledger)
    if api is not None:
        routes += [*Docs(api.document).routes(), Mount(API_PREFIX, api)]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(CommonHeaders), Middleware(BrowserGuard, rules, ledger)],
        exception_handlers={HTTPException: refused, StoreError: _StoreFailures(), Exception: _failed},
    )
    # Devices follow no redirects (device contract, section 1).
    app.router.redirect_slashes = False
    return app


def _is_missing(error: Exception) -> bool:
    return isinstance(error, HTTPException) and error.status_code == 404


async def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    detail = error.detail
    if error.status_code == 404:
        detail = f"there is nothing at {request.url.path[:200]}: the OTA address is /xiaozhi/ota/"
    elif error.status_code == 405:
        detail = f"{request.method[:20]} is not possible here"
    # The place of the API itself, or a path with a character that none of the API has.
    if request.url.path == API_PREFIX or request.url.path.startswith(f"{API_PREFIX}/"):
        return problem_json(error.status_code, f"there is nothing at {request.url.path[:200]}: see /docs")
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
