"""Fuzz targets of MQTT 5: each packet with its properties, reasons and options (`mqtt_targets`: CONNECT)."""

from collections.abc import Callable

from mimi_mqtt.errors import MqttError
from mimi_mqtt.fleet.identity import Identity, Role
from mimi_mqtt.transports.mqtt.client import Client, Subscription
from mimi_mqtt.transports.mqtt.flow import OutgoingFlow
from mimi_mqtt.transports.mqtt.forms import FORM_311, Form, Form5
from mimi_mqtt.transports.mqtt.message import Message
from mimi_mqtt.transports.mqtt.pacing import Outcome, Work
from mimi_mqtt.transports.mqtt.protocol import FROM_CLIENTS, ClientProtocol
from mimi_mqtt.transports.mqtt.subscriptions import Subscriptions
from mimi_mqtt.wire import mqtt, mqtt5, topics
from mimi_mqtt.wire.mqtt import PacketReader, PacketType, RawPacket
from mimi_mqtt.wire.mqtt_properties import (
    MAX_USER_PROPERTIES,
    NO_PROPERTIES,
    WILL,
    Place,
    Properties,
    encode_properties,
    parse_properties,
)
from mimi_mqtt.wire.mqtt_reasons import FAILURE, Reason
from tests.fuzz.target import Target, pieces, told_briefly

_PLACES: tuple[Place, ...] = (*PacketType, WILL)


def _refused(error: MqttError) -> bool:
    """Holds an error to what can answer it: a reason code that says failure, and a short text."""
    assert Reason(error.reason_code) >= FAILURE
    told_briefly(error)
    return False


def _packet(kind: PacketType, data: bytes) -> RawPacket:
    """A packet with `data` as flags and body; the framing refuses it where its flags are wrong."""
    first = kind << 4 | (data[0] & 15 if kind is PacketType.PUBLISH and data else 0)
    if kind in (PacketType.PUBREL, PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE):
        first |= 2
    body = data[1:]
    header = bytearray((first,))
    length = len(body)
    while length > 0x7F:
        header.append(length & 0x7F | 0x80)
        length >>= 7
    header.append(length)
    (packet,) = PacketReader(1 << 20).feed(bytes(header) + body)
    return packet


def check_properties(data: bytes) -> bool:
    """A property block in any place: it ends within itself, depends on nothing behind it, and comes back."""
    if not data:
        return False
    place = _PLACES[data[0] % len(_PLACES)]
    try:
        found, end, travelling = parse_properties(data, 1, place)
    except MqttError as error:
        return _refused(error)
    assert 1 < end <= len(data)
    assert parse_properties(data[:end] + b"\xff" * 8, 1, place) == (found, end, travelling)
    assert len(found.user_properties) <= MAX_USER_PROPERTIES
    assert found.response_topic is None or topics.is_topic_name(found.response_topic)
    again = encode_properties(found, place)
    assert parse_properties(again, 0, place).properties == found
    if place in (PacketType.PUBLISH, WILL):
        alone = encode_properties(NO_PROPERTIES, place, travelling)
        onward = parse_properties(alone, 0, place)
        assert onward.travelling == travelling
        assert onward.properties.user_properties == found.user_properties
        assert onward.properties.correlation_data == found.correlation_data
        assert onward.properties.topic_alias is None
    try:
        parse_properties(data[: end - 1], 1, place)
    except MqttError:
        return True
    raise AssertionError("a block that is cut short was accepted")


def check_publish(data: bytes) -> bool:
    """PUBLISH: what is parsed encodes to a packet that is parsed to the same."""
    try:
        packet = _packet(PacketType.PUBLISH, data)
        parsed = mqtt5.parse_publish(packet)
    except MqttError as error:
        return _refused(error)
    assert parsed.topic == "" or topics.is_topic_name(parsed.topic)
    assert parsed.topic or parsed.properties.topic_alias
    assert (parsed.packet_id is None) == (parsed.qos == 0)
    (again,) = PacketReader(1 << 20).feed(mqtt5.encode_publish(*parsed[:-1]))
    assert mqtt5.parse_publish(again)[:-1] == parsed[:-1]
    return True


def check_subscribe(data: bytes) -> bool:
    """SUBSCRIBE and UNSUBSCRIBE, by the first bit: there and back, and each filter is one."""
    try:
        if data[:1] < b"\x80":
            packet = _packet(PacketType.SUBSCRIBE, data)
            asked = mqtt5.parse_subscribe(packet)
            filters = [each.topic_filter for each in asked.filters]
            assert all(each.qos < 3 and each.retain_handling < 3 for each in asked.filters)
            again = mqtt5.encode_subscribe(*asked)
            assert mqtt5.parse_subscribe(*PacketReader(1 << 20).feed(again)) == asked
        else:
            left = mqtt5.parse_unsubscribe(_packet(PacketType.UNSUBSCRIBE, data))
            filters = [*left.filters]
            again = mqtt5.encode_unsubscribe(*left)
            assert mqtt5.parse_unsubscribe(*PacketReader(1 << 20).feed(again)) == left
    except MqttError as error:
        return _refused(error)
    assert filters
    assert all(map(topics.is_topic_filter, filters))
    return True


