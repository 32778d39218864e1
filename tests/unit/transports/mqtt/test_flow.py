"""QoS towards one client, whatever it acknowledges and whenever it comes back."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.shares import Amounts
from mimi_mqtt.transports.mqtt.flow import OutgoingFlow
from mimi_mqtt.transports.mqtt.forms import Form5
from mimi_mqtt.transports.mqtt.message import Message
from mimi_mqtt.wire import mqtt5
from mimi_mqtt.wire.mqtt import PacketReader, PacketType, RawPacket, encode_ack, encode_publish, parse_publish
from mimi_mqtt.wire.mqtt import parse_packet_id as packet_id_of
from mimi_mqtt.wire.mqtt_properties import Properties
from mimi_mqtt.wire.mqtt_reasons import Reason

NOW = 1_000.0


def packets(data: bytes | None) -> list[RawPacket]:
    assert data is not None
    return PacketReader(1_000_000).feed(data)


def test_qos0_goes_out_at_once_and_is_dropped_for_absent_clients() -> None:
    flow = OutgoingFlow(1000)
    assert flow.publish(Message("t", b"x", 2), NOW, 0, retain=True) == encode_publish("t", b"x", retain=True)
    flow.suspend()
    assert flow.publish(Message("t", b"x", 2), NOW, 0) == b""
    assert flow.pending == 0


def test_window_bounds_what_is_in_flight_and_acknowledgements_open_it() -> None:
    flow = OutgoingFlow(100_000, window=2)
    sent = [flow.publish(Message("t", b"%d" % index, 2), NOW, 1) for index in range(4)]
    assert [bool(data) for data in sent] == [True, True, False, False]
    assert parse_publish(packets(flow.acknowledged(PacketType.PUBACK, 1, NOW))[0]).payload == b"2"
    assert flow.pending == 3


def test_qos2_needs_pubrec_and_pubcomp() -> None:
    flow = OutgoingFlow(1000)
    flow.publish(Message("t", b"x", 2), NOW, 2)
    assert flow.acknowledged(PacketType.PUBREC, 1, NOW) == encode_ack(PacketType.PUBREL, 1)
    assert flow.acknowledged(PacketType.PUBCOMP, 1, NOW) == b""
    assert flow.pending == 0


def test_unknown_pubrec_is_answered_and_other_unknown_acknowledgements_are_ignored() -> None:
    flow = OutgoingFlow(1000)
    assert flow.acknowledged(PacketType.PUBREC, 9, NOW) == encode_ack(PacketType.PUBREL, 9)
    assert flow.acknowledged(PacketType.PUBACK, 9, NOW) == b""
    assert flow.acknowledged(PacketType.PUBCOMP, 9, NOW) == b""


def test_no_room_takes_nothing_but_one_message_always_fits() -> None:
    flow = OutgoingFlow(1000)
    assert flow.publish(Message("t", b"x" * 5000, 2), NOW, 1)
    assert flow.publish(Message("t", b"x", 2), NOW, 1) is None
    assert flow.pending == 1
    flow.acknowledged(PacketType.PUBACK, 1, NOW)
    assert flow.publish(Message("t", b"x", 2), NOW, 1)


def test_resume_repeats_in_order_as_duplicates() -> None:
    flow = OutgoingFlow(100_000, window=2)
    for index in range(3):
        flow.publish(Message("t", b"%d" % index, 2), NOW, 1 + index % 2)
    flow.acknowledged(PacketType.PUBREC, 2, NOW)
    flow.suspend()
    flow.publish(Message("t", b"3", 2), NOW, 1)
    first, second = packets(flow.resume(NOW))
    assert parse_publish(first) == ("t", b"0", 1, False, True, 1)
    assert (second.type, packet_id_of(second)) == (PacketType.PUBREL, 2)


def test_packet_ids_wrap_and_skip_those_in_flight() -> None:
    flow = OutgoingFlow(10_000_000)
    flow.publish(Message("t", b"stays", 2), NOW, 1)
    for _ in range(70_000):
        (packet,) = packets(flow.publish(Message("t", b"", 2), NOW, 1))
        packet_id = parse_publish(packet).packet_id
        assert packet_id is not None
        assert packet_id > 1
        flow.acknowledged(PacketType.PUBACK, packet_id, NOW)


@given(
    st.lists(st.integers(1, 2), min_size=1, max_size=30),
    st.integers(1, 5),
    st.randoms(use_true_random=False),
    st.integers(0, 4),
)
def test_every_message_arrives_whatever_is_lost_on_the_way(
    qualities: list[int], window: int, chance: random.Random, breaks: int
) -> None:
    flow = OutgoingFlow(1_000_000, window)
    received: list[bytes] = []
    unreleased: set[int] = set()
    wire: list[RawPacket] = []
    for index, qos in enumerate(qualities):
        wire += packets(flow.publish(Message("t", b"%d" % index, 2), NOW, qos))
    while wire or breaks:
        if breaks and (not wire or chance.random() < 0.2):
            breaks -= 1
            flow.suspend()
            wire = packets(flow.resume(NOW))
            continue
        packet = wire.pop(0)
        answer: tuple[PacketType, int]
        if packet.type is PacketType.PUBREL:
            unreleased.discard(packet_id_of(packet))
            answer = (PacketType.PUBCOMP, packet_id_of(packet))
        else:
            message = parse_publish(packet)
            assert message.packet_id is not None
            if message.packet_id not in unreleased:
                received.append(message.payload)
            if message.qos == 2:
                unreleased.add(message.packet_id)
            answer = (PacketType.PUBACK if message.qos == 1 else PacketType.PUBREC, message.packet_id)
        wire += packets(flow.acknowledged(*answer, NOW))
    assert flow.pending == 0
    assert set(received) == {b"%d" % index for index in range(len(qualities))}
    for index, qos in enumerate(qualities):
        if qos == 2:
            assert received.count(b"%d" % index) == 1


@pytest.mark.parametrize("kind", [PacketType.PUBACK, PacketType.PUBCOMP])
def test_acknowledging_twice_changes_nothing(kind: PacketType) -> None:
    flow = OutgoingFlow(100_000, window=1)
    flow.publish(Message("t", b"0", 2), NOW, 1 if kind is PacketType.PUBACK else 2)
    flow.publish(Message("t", b"1", 2), NOW, 1)
    assert flow.acknowledged(kind, 1, NOW)
    assert flow.acknowledged(kind, 1, NOW) == b""
    assert flow.pending == 1


def test_queues_of_one_account_are_bounded_together_and_given_back() -> None:
    queued = Amounts(total=10_000, each=1_000)
    flows = [OutgoingFlow(100_000, queued=queued, account="one") for _ in range(2)]
    flows[1].suspend()
    assert flows[0].publish(Message("t", b"x" * 500, 2), NOW, 1)
    assert flows[1].publish(Message("t", b"x" * 500, 2), NOW, 1) is None
    assert OutgoingFlow(100_000, queued=queued, account="other").publish(Message("t", b"x" * 500, 2), NOW, 1)
    flows[0].acknowledged(PacketType.PUBACK, 1, NOW)
    assert flows[1].publish(Message("t", b"x" * 500, 2), NOW, 1) == b""
    flows[1].clear()
    assert queued.held_by("one") == 0
    assert flows[1].pending == 0


def test_a_connected_client_goes_on_while_other_sessions_of_its_account_hold_its_share() -> None:
    """Before, it was cut off as too slow at its next message, however soon it acknowledged."""
    queued = Amounts(total=100_000, each=40_000)
    away = OutgoingFlow(1_000_000, queued=queued, account="one")
    away.suspend()
    while away.publish(Message("t", bytes(1_000), 1), NOW, 1) is not None:
        pass
    held = queued.held_by("one")
    here = OutgoingFlow(1_000_000, queued=queued, account="one")
    for packet_id in range(1, 100):
        assert here.publish(Message("t", bytes(2_000), 1), NOW, 1)
        here.acknowledged(PacketType.PUBACK, packet_id, NOW)
    taken = 0
    while here.publish(Message("t", bytes(2_000), 1), NOW, 1):
        taken += 1
    assert taken == 7, "16 KiB that are not acknowledged"
    assert queued.held_by("one") == held
    here.clear()
    away.clear()
    assert queued.held_by("one") == queued.used == 0


def test_expired_messages_make_room_in_the_share_of_the_account() -> None:
    queued = Amounts(total=10_000, each=1_000)
    flow = OutgoingFlow(100_000, queued=queued, account="one")
    flow.suspend()
    assert flow.publish(Message("t", bytes(700), 1, expires_at=NOW + 1), NOW, 1) == b""
    assert flow.publish(Message("t", bytes(700), 1), NOW + 2, 1) == b""
    assert (flow.pending, queued.held_by("one")) == (1, 901)


def test_subscription_identifiers_count_in_the_share_of_the_account() -> None:
    """500 overlapping subscriptions make 4 kB of a message with one byte."""
    queued = Amounts(total=100_000, each=100_000)
    flow = OutgoingFlow(100_000, queued=queued, account="one")
    flow.publish(Message("t", b"x", 1), NOW, 1, identifiers=tuple(range(1, 501)))
    assert queued.held_by("one") > 4_000
    flow.acknowledged(PacketType.PUBACK, 1, NOW)
    assert queued.held_by("one") == 0


def test_an_acknowledgement_of_another_kind_than_is_due_contradicts() -> None:
    flow = OutgoingFlow(100_000)
    flow.publish(Message("t", b"x", 2), NOW, 1)
    flow.publish(Message("t", b"x", 2), NOW, 2)
    kinds = (PacketType.PUBACK, PacketType.PUBREC, PacketType.PUBCOMP)
    assert [flow.contradicts(kind, 1) for kind in kinds] == [False, True, True]
    assert [flow.contradicts(kind, 2) for kind in kinds] == [True, False, True]
    flow.acknowledged(PacketType.PUBREC, 2, NOW)
    assert [flow.contradicts(kind, 2) for kind in kinds] == [True, False, False]
    assert not any(flow.contradicts(kind, 3) for kind in kinds), "a late one, for a message that is through"


def test_an_acknowledgement_is_expected_once() -> None:
    flow = OutgoingFlow(100_000)
    flow.publish(Message("t", b"x", 2), NOW, 1)
    flow.publish(Message("t", b"x", 2), NOW, 2)
    assert flow.expects(PacketType.PUBACK, 1)
    assert not flow.expects(PacketType.PUBACK, 2)
    assert not flow.expects(PacketType.PUBCOMP, 2)
    flow.acknowledged(PacketType.PUBACK, 1, NOW)
    assert not flow.expects(PacketType.PUBACK, 1)
    assert flow.expects(PacketType.PUBREC, 2)
    flow.acknowledged(PacketType.PUBREC, 2, NOW)
    assert not flow.expects(PacketType.PUBREC, 2)
    assert flow.expects(PacketType.PUBCOMP, 2)


# ── MQTT 5 ───────────────────────────────────────────────────────────────────────────────────────────────


def five(flow: OutgoingFlow, window: int = 10, **known: int) -> OutgoingFlow:
    flow.begin(Form5(Properties(**known)), window)  # type: ignore[arg-type]
    flow.connected = True
    return flow


def payloads(data: bytes | None) -> list[bytes]:
    return [mqtt5.parse_publish(packet).payload for packet in packets(data)]


def test_receive_maximum_of_a_new_connection_bounds_what_is_repeated_and_what_follows() -> None:
    flow = five(OutgoingFlow(100_000), window=3)
    for index in range(6):
        flow.publish(Message("t", b"%d" % index, 1), NOW, 1)
    flow.suspend()
    flow.begin(Form5(Properties()), 1)
    assert payloads(flow.resume(NOW)) == [b"0"]
    for packet_id in range(1, 6):
        (following,) = packets(flow.acknowledged(PacketType.PUBACK, packet_id, NOW))
        message = mqtt5.parse_publish(following)
        assert (message.payload, message.dup) == (b"%d" % packet_id, packet_id < 3)


def test_pubrels_are_repeated_at_once_and_messages_when_there_is_room() -> None:
    flow = five(OutgoingFlow(100_000), window=3)
    for index in range(3):
        flow.publish(Message("t", b"%d" % index, 2), NOW, 2)
    for packet_id in (1, 2):
        flow.acknowledged(PacketType.PUBREC, packet_id, NOW)
    flow.suspend()
    flow.begin(Form5(Properties()), 1)
    assert [packet.type for packet in packets(flow.resume(NOW))] == [PacketType.PUBREL] * 2
    assert flow.acknowledged(PacketType.PUBCOMP, 1, NOW) == b""
    assert payloads(flow.acknowledged(PacketType.PUBCOMP, 2, NOW)) == [b"2"]


def test_messages_that_expired_while_they_waited_are_not_sent_and_their_bytes_given_back() -> None:
    queued = Amounts(total=100_000, each=100_000)
    flow = OutgoingFlow(100_000, queued=queued, account="a")
    flow.suspend()
    for index, expires_at in enumerate((NOW + 1, None, NOW + 5)):
        flow.publish(Message("t", b"%d" % index, 1, expires_at=expires_at), NOW, 1)
    assert payloads(five(flow).resume(NOW + 2)) == [b"1", b"2"]
    assert queued.held_by("a") == 2 * 202


def test_expired_messages_make_room() -> None:
    flow = OutgoingFlow(1_000)
    flow.suspend()
    assert flow.publish(Message("t", b"x" * 700, 1, expires_at=NOW + 1), NOW, 1) == b""
    assert flow.publish(Message("t", b"x" * 700, 1), NOW, 1) is None
    assert flow.publish(Message("t", b"x" * 700, 1), NOW + 2, 1) == b""
    assert flow.pending == 1


def test_a_message_that_the_client_can_not_take_is_dropped_and_the_next_one_sent() -> None:
    flow = five(OutgoingFlow(100_000), maximum_packet_bytes=50)
    assert flow.publish(Message("t", bytes(100), 1), NOW, 1) == b""
    assert flow.publish(Message("t", bytes(100)), NOW, 0) == b""
    assert (flow.pending, flow.too_long) == (0, 2)
    flow.suspend()
    for size in (100, 1):
        flow.publish(Message("t", bytes(size), 1), NOW, 1)
    assert payloads(flow.resume(NOW)) == [b"\0"]
    assert flow.pending == 1


def test_a_failed_pubrec_ends_the_exchange() -> None:
    flow = five(OutgoingFlow(1_000), window=1)
    for index in range(2):
        flow.publish(Message("t", b"%d" % index, 2), NOW, 2)
    assert payloads(flow.acknowledged(PacketType.PUBREC, 1, NOW, Reason.QUOTA_EXCEEDED)) == [b"1"]
    assert flow.pending == 1


def test_only_messages_of_groups_that_nobody_can_have_received_are_handed_on() -> None:
    flow = five(OutgoingFlow(100_000), window=2)
    for index, (qos, group) in enumerate(((1, "g"), (2, "g"), (1, None), (2, "g"), (1, "g"))):
        flow.publish(Message("t", b"%d" % index, 2), NOW, qos, group=group)
    handed_on = flow.clear()
    assert [message.payload for message, _ in handed_on] == [b"0", b"3", b"4"]
    assert {group for _, group in handed_on} == {"g"}
    assert flow.clear() == []
