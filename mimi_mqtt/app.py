"""The composition root: builds the parts, owns their lifetimes, starts and stops them in order.

Read `App.start` for what the server consists of. It goes away in the opposite order, so: stop accepting, let
the current sentences end, say goodbye to every session, flush the store, close.
"""

import asyncio
import functools
import logging
import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

from mimi_mqtt.audio.opus import libopus_version
from mimi_mqtt.config import Settings
from mimi_mqtt.errors import StartupError
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.fleet.directory import DeviceDirectory
from mimi_mqtt.fleet.provisioning import Endpoints, Provisioner
from mimi_mqtt.http.app import PartHealth, build_app
from mimi_mqtt.http.server import HttpServer
from mimi_mqtt.providers.base import Provider, TextToSpeech
from mimi_mqtt.providers.registry import build, resolve
from mimi_mqtt.providers.speech_cache import SpeechCache
from mimi_mqtt.session.manager import SessionManager
from mimi_mqtt.store.conversations import ConversationLog
from mimi_mqtt.store.engine import Store
from mimi_mqtt.transports.listening import open_tcp, open_udp, outward_address
from mimi_mqtt.transports.mqtt.server import MqttServer
from mimi_mqtt.transports.udp import UdpServer
from mimi_mqtt.voice.apologies import sentences as apology_sentences
from mimi_mqtt.voice.conversation import Conversation
from mimi_mqtt.voice.hearing import Hearing
from mimi_mqtt.voice.services import VoiceServices
from mimi_mqtt.voice.speech import SpeechEncoders
from mimi_mqtt.voice.spoken_apologies import SpokenApologies

_log = logging.getLogger(__name__)

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


