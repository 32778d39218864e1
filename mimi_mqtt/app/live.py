"""Sessions of devices and their transports, as one part of the server."""

import contextvars
import socket
from contextlib import AsyncExitStack

from mimi_mqtt.app.fleet import FleetParts
from mimi_mqtt.app.foundation import Foundation
from mimi_mqtt.app.voices import Voices
from mimi_mqtt.commands.runner import Commands
from mimi_mqtt.config import MqttSettings, Settings
from mimi_mqtt.events import DeviceBooted, DeviceRevoked
from mimi_mqtt.fleet.agents import AgentCatalog
from mimi_mqtt.fleet.directory import DeviceInfo
from mimi_mqtt.fleet.fallback import use_websocket
from mimi_mqtt.http.health import PartHealth
from mimi_mqtt.session.glyphs.push import GlyphPusher
from mimi_mqtt.session.last_sessions import LastSessions
from mimi_mqtt.session.manager import SessionManager
from mimi_mqtt.session.trace import ControlTraces
from mimi_mqtt.tools.reminders.tools import ReminderTools
from mimi_mqtt.transports.mqtt.server import MqttServer
from mimi_mqtt.transports.mqtt.telemetry import Telemetry
from mimi_mqtt.transports.udp import UdpServer
from mimi_mqtt.transports.websocket import WebSocketDevices


class Live:
    """The sessions, and their transports: MQTT with audio over UDP, and WebSockets.

    `open` starts the audio and the sessions, `join` makes the broker, which needs the commands. The caller
    starts the broker, and closes broker and sessions: other parts start and stop between them.
    """

    def __init__(self, settings: Settings, foundation: Foundation, fleet: FleetParts) -> None:
        self._settings = settings
        self._foundation = foundation
        self._directory = fleet.directory
        self.udp = UdpServer(settings.udp, fleet.directory.master_key)
        self._last_sessions = LastSessions(foundation.store)
        # The sessions are made with this transport, the broker with the sessions.
        self.websockets = WebSocketDevices(
            settings, fleet.directory, lambda: self.sessions, lambda *shown: self.mqtt.show(*shown),
            foundation.known,
        )  # fmt: skip

    async def open(
        self,
        sock: socket.socket,
        stack: AsyncExitStack,
        *,
        agents: AgentCatalog,
        voices: Voices,
        glyphs: GlyphPusher,
        reminders: ReminderTools,
    ) -> None:
        """Receives audio on `sock`, a UDP socket, until `stack` ends it, and makes the sessions. Raises
        StoreError."""
        stack.push_async_callback(self.udp.aclose)
        await self.udp.start(sock)
        stack.push_async_callback(self._last_sessions.aclose)
        await self._last_sessions.start()
        self.sessions = SessionManager(
            self._settings,
            devices=self._directory,
            audio_transports={"udp": self.udp, "websocket": self.websockets},
            agents=agents,
            converse=voices.converse,
            last=self._last_sessions,
            events=self._foundation.events,
            ledger=self._foundation.ledger,
            glyphs=glyphs,
            reminders=reminders,
        )
        self.sessions.on_audio_missing = self._audio_missing

    def join(
        self, settings: MqttSettings, commands: Commands, traces: ControlTraces, stack: AsyncExitStack
    ) -> None:
        """Makes the broker, publishes events there until `stack` ends it, and has the directory's changes
        reach connected devices."""
        foundation, directory = self._foundation, self._directory
        self.mqtt = MqttServer(
            settings, directory, self.sessions,
            commands=commands, shares=self._settings.shares, ledger=foundation.ledger,
            known=foundation.known, traces=traces,
        )  # fmt: skip
        self.mqtt.elsewhere = self.websockets
        self._telemetry = Telemetry(
            foundation.events, self.mqtt.publish, lambda: self.mqtt.connections["general"] > 0
        )
        stack.push_async_callback(self._telemetry.aclose)
        self._telemetry.start()
        directory.on_booted = self._booted
        directory.on_revoked = self._revoked
        directory.on_renewed = self._renewed
        directory.is_connected = self.sessions.connected

    def stop_accepting(self) -> None:
        """Refuses new connections of devices; those that are open go on."""
        self.mqtt.stop_accepting()
        self.websockets.stop_accepting()

    def mqtt_health(self, port: int) -> PartHealth:
        """The health of the broker on `port`, and who is connected."""
        connections = self.mqtt.connections
        return PartHealth(
            self.mqtt.running and self._telemetry.healthy,
            f"port {port}; {connections['device']} devices, {connections['general']} others",
        )

    def udp_health(self) -> PartHealth:
        """The health of the audio over UDP."""
        return PartHealth(self.udp.running, f"port {self.udp.port}; {self.udp.count} channels")

    def sessions_health(self) -> PartHealth:
        """The health of the sessions, and how many there are."""
        healthy = self.sessions.healthy and self._last_sessions.healthy
        return PartHealth(healthy, f"{self.sessions.count} live")

    def _booted(self, device: DeviceInfo) -> None:
        self.sessions.booted(device.device_id)
        self._foundation.events.publish(
            DeviceBooted(device_id=device.device_id, board=device.board, firmware=device.firmware_version)
        )

    def _revoked(self, device_id: str) -> None:
        """The device is told goodbye before its connections, and those of its testers, end."""
        moved = self._directory.has_moved(device_id)
        try:
            self.sessions.disconnect(device_id, "revoked")
            if moved:
                self.sessions.forget_owner(device_id)
        finally:
            self.mqtt.disconnect(device_id, "revoked")
            self.websockets.disconnect(device_id, "revoked")
        self._foundation.events.publish(DeviceRevoked(device_id=device_id, moved=moved))

    def _renewed(self, device_id: str) -> None:
        """The device uses the credentials of a new secret: its testers may still hold old ones."""
        self.mqtt.disconnect_testers(device_id, "the server's secret was rotated")

    def _audio_missing(self, device_id: str) -> None:
        """The device's UDP is blocked: it gets a WebSocket from its next boot on."""
        if self._settings.ota.fallback:
            work = use_websocket(self._foundation.store, self._directory, device_id)
            self.sessions.spawn(work, "fallback to WebSocket", contextvars.copy_context())
