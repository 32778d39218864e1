"""Properties of MQTT 5: vectors by hand from section 2.2.2, and every property in every place."""

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.errors import MqttError
from mimi_mqtt.wire.mqtt_framing import PacketType
from mimi_mqtt.wire.mqtt_properties import (
    MAX_REASON_BYTES,
    MAX_USER_PROPERTIES,
    NO_PROPERTIES,
    WILL,
    Place,
    Properties,
    because,
    encode_properties,
    encode_travelling,
    parse_properties,
    parse_travelling,
)
from mimi_mqtt.wire.mqtt_strings import variable_bytes

P = PacketType
REASONED = {P.CONNACK, P.PUBACK, P.PUBREC, P.PUBREL, P.PUBCOMP, P.SUBACK, P.UNSUBACK, P.DISCONNECT, P.AUTH}
ALL: set[Place] = {*REASONED, P.CONNECT, P.PUBLISH, P.SUBSCRIBE, P.UNSUBSCRIBE, WILL}

VECTORS: list[tuple[str, dict[str, Any], set[Place]]] = [
    ("01 01", {"payload_format": 1}, {P.PUBLISH, WILL}),
    ("02 0000000a", {"message_expiry_s": 10}, {P.PUBLISH, WILL}),
    ("03 0001 74", {"content_type": "t"}, {P.PUBLISH, WILL}),
    ("08 0001 72", {"response_topic": "r"}, {P.PUBLISH, WILL}),
    ("09 0002 00ff", {"correlation_data": b"\0\xff"}, {P.PUBLISH, WILL}),
    ("0b 8001", {"subscription_ids": (128,)}, {P.PUBLISH, P.SUBSCRIBE}),
    ("11 ffffffff", {"session_expiry_s": 0xFFFFFFFF}, {P.CONNECT, P.CONNACK, P.DISCONNECT}),
    ("12 0001 61", {"assigned_client_id": "a"}, {P.CONNACK}),
    ("13 003c", {"server_keepalive_s": 60}, {P.CONNACK}),
    ("15 0001 6d", {"authentication_method": "m"}, {P.CONNECT, P.CONNACK, P.AUTH}),
    ("16 0001 64", {"authentication_data": b"d"}, {P.CONNECT, P.CONNACK, P.AUTH}),
    ("17 00", {"request_problem": 0}, {P.CONNECT}),
    ("18 00000001", {"will_delay_s": 1}, {WILL}),
    ("19 01", {"request_response": 1}, {P.CONNECT}),
    ("1a 0001 69", {"response_information": "i"}, {P.CONNACK}),
    ("1c 0001 73", {"server_reference": "s"}, {P.CONNACK, P.DISCONNECT}),
    ("1f 0001 77", {"reason_string": "w"}, {*REASONED}),
    ("21 0001", {"receive_maximum": 1}, {P.CONNECT, P.CONNACK}),
    ("22 0000", {"topic_alias_maximum": 0}, {P.CONNECT, P.CONNACK}),
    ("23 0007", {"topic_alias": 7}, {P.PUBLISH}),
    ("24 01", {"maximum_qos": 1}, {P.CONNACK}),
    ("25 00", {"retain_available": 0}, {P.CONNACK}),
    ("26 0001 6b 0001 76", {"user_properties": (("k", "v"),)}, ALL),
    ("27 00000040", {"maximum_packet_bytes": 64}, {P.CONNECT, P.CONNACK}),
    ("28 01", {"wildcards_available": 1}, {P.CONNACK}),
    ("29 01", {"subscription_ids_available": 1}, {P.CONNACK}),
    ("2a 01", {"shared_available": 1}, {P.CONNACK}),
]


def block(hexadecimal: str) -> bytes:
    raw = bytes.fromhex(hexadecimal)
    return variable_bytes(len(raw)) + raw


def test_every_property_has_a_vector() -> None:
    assert [field.name for field in fields(Properties)] == [next(iter(known)) for _, known, _ in VECTORS]


@pytest.mark.parametrize(("raw", "known", "places"), VECTORS)
def test_a_property_is_read_and_written_where_it_belongs_and_refused_elsewhere(
    raw: str, known: dict[str, Any], places: set[Place]
) -> None:
    properties = Properties(**known)
    for place in ALL:
        if place in places:
            assert parse_properties(block(raw), 0, place)[:2] == (properties, len(block(raw)))
            assert encode_properties(properties, place) == block(raw)
            continue
        with pytest.raises(MqttError) as refused:
            parse_properties(block(raw), 0, place)
        assert refused.value.reason_code == 0x82
        if known.keys() != {"user_properties"}:
            with pytest.raises(MqttError):
                encode_properties(properties, place)


@pytest.mark.parametrize(("raw", "known", "places"), VECTORS)
def test_only_user_properties_and_a_messages_identifiers_may_stand_twice(
    raw: str, known: dict[str, Any], places: set[Place]
) -> None:
    for place in places:
        twice = block(raw + raw)
        if known.keys() == {"user_properties"} or (
            known.keys() == {"subscription_ids"} and place is P.PUBLISH
        ):
            ((name, values),) = known.items()
            assert getattr(parse_properties(twice, 0, place).properties, name) == values * 2
            continue
        with pytest.raises(MqttError, match="twice") as refused:
            parse_properties(twice, 0, place)
        assert refused.value.reason_code == 0x82


