"""One general client's connection: packets in their turn, time limits, takeover and the will.

The connection enforces packet size, keepalive × 1.5 and the slow-reader limit, and owns the will;
`ClientProtocol` handles the packets.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Protocol

from mimi_mqtt.config.bind import before_port
from mimi_mqtt.errors import MqttError
from mimi_mqtt.shares import address_holder
from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.transports.mqtt.access import account, subject
from mimi_mqtt.transports.mqtt.addresses import local_host
from mimi_mqtt.transports.mqtt.borders import run_each
from mimi_mqtt.transports.mqtt.broker import EmbeddedBroker
from mimi_mqtt.transports.mqtt.client import Client, PendingWill, Sender
from mimi_mqtt.transports.mqtt.departures import Departures
from mimi_mqtt.transports.mqtt.gate import Admission, Gate
from mimi_mqtt.transports.mqtt.greeting import Terms, connack, terms
from mimi_mqtt.transports.mqtt.intake import Intake
from mimi_mqtt.transports.mqtt.message import Message
from mimi_mqtt.transports.mqtt.pacing import Outcome, Pacer, estimated_cost
from mimi_mqtt.transports.mqtt.packet_queue import PacketQueue
from mimi_mqtt.transports.mqtt.protocol import FROM_CLIENTS, ClientProtocol
from mimi_mqtt.transports.mqtt.refusals import Refusal, short_packets
from mimi_mqtt.wire import mqtt5
from mimi_mqtt.wire.mqtt import PacketType, RawPacket, Will
from mimi_mqtt.wire.mqtt_reasons import FROM_CLIENTS as REASONS_OF_CLIENTS
from mimi_mqtt.wire.mqtt_reasons import Reason

_log = logging.getLogger(__name__)


class ConnectionHost(Protocol):
    """Parts shared by the connections of general clients: `general.GeneralClients`."""

    gate: Gate
    pacer: Pacer
    broker: EmbeddedBroker
    departures: Departures

    def publish(self, sender: Sender, message: Message) -> Outcome:
        """Routes a message of a client."""

    def say_will(self, client: Client, pending: PendingWill) -> None:
        """Publishes the will of a client that is gone."""

    def gone(self, connection: "GeneralConnection") -> None:
        """Forgets a connection that has ended."""


class GeneralConnection(asyncio.Protocol):
    """One general client's connection: reads packets and handles each in its turn."""

    def __init__(
        self, clients: ConnectionHost, transport: asyncio.Transport, admission: Admission, client_id: str
    ) -> None:
        self.identity = admission.identity
        self.client_id = client_id
        self.task: asyncio.Task[None] | None = None
        self.forget_session = False
        self._clients = clients
        self._gate = clients.gate
        self._transport = transport
        self._connect = admission.connect._replace(will=None, password=None)
        self._terms: Terms = terms(admission.connect, client_id, self._gate.settings.max_packet_bytes)
        self._key = "\x1f".join((self.identity.role.value, self.identity.username, client_id))
        self._will: Will | None = admission.connect.will
        self._keepalive_limit = self._terms.keepalive_s * 1.5
        self._last_heard = self._gate.clock()
        self._reader = admission.reader
        self._reader.max_packet_bytes = self._gate.settings.max_packet_bytes
        self._intake = Intake(transport, self._consume)
        self._queue = PacketQueue(self._intake.hold, self._turn)
        self._open = True
        self._greeted = False
        self._said_goodbye = False
        self._client: Client | None = None
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
        if not self._open or self._said_goodbye:
            return
        try:
            packets = self._reader.feed(data)
        except MqttError as error:
            self._fail(error)
            return
        self._packets(packets)

    def _packets(self, packets: list[RawPacket]) -> None:
        """Takes packets, then those that the reader still holds; nothing behind DISCONNECT."""
        try:
            while True:
                for packet in packets:
                    if not self._open or self._said_goodbye:
                        return
                    self._packet(packet)
                if self._said_goodbye or not (packets := self._reader.feed(b"")):
                    return
        except MqttError as error:
            self._fail(error)
        except Exception:  # noqa: BLE001 - the border of one client: its intake would stand still for ever
            self._gate.counters.fault("general_packet", f"{self._name}: the connection is ended")
            self.end("the server failed on a packet", Reason.IMPLEMENTATION_ERROR, abnormal=True)

    def _packet(self, packet: RawPacket) -> None:
        self._gate.counters.bytes_in += len(packet.raw)
        if packet.type is PacketType.DISCONNECT:
            # The packets before it still have their turn.
            self._goodbye(packet)
            self._said_goodbye = True
            self._queue.finish()
        elif packet.type in FROM_CLIENTS:
            self._queue.add(packet)
        else:
            raise MqttError(f"{packet.type.name} from a client that is connected", Reason.PROTOCOL_ERROR)

    def _goodbye(self, packet: RawPacket) -> None:
        """Takes DISCONNECT: no will, unless the client asks for it, and perhaps another session expiry (MQTT
        5 section 3.14)."""
        if self._terms.form.version != 5:
            if packet.body:
                raise MqttError(f"DISCONNECT with {len(packet.body)} bytes behind its header")
            self._will = None
            return
        closing = mqtt5.parse_closing(packet)
        if closing.reason not in REASONS_OF_CLIENTS:
            raise MqttError(f"a client's DISCONNECT with 0x{closing.reason:02x}", Reason.PROTOCOL_ERROR)
        asked = closing.properties.session_expiry_s
        if asked is not None:
            if asked and not self._terms.expiry_s:
                text = "DISCONNECT asks for a session that CONNECT did not ask for"
                raise MqttError(text, Reason.PROTOCOL_ERROR)
            self._terms = self._terms.until(asked)
        if closing.reason is Reason.SUCCESS:
            self._will = None
        else:
            self._abnormal = True

    def _fail(self, error: MqttError) -> None:
        self._gate.counters.limit("bad_packet", f"{self._name}: {error}")
        reason = Reason(error.reason_code)
        self.end(f"protocol error: {error}", reason, abnormal=True, text=str(error))

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

    def end(self, reason: str, code: Reason | None = None, *, abnormal: bool = False, text: str = "") -> None:
        """Ends the connection once; `abnormal` publishes the will (section 3.1.2.5). With `code` a client of
        MQTT 5 is told why, by `text` or the reason."""
        if not self._open:
            return
        self._open = False
        if self._client is not None and self._client.link is self:
            self._client.flow.suspend()  # what is written is lost, while packets it sent may still wait
        self._last_heard = self._gate.clock()
        self._abnormal = self._abnormal or abnormal
        self._intake.drop()
        self._clients.departures.add(self._queue.finish)
        if code is not None and self._greeted and not self._transport.is_closing():
            self._transport.write(self._terms.form.disconnect(code, text or reason))
        self._gate.finish(self._transport)
        _log.info("%s %s left: %s", self.identity.role.value, self._name, reason)

    def give_up_if_waiting(self) -> None:
        """Forgets the packets of a connection that was never answered, as it waited for the one before it:
        whoever takes over again and again keeps one connection's packets, not all of theirs."""
        if not self._greeted:
            self._queue.drop()

    def cut_off(self, reason: str) -> None:
        """Ends the connection without waiting for its buffer; a client that reads is told why."""
        self._gate.counters.limit("slow_reader", f"{self._name}: {reason}")
        if self._terms.form.version != 5 or self._transport.get_write_buffer_size():
            self._transport.abort()
        text = f"{reason}: acknowledge messages sooner, or subscribe to fewer"
        self.end(reason, Reason.QUOTA_EXCEEDED, abnormal=True, text=text)

    def check_time(self, now: float) -> None:
        """Ends the connection when nothing came for one and a half keepalives (section 3.1.2.10), and gives
        up packets that an ended one sent and that can't be handled in time."""
        if not self._open:
            if self._queue.waiting and now - self._last_heard > limits.DRAIN_S:
                self._gate.counters.limit("drain", f"{self._name}: what it sent last is dropped")
                self._queue.drop()
            return
        if self._queue.waiting:
            self._last_heard = now  # what it sent meanwhile, a PINGREQ perhaps, was not read
        elif self._keepalive_limit and now - self._last_heard > self._keepalive_limit:
            self._gate.counters.limits["keepalive"] += 1
            text = f"nothing came for one and a half keepalives, {self._keepalive_limit:g} s: send PINGREQ"
            if self._terms.form.version != 5:
                self._transport.abort()
            self.end("keepalive expired", Reason.KEEP_ALIVE_TIMEOUT, abnormal=True, text=text)

    # ── Link ────────────────────────────────────────────────────────────────────────────────────────────

    def write(self, data: bytes) -> None:
        """Sends whole packets."""
        if self._open and not self._transport.is_closing():
            self._gate.counters.bytes_out += len(data)
            self._transport.write(data)

    def spend(self, amount: float) -> None:
        """Charges work to the account's message rate, in messages."""
        self._clients.pacer.spend(self.account, amount)

    def has_room(self, size: int) -> bool:
        """True when half of the write buffer holds so many bytes besides those in it, or it is empty."""
        waiting = self._transport.get_write_buffer_size()
        return not waiting or waiting + size <= self._gate.settings.client_buffer_bytes // 2

    # ── packets in their turn ───────────────────────────────────────────────────────────────────────────

    def _turn(self, packet: RawPacket) -> asyncio.Future[None]:
        return self._clients.pacer.turn(self.account, estimated_cost(packet))

    async def serve(self, old: "GeneralConnection | None") -> None:
        """Handles the connection's packets until it ends, after the `old` one of the same client has ended.

        The border of one client: every fault of its connection is caught here.
        """
        client: Client | None = None
        try:
            if old is not None and old.task is not None:
                await asyncio.wait({old.task}, timeout=limits.LINGER_S)
                old.task.cancel()
                old = None
            client, present = self._clients.broker.admit(
                self._key,
                self.identity,
                self.account,
                clean_start=self._connect.clean_session,
                expiry_s=self._terms.expiry_s,
                is_open=self._open,
            )
            client.link, self._client = self, client
            handle = self._greet(client, present)
            while (packet := await self._queue.next()) is not None:
                self._gate.counters.messages_in += packet.type is PacketType.PUBLISH
                try:
                    handle(packet, self._gate.clock())
                except MqttError as error:
                    self._fail(error)
                    self._queue.drop()
            self.end("disconnected", abnormal=True)
            if self._will_is_due:
                # Of many connections that end at once each has a will.
                await self._clients.pacer.turn(self.account, 1)
        except Exception:  # noqa: BLE001 - the border of one client
            self._gate.counters.fault("general_client", f"{self._name}: the connection is ended")
            self.end("the server failed", Reason.IMPLEMENTATION_ERROR, abnormal=True)
        finally:
            run_each(f"the end of {self._name}", (partial(self._leave, client), self._gone))

    def _greet(self, client: Client, present: bool) -> Callable[[RawPacket, float], None]:
        """Greets the client and sends what waited for it; returns what handles its packets."""
        agreed, broker = self._terms, self._clients.broker
        sender = Sender(self.identity, self.account, self._host, client)
        protocol = ClientProtocol(client, self, agreed.form, broker, partial(self._clients.publish, sender))
        _log.info(
            "%s %s connected from %s:%d by MQTT %s",
            self.identity.role.value, self._name, before_port(self.peer[0]), self.peer[1],
            "5" if agreed.form.version == 5 else "3.1.1",
        )  # fmt: skip
        accepted = connack(agreed, self._connect, present)
        if accepted is None:
            self._refuse(short_packets(self._connect))
            return protocol.handle
        self._greeted = self._open
        self.write(accepted)
        client.flow.begin(agreed.form, agreed.window)
        waiting = client.flow.resume(self._gate.clock())
        if waiting:
            self.write(waiting)
        broker.attached(client)
        return protocol.handle

    def _refuse(self, refusal: Refusal) -> None:
        """Answers with a refusal in place of the greeting, and drops what the client sent behind CONNECT."""
        self._gate.counters.refuse(refusal.reason, self.peer[0], refusal.detail)
        self.write(refusal.answer)
        self.end(refusal.detail)
        self._queue.drop()

    def _leave(self, client: Client | None) -> None:
        """Detaches the client, and publishes its will or leaves it to its delay (MQTT 5 section
        3.1.3.2.2)."""
        self.end("disconnected", abnormal=True)
        if client is None:
            return
        will = self._will if self._will_is_due and not self.forget_session else None
        broker, now = self._clients.broker, self._gate.clock()
        pending = None if will is None else PendingWill(will, now, self._host)
        if client.link is self:
            client.expiry_s = 0.0 if self.forget_session else self._terms.expiry_s
            delay_s = 0.0 if will is None else min(will.properties.will_delay_s or 0, client.expiry_s)
            if pending is not None and delay_s > 0 and not client.gone:
                client.will, pending = pending._replace(due_at=now + delay_s), None
        steps = [partial(broker.leave, client, self, now)]
        if pending is not None:
            steps.append(partial(self._clients.say_will, client, pending))
        run_each(f"the session of {self._name}", steps)

    @property
    def _will_is_due(self) -> bool:
        """True when the will is to be published: it is of an accepted connection only (section 3.1.2.5), and
        one that ended while it waited for the one before it was never answered."""
        return self._will is not None and self._abnormal and self._greeted

    def _gone(self) -> None:
        self._client = None
        self._clients.gone(self)
        self._intake.release()
        self._queue.release()

    @property
    def _name(self) -> str:
        return f"{subject(self.identity)}/{self.client_id!r}"
