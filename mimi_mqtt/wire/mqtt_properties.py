"""Properties of MQTT 5 packets (OASIS, 7 March 2019, section 2.2.2): what they are, and where each may stand.

`parse_properties` reads a block and `encode_properties` writes one, by the table of section 2.2.2.2.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, NamedTuple

from mimi_mqtt.errors import MqttError
from mimi_mqtt.wire.mqtt_framing import PacketType, variable_integer
from mimi_mqtt.wire.mqtt_reasons import Reason
from mimi_mqtt.wire.mqtt_strings import prefixed, read_binary, read_string, variable_bytes
from mimi_mqtt.wire.topics import is_topic_name

MAX_USER_PROPERTIES: Final = 100
"""User properties that one packet may have: a packet is parsed in one go."""

MAX_REASON_BYTES: Final = 1_000
"""Bytes of a reason string that this server sends."""

WILL: Final = "will"
"""Where the properties of a will stand: in CONNECT, in a block of their own."""

Place = PacketType | str

UserProperties = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Properties:
    """The properties of one packet; None, or nothing, for those that it does not have. Times are seconds."""

    payload_format: int | None = None
    message_expiry_s: int | None = None
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    subscription_ids: tuple[int, ...] = ()
    session_expiry_s: int | None = None
    assigned_client_id: str | None = None
    server_keepalive_s: int | None = None
    authentication_method: str | None = None
    authentication_data: bytes | None = None
    request_problem: int | None = None
    will_delay_s: int | None = None
    request_response: int | None = None
    response_information: str | None = None
    server_reference: str | None = None
    reason_string: str | None = None
    receive_maximum: int | None = None
    topic_alias_maximum: int | None = None
    topic_alias: int | None = None
    maximum_qos: int | None = None
    retain_available: int | None = None
    user_properties: UserProperties = ()
    maximum_packet_bytes: int | None = None
    wildcards_available: int | None = None
    subscription_ids_available: int | None = None
    shared_available: int | None = None


NO_PROPERTIES: Final = Properties()


class _Kind(Enum):
    """How a value is written."""

    FLAG = 1  # one byte that is 0 or 1
    TWO = 2
    FOUR = 4
    VARIABLE = 5
    TEXT = 6
    BINARY = 7
    PAIR = 8


class _Property(NamedTuple):
    field: str
    kind: _Kind
    places: frozenset[Place]
    least: int = 0


_P = PacketType
_ACKS = (_P.PUBACK, _P.PUBREC, _P.PUBREL, _P.PUBCOMP)
_REASONED: frozenset[Place] = frozenset({_P.CONNACK, *_ACKS, _P.SUBACK, _P.UNSUBACK, _P.DISCONNECT, _P.AUTH})
_EVERYWHERE: frozenset[Place] = _REASONED | {_P.CONNECT, _P.PUBLISH, WILL, _P.SUBSCRIBE, _P.UNSUBSCRIBE}


def _at(*places: Place) -> frozenset[Place]:
    return frozenset(places)


_TABLE: Final = {
    0x01: _Property("payload_format", _Kind.FLAG, _at(_P.PUBLISH, WILL)),
    0x02: _Property("message_expiry_s", _Kind.FOUR, _at(_P.PUBLISH, WILL)),
    0x03: _Property("content_type", _Kind.TEXT, _at(_P.PUBLISH, WILL)),
    0x08: _Property("response_topic", _Kind.TEXT, _at(_P.PUBLISH, WILL)),
    0x09: _Property("correlation_data", _Kind.BINARY, _at(_P.PUBLISH, WILL)),
    0x0B: _Property("subscription_ids", _Kind.VARIABLE, _at(_P.PUBLISH, _P.SUBSCRIBE), 1),
    0x11: _Property("session_expiry_s", _Kind.FOUR, _at(_P.CONNECT, _P.CONNACK, _P.DISCONNECT)),
    0x12: _Property("assigned_client_id", _Kind.TEXT, _at(_P.CONNACK)),
    0x13: _Property("server_keepalive_s", _Kind.TWO, _at(_P.CONNACK)),
    0x15: _Property("authentication_method", _Kind.TEXT, _at(_P.CONNECT, _P.CONNACK, _P.AUTH)),
    0x16: _Property("authentication_data", _Kind.BINARY, _at(_P.CONNECT, _P.CONNACK, _P.AUTH)),
    0x17: _Property("request_problem", _Kind.FLAG, _at(_P.CONNECT)),
    0x18: _Property("will_delay_s", _Kind.FOUR, _at(WILL)),
    0x19: _Property("request_response", _Kind.FLAG, _at(_P.CONNECT)),
    0x1A: _Property("response_information", _Kind.TEXT, _at(_P.CONNACK)),
    0x1C: _Property("server_reference", _Kind.TEXT, _at(_P.CONNACK, _P.DISCONNECT)),
    0x1F: _Property("reason_string", _Kind.TEXT, _REASONED),
    0x21: _Property("receive_maximum", _Kind.TWO, _at(_P.CONNECT, _P.CONNACK), 1),
    0x22: _Property("topic_alias_maximum", _Kind.TWO, _at(_P.CONNECT, _P.CONNACK)),
    0x23: _Property("topic_alias", _Kind.TWO, _at(_P.PUBLISH)),
    0x24: _Property("maximum_qos", _Kind.FLAG, _at(_P.CONNACK)),
    0x25: _Property("retain_available", _Kind.FLAG, _at(_P.CONNACK)),
    0x26: _Property("user_properties", _Kind.PAIR, _EVERYWHERE),
    0x27: _Property("maximum_packet_bytes", _Kind.FOUR, _at(_P.CONNECT, _P.CONNACK), 1),
    0x28: _Property("wildcards_available", _Kind.FLAG, _at(_P.CONNACK)),
    0x29: _Property("subscription_ids_available", _Kind.FLAG, _at(_P.CONNACK)),
    0x2A: _Property("shared_available", _Kind.FLAG, _at(_P.CONNACK)),
}  # fmt: skip

_TRAVELLING: Final = frozenset({0x01, 0x03, 0x08, 0x09, 0x26})
"""Those that go from a publisher to each receiver as they are (section 3.3.2.3); the message expiry goes with
the time that is left."""


class Block(NamedTuple):
    """A property block that was read: `end` is where it ends, `travelling` the bytes of those of a message
    that go on to its receivers, in their order."""

    properties: Properties
    end: int
    travelling: bytes = b""


def parse_properties(body: bytes, at: int, place: Place) -> Block:
    """The property block at `at` of a packet of the type `place`, or of a WILL. Raises MqttError: cut short,
    unknown, where it does not belong, twice, or with a value that is not allowed."""
    if body[at : at + 1] == b"\0":
        return Block(NO_PROPERTIES, at + 1)
    length, at = variable_integer(body, at, shortest=True)
    end = at + length
    if length < 0 or end > len(body):
        raise MqttError("properties are cut short")
    found: dict[str, Any] = {}
    pairs: list[tuple[str, str]] = []
    identifiers: list[int] = []
    travelling: list[bytes] = []
    while at < end:
        start, code = at, body[at]
        spec = _TABLE.get(code)
        if spec is None:
            raise MqttError(f"there is no property 0x{code:02x}")
        if place not in spec.places:
            name = place if isinstance(place, str) else place.name
            raise MqttError(f"property 0x{code:02x} does not belong into {name}", Reason.PROTOCOL_ERROR)
        value, at = _value(body, at + 1, end, spec)
        if code in _TRAVELLING:
            travelling.append(body[start:at])
        if spec.kind is _Kind.PAIR:
            pairs.append(value)
            if len(pairs) > MAX_USER_PROPERTIES:
                raise MqttError(f"more than {MAX_USER_PROPERTIES} user properties", Reason.QUOTA_EXCEEDED)
        elif code == 0x0B and place is PacketType.PUBLISH:
            identifiers.append(value)  # one of each subscription that matched
        elif spec.field in found:
            raise MqttError(f"{spec.field} stands twice", Reason.PROTOCOL_ERROR)
        else:
            found[spec.field] = (value,) if code == 0x0B else value
    if pairs:
        found["user_properties"] = tuple(pairs)
    if identifiers:
        found["subscription_ids"] = tuple(identifiers)
    return Block(Properties(**found), end, b"".join(travelling))


def _value(body: bytes, at: int, end: int, spec: _Property) -> tuple[Any, int]:
    """The value at `at`, and where it ends: within the block, and of those that are allowed."""
    kind, what = spec.kind, spec.field
    value: Any
    if kind is _Kind.PAIR:
        name, at = read_string(body, at, what)
        text, at = read_string(body, at, what)
        value = (name, text)
    elif kind is _Kind.TEXT:
        value, at = read_string(body, at, what)
        if what == "response_topic" and not is_topic_name(value):
            raise MqttError(f"response topic {value[:80]!r} is not a topic name", Reason.PROTOCOL_ERROR)
    elif kind is _Kind.BINARY:
        value, at = read_binary(body, at, what)
    elif kind is _Kind.VARIABLE:
        value, at = variable_integer(body, at, shortest=True)
        if value < 0:
            raise MqttError(f"{what} is cut short")
    else:
        size = 1 if kind is _Kind.FLAG else kind.value
        value, at = int.from_bytes(body[at : at + size], "big"), at + size
    if at > end:
        raise MqttError(f"{what} is cut short")
    if kind is _Kind.FLAG and value > 1:
        raise MqttError(f"{what} is {value}, not 0 or 1", Reason.PROTOCOL_ERROR)
    if spec.least and value < spec.least:
        raise MqttError(f"{what} is {value}", Reason.PROTOCOL_ERROR)
    return value, at


def encode_properties(properties: Properties, place: Place, travelling: bytes = b"") -> bytes:
    """A property block, with encoded `travelling` ones behind the others. Raises MqttError for a property
    that does not belong into the packet, or can't be encoded."""
    if properties is NO_PROPERTIES:
        return variable_bytes(len(travelling)) + travelling if travelling else b"\0"
    parts: list[bytes] = []
    for code, spec in _TABLE.items():
        value = getattr(properties, spec.field)
        if value is None or value == () or spec.field == "user_properties":
            continue
        _check_place(code, spec, place)
        values = value if code == 0x0B else (value,)
        parts += [bytes((code,)) + _encoded(spec, each) for each in values]
    for pair in properties.user_properties:
        parts.append(b"\x26" + prefixed(pair[0]) + prefixed(pair[1]))
    parts.append(travelling)
    block = b"".join(parts)
    return variable_bytes(len(block)) + block


