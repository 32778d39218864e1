"""Refusals of CONNECT, and the packets that answer them; pure.

MQTT 3.1.1 section 3.2.2.3 has five return codes; MQTT 5 (section 3.2.2.2) has more, and a reason for people.
"""

from typing import NamedTuple

from mimi_mqtt.errors import MqttError
from mimi_mqtt.transports.mqtt.limits import MAX_CLIENT_ID_CHARS
from mimi_mqtt.wire import mqtt5
from mimi_mqtt.wire.mqtt import (
    MAX_REMAINING_BYTES,
    REFUSED_CLIENT_ID,
    REFUSED_CREDENTIALS,
    REFUSED_NOT_AUTHORIZED,
    REFUSED_PROTOCOL,
    REFUSED_UNAVAILABLE,
    Connect,
    PacketType,
    RawPacket,
    encode_connack,
)
from mimi_mqtt.wire.mqtt_properties import because
from mimi_mqtt.wire.mqtt_reasons import ALLOWED, Reason

_LEVEL_AT = 6
"""Where CONNECT has its protocol level, behind the name MQTT."""


class Refusal(NamedTuple):
    """A CONNECT that is refused: the reason as counted, the packet that answers it, and details for the
    log."""

    reason: str
    answer: bytes
    detail: str = ""


def _answer(connect: Connect, code: int, reason: Reason, text: str) -> bytes:
    """CONNACK, within the length that the client allows: without its text, or nothing."""
    if connect.protocol_level != 5:
        return encode_connack(code)
    longest = connect.properties.maximum_packet_bytes or MAX_REMAINING_BYTES
    packets = (mqtt5.encode_connack(reason, properties=because(text)), mqtt5.encode_connack(reason))
    return next((packet for packet in packets if len(packet) <= longest), b"")


def wrong_protocol(connect: Connect) -> Refusal:
    """The refusal of another protocol than MQTT 3.1.1 and 5."""
    level = f"protocol level {connect.protocol_level}"
    return Refusal("protocol", encode_connack(REFUSED_PROTOCOL), level)


def wrong_method(connect: Connect) -> Refusal:
    """The refusal of enhanced authentication (MQTT 5 section 4.12), which this broker has no method of."""
    text = "this broker has no enhanced authentication: connect with a user name and password"
    method = f"authentication method {connect.properties.authentication_method!r:.80}"
    answer = _answer(connect, REFUSED_NOT_AUTHORIZED, Reason.BAD_AUTHENTICATION_METHOD, text)
    return Refusal("authentication_method", answer, method)


def wrong_client_id(connect: Connect) -> Refusal:
    """The refusal of a client id."""
    text = f"the client id must be printable and have at most {MAX_CLIENT_ID_CHARS} characters"
    if not connect.client_id:
        text = "without a client id there is no session to keep: set Clean Session, or choose a client id"
    return Refusal("client_id", _answer(connect, REFUSED_CLIENT_ID, Reason.CLIENT_ID_NOT_VALID, text), text)


def wrong_credentials(connect: Connect) -> Refusal:
    """The refusal of a user name and password that don't fit."""
    if connect.username:
        answer = _answer(
            connect, REFUSED_CREDENTIALS, Reason.BAD_CREDENTIALS, "the user name or the password is wrong"
        )
    else:
        answer = _answer(
            connect, REFUSED_NOT_AUTHORIZED, Reason.NOT_AUTHORIZED, "connect with a user name and password"
        )
    return Refusal("credentials", answer, f"wrong password for {connect.username!r:.80}")


def forbidden_will(connect: Connect, detail: str) -> Refusal:
    """The refusal of a will on a topic where the client may not publish."""
    text = "you may not publish on the topic of your will"
    return Refusal("will", _answer(connect, REFUSED_NOT_AUTHORIZED, Reason.NOT_AUTHORIZED, text), detail)


def unavailable(
    connect: Connect, reason: str, detail: str, code: Reason = Reason.SERVER_UNAVAILABLE
) -> Refusal:
    """The refusal of what may be let in later."""
    return Refusal(reason, _answer(connect, REFUSED_UNAVAILABLE, code, detail), detail)


def short_packets(connect: Connect) -> Refusal:
    """The refusal of an MQTT 5 client that allows no packet as long as the CONNACK that accepts it."""
    text = (
        f"the server's CONNACK is longer than the {connect.properties.maximum_packet_bytes} bytes you allow"
    )
    answer = _answer(connect, REFUSED_UNAVAILABLE, Reason.PACKET_TOO_LARGE, text)
    return Refusal("client_packet_size", answer, text)


def malformed(packet: RawPacket | None, error: MqttError) -> Refusal:
    """The refusal of what is no CONNECT: without an answer, but to a CONNECT of MQTT 5 (section 4.13)."""
    answer = b""
    if (
        packet is not None
        and packet.type is PacketType.CONNECT
        and packet.body[: _LEVEL_AT + 1] == b"\0\4MQTT\5"
    ):
        known = error.reason_code in ALLOWED[PacketType.CONNACK]
        reason = Reason(error.reason_code) if known else Reason.PROTOCOL_ERROR
        answer = mqtt5.encode_connack(reason, properties=because(str(error)))
    return Refusal("malformed", answer, str(error))
