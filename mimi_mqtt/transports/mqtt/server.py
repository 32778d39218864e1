"""The embedded MQTT broker as a whole: listeners, gate, devices, general clients, and routing between them.

The composition root holds `MqttServer`. One supervised loop checks all time limits once a second.
"""

import asyncio
import json
import logging
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Protocol

from mimi_mqtt import __version__
from mimi_mqtt.background import Background
from mimi_mqtt.commands.runner import Commands
from mimi_mqtt.config.bind import before_port
from mimi_mqtt.config.connections import MqttSettings, SharesSettings
from mimi_mqtt.descriptors import ACCEPTS_AT_ONCE, BACKLOG
from mimi_mqtt.errors import StartupError
from mimi_mqtt.fleet.identity import Authenticator, Identity, Role
from mimi_mqtt.session.link import ControlSink
from mimi_mqtt.session.trace import ControlTraces
from mimi_mqtt.shares import KnownAddresses, Ledger, Rates
from mimi_mqtt.supervision import SupervisedLoop
from mimi_mqtt.tls.certificate import ServerCertificate
from mimi_mqtt.tls.transport import tls_factory
from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.transports.mqtt.access import may_publish, subject
from mimi_mqtt.transports.mqtt.addresses import peer_host
from mimi_mqtt.transports.mqtt.borders import GuardedSink, run_each
from mimi_mqtt.transports.mqtt.broker import EmbeddedBroker
from mimi_mqtt.transports.mqtt.client import Sender
from mimi_mqtt.transports.mqtt.command_topic import CommandTopic
from mimi_mqtt.transports.mqtt.counters import Counters
from mimi_mqtt.transports.mqtt.crowd import Crowd
from mimi_mqtt.transports.mqtt.device import DeviceConnection
from mimi_mqtt.transports.mqtt.device5 import DeviceConnection5
from mimi_mqtt.transports.mqtt.gate import Admission, Gate, GateConnection, Handover
from mimi_mqtt.transports.mqtt.general import GeneralClients
from mimi_mqtt.transports.mqtt.message import Message
from mimi_mqtt.transports.mqtt.mirrors import Mirrors
from mimi_mqtt.transports.mqtt.pacing import Outcome, Pacer, Work
from mimi_mqtt.transports.mqtt.retained import Owner
from mimi_mqtt.transports.mqtt.testers import Testers
from mimi_mqtt.transports.mqtt.websocket import MqttWebSocket
from mimi_mqtt.wire.mqtt import Will
from mimi_mqtt.wire.mqtt_reasons import Reason
from mimi_mqtt.wire.topics import STATUS, Leaf, split_device_topic

_log = logging.getLogger(__name__)

