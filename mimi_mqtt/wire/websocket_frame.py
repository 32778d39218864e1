"""Binary frames of the WebSocket channel in its three versions. Pure. Source: device contract, section 5.

Version 1 is bare Opus. Version 2 has a header with a time stamp, version 3 a short one; both tell the length
of what follows, which firmware trusts, and may carry control JSON in place of audio.
"""

import struct
from typing import Final, NamedTuple

from mimi_mqtt.errors import AudioPacketError

VERSIONS: Final = (1, 2, 3)
"""The versions of a binary frame, by which a device asks for one."""
MAX_FRAME_BYTES: Final = 65_535
"""Longest frame that a device sends or takes."""

_AUDIO, _JSON = 0, 1
_HEADER_2: Final = struct.Struct(">HHIII")  # version, type, reserved, timestamp in ms, length
_HEADER_3: Final = struct.Struct(">BBH")  # type, reserved, length


class BinaryFrame(NamedTuple):
    """The content of a frame: an Opus packet, or control JSON; `timestamp` (ms) is 0 where there is none."""

    payload: bytes
    timestamp: int
    is_json: bool


def pack(version: int, opus: bytes, timestamp: int) -> bytes:
    """The frame of `version` that carries an Opus packet; `timestamp` is in ms, of 32 bits."""
    if version == 2:
        return _HEADER_2.pack(2, _AUDIO, 0, timestamp & 0xFFFF_FFFF, len(opus)) + opus
    if version == 3:
        return _HEADER_3.pack(_AUDIO, 0, len(opus)) + opus
    return opus


def unpack(version: int, frame: bytes) -> BinaryFrame:
    """The content of a frame of `version`. Raises AudioPacketError for a header that does not fit it."""
    if version == 1:
        return BinaryFrame(frame, 0, is_json=False)
    header = _HEADER_2 if version == 2 else _HEADER_3
    if len(frame) < header.size:
        raise AudioPacketError(f"a frame of version {version} has only {len(frame)} bytes")
    timestamp = 0
    if version == 2:
        told, kind, _, timestamp, length = _HEADER_2.unpack_from(frame)
        if told != version:
            raise AudioPacketError(f"a frame of version {version} says that it is of version {told}")
    else:
        kind, _, length = _HEADER_3.unpack_from(frame)
    payload = frame[header.size :]
    if length != len(payload):
        raise AudioPacketError(f"a frame tells {length} bytes and has {len(payload)}")
    if kind not in (_AUDIO, _JSON):
        raise AudioPacketError(f"a frame has the type {kind}, which is neither audio (0) nor JSON (1)")
    return BinaryFrame(payload, timestamp, is_json=kind == _JSON)
