"""Fuzz targets of MQTT: the stream of packets, each packet that a server reads, topics and filters."""

from mimi_mqtt.errors import MqttError, ProtocolError
from mimi_mqtt.fleet.credentials import COMMAND_LINE_PASSWORD_S, Credentials
from mimi_mqtt.transports.mqtt.filters import FilterTree, TopicIndex
from mimi_mqtt.transports.mqtt.limits import MAX_FILTER_LEVELS
from mimi_mqtt.wire import mqtt, topics
from mimi_mqtt.wire.mqtt import PacketReader, PacketType, RawPacket
from mimi_mqtt.wire.mqtt_properties import Properties
from tests.fuzz.target import Source, Target, pieces, told_briefly

_MAX_PACKET = 300


# ── the stream ───────────────────────────────────────────────────────────────────────────────────────────


def _read(parts: list[bytes]) -> tuple[list[RawPacket], bool, int]:
    """The packets in `parts`, whether the stream is broken behind them, and the bytes that wait."""
    reader = PacketReader(_MAX_PACKET)
    packets: list[RawPacket] = []
    try:
        for part in parts:
            packets += reader.feed(part)
            packets += reader.feed(b"")  # raises for a fault behind complete packets
            assert reader.pending_bytes <= _MAX_PACKET, "more than one unfinished packet is held"
    except MqttError:
        return packets, True, 0
    return packets, False, reader.pending_bytes


def check_stream(data: bytes) -> bool:
    """A stream of packets: the same ones however it is cut, and no more held than one packet."""
    whole, broken, pending = _read([data])
    assert (whole, broken, pending) == _read(list(pieces(data)))
    raw = b"".join(packet.raw for packet in whole)
    assert data.startswith(raw)
    assert broken or len(raw) + pending == len(data)
    assert all(len(packet.raw) <= _MAX_PACKET and packet.raw.endswith(packet.body) for packet in whole)
    return not broken


# ── packets ──────────────────────────────────────────────────────────────────────────────────────────────


def _cut(data: bytes, *kinds: PacketType) -> RawPacket | None:
    """The packet of one of `kinds` that `data` is: first byte, then the body."""
    if not data or data[0] >> 4 not in kinds:
        return None
    length, body = len(data) - 1, data[1:]
    header = bytearray(data[:1])
    while length > 0x7F:
        header.append(length & 0x7F | 0x80)
        length >>= 7
    header.append(length)
    try:
        (packet,) = PacketReader(1 << 20).feed(bytes(header) + body)
    except MqttError:
        return None
    assert packet.body == body
    return packet


def check_connect(data: bytes) -> bool:
    """CONNECT of levels 3, 4 and 5, and its way back through the encoder."""
    packet = _cut(data, PacketType.CONNECT)
    if packet is None:
        return False
    try:
        parsed = mqtt.parse_connect(packet)
    except MqttError:
        return False
    if parsed.protocol_level not in (3, 4, 5):
        assert parsed == mqtt.Connect(parsed.protocol_name, parsed.protocol_level)
        return True
    again = mqtt.encode_connect(
        parsed.client_id,
        username=parsed.username,
        password=parsed.password,
        keepalive_s=parsed.keepalive_s,
        clean_session=parsed.clean_session,
        will=parsed.will,
        protocol_level=parsed.protocol_level,
        properties=parsed.properties,
    )
    (packet,) = PacketReader(1 << 20).feed(again)
    name = "MQIsdp" if parsed.protocol_level == 3 else "MQTT"
    assert _ordered(mqtt.parse_connect(packet)) == _ordered(parsed._replace(protocol_name=name))
    return True


def _ordered(connect: mqtt.Connect) -> mqtt.Connect:
    """The CONNECT without the order of its will's properties, which the encoder does not keep."""
    if connect.will is None:
        return connect
    return connect._replace(will=connect.will._replace(travelling=bytes(sorted(connect.will.travelling))))


def check_publish(data: bytes) -> bool:
    """PUBLISH: what is parsed encodes to the same bytes, and its topic has no wildcard."""
    packet = _cut(data, PacketType.PUBLISH)
    if packet is None:
        return False
    try:
        parsed = mqtt.parse_publish(packet)
    except MqttError:
        return False
    assert mqtt.encode_publish(*parsed) == packet.raw
    assert topics.is_topic_name(parsed.topic)
    assert (parsed.packet_id is None) == (parsed.qos == 0)
    return True


