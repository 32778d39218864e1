"""Binary frames of the WebSocket channel: as firmware writes them, and what is refused."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.errors import AudioPacketError
from mimi_mqtt.wire.websocket_frame import VERSIONS, BinaryFrame, pack, unpack


@pytest.mark.parametrize(
    ("version", "frame"),
    [
        (1, b"opus"),
        (2, bytes.fromhex("0002 0000 00000000 000003e8 00000004") + b"opus"),
        (3, bytes.fromhex("00 00 0004") + b"opus"),
    ],
)
def test_audio_is_packed_as_firmware_does(version: int, frame: bytes) -> None:
    assert pack(version, b"opus", 1000) == frame
    assert unpack(version, frame) == BinaryFrame(b"opus", 1000 if version == 2 else 0, is_json=False)


@pytest.mark.parametrize(
    ("version", "header"), [(2, "0002 0001 00000000 00000000 00000002"), (3, "01 00 0002")]
)
def test_json_may_come_in_a_binary_frame(version: int, header: str) -> None:
    assert unpack(version, bytes.fromhex(header) + b"{}") == BinaryFrame(b"{}", 0, is_json=True)


@pytest.mark.parametrize(
    ("version", "frame", "told"),
    [
        (2, "", "only 0 bytes"),
        (2, "0002 0000 00000000 000003e8 000000", "only 15 bytes"),
        (2, "0002 0000 00000000 000003e8 00000002 ff", "tells 2 bytes and has 1"),
        (2, "0002 0000 00000000 000003e8 ffffffff ff", "tells 4294967295 bytes"),
        (2, "0003 0000 00000000 000003e8 00000001 ff", "says that it is of version 3"),
        (2, "0002 0007 00000000 000003e8 00000001 ff", "has the type 7"),
        (3, "00 00", "only 2 bytes"),
        (3, "00 00 0005 ff", "tells 5 bytes and has 1"),
        (3, "02 00 0001 ff", "has the type 2"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(version: int, frame: str, told: str) -> None:
    with pytest.raises(AudioPacketError, match=told):
        unpack(version, bytes.fromhex(frame))


@given(st.sampled_from(VERSIONS), st.binary(max_size=1_484), st.integers(0, 0xFFFF_FFFF))
def test_what_is_packed_is_unpacked(version: int, opus: bytes, timestamp: int) -> None:
    assert unpack(version, pack(version, opus, timestamp)).payload == opus


@given(st.sampled_from(VERSIONS), st.binary(max_size=64))
def test_any_frame_is_read_or_refused(version: int, frame: bytes) -> None:
    with suppress(AudioPacketError):
        assert len(unpack(version, frame).payload) <= len(frame)
