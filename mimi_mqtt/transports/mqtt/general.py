"""Connections of all clients but devices: a guard passes whole, checked packets to amqtt and bounds its work.

The guard enforces packet size, syntax, access, keepalive × 1.5 and the slow-reader limit, and owns the will.
A forbidden publish is acknowledged and dropped (MQTT 3.1.1 section 3.3.5 allows that or a closed connection;
a misconfigured tool in the house should keep the rest of its work). A forbidden filter gets 0x80 in SUBACK.
"""

import asyncio
import logging
from functools import partial
from typing import NamedTuple, Protocol

from mimi_mqtt.errors import MqttError
from mimi_mqtt.fleet.identity import Identity, Role
from mimi_mqtt.shares import address_holder
from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.transports.mqtt.access import account, subject
from mimi_mqtt.transports.mqtt.addresses import local_host
from mimi_mqtt.transports.mqtt.borders import run_each
from mimi_mqtt.transports.mqtt.broker import LISTENER, EmbeddedBroker
from mimi_mqtt.transports.mqtt.client import Client
from mimi_mqtt.transports.mqtt.departures import Departures
from mimi_mqtt.transports.mqtt.gate import Admission, Gate
from mimi_mqtt.transports.mqtt.intake import Intake
from mimi_mqtt.transports.mqtt.pacing import Pacer, Work, estimated_cost, message_cost
from mimi_mqtt.transports.mqtt.streams import PacketSink, PacketSource
from mimi_mqtt.wire.mqtt import (
    PINGRESP,
    PacketReader,
    PacketType,
    RawPacket,
    Will,
    encode_connect,
    parse_packet_id,
    parse_publish,
    parse_subscribe,
    parse_unsubscribe,
)

_log = logging.getLogger(__name__)

_FROM_CLIENTS = frozenset({
    PacketType.PUBLISH, PacketType.PUBACK, PacketType.PUBREC, PacketType.PUBREL, PacketType.PUBCOMP,
    PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE, PacketType.PINGREQ,
})  # fmt: skip
"""Packets that a connected client may send, besides DISCONNECT."""


class Sender(NamedTuple):
    """A general client that publishes: `account` is the one whose shares it uses, `host` the server's address
    that it reached."""

    identity: Identity
    account: str
    host: str | None


class PublishRouter(Protocol):
    """Receiver of general clients' messages: the server, which knows devices and testers."""

    def route(self, sender: Sender, topic: str, payload: bytes, qos: int, retain: bool) -> Work:
        """Delivers what `sender` may publish, drops the rest; returns the work that it was."""


