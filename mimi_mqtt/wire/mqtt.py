"""MQTT control packets: those a server reads, and the encoders of both directions.

MQTT 3.1.1 (OASIS, 29 October 2014) throughout; CONNECT, which tells the version, also as 3.1 (level 3), well
enough to answer it, and as 5 (level 5). The other packets of MQTT 5 are in `mqtt5`. `PacketReader` cuts the
stream; one `parse_…` function reads each packet type. Values are NamedTuples: a connection storm is parsed in
a few microseconds a packet.
"""

from typing import NamedTuple

from mimi_mqtt.errors import MqttError
from mimi_mqtt.wire.mqtt_framing import PacketReader as PacketReader
from mimi_mqtt.wire.mqtt_framing import PacketType as PacketType
from mimi_mqtt.wire.mqtt_framing import RawPacket as RawPacket
from mimi_mqtt.wire.mqtt_properties import (
    NO_PROPERTIES,
    WILL,
    Properties,
    encode_properties,
    parse_properties,
)
from mimi_mqtt.wire.mqtt_reasons import Reason
from mimi_mqtt.wire.mqtt_strings import MAX_REMAINING_BYTES as MAX_REMAINING_BYTES
from mimi_mqtt.wire.mqtt_strings import (
    make_packet,
    prefixed,
    read_binary,
    read_packet_id,
    read_string,
    two_bytes,
)
from mimi_mqtt.wire.topics import is_topic_filter, is_topic_name

PINGREQ = b"\xc0\x00"
PINGRESP = b"\xd0\x00"
DISCONNECT = b"\xe0\x00"

ACCEPTED = 0
REFUSED_PROTOCOL = 1
REFUSED_CLIENT_ID = 2
REFUSED_UNAVAILABLE = 3
REFUSED_CREDENTIALS = 4
REFUSED_NOT_AUTHORIZED = 5
SUBSCRIBE_FAILURE = 0x80

MAX_PACKET_FILTERS = 1_000
"""Topic filters that one SUBSCRIBE or UNSUBSCRIBE may have: a packet is parsed and answered in one go."""


# ── packets a server reads ───────────────────────────────────────────────────────────────────────────────


class Will(NamedTuple):
    """The message that the server publishes when the connection dies without DISCONNECT.

    `properties` are those of MQTT 5, `travelling` the encoded ones that go on to receivers.
    """

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties = NO_PROPERTIES
    travelling: bytes = b""


class Connect(NamedTuple):
    """CONNECT, section 3.1. `protocol_level` 3, 4 or 5; with any other one the rest is empty: refuse it.

    `clean_session` is Clean Start in MQTT 5.
    """

    protocol_name: str
    protocol_level: int
    client_id: str = ""
    clean_session: bool = True
    keepalive_s: int = 0
    will: Will | None = None
    username: str | None = None
    password: bytes | None = None
    properties: Properties = NO_PROPERTIES