_ANSWERS: tuple[tuple[PacketType, Callable[[RawPacket], tuple[object, ...]], Callable[..., bytes]], ...] = (
    *((kind, mqtt5.parse_ack, mqtt5.encode_ack) for kind in (
        PacketType.PUBACK, PacketType.PUBREC, PacketType.PUBREL, PacketType.PUBCOMP
    )),
    (PacketType.SUBACK, mqtt5.parse_subscribe_answer, mqtt5.encode_subscribe_answer),
    (PacketType.UNSUBACK, mqtt5.parse_subscribe_answer, mqtt5.encode_subscribe_answer),
    (PacketType.DISCONNECT, mqtt5.parse_closing, mqtt5.encode_closing),
    (PacketType.AUTH, mqtt5.parse_closing, mqtt5.encode_closing),
)  # fmt: skip


def check_answers(data: bytes) -> bool:
    """Acknowledgements, SUBACK, UNSUBACK, CONNACK, DISCONNECT and AUTH, by the first byte: there and back."""
    if not data:
        return False
    at = data[0] % (len(_ANSWERS) + 1)
    try:
        if at == len(_ANSWERS):
            connack = mqtt5.parse_connack(_packet(PacketType.CONNACK, data))
            (again,) = PacketReader(1 << 20).feed(
                mqtt5.encode_connack(connack.reason, connack.session_present, connack.properties)
            )
            assert mqtt5.parse_connack(again) == connack
            return True
        kind, parse, encode = _ANSWERS[at]
        parsed = parse(_packet(kind, data))
    except MqttError as error:
        return _refused(error)
    (again,) = PacketReader(1 << 20).feed(encode(kind, *parsed))
    assert parse(again) == parsed
    return True


class _Link:
    """A connection that keeps what it is given."""

    def __init__(self) -> None:
        self.sent = b""

    def write(self, data: bytes) -> None:
        self.sent += data

    def cut_off(self, reason: str) -> None:
        assert reason

    def spend(self, amount: float) -> None:
        assert amount > 0

    def has_room(self, size: int) -> bool:
        return size >= 0


class _Store:
    """A broker of one client: it is sent what it publishes and subscribed to."""

    def __init__(self) -> None:
        self.table = Subscriptions(1_000)

    def subscribe(self, client: Client, topic_filter: str, asked: Subscription) -> tuple[Reason, str]:
        if not topics.split_share(topic_filter)[1]:
            return Reason.TOPIC_FILTER_INVALID, "no group"
        self.table.add(client, topic_filter, asked)
        return (Reason.SUCCESS, Reason.GRANTED_QOS_1, Reason.GRANTED_QOS_2)[asked.qos], ""

    def unsubscribe(self, client: Client, topic_filter: str) -> Reason:
        return Reason.SUCCESS if self.table.remove(client, topic_filter) else Reason.NO_SUBSCRIPTION_EXISTED

    def send_retained(self, client: Client, granted: dict[str, Subscription]) -> None:
        assert all(topics.split_share(topic_filter)[0] is None for topic_filter in granted)


def check_session(data: bytes) -> bool:
    """A session that is sent a stream of packets: whatever comes, its answers are packets of its version."""
    if not data:
        return False
    v5 = data[0] & 1 == 1
    form: Form = Form5(Properties(receive_maximum=2, maximum_packet_bytes=60)) if v5 else FORM_311
    link, store = _Link(), _Store()
    client = Client("key", Identity(Role.ADMIN, "admin"), "admin", OutgoingFlow(2_000), link=link)
    client.flow.begin(form, 2)

    def publish(message: Message) -> Outcome:
        found = store.table.receivers(message.topic, client)
        chosen = [*found.clients.values(), *(asked for _, asked, _ in found.shared)]
        for asked in chosen:
            qos = min(message.qos, asked.qos)
            link.sent += client.flow.publish(message, 0.0, qos, False, asked.identifiers) or b""
        return Outcome(Work(len(chosen), found.visited))

    protocol = ClientProtocol(client, link, form, store, publish)
    reader = PacketReader(1 << 16)
    reached = False
    try:
        for part in pieces(data[1:]):
            for packet in reader.feed(part):
                if packet.type in FROM_CLIENTS:
                    protocol.handle(packet, 0.0)
                    reached = True
    except MqttError as error:
        _refused(error)
    assert client.flow.pending <= 12, "what waits is bounded in bytes"
    parsers: dict[PacketType, Callable[[RawPacket], object]] = {
        kind: parse for kind, parse, _ in _ANSWERS if kind is not PacketType.AUTH
    }
    parsers[PacketType.PUBLISH] = mqtt5.parse_publish
    for packet in PacketReader(1 << 20).feed(link.sent):
        if v5 and packet.type is not PacketType.PINGRESP:
            parsers[packet.type](packet)
            assert packet.type is not PacketType.PUBLISH or len(packet.raw) <= 60
    return reached


