"""Refusals of CONNECT in the form of the version that was asked for."""

import pytest

from mimi_mqtt.errors import MqttError
from mimi_mqtt.transports.mqtt import refusals
from mimi_mqtt.transports.mqtt.refusals import Refusal
from mimi_mqtt.wire import mqtt5
from mimi_mqtt.wire.mqtt import Connect, PacketReader, encode_connect
from mimi_mqtt.wire.mqtt_properties import Properties
from mimi_mqtt.wire.mqtt_reasons import Reason

OLD, FIVE = Connect("MQTT", 4, "a", username="u"), Connect("MQTT", 5, "a", username="u")


@pytest.mark.parametrize(
    ("refuse", "code", "reason"),
    [
        (refusals.wrong_client_id, 2, Reason.CLIENT_ID_NOT_VALID),
        (refusals.wrong_credentials, 4, Reason.BAD_CREDENTIALS),
        (
            lambda connect: refusals.wrong_credentials(connect._replace(username=None)),
            5,
            Reason.NOT_AUTHORIZED,
        ),
        (lambda connect: refusals.forbidden_will(connect, "detail"), 5, Reason.NOT_AUTHORIZED),
        (lambda connect: refusals.unavailable(connect, "full", "x"), 3, Reason.SERVER_UNAVAILABLE),
        (
            lambda connect: refusals.unavailable(connect, "full", "x", Reason.SERVER_BUSY),
            3,
            Reason.SERVER_BUSY,
        ),
        (refusals.wrong_method, 5, Reason.BAD_AUTHENTICATION_METHOD),
    ],
)
def test_each_refusal_has_a_code_of_3_1_1_and_a_reason_of_5(
    refuse: object, code: int, reason: Reason
) -> None:
    assert callable(refuse)
    old, five = refuse(OLD), refuse(FIVE)
    assert isinstance(old, Refusal)
    assert old.answer == bytes((0x20, 2, 0, code))
    (packet,) = PacketReader(1_000).feed(five.answer)
    connack = mqtt5.parse_connack(packet)
    assert connack.reason is reason
    assert connack.properties.reason_string


def test_other_versions_are_refused_with_code_1() -> None:
    for level in (3, 6):
        assert refusals.wrong_protocol(Connect("MQTT", level)).answer == b"\x20\2\0\1"


def test_only_a_malformed_connect_of_mqtt_5_is_answered() -> None:
    error = MqttError("what is wrong", 0x94)  # no reason of CONNACK: a protocol error
    (five,) = PacketReader(1_000).feed(encode_connect("a", protocol_level=5))
    (old,) = PacketReader(1_000).feed(encode_connect("a"))
    (answer,) = PacketReader(1_000).feed(refusals.malformed(five, error).answer)
    assert mqtt5.parse_connack(answer)[1:] == (
        Reason.PROTOCOL_ERROR,
        Properties(reason_string="what is wrong"),
    )
    for packet in (old, None):
        assert refusals.malformed(packet, error).answer == b""


def test_a_client_without_an_id_is_told_that_it_needs_one_or_a_clean_session() -> None:
    refusal = refusals.wrong_client_id(OLD._replace(client_id="", clean_session=False))
    assert "Clean Session" in refusal.detail
    assert "256 characters" in refusals.wrong_client_id(OLD).detail


@pytest.mark.parametrize(("longest", "length"), [(100, 40), (20, 5), (5, 5), (4, 0)])
def test_a_refusal_is_no_longer_than_the_client_allows(longest: int, length: int) -> None:
    connect = FIVE._replace(properties=Properties(maximum_packet_bytes=longest))
    answer = refusals.wrong_credentials(connect).answer
    assert len(answer) in range(length, longest + 1)
    assert answer[:1] == b"\x20"[: len(answer)]
