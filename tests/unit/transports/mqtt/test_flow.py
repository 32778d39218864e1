"""QoS towards one client, whatever it acknowledges and whenever it comes back."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.shares import Amounts
from mimi_mqtt.transports.mqtt.flow import OutgoingFlow
from mimi_mqtt.wire.mqtt import PacketReader, PacketType, RawPacket, encode_ack, encode_publish, parse_publish
from mimi_mqtt.wire.mqtt import parse_packet_id as packet_id_of


def packets(data: bytes | None) -> list[RawPacket]:
    assert data is not None
    return PacketReader(1_000_000).feed(data)


def test_qos0_goes_out_at_once_and_is_dropped_for_absent_clients() -> None:
    flow = OutgoingFlow(1000)
    assert flow.publish("t", b"x", 0, retain=True) == encode_publish("t", b"x", retain=True)
    flow.suspend()
    assert flow.publish("t", b"x", 0) == b""
    assert flow.pending == 0


def test_window_bounds_what_is_in_flight_and_acknowledgements_open_it() -> None:
    flow = OutgoingFlow(100_000, window=2)
    sent = [flow.publish("t", b"%d" % index, 1) for index in range(4)]
    assert [bool(data) for data in sent] == [True, True, False, False]
    assert parse_publish(packets(flow.acknowledged(PacketType.PUBACK, 1))[0]).payload == b"2"
    assert flow.pending == 3


def test_qos2_needs_pubrec_and_pubcomp() -> None:
    flow = OutgoingFlow(1000)
    flow.publish("t", b"x", 2)
    assert flow.acknowledged(PacketType.PUBACK, 1) == b""
    assert flow.pending == 1
    assert flow.acknowledged(PacketType.PUBREC, 1) == encode_ack(PacketType.PUBREL, 1)
    assert flow.acknowledged(PacketType.PUBCOMP, 1) == b""
    assert flow.pending == 0


def test_unknown_pubrec_is_answered_and_other_unknown_acknowledgements_are_ignored() -> None:
    flow = OutgoingFlow(1000)
    assert flow.acknowledged(PacketType.PUBREC, 9) == encode_ack(PacketType.PUBREL, 9)
    assert flow.acknowledged(PacketType.PUBACK, 9) == b""
    assert flow.acknowledged(PacketType.PUBCOMP, 9) == b""


def test_no_room_takes_nothing_but_one_message_always_fits() -> None:
    flow = OutgoingFlow(1000)
    assert flow.publish("t", b"x" * 5000, 1)
    assert flow.publish("t", b"x", 1) is None
    assert flow.pending == 1
    flow.acknowledged(PacketType.PUBACK, 1)
    assert flow.publish("t", b"x", 1)


def test_resume_repeats_in_order_as_duplicates() -> None:
    flow = OutgoingFlow(100_000, window=2)
    for index in range(3):
        flow.publish("t", b"%d" % index, 1 + index % 2)
    flow.acknowledged(PacketType.PUBREC, 2)
    flow.suspend()
    flow.publish("t", b"3", 1)
    first, second = packets(flow.resume())
    assert parse_publish(first) == ("t", b"0", 1, False, True, 1)
    assert (second.type, packet_id_of(second)) == (PacketType.PUBREL, 2)


def test_packet_ids_wrap_and_skip_those_in_flight() -> None:
    flow = OutgoingFlow(10_000_000)
    flow.publish("t", b"stays", 1)
    for _ in range(70_000):
        (packet,) = packets(flow.publish("t", b"", 1))
        packet_id = parse_publish(packet).packet_id
        assert packet_id is not None
        assert packet_id > 1
        flow.acknowledged(PacketType.PUBACK, packet_id)


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
        wire += packets(flow.publish("t", b"%d" % index, qos))
    while wire or breaks:
        if breaks and (not wire or chance.random() < 0.2):
            breaks -= 1
            flow.suspend()
            wire = packets(flow.resume())
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
        wire += packets(flow.acknowledged(*answer))
    assert flow.pending == 0
    assert set(received) == {b"%d" % index for index in range(len(qualities))}
    for index, qos in enumerate(qualities):
        if qos == 2:
            assert received.count(b"%d" % index) == 1


@pytest.mark.parametrize("kind", [PacketType.PUBACK, PacketType.PUBCOMP])
def test_acknowledging_twice_changes_nothing(kind: PacketType) -> None:
    flow = OutgoingFlow(100_000, window=1)
    flow.publish("t", b"0", 1 if kind is PacketType.PUBACK else 2)
    flow.publish("t", b"1", 1)
    assert flow.acknowledged(kind, 1)
    assert flow.acknowledged(kind, 1) == b""
    assert flow.pending == 1


def test_queues_of_one_account_are_bounded_together_and_given_back() -> None:
    queued = Amounts(total=10_000, each=1_000)
    flows = [OutgoingFlow(100_000, queued=queued, account="one") for _ in range(2)]
    assert flows[0].publish("t", b"x" * 500, 1)
    assert flows[1].publish("t", b"x" * 500, 1) is None
    assert OutgoingFlow(100_000, queued=queued, account="other").publish("t", b"x" * 500, 1)
    flows[0].acknowledged(PacketType.PUBACK, 1)
    assert flows[1].publish("t", b"x" * 500, 1)
    flows[1].clear()
    assert queued.held_by("one") == 0
    assert flows[1].pending == 0


def test_an_acknowledgement_is_expected_once() -> None:
    flow = OutgoingFlow(100_000)
    flow.publish("t", b"x", 1)
    flow.publish("t", b"x", 2)
    assert flow.expects(PacketType.PUBACK, 1)
    assert not flow.expects(PacketType.PUBACK, 2)
    assert not flow.expects(PacketType.PUBCOMP, 2)
    flow.acknowledged(PacketType.PUBACK, 1)
    assert not flow.expects(PacketType.PUBACK, 1)
    assert flow.expects(PacketType.PUBREC, 2)
    flow.acknowledged(PacketType.PUBREC, 2)
    assert not flow.expects(PacketType.PUBREC, 2)
    assert flow.expects(PacketType.PUBCOMP, 2)
