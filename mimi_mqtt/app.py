"""The composition root: builds the parts, owns their lifetimes, starts and stops them in order.

Read `App.start` for what the server consists of. It goes away in the opposite order, so: stop accepting, let
the current sentences end, say goodbye to every session, flush the store, close.
"""

import asyncio
import contextvars
import functools
import logging
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from mimi_mqtt import descriptors
from mimi_mqtt.audio.opus import libopus_version
from mimi_mqtt.commands.model import TIMER, Say
from mimi_mqtt.commands.runner import Commands
from mimi_mqtt.config import Settings
from mimi_mqtt.config.agents import DEFAULT_AGENT
from mimi_mqtt.config.changes import Changes, compare
from mimi_mqtt.errors import StartupError, StoreError
from mimi_mqtt.events import DeviceBooted, DeviceRevoked, EventBus
from mimi_mqtt.fleet.accounts import Accounts
from mimi_mqtt.fleet.administration import fall_back
from mimi_mqtt.fleet.agents import Agent, AgentCatalog, ProvisionedAgents
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.fleet.directory import DeviceDirectory, DeviceInfo
from mimi_mqtt.fleet.provisioning import Endpoints, Provisioner
from mimi_mqtt.fleet.secret_files import Secrets
from mimi_mqtt.http.app import PartHealth, build_app
from mimi_mqtt.http.server import HttpServer
from mimi_mqtt.memory.recent import RecentTurns
from mimi_mqtt.providers.catalog.advice import better_model
from mimi_mqtt.providers.catalog.selection import Selection, select_providers
from mimi_mqtt.providers.runtime.unloading import IdleUnloading
from mimi_mqtt.session.control import LiveDevices
from mimi_mqtt.session.last_sessions import LastSessions
from mimi_mqtt.session.manager import SessionManager
from mimi_mqtt.session.session import ConversationFactory
from mimi_mqtt.shares import KnownAddresses, Ledger
from mimi_mqtt.store.conversations import ConversationLog
from mimi_mqtt.store.engine import Store
from mimi_mqtt.supervision import SupervisedLoop
from mimi_mqtt.transports.listening import open_tcp, open_udp, outward_address
from mimi_mqtt.transports.mqtt.server import MqttServer
from mimi_mqtt.transports.mqtt.telemetry import Telemetry
from mimi_mqtt.transports.udp import UdpServer
from mimi_mqtt.transports.websocket import PATH, WebSocketDevices
from mimi_mqtt.voice.conversation import Conversation
from mimi_mqtt.voice.pool import VoicePool
from mimi_mqtt.voice.speech.phrases import greetings

_log = logging.getLogger(__name__)

_LEDGER_S = 5.0

_ALL_ADDRESSES = ("0.0.0.0", "::")


@dataclass(frozen=True, slots=True)
class Sockets:
    """The server's sockets, bound before anything else starts: a taken port ends the start at once."""

    http: socket.socket
    mqtt: socket.socket
    mqtt_tls: socket.socket | None
    udp: socket.socket

    @classmethod
    def open(cls, settings: Settings) -> "Sockets":
        """Binds what `settings` asks for. Raises StartupError; then none stays open."""
        opened: list[socket.socket] = []

        def keep(sock: socket.socket) -> socket.socket:
            opened.append(sock)
            return sock

        mqtt, udp = settings.mqtt, settings.udp
        try:
            # HTTP first: it can't move, and most likely tells that a server is running already.
            return cls(
                http=keep(open_tcp(settings.http.bind, "http.bind")),
                mqtt=keep(open_tcp(mqtt.bind, "mqtt.bind", movable="bind" not in mqtt.model_fields_set)),
                mqtt_tls=keep(
                    open_tcp(mqtt.tls_bind, "mqtt.tls_bind", movable="tls_bind" not in mqtt.model_fields_set)
                )
                if mqtt.tls_certificate is not None
                else None,
                udp=keep(open_udp(udp.bind, "udp.bind", movable="bind" not in udp.model_fields_set)),
            )
        except StartupError:
            for sock in opened:
                sock.close()
            raise


def _announce(commands: Commands, device_id: str, text: str) -> bool:
    """Tells a device that a timer is due; False: it can't be told now."""
    return commands.run_now(Say(device_id=device_id, text=text), by=TIMER).status == "done"