class Publish(NamedTuple):
    """PUBLISH, section 3.3; `packet_id` is None with QoS 0."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    dup: bool = False
    packet_id: int | None = None


class Subscribe(NamedTuple):
    """SUBSCRIBE, section 3.8: filters with the QoS asked for."""

    packet_id: int
    filters: tuple[tuple[str, int], ...]


class Unsubscribe(NamedTuple):
    """UNSUBSCRIBE, section 3.10."""

    packet_id: int
    filters: tuple[str, ...]


def parse_connect(packet: RawPacket) -> Connect:
    """CONNECT of any level. Raises MqttError when malformed; policy (an empty client id…) is the caller's."""
    body = packet.body
    name, at = read_string(body, 0, "protocol name")
    if name not in ("MQTT", "MQIsdp"):
        raise MqttError(f"protocol name is {name[:20]!r}, not MQTT")
    if at >= len(body):
        raise MqttError("CONNECT is cut short")
    level = body[at]
    if level not in (3, 4, 5):
        return Connect(name, level)
    if len(body) < at + 4:
        raise MqttError("CONNECT is cut short")
    flags = body[at + 1]
    keepalive_s = body[at + 2] << 8 | body[at + 3]
    at += 4
    if flags & 0x01:
        raise MqttError("CONNECT's reserved flag is set")
    properties = NO_PROPERTIES
    if level == 5:
        properties, at, _ = parse_properties(body, at, PacketType.CONNECT)
        if properties.authentication_data is not None and properties.authentication_method is None:
            raise MqttError("authentication data without a method", Reason.PROTOCOL_ERROR)
    client_id, at = read_string(body, at, "client id")
    will = None
    if flags & 0x04:
        qos = flags >> 3 & 3
        if qos == 3:
            raise MqttError("the will asks for QoS 3")
        will_properties, travelling = NO_PROPERTIES, b""
        if level == 5:
            will_properties, at, travelling = parse_properties(body, at, WILL)
        topic, at = read_string(body, at, "will topic")
        if not is_topic_name(topic):
            raise MqttError(f"will topic {topic[:80]!r} is not a topic name")
        payload, at = read_binary(body, at, "will message")
        will = Will(topic, payload, qos, flags & 0x20 != 0, will_properties, travelling)
    elif flags & 0x38:
        raise MqttError("will QoS or retain without a will")
    username = password = None
    if flags & 0x80:
        username, at = read_string(body, at, "user name")
    elif flags & 0x40 and level != 5:
        raise MqttError("a password without a user name")
    if flags & 0x40:
        password, at = read_binary(body, at, "password")
    if at != len(body):
        raise MqttError(f"{len(body) - at} bytes behind CONNECT's payload")
    return Connect(
        name, level, client_id, flags & 0x02 != 0, keepalive_s, will, username, password, properties
    )


def parse_publish(packet: RawPacket) -> Publish:
    """PUBLISH. Raises MqttError: a wildcard or nothing as topic, DUP with QoS 0, packet id 0, cut short."""
    body, flags = packet.body, packet.flags
    topic, at = read_string(body, 0, "topic")
    if not is_topic_name(topic):
        raise MqttError(f"{topic[:80]!r} is not a topic name")
    qos = flags >> 1 & 3
    if qos == 0:
        if flags & 0x08:
            raise MqttError("PUBLISH with QoS 0 is marked as a duplicate")
        return Publish(topic, body[at:], 0, flags & 1 != 0)
    return Publish(topic, body[at + 2 :], qos, flags & 1 != 0, flags & 8 != 0, read_packet_id(body, at))


def _filter(body: bytes, at: int) -> tuple[str, int]:
    topic_filter, at = read_string(body, at, "topic filter")
    if not is_topic_filter(topic_filter):
        raise MqttError(f"{topic_filter[:80]!r} is not a topic filter")
    return topic_filter, at


def parse_subscribe(packet: RawPacket) -> Subscribe:
    """SUBSCRIBE with at least one filter. Raises MqttError."""
    body = packet.body
    packet_id, at = read_packet_id(body), 2
    filters: list[tuple[str, int]] = []
    while at < len(body):
        topic_filter, at = _filter(body, at)
        if at >= len(body):
            raise MqttError("SUBSCRIBE is cut short")
        if body[at] > 2:
            raise MqttError(f"SUBSCRIBE asks for QoS byte 0x{body[at]:02x}")
        filters.append((topic_filter, body[at]))
        at += 1
        if len(filters) > MAX_PACKET_FILTERS:
            raise MqttError(f"SUBSCRIBE has more than {MAX_PACKET_FILTERS} topic filters")
    if not filters:
        raise MqttError("SUBSCRIBE without a topic filter")
    return Subscribe(packet_id, tuple(filters))


def parse_unsubscribe(packet: RawPacket) -> Unsubscribe:
    """UNSUBSCRIBE with at least one filter. Raises MqttError."""
    body = packet.body
    packet_id, at = read_packet_id(body), 2
    filters: list[str] = []
    while at < len(body):
        topic_filter, at = _filter(body, at)
        filters.append(topic_filter)
        if len(filters) > MAX_PACKET_FILTERS:
            raise MqttError(f"UNSUBSCRIBE has more than {MAX_PACKET_FILTERS} topic filters")
    if not filters:
        raise MqttError("UNSUBSCRIBE without a topic filter")
    return Unsubscribe(packet_id, tuple(filters))


