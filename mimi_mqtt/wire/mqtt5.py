"""Control packets of MQTT 5 (OASIS, 7 March 2019): parsers and encoders of both directions.

CONNECT is read by `mqtt.parse_connect`, whatever its version; PINGREQ and PINGRESP are those of 3.1.1. Each
parser raises MqttError, whose `reason_code` is what the DISCONNECT that answers it should say.
"""

from typing import NamedTuple

from mimi_mqtt.errors import MqttError
from mimi_mqtt.wire.mqtt import MAX_PACKET_FILTERS
from mimi_mqtt.wire.mqtt_framing import PacketType, RawPacket
from mimi_mqtt.wire.mqtt_properties import (
    NO_PROPERTIES,
    Properties,
    UserProperties,
    encode_properties,
    parse_properties,
)
from mimi_mqtt.wire.mqtt_reasons import Reason, reason_in
from mimi_mqtt.wire.mqtt_strings import make_packet, prefixed, read_packet_id, read_string, two_bytes
from mimi_mqtt.wire.topics import is_topic_filter, is_topic_name

SHARE = "$share"


class Publish(NamedTuple):
    """PUBLISH, section 3.3. `topic` is empty when `properties.topic_alias` stands for it; `travelling` are
    the encoded properties that go on to receivers."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    dup: bool = False
    packet_id: int | None = None
    properties: Properties = NO_PROPERTIES
    travelling: bytes = b""


class Ack(NamedTuple):
    """PUBACK, PUBREC, PUBREL or PUBCOMP, sections 3.4 to 3.7."""

    packet_id: int
    reason: Reason = Reason.SUCCESS
    properties: Properties = NO_PROPERTIES


class FilterRequest(NamedTuple):
    """A topic filter of SUBSCRIBE with its options (section 3.8.3.1)."""

    topic_filter: str
    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0


class Subscribe(NamedTuple):
    """SUBSCRIBE, section 3.8; `identifier` is None without a subscription identifier."""

    packet_id: int
    filters: tuple[FilterRequest, ...]
    identifier: int | None = None
    user_properties: UserProperties = ()


class Unsubscribe(NamedTuple):
    """UNSUBSCRIBE, section 3.10."""

    packet_id: int
    filters: tuple[str, ...]
    user_properties: UserProperties = ()


class Connack(NamedTuple):
    """CONNACK, section 3.2."""

    session_present: bool
    reason: Reason
    properties: Properties = NO_PROPERTIES


class SubscribeAnswer(NamedTuple):
    """SUBACK or UNSUBACK, sections 3.9 and 3.11: a reason for each filter."""

    packet_id: int
    reasons: tuple[Reason, ...]
    properties: Properties = NO_PROPERTIES


class Closing(NamedTuple):
    """DISCONNECT or AUTH, sections 3.14 and 3.15."""

    reason: Reason = Reason.SUCCESS
    properties: Properties = NO_PROPERTIES


# ── parsers ──────────────────────────────────────────────────────────────────────────────────────────────


def parse_publish(raw: RawPacket) -> Publish:
    """PUBLISH of either direction."""
    body, flags = raw.body, raw.flags
    topic, at = read_string(body, 0, "topic")
    qos = flags >> 1 & 3
    identifier = None
    if qos:
        identifier = read_packet_id(body, at)
        at += 2
    elif flags & 0x08:
        raise MqttError("PUBLISH with QoS 0 is marked as a duplicate")
    properties, at, travelling = parse_properties(body, at, PacketType.PUBLISH)
    if topic:
        if not is_topic_name(topic):
            raise MqttError(f"{topic[:80]!r} is not a topic name", Reason.TOPIC_NAME_INVALID)
    elif properties.topic_alias is None:
        raise MqttError("PUBLISH has neither a topic nor a topic alias", Reason.PROTOCOL_ERROR)
    if properties.topic_alias == 0:
        raise MqttError("topic alias 0", Reason.TOPIC_ALIAS_INVALID)
    return Publish(topic, body[at:], qos, flags & 1 != 0, flags & 8 != 0, identifier, properties, travelling)


def parse_client_publish(raw: RawPacket) -> Publish:
    """PUBLISH of a client, to a server whose Topic Alias Maximum is 0; it can't have a subscription
    identifier (section 3.3.4)."""
    publish = parse_publish(raw)
    if publish.properties.topic_alias is not None:
        raise MqttError("this broker has no topic aliases: send the topic", Reason.TOPIC_ALIAS_INVALID)
    if publish.properties.subscription_ids:
        raise MqttError("a client's PUBLISH with a subscription identifier", Reason.PROTOCOL_ERROR)
    return publish


def parse_ack(raw: RawPacket) -> Ack:
    """PUBACK, PUBREC, PUBREL or PUBCOMP; reason and properties may be left out."""
    body = raw.body
    identifier = read_packet_id(body)
    if len(body) == 2:
        return Ack(identifier)
    reason = reason_in(raw.type, body[2])
    return Ack(identifier, reason, _optional_properties(raw, 3))


def _optional_properties(raw: RawPacket, at: int) -> Properties:
    """The property block that ends the packet, if it has one."""
    if at == len(raw.body):
        return NO_PROPERTIES
    properties, end, _ = parse_properties(raw.body, at, raw.type)
    if end != len(raw.body):
        raise MqttError(f"{len(raw.body) - end} bytes behind {raw.type.name}")
    return properties


def _filter(body: bytes, at: int) -> tuple[str, int]:
    topic_filter, at = read_string(body, at, "topic filter")
    if not is_topic_filter(topic_filter):
        raise MqttError(f"{topic_filter[:80]!r} is not a topic filter", Reason.TOPIC_FILTER_INVALID)
    return topic_filter, at


def parse_subscribe(raw: RawPacket) -> Subscribe:
    """SUBSCRIBE with at least one filter; a shared subscription can't have No Local (section 3.8.3.1)."""
    body = raw.body
    identifier = read_packet_id(body)
    properties, at, _ = parse_properties(body, 2, PacketType.SUBSCRIBE)
    filters: list[FilterRequest] = []
    while at < len(body):
        topic_filter, at = _filter(body, at)
        if at >= len(body):
            raise MqttError("SUBSCRIBE is cut short")
        options = body[at]
        at += 1
        if options & 0xC0:
            raise MqttError(f"SUBSCRIBE has the options 0x{options:02x}")
        if options & 3 == 3 or options >> 4 == 3:
            raise MqttError(f"SUBSCRIBE has the options 0x{options:02x}", Reason.PROTOCOL_ERROR)
        request = FilterRequest(topic_filter, options & 3, options & 4 != 0, options & 8 != 0, options >> 4)
        if request.no_local and topic_filter.startswith(f"{SHARE}/"):
            raise MqttError("a shared subscription with No Local", Reason.PROTOCOL_ERROR)
        filters.append(request)
        if len(filters) > MAX_PACKET_FILTERS:
            raise MqttError(
                f"SUBSCRIBE has more than {MAX_PACKET_FILTERS} topic filters", Reason.QUOTA_EXCEEDED
            )
    if not filters:
        raise MqttError("SUBSCRIBE without a topic filter", Reason.PROTOCOL_ERROR)
    found = properties.subscription_ids
    return Subscribe(identifier, tuple(filters), found[0] if found else None, properties.user_properties)


