"""One session by both versions, without a socket or a broker: packets in, answers and effects out."""

from typing import Any

import pytest

from mimi_mqtt.errors import MqttError
from mimi_mqtt.fleet.identity import Identity, Role
from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.transports.mqtt.client import Client, Subscription
from mimi_mqtt.transports.mqtt.flow import OutgoingFlow
from mimi_mqtt.transports.mqtt.forms import FORM_311, Form5
from mimi_mqtt.transports.mqtt.message import Message
from mimi_mqtt.transports.mqtt.pacing import Outcome, Work
from mimi_mqtt.transports.mqtt.protocol import ClientProtocol
from mimi_mqtt.wire import mqtt, mqtt5
from mimi_mqtt.wire.mqtt import PINGREQ, PINGRESP, PacketReader, PacketType, RawPacket
from mimi_mqtt.wire.mqtt5 import FilterRequest
from mimi_mqtt.wire.mqtt_properties import NO_PROPERTIES, Properties
from mimi_mqtt.wire.mqtt_reasons import Reason

NOW = 100.0
SUBSCRIBES = {
    4: mqtt.encode_subscribe(1, (("a", 0),)),
    5: mqtt5.encode_subscribe(1, (FilterRequest("a"),)),
}
UNSUBSCRIBES = {4: mqtt.encode_unsubscribe(1, ("a",)), 5: mqtt5.encode_unsubscribe(1, ("a",))}


class Scene:
    """A session, and everything that it does."""

    def __init__(self, version: int) -> None:
        form = Form5(NO_PROPERTIES) if version == 5 else FORM_311
        self.sent = b""
        self.spent = 0.0
        self.cut: list[str] = []
        self.published: list[Message] = []
        self.due: list[str] = []
        self.outcome = Outcome(Work(1, 1))
        self.client = Client("key", Identity(Role.ADMIN, "admin"), "admin", OutgoingFlow(10_000), link=self)
        self.client.flow.begin(form, 10)
        self.protocol = ClientProtocol(self.client, self, form, self, self._publish)

    # ── what a session asks for ──

    def write(self, data: bytes) -> None:
        self.sent += data

    def cut_off(self, reason: str) -> None:
        self.cut.append(reason)

    def spend(self, amount: float) -> None:
        self.spent += amount

    def has_room(self, size: int) -> bool:
        return True

    def _publish(self, message: Message) -> Outcome:
        self.published.append(message)
        return self.outcome

    def subscribe(self, client: Client, topic_filter: str, asked: Subscription) -> tuple[Reason, str]:
        if topic_filter.startswith("no/"):
            return Reason.NOT_AUTHORIZED, f"not {topic_filter}"
        client.subscriptions[topic_filter] = asked
        return Reason(asked.qos), ""

    def unsubscribe(self, client: Client, topic_filter: str) -> Reason:
        gone = client.subscriptions.pop(topic_filter, None)
        return Reason.NO_SUBSCRIPTION_EXISTED if gone is None else Reason.SUCCESS

    def send_retained(self, client: Client, granted: dict[str, Subscription]) -> None:
        self.due += granted

    # ── the test's side ──

    def takes(self, *raw: bytes) -> list[RawPacket]:
        """Handles packets; what is answered."""
        self.sent = b""
        for packet in PacketReader(1 << 20).feed(b"".join(raw)):
            self.protocol.handle(packet, NOW)
        return PacketReader(1 << 20).feed(self.sent)


@pytest.fixture(params=[4, 5])
def version(request: pytest.FixtureRequest) -> int:
    assert isinstance(request.param, int)
    return request.param


def publish(version: int, *arguments: Any, **options: Any) -> bytes:
    return (mqtt5.encode_publish if version == 5 else mqtt.encode_publish)(*arguments, **options)


def test_each_qos_has_its_answer(version: int) -> None:
    scene = Scene(version)
    assert scene.takes(publish(version, "t", b"0")) == []
    assert [each.type for each in scene.takes(publish(version, "t", b"1", 1, packet_id=7))] == [
        PacketType.PUBACK
    ]
    twice = publish(version, "t", b"2", 2, packet_id=8) * 2 + mqtt.encode_ack(PacketType.PUBREL, 8)
    kinds = [each.type for each in scene.takes(twice)]
    assert kinds == [PacketType.PUBREC, PacketType.PUBREC, PacketType.PUBCOMP]
    assert [(message.payload, message.qos) for message in scene.published] == [
        (b"0", 0),
        (b"1", 1),
        (b"2", 2),
    ]
    assert scene.client.unreleased == set()
    assert scene.takes(PINGREQ)[0].raw == PINGRESP


def test_everything_that_a_client_sends_is_paid_for(version: int) -> None:
    scene = Scene(version)
    for raw in (
        publish(version, "t", b"x"),
        PINGREQ,
        mqtt.encode_ack(PacketType.PUBREL, 9),
        mqtt.encode_ack(PacketType.PUBACK, 9),
        mqtt5.encode_subscribe(1, (FilterRequest("a"),))
        if version == 5
        else mqtt.encode_subscribe(1, (("a", 0),)),
        mqtt5.encode_unsubscribe(1, ("a",)) if version == 5 else mqtt.encode_unsubscribe(1, ("a",)),
    ):
        before = scene.spent
        scene.takes(raw)
        assert scene.spent >= before + 1


