"""The embedded MQTT broker as a whole: listeners, gate, devices, general clients, and routing between them.

The composition root holds `MqttServer`. One supervised loop checks all time limits once a second.
"""

import asyncio
import json
import logging
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from mimi_mqtt import __version__
from mimi_mqtt.commands.runner import Commands
from mimi_mqtt.config.connections import MqttSettings, SharesSettings
from mimi_mqtt.descriptors import ACCEPTS_AT_ONCE, BACKLOG
from mimi_mqtt.errors import StartupError
from mimi_mqtt.fleet.identity import Authenticator, Identity, Role
from mimi_mqtt.session.link import ControlSink
from mimi_mqtt.shares import KnownAddresses, Ledger, Rates
from mimi_mqtt.supervision import SupervisedLoop
from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.transports.mqtt.access import may_publish, subject
from mimi_mqtt.transports.mqtt.background import Background
from mimi_mqtt.transports.mqtt.borders import GuardedSink, run_each
from mimi_mqtt.transports.mqtt.broker import EmbeddedBroker
from mimi_mqtt.transports.mqtt.command_topic import CommandTopic
from mimi_mqtt.transports.mqtt.counters import Counters
from mimi_mqtt.transports.mqtt.crowd import Crowd
from mimi_mqtt.transports.mqtt.device import DeviceConnection
from mimi_mqtt.transports.mqtt.gate import Admission, Gate, GateConnection, Handover
from mimi_mqtt.transports.mqtt.general import GeneralClients, Sender
from mimi_mqtt.transports.mqtt.pacing import Pacer, Work
from mimi_mqtt.transports.mqtt.retained import Owner
from mimi_mqtt.transports.mqtt.testers import Testers
from mimi_mqtt.transports.mqtt.tls import tls_factory
from mimi_mqtt.transports.mqtt.websocket import MqttWebSocket
from mimi_mqtt.wire.messages import redact
from mimi_mqtt.wire.mqtt import Will, encode_publish
from mimi_mqtt.wire.topics import STATUS, Leaf, device_topic, split_device_topic

_log = logging.getLogger(__name__)

_MESSAGE_LEAVES = ("up", "down", "event", "command", "reply")


class Elsewhere(Protocol):
    """Devices that are connected by another transport: `transports.websocket.WebSocketDevices`."""

    def push(self, device_id: str, payload: bytes) -> bool:
        """Sends a control message to the device; False when it is not connected there."""

    def speak_as(self, device_id: str, payload: bytes) -> bool:
        """Takes a message as the device's own; False when it is not connected there."""


class _Nowhere:
    """No other transport."""

    def push(self, device_id: str, payload: bytes) -> bool:
        return False

    def speak_as(self, device_id: str, payload: bytes) -> bool:
        return False


