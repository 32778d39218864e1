"""Byte vectors are written by hand from MQTT 3.1.1 (and 5, for CONNECT)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.errors import MqttError
from mimi_mqtt.wire import mqtt
from mimi_mqtt.wire.mqtt import Connect, PacketReader, PacketType, Publish, RawPacket, Subscribe, Will
from mimi_mqtt.wire.mqtt_properties import Properties

strings = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
names = st.text(st.characters(codec="utf-8", exclude_characters="\0#+"), min_size=1, max_size=40)
filters = st.sampled_from(["#", "+", "a/+/b", "mimi/devices/x/down", "a/#", "ü"])
packet_ids = st.integers(1, 0xFFFF)
wills = st.tuples(names, st.binary(max_size=40), st.integers(0, 2), st.booleans()).map(
    lambda will: Will(*will)
)

CONNECT_EVERYTHING = bytes.fromhex(
    "10 32"  # CONNECT, 50 bytes
    "0004 4d515454 04"  # MQTT, level 4
    "ee 00f0"  # user name, password, will retained with QoS 1, clean session; keepalive 240 s
    "0006 6465766963 65"  # client id: device
    "000b 6d696d692f737461747573"  # will topic: mimi/status
    "0004 676f6e65"  # will message: gone
    "0004 75736572"  # user name: user
    "0005 70 00 ff 23 2b"  # password: any bytes
)


def only(data: bytes, limit: int = 1 << 28) -> RawPacket:
    (packet,) = PacketReader(limit).feed(data)
    return packet


def body_of(kind: PacketType, flags: int, hexadecimal: str) -> RawPacket:
    body = bytes.fromhex(hexadecimal)
    return RawPacket(kind, flags, body, b"")


# ── CONNECT ──────────────────────────────────────────────────────────────────────────────────────────────


def test_connect_with_will_user_and_password() -> None:
    expected = Connect(
        "MQTT", 4, "device", True, 240, Will("mimi/status", b"gone", 1, True), "user", b"p\0\xff#+"
    )
    assert mqtt.parse_connect(only(CONNECT_EVERYTHING)) == expected
    assert (
        mqtt.encode_connect(
            "device", username="user", password=b"p\0\xff#+", keepalive_s=240, will=expected.will
        )
        == CONNECT_EVERYTHING
    )


def test_smallest_connect() -> None:
    raw = bytes.fromhex("10 0c 0004 4d515454 04 02 003c 0000")
    assert mqtt.parse_connect(only(raw)) == Connect("MQTT", 4, "", True, 60)
    assert mqtt.encode_connect("") == raw


def test_connect_of_mqtt_3_1() -> None:
    raw = bytes.fromhex("10 0f 0006 4d5149736470 03 00 000a 0001 61")
    assert mqtt.parse_connect(only(raw)) == Connect("MQIsdp", 3, "a", False, 10)
    assert mqtt.encode_connect("a", keepalive_s=10, clean_session=False, protocol_level=3) == raw


def test_connect_of_mqtt_5_with_properties() -> None:
    raw = bytes.fromhex(
        "10 39"  # CONNECT, 57 bytes
        "0004 4d515454 05 c6 003c"
        "13 11 0000000a 21 0014 26 0001 61 0001 62 15 0001 78"  # expiry, receive maximum, user, method
        "0001 61"
        "05 18 00000005"  # will delay
        "0001 74 0001 6d"
        "0004 75736572 0004 70617373"
    )
    will = Will("t", b"m", properties=Properties(will_delay_s=5))
    properties = Properties(
        session_expiry_s=10, receive_maximum=20, user_properties=(("a", "b"),), authentication_method="x"
    )
    expected = Connect("MQTT", 5, "a", True, 60, will, "user", b"pass", properties)
    assert mqtt.parse_connect(only(raw)) == expected


def test_mqtt_5_allows_a_password_without_a_user_name() -> None:
    raw = mqtt.encode_connect("a", password=b"token", protocol_level=5)
    assert mqtt.parse_connect(only(raw)) == Connect("MQTT", 5, "a", True, 60, None, None, b"token")


def test_unknown_level_is_left_to_the_server_to_refuse() -> None:
    assert mqtt.parse_connect(only(bytes.fromhex("10 08 0004 4d515454 06 ff"))) == Connect("MQTT", 6)


@given(
    strings,
    st.none() | strings,
    st.none() | st.binary(max_size=40),
    st.integers(0, 0xFFFF),
    st.booleans(),
    st.none() | wills,
    st.sampled_from([3, 4, 5]),
)
def test_connect_round_trip(
    client_id: str,
    username: str | None,
    password: bytes | None,
    keepalive_s: int,
    clean: bool,
    will: Will | None,
    level: int,
) -> None:
    if username is None and level < 5:
        password = None
    raw = mqtt.encode_connect(
        client_id,
        username=username,
        password=password,
        keepalive_s=keepalive_s,
        clean_session=clean,
        will=will,
        protocol_level=level,
    )
    name = "MQIsdp" if level == 3 else "MQTT"
    expected = Connect(name, level, client_id, clean, keepalive_s, will, username, password)
    assert mqtt.parse_connect(only(raw)) == expected


@pytest.mark.parametrize(
    "body",
    [
        "",
        "0004 4d515454",
        "0004 4d515454 04 02 00",
        "0004 4d515455 04 02 003c 0000",
        "0004 ff515454 04 02 003c 0000",
        "0004 4d515454 04 03 003c 0000",
        "0004 4d515454 04 02 003c",
        "0004 4d515454 04 02 003c 0001",
        "0004 4d515454 04 02 003c 0001 00",
        "0004 4d515454 04 02 003c 0002 c080",
        "0004 4d515454 04 02 003c 0003 eda080",
        "0004 4d515454 04 02 003c 0000 00",
        "0004 4d515454 04 42 003c 0000 0000",
        "0004 4d515454 04 0a 003c 0000",
        "0004 4d515454 04 22 003c 0000",
        "0004 4d515454 04 1e 003c 0000 0001 61 0000",
        "0004 4d515454 04 06 003c 0000 0001 23 0000",
        "0004 4d515454 04 06 003c 0000 0000 0000",
        "0004 4d515454 04 06 003c 0000 0001 61",
        "0004 4d515454 04 82 003c 0000",
        "0004 4d515454 04 c2 003c 0000 0001 61 0002 61",
        "0004 4d515454 05 02 003c",
        "0004 4d515454 05 02 003c ffffffff7f 0000",
        "0004 4d515454 05 02 003c 05 11 0000",
        "0004 4d515454 05 02 003c 02 7f00 0000",
        "0004 4d515454 05 02 003c 02 1100 0000",
        "0004 4d515454 05 02 003c 03 15 0005 0000",
        "0004 4d515454 05 02 003c 02 1500 0000",
    ],
)
def test_malformed_connects_are_refused(body: str) -> None:
    with pytest.raises(MqttError):
        mqtt.parse_connect(body_of(PacketType.CONNECT, 0, body))


@pytest.mark.parametrize("level", [3, 4, 5])
def test_connect_cut_anywhere_is_refused(level: int) -> None:
    whole = only(
        mqtt.encode_connect("id", username="u", password=b"p", will=Will("t", b"m"), protocol_level=level)
    )
    for size in range(len(whole.body)):
        with pytest.raises(MqttError):
            mqtt.parse_connect(whole._replace(body=whole.body[:size]))


# ── CONNACK ──────────────────────────────────────────────────────────────────────────────────────────────


def test_connack_vectors() -> None:
    assert mqtt.encode_connack(mqtt.ACCEPTED) == bytes.fromhex("20 02 00 00")
    assert mqtt.encode_connack(mqtt.ACCEPTED, session_present=True) == bytes.fromhex("20 02 01 00")
    assert mqtt.encode_connack(mqtt.REFUSED_NOT_AUTHORIZED) == bytes.fromhex("20 02 00 05")


# ── PUBLISH ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("raw", "publish"),
    [
        ("30 05 0003 612f62", Publish("a/b", b"")),
        ("31 07 0003 612f62 6869", Publish("a/b", b"hi", 0, True)),
        ("32 09 0003 612f62 000a 6869", Publish("a/b", b"hi", 1, False, False, 10)),
        ("3d 09 0003 612f62 ffff 6869", Publish("a/b", b"hi", 2, True, True, 0xFFFF)),
    ],
)
def test_publish_vectors(raw: str, publish: Publish) -> None:
    data = bytes.fromhex(raw)
    assert mqtt.parse_publish(only(data)) == publish
    assert mqtt.encode_publish(*publish) == data


@given(names, st.binary(max_size=20_000), st.integers(0, 2), st.booleans(), st.booleans(), packet_ids)
def test_publish_round_trip(
    topic: str, payload: bytes, qos: int, retain: bool, dup: bool, packet_id: int
) -> None:
    raw = mqtt.encode_publish(topic, payload, qos, retain, dup, packet_id)
    expected = Publish(topic, payload, qos, retain, dup and qos > 0, packet_id if qos else None)
    assert mqtt.parse_publish(only(raw)) == expected


@pytest.mark.parametrize(
    ("flags", "body"),
    [
        (0, ""),
        (0, "0001"),
        (0, "0000 61"),
        (0, "0001 23"),
        (0, "0003 612f2b"),
        (0, "0001 00"),
        (0, "0001 ff"),
        (8, "0001 61"),
        (2, "0001 61"),
        (2, "0001 61 01"),
        (2, "0001 61 0000"),
        (4, "0001 61 0000"),
    ],
)
def test_malformed_publishes_are_refused(flags: int, body: str) -> None:
    with pytest.raises(MqttError):
        mqtt.parse_publish(body_of(PacketType.PUBLISH, flags, body))


@pytest.mark.parametrize(
    ("topic", "qos", "packet_id"),
    [
        ("a/#", 0, None),
        ("", 0, None),
        ("a\0", 0, None),
        ("a\ud800", 0, None),
        ("a", 1, None),
        ("a", 2, 0),
        ("a", 1, 65536),
    ],
)
def test_illegal_publishes_are_not_encoded(topic: str, qos: int, packet_id: int | None) -> None:
    with pytest.raises(MqttError):
        mqtt.encode_publish(topic, b"", qos, packet_id=packet_id)


def test_strings_and_packets_beyond_the_protocols_limits_are_not_encoded() -> None:
    with pytest.raises(MqttError):
        mqtt.encode_publish("a" * 65_536, b"")
    with pytest.raises(MqttError):
        mqtt.encode_publish("a", bytes(mqtt.MAX_REMAINING_BYTES))


# ── SUBSCRIBE and the small ones ─────────────────────────────────────────────────────────────────────────


def test_subscribe_vector() -> None:
    raw = bytes.fromhex("82 0e 000a 0003 612f62 01 0003 632f23 02")
    assert mqtt.parse_subscribe(only(raw)) == Subscribe(10, (("a/b", 1), ("c/#", 2)))
    assert mqtt.encode_subscribe(10, (("a/b", 1), ("c/#", 2))) == raw


def test_unsubscribe_vector() -> None:
    raw = bytes.fromhex("a2 0c 000a 0003 612f62 0003 632f64")
    assert mqtt.parse_unsubscribe(only(raw)) == (10, ("a/b", "c/d"))
    assert mqtt.encode_unsubscribe(10, ("a/b", "c/d")) == raw


@given(packet_ids, st.lists(st.tuples(filters, st.integers(0, 2)), min_size=1).map(tuple))
def test_subscribe_round_trip(packet_id: int, wanted: tuple[tuple[str, int], ...]) -> None:
    assert mqtt.parse_subscribe(only(mqtt.encode_subscribe(packet_id, wanted))) == (packet_id, wanted)
    plain = tuple(topic_filter for topic_filter, _ in wanted)
    assert mqtt.parse_unsubscribe(only(mqtt.encode_unsubscribe(packet_id, plain))) == (packet_id, plain)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "00",
        "0000 0001 61 00",
        "0001",
        "0001 0001 61",
        "0001 0001 61 03",
        "0001 0000 00",
        "0001 0002 6123 00",
        "0001 0002 61",
    ],
)
def test_malformed_subscribes_are_refused(body: str) -> None:
    with pytest.raises(MqttError):
        mqtt.parse_subscribe(body_of(PacketType.SUBSCRIBE, 2, body))


@pytest.mark.parametrize(
    "body", ["", "00", "0000 0001 61", "0001", "0001 0000", "0001 0002 612b", "0001 0002 61"]
)
def test_malformed_unsubscribes_are_refused(body: str) -> None:
    with pytest.raises(MqttError):
        mqtt.parse_unsubscribe(body_of(PacketType.UNSUBSCRIBE, 2, body))


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        ("40 02 1234", PacketType.PUBACK),
        ("50 02 1234", PacketType.PUBREC),
        ("62 02 1234", PacketType.PUBREL),
        ("70 02 1234", PacketType.PUBCOMP),
        ("b0 02 1234", PacketType.UNSUBACK),
    ],
)
def test_acknowledgement_vectors(raw: str, kind: PacketType) -> None:
    data = bytes.fromhex(raw)
    packet = only(data)
    assert packet.type is kind
    assert mqtt.parse_packet_id(packet) == 0x1234
    assert mqtt.encode_ack(kind, 0x1234) == data


def test_unsuback_and_suback_vectors() -> None:
    assert mqtt.encode_unsuback(7) == bytes.fromhex("b0 02 0007")
    assert mqtt.encode_suback(7, (0, 1, mqtt.SUBSCRIBE_FAILURE)) == bytes.fromhex("90 05 0007 00 01 80")


@pytest.mark.parametrize("body", ["", "12", "0000", "123400"])
def test_malformed_acknowledgements_are_refused(body: str) -> None:
    with pytest.raises(MqttError):
        mqtt.parse_packet_id(body_of(PacketType.PUBACK, 0, body))


def test_packets_without_a_body() -> None:
    assert [only(raw).type for raw in (mqtt.PINGREQ, mqtt.PINGRESP, mqtt.DISCONNECT)] == [
        PacketType.PINGREQ,
        PacketType.PINGRESP,
        PacketType.DISCONNECT,
    ]


# ── anything ─────────────────────────────────────────────────────────────────────────────────────────────

PARSERS = (
    mqtt.parse_connect,
    mqtt.parse_publish,
    mqtt.parse_subscribe,
    mqtt.parse_unsubscribe,
    mqtt.parse_packet_id,
)


@given(st.sampled_from(PARSERS), st.integers(0, 15), st.binary(max_size=80))
def test_any_body_is_read_or_refused(parse: object, flags: int, body: bytes) -> None:
    assert callable(parse)
    try:
        parse(RawPacket(PacketType.PUBLISH, flags, body, b""))
    except MqttError:
        return


@given(st.binary(min_size=1, max_size=4), st.integers(0, len(CONNECT_EVERYTHING) - 1))
def test_a_damaged_connect_is_read_or_refused(damage: bytes, at: int) -> None:
    body = bytearray(CONNECT_EVERYTHING[2:])
    body[at : at + len(damage)] = damage
    try:
        mqtt.parse_connect(RawPacket(PacketType.CONNECT, 0, bytes(body), b""))
    except MqttError:
        return
