"""The composition root: builds the parts, owns their lifetimes, starts and stops them in order.

Read `App.start` for what the server consists of. It goes away in the opposite order, so: stop accepting, let
the current sentences end, say goodbye to every session, flush the store, close.
"""

import asyncio
import contextvars
import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime

from mimi_mqtt import descriptors
from mimi_mqtt.app import api, diagnosis
from mimi_mqtt.app.checks import ServerChecks
from mimi_mqtt.app.diagnostics import Diagnostics, Facts
from mimi_mqtt.app.firmware import Firmware
from mimi_mqtt.app.fleet import FleetParts
from mimi_mqtt.app.foundation import Foundation
from mimi_mqtt.app.managed import load_managed
from mimi_mqtt.app.people import PeopleParts
from mimi_mqtt.app.records import Records
from mimi_mqtt.app.replays import TurnReplays
from mimi_mqtt.app.samples import VoiceSamples
from mimi_mqtt.app.stage_tests import StageTests
from mimi_mqtt.app.streams import Streams
from mimi_mqtt.app.vision import Sight
from mimi_mqtt.audio.opus import libopus_version
from mimi_mqtt.commands.due import DueNotices
from mimi_mqtt.commands.kept_notices import KeptNotices
from mimi_mqtt.commands.notice_urls import NoticeUrls
from mimi_mqtt.commands.notices import Notices
from mimi_mqtt.commands.runner import Commands
from mimi_mqtt.commands.screenshots import Belonging
from mimi_mqtt.config import Settings
from mimi_mqtt.config.agents import DEFAULT_AGENT
from mimi_mqtt.config.changes import Changes, compare
from mimi_mqtt.events import DeviceBooted, DeviceRevoked
from mimi_mqtt.fleet.agent_choice import AgentChoice
from mimi_mqtt.fleet.agents import Agent, AgentCatalog, AgentsInForce
from mimi_mqtt.fleet.directory import DeviceInfo
from mimi_mqtt.fleet.fallback import use_websocket
from mimi_mqtt.fleet.provisioning import Endpoints, Provisioner
from mimi_mqtt.fleet.secret_files import Secrets
from mimi_mqtt.http.api.loading import LoadedOnUse
from mimi_mqtt.http.app import PartHealth, build_app
from mimi_mqtt.http.companion import CompanionEndpoints
from mimi_mqtt.http.device.firmware import FirmwareDownloads
from mimi_mqtt.http.device.notices import NOTICE_PATH
from mimi_mqtt.http.login import OpenIdLogin
from mimi_mqtt.http.server import HttpServer, certificate_of
from mimi_mqtt.log.recent import RecentLines
from mimi_mqtt.managed.merging import Merged
from mimi_mqtt.managed.model_installs import ModelInstalls
from mimi_mqtt.memory.exports import ConversationExports
from mimi_mqtt.memory.recent import RecentTurns
from mimi_mqtt.people.shared_tokens import SharedTokens, shared_secrets
from mimi_mqtt.problems import Problems
from mimi_mqtt.providers.catalog.advice import better_model
from mimi_mqtt.providers.catalog.local_models import models_folder
from mimi_mqtt.providers.catalog.selection import Selection, select_providers
from mimi_mqtt.providers.runtime.unloading import IdleUnloading
from mimi_mqtt.session.control import LiveDevices
from mimi_mqtt.session.glyphs.push import GlyphPusher
from mimi_mqtt.session.glyphs.source import GlyphSource
from mimi_mqtt.session.last_sessions import LastSessions
from mimi_mqtt.session.manager import SessionManager
from mimi_mqtt.session.session import ConversationFactory, VoiceConversation
from mimi_mqtt.store.reminders import ReminderTable
from mimi_mqtt.tls.watch import CertificateWatch
from mimi_mqtt.tools.reminders.scheduler import ReminderScheduler
from mimi_mqtt.tools.reminders.service import Reminders, local_zone
from mimi_mqtt.tools.reminders.tools import ReminderTools
from mimi_mqtt.transports.listening import outward_address
from mimi_mqtt.transports.mqtt.server import MqttServer
from mimi_mqtt.transports.mqtt.telemetry import Telemetry
from mimi_mqtt.transports.sockets import Sockets
from mimi_mqtt.transports.udp import UdpServer
from mimi_mqtt.transports.websocket import PATH, WebSocketDevices
from mimi_mqtt.voice.conversation import Conversation
from mimi_mqtt.voice.notices.maker import RecordingMaker
from mimi_mqtt.voice.pool import VoicePool
from mimi_mqtt.voice.ports import ConversationSetup
from mimi_mqtt.voice.speech.phrases import greetings

