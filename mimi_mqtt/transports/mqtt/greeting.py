"""The terms of a general client's connection: what CONNECT asked for, and what CONNACK tells; pure."""

from dataclasses import replace
from typing import NamedTuple

from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.transports.mqtt.forms import FORM_311, Form, Form5
from mimi_mqtt.wire import mqtt5
from mimi_mqtt.wire.mqtt import ACCEPTED, Connect, encode_connack
from mimi_mqtt.wire.mqtt_properties import Properties
from mimi_mqtt.wire.mqtt_reasons import Reason


class Terms(NamedTuple):
    """Terms agreed for one connection. `expiry_s` is how long the session outlives it, `keepalive_s` the
    longest time without a packet (0: any), `window` the number of unacknowledged messages that the client
    takes, `max_packet_bytes` the longest packet that the server takes, `assigned_client_id` the client id
    when the server chose it."""

    form: Form
    expiry_s: float
    keepalive_s: int
    window: int
    max_packet_bytes: int
    assigned_client_id: str | None = None

    def until(self, expiry_s: int) -> "Terms":
        """The terms with another session expiry interval, which DISCONNECT may bring."""
        return self._replace(expiry_s=_expiry(expiry_s))


def _expiry(asked_s: int) -> float:
    """Seconds for which a session is kept; 0xFFFFFFFF, never to end, is bounded as well."""
    return min(float(asked_s), limits.OFFLINE_SESSION_S)


def terms(connect: Connect, client_id: str, max_packet_bytes: int) -> Terms:
    """The terms for a CONNECT of MQTT 3.1.1 or 5, under the `client_id` that it has or was given."""
    if connect.protocol_level != 5:
        expiry_s = 0.0 if connect.clean_session else limits.OFFLINE_SESSION_S
        return Terms(FORM_311, expiry_s, connect.keepalive_s, limits.MAX_IN_FLIGHT, max_packet_bytes)
    properties = connect.properties
    keepalive_s = min(connect.keepalive_s or limits.MAX_KEEPALIVE_S, limits.MAX_KEEPALIVE_S)
    return Terms(
        Form5(properties),
        _expiry(properties.session_expiry_s or 0),
        keepalive_s,
        min(properties.receive_maximum or limits.MAX_IN_FLIGHT, limits.MAX_IN_FLIGHT),
        max_packet_bytes,
        None if connect.client_id else client_id,
    )


def connack(agreed: Terms, connect: Connect, session_present: bool) -> bytes | None:
    """The CONNACK that accepts the connection; None when it is longer than the client allows. MQTT 5 is told
    wherever the terms are not those it asked for (section 3.2.2.3); what is so by default is left out for a
    client that takes short packets only."""
    if connect.protocol_level != 5:
        return encode_connack(ACCEPTED, session_present)
    asked_s = connect.properties.session_expiry_s or 0
    needed = Properties(
        session_expiry_s=None if asked_s == agreed.expiry_s else int(agreed.expiry_s),
        receive_maximum=limits.MAX_UNRELEASED,
        maximum_packet_bytes=agreed.max_packet_bytes,
        assigned_client_id=agreed.assigned_client_id,
        server_keepalive_s=None if agreed.keepalive_s == connect.keepalive_s else agreed.keepalive_s,
    )
    packet = mqtt5.encode_connack(Reason.SUCCESS, session_present, _with_defaults(needed))
    if len(packet) > agreed.form.max_packet_bytes:
        packet = mqtt5.encode_connack(Reason.SUCCESS, session_present, needed)
    return packet if len(packet) <= agreed.form.max_packet_bytes else None


def _with_defaults(needed: Properties) -> Properties:
    """The properties with those that say what the broker can do, though they mean the same when left out."""
    return replace(
        needed,
        topic_alias_maximum=0,
        wildcards_available=1,
        subscription_ids_available=1,
        shared_available=1,
    )