class MqttServer:
    """The embedded broker: made on the running loop; `await start(...)` once, then `await aclose()`.

    Devices reach `sink`, and requests on `…/command` reach `commands` when it is given. `clock` gives
    monotonic seconds and can be replaced in tests together with `sweep`. `ledger` and `known` are those of
    the whole process.
    """

    def __init__(
        self,
        settings: MqttSettings,
        authenticator: Authenticator,
        sink: ControlSink,
        clock: Callable[[], float] = time.monotonic,
        commands: Commands | None = None,
        *,
        shares: SharesSettings | None = None,
        ledger: Ledger | None = None,
        known: KnownAddresses | None = None,
    ) -> None:
        self.elsewhere: Elsewhere = _Nowhere()
        """Devices of another transport, to which messages are passed on."""
        shares, ledger = shares or SharesSettings(), ledger or Ledger()
        known = (
            KnownAddresses() if known is None else known
        )  # the process's one is empty, and false, at first
        self.settings = settings
        self.clock = clock
        self.counters = Counters(clock)
        self._sink = GuardedSink(sink, self.counters)
        handover = Handover(self._take_device, self._take_general, self._holds, self._connected)
        crowd: Crowd[GateConnection] = Crowd(settings, shares, ledger, known)
        self._gate = Gate(settings, authenticator, self.counters, clock, handover, crowd)
        self._broker = EmbeddedBroker(self.counters, settings.max_write_buffer_bytes, shares, ledger, clock)
        rates = Rates(shares.messages_per_s, max(1.0, shares.messages_per_s * limits.BURST_FACTOR))
        self._general = GeneralClients(self._gate, self._broker, self, Pacer(rates, ledger, clock))
        self._devices: dict[str, DeviceConnection] = {}
        self._testers = Testers(
            self._sink, self._general.testers, self._answer_testers, settings.device_messages_per_s
        )
        rate = settings.device_messages_per_s
        self._commands = (
            CommandTopic(commands, self._reply, self.counters, rate, clock) if commands is not None else None
        )
        self.websocket_app = MqttWebSocket(self._gate.connection)
        self._handshakes = Background(self.counters)
        self._servers: list[asyncio.Server] = []
        self._sweeper = SupervisedLoop("mqtt sweeper", self._sweep, every_s=limits.SWEEP_S)
        self._open = False

    # ── lifetime ────────────────────────────────────────────────────────────────────────────────────────

    async def start(self, tcp: socket.socket, tls: socket.socket | None = None) -> None:
        """Serves on bound sockets. Raises StartupError when the certificate can't be used."""
        factories: list[tuple[socket.socket, Callable[[], asyncio.Protocol]]] = [(tcp, self._gate.connection)]
        if tls is not None:
            context = _tls_context(self.settings)
            factories.append((tls, tls_factory(context, self._gate.connection, self._handshakes)))
        await self._broker.start()
        loop = asyncio.get_running_loop()
        for sock, factory in factories:
            # asyncio takes its backlog for the number of accepts in a row too.
            self._servers.append(await loop.create_server(factory, sock=sock, backlog=ACCEPTS_AT_ONCE))
            sock.listen(BACKLOG)
        self.websocket_app.open = True
        self.publish(STATUS, _status("online"), retain=True)
        self._open = True
        self._sweeper.start()

    def stop_accepting(self) -> None:
        """Refuses new connections; those that were admitted go on.

        New sockets are not accepted; a connection that has not finished its CONNECT is refused with return
        code 3, server unavailable (MQTT 3.1.1 section 3.2.2.3). Safe to call twice.
        """
        self.websocket_app.open = False
        self._gate.stop_accepting()
        for server in self._servers:
            server.close()

    async def aclose(self) -> None:
        """Stops accepting, says `offline`, ends every connection; safe to call twice."""
        self.stop_accepting()
        if not self._open:
            return
        self._open = False
        await self._sweeper.aclose()
        if self._commands is not None:
            await self._commands.aclose()
        self.publish(STATUS, _status("offline"), retain=True)
        self._testers.close_all("server stops")
        for device in list(self._devices.values()):
            device.close("server stops")
        await self._general.aclose()
        await self._broker.shutdown()
        self._handshakes.close()
        self._gate.abort_all()
        await self.websocket_app.aclose()

    async def _sweep(self) -> None:
        self.sweep(self.clock())

    def sweep(self, now: float) -> None:
        """Enforces every time limit as of `now`: CONNECT, keepalive, closing sockets, testers, sessions.

        Raises ExceptionGroup after all of them were looked at, when some failed.
        """
        devices = list(self._devices.values())
        run_each(
            "time limits",
            (
                partial(self._gate.sweep, now),
                *(partial(device.check_keepalive, now) for device in devices),
                partial(self._general.sweep, now),
                partial(self._testers.sweep, now),
                *((partial(self._commands.sweep, now),) if self._commands is not None else ()),
            ),
        )

    # ── for the rest of the server ──────────────────────────────────────────────────────────────────────

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        """Publishes to general clients with QoS 0; `retain` keeps it for later subscribers."""
        if retain:
            self._broker.retain(topic, payload, 0)
        self._broker.distribute(topic, payload, 0)

    def disconnect(self, device_id: str, reason: str) -> None:
        """Ends every connection with the device's credentials, after the bytes written to it before."""
        if (device := self._devices.get(device_id)) is not None:
            device.close(reason)
        self.disconnect_testers(device_id, reason)

    def disconnect_testers(self, device_id: str, reason: str) -> None:
        """Ends every connection with the device's credentials but its own."""
        self._general.disconnect_testers(device_id, reason)
        self._testers.close(device_id, reason)

    @property
    def running(self) -> bool:
        """True while connections are accepted and time limits are enforced."""
        return (
            bool(self._servers)
            and all(server.is_serving() for server in self._servers)
            and self._sweeper.healthy
        )

    @property
    def connections(self) -> Mapping[str, int]:
        """Open connections: `device` and `general` were admitted, `sockets` are all."""
        return {"device": len(self._devices), "general": len(self._general), "sockets": self._gate.open}

    @property
    def sessions(self) -> int:
        """The number of amqtt's sessions: of general clients connected, or away with a persistent one."""
        return len(self._broker.sessions)

    @property
    def subscriptions(self) -> int:
        """The number of different topic filters in subscriptions."""
        return self._broker.subscribed

    # ── handover ────────────────────────────────────────────────────────────────────────────────────────

    def _holds(self, identity: Identity, client_id: str) -> bool:
        if identity.role is Role.DEVICE:
            return identity.device_id in self._devices
        return self._general.holds(identity, client_id)

    def _connected(self, account: str) -> int:
        return self._general.connected(account)

    def _take_general(self, transport: asyncio.Transport, admission: Admission) -> None:
        self._general.take(transport, admission)

    def _take_device(self, transport: asyncio.Transport, admission: Admission) -> None:
        device_id = admission.identity.device_id
        if device_id is None:
            raise ValueError("an identity with the role DEVICE has a device id")
        if (old := self._devices.get(device_id)) is not None:
            old.close("taken over by a new connection of the same device")
        self._testers.close(device_id, "the device itself connected")
        device = DeviceConnection(self, transport, device_id, admission)
        self._devices[device_id] = device
        self.counters.connected["device"] += 1
        transport.set_protocol(device)
        if _log.isEnabledFor(logging.INFO):
            host, port, *_ = transport.get_extra_info("peername") or ("somewhere", 0)
            _log.info("device connected from %s:%d", host, port, extra={"device": device_id})
        self._sink.control_opened(device)
        device.start(admission)

    # ── DeviceHost ──────────────────────────────────────────────────────────────────────────────────────

    def device_message(self, device: DeviceConnection, payload: bytes) -> None:
        """Delivers a device's control message to its session, and shows it to watchers."""
        if len(self._general):
            self._mirror(device.device_id, "up", payload)
        self._sink.control_message(device, payload)

    def device_sent(self, device: DeviceConnection, payload: bytes) -> None:
        """Shows a control message that was pushed to a device to watchers."""
        if len(self._general):
            self._mirror(device.device_id, "down", payload)

    def device_closed(self, device: DeviceConnection, reason: str, will: Will | None) -> None:
        """Forgets a device; its will, which can only be a message of its own, is delivered first."""
        if self._devices.get(device.device_id) is device:
            del self._devices[device.device_id]
        self.counters.connected["device"] -= 1
        if will is not None:
            self.device_message(device, will.payload)
        _log.info("device left: %s", reason, extra={"device": device.device_id})
        self._sink.control_closed(device, reason)

    def finish(self, transport: asyncio.Transport) -> None:
        """Closes a device's transport."""
        self._gate.finish(transport)

    def released(self) -> None:
        """Counts off a device's socket."""
        self._gate.released()

    # ── PublishRouter ───────────────────────────────────────────────────────────────────────────────────

    def route(self, sender: Sender, topic: str, payload: bytes, qos: int, retain: bool) -> Work:
        """Routes a general client's message: to a device, as a device's, or to the topic's subscribers."""
        identity = sender.identity
        if not may_publish(identity, topic):
            detail = f"{subject(identity)} may not publish on {topic[:80]!r}: dropped"
            self.counters.limit("forbidden_publish", detail)
            return Work()
        device = split_device_topic(topic)
        if device is not None:
            device_id, leaf = device
            if leaf == "up" and identity.role is Role.TESTER:
                return self._as_device(device_id, sender.host, payload)
            if leaf == "down":
                return self._push(device_id, payload)
            # A message, unlike a state, must not reach a subscriber who comes an hour later.
            retain = retain and leaf not in _MESSAGE_LEAVES
        if retain:
            known = identity.role is not Role.ANONYMOUS
            self._broker.retain(topic, payload, qos, Owner(sender.account, known))
        work = self._broker.distribute(topic, payload, qos)
        if device is not None and device[1] == "command" and self._commands is not None:
            self._commands.received(identity, device[0], payload)  # after it was shown: before its reply
        return work

    def _as_device(self, device_id: str, host: str | None, payload: bytes) -> Work:
        if len(payload) > self.settings.max_device_packet_bytes:
            detail = f"{len(payload)} bytes as a message of {device_id}: dropped"
            self.counters.limit("tester_message_size", detail)
            return Work()
        now = self.clock()
        if not self._testers.allowed(device_id, now):
            self.counters.limit("message_rate", f"testers of {device_id} send too many messages: dropped")
            return Work()
        work = self._mirror(device_id, "up", payload)
        if (device := self._devices.get(device_id)) is not None:
            self._sink.control_message(device, payload)
        elif not self.elsewhere.speak_as(device_id, payload):
            self._testers.message(device_id, host, payload, now)
        return work

    def _push(self, device_id: str, payload: bytes) -> Work:
        if len(payload) > limits.MAX_PUSH_BYTES:
            detail = f"{len(payload)} bytes for {device_id}, {limits.MAX_PUSH_BYTES} allowed: dropped"
            self.counters.limit("push_size", detail)
        elif (device := self._devices.get(device_id)) is not None:
            device.send(payload)
        elif not self.elsewhere.push(device_id, payload):
            return self._mirror(device_id, "down", payload)
        return Work()

    def show(self, device_id: str, leaf: Leaf, payload: bytes) -> None:
        """Shows a message of a device that is connected otherwise to the clients that watch its topic."""
        if len(self._general):
            self._mirror(device_id, leaf, payload)

    # ── mirrors ─────────────────────────────────────────────────────────────────────────────────────────

    def _mirror(self, device_id: str, leaf: Leaf, payload: bytes, *, clear_for_testers: bool = False) -> Work:
        """Shows a device's message to the clients that watch its topic, keys hidden.

        A border: a fault here must not reach the device.
        """
        try:
            return self._show(device_id, leaf, payload, clear_for_testers)
        except Exception:  # noqa: BLE001 - the border between a device and its watchers
            self.counters.fault("mirror", f"mirroring a message of {device_id} failed")
            return Work()

    def _show(self, device_id: str, leaf: Leaf, payload: bytes, clear_for_testers: bool) -> Work:
        topic = device_topic(device_id, leaf)
        watchers, work = self._broker.recipients(topic)
        hidden = clear = b""
        for client in watchers:
            if clear_for_testers and client.identity.role is Role.TESTER:
                packet = clear = clear or encode_publish(topic, payload)
            else:
                packet = hidden = hidden or encode_publish(topic, redact(payload))
            self._broker.send(client, packet)
        return work

    def _reply(self, device_id: str, payload: bytes) -> None:
        self._broker.distribute(device_topic(device_id, "reply"), payload, 1)

    def _answer_testers(self, device_id: str, payload: bytes) -> None:
        self._mirror(device_id, "down", payload, clear_for_testers=True)


def _status(state: str) -> bytes:
    return json.dumps({"state": state, "version": __version__}, separators=(",", ":")).encode()


def _tls_context(settings: MqttSettings) -> ssl.SSLContext:
    if settings.tls_certificate is None or settings.tls_key is None:
        raise StartupError("mqtt.tls_certificate and mqtt.tls_key must be set for MQTT over TLS")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_RENEGOTIATION
    files = {"mqtt.tls_certificate": settings.tls_certificate, "mqtt.tls_key": settings.tls_key}
    for key, path in files.items():
        try:
            path.read_bytes()
        except OSError as error:
            raise StartupError(
                f"{key} {path} can't be read ({error.strerror}): set it to a file that this user may read; "
                "scripts/make-certs writes a certificate for development"
            ) from error
    try:
        # A password, so that OpenSSL does not ask for one on the terminal.
        context.load_cert_chain(settings.tls_certificate, settings.tls_key, password="")
    except (OSError, ssl.SSLError) as error:
        raise StartupError(
            f"{' and '.join(f'{key} {path}' for key, path in files.items())} can't be used ({error}): "
            "they must be a certificate chain and its own private key, in PEM and without a passphrase"
        ) from error
    return context