def parse_travelling(travelling: bytes) -> Properties:
    """The properties of a message that travel with it (`Block.travelling`). Raises MqttError."""
    block = variable_bytes(len(travelling)) + travelling
    return parse_properties(block, 0, PacketType.PUBLISH).properties


def encode_travelling(properties: Properties) -> bytes:
    """The properties of a message as they travel with it. Raises MqttError."""
    block = encode_properties(properties, PacketType.PUBLISH)
    return block[variable_integer(block, 0)[1] :]


def _check_place(code: int, spec: _Property, place: Place) -> None:
    if place not in spec.places:
        raise MqttError(f"property 0x{code:02x} does not belong into {place}")


def _encoded(spec: _Property, value: Any) -> bytes:
    kind = spec.kind
    if kind in (_Kind.TEXT, _Kind.BINARY):
        return prefixed(value)
    if kind is _Kind.VARIABLE:
        return variable_bytes(value)
    try:
        return int(value).to_bytes(1 if kind is _Kind.FLAG else kind.value, "big")
    except OverflowError as error:
        raise MqttError(f"{spec.field} can't be {value}") from error


def because(text: str) -> Properties:
    """A reason string for people, or no property; a long one is cut."""
    if not text:
        return NO_PROPERTIES
    raw = text.replace("\0", " ").encode(errors="replace")[:MAX_REASON_BYTES]
    return Properties(reason_string=raw.decode(errors="ignore"))
