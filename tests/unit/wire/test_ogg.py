"""Ogg Opus: what is written is read back, by this reader and by those of others."""

import io
from collections.abc import Sequence
from itertools import pairwise

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.audio.opus import OpusEncoder
from mimi_mqtt.errors import OggError
from mimi_mqtt.wire.ogg import (
    LIBOPUS_PRE_SKIP,
    MAX_PACKET_BYTES,
    OggOpusReader,
    OggOpusWriter,
    OpusPacket,
    checksum,
)
from tests.ogg import Verdict, probe, read_by_libopusfile

FRAME = 2_880  # 60 ms at 48 kHz


def tone(frames: int, rate: int = 24_000) -> list[OpusPacket]:
    encoder = OpusEncoder(rate)
    samples = rate * 60 // 1000
    sound = (8_000 * np.sin(np.arange(frames * samples) * 2 * np.pi * 440 / rate)).astype(np.int16)
    return [
        OpusPacket(encoder.encode(sound[at : at + samples]), FRAME) for at in range(0, len(sound), samples)
    ]


def written(batches: Sequence[Sequence[OpusPacket]], end: int | None = None, serial: int = 7) -> bytes:
    writer = OggOpusWriter(serial)
    pages = [writer.begin(), *[writer.write(batch) for batch in batches], writer.end(end)]
    return b"".join(pages)


def pages(stream: bytes) -> list[bytes]:
    starts = [at for at in range(len(stream)) if stream.startswith(b"OggS", at)]
    return [stream[begin:end] for begin, end in pairwise([*starts, len(stream)])]


def read(stream: bytes, piece: int = 1 << 20) -> list[bytes]:
    reader = OggOpusReader()
    packets = [
        packet for at in range(0, len(stream), piece) for packet in reader.feed(stream[at : at + piece])
    ]
    reader.finish()
    return packets


def test_the_checksum_is_that_of_the_standard() -> None:
    def by_hand(data: bytes) -> int:
        register = 0
        for byte in data:
            register ^= byte << 24
            for _ in range(8):
                register = register << 1 ^ (0x04C11DB7 if register >> 31 else 0)
                register &= 0xFFFFFFFF
        return register

    for data in (b"", b"\0", b"OggS", bytes(range(256)) * 3):
        assert checksum(data) == by_hand(data)
    assert checksum(b"123456789") == 0x89A1897F  # CRC-32/CKSUM's register before its length and inversion


@pytest.mark.parametrize("frames", [1, 2, 17, 40])
def test_other_programs_accept_a_stream_that_came_packet_by_packet(frames: int) -> None:
    stream = written([[packet] for packet in tone(frames)])
    expected = Verdict(1, frames * FRAME - LIBOPUS_PRE_SKIP)
    assert read_by_libopusfile(stream) == expected
    assert probe(stream).channels == 1
    with av.open(io.BytesIO(stream)) as container:
        decoded = sum(frame.samples for frame in container.decode(audio=0))
    assert decoded == expected.samples


def test_sound_that_ends_within_the_last_packet_is_cut_there() -> None:
    end = 9 * FRAME + 100
    stream = written([tone(10)], end)
    assert read_by_libopusfile(stream) == Verdict(1, end)
    assert probe(stream).channels == 1


def test_a_page_leaves_with_the_packet_after_it_and_the_last_has_a_packet() -> None:
    packets = tone(3)
    writer = OggOpusWriter(1)
    assert len(pages(writer.begin())) == 2
    assert writer.write(packets[:1]) == b""
    (first,) = pages(writer.write(packets[1:2]))
    assert packets[0].data in first
    (second,) = pages(writer.write(packets[2:]))
    assert packets[1].data in second
    (last,) = pages(writer.end())
    assert packets[2].data in last
    assert [page[5] for page in (first, second, last)] == [0, 0, 4]


def test_packets_that_come_together_share_pages_of_a_second() -> None:
    made = pages(written([tone(40)]))
    assert len(made) == 2 + 3 + 1  # headers, 16 packets of 60 ms in each, the last one
    assert len(read(b"".join(made))) == 40


def test_a_stream_without_packets_is_whole() -> None:
    stream = written([])
    assert pages(stream)[-1][5] & 4
    assert read(stream) == []


