from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mimi_mqtt.errors import MqttError
from mimi_mqtt.wire import mqtt
from mimi_mqtt.wire.mqtt import PacketReader, PacketType

packets = st.one_of(
    st.just(mqtt.PINGREQ),
    st.builds(
        mqtt.encode_publish, st.just("a/b"), st.sampled_from([0, 120, 121, 122, 300, 16_500]).map(bytes)
    ),
    st.builds(mqtt.encode_connect, st.just("device")),
)


@given(st.lists(packets, max_size=6), st.lists(st.integers(0, 40_000), max_size=12))
def test_packets_are_the_same_however_the_stream_is_cut(sent: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(sent)
    reader = PacketReader(100_000)
    got = []
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    for begin, end in pairwise(edges):
        got += reader.feed(stream[begin:end])
    assert [packet.raw for packet in got] == sent
    assert reader.pending_bytes == 0


def test_byte_by_byte() -> None:
    reader = PacketReader(100)
    stream = mqtt.encode_publish("a", b"hello")
    assert [reader.feed(stream[at : at + 1]) for at in range(len(stream) - 1)] == [[]] * (len(stream) - 1)
    (packet,) = reader.feed(stream[-1:])
    assert packet.type is PacketType.PUBLISH
    assert packet.raw == stream


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (127, "30 7f"),
        (128, "30 80 01"),
        (16_383, "30 ff 7f"),
        (16_384, "30 80 80 01"),
        (2_097_152, "30 80 80 80 01"),
    ],
)
def test_remaining_length_vectors(size: int, header: str) -> None:
    raw = mqtt.encode_publish("a", bytes(size - 3))
    assert raw.startswith(bytes.fromhex(header))
    (packet,) = PacketReader(3_000_000).feed(raw)
    assert len(packet.body) == size


@pytest.mark.parametrize(
    "start",
    ["00 00", "f1 00", "11 00", "36 00", "3e 00", "60 02", "80 02", "a0 02", "c1 00", "e3 00", "2f 00"],
)
def test_illegal_first_bytes(start: str) -> None:
    with pytest.raises(MqttError):
        PacketReader(100).feed(bytes.fromhex(start))


def test_remaining_length_of_five_bytes_is_refused() -> None:
    with pytest.raises(MqttError):
        PacketReader(1 << 30).feed(bytes.fromhex("30 ff ff ff ff 01"))


@pytest.mark.parametrize("start", ["c0 01", "d0 01", "c0 8001"])
def test_pings_with_a_body_are_refused_before_it_has_arrived(start: str) -> None:
    with pytest.raises(MqttError, match="behind its header"):
        PacketReader(1_000).feed(bytes.fromhex(start))


def test_packet_beyond_the_limit_is_refused_before_it_has_arrived() -> None:
    reader = PacketReader(100)
    assert reader.feed(b"\x30\x62") == []
    with pytest.raises(MqttError):
        PacketReader(100).feed(b"\x30\x63")
    with pytest.raises(MqttError):
        PacketReader(100).feed(bytes.fromhex("30 ff ff ff 7f"))


def test_fault_behind_good_packets_waits_for_the_next_call() -> None:
    reader = PacketReader(100)
    assert [packet.type for packet in reader.feed(mqtt.PINGREQ + b"\x00\x00")] == [PacketType.PINGREQ]
    with pytest.raises(MqttError):
        reader.feed(b"")


def test_limit_raised_by_connect_holds_for_what_follows_in_the_same_bytes() -> None:
    reader = PacketReader(100)
    publish = mqtt.encode_publish("a", bytes(200))
    connect = mqtt.encode_connect("device")
    assert [packet.raw for packet in reader.feed(connect + publish)] == [connect]
    reader.max_packet_bytes = 1_000
    assert [packet.raw for packet in reader.feed(b"")] == [publish]


@given(st.binary(max_size=200), st.integers(2, 300))
@example(b"8\x80\x80", 2)
def test_any_stream_is_cut_or_refused_in_bounded_memory(stream: bytes, limit: int) -> None:
    reader = PacketReader(limit)
    for at in range(len(stream)):
        try:
            reader.feed(stream[at : at + 1])
        except MqttError:
            return
        assert reader.pending_bytes <= max(limit, 5)  # a length is known after 5 bytes at the latest
