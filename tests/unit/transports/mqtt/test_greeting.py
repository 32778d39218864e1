"""The terms of a connection and the CONNACK that tells them."""

import pytest

from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.transports.mqtt.greeting import connack, terms
from mimi_mqtt.wire import mqtt5
from mimi_mqtt.wire.mqtt import Connect, PacketReader
from mimi_mqtt.wire.mqtt_properties import Properties


def known(connect: Connect, present: bool = False) -> Properties:
    accepted = connack(terms(connect, "given", 5_000), connect, present)
    assert accepted is not None
    (packet,) = PacketReader(1_000).feed(accepted)
    found = mqtt5.parse_connack(packet)
    assert found.session_present is present
    return found.properties


@pytest.mark.parametrize("clean", [True, False])
def test_3_1_1_has_a_session_that_ends_with_the_connection_or_after_a_day(clean: bool) -> None:
    agreed = terms(Connect("MQTT", 4, "a", clean, 77), "a", 5_000)
    assert agreed.expiry_s == (0 if clean else limits.OFFLINE_SESSION_S)
    assert (agreed.keepalive_s, agreed.window) == (77, limits.MAX_IN_FLIGHT)
    assert connack(agreed, Connect("MQTT", 4), True) == b"\x20\x02\x01\x00"


@pytest.mark.parametrize(
    ("asked", "kept", "told"),
    [
        (None, 0, None),
        (0, 0, None),
        (60, 60, None),
        (0xFFFFFFFF, limits.OFFLINE_SESSION_S, int(limits.OFFLINE_SESSION_S)),
        (limits.OFFLINE_SESSION_S + 1, limits.OFFLINE_SESSION_S, int(limits.OFFLINE_SESSION_S)),
    ],
)
def test_session_expiry_is_bounded_and_told_where_it_is_another(
    asked: int | None, kept: float, told: int | None
) -> None:
    connect = Connect("MQTT", 5, "a", properties=Properties(session_expiry_s=asked))
    assert terms(connect, "a", 5_000).expiry_s == kept
    assert known(connect).session_expiry_s == told
    assert terms(connect, "a", 5_000).until(0xFFFFFFFF).expiry_s == limits.OFFLINE_SESSION_S


def test_window_is_the_smaller_of_both_sides() -> None:
    for asked, window in ((None, limits.MAX_IN_FLIGHT), (3, 3), (60_000, limits.MAX_IN_FLIGHT)):
        connect = Connect("MQTT", 5, properties=Properties(receive_maximum=asked))
        assert terms(connect, "a", 5_000).window == window


def test_what_is_so_by_default_is_left_out_for_a_client_that_takes_short_packets_only() -> None:
    connect = Connect("MQTT", 5, "", properties=Properties(maximum_packet_bytes=26))
    found = known(connect)
    assert found.assigned_client_id == "given"
    assert found.wildcards_available is None
    assert known(connect._replace(properties=Properties())).wildcards_available == 1


def test_a_client_that_allows_no_packet_as_long_as_connack_has_none() -> None:
    connect = Connect("MQTT", 5, "", properties=Properties(maximum_packet_bytes=20))
    assert connack(terms(connect, "given", 5_000), connect, False) is None