_LEDGER_S = 5.0

_ALL_ADDRESSES = ("0.0.0.0", "::")


class App:
    """One server: `await start()` once, then `await stop()` once. API keys come from `environ`; `recent` are
    the last lines of its log."""

    def __init__(
        self, settings: Settings, environ: Mapping[str, str], recent: RecentLines | None = None
    ) -> None:
        self.settings = settings
        """The settings in force: those of broker.yaml and the environment, and what people set under them."""
        self._base = settings
        self._changing = asyncio.Lock()
        self._environ = environ
        self._stack = AsyncExitStack()
        self._watched: dict[str, Callable[[], bool]] = {}
        self._http: HttpServer | None = None
        self.recent_lines = recent or RecentLines()
        """The last lines of the log."""
        self._started_at = datetime.now(UTC)
        self.problems = Problems()
        """Problems that a person can mend, which parts report."""
        self.reloading: api.ReloadsSettings | None = None
        """The reader of changed settings, at the request of a program; None: nothing reads them."""

    def watch(self, what: str, healthy: Callable[[], bool]) -> None:
        """Shows `what`, a loop of this process beside the app's own, in the part `process` of the health."""
        self._watched[what] = healthy

    async def start(self) -> None:
        """Starts everything. Raises ConfigError, StartupError or StoreError, with nothing left running."""
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise

    async def _start(self) -> None:
        settings, stack = self.settings, self._stack
        libopus_version()  # before all else: nothing can be heard or said without it
        glyphs = GlyphPusher(GlyphSource(settings.display.fonts))  # a wrong font ends the start
        mqtt_in_force, http_in_force = descriptors.provide(settings)
        self._report_accepts(stack)
        sockets = Sockets.open(settings)
        for sock in (sockets.http, sockets.mqtt, sockets.mqtt_tls, sockets.udp):
            if sock is not None:
                stack.callback(sock.close)
        certificate = certificate_of(settings.http)
        self._foundation = foundation = await Foundation.open(settings, self._environ, stack)
        credentials, events, ledger = foundation.credentials, foundation.events, foundation.ledger
        self._fleet = FleetParts(settings, foundation)
        self._records = Records(settings, foundation, self._fleet)
        await self._records.start(stack)
        await self._fleet.start(stack)
        directory = self._fleet.directory
        self._firmware = Firmware(settings, foundation, self._records.files.blobs, directory)
        await self._firmware.start(stack)
        self._people = PeopleParts(settings, foundation)
        self._people.start(stack)
        self._streams = Streams(foundation, directory, self._people.authenticator, self.recent_lines, stack)

        self._managed = await load_managed(
            self._foundation.store, credentials, self._environ,
            base=lambda: self._base,
            in_force=lambda: self.settings,
            put_in_force=self._put_managed_in_force,
            device=self._fleet.directory.get,
        )  # fmt: skip
        watched = self._managed.watched
        merged = await asyncio.to_thread(watched.merged, settings) if len(watched) else Merged(settings)
        self.settings = settings = merged.settings
        memory = self._memory = RecentTurns(
            self._foundation.store,
            greetings=greetings(settings.every_agent.values()),
            timezone=settings.server.timezone,
        )
        self._voices = VoicePool(settings, self._environ, self._records.turns, memory, events, ledger=ledger)
        stack.push_async_callback(self._voices.aclose)
        await self._voices.start(in_background=merged.agents)
        watched.took(merged)
        unloading = IdleUnloading(lambda: self.settings.providers.unload_idle_min)
        self.watch("unloading of idle models", lambda: unloading.healthy)
        stack.push_async_callback(unloading.aclose)
        unloading.start()
        self._agents = AgentsInForce(settings.every_agent)
        catalog = AgentCatalog(self._agents)
        self._udp = UdpServer(settings.udp, self._fleet.directory.master_key)
        stack.push_async_callback(self._udp.aclose)
        await self._udp.start(sockets.udp)
        last_sessions = LastSessions(self._foundation.store)
        stack.push_async_callback(last_sessions.aclose)
        await last_sessions.start()
        self._last_sessions = last_sessions
        self._websockets = WebSocketDevices(
            settings,
            self._fleet.directory,
            lambda: self._sessions,
            lambda *shown: self._mqtt.show(*shown),
            foundation.known,
        )
        rows = ReminderTable(self._foundation.store)
        self._reminders = ReminderScheduler(
            rows,
            lambda *due: self._due.tell(*due),
            lambda device_id: self._sessions.language_of(device_id),
            publish=events.publish,
        )
        reminders = Reminders(rows, local_zone(settings.server.timezone), publish=events.publish)
        self._sessions = SessionManager(
            settings,
            devices=self._fleet.directory,
            audio_transports={"udp": self._udp, "websocket": self._websockets},
            agents=catalog,
            converse=self._converse,
            last=last_sessions,
            events=events,
            ledger=ledger,
            glyphs=glyphs,
            reminders=ReminderTools(reminders, self._reminders),
        )
        self._sessions.on_audio_missing = self._audio_missing
        self._fleet.join(self._sessions)
        sight = Sight(
            credentials, self._sessions, self._fleet.directory, catalog, self._voices,
            origin=self._http_origin, keep=self._keep_photo,
        )  # fmt: skip
        stack.push_async_callback(watched.aclose)
        watched.start()
        devices = LiveDevices(self._sessions)
        maker = RecordingMaker(self._voices, settings.voice.downlink_sample_rate)
        stack.callback(maker.close)
        self._kept_notices = KeptNotices(self._foundation.store)
        stack.push_async_callback(self._kept_notices.aclose)
        self._kept_notices.start()
        notice_urls = NoticeUrls()
        self._notices = Notices(
            devices, maker, notice_urls, self._kept_notices, events,
            address=self._http_origin, path=NOTICE_PATH,
        )  # fmt: skip
        self._commands = commands = Commands(
            devices, events,
            notices=self._notices, agents=AgentChoice(self._foundation.store, self._fleet.directory, catalog),
        )  # fmt: skip
        self._due = DueNotices(commands, devices)
        self._mqtt = MqttServer(
            mqtt_in_force, self._fleet.directory, self._sessions,
            commands=commands, shares=settings.shares, ledger=ledger, known=foundation.known,
            traces=self._streams.traces,
        )  # fmt: skip
        self._mqtt.elsewhere = self._websockets
        self._telemetry = Telemetry(events, self._mqtt.publish, lambda: self._mqtt.connections["general"] > 0)
        stack.push_async_callback(self._telemetry.aclose)
        self._telemetry.start()

        self._fleet.directory.on_booted = self._booted
        self._fleet.directory.on_revoked = self._revoked
        self._fleet.directory.on_renewed = self._renewed
        self._fleet.directory.is_connected = self._sessions.connected
        stack.push_async_callback(self._mqtt.aclose)
        stack.push_async_callback(self._close_http)
        # Streams of events end by themselves, before the HTTP server has to cut them.
        self._streams.start(stack)
        # Goodbyes travel over MQTT and WebSockets: sessions end before these do.
        stack.push_async_callback(self._sessions.aclose)
        stack.push_async_callback(self._notices.aclose)
        await self._notices.start()
        stack.push_async_callback(self._reminders.aclose)
        self._reminders.start()
        await self._mqtt.start(sockets.mqtt, sockets.mqtt_tls)
        self._certificates = CertificateWatch(certificate, self._mqtt.certificate)
        self.watch("certificates", lambda: self._certificates.healthy)
        stack.push_async_callback(self._certificates.aclose)
        self._certificates.start()

        self.http_port = int(sockets.http.getsockname()[1])
        self.mqtt_port = int(sockets.mqtt.getsockname()[1])
        self.mqtt_tls_port = int(sockets.mqtt_tls.getsockname()[1]) if sockets.mqtt_tls is not None else None
        self._endpoints = endpoints = Endpoints(
            mqtt_port=self.mqtt_port,
            mqtt_tls_port=self.mqtt_tls_port,
            udp_port=self._udp.advertised_port,
            http_port=self.http_port,
            public_host=settings.server.public_host,
            websocket_path=PATH,
        )
        provisioner = Provisioner(
            foundation.store, directory, credentials, endpoints, settings.ota,
            shares=settings.shares, ledger=ledger, keepalive_s=settings.mqtt.keepalive_s,
            timezone=settings.server.timezone, keys=self._fleet.keys, offers=self._firmware.offers,
            log=self._fleet.log,
        )  # fmt: skip
        companion = CompanionEndpoints(
            self._people.companion,
            SharedTokens(shared_secrets(settings, self._environ)),
            self._people.authenticator,
            requests_per_minute=settings.companion.requests_per_minute,
        )
        sign_in = OpenIdLogin(
            self._people.accounts, lambda: credentials.key("openid sign-in"), settings.http.public_url
        )
        self._diagnosis = self._diagnose()
        stack.callback(self._diagnosis.close)
        self._diagnosis.start()
        recordings = self._records.files.recordings
        self.checks = ServerChecks(
            lambda: self.settings, endpoints, credentials, self._udp, lambda: self.device_host
        )
        installs = ModelInstalls(
            self._foundation.store,
            events,
            lambda: models_folder(self.settings.providers),
            self._put_managed_in_force,
        )
        stack.push_async_callback(installs.aclose)
        parts = api.ApiParts(
            assets=self._firmware.assets,
            authenticator=self._people.authenticator,
            backups=self._records.backups,
            belonging=self._fleet.belonging,
            browsers=self._fleet.browsers,
            checks=self.checks,
            claims=self._fleet.claims,
            collect_files=self._records.files.collect,
            commands=commands,
            connections=self._fleet.connections,
            conversations=self._records.history,
            device_keys=self._fleet.keys,
            devices=self._fleet.registry,
            diagnostics=self._diagnostics(),
            directory=self._fleet.directory,
            endpoints=endpoints,
            events=self._streams.events,
            exports=ConversationExports(self._foundation.store),
            firmware=self._firmware.images,
            health=self.health,
            installs=installs,
            ledger=ledger,
            logs=self._streams.logs,
            managed=self._managed,
            people=self._people.accounts,
            problems=self._diagnosis,
            recordings=recordings,
            reloading=lambda: self.reloading,
            reminders=reminders,
            replays=TurnReplays(
                lambda: self.settings,
                self._voices,
                self._records.history,
                self._records.files.recordings,
                self._fleet.directory.get,
            ),
            rollouts=self._firmware.rollouts,
            samples=VoiceSamples(lambda: self.settings, self._environ),
            screenshots=self._records.files.screenshots(
                commands, lambda known: self._fleet.belonging(known) or Belonging(), self._http_origin
            ),
            sessions=self._sessions,
            settings=lambda: self.settings,
            stages=StageTests(lambda: self.settings, self._environ),
            started_at=self._started_at,
            store=self._foundation.store,
            traces=self._streams.traces,
            updates=self._firmware.updates(commands, self._http_origin),
            uploads=self._records.files.uploads,
        )
        web = build_app(
            provisioner=provisioner,
            directory=self._fleet.directory,
            health=self.health,
            mqtt_websocket=self._mqtt.websocket_app,
            device_websocket=self._websockets,
            device_path=PATH,
            notice_urls=notice_urls,
            commands=commands,
            settings=http_in_force,
            ledger=ledger,
            advice=lambda: better_model(self.answering),
            is_certified=lambda host: certificate is not None and certificate.is_for(host),
            more=lambda ledger: [
                *self._records.files.routes(ledger),
                *sight.routes(ledger),
                *FirmwareDownloads(self._firmware.downloads, self._firmware.links).routes(),
                *companion.routes(),
                *sign_in.routes(),
            ],
            api=LoadedOnUse(functools.partial(api.build, parts)),
        )
        self._http = HttpServer(
            web, http_in_force, shares=settings.shares, ledger=ledger, known=foundation.known,
            certificate=certificate, max_websocket_bytes=settings.mqtt.max_packet_bytes,
        )  # fmt: skip
        await self._http.start(sockets.http)

    def _diagnose(self) -> diagnosis.Diagnosis:
        """The checks that find problems."""
        checks = {
            "parts": diagnosis.parts(self.health),
            "database": diagnosis.database(self._foundation.store),
            "disk": diagnosis.disk(self.settings.server.data_dir),
            "certificates": diagnosis.certificates(lambda: self._certificates),
            "clock": diagnosis.clock(),
            "clock set back": diagnosis.clock_set_back(self._foundation.store),
            "moved ports": diagnosis.moved_ports(self._ports),
            "backups": diagnosis.old_backups(self._foundation.store, self.settings.backup, self._started_at),
            "language model": diagnosis.language_model(lambda: better_model(self.answering)),
            "devices over WebSocket": diagnosis.devices_over_websocket(self._foundation.store),
            "waiting devices": diagnosis.waiting_devices(self._foundation.store),
            "refusals": diagnosis.refusals(self._foundation.ledger.summary),
            "roll-outs": self._firmware.problems,
            "firmware": self._firmware.stuck,
        }
        return diagnosis.Diagnosis(self.problems, self._foundation.events, checks)

    def _diagnostics(self) -> Diagnostics:
        """The maker of archives."""
        return Diagnostics(
            Facts(
                settings=lambda: self.settings,
                environ=self._environ,
                health=self.health,
                diagnosis=self._diagnosis,
                lines=self.recent_lines,
                store=self._foundation.store,
                directory=self._fleet.directory,
                live=self._fleet.live,
                started_at=self._started_at,
            )
        )

    def _ports(self) -> Iterator[tuple[str, int, int]]:
        """The keys of ports that may move, the port of each and the one in use."""
        yield "mqtt.bind", self.settings.mqtt.bind.port, self.mqtt_port
        if self.mqtt_tls_port is not None:
            yield "mqtt.tls_bind", self.settings.mqtt.tls_bind.port, self.mqtt_tls_port
        yield "udp.bind", self.settings.udp.bind.port, self._udp.port

    @staticmethod
    def _report_accepts(stack: AsyncExitStack) -> None:
        """Has connections that can't be accepted reported by one log line, until the end."""
        loop = asyncio.get_running_loop()
        before = loop.get_exception_handler()
        loop.set_exception_handler(descriptors.AcceptFailures())
        stack.callback(loop.set_exception_handler, before)

    def _http_origin(self, device_id: str) -> str | None:
        """The start of the HTTP address by which the device reaches this server."""
        device = self._fleet.directory.get(device_id)
        if device is None:
            return None
        host = self._endpoints.public_host or device.host
        return device.origin or (self._endpoints.http_origin(host) if host else None)

    def _keep_photo(self, device_id: str, session_id: str, photo: bytes) -> None:
        """Keeps the photo of a conversation whose sound is kept, too."""
        if self._records.recorder.records(session_id):
            belonging = self._fleet.belonging(device_id) or Belonging()
            work = self._records.files.keep_photo(device_id, session_id, belonging, photo)
            self._sessions.spawn(work, "storing of a photo", contextvars.copy_context())

    def _booted(self, device: DeviceInfo) -> None:
        self._sessions.booted(device.device_id)
        self._foundation.events.publish(
            DeviceBooted(device_id=device.device_id, board=device.board, firmware=device.firmware_version)
        )

    def _revoked(self, device_id: str) -> None:
        """The device is told goodbye before its connections, and those of its testers, end."""
        moved = self._fleet.directory.has_moved(device_id)
        try:
            self._sessions.disconnect(device_id, "revoked")
            if moved:
                self._sessions.forget_owner(device_id)
        finally:
            self._mqtt.disconnect(device_id, "revoked")
            self._websockets.disconnect(device_id, "revoked")
        self._foundation.events.publish(DeviceRevoked(device_id=device_id, moved=moved))

    def _audio_missing(self, device_id: str) -> None:
        """The device's UDP is blocked: it gets a WebSocket from its next boot on."""
        if self.settings.ota.fallback:
            work = use_websocket(self._foundation.store, self._fleet.directory, device_id)
            self._sessions.spawn(work, "fallback to WebSocket", contextvars.copy_context())

    def _renewed(self, device_id: str) -> None:
        """The device uses the credentials of a new secret: its testers may still hold old ones."""
        self._mqtt.disconnect_testers(device_id, "the server's secret was rotated")

    async def stop(self) -> None:
        """Stops everything in order, bounded in time; what fails to stop does not keep the rest running.

        New connections are refused before anything else, so that no device begins what would be cut off.
        """
        self._mqtt.stop_accepting()
        self._websockets.stop_accepting()
        self._streams.close()
        if self._http is not None:
            self._http.stop_accepting()
        await self._stack.aclose()

    async def _close_http(self) -> None:
        self._websockets.close()
        if self._http is not None:
            await self._http.aclose()

    def _converse(self, agent: Agent) -> ConversationFactory:
        lease = self._voices.lease(agent.key)
        make = functools.partial(Conversation, services=lease.current(), renewal=lease)

        def recorded(setup: ConversationSetup) -> VoiceConversation:
            if not self._records.recorder.wants(setup.device.id, agent.settings):
                return make(setup)
            return self._records.recorder.record(make(setup), setup)

        return recorded

    async def reload(self, wanted: Settings) -> Changes:
        """Puts in force what of `wanted` can change at run time, for each device from its next turn on.

        The server's secret and certificates are read again, too, and addresses that were refused for wrong
        passwords may try again. No connection is dropped, but for those whose credentials ended with their
        secret. Raises ConfigError, ProviderError and StartupError; then nothing has changed.
        """
        async with self._changing:
            changes = compare(self._base, wanted)
            secrets = self._foundation.credentials.read()
            take_certificates = await self._certificates.read_again()
            merged = await asyncio.to_thread(self._managed.watched.merged, changes.settings)
            await self._voices.replace(merged.settings, in_background=merged.agents)
            renewed = (*take_certificates(), *self._take_secret(secrets))
            self._base = changes.settings
            self._put_in_force(merged)
        self._fleet.accounts.unlock()
        self._people.accounts.sign_in.unlock()
        self._diagnosis.reloaded()
        return replace(changes, effective=(*changes.effective, *renewed))

    async def _put_managed_in_force(self) -> None:
        """Puts what people set in force, for each device from its next turn on. Raises ConfigError and
        ProviderError; then nothing has changed."""
        async with self._changing:
            merged = await asyncio.to_thread(self._managed.watched.merged, self._base)
            await self._voices.replace(merged.settings, in_background=merged.settings.every_agent)
            self._put_in_force(merged)

    def _put_in_force(self, merged: Merged) -> None:
        settings = self.settings = merged.settings
        self._memory.know_greetings(greetings(settings.every_agent.values()))
        self._agents.replace(settings.every_agent)
        self._sessions.reconfigure(settings)
        self._managed.watched.took(merged)

    def _take_secret(self, secrets: Secrets) -> tuple[str, ...]:
        """Takes over a secret that was rotated; returns a line that tells so."""
        if not self._foundation.credentials.take(secrets):
            return ()
        self._fleet.directory.secret_changed()
        self._managed.watched.look()  # keys of providers are encrypted with the new one
        if not self._foundation.credentials.overlaps:
            return ("the server's secret: rotated; every device needs new credentials",)
        until = datetime.fromtimestamp(self._foundation.credentials.old_until).astimezone()
        return (f"the server's secret: rotated; old credentials end by {until:%Y-%m-%d %H:%M}",)

    # ── what it is ──────────────────────────────────────────────────────────────────────────────────────

    def health(self) -> Mapping[str, PartHealth]:
        """Each part's state."""
        connections = self._mqtt.connections
        faults = "" if self._fleet.directory.healthy else ", changes of devices may go unnoticed"
        if self._foundation.store.failure:
            faults += f"; {self._foundation.store.failure}"
        if not self._records.turn_log.healthy:
            faults += f", {self._records.turn_log.dropped} turns not recorded"
        told = self._certificates.describe()
        failing = [what for what, healthy in self._watched.items() if not healthy()]
        return {
            "backup": self._records.backup_health(),
            "process": PartHealth(not failing, f"failed: {', '.join(failing)}" if failing else "running"),
            "http": PartHealth(
                self._http is not None and self._http.healthy and self._streams.events.healthy,
                f"port {self.http_port}; {len(self._websockets)} devices over WebSocket",
            ),
            "mqtt": PartHealth(
                self._mqtt.running and self._telemetry.healthy,
                f"port {self.mqtt_port}; {connections['device']} devices, {connections['general']} others",
            ),
            "files": self._records.files.health(),
            "firmware": self._firmware.health(),
            "notices": PartHealth(
                self._notices.healthy and self._kept_notices.healthy, f"{len(self._notices)} waiting"
            ),
            "people": self._people.health(),
            "udp": PartHealth(self._udp.running, f"port {self._udp.port}; {self._udp.count} channels"),
            "sessions": PartHealth(
                self._sessions.healthy and self._last_sessions.healthy, f"{self._sessions.count} live"
            ),
            "managed": PartHealth(
                self._managed.watched.healthy,
                self._managed.watched.failure
                or f"{len(self._managed.watched)} agents, providers and prices set by people",
            ),
            **({"tls": PartHealth(not self._certificates.expired, told)} if told else {}),
            "reminders": PartHealth(self._reminders.healthy, f"{self._reminders.telling} being told"),
            "shares": self._foundation.health(),
            "store": PartHealth(
                all(part.healthy for part in (self._records.turn_log, self._fleet, self._people.companion)),
                f"{len(self._fleet.directory)} devices{faults}",
            ),
        }

    async def setup_token(self) -> str | None:
        """The token of a one-time link that makes the first administrator; None when there is one. Raises
        StoreError."""
        return await self._people.accounts.links.for_setup(datetime.now(UTC))

    @property
    def certified_host(self) -> str | None:
        """The host by which devices reach the HTTP port over TLS; None without a certificate."""
        certificate = self._http.certificate if self._http is not None else None
        return certificate.name_for(self.device_host) if certificate is not None else None

    @property
    def providers(self) -> Mapping[str, Selection]:
        """Names of the providers chosen for each role: by agent, the default one first."""
        return select_providers(self.settings, self._environ)

    @property
    def answering(self) -> str:
        """The model that answers the default agent now, for a person: the language model, or the service
        for speech to speech."""
        services = self._voices.newest(DEFAULT_AGENT).services
        return services.llm.answering if services.s2s is None else services.s2s.name

    @property
    def udp_port(self) -> int:
        """The bound port of the audio channel."""
        return self._udp.port

    @property
    def local_host(self) -> str:
        """The address by which this machine reaches the server."""
        host = self.settings.http.bind.host
        return "127.0.0.1" if host in _ALL_ADDRESSES else host

    @property
    def device_host(self) -> str:
        """The address by which devices reach the server, as far as this machine can tell."""
        host = self.settings.http.bind.host
        return self.settings.server.public_host or (outward_address() if host in _ALL_ADDRESSES else host)
