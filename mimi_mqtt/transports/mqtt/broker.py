"""The amqtt broker behind the guard, with those of its methods replaced that lose, leak or grow.

amqtt 0.12.1 serves the general clients: their sessions and resumption, packet reading, subscriptions,
retained messages. What is replaced here, and why (section numbers are MQTT 3.1.1's):

- Fan-out ran in a task that iterated the live subscription table across awaits (`RuntimeError: dictionary
  changed size` under churn, messages lost), sent with the subscriber's QoS instead of the lower one (3.8.4),
  once per overlapping filter, into unbounded queues. `distribute` runs at once, without an await.
- Publishes and subscribes of one client went through two queues and a loop that stopped at DISCONNECT: what
  was acknowledged could be lost. The handler's methods here finish before the next packet is read.
- QoS 1 and 2 gave up 5 s after sending and redelivered nothing (4.4): `OutgoingFlow` waits and redelivers.
- A connection that ended around CONNACK waited for ever; a client that connected was sent the retained
  messages of all other clients' filters; unsubscribed filters stayed in the table; the session monitor could
  take away the session of a client that had just come back.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from amqtt.adapters import ReaderAdapter, WriterAdapter
from amqtt.broker import Broker, RetainedApplicationMessage
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

from mimi_mqtt.fleet.identity import Identity
from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.transports.mqtt.access import may_receive, may_subscribe, subject
from mimi_mqtt.transports.mqtt.borders import run_each
from mimi_mqtt.transports.mqtt.counters import Counters
from mimi_mqtt.transports.mqtt.filters import FilterIndex, TopicIndex
from mimi_mqtt.transports.mqtt.flow import OutgoingFlow
from mimi_mqtt.wire.mqtt import (
    SUBSCRIBE_FAILURE,
    PacketType,
    encode_ack,
    encode_suback,
    encode_unsuback,
)
from mimi_mqtt.wire.topics import ROOT

LISTENER = "default"

# amqtt logs every packet; the entries a person needs are made here and in the guard.
logging.getLogger("amqtt").setLevel(logging.CRITICAL)
logging.getLogger("transitions").setLevel(logging.CRITICAL)


@dataclass(slots=True, eq=False)
class Client:
    """One general client of the broker. With a persistent session it outlives its connections.

    `key` is its client id inside amqtt: made of user and client id, so that no user resumes the session of
    another. `write` sends bytes on the current connection.
    """

    key: str
    identity: Identity
    persistent: bool
    flow: OutgoingFlow
    write: Callable[[bytes], None] | None = None
    cut_off: Callable[[str], None] | None = None
    publish: Callable[[str, bytes, int, bool], None] | None = None
    filters: set[str] = field(default_factory=set)
    unreleased: set[int] = field(default_factory=set)
    left_at: float = 0.0


class EmbeddedBroker(Broker):  # type: ignore[misc]  # amqtt is untyped here
    """The broker behind the guard: `admit` a client, then let amqtt's `external_connected` serve it."""

    def __init__(self, counters: Counters, max_queued_bytes: int) -> None:
        super().__init__({"listeners": {LISTENER: {"type": "external", "bind": "guard"}}, "plugins": {}})
        self.counters = counters
        self._max_queued_bytes = max_queued_bytes
        self._clients: dict[str, Client] = {}
        self._filters = FilterIndex()
        self._retained_topics = TopicIndex()
        self._retained = self._retained_bytes = 0

    # ── for the guard and the server ────────────────────────────────────────────────────────────────────

    def admit(self, key: str, identity: Identity, persistent: bool) -> Client:
        """Returns the client of a new connection under `key`: of its persistent session, or a new one."""
        client = self._clients.get(key)
        if client is None:
            client = Client(key, identity, persistent, OutgoingFlow(self._max_queued_bytes))
            client.flow.suspend()
            self._clients[key] = client
        client.identity = identity
        return client

    def leave(self, client: Client, now: float) -> None:
        """Detaches `client` from its ended connection, and forgets it without a persistent session."""
        client.write = client.cut_off = client.publish = None
        client.flow.suspend()
        client.left_at = now
        if client.persistent:
            session, _ = self._sessions.get(client.key, (None, None))
            if session is not None:
                session.transitions.disconnect()
                return
        self.forget(client.key)

    def forget(self, key: str) -> None:
        """Ends the session `key` and its subscriptions."""
        session, _ = self._sessions.pop(key, (None, None))
        if session is not None:
            self._drop_subscriptions(session)
        self._clients.pop(key, None)

    def forget_where(self, condition: Callable[[Identity], bool]) -> None:
        """Ends the sessions of absent clients whose identity meets `condition`."""
        for client in list(self._clients.values()):
            if client.write is None and condition(client.identity):
                self.forget(client.key)

    def sweep(self, now: float) -> None:
        """Ends persistent sessions whose client is away for too long, and the oldest of too many."""
        away = sorted(
            (
                client
                for client in self._clients.values()
                if client.write is None and client.key in self._sessions
            ),
            key=lambda client: client.left_at,
        )
        surplus = len(away) - limits.MAX_OFFLINE_SESSIONS
        ended: list[str] = []
        for index, client in enumerate(away):
            if index < surplus:
                self.counters.limit("offline_sessions", "too many persistent sessions: the oldest was ended")
            elif now - client.left_at < limits.OFFLINE_SESSION_S:
                break
            ended.append(client.key)
        run_each("offline sessions", (partial(self.forget, key) for key in ended))

    def recipients(self, topic: str) -> dict[str, tuple[Client, int]]:
        """Clients that subscribed to `topic` and may receive it, with the highest QoS granted, by key."""
        found: dict[str, tuple[Client, int]] = {}
        for topic_filter in self._filters.matching(topic):
            for session, qos in self._subscriptions.get(topic_filter, ()):
                client = self._clients.get(session.client_id)
                if client is None or not may_receive(client.identity, topic):
                    continue
                known = found.get(client.key)
                if known is None or known[1] < qos:
                    found[client.key] = (client, qos)
        return found

    def distribute(self, topic: str, payload: bytes, qos: int) -> None:
        """Sends a message to all subscribers; it is in their buffers when this returns."""
        for client, granted in self.recipients(topic).values():
            self.deliver(client, topic, payload, min(qos, granted))

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
        elif data and client.write is not None:
            self.counters.messages_out += 1
            client.write(data)

    def retain(self, topic: str, payload: bytes, qos: int) -> None:
        """Keeps the message for later subscribers; an empty payload clears it (section 3.3.1.3).

        Topics under `mimi` do not count: they are the server's, a few for each device, and clients that fill
        the rest must not keep devices' states out.
        """
        bounded = topic != ROOT and not topic.startswith(f"{ROOT}/")
        old = self._retained_messages.pop(topic, None)
        if old is not None and bounded:
            self._retained -= 1
            self._retained_bytes -= len(topic) + len(old.data)
        self._retained_topics.discard(topic)
        if not payload:
            return
        size = len(topic) + len(payload) if bounded else 0
        if bounded and (
            self._retained >= limits.MAX_RETAINED or self._retained_bytes + size > limits.MAX_RETAINED_BYTES
        ):
            self.counters.limit("retained", "too many retained messages: the newest was not kept")
            return
        self._retained_topics.add(topic)
        self._retained += bounded
        self._retained_bytes += size
        self._retained_messages[topic] = RetainedApplicationMessage(None, topic, payload, qos)

    def subscribe(self, client: Client, session: Session, topic_filter: str, qos: int) -> int:
        """Grants or refuses a filter; returns the QoS, or SUBSCRIBE_FAILURE. Retained messages come later."""
        if not may_subscribe(client.identity, topic_filter):
            self.counters.limit(
                "forbidden_subscribe", f"{subject(client.identity)} may not read {topic_filter!r}"
            )
            return SUBSCRIBE_FAILURE
        if topic_filter not in client.filters and len(client.filters) >= limits.MAX_FILTERS:
            self.counters.limit(
                "filters", f"{subject(client.identity)} has {limits.MAX_FILTERS} subscriptions"
            )
            return SUBSCRIBE_FAILURE
        self._del_subscription(topic_filter, session)  # a new subscription replaces the old one (3.8.4)
        self._subscriptions.setdefault(topic_filter, []).append((session, qos))
        self._filters.add(topic_filter)
        client.filters.add(topic_filter)
        return qos

    def unsubscribe(self, client: Client, session: Session, topic_filter: str) -> None:
        """Ends one subscription."""
        client.filters.discard(topic_filter)
        self._del_subscription(topic_filter, session)

    def send_retained(self, client: Client, topic_filter: str, qos: int) -> None:
        """Sends the retained messages that a new subscription is due."""
        for topic in self._retained_topics.matching(topic_filter):
            message = self._retained_messages[topic]
            if may_receive(client.identity, topic):
                self.deliver(client, topic, bytes(message.data), min(qos, message.qos or 0), retain=True)

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

    def _del_subscription(self, a_filter: str, session: Session) -> int:
        deleted: int = super()._del_subscription(a_filter, session)
        if a_filter in self._subscriptions and not self._subscriptions[a_filter]:
            del self._subscriptions[a_filter]
            self._filters.discard(a_filter)
        return deleted

    async def _del_all_subscriptions(self, session: Session) -> None:
        self._drop_subscriptions(session)

    def _drop_subscriptions(self, session: Session) -> None:
        client = self._clients.get(session.client_id)
        for topic_filter in list(client.filters) if client is not None else ():
            self._del_subscription(topic_filter, session)


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
        codes = [self._broker.subscribe(client, self.session, name, qos) for name, qos in topics]
        self._write(encode_suback(subscribe.variable_header.packet_id, tuple(codes)))
        for (topic_filter, _), code in zip(topics, codes, strict=True):
            if code != SUBSCRIBE_FAILURE:
                self._broker.send_retained(client, topic_filter, code)

    async def handle_unsubscribe(self, unsubscribe: UnsubscribePacket) -> None:
        """Ends subscriptions."""
        for topic_filter in unsubscribe.payload.topics:
            self._broker.unsubscribe(self._client, self.session, topic_filter)
        self._write(encode_unsuback(unsubscribe.variable_header.packet_id))

    async def handle_publish(self, publish_packet: PublishPacket) -> None:
        """Distributes, then acknowledges; QoS 2 by its packet id (section 4.3.3, method B)."""
        client, qos, packet_id = self._client, publish_packet.qos, publish_packet.packet_id
        if qos == 2 and packet_id in client.unreleased:
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
        self._client.unreleased.discard(pubrel.packet_id)
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
        self._write(self._client.flow.acknowledged(kind, packet_id))

    def _write(self, data: bytes) -> None:
        if data and self._client.write is not None:
            self._client.write(data)