def check_subscribe(data: bytes) -> bool:
    """SUBSCRIBE and UNSUBSCRIBE: what is parsed encodes to the same bytes, and each filter is one."""
    packet = _cut(data, PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE)
    if packet is None:
        return False
    try:
        if packet.type is PacketType.SUBSCRIBE:
            asked = mqtt.parse_subscribe(packet)
            filters = [topic_filter for topic_filter, _ in asked.filters]
            again = mqtt.encode_subscribe(*asked)
        else:
            left = mqtt.parse_unsubscribe(packet)
            filters = [*left.filters]
            again = mqtt.encode_unsubscribe(*left)
    except MqttError:
        return False
    assert again == packet.raw
    assert filters
    assert all(map(topics.is_topic_filter, filters))
    return True


_ACKS = (PacketType.PUBACK, PacketType.PUBREC, PacketType.PUBREL, PacketType.PUBCOMP, PacketType.UNSUBACK)


def check_ack(data: bytes) -> bool:
    """PUBACK, PUBREC, PUBREL, PUBCOMP, UNSUBACK: a packet id that encodes to the same bytes."""
    packet = _cut(data, *_ACKS)
    if packet is None:
        return False
    try:
        packet_id = mqtt.parse_packet_id(packet)
    except MqttError:
        return False
    assert mqtt.encode_ack(packet.type, packet_id) == packet.raw
    return True


# ── topics ───────────────────────────────────────────────────────────────────────────────────────────────


def _matches(topic_filter: list[str], topic: list[str]) -> bool:
    """Section 4.7 of MQTT 3.1.1 by its letter, slowly."""
    if not topic_filter:
        return not topic
    if topic_filter[0] == "#":
        return True
    if not topic:
        return False
    return topic_filter[0] in ("+", topic[0]) and _matches(topic_filter[1:], topic[1:])


def check_topics(data: bytes) -> bool:
    """Filters and topics, a line each: every index finds what comparing each pair finds."""
    lines = data.decode(errors="replace").split("\n")[:16]
    filters = [line for line in lines if topics.is_topic_filter(line) and line.count("/") < MAX_FILTER_LEVELS]
    names = [line for line in lines if topics.is_topic_name(line)]
    by_filter, by_topic = FilterTree[str, int](max), TopicIndex()
    for topic_filter in filters:
        by_filter.add(topic_filter, topic_filter, 1)
    for name in names:
        by_topic.add(name)
    expected = {
        (topic_filter, name)
        for topic_filter in filters
        for name in names
        if topic_filter.startswith("$") == name.startswith("$")
        and _matches(topic_filter.split("/"), name.split("/"))
    }
    assert {
        (each, name) for each in filters for name in names if topics.filter_matches(each, name)
    } == expected
    assert {(each, name) for name in names for each in by_filter.matching(name)[0]} == expected
    named = {(each, name) for each in filters for name in by_topic.candidates(each)}
    assert {(each, name) for each, name in named if topics.filter_matches(each, name)} == expected
    assert by_filter.size == len(set(filters))
    for topic_filter in filters:
        by_filter.remove(topic_filter, topic_filter)
    assert by_filter.size == 0
    assert not any(by_filter.matching(name)[0] for name in names), "what was removed is found"
    for topic_filter, name in expected:
        prefix = "/".join(name.split("/")[:2])
        if topics.filter_within(topic_filter, prefix):
            assert name == prefix or name.startswith(prefix + "/")
    return bool(filters or names)


def check_device_ids(data: bytes) -> bool:
    """A MAC address and a device's topic: the id is canonical and finds its way back."""
    text = data.decode(errors="replace")
    found = topics.split_device_topic(text)
    if found is not None:
        device_id, leaf = found
        assert topics.is_device_id(device_id)
        assert text == f"{topics.ROOT}/devices/{device_id}/{leaf}"
    try:
        device_id = topics.device_id_from_mac(text)
    except ProtocolError as error:
        told_briefly(error)
        return found is not None
    assert topics.is_device_id(device_id)
    assert topics.device_id_from_mac(device_id) == device_id
    assert topics.split_device_topic(topics.device_topic(device_id, "up")) == (device_id, "up")
    return True


_CREDENTIALS = Credentials(b"s" * 64)
_DEVICE = "aa-bb-cc-00-11-22"
_NOW = 1_700_000_000.0


def check_passwords(data: bytes) -> bool:
    """A password of a CONNECT: taken when it is the right one to the byte, and else never."""
    device = _CREDENTIALS.check_password(data, _DEVICE, 7)
    assert device == (data == _CREDENTIALS.mqtt_password(_DEVICE, 7).encode())
    assert not _CREDENTIALS.check_password(data, None, 7)
    assert not _CREDENTIALS.check_password(data, _DEVICE, 8) or not device
    command_line = _CREDENTIALS.check_command_line_password(data, _NOW)
    if command_line:
        made_at = int(data.partition(b".")[0])
        assert abs(made_at - _NOW) <= COMMAND_LINE_PASSWORD_S
        assert data == _CREDENTIALS.command_line_password(made_at).encode()
    return device or command_line


