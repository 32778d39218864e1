"""The packets to one client in the form of its protocol version, MQTT 3.1.1 or 5; pure."""

from dataclasses import replace
from typing import Final, Protocol

from mimi_mqtt.errors import MqttError
from mimi_mqtt.transports.mqtt.limits import MAX_SENT_ALIASES
from mimi_mqtt.transports.mqtt.message import Message
from mimi_mqtt.wire import mqtt, mqtt5
from mimi_mqtt.wire.mqtt import MAX_REMAINING_BYTES, SUBSCRIBE_FAILURE, PacketType
from mimi_mqtt.wire.mqtt_properties import NO_PROPERTIES, Properties, because
from mimi_mqtt.wire.mqtt_reasons import FAILURE, Reason

_ALIAS_BYTES: Final = 3
"""Bytes of a topic alias: a shorter topic is sent as it is."""


class Form(Protocol):
    """Encoder of the packets to one client, in its version of MQTT."""

    version: int
    shareable: bool
    """True when a QoS 0 message without subscription identifiers is the same to all clients of this
    version."""
    max_packet_bytes: int
    """The longest packet that the client takes."""

    def publish(
        self,
        message: Message,
        now: float,
        qos: int = 0,
        retain: bool = False,
        dup: bool = False,
        packet_id: int | None = None,
        identifiers: tuple[int, ...] = (),
    ) -> bytes | None:
        """PUBLISH; None when it is longer than the client allows."""

    def ack(self, kind: PacketType, packet_id: int, reason: Reason = Reason.SUCCESS, text: str = "") -> bytes:
        """PUBACK, PUBREC, PUBREL or PUBCOMP."""

    def suback(self, packet_id: int, reasons: tuple[Reason, ...], text: str = "") -> bytes:
        """SUBACK, with the QoS granted or the failure of each filter. Raises MqttError when it is longer than
        the client allows, as `unsuback` does."""

    def unsuback(self, packet_id: int, reasons: tuple[Reason, ...]) -> bytes:
        """UNSUBACK."""

    def disconnect(self, reason: Reason, text: str) -> bytes:
        """The server's DISCONNECT; nothing in MQTT 3.1.1, where the server just closes."""


class Form311:
    """MQTT 3.1.1: no properties, no reasons."""

    version = 4
    shareable = True
    max_packet_bytes = MAX_REMAINING_BYTES

    def publish(
        self,
        message: Message,
        now: float,
        qos: int = 0,
        retain: bool = False,
        dup: bool = False,
        packet_id: int | None = None,
        identifiers: tuple[int, ...] = (),
    ) -> bytes:
        """PUBLISH without the message's properties."""
        return mqtt.encode_publish(message.topic, message.payload, qos, retain, dup, packet_id)

    def ack(self, kind: PacketType, packet_id: int, reason: Reason = Reason.SUCCESS, text: str = "") -> bytes:
        """PUBACK, PUBREC, PUBREL or PUBCOMP."""
        return mqtt.encode_ack(kind, packet_id)

    def suback(self, packet_id: int, reasons: tuple[Reason, ...], text: str = "") -> bytes:
        """SUBACK with 0x80 for each failure (section 3.9.3)."""
        codes = (SUBSCRIBE_FAILURE if reason >= FAILURE else int(reason) for reason in reasons)
        return mqtt.encode_suback(packet_id, tuple(codes))

    def unsuback(self, packet_id: int, reasons: tuple[Reason, ...]) -> bytes:
        """UNSUBACK."""
        return mqtt.encode_unsuback(packet_id)

    def disconnect(self, reason: Reason, text: str) -> bytes:
        """Returns nothing."""
        return b""


FORM_311: Final = Form311()