def parse_unsubscribe(raw: RawPacket) -> Unsubscribe:
    """UNSUBSCRIBE with at least one filter."""
    body = raw.body
    identifier = read_packet_id(body)
    properties, at, _ = parse_properties(body, 2, PacketType.UNSUBSCRIBE)
    filters: list[str] = []
    while at < len(body):
        topic_filter, at = _filter(body, at)
        filters.append(topic_filter)
        if len(filters) > MAX_PACKET_FILTERS:
            raise MqttError(
                f"UNSUBSCRIBE has more than {MAX_PACKET_FILTERS} topic filters", Reason.QUOTA_EXCEEDED
            )
    if not filters:
        raise MqttError("UNSUBSCRIBE without a topic filter", Reason.PROTOCOL_ERROR)
    return Unsubscribe(identifier, tuple(filters), properties.user_properties)


def parse_closing(raw: RawPacket) -> Closing:
    """DISCONNECT or AUTH; reason and properties may be left out."""
    if not raw.body:
        return Closing()
    return Closing(reason_in(raw.type, raw.body[0]), _optional_properties(raw, 1))


def parse_connack(raw: RawPacket) -> Connack:
    """CONNACK."""
    body = raw.body
    if len(body) < 3 or body[0] > 1:
        raise MqttError("CONNACK is cut short, or its flags are none")
    reason = reason_in(PacketType.CONNACK, body[1])
    return Connack(body[0] == 1, reason, _optional_properties(raw, 2))