class GeneralClients:
    """The general clients' connections."""

    def __init__(self, gate: Gate, broker: EmbeddedBroker, router: PublishRouter, pacer: Pacer) -> None:
        self.gate = gate
        self.pacer = pacer
        self.broker = broker
        self.router = router
        self.departures = Departures()
        self._connections: dict[tuple[Role, str, str], GeneralConnection] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._serial = 0
        self._testers: dict[str, int] = {}
        self._accounts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._connections)

    def testers(self, device_id: str) -> int:
        """The number of connections with the credentials of `device_id`."""
        return self._testers.get(device_id, 0)

    def connected(self, account: str) -> int:
        """The number of connections of an account (`access.account`)."""
        return self._accounts.get(account, 0)

    def holds(self, identity: Identity, client_id: str) -> bool:
        """True when the user is connected under the client id, so that a new connection takes over."""
        return (identity.role, identity.username, client_id) in self._connections

    def take(self, transport: asyncio.Transport, admission: Admission) -> None:
        """Serves an authenticated connection from here on; the old one of the same client ends first."""
        connect, identity = admission.connect, admission.identity
        self._serial += 1
        client_id = connect.client_id or f"auto-{self._serial}"
        name = (identity.role, identity.username, client_id)
        old = self._connections.pop(name, None)
        connection = GeneralConnection(self, transport, admission, client_id, self._serial)
        self._connections[name] = connection
        if identity.device_id is not None:
            self._testers[identity.device_id] = self._testers.get(identity.device_id, 0) + 1
        self._accounts[connection.account] = self._accounts.get(connection.account, 0) + 1
        self.gate.counters.connected[identity.role.value] += 1
        if old is not None:
            old.end("taken over by a new connection", abnormal=True)
        task = asyncio.create_task(connection.serve(old), name=f"mqtt {client_id}")
        connection.task = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        transport.set_protocol(connection)
        connection.start(admission)

    def gone(self, connection: "GeneralConnection") -> None:
        """Forgets a connection that has ended."""
        identity = connection.identity
        name = (identity.role, identity.username, connection.client_id)
        if self._connections.get(name) is connection:
            del self._connections[name]
        if identity.device_id is not None:
            self._testers[identity.device_id] -= 1
            if not self._testers[identity.device_id]:
                del self._testers[identity.device_id]
        self._accounts[connection.account] -= 1
        if not self._accounts[connection.account]:
            del self._accounts[connection.account]
        self.gate.counters.connected[identity.role.value] -= 1

    def sweep(self, now: float) -> None:
        """Ends connections whose keepalive has run out, and sessions whose client is away for too long."""
        connections = list(self._connections.values())
        run_each(
            "general clients",
            (
                *(partial(connection.check_time, now) for connection in connections),
                partial(self.broker.sweep, now),
            ),
        )

    def disconnect_testers(self, device_id: str, reason: str) -> None:
        """Ends every connection and session that holds the credentials of `device_id`."""
        for connection in list(self._connections.values()):
            if connection.identity.device_id == device_id:
                connection.end(reason)
                connection.forget_session = True
        self.broker.forget_where(lambda identity: identity.device_id == device_id)

    async def aclose(self) -> None:
        """Ends all connections, without their wills, and amqtt."""
        for connection in list(self._connections.values()):
            connection.end("server stops")
        self.departures.finish()
        self.pacer.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=limits.LINGER_S)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class GeneralConnection(asyncio.Protocol):
    """One general client's connection: parses and checks each packet, then lets amqtt read it."""

    def __init__(
        self,
        clients: GeneralClients,
        transport: asyncio.Transport,
        admission: Admission,
        client_id: str,
        serial: int,
    ) -> None:
        self.identity = admission.identity
        self.client_id = client_id
        self.task: asyncio.Task[None] | None = None
        self.forget_session = False
        self._clients = clients
        self._gate = clients.gate
        self._transport = transport
        self._persistent = not admission.connect.clean_session
        self._key = "\x1f".join((self.identity.role.value, self.identity.username, client_id))
        self._serial = serial
        self._will: Will | None = admission.connect.will
        self._keepalive_limit = admission.connect.keepalive_s * 1.5
        self._last_heard = self._gate.clock()
        self._reader = admission.reader
        self._reader.max_packet_bytes = self._gate.settings.max_packet_bytes
        self._intake = Intake(transport, self._consume)
        self._source = PacketSource(self._intake.hold, self._turn, self._check)
        self._open = True
        self._abnormal = False
        self._host = local_host(transport)
        peer = transport.get_extra_info("peername")
        self.peer = (str(peer[0]), int(peer[1])) if peer else ("unknown", 0)
        self.account = account(self.identity, address_holder(self.peer[0]))
        """The account whose shares it uses."""

    # ── the connection ──────────────────────────────────────────────────────────────────────────────────

    def data_received(self, data: bytes) -> None:
        """Takes bytes from the client."""
        self._last_heard = self._gate.clock()
        self._intake.feed(data)

    def start(self, admission: Admission) -> None:
        """Takes the packets that the client sent behind CONNECT without waiting."""
        self._packets(admission.packets)
        self._intake.feed(admission.rest)

    def _consume(self, data: bytes) -> None:
        if not self._open:
            return
        try:
            packets = self._reader.feed(data)
        except MqttError as error:
            self._fail(error)
            return
        self._packets(packets)

    def _packets(self, packets: list[RawPacket]) -> None:
        """Checks packets and passes them on, then those that the reader still holds."""
        try:
            while packets:
                for packet in packets:
                    if not self._open:
                        return
                    self._packet(packet)
                packets = self._reader.feed(b"")
        except MqttError as error:
            self._fail(error)
        except Exception:  # noqa: BLE001 - the border of one client: its intake would stand still for ever
            self._gate.counters.fault("general_packet", f"{self._name}: the connection is ended")
            self.end("the server failed on a packet", abnormal=True)

    def _fail(self, error: MqttError) -> None:
        self._gate.counters.limit("bad_packet", f"{self._name}: {error}")
        self.end(f"protocol error: {error}", abnormal=True)

    def pause_writing(self) -> None:
        """Cuts off a client that reads so slowly that its write buffer is full."""
        self.cut_off("too slow: its write buffer is full")

    def eof_received(self) -> bool:
        """Lets the connection close: the client sends no more."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the connection after its socket."""
        self._gate.released()
        # Packets that came before the end still count.
        self._intake.finish(lambda: self.end("connection lost", abnormal=True))

    def end(self, reason: str, *, abnormal: bool = False) -> None:
        """Ends the connection once; `abnormal` publishes the will (section 3.1.2.5)."""
        if not self._open:
            return
        self._open = False
        self._last_heard = self._gate.clock()
        self._abnormal = abnormal
        self._intake.drop()
        self._clients.departures.add(self._source.finish)
        self._gate.finish(self._transport)
        _log.info("%s %s left: %s", self.identity.role.value, self._name, reason)

    def cut_off(self, reason: str) -> None:
        """Ends the connection without waiting for its buffer."""
        self._gate.counters.limit("slow_reader", f"{self._name}: {reason}")
        self._transport.abort()
        self.end(reason, abnormal=True)

    def check_time(self, now: float) -> None:
        """Ends the connection when nothing came for one and a half keepalives (section 3.1.2.10), and gives
        up packets that an ended one sent and that can't be handled in time."""
        if not self._open:
            if self._source.waiting and now - self._last_heard > limits.DRAIN_S:
                self._gate.counters.limit("drain", f"{self._name}: what it sent last is dropped")
                self._source.drop()
            return
        if self._source.waiting:
            self._last_heard = now  # what it sent meanwhile, a PINGREQ perhaps, was not read
        elif self._keepalive_limit and now - self._last_heard > self._keepalive_limit:
            self._gate.counters.limits["keepalive"] += 1
            self._transport.abort()
            self.end("keepalive expired", abnormal=True)

    # ── from the client to amqtt ────────────────────────────────────────────────────────────────────────

    def _packet(self, packet: RawPacket) -> None:
        self._gate.counters.bytes_in += len(packet.raw)
        if packet.type is PacketType.DISCONNECT:
            # amqtt reads the packets before it, then sees the end of the stream.
            self._will = None
            self._source.finish()
            self._reader = PacketReader(0)
        elif packet.type in _FROM_CLIENTS:
            self._source.feed(packet)
        else:
            raise MqttError(f"{packet.type.name} from a client that is connected")

    def _turn(self, packet: RawPacket) -> asyncio.Future[None]:
        return self._clients.pacer.turn(self.account, estimated_cost(packet))

    def _check(self, packet: RawPacket) -> bool:
        """Checks a packet whose turn it is; True when amqtt is to read it."""
        try:
            if packet.type is PacketType.PUBLISH:
                self._gate.counters.messages_in += 1
                parse_publish(packet)
            elif packet.type is PacketType.SUBSCRIBE:
                parse_subscribe(packet)
            elif packet.type is PacketType.UNSUBSCRIBE:
                parse_unsubscribe(packet)
            elif packet.type is PacketType.PINGREQ:
                self.write(PINGRESP)
                self._spend(1)
                return False
            else:
                parse_packet_id(packet)
        except MqttError as error:
            self._fail(error)
            self._source.drop()
            return False
        return True

    def _spend(self, amount: float) -> None:
        self._clients.pacer.spend(self.account, amount)

    def _publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        sender = Sender(self.identity, self.account, self._host)
        work = self._clients.router.route(sender, topic, payload, qos, retain)
        self._spend(message_cost(len(payload)) + work.cost(len(payload)))

    # ── from amqtt to the client ────────────────────────────────────────────────────────────────────────

    def write(self, data: bytes) -> None:
        """Sends whole packets."""
        if self._open and not self._transport.is_closing():
            self._gate.counters.bytes_out += len(data)
            self._transport.write(data)

    async def serve(self, old: "GeneralConnection | None") -> None:
        """Lets amqtt serve the connection until it ends, after the `old` one of the same client has ended.

        The border of one client: every fault of its connection is caught here.
        """
        broker = self._clients.broker
        client: Client | None = None
        try:
            if old is not None and old.task is not None:
                await asyncio.wait({old.task}, timeout=limits.LINGER_S)
                old.task.cancel()
            if not self._persistent:
                # Section 3.1.2.4: a clean session ends the one kept under this client id. Its own key is
                # unique, so nothing of it can meet another session.
                broker.forget(self._key)
                self._key += f"\x1f{self._serial}"
            client = broker.admit(self._key, self.identity, self._persistent, self.account)
            client.write, client.cut_off, client.publish = self.write, self.cut_off, self._publish
            client.spend = self._spend
            _log.info("%s %s connected from %s:%d", self.identity.role.value, self._name, *self.peer)
            self._source.put_first(
                encode_connect(self._key, keepalive_s=0, clean_session=not self._persistent)
            )
            sink = PacketSink(self.peer, self.write, lambda: self.end("disconnected", abnormal=True))
            await broker.external_connected(self._source, sink, LISTENER)
            self.end("disconnected", abnormal=True)
            if self._will is not None and self._abnormal:
                await self._clients.pacer.turn(
                    self.account, 1
                )  # of many connections that end at once each has a will
        except Exception:  # noqa: BLE001  # amqtt documents no exceptions; this ends one client only
            _log.exception("%s: the connection is ended", self._name)
        finally:
            run_each(f"the end of {self._name}", (partial(self._leave, client), self._say_will, self._gone))

    def _leave(self, client: Client | None) -> None:
        broker = self._clients.broker
        if client is not None:
            broker.leave(client, self._gate.clock())
            if self.forget_session:
                broker.forget(self._key)

    def _say_will(self) -> None:
        self.end("disconnected", abnormal=True)
        if self._will is not None and self._abnormal:
            self._publish(self._will.topic, self._will.payload, self._will.qos, self._will.retain)

    def _gone(self) -> None:
        self._clients.gone(self)
        self._intake.release()
        self._source.release()

    @property
    def _name(self) -> str:
        return f"{subject(self.identity)}/{self.client_id!r}"