def test_acknowledgement_tells_the_outcome_in_mqtt_5_alone(version: int) -> None:
    scene = Scene(version)
    scene.outcome = Outcome(Work(), Reason.NOT_AUTHORIZED, "not here")
    puback, pubrec = scene.takes(
        publish(version, "t", b"", 1, packet_id=1), publish(version, "t", b"", 2, packet_id=2)
    )
    if version == 4:
        assert (puback.body, pubrec.body) == (b"\0\1", b"\0\2")
        assert scene.client.unreleased == {2}
        return
    for packet in (puback, pubrec):
        ack = mqtt5.parse_ack(packet)
        assert (ack.reason, ack.properties.reason_string) == (Reason.NOT_AUTHORIZED, "not here")
    assert scene.client.unreleased == set()


def test_properties_of_a_message_are_read_and_its_expiry_begins() -> None:
    scene = Scene(5)
    scene.takes(
        mqtt5.encode_publish(
            "t", b"", properties=Properties(message_expiry_s=9, content_type="c", payload_format=1)
        )
    )
    (message,) = scene.published
    assert message.expires_at == NOW + 9
    assert message.travelling == b"\1\1\3\0\1c"


def test_too_many_unreleased_messages_end_the_connection(
    version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_UNRELEASED", 2)
    scene = Scene(version)
    raw = [publish(version, "t", b"", 2, packet_id=number) for number in (1, 2, 3)]
    if version == 4:
        scene.takes(*raw)
        assert len(scene.cut) == 1
    else:
        with pytest.raises(MqttError) as refused:
            scene.takes(*raw)
        assert refused.value.reason_code == Reason.RECEIVE_MAXIMUM_EXCEEDED
    assert len(scene.published) == 2


def test_subscriptions_are_granted_one_by_one_and_retained_messages_due_for_those() -> None:
    scene = Scene(5)
    requests = (
        FilterRequest("always", 1),
        FilterRequest("new", 2, retain_handling=1),
        FilterRequest("never", 0, retain_handling=2),
        FilterRequest("no/way", 0),
        FilterRequest("$share/g/t", 1),
    )
    (raw,) = scene.takes(mqtt5.encode_subscribe(5, requests, 77))
    answer = mqtt5.parse_subscribe_answer(raw)
    assert answer.reasons == (1, 2, 0, 0x87, 1)
    assert answer.properties.reason_string == "not no/way"
    assert scene.due == ["always", "new"]
    assert scene.client.subscriptions["always"] == Subscription(1, identifiers=(77,))
    scene.takes(mqtt5.encode_subscribe(6, requests))
    assert scene.due == ["always", "new", "always"]


def test_one_suback_tells_few_reasons_in_words() -> None:
    scene = Scene(5)
    requests = tuple(FilterRequest(f"no/{number}") for number in range(500))
    answer = mqtt5.parse_subscribe_answer(scene.takes(mqtt5.encode_subscribe(5, requests))[0])
    assert len(answer.reasons) == 500
    assert answer.properties.reason_string == "not no/0; not no/1; not no/2; not no/3; not no/4"


def test_subscriptions_of_3_1_1_have_one_failure_and_always_retained_messages() -> None:
    scene = Scene(4)
    (raw,) = scene.takes(mqtt.encode_subscribe(5, (("a", 2), ("no/way", 0), ("$share/g/t", 1))))
    assert raw.body == bytes((0, 5, 2, 0x80, 1))
    assert scene.due == ["a"]


def test_acknowledgements_of_the_client_open_its_window() -> None:
    scene = Scene(5)
    scene.client.flow.begin(Form5(NO_PROPERTIES), 1)
    for number in range(2):
        scene.client.flow.publish(Message("t", b"%d" % number, 1), NOW, 1)
    (raw,) = scene.takes(mqtt5.encode_ack(PacketType.PUBACK, 1, Reason.UNSPECIFIED_ERROR))
    assert mqtt5.parse_publish(raw).payload == b"1"


def test_acknowledgements_that_contradict_a_message_in_flight_are_protocol_errors(version: int) -> None:
    for qos, kind in (
        (1, PacketType.PUBREC),
        (1, PacketType.PUBCOMP),
        (2, PacketType.PUBACK),
        (2, PacketType.PUBCOMP),
    ):
        scene = Scene(version)
        scene.client.flow.resume(NOW)
        scene.client.flow.publish(Message("t", b"x", 2), NOW, qos)
        with pytest.raises(MqttError) as refused:
            scene.takes(mqtt.encode_ack(kind, 1))
        assert refused.value.reason_code == Reason.PROTOCOL_ERROR
        assert scene.client.flow.pending == 1, "it is sent again to whoever comes back"


def test_a_pubrec_that_comes_twice_is_answered_twice(version: int) -> None:
    scene = Scene(version)
    scene.client.flow.resume(NOW)
    scene.client.flow.publish(Message("t", b"x", 2), NOW, 2)
    pubrec = mqtt.encode_ack(PacketType.PUBREC, 1)
    assert [each.type for each in scene.takes(pubrec, pubrec)] == [PacketType.PUBREL] * 2
