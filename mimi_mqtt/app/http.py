"""HTTP, as one part of the server: OTA and files for devices, pages and the API for people."""

import functools
import socket
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from starlette.routing import BaseRoute

from mimi_mqtt.app import api
from mimi_mqtt.app.health import Health
from mimi_mqtt.app.parts import Parts
from mimi_mqtt.config import HttpSettings
from mimi_mqtt.fleet.provisioning import Provisioner
from mimi_mqtt.http.api.loading import LoadedOnUse
from mimi_mqtt.http.app import build_app
from mimi_mqtt.http.companion import CompanionEndpoints
from mimi_mqtt.http.device.firmware import FirmwareDownloads
from mimi_mqtt.http.login import OpenIdLogin
from mimi_mqtt.http.server import HttpServer
from mimi_mqtt.managed.model_installs import ModelInstalls
from mimi_mqtt.people.shared_tokens import SharedTokens, shared_secrets
from mimi_mqtt.providers.catalog.advice import better_model
from mimi_mqtt.providers.catalog.local_models import models_folder
from mimi_mqtt.shares import Ledger
from mimi_mqtt.transports.websocket import PATH, WebSocketDevices


class HttpParts:
    """The HTTP server and its routes. `websockets` are the devices whose connections it carries. The caller
    calls `aclose` after the sessions' end: their goodbyes travel over these connections, too."""

    def __init__(self, websockets: WebSocketDevices) -> None:
        self._websockets = websockets
        self.server: HttpServer | None = None

    @property
    def healthy(self) -> bool:
        """True while it is served."""
        return self.server is not None and self.server.healthy

    async def start(
        self,
        sock: socket.socket,
        settings: HttpSettings,
        parts: Parts,
        health: Health,
        stack: AsyncExitStack,
        *,
        reloading: Callable[[], api.ReloadsSettings | None],
    ) -> None:
        """Serves on `sock`, which is bound. `stack` ends installations that the API began."""
        foundation, in_force = parts.foundation, parts.in_force
        installs = ModelInstalls(
            foundation.store, foundation.events, lambda: models_folder(in_force.settings.providers),
            in_force.put_managed_in_force,
        )  # fmt: skip
        stack.push_async_callback(installs.aclose)
        certificate = parts.addresses.certificate
        web = build_app(
            provisioner=_provisioner(parts),
            directory=parts.fleet.directory,
            health=health.current,
            mqtt_websocket=parts.live.mqtt.websocket_app,
            device_websocket=self._websockets,
            device_path=PATH,
            notice_urls=parts.commands.notice_urls,
            commands=parts.commands.runner,
            settings=settings,
            ledger=foundation.ledger,
            advice=lambda: better_model(parts.voices.answering),
            is_certified=lambda host: certificate is not None and certificate.is_for(host),
            more=functools.partial(_more_routes, parts),
            api=LoadedOnUse(functools.partial(api.build, parts, health, installs, reloading)),
        )
        self.server = HttpServer(
            web, settings, shares=in_force.settings.shares, ledger=foundation.ledger, known=foundation.known,
            certificate=certificate, max_websocket_bytes=in_force.settings.mqtt.max_packet_bytes,
        )  # fmt: skip
        await self.server.start(sock)

    def stop_accepting(self) -> None:
        """Refuses new connections; those that are open go on."""
        if self.server is not None:
            self.server.stop_accepting()

    async def aclose(self) -> None:
        """Ends the connections of devices, then all others."""
        self._websockets.close()
        if self.server is not None:
            await self.server.aclose()


def _provisioner(parts: Parts) -> Provisioner:
    """Answers to OTA requests."""
    settings, foundation, fleet = parts.in_force.settings, parts.foundation, parts.fleet
    certificate = parts.live.mqtt.certificate
    return Provisioner(
        foundation.store, fleet.directory, foundation.credentials, parts.addresses.endpoints, settings.ota,
        shares=settings.shares, ledger=foundation.ledger, keepalive_s=settings.mqtt.keepalive_s,
        timezone=settings.server.timezone, keys=fleet.keys, offers=parts.firmware.offers, log=fleet.log,
        is_public=lambda host: certificate is not None and certificate.is_public_for(host),
    )  # fmt: skip


def _more_routes(parts: Parts, ledger: Ledger) -> Sequence[BaseRoute]:
    """The routes of single parts: files and photos of devices, firmware, companion servers, sign-in."""
    settings, foundation, people = parts.in_force.settings, parts.foundation, parts.people
    companion = CompanionEndpoints(
        people.companion,
        SharedTokens(shared_secrets(settings, foundation.environ)),
        people.authenticator,
        requests_per_minute=settings.companion.requests_per_minute,
    )
    sign_in = OpenIdLogin(
        people.accounts, lambda: foundation.credentials.key("openid sign-in"), settings.http.public_url
    )
    return [
        *parts.records.files.routes(ledger),
        *parts.sight.routes(ledger),
        *FirmwareDownloads(parts.firmware.downloads, parts.firmware.links).routes(),
        *companion.routes(),
        *sign_in.routes(),
    ]
