"""The devices' endpoints: OTA and activation (device contract, sections 1, 2 and 8)."""

import asyncio
import math

from prometheus_client import Counter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mimi_mqtt.config import HttpSettings
from mimi_mqtt.errors import OtaError
from mimi_mqtt.fleet.activation import ActivationState, Asker, TooManyAskers
from mimi_mqtt.fleet.provisioning import Provisioner
from mimi_mqtt.http.addressing import advertised_host, websocket_origin
from mimi_mqtt.http.clients import PROXY_HOST, VIA_PROXY, client_address
from mimi_mqtt.http.limits import REFUSED, read_body
from mimi_mqtt.http.plain_page import PlainPage, wants_page
from mimi_mqtt.http.replies import error_reply, json_reply
from mimi_mqtt.shares import Ledger, Rates, address_holder
from mimi_mqtt.wire.ota import ActivationRequest, OtaRequest

OTA_PATHS = ("/xiaozhi/ota", "/api/ota", "/ota")

_BAD = Counter("mimi_ota_bad_requests_total", "OTA and activation requests that could not be parsed")

_POLL_STATUS = {ActivationState.DONE: 200, ActivationState.WAITING: 202, ActivationState.REFUSED: 403}
_POLL_TEXTS = {
    ActivationState.DONE: "the device is allowed: request OTA again",
    ActivationState.WAITING: "the activation is pending",
    ActivationState.REFUSED: (
        "no activation is pending for this Device-Id, Client-Id and challenge: request OTA again"
    ),
}


class OtaEndpoint:
    """OTA and activation at every path that firmware in the field is built with."""

    def __init__(
        self, provisioner: Provisioner, settings: HttpSettings, page: PlainPage, ledger: Ledger
    ) -> None:
        self._provisioner = provisioner
        self._max_body = settings.max_body_bytes
        self._requests = Rates(settings.requests_per_minute / 60, settings.requests_per_minute)
        self._newcomers = Rates(provisioner.new_devices_per_hour / 3600, provisioner.new_devices_per_hour)
        self._page = page
        self._ledger = ledger

    def routes(self) -> list[Route]:
        """Every path with and without its last slash; some firmware joins `activate` with a second one."""
        asks = [
            Route(f"{path}{end}", self.ota, methods=["GET", "POST"])
            for path in OTA_PATHS
            for end in ("", "/")
        ]
        polls = [
            Route(f"{path}{end}", self.activate, methods=["POST"])
            for path in OTA_PATHS
            for end in ("/activate", "/activate/", "//activate")
        ]
        return asks + polls

    async def ota(self, request: Request) -> Response:
        """The request of a booting device; a browser gets the page for people instead."""
        self._count(request)
        if request.method != "POST" and wants_page(request):
            return self._page.page(request)
        body = await read_body(request, self._max_body)
        try:
            asked = OtaRequest.from_http(request.headers, body)
        except OtaError as error:
            _BAD.inc()
            self._provisioner.unreadable(client_address(request.scope), str(error))
            return error_reply(400, str(error))
        host = self._provisioner.endpoints.public_host or _host(request)
        if host is None:
            return error_reply(
                400,
                "devices speak IPv4 only, and this server was reached by IPv6 alone: "
                "use its IPv4 address or a name, or set server.public_host",
            )
        try:
            answer = await self._provisioner.provision(
                asked,
                host,
                lambda: self._may_be_new(request),
                address=client_address(request.scope),
                origin=_websocket_origin(request, host),
            )
        except TooManyAskers as error:
            REFUSED.labels("new_devices").inc()
            return error_reply(429, str(error), {"Retry-After": "60"})
        except OtaError as error:
            return error_reply(503, str(error), {"Retry-After": "60"})
        return json_reply(answer.to_json())

    async def activate(self, request: Request) -> Response:
        """A poll of a device that shows a code: 200 allowed, 202 pending, 403 OTA gives another code."""
        self._count(request)
        body = await read_body(request, self._max_body)
        try:
            poll = ActivationRequest.from_body(body)
            # A poll's body does not say whose it is: the headers do.
            asked = OtaRequest.from_http(request.headers, b"")
        except OtaError as error:
            _BAD.inc()
            return error_reply(400, str(error))
        asker = Asker(asked.device_id, asked.client_id, address=_holder(request))
        state = await self._provisioner.activate(asker, poll)
        word = "error" if state is ActivationState.REFUSED else "message"
        return json_reply({word: _POLL_TEXTS[state]}, _POLL_STATUS[state])

    def _may_be_new(self, request: Request) -> bool:
        return self._newcomers.take(_holder(request), asyncio.get_running_loop().time())

    def _count(self, request: Request) -> None:
        holder, now = _holder(request), asyncio.get_running_loop().time()
        if not self._requests.take(holder, now):
            self._ledger.refuse("OTA requests", holder, now, setting="http.requests_per_minute")
            raise HTTPException(
                429,
                "too many requests from this address (http.requests_per_minute)",
                {"Retry-After": str(math.ceil(self._requests.wait_s(holder, now)))},
            )


def _holder(request: Request) -> str:
    return address_holder(client_address(request.scope))


def _websocket_origin(request: Request, host: str) -> str | None:
    scope = request.scope
    server = scope.get("server")
    return websocket_origin(
        host,
        request.headers.get("host"),
        scope["scheme"],
        forwarded=PROXY_HOST in scope,
        tls_port=server[1] if server and VIA_PROXY not in scope else None,
    )


def _host(request: Request) -> str | None:
    server = request.scope.get("server")
    return advertised_host(request.headers.get("host"), server[0] if server else None)