class App:
    """One server: `await start()` once, then `await stop()` once. API keys come from `environ`."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self.settings = settings
        self._environ = environ
        self._stack = AsyncExitStack()

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
        sockets = Sockets.open(settings)
        for sock in (sockets.http, sockets.mqtt, sockets.mqtt_tls, sockets.udp):
            if sock is not None:
                stack.callback(sock.close)
        credentials = Credentials.load(settings.server.data_dir)

        self._store = Store(settings.database_url)
        stack.push_async_callback(self._store.aclose)
        await self._store.open()
        self._turn_log = ConversationLog(self._store, keep_days=settings.store.keep_conversations_days)
        stack.push_async_callback(self._turn_log.aclose)
        await self._turn_log.start()
        self._directory = DeviceDirectory(self._store, credentials, settings.accounts)
        stack.push_async_callback(self._directory.aclose)
        await self._directory.start()

        services = await self._start_voice()
        self._udp = UdpServer(settings.udp)
        stack.push_async_callback(self._udp.aclose)
        await self._udp.start(sockets.udp)
        self._sessions = SessionManager(
            settings,
            devices=self._directory,
            audio_transports={"udp": self._udp},
            converse=functools.partial(Conversation, services=services),
        )
        self._mqtt = MqttServer(settings.mqtt, self._directory, self._sessions)
        self._directory.on_revoked = lambda device_id: self._mqtt.disconnect(device_id, "revoked")
        self._directory.is_connected = self._mqtt.connected
        stack.push_async_callback(self._mqtt.aclose)
        # Goodbyes travel over MQTT: sessions end before it does.
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
        )
        provisioner = Provisioner(
            self._store, self._directory, credentials, endpoints, settings.ota,
            keepalive_s=settings.mqtt.keepalive_s, timezone=settings.server.timezone,
        )  # fmt: skip
        web = build_app(
            provisioner=provisioner,
            directory=self._directory,
            health=self.health,
            mqtt_websocket=self._mqtt.websocket_app,
            settings=settings.http,
        )
        self._http = HttpServer(web, settings.http, max_websocket_bytes=settings.mqtt.max_packet_bytes)
        stack.push_async_callback(self._http.aclose)
        await self._http.start(sockets.http)

    async def _start_voice(self) -> VoiceServices:
        settings, stack = self.settings, self._stack
        vad = build("vad", settings.providers, self._environ)
        stt = build("stt", settings.providers, self._environ)
        llm = build("llm", settings.providers, self._environ)
        tts = build("tts", settings.providers, self._environ, await self._open_speech_cache())
        started: tuple[Provider, ...] = (vad, stt, llm, tts)
        for provider in started:
            stack.push_async_callback(provider.aclose)
        try:
            async with asyncio.TaskGroup() as group:
                for provider in started:
                    group.create_task(provider.start(), name=f"start {provider.name}")
        except ExceptionGroup as failures:
            # The first tells enough: a person mends one thing at a time.
            raise failures.exceptions[0] from None
        apologies = self._apologies(tts)
        stack.push_async_callback(apologies.aclose)
        hearing = Hearing(vad, settings.voice.audio_threads)
        stack.push_async_callback(hearing.aclose)
        encoders = SpeechEncoders(
            settings.voice.opus_bitrate, settings.voice.opus_complexity, settings.voice.audio_threads
        )
        stack.callback(encoders.close)
        return VoiceServices(
            stt=stt,
            llm=llm,
            tts=tts,
            hearing=hearing,
            encoders=encoders,
            log=self._turn_log,
            voice=settings.voice,
            assistant=settings.assistant,
            session=settings.session,
            timezone=settings.server.timezone,
            spoken_apologies=apologies,
        )

    async def _open_speech_cache(self) -> SpeechCache | None:
        settings = self.settings
        if not settings.providers.cache_mb:
            return None
        cache = SpeechCache(settings.server.data_dir / "cache" / "speech", settings.providers.cache_mb << 20)
        self._stack.push_async_callback(cache.aclose)
        await cache.start()
        cache.always((settings.assistant.greeting, *apology_sentences()))
        return cache

    def _apologies(self, tts: TextToSpeech) -> SpokenApologies:
        """Those of the server's language are made now, in the background; others when they are needed."""
        providers = self.settings.providers
        spare: TextToSpeech | None = None
        if "offline" not in self.providers["tts"]:
            spare = build("tts", providers.model_copy(update={"tts": ("offline",)}), self._environ)
            self._stack.push_async_callback(spare.aclose)
        apologies = SpokenApologies(tts, spare, self.settings.assistant)
        apologies.prepare(self.settings.server.language)
        return apologies

    async def stop(self) -> None:
        """Stops everything in order, bounded in time; what fails to stop does not keep the rest running."""
        await self._stack.aclose()

    # ── what it is ──────────────────────────────────────────────────────────────────────────────────────

    def health(self) -> Mapping[str, PartHealth]:
        """Each part's state, for /healthz and the web page."""
        connections = self._mqtt.connections
        turns = "" if self._turn_log.healthy else f", {self._turn_log.dropped} turns not recorded"
        return {
            "http": PartHealth(self._http.healthy, f"port {self.http_port}"),
            "mqtt": PartHealth(
                self._mqtt.running,
                f"port {self.mqtt_port}; {connections['device']} devices, {connections['general']} others",
            ),
            "udp": PartHealth(self._udp.running, f"port {self._udp.port}; {self._udp.count} channels"),
            "sessions": PartHealth(True, f"{self._sessions.count} live"),
            "store": PartHealth(
                self._turn_log.healthy and self._directory.healthy, f"{len(self._directory)} devices{turns}"
            ),
        }

    @property
    def providers(self) -> Mapping[str, tuple[str, ...]]:
        """Who hears, thinks and speaks: names by role, in the order in which they are asked."""
        settings, environ = self.settings.providers, self._environ
        return {
            "vad": resolve("vad", settings, environ),
            "stt": resolve("stt", settings, environ),
            "llm": resolve("llm", settings, environ),
            "tts": resolve("tts", settings, environ),
        }

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