def parse_subscribe_answer(raw: RawPacket) -> SubscribeAnswer:
    """SUBACK or UNSUBACK with at least one reason."""
    body = raw.body
    identifier = read_packet_id(body)
    properties, at, _ = parse_properties(body, 2, raw.type)
    reasons = tuple(reason_in(raw.type, code) for code in body[at:])
    if not reasons:
        raise MqttError(f"{raw.type.name} without a reason code")
    return SubscribeAnswer(identifier, reasons, properties)


# ── encoders ─────────────────────────────────────────────────────────────────────────────────────────────


def encode_publish(
    topic: str,
    payload: bytes,
    qos: int = 0,
    retain: bool = False,
    dup: bool = False,
    packet_id: int | None = None,
    properties: Properties = NO_PROPERTIES,
    travelling: bytes = b"",
) -> bytes:
    """PUBLISH; `topic` may be empty with a topic alias. QoS 1 and 2 need a `packet_id`."""
    if not (is_topic_name(topic) or (not topic and properties.topic_alias)):
        raise MqttError(f"{topic[:80]!r} is not a topic name")
    block = encode_properties(properties, PacketType.PUBLISH, travelling)
    if qos == 0:
        return make_packet(0x30 | retain, prefixed(topic) + block + payload)
    if packet_id is None or not 0 < packet_id < 0x10000:
        raise MqttError(f"packet id {packet_id} with QoS {qos}")
    body = prefixed(topic) + two_bytes(packet_id) + block + payload
    return make_packet(0x30 | dup << 3 | qos << 1 | retain, body)


def encode_ack(
    kind: PacketType, packet_id: int, reason: Reason = Reason.SUCCESS, properties: Properties = NO_PROPERTIES
) -> bytes:
    """PUBACK, PUBREC, PUBREL or PUBCOMP, as short as it can be."""
    first = kind << 4 | (2 if kind is PacketType.PUBREL else 0)
    body = two_bytes(packet_id)
    if properties is not NO_PROPERTIES:
        body += bytes((reason,)) + encode_properties(properties, kind)
    elif reason:
        body += bytes((reason,))
    return make_packet(first, body)


def encode_subscribe(
    packet_id: int,
    filters: tuple[FilterRequest, ...],
    identifier: int | None = None,
    user_properties: UserProperties = (),
) -> bytes:
    """SUBSCRIBE."""
    found = () if identifier is None else (identifier,)
    properties = Properties(subscription_ids=found, user_properties=user_properties)
    body = two_bytes(packet_id) + encode_properties(properties, PacketType.SUBSCRIBE)
    for topic_filter, qos, no_local, as_published, handling in filters:
        body += prefixed(topic_filter) + bytes((qos | no_local << 2 | as_published << 3 | handling << 4,))
    return make_packet(0x82, body)


def encode_unsubscribe(
    packet_id: int, filters: tuple[str, ...], user_properties: UserProperties = ()
) -> bytes:
    """UNSUBSCRIBE."""
    block = encode_properties(Properties(user_properties=user_properties), PacketType.UNSUBSCRIBE)
    return make_packet(0xA2, two_bytes(packet_id) + block + b"".join(map(prefixed, filters)))


def encode_connack(
    reason: Reason, session_present: bool = False, properties: Properties = NO_PROPERTIES
) -> bytes:
    """CONNACK."""
    block = encode_properties(properties, PacketType.CONNACK)
    return make_packet(0x20, bytes((session_present, reason)) + block)


def encode_subscribe_answer(
    kind: PacketType,
    packet_id: int,
    reasons: tuple[Reason, ...],
    properties: Properties = NO_PROPERTIES,
) -> bytes:
    """SUBACK or UNSUBACK."""
    return make_packet(kind << 4, two_bytes(packet_id) + encode_properties(properties, kind) + bytes(reasons))


def encode_closing(
    kind: PacketType, reason: Reason = Reason.SUCCESS, properties: Properties = NO_PROPERTIES
) -> bytes:
    """DISCONNECT or AUTH, as short as it can be."""
    if properties is not NO_PROPERTIES:
        return make_packet(kind << 4, bytes((reason,)) + encode_properties(properties, kind))
    return make_packet(kind << 4, bytes((reason,)) if reason else b"")