def check_changing_limit(data: bytes) -> bool:
    """A reader whose limit changes between packets: the limit of the moment holds."""
    source = Source(data)
    reader = PacketReader(64)
    try:
        while source:
            part = source.take(source.number(1) % 32)
            for packet in reader.feed(part):
                assert len(packet.raw) <= 4_096
            reader.max_packet_bytes = 16 + source.number(1) * 16
    except MqttError:
        return False
    assert reader.pending_bytes <= 4_096 + 32
    return True


def _body(raw: bytes) -> bytes:
    """An encoded packet as `_cut` takes it."""
    (packet,) = PacketReader(1 << 20).feed(raw)
    return raw[:1] + packet.body


_WILL = mqtt.Will("last/words", b"gone", 1, True)
_WILL5 = mqtt.Will("w", b"", 0, False, Properties(will_delay_s=3, user_properties=(("k", "v"),)))
_PROPERTIES = Properties(session_expiry_s=9, request_problem=0, authentication_method="m")
_SUBSCRIBE = mqtt.encode_subscribe(7, (("mimi/#", 1), ("+/status", 0)))
_PUBLISH = mqtt.encode_publish("a/b", b"hello", 1, True, False, 9)

TARGETS = (
    Target(
        "mqtt-stream",
        check_stream,
        (
            mqtt.encode_connect("device") + mqtt.PINGREQ + _PUBLISH,
            _SUBSCRIBE + mqtt.encode_publish("a", bytes(200)) + mqtt.DISCONNECT,
        ),
        (mqtt.PINGREQ, b"\x30\x80\x01", b"\x82\x05", b"\xff\xff\xff\x7f"),
    ),
    Target(
        "mqtt-limits",
        check_changing_limit,
        (b"\x02" + mqtt.PINGREQ + b"\x04\x09" + _PUBLISH[:9] + b"\x20" + _PUBLISH[9:],),
        (mqtt.PINGREQ,),
    ),
    Target(
        "mqtt-connect",
        check_connect,
        (
            _body(mqtt.encode_connect("device", username="u", password=b"p", will=_WILL)),
            _body(mqtt.encode_connect("", protocol_level=3)),
            _body(mqtt.encode_connect("five", username="u", will=_WILL, protocol_level=5)),
            b"\x10\0\x04MQTT\x05\x02\0\x3c\x05\x11\0\0\0\x0a\0\x01c",
            _body(mqtt.encode_connect("w", will=_WILL5, protocol_level=5, properties=_PROPERTIES)),
        ),
        (b"\0\x04MQTT", b"\0\x06MQIsdp", b"\x26\0\x01k\0\x01v"),
    ),
    Target(
        "mqtt-publish",
        check_publish,
        (
            _body(_PUBLISH),
            _body(mqtt.encode_publish("a", b"")),
            _body(mqtt.encode_publish("é/b", b"x", 2, packet_id=1)),
        ),
    ),
    Target(
        "mqtt-subscribe",
        check_subscribe,
        (_body(_SUBSCRIBE), _body(mqtt.encode_unsubscribe(8, ("a/+/b", "$SYS/#")))),
        (b"\0\x01#", b"\0\x01+", b"\0\x03a/#"),
    ),
    Target("mqtt-ack", check_ack, tuple(_body(mqtt.encode_ack(kind, 77)) for kind in _ACKS)),
    Target(
        "mqtt-passwords",
        check_passwords,
        (
            _CREDENTIALS.mqtt_password(_DEVICE, 7).encode(),
            _CREDENTIALS.command_line_password(_NOW - 1).encode(),
        ),
        (b".", b"1700000000.", b"0", b"="),
        256,
    ),
    Target(
        "mqtt-topics",
        check_topics,
        (
            b"mimi/#\nmimi/devices/aa/up\n+/status\nmimi/status",
            b"$SYS/#\n$SYS/a\n#\n+/a\na/+/c\na/b/c\na/b/c/d/#",
        ),
        (b"/#", b"/+", b"#", b"+", b"$", b"/", b"\n"),
        512,
    ),
    Target(
        "mqtt-device-ids",
        check_device_ids,
        (b"AA:BB:CC:00:11:22", b"mimi/devices/aa-bb-cc-00-11-22/up", b"aabbcc001122"),
        (b":", b"-", b"mimi/devices/"),
        256,
    ),
)
