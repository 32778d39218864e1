"""Refusals of CONNECT, and the packets that answer it (MQTT 3.1.1 section 3.2.2.3); pure."""

from typing import NamedTuple

from mimi_mqtt.wire.mqtt import (
    REFUSED_CREDENTIALS,
    REFUSED_NOT_AUTHORIZED,
    REFUSED_PROTOCOL,
    REFUSED_UNAVAILABLE,
    Connect,
    encode_connack,
    encode_connack_v5,
)

_V5_UNSUPPORTED = 0x84
_V5_REASON = "This broker speaks MQTT 3.1.1: choose protocol version 3.1.1 (mosquitto clients: -V mqttv311)"


class Refusal(NamedTuple):
    """A CONNECT that is refused: the reason as counted, the packet that answers it, and details for the
    log."""

    reason: str
    answer: bytes
    detail: str = ""


def wrong_protocol(connect: Connect) -> Refusal:
    """The refusal of another protocol than MQTT 3.1.1, in the form of MQTT 5 where that was asked for."""
    if connect.protocol_level == 5:
        return Refusal("protocol", encode_connack_v5(_V5_UNSUPPORTED, _V5_REASON), "MQTT 5")
    level = f"protocol level {connect.protocol_level}"
    return Refusal("protocol", encode_connack(REFUSED_PROTOCOL), level)


def wrong_credentials(connect: Connect) -> Refusal:
    """The refusal of a user name and password that don't fit."""
    code = REFUSED_CREDENTIALS if connect.username else REFUSED_NOT_AUTHORIZED
    return Refusal("credentials", encode_connack(code), f"wrong password for {connect.username!r:.80}")


def unavailable(reason: str, detail: str) -> Refusal:
    """The refusal of what may be let in later."""
    return Refusal(reason, encode_connack(REFUSED_UNAVAILABLE), detail)