class App:
    """One server: `await start()` once, then `await stop()` once. API keys come from `environ`."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self.settings = settings
        self._environ = environ
        self._stack = AsyncExitStack()
        self._watched: dict[str, Callable[[], bool]] = {}
        self._http: HttpServer | None = None

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
        mqtt_in_force, http_in_force = descriptors.provide(settings)
        self._report_accepts(stack)
        sockets = Sockets.open(settings)
        for sock in (sockets.http, sockets.mqtt, sockets.mqtt_tls, sockets.udp):
            if sock is not None:
                stack.callback(sock.close)
        self._credentials = credentials = Credentials.load(settings.server.data_dir)
        self._events = events = EventBus()
        self._ledger = ledger = Ledger()
        self._known = known = KnownAddresses()
        self._refusals = SupervisedLoop("ledger of refusals", self._sweep_ledger, every_s=_LEDGER_S)
        stack.push_async_callback(self._refusals.aclose)
        self._refusals.start()

        self._store = Store(settings.database_url)
        stack.push_async_callback(self._store.aclose)
        await self._store.open()
        self._turn_log = ConversationLog(
            self._store,
            keep_days=settings.store.keep_conversations_days,
            max_size_mb=settings.store.max_size_mb,
        )
        stack.push_async_callback(self._turn_log.aclose)
        await self._turn_log.start()
        self._accounts = Accounts(settings.accounts, settings.shares, ledger)
        stack.callback(self._accounts.close)
        self._directory = DeviceDirectory(self._store, credentials, self._accounts)
        stack.push_async_callback(self._directory.aclose)
        await self._directory.start()

        memory = self._memory = RecentTurns(
            self._store,
            greetings=greetings(settings.every_agent.values()),
            timezone=settings.server.timezone,
        )
        self._voices = VoicePool(settings, self._environ, self._turn_log, memory, events, ledger=ledger)
        stack.push_async_callback(self._voices.aclose)
        await self._voices.start()
        unloading = IdleUnloading(lambda: self.settings.providers.unload_idle_min)
        self.watch("unloading of idle models", lambda: unloading.healthy)
        stack.push_async_callback(unloading.aclose)
        unloading.start()
        self._provisioned = ProvisionedAgents(settings.every_agent)
        self._udp = UdpServer(settings.udp, self._directory.master_key)
        stack.push_async_callback(self._udp.aclose)
        await self._udp.start(sockets.udp)
        last_sessions = LastSessions(self._store)
        stack.push_async_callback(last_sessions.aclose)
        await last_sessions.start()
        self._last_sessions = last_sessions
        self._websockets = WebSocketDevices(
            settings, self._directory, lambda: self._sessions, lambda *shown: self._mqtt.show(*shown)
        )
        self._sessions = SessionManager(
            settings,
            devices=self._directory,
            audio_transports={"udp": self._udp, "websocket": self._websockets},
            agents=AgentCatalog(self._provisioned),
            converse=self._converse,
            last=last_sessions,
            events=events,
            ledger=ledger,
        )
        self._sessions.on_audio_missing = self._audio_missing
        commands = Commands(LiveDevices(self._sessions), events)
        self._sessions.announcer = functools.partial(_announce, commands)
        self._mqtt = MqttServer(
            mqtt_in_force, self._directory, self._sessions,
            commands=commands, shares=settings.shares, ledger=ledger, known=known,
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
        # Goodbyes travel over MQTT and WebSockets: sessions end before these do.
        stack.push_async_callback(self._sessions.aclose)
        await self._mqtt.start(sockets.mqtt, sockets.mqtt_tls)

        self.http_port = int(sockets.http.getsockname()[1])
        self.mqtt_port = int(sockets.mqtt.getsockname()[1])
        self.mqtt_tls_port = int(sockets.mqtt_tls.getsockname()[1]) if sockets.mqtt_tls is not None else None
        endpoints = Endpoints(
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
        )  # fmt: skip
        web = build_app(
            provisioner=provisioner,
            directory=self._directory,
            health=self.health,
            mqtt_websocket=self._mqtt.websocket_app,
            device_websocket=self._websockets,
            device_path=PATH,
            settings=http_in_force,
            ledger=ledger,
            advice=lambda: better_model(self.answering),
        )
        self._http = HttpServer(
            web, http_in_force, shares=settings.shares, ledger=ledger, known=known,
            max_websocket_bytes=settings.mqtt.max_packet_bytes,
        )  # fmt: skip
        await self._http.start(sockets.http)

    @staticmethod
    def _report_accepts(stack: AsyncExitStack) -> None:
        """Has connections that can't be accepted reported by one log line, until the end."""
        loop = asyncio.get_running_loop()
        before = loop.get_exception_handler()
        loop.set_exception_handler(descriptors.AcceptFailures())
        stack.callback(loop.set_exception_handler, before)

    async def _sweep_ledger(self) -> None:
        self._ledger.sweep(time.monotonic())

    def _booted(self, device: DeviceInfo) -> None:
        self._sessions.booted(device.device_id)
        self._events.publish(
            DeviceBooted(device_id=device.device_id, board=device.board, firmware=device.firmware_version)
        )

    def _revoked(self, device_id: str) -> None:
        """The device is told goodbye before its connections, and those of its testers, end."""
        try:
            self._sessions.disconnect(device_id, "revoked")
        finally:
            self._mqtt.disconnect(device_id, "revoked")
            self._websockets.disconnect(device_id, "revoked")
        self._events.publish(DeviceRevoked(device_id=device_id))

    def _audio_missing(self, device_id: str) -> None:
        """The device's UDP is blocked: it gets a WebSocket from its next boot on."""
        if self.settings.ota.fallback:
            work = self._use_websocket(device_id)
            self._sessions.spawn(work, "fallback to WebSocket", contextvars.copy_context())

    async def _use_websocket(self, device_id: str) -> None:
        try:
            device = await fall_back(self._store, device_id, datetime.now(UTC))
        except StoreError as error:
            _log.warning("the device could not be given a WebSocket: %s", error, extra={"device": device_id})
            return
        if device is not None:
            self._directory.apply(device)
            _log.warning(
                "the device gets a WebSocket at its next boot; to go back: mimi-mqtt devices set %s "
                "--transport default",
                device_id,
                extra={"device": device_id},
            )

    def _renewed(self, device_id: str) -> None:
        """The device uses the credentials of a new secret: its testers may still hold old ones."""
        self._mqtt.disconnect_testers(device_id, "the server's secret was rotated")

    async def stop(self) -> None:
        """Stops everything in order, bounded in time; what fails to stop does not keep the rest running.

        New connections are refused before anything else, so that no device begins what would be cut off.
        """
        self._mqtt.stop_accepting()
        self._websockets.stop_accepting()
        if self._http is not None:
            self._http.stop_accepting()
        await self._stack.aclose()

    async def _close_http(self) -> None:
        self._websockets.close()
        if self._http is not None:
            await self._http.aclose()

    def _converse(self, agent: Agent) -> ConversationFactory:
        lease = self._voices.lease(agent.key)
        return functools.partial(Conversation, services=lease.current(), renewal=lease)

    async def reload(self, wanted: Settings) -> Changes:
        """Puts in force what of `wanted` can change at run time, for each device from its next turn on.

        The server's secret is read again, too, and addresses that were refused for wrong passwords may try
        again. No connection is dropped, but for those whose credentials ended with their secret. Raises
        ConfigError, ProviderError and StartupError; then nothing has changed.
        """
        changes = compare(self.settings, wanted)
        settings = changes.settings
        secrets = self._credentials.read()
        await self._voices.replace(settings)
        rotated = self._take_secret(secrets)
        self.settings = settings
        self._memory.know_greetings(greetings(settings.every_agent.values()))
        self._provisioned.replace(settings.every_agent)
        self._sessions.reconfigure(settings)
        self._accounts.unlock()
        return changes if rotated is None else replace(changes, effective=(*changes.effective, rotated))

    def _take_secret(self, secrets: Secrets) -> str | None:
        """Takes over a secret that was rotated; returns a line that tells so."""
        if not self._credentials.take(secrets):
            return None
        self._directory.secret_changed()
        if not self._credentials.overlaps:
            return "the server's secret: rotated; every device needs new credentials"
        until = datetime.fromtimestamp(self._credentials.old_until).astimezone()
        return f"the server's secret: rotated; old credentials end by {until:%Y-%m-%d %H:%M}"

    # ── what it is ──────────────────────────────────────────────────────────────────────────────────────

    def health(self) -> Mapping[str, PartHealth]:
        """Each part's state, for /healthz and the web page."""
        connections = self._mqtt.connections
        faults = "" if self._directory.healthy else ", changes of devices may go unnoticed"
        if not self._turn_log.healthy:
            faults += f", {self._turn_log.dropped} turns not recorded"
        failing = [what for what, healthy in self._watched.items() if not healthy()]
        return {
            "process": PartHealth(not failing, f"failed: {', '.join(failing)}" if failing else "running"),
            "http": PartHealth(
                self._http is not None and self._http.healthy,
                f"port {self.http_port}; {len(self._websockets)} devices over WebSocket",
            ),
            "mqtt": PartHealth(
                self._mqtt.running and self._telemetry.healthy,
                f"port {self.mqtt_port}; {connections['device']} devices, {connections['general']} others",
            ),
            "udp": PartHealth(self._udp.running, f"port {self._udp.port}; {self._udp.count} channels"),
            "sessions": PartHealth(
                self._sessions.healthy and self._last_sessions.healthy, f"{self._sessions.count} live"
            ),
            "shares": PartHealth(self._refusals.healthy, self._ledger.summary() or "nobody is refused"),
            "store": PartHealth(
                self._turn_log.healthy and self._directory.healthy, f"{len(self._directory)} devices{faults}"
            ),
        }

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
