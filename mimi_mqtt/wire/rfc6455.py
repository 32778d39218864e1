"""WebSocket frames in outline (RFC 6455, section 5.2): the plain ones, and the length of all others. Pure.

A plain frame is a whole binary message of a client. Devices send nothing else but a few text messages and
pongs, so that these few lines are the way of all audio; every other frame is `websockets`' business.
"""

from typing import Final, NamedTuple

try:
    from websockets.speedups import apply_mask
except ImportError:  # pragma: no cover  # a platform for which websockets has no wheel
    from websockets.utils import apply_mask

TEXT: Final = 0x81
"""The first byte of a whole text message."""
BINARY: Final = 0x82
"""The first byte of a whole binary message."""
PING: Final = 0x89
"""The first byte of a ping."""

_OPCODE: Final = 0x0F
_OPCODES: Final = frozenset((0x0, 0x1, 0x2, 0x8, 0x9, 0xA))
_MASKED: Final = 0x80
_LENGTH_16, _LENGTH_64 = 126, 127
_MASK_BYTES: Final = 4


class Plain(NamedTuple):
    """A whole binary message, and the index at which its frame ends."""

    payload: bytes
    end: int


def plain(data: bytes, at: int, max_bytes: int) -> Plain | None:
    """The plain frame at index `at`, where a frame must begin; None when there is another one, or a part.

    One whose payload is longer than `max_bytes`, or than 65,535 bytes, is not plain.
    """
    if len(data) < at + 6 or data[at] != BINARY:
        return None
    length = data[at + 1] - _MASKED
    at += 2
    if length == _LENGTH_16:
        length = data[at] << 8 | data[at + 1]
        at += 2
    elif not 0 <= length < _LENGTH_16:
        return None
    begin = at + _MASK_BYTES
    end = begin + length
    if end > len(data) or length > max_bytes:
        return None
    return Plain(apply_mask(data[begin:end], data[at:begin]), end)


def frame_bytes(data: bytes, at: int) -> int:
    """Bytes of the frame that begins at index `at`; 0 while too little of it is there to tell.

    One without a mask, or of an unknown opcode, counts as its first two bytes, at which `websockets` fails.
    """
    if len(data) < at + 2:
        return 0
    length = data[at + 1] - _MASKED
    if length < 0 or data[at] & _OPCODE not in _OPCODES:
        return 2
    size = {_LENGTH_16: 2, _LENGTH_64: 8}.get(length, 0)
    if size:
        if len(data) < at + 2 + size:
            return 0
        length = int.from_bytes(data[at + 2 : at + 2 + size])
    return 2 + size + _MASK_BYTES + length


def server_head(first: int, length: int) -> bytes:
    """The head of a server's frame, which has no mask: its first byte and the length of its payload."""
    if length < _LENGTH_16:
        return bytes((first, length))
    if length < 0x10000:
        return bytes((first, _LENGTH_16, length >> 8, length & 0xFF))
    return bytes((first, _LENGTH_64)) + length.to_bytes(8)
