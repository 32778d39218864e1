"""The composition root: builds the parts, owns their lifetimes, starts and stops them in order.

Read `App._start` for what the server consists of. It goes away in the opposite order, so: stop accepting, let
the current sentences end, say goodbye to every session, flush the store, close.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime

from mimi_mqtt import descriptors
from mimi_mqtt.app import api
from mimi_mqtt.app.addresses import Addresses
from mimi_mqtt.app.commands import CommandParts
from mimi_mqtt.app.firmware import Firmware
from mimi_mqtt.app.fleet import FleetParts
from mimi_mqtt.app.foundation import Foundation
from mimi_mqtt.app.health import Health
from mimi_mqtt.app.http import HttpParts
from mimi_mqtt.app.in_force import SettingsInForce
from mimi_mqtt.app.live import Live
from mimi_mqtt.app.parts import Parts
from mimi_mqtt.app.people import PeopleParts
from mimi_mqtt.app.records import Records
from mimi_mqtt.app.streams import Streams
from mimi_mqtt.app.vision import Sight
from mimi_mqtt.app.voices import Voices
from mimi_mqtt.audio.opus import libopus_version
from mimi_mqtt.config import Settings
from mimi_mqtt.config.changes import Changes
from mimi_mqtt.http.health import PartHealth
from mimi_mqtt.http.server import certificate_of
from mimi_mqtt.log.recent import RecentLines
from mimi_mqtt.providers.catalog.selection import Selection, select_providers
from mimi_mqtt.session.glyphs.push import GlyphPusher
from mimi_mqtt.session.glyphs.source import GlyphSource
from mimi_mqtt.tls.watch import CertificateWatch
from mimi_mqtt.transports.sockets import Sockets


class App:
    """One server: `await start()` once, then `await stop()` once. API keys come from `environ`; `recent` are
    the last lines of its log."""

    def __init__(
        self, settings: Settings, environ: Mapping[str, str], recent: RecentLines | None = None
    ) -> None:
        self._in_force = SettingsInForce(settings)
        self._environ = environ
        self._stack = AsyncExitStack()
        self._watched: dict[str, Callable[[], bool]] = {}
        self.recent_lines = recent or RecentLines()
        """The last lines of the log."""
        self._started_at = datetime.now(UTC)
        self.reloading: api.ReloadsSettings | None = None
        """The reader of changed settings, at the request of a program; None: nothing reads them."""

    def watch(self, what: str, healthy: Callable[[], bool]) -> None:
        """Shows `what`, a loop of this process beside the app's own, in the part `process` of the health."""
        self._watched[what] = healthy

    async def start(self) -> None:
        """Starts everything. Raises BackupError, ConfigError, ProviderError, StartupError or StoreError, with
        nothing left running."""
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise

    async def _start(self) -> None:
        settings, stack, in_force = self.settings, self._stack, self._in_force
        libopus_version()  # before all else: nothing can be heard or said without it
        glyphs = GlyphPusher(GlyphSource(settings.display.fonts))  # a wrong font ends the start
        mqtt_settings, http_settings = descriptors.provide(settings)
        self._report_accepts(stack)
        sockets = self._open_sockets(settings, stack)
        certificate = certificate_of(settings.http)

        foundation = await Foundation.open(settings, self._environ, stack)
        fleet = FleetParts(settings, foundation)
        records = Records(settings, foundation, fleet)
        await records.start(stack)
        await fleet.start(stack)
        firmware = Firmware(settings, foundation, records.files.blobs, fleet.directory)
        await firmware.start(stack)
        people = PeopleParts(settings, foundation)
        people.start(stack)
        streams = Streams(foundation, fleet.directory, people.authenticator, self.recent_lines)

        merged = await in_force.load(foundation, fleet.directory)
        settings, agents = in_force.settings, in_force.catalog  # from here on with what people set
        voices = Voices(
            settings, foundation, records, idle_min=lambda: in_force.settings.providers.unload_idle_min
        )
        await voices.start(stack, in_background=merged.agents)
        in_force.managed.watched.took(merged)

        commands = CommandParts(settings, foundation)
        live = Live(settings, foundation, fleet)
        await live.open(
            sockets.udp, stack, agents=agents, voices=voices, glyphs=glyphs, reminders=commands.reminder_tools
        )
        addresses = Addresses(settings, sockets, live.udp, fleet.directory, certificate)
        fleet.join(live.sessions)
        sight = Sight(foundation, fleet, records, live.sessions, agents, voices.pool, origin=addresses.origin)
        in_force.follow(voices, live.sessions, stack)
        commands.join(live.sessions, voices, fleet, agents, stack, origin=addresses.origin)
        live.join(mqtt_settings, commands.runner, streams.traces, stack)

        http = HttpParts(live.websockets)
        stack.push_async_callback(live.mqtt.aclose)
        stack.push_async_callback(http.aclose)
        # Streams of events end by themselves, before the HTTP server has to cut them.
        streams.start(stack)
        # Goodbyes travel over MQTT and WebSockets: sessions end before these do.
        stack.push_async_callback(live.sessions.aclose)
        await commands.start(stack)
        await live.mqtt.start(sockets.mqtt, sockets.mqtt_tls)
        certificates = CertificateWatch(certificate, live.mqtt.certificate)
        stack.push_async_callback(certificates.aclose)
        certificates.start()

        parts = Parts(
            foundation=foundation, fleet=fleet, records=records, firmware=firmware, people=people,
            streams=streams, in_force=in_force, voices=voices, commands=commands, live=live,
            addresses=addresses, sight=sight, certificates=certificates,
        )  # fmt: skip
        health = Health(
            parts, is_serving=lambda: http.healthy, watched=self._watched, recent=self.recent_lines,
            started_at=self._started_at,
        )  # fmt: skip
        health.start(stack)
        self._parts, self._health, self._http = parts, health, http
        await http.start(sockets.http, http_settings, parts, health, stack, reloading=lambda: self.reloading)

    @staticmethod
    def _report_accepts(stack: AsyncExitStack) -> None:
        """Has connections that can't be accepted reported by one log line, until the end."""
        loop = asyncio.get_running_loop()
        before = loop.get_exception_handler()
        loop.set_exception_handler(descriptors.AcceptFailures())
        stack.callback(loop.set_exception_handler, before)

    @staticmethod
    def _open_sockets(settings: Settings, stack: AsyncExitStack) -> Sockets:
        """Opens all sockets, which `stack` closes. Raises StartupError."""
        sockets = Sockets.open(settings)
        for sock in (sockets.http, sockets.mqtt, sockets.mqtt_tls, sockets.udp):
            if sock is not None:
                stack.callback(sock.close)
        return sockets

    async def stop(self) -> None:
        """Stops everything in order, bounded in time; what fails to stop does not keep the rest running.

        New connections are refused before anything else, so that no device begins what would be cut off.
        """
        self._parts.live.stop_accepting()
        self._parts.streams.close()
        self._http.stop_accepting()
        await self._stack.aclose()

    async def reload(self, wanted: Settings) -> Changes:
        """Puts in force what of `wanted` can change at run time, for each device from its next turn on.

        The server's secret and certificates are read again, too, and addresses that were refused for wrong
        passwords may try again. No connection is dropped, but for those whose credentials ended with their
        secret. Raises ConfigError, ProviderError and StartupError; then nothing has changed.
        """
        changes = await self._in_force.reload(wanted, self._parts.certificates)
        self._parts.fleet.accounts.unlock()
        self._parts.people.accounts.sign_in.unlock()
        self._health.diagnosis.reloaded()
        return changes

    async def setup_token(self) -> str | None:
        """The token of a one-time link that makes the first administrator; None when there is one. Raises
        StoreError."""
        return await self._parts.people.accounts.links.for_setup(datetime.now(UTC))

    # ── what it is ──────────────────────────────────────────────────────────────────────────────────────

    @property
    def settings(self) -> Settings:
        """The settings in force: those of broker.yaml and the environment, and what people set under them."""
        return self._in_force.settings

    def health(self) -> Mapping[str, PartHealth]:
        """Each part's state."""
        return self._health.current()

    @property
    def providers(self) -> Mapping[str, Selection]:
        """Names of the providers chosen for each role: by agent, the default one first."""
        return select_providers(self.settings, self._environ)

    @property
    def answering(self) -> str:
        """The model that answers the default agent now, for a person: the language model, or the service
        for speech to speech."""
        return self._parts.voices.answering

    @property
    def http_port(self) -> int:
        """The bound port of HTTP."""
        return self._parts.addresses.http_port

    @property
    def mqtt_port(self) -> int:
        """The bound port of MQTT."""
        return self._parts.addresses.endpoints.mqtt_port

    @property
    def mqtt_tls_port(self) -> int | None:
        """The bound port of MQTT over TLS; None when that is not served."""
        return self._parts.addresses.endpoints.mqtt_tls_port

    @property
    def udp_port(self) -> int:
        """The bound port of the audio channel."""
        return self._parts.live.udp.port

    @property
    def local_host(self) -> str:
        """The address by which this machine reaches the server."""
        return self._parts.addresses.local_host

    @property
    def device_host(self) -> str:
        """The address by which devices reach the server, as far as this machine can tell."""
        return self._parts.addresses.device_host

    @property
    def certified_host(self) -> str | None:
        """The host by which devices reach the HTTP port over TLS; None without a certificate."""
        return self._parts.addresses.certified_host
