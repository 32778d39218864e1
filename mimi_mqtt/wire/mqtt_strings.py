"""Fields that MQTT packets are made of: strings, binary data, packet ids and lengths; for all versions."""

import struct

from mimi_mqtt.errors import MqttError

MAX_REMAINING_BYTES = 268_435_455
"""The largest number that a variable byte integer holds."""

_PREFIX = struct.Struct(">H")


def read_binary(body: bytes, start: int, what: str) -> tuple[bytes, int]:
    """The length-prefixed bytes at `start`, and where they end."""
    begin = start + 2
    if begin > len(body):
        raise MqttError(f"{what} is cut short")
    end = begin + (body[start] << 8 | body[start + 1])
    if end > len(body):
        raise MqttError(f"{what} is cut short")
    return body[begin:end], end


def read_string(body: bytes, start: int, what: str) -> tuple[str, int]:
    """The UTF-8 string at `start` (MQTT 3.1.1 section 1.5.3, MQTT 5 section 1.5.4), and where it ends."""
    raw, end = read_binary(body, start, what)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise MqttError(f"{what} is not UTF-8") from error
    if "\0" in text:
        raise MqttError(f"{what} holds U+0000")
    return text, end


def read_packet_id(body: bytes, at: int = 0) -> int:
    """The packet id at `at`."""
    if len(body) < at + 2:
        raise MqttError("packet id is cut short")
    found = body[at] << 8 | body[at + 1]
    if found == 0:
        raise MqttError("packet id is 0", 0x82)
    return found


def two_bytes(number: int) -> bytes:
    """A two-byte integer."""
    return _PREFIX.pack(number)


def prefixed(value: str | bytes) -> bytes:
    """A string or binary data behind its length. Raises MqttError when it has more than 65,535 bytes, or
    can't be UTF-8."""
    try:
        raw = value.encode() if isinstance(value, str) else value
        return _PREFIX.pack(len(raw)) + raw
    except (struct.error, UnicodeEncodeError) as error:
        raise MqttError("a string is longer than 65,535 bytes or not Unicode") from error


def variable_bytes(number: int) -> bytes:
    """A variable byte integer (MQTT 5 section 1.5.5)."""
    if not 0 <= number <= MAX_REMAINING_BYTES:
        raise MqttError(f"{number} is not within 0 to {MAX_REMAINING_BYTES}")
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def make_packet(first: int, body: bytes) -> bytes:
    """A packet with the first byte `first`."""
    remaining = len(body)
    if remaining < 0x80:
        return bytes((first, remaining)) + body
    if remaining < 0x4000:
        return bytes((first, remaining & 0x7F | 0x80, remaining >> 7)) + body
    if remaining > MAX_REMAINING_BYTES:
        raise MqttError(f"a packet of {remaining} bytes can't be sent")
    return bytes((first,)) + variable_bytes(remaining) + body