_NOT_RETAINED = "sent, but not retained: you have shares.retained_messages_per_account: clear others"
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
    monotonic seconds and can be replaced in tests together with `sweep`. `ledger`, `known` and `traces` are
    those of the whole process.
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
        traces: ControlTraces | None = None,
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
        self._traces = traces if traces is not None else ControlTraces()
        self._sink = GuardedSink(sink, self.counters)
        handover = Handover(self._take_device, self._take_general, self._holds, self._connected)
        crowd: Crowd[GateConnection] = Crowd(settings, shares, ledger, known)
        self._gate = Gate(settings, authenticator, self.counters, clock, handover, crowd)
        self._broker = EmbeddedBroker(self.counters, settings.client_buffer_bytes, shares, ledger, clock)
        rates = Rates(shares.messages_per_s, max(1.0, shares.messages_per_s * limits.BURST_FACTOR))
        self._general = GeneralClients(self._gate, self._broker, self, Pacer(rates, ledger, clock))
        self._devices: dict[str, DeviceConnection] = {}
        self._mirrors = Mirrors(self._broker, self.counters)
        self._testers = Testers(
            self._sink, self._general.testers, self._answer_testers, settings.device_messages_per_s
        )
        rate = settings.device_messages_per_s
        self._commands = None
        if commands is not None:
            self._commands = CommandTopic(commands, self._broker.distribute, self.counters, rate, clock)
        self.websocket_app = MqttWebSocket(self._gate.connection)
        self.certificate: ServerCertificate | None = None
        """The certificate of MQTT over TLS, from `start` on, if that is served."""
        self._handshakes = Background(self.counters)
        self._servers: list[asyncio.Server] = []
        self._sweeper = SupervisedLoop("mqtt sweeper", self._sweep, every_s=limits.SWEEP_S)
        self._open = False

    # ── lifetime ────────────────────────────────────────────────────────────────────────────────────────

    async def start(self, tcp: socket.socket, tls: socket.socket | None = None) -> None:
        """Serves on bound sockets. Raises StartupError when the certificate can't be used."""
        factories: list[tuple[socket.socket, Callable[[], asyncio.Protocol]]] = [(tcp, self._gate.connection)]
        if tls is not None:
            certificate = self.certificate = _certificate(self.settings)
            over_tls = tls_factory(lambda: certificate.context, self._gate.connection, self._handshakes)
            factories.append((tls, over_tls))
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
            device.close("server stops", Reason.SERVER_SHUTTING_DOWN)
        await self._general.aclose()
        self._broker.close()
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
        message = Message(topic, payload, 0, retain)
        if retain:
            self._broker.retain(message)
        self._broker.distribute(message)

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
        """The number of sessions of general clients that are connected, or away and kept."""
        return self._broker.sessions

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
            old.close("taken over by a new connection of the same device", Reason.SESSION_TAKEN_OVER)
        self._testers.close(device_id, "the device itself connected")
        by_version = DeviceConnection5 if admission.connect.protocol_level == 5 else DeviceConnection
        device = by_version(self, transport, device_id, admission)
        self._devices[device_id] = device
        self.counters.connected["device"] += 1
        transport.set_protocol(device)
        if _log.isEnabledFor(logging.INFO):
            _, port, *_ = transport.get_extra_info("peername") or ("", 0)
            host = before_port(peer_host(transport) or "somewhere")
            _log.info("device connected from %s:%d", host, port, extra={"device": device_id})
        self._sink.control_opened(device)
        device.start(admission)

    # ── DeviceHost ──────────────────────────────────────────────────────────────────────────────────────

    def device_message(self, device: DeviceConnection, payload: bytes) -> None:
        """Delivers a device's control message to its session, and shows it to watchers."""
        self.show(device.device_id, "up", payload)
        self._sink.control_message(device, payload)

    def device_sent(self, device: DeviceConnection, payload: bytes) -> None:
        """Shows a control message that was pushed to a device to watchers."""
        self.show(device.device_id, "down", payload)

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

    def route(self, sender: Sender, message: Message) -> Outcome:
        """Routes a general client's message: to a device, as a device's, or to the topic's subscribers."""
        identity, topic = sender.identity, message.topic
        if not may_publish(identity, topic):
            detail = f"{subject(identity)} may not publish on {topic[:80]!r}: dropped"
            self.counters.limit("forbidden_publish", detail)
            return Outcome(Work(), Reason.NOT_AUTHORIZED, f"you may not publish on {topic[:80]!r}")
        device = split_device_topic(topic)
        if device is not None:
            device_id, leaf = device
            if leaf == "up" and identity.role is Role.TESTER:
                return self._as_device(device_id, sender, message.payload)
            if leaf == "down":
                return self._push(device_id, sender, message.payload)
            if leaf in _MESSAGE_LEAVES and message.retain:
                # A message, unlike a state, must not reach a subscriber who comes an hour later.
                message = replace(message, retain=False)
        kept = not message.retain or self._broker.retain(
            message, Owner(sender.account, identity.role is not Role.ANONYMOUS)
        )
        work = self._broker.distribute(message, sender.client)
        if device is not None and device[1] == "command" and self._commands is not None:
            # After it was shown: before its reply.
            self._commands.received(identity, device[0], message)
            return Outcome(work)
        reason = Reason.SUCCESS if work.deliveries else Reason.NO_MATCHING_SUBSCRIBERS
        # No failure, after which its client would send again what was sent.
        text = "" if kept else _NOT_RETAINED
        return Outcome(work, reason, text)

    def _as_device(self, device_id: str, sender: Sender, payload: bytes) -> Outcome:
        if len(payload) > self.settings.max_device_packet_bytes:
            detail = f"{len(payload)} bytes as a message of {device_id}: dropped"
            self.counters.limit("tester_message_size", detail)
            return Outcome(Work(), Reason.QUOTA_EXCEEDED, "longer than mqtt.max_device_packet_bytes")
        now = self.clock()
        if not self._testers.allowed(device_id, now):
            self.counters.limit("message_rate", f"testers of {device_id} send too many messages: dropped")
            return Outcome(Work(), Reason.QUOTA_EXCEEDED, "more than mqtt.device_messages_per_s: dropped")
        self._traces.note(device_id, "up", payload)
        work = self._mirrors.show(device_id, "up", payload, sender.client)
        if (device := self._devices.get(device_id)) is not None:
            self._sink.control_message(device, payload)
        elif not self.elsewhere.speak_as(device_id, payload):
            self._testers.message(device_id, sender.host, payload, now)
        return Outcome(work)

    def _push(self, device_id: str, sender: Sender, payload: bytes) -> Outcome:
        if len(payload) > limits.MAX_PUSH_BYTES:
            detail = f"{len(payload)} bytes for {device_id}, {limits.MAX_PUSH_BYTES} allowed: dropped"
            self.counters.limit("push_size", detail)
            text = f"a message to a device has at most {limits.MAX_PUSH_BYTES} bytes"
            return Outcome(Work(), Reason.QUOTA_EXCEEDED, text)
        if (device := self._devices.get(device_id)) is not None:
            device.send(payload)
        elif not self.elsewhere.push(device_id, payload):
            return Outcome(self._mirrors.show(device_id, "down", payload, sender.client))
        return Outcome(Work())

    def show(self, device_id: str, leaf: Leaf, payload: bytes) -> None:
        """Shows a message of a device, over whatever transport, to its traces and to the clients that watch
        its topic."""
        if leaf in ("up", "down"):
            self._traces.note(device_id, leaf, payload)
        if len(self._general):
            self._mirrors.show(device_id, leaf, payload)

    def _answer_testers(self, device_id: str, payload: bytes) -> None:
        self._traces.note(device_id, "down", payload)
        self._mirrors.answer_testers(device_id, payload)


def _status(state: str) -> bytes:
    return json.dumps({"state": state, "version": __version__}, separators=(",", ":")).encode()


def _certificate(settings: MqttSettings) -> ServerCertificate:
    if settings.tls_certificate is None or settings.tls_key is None:
        raise StartupError("mqtt.tls_certificate and mqtt.tls_key must be set for MQTT over TLS")
    return ServerCertificate("mqtt", settings.tls_certificate, settings.tls_key)
