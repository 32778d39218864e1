"""MQTT 5 properties (OASIS, 7 March 2019, section 2.2.2), as far as answering a CONNECT needs them."""

from mimi_mqtt.errors import MqttError

_REASON_STRING = 0x1F
_MAX_REASON_BYTES = 1_000

# Bytes of the fixed-size properties that CONNECT and its will may carry; a negative number is how many
# length-prefixed parts a property has instead.
_SIZES = {
    0x01: 1, 0x17: 1, 0x19: 1,
    0x21: 2, 0x22: 2,
    0x02: 4, 0x11: 4, 0x18: 4, 0x27: 4,
    0x03: -1, 0x08: -1, 0x09: -1, 0x15: -1, 0x16: -1,
    0x26: -2,
}  # fmt: skip


def _variable_integer(body: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in (0, 7, 14, 21):
        if at >= len(body):
            raise MqttError("properties are cut short")
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
    raise MqttError("a variable byte integer has more than four bytes")


def skip_properties(body: bytes, at: int) -> int:
    """The end of the property block that begins at `at`; raises MqttError when it is malformed."""
    length, at = _variable_integer(body, at)
    end = at + length
    if end > len(body):
        raise MqttError("properties are cut short")
    while at < end:
        size = _SIZES.get(body[at])
        if size is None:
            raise MqttError(f"property 0x{body[at]:02x} does not belong into CONNECT")
        at += 1
        if size > 0:
            at += size
        for _ in range(-size):
            if at + 2 > end:
                raise MqttError("a property is cut short")
            at += 2 + (body[at] << 8 | body[at + 1])
    if at != end:
        raise MqttError("a property is cut short")
    return end


def connack_properties(reason: str) -> bytes:
    """A property block with a reason string, or an empty one; a long reason is cut."""
    if not reason:
        return b"\0"
    raw = reason.encode(errors="replace")[:_MAX_REASON_BYTES].decode(errors="ignore").encode()
    block = bytes((_REASON_STRING, len(raw) >> 8, len(raw) & 0xFF)) + raw
    length = len(block)
    prefix = bytes((length,)) if length < 0x80 else bytes((length & 0x7F | 0x80, length >> 7))
    return prefix + block
