"""The MQTT session of one connected general client: its packets in, their effects and answers out; pure.

One core for MQTT 3.1.1 and 5: a `Form` encodes the answers. Bytes that the client sends wrongly raise
MqttError, with the reason that a DISCONNECT should give. The connection around it (`general`) reads packets,
waits for their turn and keeps the time.
"""

from collections.abc import Callable
from typing import Final, Protocol

from mimi_mqtt.errors import MqttError
from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.transports.mqtt.client import Client, Link, Subscription
from mimi_mqtt.transports.mqtt.forms import Form
from mimi_mqtt.transports.mqtt.message import Message, expiry
from mimi_mqtt.transports.mqtt.pacing import Outcome, message_cost, properties_cost
from mimi_mqtt.wire import mqtt, mqtt5
from mimi_mqtt.wire.mqtt import PINGRESP, PacketType, RawPacket
from mimi_mqtt.wire.mqtt5 import FilterRequest
from mimi_mqtt.wire.mqtt_properties import UserProperties
from mimi_mqtt.wire.mqtt_reasons import FAILURE, Reason
from mimi_mqtt.wire.topics import split_share

Publisher = Callable[[Message], Outcome]

FROM_CLIENTS: Final = frozenset({
    PacketType.PUBLISH, PacketType.PUBACK, PacketType.PUBREC, PacketType.PUBREL, PacketType.PUBCOMP,
    PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE, PacketType.PINGREQ,
})  # fmt: skip
"""Packets that a connected client may send, besides DISCONNECT. AUTH is not one of them: no client has an
authentication method (MQTT 5 section 4.12)."""


_MOST_TEXTS: Final = 5
"""Different reasons that one SUBACK tells in words."""


class SubscriptionStore(Protocol):
    """The broker as a session sees it."""

    def subscribe(self, client: Client, topic_filter: str, asked: Subscription) -> tuple[Reason, str]:
        """Grants or refuses a filter."""

    def unsubscribe(self, client: Client, topic_filter: str) -> Reason:
        """Ends a subscription."""

    def send_retained(self, client: Client, granted: dict[str, Subscription]) -> None:
        """Sends what new subscriptions are due."""