@pytest.mark.parametrize(
    ("raw", "place", "reason"),
    [
        ("01 02", P.PUBLISH, 0x82),  # a flag that is neither 0 nor 1
        ("21 0000", P.CONNECT, 0x82),  # receive maximum 0
        ("27 00000000", P.CONNECT, 0x82),  # maximum packet size 0
        ("0b 00", P.SUBSCRIBE, 0x82),  # subscription identifier 0
        ("0b ffffffff01", P.SUBSCRIBE, 0x81),
        ("08 0003 612f23", P.PUBLISH, 0x82),  # response topic a/#
        ("08 0000", P.PUBLISH, 0x82),
        ("03 0001 ff", P.PUBLISH, 0x81),  # not UTF-8
        ("03 0003 eda080", P.PUBLISH, 0x81),  # a surrogate
        ("03 0001 00", P.PUBLISH, 0x81),  # U+0000
        ("26 0001 6b 0001 c0", P.PUBLISH, 0x81),
        ("26 0001 6b", P.PUBLISH, 0x81),
        ("02 000000", P.PUBLISH, 0x81),
        ("03 0002 61", P.PUBLISH, 0x81),
        ("7f", P.PUBLISH, 0x81),
        ("00", P.PUBLISH, 0x81),
        ("0b 8000", P.SUBSCRIBE, 0x81),  # more bytes than it needs
        ("0b 8100", P.SUBSCRIBE, 0x81),
    ],
)
def test_values_that_are_not_allowed_are_refused(raw: str, place: Place, reason: int) -> None:
    with pytest.raises(MqttError) as refused:
        parse_properties(block(raw), 0, place)
    assert refused.value.reason_code == reason


@pytest.mark.parametrize("raw", ["", "05", "80", "03 01 01", "ffffffff7f", "06 0300 0161 00", "02 0300 0161"])
def test_a_block_whose_length_lies_is_refused(raw: str) -> None:
    with pytest.raises(MqttError):
        parse_properties(bytes.fromhex(raw), 0, P.PUBLISH)


def test_a_value_may_not_reach_beyond_its_block() -> None:
    """Its bytes are there, but belong to the payload."""
    with pytest.raises(MqttError):
        parse_properties(bytes.fromhex("04 03 0002 61 62"), 0, P.PUBLISH)


def test_number_of_user_properties_is_bounded() -> None:
    pair = b"\x26\0\0\0\0"
    at_most = pair * MAX_USER_PROPERTIES
    found = parse_properties(variable_bytes(len(at_most)) + at_most, 0, P.PUBLISH).properties
    assert found.user_properties == (("", ""),) * MAX_USER_PROPERTIES
    more = at_most + pair
    with pytest.raises(MqttError) as refused:
        parse_properties(variable_bytes(len(more)) + more, 0, P.PUBLISH)
    assert refused.value.reason_code == 0x97


def test_what_travels_keeps_its_order_and_the_rest_stays() -> None:
    travelling = bytes.fromhex("26 0001 62 0001 31  01 01  26 0001 61 0001 32  09 0001 63")
    raw = bytes.fromhex("02 00000005") + travelling + bytes.fromhex("23 0001")
    found = parse_properties(variable_bytes(len(raw)) + raw, 0, P.PUBLISH)
    assert found.travelling == travelling
    assert found.properties.user_properties == (("b", "1"), ("a", "2"))
    again = encode_properties(Properties(message_expiry_s=4), P.PUBLISH, travelling)
    assert parse_properties(again, 0, P.PUBLISH).travelling == travelling
    assert encode_properties(NO_PROPERTIES, P.PUBLISH, travelling)[1:] == travelling


def test_a_long_reason_is_cut_between_characters() -> None:
    assert because("") is NO_PROPERTIES
    assert because("ü" * 2_000).reason_string == "ü" * (MAX_REASON_BYTES // 2)
    assert because("a\0b").reason_string == "a b"


@given(st.integers(0, 268_435_455))
def test_variable_byte_integers_are_as_short_as_can_be(number: int) -> None:
    raw = variable_bytes(number)
    assert len(raw) == (number > 0x7F) + (number > 0x3FFF) + (number > 0x1F_FFFF) + 1
    assert sum((byte & 0x7F) << 7 * at for at, byte in enumerate(raw)) == number


@pytest.mark.parametrize(
    "known", [{"message_expiry_s": 1 << 32}, {"receive_maximum": -1}, {"content_type": "x" * 65_536}]
)
def test_values_that_have_no_room_are_not_encoded(known: dict[str, Any]) -> None:
    with pytest.raises(MqttError):
        encode_properties(Properties(**known), P.PUBLISH if "receive_maximum" not in known else P.CONNECT)


def test_properties_that_travel_are_read_and_written_without_their_length() -> None:
    known = Properties(response_topic="r", correlation_data=b"d" * 200, user_properties=(("k", "v"),))
    travelling = encode_travelling(known)
    assert parse_travelling(travelling) == known
    assert (
        parse_properties(variable_bytes(len(travelling)) + travelling, 0, P.PUBLISH).travelling == travelling
    )
    assert parse_travelling(b"") == NO_PROPERTIES
