"""Cutting a byte stream into MQTT control packets: section 2 of MQTT 3.1.1 and of MQTT 5.

The two differ in AUTH alone, which only MQTT 5 has: whoever serves a 3.1.1 client refuses it by its type.
"""

from enum import IntEnum
from typing import NamedTuple

from mimi_mqtt.errors import MqttError

PACKET_TOO_LARGE = 0x95
"""MQTT 5's reason code for a packet beyond the receiver's limit (section 2.4)."""


class PacketType(IntEnum):
    """Control packet types, section 2.2.1."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14
    AUTH = 15


class RawPacket(NamedTuple):
    """One packet as cut from the stream: `flags` are its first byte's low four bits, `raw` is all of it."""

    type: PacketType
    flags: int
    body: bytes
    raw: bytes


def _first_bytes() -> list[tuple[PacketType, int] | None]:
    """Packet type and flags of each first byte; None where section 2.2 calls the packet malformed."""
    table: list[tuple[PacketType, int] | None] = [None] * 256
    for kind in PacketType:
        wanted = 2 if kind in (PacketType.PUBREL, PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE) else 0
        for flags in range(16):
            legal = flags & 6 != 6 if kind is PacketType.PUBLISH else flags == wanted
            if legal:
                table[kind << 4 | flags] = (kind, flags)
    return table


_FIRST_BYTES = _first_bytes()
_WITHOUT_BODY = (PacketType.PINGREQ, PacketType.PINGRESP)


def variable_integer(data: bytes, at: int, *, shortest: bool = False) -> tuple[int, int]:
    """The variable byte integer at `at` (MQTT 5 section 1.5.5; a packet's remaining length) and where it
    ends; (-1, 0) when it is cut short.

    Raises MqttError when it has more than four bytes or, with `shortest`, more than it needs: MQTT 3.1.1
    does not forbid that in a packet's remaining length.
    """
    value = 0
    for shift in (0, 7, 14, 21):
        if at >= len(data):
            return -1, 0
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            if shortest and not byte and shift:
                raise MqttError("a variable byte integer has more bytes than it needs")
            return value, at
    raise MqttError("a length has more than four bytes")


class PacketReader:
    """Cuts a byte stream into packets; holds at most one unfinished packet of at most `max_packet_bytes`.

    `max_packet_bytes` counts the whole packet and may be changed at any time, between two packets of one
    `feed` too: see there.
    """

    __slots__ = ("_buffer", "_wanted", "max_packet_bytes")

    def __init__(self, max_packet_bytes: int) -> None:
        self.max_packet_bytes = max_packet_bytes
        self._buffer = bytearray()
        self._wanted = 0

    @property
    def pending_bytes(self) -> int:
        """Bytes that wait for the rest of their packet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[RawPacket]:
        """The packets that `data` completes. Raises MqttError when the next packet is malformed or too large.

        A fault behind complete packets is not raised before the next call, `feed(b"")` included, so what came
        before it is not lost, and a limit that those packets change (CONNECT does) holds for what follows.
        """
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._wanted:
                return []
            data = bytes(self._buffer)
            self._buffer.clear()
        self._wanted = 0
        packets: list[RawPacket] = []
        start = 0
        try:
            while start < len(data):
                packet = self._cut(data, start)
                if packet is None:
                    break
                packets.append(packet)
                start += len(packet.raw)
        except MqttError:
            if not packets:
                raise
        if start < len(data):
            self._buffer += data[start:]
        return packets

    def _cut(self, data: bytes, start: int) -> RawPacket | None:
        """The packet that begins at `start`, or None when it is not complete yet."""
        first = _FIRST_BYTES[data[start]]
        if first is None:
            raise MqttError(f"a packet can't begin with 0x{data[start]:02x}")
        remaining, body = variable_integer(data, start + 1)
        if remaining < 0:
            return None
        if remaining and first[0] in _WITHOUT_BODY:
            raise MqttError(f"{first[0].name} with {remaining} bytes behind its header")
        stop = body + remaining
        size = stop - start
        if size > self.max_packet_bytes:
            raise MqttError(
                f"a packet of {size} bytes; {self.max_packet_bytes} are allowed", PACKET_TOO_LARGE
            )
        if stop > len(data):
            self._wanted = size
            return None
        return RawPacket(first[0], first[1], data[body:stop], data[start:stop])