class ClientProtocol:
    """Handles the packets of one connection; `publish` routes a message of the client."""

    def __init__(
        self, client: Client, link: Link, form: Form, store: SubscriptionStore, publish: Publisher
    ) -> None:
        self._client = client
        self._link = link
        self._form = form
        self._v5 = form.version == 5
        self._store = store
        self._publish_message = publish

    def handle(self, packet: RawPacket, now: float) -> None:
        """Takes one of the packets FROM_CLIENTS. Raises MqttError when it is malformed or not allowed."""
        kind = packet.type
        if kind is PacketType.PUBLISH:
            self._publish(packet, now)
        elif kind is PacketType.PINGREQ:
            self._link.write(PINGRESP)
            self._link.spend(1)
        elif kind is PacketType.SUBSCRIBE:
            self._subscribe(packet)
        elif kind is PacketType.UNSUBSCRIBE:
            self._unsubscribe(packet)
        elif kind is PacketType.PUBREL:
            self._released(packet)
        else:
            self._acknowledged(packet, now)

    # ── messages from the client ────────────────────────────────────────────────────────────────────────

    def _publish(self, packet: RawPacket, now: float) -> None:
        message, packet_id = self._message(packet, now)
        if packet_id is None:
            self._send(message)
        elif message.qos == 1:
            outcome = self._send(message)
            self._link.write(self._form.ack(PacketType.PUBACK, packet_id, outcome.reason, outcome.text))
        else:
            self._publish_once(message, packet_id)

    def _publish_once(self, message: Message, packet_id: int) -> None:
        """QoS 2 by its packet id (section 4.3.3, method B)."""
        unreleased = self._client.unreleased
        if packet_id in unreleased:
            self._link.spend(1)
            self._link.write(self._form.ack(PacketType.PUBREC, packet_id))
            return
        if len(unreleased) >= limits.MAX_UNRELEASED:
            if not self._v5:
                self._link.cut_off("too many QoS 2 messages without PUBREL")
                return
            raise MqttError(
                f"more than {limits.MAX_UNRELEASED} QoS 2 messages without PUBREL",
                Reason.RECEIVE_MAXIMUM_EXCEEDED,
            )
        outcome = self._send(message)
        if outcome.reason < FAILURE or not self._v5:  # 3.1.1 knows no failure, and goes on with PUBREL
            unreleased.add(packet_id)
        self._link.write(self._form.ack(PacketType.PUBREC, packet_id, outcome.reason, outcome.text))

    def _message(self, packet: RawPacket, now: float) -> tuple[Message, int | None]:
        if not self._v5:
            old = mqtt.parse_publish(packet)
            return Message(old.topic, old.payload, old.qos, old.retain), old.packet_id
        new = mqtt5.parse_client_publish(packet)
        self._pay_for(new.properties.user_properties)
        expires_at = expiry(new.properties.message_expiry_s, now)
        message = Message(new.topic, new.payload, new.qos, new.retain, new.travelling, expires_at)
        return message, new.packet_id

    def _send(self, message: Message) -> Outcome:
        outcome = self._publish_message(message)
        size = message.size
        self._link.spend(message_cost(size) + outcome.work.cost(size))
        return outcome

    def _released(self, packet: RawPacket) -> None:
        """PUBREL: answered always, as a client may repeat it after it came back."""
        packet_id, _ = self._ack(packet)
        reason = Reason.SUCCESS
        if packet_id in self._client.unreleased:
            self._client.unreleased.discard(packet_id)
        else:
            self._link.spend(1)
            reason = Reason.PACKET_ID_NOT_FOUND
        self._link.write(self._form.ack(PacketType.PUBCOMP, packet_id, reason))

    def _pay_for(self, user_properties: UserProperties) -> None:
        if user_properties:
            self._link.spend(properties_cost(len(user_properties)))

    # ── messages to the client ──────────────────────────────────────────────────────────────────────────

    def _acknowledged(self, packet: RawPacket, now: float) -> None:
        packet_id, reason = self._ack(packet)
        flow = self._client.flow
        if flow.contradicts(packet.type, packet_id):
            text = f"{packet.type.name} {packet_id} does not belong to the message in flight with this id"
            raise MqttError(text, Reason.PROTOCOL_ERROR)
        if not flow.expects(packet.type, packet_id):
            self._link.spend(1)  # the one that is due was paid for with the message
        data = flow.acknowledged(packet.type, packet_id, now, reason)
        if data:
            self._link.write(data)

    def _ack(self, packet: RawPacket) -> tuple[int, Reason]:
        if not self._v5:
            return mqtt.parse_packet_id(packet), Reason.SUCCESS
        ack = mqtt5.parse_ack(packet)
        self._pay_for(ack.properties.user_properties)
        return ack.packet_id, ack.reason

    # ── subscriptions ───────────────────────────────────────────────────────────────────────────────────

    def _subscribe(self, packet: RawPacket) -> None:
        """Grants and refuses filter by filter, then sends the retained messages."""
        packet_id, requests, identifiers = self._requests(packet)
        client = self._client
        reasons: list[Reason] = []
        texts: dict[str, None] = {}
        due: dict[str, Subscription] = {}
        for request in requests:
            topic_filter = request.topic_filter
            asked = Subscription(request.qos, request.no_local, request.retain_as_published, identifiers)
            new = topic_filter not in client.subscriptions
            reason, text = self._store.subscribe(client, topic_filter, asked)
            reasons.append(reason)
            if reason >= FAILURE:
                if len(texts) < _MOST_TEXTS:
                    texts[text] = None
                continue
            shared = split_share(topic_filter)[0] is not None
            if not shared and (request.retain_handling == 0 or (request.retain_handling == 1 and new)):
                due[topic_filter] = asked
        self._link.write(self._form.suback(packet_id, tuple(reasons), "; ".join(texts)))
        self._link.spend(len(requests))
        self._store.send_retained(client, due)

    def _requests(self, packet: RawPacket) -> tuple[int, tuple[FilterRequest, ...], tuple[int, ...]]:
        if not self._v5:
            old = mqtt.parse_subscribe(packet)
            return old.packet_id, tuple(FilterRequest(*each) for each in old.filters), ()
        new = mqtt5.parse_subscribe(packet)
        self._pay_for(new.user_properties)
        return new.packet_id, new.filters, () if new.identifier is None else (new.identifier,)

    def _unsubscribe(self, packet: RawPacket) -> None:
        parsed: mqtt.Unsubscribe | mqtt5.Unsubscribe
        if self._v5:
            parsed = mqtt5.parse_unsubscribe(packet)
            self._pay_for(parsed.user_properties)
        else:
            parsed = mqtt.parse_unsubscribe(packet)
        reasons = tuple(self._store.unsubscribe(self._client, each) for each in parsed.filters)
        self._link.write(self._form.unsuback(parsed.packet_id, reasons))
        self._link.spend(len(parsed.filters))
