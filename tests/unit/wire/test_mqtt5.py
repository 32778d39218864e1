"""Packets of MQTT 5: byte vectors written by hand from the specification, and round trips."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.errors import MqttError
from mimi_mqtt.wire import mqtt, mqtt5
from mimi_mqtt.wire.mqtt import PacketReader, PacketType, RawPacket
from mimi_mqtt.wire.mqtt5 import Ack, Closing, Connack, FilterRequest, Publish, Subscribe, SubscribeAnswer
from mimi_mqtt.wire.mqtt_properties import NO_PROPERTIES, Properties
from mimi_mqtt.wire.mqtt_reasons import ALLOWED, FAILURE, FROM_CLIENTS, Reason, reason_in

ACKS = (PacketType.PUBACK, PacketType.PUBREC, PacketType.PUBREL, PacketType.PUBCOMP)


def only(data: bytes) -> RawPacket:
    (packet,) = PacketReader(1 << 28).feed(data)
    return packet


def of(hexadecimal: str) -> RawPacket:
    """The packet of a first byte and a body."""
    raw = bytes.fromhex(hexadecimal)
    return only(raw[:1] + bytes((len(raw) - 1,)) + raw[1:])


# ── PUBLISH ──────────────────────────────────────────────────────────────────────────────────────────────


def test_publish_vectors() -> None:
    raw = bytes.fromhex("3b 14  0001 74  0009  0b  02 0000003c  26 0000 0001 76  7061 79")
    found = mqtt5.parse_publish(only(raw))
    properties = Properties(message_expiry_s=60, user_properties=(("", "v"),))
    assert found == Publish("t", b"pay", 1, True, True, 9, properties, bytes.fromhex("26 0000 0001 76"))
    again = mqtt5.encode_publish("t", b"pay", 1, True, True, 9, Properties(message_expiry_s=60), found[-1])
    assert again == raw
    assert mqtt5.encode_publish("a", b"") == bytes.fromhex("30 04 0001 61 00")
    assert mqtt5.parse_publish(of("30 0001 61 00")) == Publish("a", b"")


def test_a_topic_alias_stands_for_the_topic() -> None:
    raw = mqtt5.encode_publish("", b"x", properties=Properties(topic_alias=3))
    assert raw == bytes.fromhex("30 07 0000 03 23 0003 78")
    assert mqtt5.parse_publish(only(raw)).properties.topic_alias == 3


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        ("30 0000 00", 0x82),  # neither topic nor alias
        ("30 0001 61 03 23 0000", 0x94),  # topic alias 0
        ("30 0001 23 00", 0x90),  # topic #
        ("32 0001 61 0000 00", 0x82),  # packet id 0
        ("38 0001 61 00", 0x81),  # a duplicate with QoS 0
        ("32 0001 61 0001", 0x81),  # no properties
        ("30 0001 61", 0x81),
        ("30 0001 61 05 2600", 0x81),  # properties that are longer than the packet
        ("30 0001 61 06 01 01 01 01", 0x81),
    ],
)
def test_bad_publishes_are_refused_with_their_reason(packet: str, reason: int) -> None:
    with pytest.raises(MqttError) as refused:
        mqtt5.parse_publish(of(packet))
    assert refused.value.reason_code == reason


@pytest.mark.parametrize(("topic", "qos", "packet_id"), [("", 0, None), ("a/#", 0, None), ("a", 1, None)])
def test_illegal_publishes_are_not_encoded(topic: str, qos: int, packet_id: int | None) -> None:
    with pytest.raises(MqttError):
        mqtt5.encode_publish(topic, b"", qos, packet_id=packet_id)


# ── acknowledgements ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ACKS)
def test_acknowledgements_are_as_short_as_can_be(kind: PacketType) -> None:
    first = kind << 4 | 2 * (kind is PacketType.PUBREL)
    assert mqtt5.encode_ack(kind, 258) == bytes((first, 2, 1, 2))
    failed = next(iter(sorted(ALLOWED[kind])[-1:]))
    assert mqtt5.encode_ack(kind, 258, Reason(failed)) == bytes((first, 3, 1, 2, failed))
    why = mqtt5.encode_ack(kind, 258, Reason(failed), Properties(reason_string="w"))
    assert why == bytes((first, 8, 1, 2, failed, 4, 0x1F, 0, 1)) + b"w"
    assert mqtt5.parse_ack(only(why)) == Ack(258, Reason(failed), Properties(reason_string="w"))
    assert mqtt5.parse_ack(only(bytes((first, 2, 1, 2)))) == Ack(258)
    assert mqtt5.parse_ack(only(bytes((first, 4, 1, 2, 0, 0)))) == Ack(258)


@pytest.mark.parametrize("packet", ["40", "40 00", "40 0000", "40 0001 01", "40 0001 00 00 00", "62 0001 87"])
def test_bad_acknowledgements_are_refused(packet: str) -> None:
    with pytest.raises(MqttError):
        mqtt5.parse_ack(of(packet))


# ── SUBSCRIBE and its answer ─────────────────────────────────────────────────────────────────────────────


def test_subscribe_vector() -> None:
    raw = bytes.fromhex("82 10  000a  03 0b 8001  0003 612f23 2d  0001 2b 02")
    filters = (FilterRequest("a/#", 1, True, True, 2), FilterRequest("+", 2))
    assert mqtt5.parse_subscribe(only(raw)) == Subscribe(10, filters, 128)
    assert mqtt5.encode_subscribe(10, filters, 128) == raw


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        ("82 0001 00", 0x82),  # no filter
        ("82 0001 00 0001 61", 0x81),  # no options
        ("82 0001 00 0001 61 03", 0x82),  # QoS 3
        ("82 0001 00 0001 61 30", 0x82),  # retain handling 3
        ("82 0001 00 0001 61 40", 0x81),  # a reserved bit
        ("82 0001 00 0002 2361 00", 0x8F),  # #a
        ("82 0000 00 0001 61 00", 0x82),
        ("82 0001 02 0b00 0001 61 00", 0x82),  # subscription identifier 0
        ("82 0001 04 0b01 0b02 0001 61 00", 0x82),  # two of them
        ("82 0001 00 000a 24 73 68 61 72 65 2f 67 2f 61 04", 0x82),  # $share/g/a with No Local
    ],
)
def test_bad_subscribes_are_refused_with_their_reason(packet: str, reason: int) -> None:
    with pytest.raises(MqttError) as refused:
        mqtt5.parse_subscribe(of(packet))
    assert refused.value.reason_code == reason


def test_unsubscribe_vector() -> None:
    raw = bytes.fromhex("a2 0a 0001 00 0001 61 0002 2b2f")
    assert mqtt5.parse_unsubscribe(only(raw)).filters == ("a", "+/")
    assert mqtt5.encode_unsubscribe(1, ("a", "+/")) == raw
    for bad in ("a2 0001 00", "a2 0001", "a2 0001 00 0001", "a2 0001 00 0000"):
        with pytest.raises(MqttError):
            mqtt5.parse_unsubscribe(of(bad))


@pytest.mark.parametrize("parse", [mqtt5.parse_subscribe, mqtt5.parse_unsubscribe])
def test_number_of_filters_is_bounded(parse: Any) -> None:
    kind = 0x82 if parse is mqtt5.parse_subscribe else 0xA2
    each = b"\0\1a\0" if parse is mqtt5.parse_subscribe else b"\0\1a"
    body = b"\0\1\0" + each * (mqtt.MAX_PACKET_FILTERS + 1)
    with pytest.raises(MqttError) as refused:
        parse(RawPacket(PacketType(kind >> 4), 2, body, body))
    assert refused.value.reason_code == 0x97


@pytest.mark.parametrize("kind", [PacketType.SUBACK, PacketType.UNSUBACK])
def test_answers_have_a_reason_for_each_filter(kind: PacketType) -> None:
    reasons = tuple(Reason(code) for code in sorted(ALLOWED[kind]))
    raw = mqtt5.encode_subscribe_answer(kind, 7, reasons)
    assert raw[2:5] == b"\0\7\0"
    assert mqtt5.parse_subscribe_answer(only(raw)) == SubscribeAnswer(7, reasons)
    for bad in (b"\0\7\0", b"\0\7", b"\0\7\0\x04"):
        with pytest.raises(MqttError):
            mqtt5.parse_subscribe_answer(RawPacket(kind, 0, bad, bad))


# ── CONNACK, DISCONNECT, AUTH ────────────────────────────────────────────────────────────────────────────


def test_connack_vectors() -> None:
    assert mqtt5.encode_connack(Reason.SUCCESS, True) == bytes.fromhex("20 03 01 00 00")
    raw = mqtt5.encode_connack(Reason.BAD_CREDENTIALS, properties=Properties(reason_string="no"))
    assert raw == bytes.fromhex("20 08 00 86 05 1f 0002 6e6f")
    assert mqtt5.parse_connack(only(raw)) == Connack(
        False, Reason.BAD_CREDENTIALS, Properties(reason_string="no")
    )
    for bad in ("20", "20 00 00", "20 02 00 00", "20 00 01 00", "20 00 00 00 00"):
        with pytest.raises(MqttError):
            mqtt5.parse_connack(of(bad))


@pytest.mark.parametrize(
    ("raw", "closing"),
    [
        ("e0 00", Closing()),
        ("e0 01 04", Closing(Reason.DISCONNECT_WITH_WILL)),
        ("e0 07 00 05 11 00000000", Closing(Reason.SUCCESS, Properties(session_expiry_s=0))),
        (
            "f0 06 18 04 15 0001 6d",
            Closing(Reason.CONTINUE_AUTHENTICATION, Properties(authentication_method="m")),
        ),
    ],
)
def test_disconnect_and_auth_vectors(raw: str, closing: Closing) -> None:
    packet = only(bytes.fromhex(raw))
    assert mqtt5.parse_closing(packet) == closing
    assert mqtt5.encode_closing(packet.type, *closing) == packet.raw


@pytest.mark.parametrize("packet", ["e0 01", "e0 00 01", "e0 00 00 00", "e0 10", "f0 04", "e0 00 05 21 0001"])
def test_bad_disconnects_are_refused(packet: str) -> None:
    with pytest.raises(MqttError):
        mqtt5.parse_closing(of(packet))


# ── reason codes ─────────────────────────────────────────────────────────────────────────────────────────


def test_every_reason_stands_somewhere() -> None:
    assert set().union(*ALLOWED.values()) == {reason.value for reason in Reason}
    assert ALLOWED[PacketType.DISCONNECT] > FROM_CLIENTS
    assert Reason.UNSPECIFIED_ERROR.value == FAILURE


@given(st.sampled_from(list(ALLOWED)), st.integers(0, 255))
def test_reasons_are_held_to_their_packets(kind: PacketType, code: int) -> None:
    if code in ALLOWED[kind]:
        assert reason_in(kind, code) == code
        return
    with pytest.raises(MqttError):
        reason_in(kind, code)


# ── anything ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("parse", "kind"),
    [
        (mqtt5.parse_publish, PacketType.PUBLISH),
        (mqtt5.parse_ack, PacketType.PUBREL),
        (mqtt5.parse_subscribe, PacketType.SUBSCRIBE),
        (mqtt5.parse_unsubscribe, PacketType.UNSUBSCRIBE),
        (mqtt5.parse_subscribe_answer, PacketType.SUBACK),
        (mqtt5.parse_connack, PacketType.CONNACK),
        (mqtt5.parse_closing, PacketType.DISCONNECT),
        (mqtt5.parse_closing, PacketType.AUTH),
    ],
)
@given(flags=st.sampled_from([0, 2, 4]), body=st.binary(max_size=60))
def test_any_body_is_read_or_refused(parse: Any, kind: PacketType, flags: int, body: bytes) -> None:
    with contextlib.suppress(MqttError):
        parse(RawPacket(kind, flags, body, body))


def test_a_packet_without_properties_shares_the_empty_ones() -> None:
    assert mqtt5.parse_publish(of("30 0001 61 00")).properties is NO_PROPERTIES
