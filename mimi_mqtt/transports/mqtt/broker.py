"""The amqtt broker behind the guard, with those of its methods replaced that lose, leak or grow.

amqtt 0.12.1 serves the general clients: their sessions and resumption, and packet reading. What is replaced
here, and why (section numbers are MQTT 3.1.1's):

- Fan-out ran in a task that iterated the live subscription table across awaits (`RuntimeError: dictionary
  changed size` under churn, messages lost), sent with the subscriber's QoS instead of the lower one (3.8.4),
  once per overlapping filter, into unbounded queues. `distribute` runs at once, without an await.
- Publishes and subscribes of one client went through two queues and a loop that stopped at DISCONNECT: what
  was acknowledged could be lost. The handler's methods here finish before the next packet is read.
- QoS 1 and 2 gave up 5 s after sending and redelivered nothing (4.4): `OutgoingFlow` waits and redelivers.
- A connection that ended around CONNACK waited for ever; a client that connected was sent the retained
  messages of all other clients' filters; the session monitor could take away the session of a client that had
  just come back.
- Every message and every client that left walked all subscriptions, every subscription all retained messages:
  `Subscriptions`, `RetainedMessages` and `OfflineSessions` have an index each, and a share of each account.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Final

from amqtt.adapters import ReaderAdapter, WriterAdapter
from amqtt.broker import Broker
from amqtt.contexts import Action, ListenerConfig
from amqtt.mqtt.disconnect import DisconnectPacket
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.mqtt.puback import PubackPacket
from amqtt.mqtt.pubcomp import PubcompPacket
from amqtt.mqtt.publish import PublishPacket
from amqtt.mqtt.pubrec import PubrecPacket
from amqtt.mqtt.pubrel import PubrelPacket
from amqtt.mqtt.subscribe import SubscribePacket
from amqtt.mqtt.unsubscribe import UnsubscribePacket
from amqtt.session import Session

from mimi_mqtt.config.connections import SharesSettings
from mimi_mqtt.fleet.identity import Identity, Role
from mimi_mqtt.shares import Amounts, Ledger
from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.transports.mqtt.access import may_receive, may_subscribe, subject
from mimi_mqtt.transports.mqtt.background import Background
from mimi_mqtt.transports.mqtt.borders import run_each
from mimi_mqtt.transports.mqtt.client import Client
from mimi_mqtt.transports.mqtt.counters import Counters
from mimi_mqtt.transports.mqtt.flow import OutgoingFlow
from mimi_mqtt.transports.mqtt.offline import OfflineSessions
from mimi_mqtt.transports.mqtt.pacing import Work
from mimi_mqtt.transports.mqtt.retained import Owner, RetainedMessages
from mimi_mqtt.transports.mqtt.subscriptions import Subscriptions
from mimi_mqtt.wire.mqtt import (
    SUBSCRIBE_FAILURE,
    PacketType,
    encode_ack,
    encode_publish,
    encode_suback,
    encode_unsuback,
)
from mimi_mqtt.wire.topics import filter_matches

LISTENER = "default"

# amqtt logs every packet; the entries a person needs are made here and in the guard.
logging.getLogger("amqtt").setLevel(logging.CRITICAL)
logging.getLogger("transitions").setLevel(logging.CRITICAL)


_LOOKED_AT_IN_A_STEP: Final = 25
"""Retained topics that are compared with a filter, and perhaps sent, in one step of background work."""
_STEPS_AT_ONCE: Final = 8
"""Steps that are done when the client subscribes; the rest is left to the background."""


class EmbeddedBroker(Broker):  # type: ignore[misc]  # amqtt is untyped here
    """The broker behind the guard: `admit` a client, then let amqtt's `external_connected` serve it."""

    def __init__(
        self,
        counters: Counters,
        max_queued_bytes: int,
        shares: SharesSettings,
        ledger: Ledger,
        clock: Callable[[], float],
    ) -> None:
        super().__init__({"listeners": {LISTENER: {"type": "external", "bind": "guard"}}, "plugins": {}})
        self.counters = counters
        self._clock = clock
        self._ledger = ledger
        self._max_queued_bytes = max_queued_bytes
        self._queued = Amounts(limits.MAX_QUEUED_BYTES, limits.MAX_QUEUED_BYTES // 4)
        self._clients: dict[str, Client] = {}
        self._table = Subscriptions(shares.subscriptions_per_account)
        self._retained = RetainedMessages(shares.retained_messages_per_account, ledger)
        self._offline = OfflineSessions(shares.offline_sessions_per_account, ledger)
        self._background = Background(counters)

    async def shutdown(self) -> None:
        """Stops amqtt and the background work."""
        self._background.close()
        await super().shutdown()

    # ── for the guard and the server ────────────────────────────────────────────────────────────────────

    @property
    def subscribed(self) -> int:
        """The number of different filters in subscriptions."""
        return len(self._table)

    def admit(self, key: str, identity: Identity, persistent: bool, account: str) -> Client:
        """Returns the client of a new connection under `key`: of its persistent session, or a new one."""
        client = self._clients.get(key)
        if client is None:
            flow = OutgoingFlow(self._max_queued_bytes, queued=self._queued, account=account)
            client = Client(key, identity, account, persistent, flow)
            client.flow.suspend()
            self._clients[key] = client
        self._offline.leave(client)
        self._table.move(client, account)
        client.identity = identity
        return client

    def leave(self, client: Client, now: float) -> None:
        """Detaches `client` from its ended connection, and forgets it without a persistent session."""
        client.detach(now)
        session, _ = self._sessions.get(client.key, (None, None))
        if not client.persistent or session is None:
            self.forget(client.key)
            if session is not None:
                # A state machine of 80 lists that refers to itself: 20 kB that would wait for the collector.
                vars(session.transitions).clear()
            return
        session.transitions.disconnect()
        leaving = self._offline.enter(client, now)
        if leaving is not None:
            self.counters.limit("offline_sessions", "too many persistent sessions: the oldest was ended")
            self.forget(leaving.key)

    def forget(self, key: str) -> None:
        """Ends the session `key`; its subscriptions are removed in the background, and count no more."""
        self._sessions.pop(key, None)
        client = self._clients.pop(key, None)
        if client is not None:
            client.gone = True
            client.flow.clear()
            self._offline.leave(client)
            self._background.add(client.account, self._table.end(client))

    def forget_where(self, condition: Callable[[Identity], bool]) -> None:
        """Ends the sessions of absent clients whose identity meets `condition`."""
        for client in list(self._clients.values()):
            if client.write is None and condition(client.identity):
                self.forget(client.key)

    def sweep(self, now: float) -> None:
        """Ends persistent sessions whose client is away for too long."""
        expired = list(self._offline.expired(now))
        run_each("offline sessions", (partial(self.forget, client.key) for client in expired))

    def recipients(self, topic: str) -> tuple[dict[Client, int], Work]:
        """Clients that subscribed to `topic` and may receive it, with the QoS granted, and the work."""
        clients, visited = self._table.receivers(topic)
        return clients, Work(len(clients), visited)

    def distribute(self, topic: str, payload: bytes, qos: int) -> Work:
        """Sends a message to all subscribers; it is in their buffers when this returns."""
        clients, work = self.recipients(topic)
        packet = b""
        for client, granted in clients.items():
            if qos and granted:
                self.deliver(client, topic, payload, min(qos, granted))
            else:
                packet = packet or encode_publish(topic, payload)
                self.send(client, packet)
        return work

    def send(self, client: Client, packet: bytes) -> None:
        """Sends a PUBLISH with QoS 0 to one client, unless it is away; a fault is this client's alone."""
        if client.write is None or not client.flow.connected:
            return
        try:
            self.counters.messages_out += 1
            client.write(packet)
        except Exception:  # noqa: BLE001 - the border of one client
            self.counters.fault("deliver", f"sending a message to {subject(client.identity)} failed")

    def deliver(self, client: Client, topic: str, payload: bytes, qos: int, retain: bool = False) -> None:
        """Sends one message to one client, or keeps it when its session is persistent and it is away.

        A fault is this client's alone: the sender and the other receivers don't see it.
        """
        try:
            self._deliver(client, topic, payload, qos, retain)
        except Exception:  # noqa: BLE001 - the border of one client
            self.counters.fault("deliver", f"sending a message to {subject(client.identity)} failed")

    def _deliver(self, client: Client, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        data = client.flow.publish(topic, payload, qos, retain)
        if data is None:
            if client.cut_off is not None:
                client.cut_off("too slow: unacknowledged messages")
            else:
                self.counters.limit("offline_queue", "a persistent session's queue is full: message dropped")
                self._ledger.refuse("queued MQTT messages", client.account, self._clock())
        elif data and client.write is not None:
            self.counters.messages_out += 1
            client.write(data)

    def retain(self, topic: str, payload: bytes, qos: int, owner: Owner | None = None) -> None:
        """Keeps the message for later subscribers; an empty payload clears it (section 3.3.1.3)."""
        if not self._retained.put(topic, payload, qos, owner, self._clock()):
            self.counters.limit("retained", "too many retained messages: the newest was not kept")

    def subscribe(self, client: Client, topic_filter: str, qos: int) -> int:
        """Grants or refuses a filter; returns the QoS, or SUBSCRIBE_FAILURE. Retained messages come later."""
        name = subject(client.identity)
        if not may_subscribe(client.identity, topic_filter):
            self.counters.limit("forbidden_subscribe", f"{name} may not read {topic_filter[:80]!r}")
        elif (
            len(topic_filter) > limits.MAX_FILTER_CHARS or topic_filter.count("/") >= limits.MAX_FILTER_LEVELS
        ):
            self.counters.limit("filter_size", f"{name} subscribes to {len(topic_filter)} characters")
        elif topic_filter not in client.filters and len(client.filters) >= limits.MAX_FILTERS:
            self.counters.limit("filters", f"{name} has {limits.MAX_FILTERS} subscriptions")
        elif not self._table.add(client, topic_filter, qos):
            self.counters.limit("filters", f"{client.account} has its share of subscriptions")
            self._ledger.refuse(
                "MQTT subscriptions", client.account, self._clock(),
                setting="shares.subscriptions_per_account",
            )  # fmt: skip
        else:
            return qos
        return SUBSCRIBE_FAILURE

    def unsubscribe(self, client: Client, topic_filter: str) -> None:
        """Ends one subscription."""
        self._table.remove(client, topic_filter)
        client.due.pop(topic_filter, None)

    def send_retained(self, client: Client, granted: dict[str, int]) -> None:
        """Sends the retained messages that new subscriptions are due: the first at once, many in slices."""
        client.due.update(granted)
        if client.sending:
            return
        client.sending = True
        steps = self._retained_steps(client)
        if len(list(islice(steps, _STEPS_AT_ONCE))) == _STEPS_AT_ONCE:
            self._background.add(client.account, steps)

    def _retained_steps(self, client: Client) -> Iterator[None]:
        fleet = client.identity.role is not Role.ANONYMOUS
        looked_at = sent = 0
        try:
            while client.due:
                topic_filter = next(iter(client.due))
                qos = client.due.pop(topic_filter)
                looked_at += 1
                for topic in self._retained.candidates(topic_filter, fleet=fleet):
                    looked_at += 1
                    if filter_matches(topic_filter, topic):
                        sent += self._send_retained(client, topic, qos)
                    if looked_at >= _LOOKED_AT_IN_A_STEP:
                        client.spend(Work(sent, looked_at).cost())
                        looked_at = sent = 0
                        yield
                        if client.write is None or topic_filter not in client.filters:
                            break
            client.spend(Work(sent, looked_at).cost())
        finally:
            client.sending = False

    def _send_retained(self, client: Client, topic: str, qos: int) -> bool:
        message = self._retained.get(topic)
        if message is None or not may_receive(client.identity, topic):
            return False
        self.deliver(client, topic, message.payload, min(qos, message.qos), retain=True)
        return True

    # ── amqtt's own methods, replaced ───────────────────────────────────────────────────────────────────

    async def _authenticate(self, session: Session, _: ListenerConfig) -> bool:
        """Accepts the clients that the guard admitted: the gate has authenticated them."""
        return session.client_id in self._clients

    async def _topic_filtering(self, session: Session, topic: str, action: Action) -> bool:
        """Allows everything: `subscribe`, the guard and `recipients` check access, not amqtt's plugins."""
        return True

    async def _initialize_client_session(
        self, reader: ReaderAdapter, writer: WriterAdapter, remote_address: str, remote_port: int
    ) -> tuple[BrokerProtocolHandler, Session]:
        _, session = await super()._initialize_client_session(reader, writer, remote_address, remote_port)
        return _Handler(self, session.client_id), session

    async def _client_message_loop(self, client_session: Session, handler: BrokerProtocolHandler) -> None:
        await handler.wait_disconnect()
        await self._stop_handler(handler)

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        """Does nothing: amqtt calls it for all filters of all clients; `send_retained` sends what is due."""

    async def _publish_session_retained_messages(self, session: Session) -> None:
        """Does nothing: messages for an absent client wait in its OutgoingFlow."""

    async def _session_monitor(self) -> None:
        """Does nothing: `leave` and `sweep` end sessions."""

    async def _del_all_subscriptions(self, session: Session) -> None:
        """Does nothing: `forget` ends the subscriptions."""


class _Handler(BrokerProtocolHandler):  # type: ignore[misc]  # amqtt is untyped here
    """One connection inside amqtt. These methods wait for nothing, so that packets take effect in order."""

    def __init__(self, broker: EmbeddedBroker, key: str) -> None:
        super().__init__(broker.plugins_manager)
        self._broker = broker
        self._client = broker._clients[key]
        self._ended = asyncio.Event()

    async def wait_disconnect(self) -> DisconnectPacket | None:
        """Waits for DISCONNECT or the connection's end; the guard tells them apart and publishes the will."""
        await self._ended.wait()
        return None

    async def handle_disconnect(self, disconnect: DisconnectPacket | None) -> None:
        """Ends the wait for DISCONNECT or the connection's end."""
        self._ended.set()

    async def handle_subscribe(self, subscribe: SubscribePacket) -> None:
        """Grants and refuses filter by filter, then sends the retained messages."""
        client, topics = self._client, subscribe.payload.topics
        codes = [self._broker.subscribe(client, name, qos) for name, qos in topics]
        self._write(encode_suback(subscribe.variable_header.packet_id, tuple(codes)))
        client.spend(len(topics))
        granted = {
            topic_filter: code
            for (topic_filter, _), code in zip(topics, codes, strict=True)
            if code != SUBSCRIBE_FAILURE
        }
        self._broker.send_retained(client, granted)

    async def handle_unsubscribe(self, unsubscribe: UnsubscribePacket) -> None:
        """Ends subscriptions."""
        for topic_filter in unsubscribe.payload.topics:
            self._broker.unsubscribe(self._client, topic_filter)
        self._write(encode_unsuback(unsubscribe.variable_header.packet_id))
        self._client.spend(len(unsubscribe.payload.topics))

    async def handle_publish(self, publish_packet: PublishPacket) -> None:
        """Distributes, then acknowledges; QoS 2 by its packet id (section 4.3.3, method B)."""
        client, qos, packet_id = self._client, publish_packet.qos, publish_packet.packet_id
        if qos == 2 and packet_id in client.unreleased:
            client.spend(1)
            self._write(encode_ack(PacketType.PUBREC, packet_id))
            return
        if qos == 2 and len(client.unreleased) >= limits.MAX_UNRELEASED:
            if client.cut_off is not None:
                client.cut_off("too many QoS 2 messages without PUBREL")
            return
        if client.publish is not None:
            client.publish(publish_packet.topic_name, publish_packet.data, qos, publish_packet.retain_flag)
        if qos == 1:
            self._write(encode_ack(PacketType.PUBACK, packet_id))
        elif qos == 2:
            client.unreleased.add(packet_id)
            self._write(encode_ack(PacketType.PUBREC, packet_id))

    async def handle_pubrel(self, pubrel: PubrelPacket) -> None:
        """Answers always: a client may repeat PUBREL after it came back."""
        if pubrel.packet_id in self._client.unreleased:
            self._client.unreleased.discard(pubrel.packet_id)
        else:
            self._client.spend(1)
        self._write(encode_ack(PacketType.PUBCOMP, pubrel.packet_id))

    async def handle_puback(self, puback: PubackPacket) -> None:
        """Completes a QoS 1 message."""
        self._acknowledged(PacketType.PUBACK, puback.packet_id)

    async def handle_pubrec(self, pubrec: PubrecPacket) -> None:
        """Answers PUBREC with PUBREL."""
        self._acknowledged(PacketType.PUBREC, pubrec.packet_id)

    async def handle_pubcomp(self, pubcomp: PubcompPacket) -> None:
        """Completes a QoS 2 message."""
        self._acknowledged(PacketType.PUBCOMP, pubcomp.packet_id)

    async def _retry_deliveries(self) -> None:
        self._write(self._client.flow.resume())

    def _acknowledged(self, kind: PacketType, packet_id: int) -> None:
        if not self._client.flow.expects(kind, packet_id):
            self._client.spend(1)  # the one that is due was paid for with the message
        self._write(self._client.flow.acknowledged(kind, packet_id))

    def _write(self, data: bytes) -> None:
        if data and self._client.write is not None:
            self._client.write(data)
