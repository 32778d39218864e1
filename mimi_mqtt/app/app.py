"""The composition root: builds the parts, owns their lifetimes, starts and stops them in order.

Read `App.start` for what the server consists of. It goes away in the opposite order, so: stop accepting, let
the current sentences end, say goodbye to every session, flush the store, close.
"""

import asyncio
import contextvars
import functools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from mimi_mqtt import descriptors
from mimi_mqtt.app import api, diagnosis
from mimi_mqtt.app.checks import ServerChecks
from mimi_mqtt.app.diagnostics import Diagnostics, Facts
from mimi_mqtt.app.files import Files
from mimi_mqtt.app.firmware import Firmware
from mimi_mqtt.app.fleet import FleetParts
from mimi_mqtt.app.managed import load_managed
from mimi_mqtt.app.replays import TurnReplays
from mimi_mqtt.app.samples import VoiceSamples
from mimi_mqtt.app.stage_tests import StageTests
from mimi_mqtt.app.vision import Sight
from mimi_mqtt.audio.opus import libopus_version
from mimi_mqtt.backup.interrupted import finish
from mimi_mqtt.backup.ports import Installation
from mimi_mqtt.backup.scheduling import Backups
from mimi_mqtt.commands.due import DueNotices
from mimi_mqtt.commands.kept_notices import KeptNotices
from mimi_mqtt.commands.notice_urls import NoticeUrls
from mimi_mqtt.commands.notices import Notices
from mimi_mqtt.commands.runner import Commands
from mimi_mqtt.commands.screenshots import Belonging
from mimi_mqtt.config import Settings
from mimi_mqtt.config.agents import DEFAULT_AGENT
from mimi_mqtt.config.changes import Changes, compare
from mimi_mqtt.events import DeviceBooted, DeviceRevoked, EventBus
from mimi_mqtt.fleet.accounts import Accounts
from mimi_mqtt.fleet.agent_choice import AgentChoice
from mimi_mqtt.fleet.agents import Agent, AgentCatalog, AgentsInForce
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.fleet.directory import DeviceDirectory, DeviceInfo
from mimi_mqtt.fleet.fallback import use_websocket
from mimi_mqtt.fleet.provisioning import Endpoints, Provisioner
from mimi_mqtt.fleet.secret_files import Secrets
from mimi_mqtt.http.api.event_feed import EventFeed
from mimi_mqtt.http.api.loading import LoadedOnUse
from mimi_mqtt.http.api.log_feed import LogFeed
from mimi_mqtt.http.app import PartHealth, build_app
from mimi_mqtt.http.companion import CompanionEndpoints
from mimi_mqtt.http.device.firmware import FirmwareDownloads
from mimi_mqtt.http.device.notices import NOTICE_PATH
from mimi_mqtt.http.login import OpenIdLogin
from mimi_mqtt.http.server import HttpServer, certificate_of
from mimi_mqtt.log.recent import RecentLines
from mimi_mqtt.managed.merging import Merged
from mimi_mqtt.managed.model_installs import ModelInstalls
from mimi_mqtt.memory.companion import CompanionMemory
from mimi_mqtt.memory.exports import ConversationExports
from mimi_mqtt.memory.history import ConversationHistory
from mimi_mqtt.memory.recent import RecentTurns
from mimi_mqtt.people.accounts import Accounts as People
from mimi_mqtt.people.authenticators import CommandLine, FirstOf
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
from mimi_mqtt.session.recording import RecordedTurns, Recorder
from mimi_mqtt.session.session import ConversationFactory, VoiceConversation
from mimi_mqtt.session.trace import ControlTraces
from mimi_mqtt.shares import KnownAddresses, Ledger
from mimi_mqtt.store.conversations import ConversationLog
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.reminders import ReminderTable
from mimi_mqtt.supervision import SupervisedLoop
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
        self._store = Store(settings.database_url, keep_copies=settings.store.keep_copies)
        await finish(Installation(self._store, settings.server.data_dir))  # before the secret is read
        self._credentials = credentials = Credentials.load(settings.server.data_dir)
        self._events = events = EventBus()
        self._ledger = ledger = Ledger()
        self._known = known = KnownAddresses()
        self._refusals = SupervisedLoop("ledger of refusals", self._sweep_ledger, every_s=_LEDGER_S)
        stack.push_async_callback(self._refusals.aclose)
        self._refusals.start()

        stack.push_async_callback(self._store.aclose)
        await self._store.open()
        self._files = Files(settings, self._store, self._environ, events.publish)
        stack.push_async_callback(self._files.aclose)
        await self._files.start()
        zone = ZoneInfo(local_zone(settings.server.timezone))
        self._history = ConversationHistory(self._store, zone)
        self._backups = Backups(self._store, settings.backup, self._environ, zone=zone)
        stack.push_async_callback(self._backups.aclose)
        self._backups.start()
        self._turn_log = ConversationLog(
            self._store,
            keep_days=settings.store.keep_conversations_days,
            keep_statistics_days=settings.store.keep_statistics_days,
            max_size_mb=settings.store.max_size_mb,
            zone=zone,
            owner_of=self._owner_of,
        )
        stack.push_async_callback(self._turn_log.aclose)
        await self._turn_log.start()
        self._accounts = Accounts(settings.accounts, settings.shares, ledger)
        stack.callback(self._accounts.close)
        self._directory = DeviceDirectory(self._store, credentials, self._accounts)
        stack.push_async_callback(self._directory.aclose)
        await self._directory.start()
        self._fleet = FleetParts(settings, self._store, credentials, self._directory, ledger, events)
        await self._fleet.start(stack)
        self._firmware = Firmware(
            settings, self._store, self._files.blobs, credentials, self._directory, events
        )
        stack.push_async_callback(self._firmware.aclose)
        await self._firmware.start()

        self._companion = CompanionMemory(self._store, keep_days=settings.companion.keep_days)
        stack.push_async_callback(self._companion.aclose)
        self._companion.start()
        self._people = People.build(
            self._store, credentials, people=settings.people, oidc=settings.oidc, shares=settings.shares,
            ledger=ledger,
        )  # fmt: skip
        stack.push_async_callback(self._people.aclose)
        self._people.start()
        self._authenticator = FirstOf(
            CommandLine(credentials.check_command_line_password), self._people.authenticator
        )
        self._feed = EventFeed(events, self._directory)
        self._traces = ControlTraces()
        self._log_feed = LogFeed(self.recent_lines, self._authenticator)
        stack.callback(self._log_feed.close)

        self._managed = await load_managed(
            self._store, credentials, self._environ,
            base=lambda: self._base,
            in_force=lambda: self.settings,
            put_in_force=self._put_managed_in_force,
            device=self._directory.get,
        )  # fmt: skip
        watched = self._managed.watched
        merged = await asyncio.to_thread(watched.merged, settings) if len(watched) else Merged(settings)
        self.settings = settings = merged.settings
        memory = self._memory = RecentTurns(
            self._store,
            greetings=greetings(settings.every_agent.values()),
            timezone=settings.server.timezone,
        )
        self._recorder = Recorder(self._files.recordings, self._directory.get)
        turns = RecordedTurns(self._turn_log, self._recorder)
        self._voices = VoicePool(settings, self._environ, turns, memory, events, ledger=ledger)
        stack.push_async_callback(self._voices.aclose)
        await self._voices.start(in_background=merged.agents)
        watched.took(merged)
        unloading = IdleUnloading(lambda: self.settings.providers.unload_idle_min)
        self.watch("unloading of idle models", lambda: unloading.healthy)
        stack.push_async_callback(unloading.aclose)
        unloading.start()
        self._agents = AgentsInForce(settings.every_agent)
        catalog = AgentCatalog(self._agents)
        self._udp = UdpServer(settings.udp, self._directory.master_key)
        stack.push_async_callback(self._udp.aclose)
        await self._udp.start(sockets.udp)
        last_sessions = LastSessions(self._store)
        stack.push_async_callback(last_sessions.aclose)
        await last_sessions.start()
        self._last_sessions = last_sessions
        self._websockets = WebSocketDevices(
            settings, self._directory, lambda: self._sessions, lambda *shown: self._mqtt.show(*shown), known
        )
        rows = ReminderTable(self._store)
        self._reminders = ReminderScheduler(
            rows,
            lambda *due: self._due.tell(*due),
            lambda device_id: self._sessions.language_of(device_id),
            publish=events.publish,
        )
        reminders = Reminders(rows, local_zone(settings.server.timezone), publish=events.publish)
        self._sessions = SessionManager(
            settings,
            devices=self._directory,
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
            credentials, self._sessions, self._directory, catalog, self._voices,
            origin=self._http_origin, keep=self._keep_photo,
        )  # fmt: skip
        stack.push_async_callback(watched.aclose)
        watched.start()
        devices = LiveDevices(self._sessions)
        maker = RecordingMaker(self._voices, settings.voice.downlink_sample_rate)
        stack.callback(maker.close)
        self._kept_notices = KeptNotices(self._store)
        stack.push_async_callback(self._kept_notices.aclose)
        self._kept_notices.start()
        notice_urls = NoticeUrls()
        self._notices = Notices(
            devices, maker, notice_urls, self._kept_notices, events,
            address=self._http_origin, path=NOTICE_PATH,
        )  # fmt: skip
        self._commands = commands = Commands(
            devices, events,
            notices=self._notices, agents=AgentChoice(self._store, self._directory, catalog),
        )  # fmt: skip
        self._due = DueNotices(commands, devices)
        self._mqtt = MqttServer(
            mqtt_in_force, self._directory, self._sessions,
            commands=commands, shares=settings.shares, ledger=ledger, known=known, traces=self._traces,
        )  # fmt: skip
        self._mqtt.elsewhere = self._websockets
        self._telemetry = Telemetry(events, self._mqtt.publish, lambda: self._mqtt.connections["general"] > 0)
        stack.push_async_callback(self._telemetry.aclose)
        self._telemetry.start()

        self._directory.on_booted = self._booted
        self._directory.on_revoked = self._revoked
        self._directory.on_renewed = self._renewed
        self._directory.is_connected = self._sessions.connected
        stack.push_async_callback(self._mqtt.aclose)
        stack.push_async_callback(self._close_http)
        # Streams of events end by themselves, before the HTTP server has to cut them.
        stack.push_async_callback(self._feed.aclose)
        stack.callback(self._traces.close)
        self._feed.start(self._authenticator)
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
            self._store, self._directory, credentials, endpoints, settings.ota, shares=settings.shares,
            ledger=ledger, keepalive_s=settings.mqtt.keepalive_s, timezone=settings.server.timezone,
            keys=self._fleet.keys, offers=self._firmware.offers, log=self._fleet.log,
        )  # fmt: skip
        companion = CompanionEndpoints(
            self._companion,
            SharedTokens(shared_secrets(settings, self._environ)),
            self._authenticator,
            requests_per_minute=settings.companion.requests_per_minute,
        )
        sign_in = OpenIdLogin(
            self._people, lambda: credentials.key("openid sign-in"), settings.http.public_url
        )
        self._diagnosis = self._diagnose()
        stack.callback(self._diagnosis.close)
        self._diagnosis.start()
        recordings = self._files.recordings
        self.checks = ServerChecks(
            lambda: self.settings, endpoints, credentials, self._udp, lambda: self.device_host
        )
        installs = ModelInstalls(
            self._store, events, lambda: models_folder(self.settings.providers), self._put_managed_in_force
        )
        stack.push_async_callback(installs.aclose)
        parts = api.ApiParts(
            assets=self._firmware.assets,
            authenticator=self._authenticator,
            backups=self._backups,
            belonging=self._belonging,
            browsers=self._fleet.browsers,
            checks=self.checks,
            claims=self._fleet.claims,
            collect_files=self._files.collect,
            commands=commands,
            connections=self._fleet.connections,
            conversations=self._history,
            device_keys=self._fleet.keys,
            devices=self._fleet.registry,
            diagnostics=self._diagnostics(),
            directory=self._directory,
            endpoints=endpoints,
            events=self._feed,
            exports=ConversationExports(self._store),
            firmware=self._firmware.images,
            health=self.health,
            installs=installs,
            ledger=ledger,
            logs=self._log_feed,
            managed=self._managed,
            people=self._people,
            problems=self._diagnosis,
            recordings=recordings,
            reloading=lambda: self.reloading,
            reminders=reminders,
            replays=TurnReplays(
                lambda: self.settings,
                self._voices,
                self._history,
                self._files.recordings,
                self._directory.get,
            ),
            rollouts=self._firmware.rollouts,
            samples=VoiceSamples(lambda: self.settings, self._environ),
            screenshots=self._files.screenshots(
                commands, lambda known: self._belonging(known) or Belonging(), self._http_origin
            ),
            sessions=self._sessions,
            settings=lambda: self.settings,
            stages=StageTests(lambda: self.settings, self._environ),
            started_at=self._started_at,
            store=self._store,
            traces=self._traces,
            updates=self._firmware.updates(commands, self._http_origin),
            uploads=self._files.uploads,
        )
        web = build_app(
            provisioner=provisioner,
            directory=self._directory,
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
                *self._files.routes(ledger),
                *sight.routes(ledger),
                *FirmwareDownloads(self._firmware.downloads, self._firmware.links).routes(),
                *companion.routes(),
                *sign_in.routes(),
            ],
            api=LoadedOnUse(functools.partial(api.build, parts)),
        )
        self._http = HttpServer(
            web, http_in_force, shares=settings.shares, ledger=ledger, known=known, certificate=certificate,
            max_websocket_bytes=settings.mqtt.max_packet_bytes,
        )  # fmt: skip
        await self._http.start(sockets.http)

    def _diagnose(self) -> diagnosis.Diagnosis:
        """The checks that find problems."""
        checks = {
            "parts": diagnosis.parts(self.health),
            "database": diagnosis.database(self._store),
            "disk": diagnosis.disk(self.settings.server.data_dir),
            "certificates": diagnosis.certificates(lambda: self._certificates),
            "clock": diagnosis.clock(),
            "clock set back": diagnosis.clock_set_back(self._store),
            "moved ports": diagnosis.moved_ports(self._ports),
            "backups": diagnosis.old_backups(self._store, self.settings.backup, self._started_at),
            "language model": diagnosis.language_model(lambda: better_model(self.answering)),
            "devices over WebSocket": diagnosis.devices_over_websocket(self._store),
            "waiting devices": diagnosis.waiting_devices(self._store),
            "refusals": diagnosis.refusals(self._ledger.summary),
            "roll-outs": self._firmware.problems,
            "firmware": self._firmware.stuck,
        }
        return diagnosis.Diagnosis(self.problems, self._events, checks)

    def _diagnostics(self) -> Diagnostics:
        """The maker of archives."""
        return Diagnostics(
            Facts(
                settings=lambda: self.settings,
                environ=self._environ,
                health=self.health,
                diagnosis=self._diagnosis,
                lines=self.recent_lines,
                store=self._store,
                directory=self._directory,
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

    async def _sweep_ledger(self) -> None:
        self._ledger.sweep(time.monotonic())

    def _owner_of(self, device_id: str) -> str:
        """The account that the device belongs to; "" for nobody's."""
        device = self._directory.get(device_id)
        return device.owner_id if device is not None else ""

    def _http_origin(self, device_id: str) -> str | None:
        """The start of the HTTP address by which the device reaches this server."""
        device = self._directory.get(device_id)
        if device is None:
            return None
        host = self._endpoints.public_host or device.host
        return device.origin or (self._endpoints.http_origin(host) if host else None)

    def _belonging(self, device_id: str) -> Belonging | None:
        """The owner and group of a device; None when there is none of that id."""
        device = self._directory.get(device_id)
        if device is None:
            return None
        return Belonging(device.owner_id, device.group_id)

    def _keep_photo(self, device_id: str, session_id: str, photo: bytes) -> None:
        """Keeps the photo of a conversation whose sound is kept, too."""
        if self._recorder.records(session_id):
            belonging = self._belonging(device_id) or Belonging()
            work = self._files.keep_photo(device_id, session_id, belonging, photo)
            self._sessions.spawn(work, "storing of a photo", contextvars.copy_context())

    def _booted(self, device: DeviceInfo) -> None:
        self._sessions.booted(device.device_id)
        self._events.publish(
            DeviceBooted(device_id=device.device_id, board=device.board, firmware=device.firmware_version)
        )

    def _revoked(self, device_id: str) -> None:
        """The device is told goodbye before its connections, and those of its testers, end."""
        moved = self._directory.has_moved(device_id)
        try:
            self._sessions.disconnect(device_id, "revoked")
            if moved:
                self._sessions.forget_owner(device_id)
        finally:
            self._mqtt.disconnect(device_id, "revoked")
            self._websockets.disconnect(device_id, "revoked")
        self._events.publish(DeviceRevoked(device_id=device_id, moved=moved))

    def _audio_missing(self, device_id: str) -> None:
        """The device's UDP is blocked: it gets a WebSocket from its next boot on."""
        if self.settings.ota.fallback:
            work = use_websocket(self._store, self._directory, device_id)
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
        self.end_streams()
        if self._http is not None:
            self._http.stop_accepting()
        await self._stack.aclose()

    def end_streams(self) -> None:
        """Ends the streams of events, control traces and log lines, and refuses further ones."""
        self._feed.close()
        self._traces.close()
        self._log_feed.close()

    async def _close_http(self) -> None:
        self._websockets.close()
        if self._http is not None:
            await self._http.aclose()

    def _converse(self, agent: Agent) -> ConversationFactory:
        lease = self._voices.lease(agent.key)
        make = functools.partial(Conversation, services=lease.current(), renewal=lease)

        def recorded(setup: ConversationSetup) -> VoiceConversation:
            if not self._recorder.wants(setup.device.id, agent.settings):
                return make(setup)
            return self._recorder.record(make(setup), setup)

        return recorded

    async def reload(self, wanted: Settings) -> Changes:
        """Puts in force what of `wanted` can change at run time, for each device from its next turn on.

        The server's secret and certificates are read again, too, and addresses that were refused for wrong
        passwords may try again. No connection is dropped, but for those whose credentials ended with their
        secret. Raises ConfigError, ProviderError and StartupError; then nothing has changed.
        """
        async with self._changing:
            changes = compare(self._base, wanted)
            secrets = self._credentials.read()
            take_certificates = await self._certificates.read_again()
            merged = await asyncio.to_thread(self._managed.watched.merged, changes.settings)
            await self._voices.replace(merged.settings, in_background=merged.agents)
            renewed = (*take_certificates(), *self._take_secret(secrets))
            self._base = changes.settings
            self._put_in_force(merged)
        self._accounts.unlock()
        self._people.sign_in.unlock()
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
        if not self._credentials.take(secrets):
            return ()
        self._directory.secret_changed()
        self._managed.watched.look()  # keys of providers are encrypted with the new one
        if not self._credentials.overlaps:
            return ("the server's secret: rotated; every device needs new credentials",)
        until = datetime.fromtimestamp(self._credentials.old_until).astimezone()
        return (f"the server's secret: rotated; old credentials end by {until:%Y-%m-%d %H:%M}",)

    # ── what it is ──────────────────────────────────────────────────────────────────────────────────────

    def health(self) -> Mapping[str, PartHealth]:
        """Each part's state."""
        connections = self._mqtt.connections
        faults = "" if self._directory.healthy else ", changes of devices may go unnoticed"
        if self._store.failure:
            faults += f"; {self._store.failure}"
        if not self._turn_log.healthy:
            faults += f", {self._turn_log.dropped} turns not recorded"
        told = self._certificates.describe()
        failing = [what for what, healthy in self._watched.items() if not healthy()]
        return {
            "backup": PartHealth(self._backups.healthy, self._backups.told),
            "process": PartHealth(not failing, f"failed: {', '.join(failing)}" if failing else "running"),
            "http": PartHealth(
                self._http is not None and self._http.healthy and self._feed.healthy,
                f"port {self.http_port}; {len(self._websockets)} devices over WebSocket",
            ),
            "mqtt": PartHealth(
                self._mqtt.running and self._telemetry.healthy,
                f"port {self.mqtt_port}; {connections['device']} devices, {connections['general']} others",
            ),
            "files": self._files.health(),
            "firmware": self._firmware.health(),
            "notices": PartHealth(
                self._notices.healthy and self._kept_notices.healthy, f"{len(self._notices)} waiting"
            ),
            "people": PartHealth(self._people.healthy, "sessions, keys and audit"),
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
            "shares": PartHealth(self._refusals.healthy, self._ledger.summary() or "nobody is refused"),
            "store": PartHealth(
                all(part.healthy for part in (self._turn_log, self._directory, self._fleet, self._companion)),
                f"{len(self._directory)} devices{faults}",
            ),
        }

    async def setup_token(self) -> str | None:
        """The token of a one-time link that makes the first administrator; None when there is one. Raises
        StoreError."""
        return await self._people.links.for_setup(datetime.now(UTC))

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