_EVERYTHING = Properties(
    payload_format=1, message_expiry_s=9, content_type="t", response_topic="r", correlation_data=b"\0",
    user_properties=(("k", "v"), ("k", "")), topic_alias=2, subscription_ids=(1, 300),
)  # fmt: skip


def _body(raw: bytes, first: int) -> bytes:
    (packet,) = PacketReader(1 << 20).feed(raw)
    return bytes((first,)) + packet.body


_TOKENS = (b"\x26\0\x01k\0\x01v", b"\x80\x01", b"\x1f\0\x01w", b"\x11\0\0\0\x05", b"\x23\0\0", b"\x0b\x01")

TARGETS = (
    Target(
        "mqtt5-properties",
        check_properties,
        (
            bytes((_PLACES.index(PacketType.PUBLISH),)) + encode_properties(_EVERYTHING, PacketType.PUBLISH),
            bytes((_PLACES.index(PacketType.CONNECT),))
            + encode_properties(
                Properties(session_expiry_s=1, receive_maximum=2, maximum_packet_bytes=3), PacketType.CONNECT
            ),
            bytes((_PLACES.index(WILL),)) + encode_properties(Properties(will_delay_s=5), WILL),
            bytes((_PLACES.index(PacketType.AUTH),)) + b"\0",
        ),
        _TOKENS,
    ),
    Target(
        "mqtt5-publish",
        check_publish,
        (
            _body(mqtt5.encode_publish("a/b", b"x", 1, True, False, 7, _EVERYTHING), 3),
            _body(mqtt5.encode_publish("", b"x", properties=Properties(topic_alias=1)), 0),
            _body(mqtt5.encode_publish("ü", b""), 1),
        ),
        _TOKENS,
    ),
    Target(
        "mqtt5-subscribe",
        check_subscribe,
        (
            _body(
                mqtt5.encode_subscribe(
                    7,
                    (mqtt5.FilterRequest("a/#", 1, True, True, 2), mqtt5.FilterRequest("$share/g/+", 2)),
                    77,
                    (("k", "v"),),
                ),
                0,
            ),
            _body(mqtt5.encode_unsubscribe(8, ("a/+/b", "$share/g/#"), (("k", "v"),)), 0x80),
        ),
        (*_TOKENS, b"\0\x01#", b"\0\x0a$share/g/a"),
    ),
    Target(
        "mqtt5-answers",
        check_answers,
        (
            *(
                _body(mqtt5.encode_ack(kind, 7, Reason.SUCCESS, Properties(reason_string="w")), at)
                for at, (kind, parse, _) in enumerate(_ANSWERS)
                if parse is mqtt5.parse_ack
            ),
            _body(mqtt5.encode_subscribe_answer(PacketType.SUBACK, 7, (Reason.NOT_AUTHORIZED,)), 4),
            _body(mqtt5.encode_subscribe_answer(PacketType.UNSUBACK, 7, (Reason.SUCCESS,)), 5),
            _body(mqtt5.encode_closing(PacketType.DISCONNECT, Reason.SERVER_BUSY), 6),
            _body(
                mqtt5.encode_closing(
                    PacketType.AUTH, Reason.REAUTHENTICATE, Properties(authentication_method="m")
                ),
                7,
            ),
            _body(mqtt5.encode_connack(Reason.SUCCESS, True, Properties(assigned_client_id="a")), 8),
        ),
        _TOKENS,
    ),
    Target(
        "mqtt5-session",
        check_session,
        (
            b"\1"
            + mqtt5.encode_subscribe(
                1, (mqtt5.FilterRequest("a/#", 2), mqtt5.FilterRequest("$share/g/+", 1)), 5
            )
            + mqtt5.encode_publish("a/b", b"x", 2, packet_id=3)
            + mqtt5.encode_ack(PacketType.PUBREL, 3)
            + mqtt5.encode_publish("a", b"x", 1, packet_id=4)
            + mqtt5.encode_ack(PacketType.PUBREC, 1)
            + mqtt5.encode_ack(PacketType.PUBCOMP, 1)
            + mqtt5.encode_unsubscribe(5, ("a/#", "b")),
            b"\0"
            + mqtt.encode_subscribe(1, (("a/#", 2),))
            + mqtt.encode_publish("a/b", b"x", 1, packet_id=3)
            + mqtt.encode_ack(PacketType.PUBACK, 1)
            + mqtt.PINGREQ,
        ),
        (
            *_TOKENS,
            mqtt.PINGREQ,
            mqtt5.encode_ack(PacketType.PUBACK, 1),
            mqtt5.encode_ack(PacketType.PUBREC, 2),
        ),
    ),
)
