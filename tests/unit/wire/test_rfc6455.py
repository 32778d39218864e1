"""WebSocket frames in outline: the plain ones as clients write them, and where all others end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from mimi_mqtt.wire.rfc6455 import BINARY, TEXT, Plain, frame_bytes, plain, server_head

MAX_BYTES = 262_144


def written(opcode: Opcode, payload: bytes = b"", *, fin: bool = True, mask: bool = True) -> bytes:
    """A frame as a client writes it, with a mask of its own."""
    return Frame(opcode, payload, fin).serialize(mask=mask)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535])
def test_a_whole_binary_message_is_plain(size: int) -> None:
    frame, payload = b"before", bytes(number % 251 for number in range(size))
    data = frame + written(Opcode.BINARY, payload) + b"behind"
    assert plain(data, len(frame), MAX_BYTES) == Plain(payload, len(data) - len(b"behind"))


def test_the_length_of_rfc_6455_5_7_is_read() -> None:
    # "a single-frame masked text message" of the standard's examples, made binary
    assert plain(bytes.fromhex("82 85 37fa213d 7f9f4d5158"), 0, MAX_BYTES) == Plain(b"Hello", 11)


@pytest.mark.parametrize(
    "frame",
    [
        written(Opcode.TEXT, b"{}"),
        written(Opcode.PING, b"x"),
        written(Opcode.PONG),
        written(Opcode.CLOSE, b"\x03\xe8"),
        written(Opcode.CONT, b"x"),
        written(Opcode.BINARY, b"x", fin=False),
        written(Opcode.BINARY, b"x", mask=False),
        written(Opcode.BINARY, bytes(65_536)),
        b"\xc2" + written(Opcode.BINARY, b"x")[1:],
        b"\xa2" + written(Opcode.BINARY, b"x")[1:],
        b"\x92" + written(Opcode.BINARY, b"x")[1:],
    ],
    ids=["text", "ping", "pong", "close", "cont", "part", "unmasked", "64 bits", "rsv1", "rsv2", "rsv3"],
)
def test_everything_else_is_left_to_the_library(frame: bytes) -> None:
    assert plain(frame + b"behind", 0, MAX_BYTES) is None


@pytest.mark.parametrize("size", [0, 3, 125, 126, 300, 65_535, 70_000])
def test_a_part_of_a_frame_is_not_plain_and_its_size_is_told_as_soon_as_its_length_is_there(
    size: int,
) -> None:
    frame = written(Opcode.BINARY, bytes(size))
    length_at = 2 if size < 126 else 4 if size < 65_536 else 10
    for end in {*range(16), len(frame) - 1}:
        if end < len(frame):
            assert plain(frame[:end], 0, MAX_BYTES) is None
            assert frame_bytes(frame[:end], 0) == (len(frame) if end >= length_at else 0)


def test_a_message_beyond_the_bound_is_not_plain() -> None:
    frame = written(Opcode.BINARY, bytes(101))
    assert plain(frame, 0, 101) is not None
    assert plain(frame, 0, 100) is None


@pytest.mark.parametrize("frame", [b"\x82\x7f", b"\x82\x00", b"\x83\xff", b"\xcb\xfe"])
def test_what_is_no_frame_of_a_client_counts_as_its_first_two_bytes(frame: bytes) -> None:
    assert frame_bytes(frame, 0) == 2
    assert frame_bytes(b"\x82", 0) == 0


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
@pytest.mark.parametrize(("first", "opcode"), [(TEXT, Opcode.TEXT), (BINARY, Opcode.BINARY)])
def test_a_servers_frame_is_that_of_the_library(first: int, opcode: Opcode, size: int) -> None:
    assert server_head(first, size) + bytes(size) == Frame(opcode, bytes(size)).serialize(mask=False)


@given(st.binary(max_size=200), st.integers(0, 200), st.integers(0, 200))
def test_any_bytes_are_read_within_their_bounds(data: bytes, at: int, max_bytes: int) -> None:
    found = plain(data, at, max_bytes)
    if found is not None:
        assert at < found.end <= len(data)
        assert found.end - at == frame_bytes(data, at)
        assert len(found.payload) <= max_bytes