def parse_packet_id(packet: RawPacket) -> int:
    """The packet id of a PUBACK, PUBREC, PUBREL, PUBCOMP or UNSUBACK: all they hold. Raises MqttError."""
    if len(packet.body) != 2:
        raise MqttError(f"{packet.type.name} has {len(packet.body)} bytes, not 2")
    return read_packet_id(packet.body)


# ── encoders ─────────────────────────────────────────────────────────────────────────────────────────────


def encode_connect(
    client_id: str,
    *,
    username: str | None = None,
    password: bytes | None = None,
    keepalive_s: int = 60,
    clean_session: bool = True,
    will: Will | None = None,
    protocol_level: int = 4,
    properties: Properties = NO_PROPERTIES,
) -> bytes:
    """CONNECT of a client; level 3, 4 or 5. Only 5 has `properties`, and those of the will."""
    flags = clean_session << 1 | (username is not None) << 7 | (password is not None) << 6
    v5 = protocol_level == 5
    payload = prefixed(client_id)
    if v5:
        payload = encode_properties(properties, PacketType.CONNECT) + payload
    if will is not None:
        flags |= 0x04 | will.qos << 3 | will.retain << 5
        payload += encode_properties(will.properties, WILL) if v5 else b""
        payload += prefixed(will.topic) + prefixed(will.payload)
    if username is not None:
        payload += prefixed(username)
    if password is not None:
        payload += prefixed(password)
    name = "MQIsdp" if protocol_level == 3 else "MQTT"
    head = prefixed(name) + bytes((protocol_level, flags)) + two_bytes(keepalive_s)
    return make_packet(0x10, head + payload)


def encode_connack(return_code: int, session_present: bool = False) -> bytes:
    """CONNACK of 3.1 and 3.1.1 (section 3.2.2.3: 0 accepted, 1 to 5 refused)."""
    return bytes((0x20, 2, session_present, return_code))


def encode_publish(
    topic: str,
    payload: bytes,
    qos: int = 0,
    retain: bool = False,
    dup: bool = False,
    packet_id: int | None = None,
) -> bytes:
    """PUBLISH; QoS 1 and 2 need a `packet_id` (1 to 65,535). Raises MqttError for an illegal topic or id."""
    if not is_topic_name(topic):
        raise MqttError(f"{topic[:80]!r} is not a topic name")
    if qos == 0:
        return make_packet(0x30 | retain, prefixed(topic) + payload)
    if packet_id is None or not 0 < packet_id < 0x10000:
        raise MqttError(f"packet id {packet_id} with QoS {qos}")
    body = prefixed(topic) + two_bytes(packet_id) + payload
    return make_packet(0x30 | dup << 3 | qos << 1 | retain, body)


def encode_subscribe(packet_id: int, filters: tuple[tuple[str, int], ...]) -> bytes:
    """SUBSCRIBE to (filter, QoS) pairs."""
    body = b"".join(prefixed(topic_filter) + bytes((qos,)) for topic_filter, qos in filters)
    return make_packet(0x82, two_bytes(packet_id) + body)


def encode_suback(packet_id: int, return_codes: tuple[int, ...]) -> bytes:
    """SUBACK: for each filter the granted QoS, or SUBSCRIBE_FAILURE."""
    return make_packet(0x90, two_bytes(packet_id) + bytes(return_codes))


def encode_unsubscribe(packet_id: int, filters: tuple[str, ...]) -> bytes:
    """UNSUBSCRIBE from filters."""
    return make_packet(0xA2, two_bytes(packet_id) + b"".join(map(prefixed, filters)))


def encode_unsuback(packet_id: int) -> bytes:
    """UNSUBACK."""
    return encode_ack(PacketType.UNSUBACK, packet_id)


def encode_ack(kind: PacketType, packet_id: int) -> bytes:
    """PUBACK, PUBREC, PUBREL, PUBCOMP or UNSUBACK."""
    flags = 2 if kind is PacketType.PUBREL else 0
    return bytes((kind << 4 | flags, 2, packet_id >> 8, packet_id & 0xFF))