def test_a_packet_larger_than_a_page_goes_on_in_the_next() -> None:
    small, large = OpusPacket(b"\xfc" * 10, FRAME), OpusPacket(bytes(range(256)) * 239, FRAME)
    stream = written([[small, large, small, large, small]])
    assert read(stream, 700) == [packet.data for packet in (small, large, small, large, small)]
    assert any(page[5] & 1 for page in pages(stream))
    without_end = [int.from_bytes(page[6:14], "little", signed=True) for page in pages(stream)]
    assert without_end[-1] == 5 * FRAME


@given(
    st.lists(st.lists(st.integers(1, 1_300), max_size=6), max_size=12),
    st.integers(1, 3_000),
    st.integers(0, 0xFFFFFFFF),
)
def test_what_is_written_is_read_whatever_the_sizes_and_pieces(
    batches: list[list[int]], piece: int, serial: int
) -> None:
    packets = [[OpusPacket(bytes((size & 255,)) * size, FRAME) for size in batch] for batch in batches]
    stream = written(packets, serial=serial)
    assert read(stream, piece) == [packet.data for batch in packets for packet in batch]


@given(st.lists(st.integers(1, MAX_PACKET_BYTES), max_size=5))
def test_large_packets_are_read_as_they_were_written(sizes: list[int]) -> None:
    packets = [OpusPacket(b"\xaa" * size, FRAME) for size in sizes]
    assert read(written([packets]), 65_536) == [packet.data for packet in packets]


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda made: made[:-1], "cut off"),
        (lambda made: made[1:], "first page"),
        (lambda made: made[:3] + made[4:], "missing"),
        (lambda made: [*made, *made], "follows"),
        (lambda made: [b"ID3" + made[0], *made[1:]], "no Ogg"),
        (lambda made: [*made[:3], made[3][:-1] + b"\xff", *made[4:]], "broken"),
        (lambda made: [*made, b"OggS rest"], "follows|within"),
        (lambda made: [*made[:-1], made[-1][:-3]], "cut off|within"),
    ],
)
def test_what_a_device_could_not_play_is_refused(spoil: object, complaint: str) -> None:
    assert callable(spoil)
    made = pages(written([[packet] for packet in tone(5)]))
    with pytest.raises(OggError, match=complaint):
        read(b"".join(spoil(made)))


def test_another_codec_and_more_channels_are_refused() -> None:
    stream = written([tone(1)])
    for change, complaint in ((b"OpusHeaf", "not Opus"), (b"OpusHead\x01\x06", "two channels")):
        page = bytearray(pages(stream)[0])
        page[28 : 28 + len(change)] = change
        page[22:26] = bytes(4)
        page[22:26] = checksum(page).to_bytes(4, "little")
        with pytest.raises(OggError, match=complaint):
            OggOpusReader().feed(bytes(page))


def test_tags_with_a_picture_are_passed_over_in_bounded_memory() -> None:
    with_picture = b"OpusTags" + bytes(300_000)
    writer = OggOpusWriter(3)
    first = pages(writer.begin())[0]
    tags = b"".join(writer._pages([(with_picture, 0)]))
    # Renumbered, as the writer has written its own tags before.
    renumbered = []
    for number, page in enumerate(pages(tags), 1):
        changed = bytearray(page)
        changed[18:22] = number.to_bytes(4, "little")
        changed[22:26] = bytes(4)
        changed[22:26] = checksum(changed).to_bytes(4, "little")
        renumbered.append(bytes(changed))
    reader = OggOpusReader()
    for page in [first, *renumbered]:
        assert reader.feed(page) == []
        assert len(reader._packet) <= 65_536 + 65_025
    assert reader.head is not None


def test_writing_what_is_no_packet_is_refused() -> None:
    writer = OggOpusWriter(1)
    with pytest.raises(OggError):
        writer.write([])
    writer.begin()
    for packet in (OpusPacket(b"", FRAME), OpusPacket(b"x", 60), OpusPacket(bytes(70_000), FRAME)):
        with pytest.raises(OggError):
            writer.write([packet])
    with pytest.raises(OggError):
        writer.begin()
    writer.end()
    with pytest.raises(OggError):
        writer.write([OpusPacket(b"x", FRAME)])