class Form5:
    """MQTT 5, for one connection: within the limits that its CONNECT named, and with its topic aliases.

    An alias is given to each of the first topics that are sent, as many as the client allows and
    MAX_SENT_ALIASES, where it is shorter than the topic.
    """

    version = 5

    def __init__(self, connect: Properties) -> None:
        self.max_packet_bytes = connect.maximum_packet_bytes or MAX_REMAINING_BYTES
        self._problems = connect.request_problem != 0
        self._most_aliases = min(connect.topic_alias_maximum or 0, MAX_SENT_ALIASES)
        self._aliases: dict[str, int] = {}
        self.shareable = not self._most_aliases

    def publish(
        self,
        message: Message,
        now: float,
        qos: int = 0,
        retain: bool = False,
        dup: bool = False,
        packet_id: int | None = None,
        identifiers: tuple[int, ...] = (),
    ) -> bytes | None:
        """PUBLISH with the properties that travel, the expiry left, subscription identifiers and an alias."""
        topic, alias, new = message.topic, None, False
        if self._most_aliases:
            alias = self._aliases.get(topic)
            if alias is not None:
                topic = ""
            elif len(self._aliases) < self._most_aliases and len(topic) > _ALIAS_BYTES:
                alias, new = len(self._aliases) + 1, True
        left = message.seconds_left(now)
        properties = NO_PROPERTIES
        if alias is not None or left is not None or identifiers:
            properties = Properties(message_expiry_s=left, subscription_ids=identifiers, topic_alias=alias)

        def encoded(properties: Properties) -> bytes:
            return mqtt5.encode_publish(
                topic, message.payload, qos, retain, dup, packet_id, properties, message.travelling
            )

        packet = encoded(properties)
        if len(packet) > self.max_packet_bytes and new:  # the bytes of a new alias may be those too many
            packet, new = encoded(replace(properties, topic_alias=None)), False
        if len(packet) > self.max_packet_bytes:
            return None
        if new and alias is not None:
            self._aliases[topic] = alias
        return packet

    def ack(self, kind: PacketType, packet_id: int, reason: Reason = Reason.SUCCESS, text: str = "") -> bytes:
        """PUBACK, PUBREC, PUBREL or PUBCOMP, with a reason for people where the client wants to know."""
        return self._shorter(
            mqtt5.encode_ack(kind, packet_id, reason, self._why(text)),
            mqtt5.encode_ack(kind, packet_id, reason),
        )

    def suback(self, packet_id: int, reasons: tuple[Reason, ...], text: str = "") -> bytes:
        """SUBACK, with a reason for people where the client wants to know."""
        return self._allowed(
            self._shorter(
                mqtt5.encode_subscribe_answer(PacketType.SUBACK, packet_id, reasons, self._why(text)),
                mqtt5.encode_subscribe_answer(PacketType.SUBACK, packet_id, reasons),
            ),
            "SUBACK",
        )

    def unsuback(self, packet_id: int, reasons: tuple[Reason, ...]) -> bytes:
        """UNSUBACK."""
        return self._allowed(
            mqtt5.encode_subscribe_answer(PacketType.UNSUBACK, packet_id, reasons), "UNSUBACK"
        )

    def disconnect(self, reason: Reason, text: str) -> bytes:
        """DISCONNECT with a reason for people (also without request problem information: 3.1.2.11.7)."""
        return self._shorter(
            mqtt5.encode_closing(PacketType.DISCONNECT, reason, because(text)),
            mqtt5.encode_closing(PacketType.DISCONNECT, reason),
        )

    def _why(self, text: str) -> Properties:
        return because(text) if self._problems else NO_PROPERTIES

    def _allowed(self, packet: bytes, name: str) -> bytes:
        """The packet, which has no shorter form. Raises MqttError: it is longer than the client allows."""
        if len(packet) > self.max_packet_bytes:
            text = f"a {name} of {len(packet)} bytes is longer than you allow: name fewer filters at once"
            raise MqttError(text, Reason.PACKET_TOO_LARGE)
        return packet

    def _shorter(self, full: bytes, short: bytes) -> bytes:
        """The packet without its reason string where that is too long (sections 3.4.2.2.2, 3.14.2.2.3)."""
        return full if len(full) <= self.max_packet_bytes else short
