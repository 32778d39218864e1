"""The packets to a client in the form of its version, within the limits that it named."""

import pytest

from mimi_mqtt.errors import MqttError
from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.transports.mqtt.forms import FORM_311, Form5
from mimi_mqtt.transports.mqtt.message import Message
from mimi_mqtt.wire import mqtt, mqtt5
from mimi_mqtt.wire.mqtt import PacketReader, PacketType, RawPacket
from mimi_mqtt.wire.mqtt_properties import NO_PROPERTIES, Properties, encode_properties
from mimi_mqtt.wire.mqtt_reasons import Reason

TRAVELLING = encode_properties(Properties(user_properties=(("k", "v"),)), PacketType.PUBLISH)[1:]
MESSAGE = Message("house/light", b"on", 1, travelling=TRAVELLING, expires_at=110.0)


def only(data: bytes | None) -> RawPacket:
    assert data is not None
    (packet,) = PacketReader(1 << 20).feed(data)
    return packet


def test_3_1_1_has_no_properties_reasons_or_limits() -> None:
    assert FORM_311.publish(MESSAGE, 100.0, 1, True, True, 7, (3,)) == mqtt.encode_publish(
        "house/light", b"on", 1, True, True, 7
    )
    assert FORM_311.ack(PacketType.PUBACK, 7, Reason.NOT_AUTHORIZED, "why") == mqtt.encode_ack(
        PacketType.PUBACK, 7
    )
    reasons = (Reason.GRANTED_QOS_2, Reason.NOT_AUTHORIZED, Reason.QUOTA_EXCEEDED)
    assert FORM_311.suback(7, reasons, "why") == mqtt.encode_suback(7, (2, 0x80, 0x80))
    assert FORM_311.unsuback(7, (Reason.NO_SUBSCRIPTION_EXISTED,)) == mqtt.encode_unsuback(7)
    assert FORM_311.disconnect(Reason.SERVER_BUSY, "why") == b""
    assert FORM_311.shareable


def test_5_has_the_message_with_its_properties() -> None:
    form = Form5(NO_PROPERTIES)
    found = mqtt5.parse_publish(only(form.publish(MESSAGE, 104.0, 1, True, True, 7, (3, 4))))
    assert found[:6] == ("house/light", b"on", 1, True, True, 7)
    assert found.properties == Properties(
        message_expiry_s=6, subscription_ids=(3, 4), user_properties=(("k", "v"),)
    )
    assert form.shareable


def test_aliases_are_given_to_the_first_topics_that_are_worth_it() -> None:
    form = Form5(Properties(topic_alias_maximum=2))
    assert not form.shareable
    topics = ("abc", "first", "second", "third", "second", "first")
    found = [mqtt5.parse_publish(only(form.publish(Message(topic, b""), 0.0))) for topic in topics]
    assert [(each.topic, each.properties.topic_alias) for each in found] == [
        ("abc", None), ("first", 1), ("second", 2), ("third", None), ("", 2), ("", 1),
    ]  # fmt: skip


def test_number_of_aliases_is_bounded_whatever_the_client_allows() -> None:
    form = Form5(Properties(topic_alias_maximum=0xFFFF))
    found = [
        mqtt5.parse_publish(only(form.publish(Message(f"topic/{number}", b""), 0.0)))
        for number in range(limits.MAX_SENT_ALIASES + 1)
    ]
    assert found[-2].properties.topic_alias == limits.MAX_SENT_ALIASES
    assert found[-1].properties.topic_alias is None


def test_a_message_that_is_too_long_is_not_sent_and_sets_no_alias() -> None:
    form = Form5(Properties(maximum_packet_bytes=40, topic_alias_maximum=1))
    assert form.publish(Message("house/light", bytes(40)), 0.0) is None
    found = mqtt5.parse_publish(only(form.publish(Message("house/light", b""), 0.0)))
    assert (found.topic, found.properties.topic_alias) == ("house/light", 1)


@pytest.mark.parametrize("known", [Properties(request_problem=0), Properties(maximum_packet_bytes=12)])
def test_reason_strings_are_left_out_where_they_are_not_wanted_or_too_long(known: Properties) -> None:
    form = Form5(known)
    text = "you may not"
    ack = mqtt5.parse_ack(only(form.ack(PacketType.PUBACK, 7, Reason.NOT_AUTHORIZED, text)))
    assert ack == (7, Reason.NOT_AUTHORIZED, NO_PROPERTIES)
    suback = mqtt5.parse_subscribe_answer(only(form.suback(7, (Reason.NOT_AUTHORIZED,), text)))
    assert suback.properties is NO_PROPERTIES
    closing = mqtt5.parse_closing(only(form.disconnect(Reason.SERVER_BUSY, text)))
    wanted = known.maximum_packet_bytes is None  # DISCONNECT may always have one
    assert closing.properties.reason_string == (text if wanted else None)


def test_reason_strings_are_there_otherwise() -> None:
    form = Form5(NO_PROPERTIES)
    assert mqtt5.parse_ack(only(form.ack(PacketType.PUBREC, 7, Reason.QUOTA_EXCEEDED, "w"))).properties == (
        Properties(reason_string="w")
    )


def test_a_message_that_fits_without_a_new_alias_is_sent_without_one() -> None:
    form = Form5(Properties(maximum_packet_bytes=24, topic_alias_maximum=5))
    packet = form.publish(Message("house/light", bytes(8)), 0.0)
    assert packet is not None
    assert len(packet) == 24
    assert mqtt5.parse_publish(only(packet)).properties.topic_alias is None
    again = mqtt5.parse_publish(only(form.publish(Message("house/light", b""), 0.0)))
    assert (again.topic, again.properties.topic_alias) == ("house/light", 1)


def test_answers_without_a_shorter_form_that_the_client_does_not_allow_end_its_connection() -> None:
    form = Form5(Properties(maximum_packet_bytes=24))
    assert len(form.suback(7, (Reason.SUCCESS,) * 19, "why")) == 24
    for answer in (form.suback, form.unsuback):
        with pytest.raises(MqttError) as refused:
            answer(7, (Reason.SUCCESS,) * 20)
        assert refused.value.reason_code == Reason.PACKET_TOO_LARGE
