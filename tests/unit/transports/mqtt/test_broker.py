"""The core of the broker without a socket: retained messages at the pace of the client that takes them."""

import asyncio

import pytest

from mimi_mqtt.config.connections import SharesSettings
from mimi_mqtt.fleet.identity import Identity, Role
from mimi_mqtt.shares import Ledger
from mimi_mqtt.transports.mqtt.broker import EmbeddedBroker
from mimi_mqtt.transports.mqtt.client import Client, PendingWill, Subscription
from mimi_mqtt.transports.mqtt.counters import Counters
from mimi_mqtt.transports.mqtt.forms import FORM_311
from mimi_mqtt.transports.mqtt.message import Message
from mimi_mqtt.wire.mqtt import PacketReader, PacketType, Publish, Will, parse_publish

pytestmark = pytest.mark.virtual_time

ADMIN = Identity(Role.ADMIN, "admin")


class Connection:
    """A connection that holds at most `room` bytes until the client reads."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.buffer = b""
        self.cut: list[str] = []

    def write(self, data: bytes) -> None:
        self.buffer += data

    def cut_off(self, reason: str) -> None:
        self.cut.append(reason)

    def spend(self, amount: float) -> None:
        pass

    def has_room(self, size: int) -> bool:
        return not self.buffer or len(self.buffer) + size <= self.room

    def read(self) -> list[Publish]:
        """What the client reads."""
        data, self.buffer = self.buffer, b""
        return [parse_publish(packet) for packet in PacketReader(1 << 20).feed(data)]


def connected(broker: EmbeddedBroker, room: int) -> tuple[Client, Connection]:
    client, _ = broker.admit("key", ADMIN, "admin", clean_start=True, expiry_s=0)
    link = client.link = Connection(room)
    client.flow.begin(FORM_311, 10)
    client.flow.resume(0.0)
    broker.attached(client)
    return client, link


def test_a_will_that_waits_stays_when_its_client_is_back_and_gone_in_one() -> None:
    broker = EmbeddedBroker(Counters(lambda: 0.0), 10_000, SharesSettings(), Ledger(), lambda: 0.0)
    client, _ = broker.admit("key", ADMIN, "admin", clean_start=True, expiry_s=60)
    waiting = client.will = PendingWill(Will("last", b"gone", 0, False), 30.0, None)
    broker.admit("key", ADMIN, "admin", clean_start=False, expiry_s=60, is_open=False)
    assert client.will is waiting
    broker.admit("key", ADMIN, "admin", clean_start=False, expiry_s=60)
    assert client.will is None


def broker_with_retained(number: int, qos: int) -> EmbeddedBroker:
    counters = Counters(lambda: 0.0)
    broker = EmbeddedBroker(counters, 10_000, SharesSettings(), Ledger(), lambda: 0.0)
    for index in range(number):
        broker.retain(Message(f"t/{index}", bytes(1_000), qos, True))
    return broker


@pytest.mark.parametrize("qos", [0, 1])
async def test_a_client_gets_more_retained_messages_than_it_has_room_for_as_it_takes_them(qos: int) -> None:
    """Before, it was cut off as too slow, and again whenever it came back."""
    broker = broker_with_retained(100, qos)
    client, link = connected(broker, room=5_000)
    asked = Subscription(qos)
    broker.subscribe(client, "t/#", asked)
    broker.send_retained(client, {"t/#": asked})
    came: list[str] = []
    for _ in range(200):
        assert len(link.buffer) < 7_000
        for message in link.read():
            assert message.retain
            came.append(message.topic)
            if message.packet_id is not None:
                link.write(client.flow.acknowledged(PacketType.PUBACK, message.packet_id, 0.0))
        await asyncio.sleep(0.05)
    assert came == [f"t/{index}" for index in range(100)]
    assert link.cut == []
    assert not client.sending
    broker.close()


async def test_a_client_without_room_is_asked_again_by_one_timer_and_by_none_when_it_is_gone() -> None:
    broker = broker_with_retained(10, 0)
    client, link = connected(broker, room=2_000)
    for topic_filter in ("t/#", "t/+", "#"):
        broker.subscribe(client, topic_filter, Subscription())
        broker.send_retained(client, {topic_filter: Subscription()})
    assert list(client.due) == ["t/#", "t/+", "#"]
    assert [due.topics is None for due in client.due.values()] == [False, True, True]
    assert len(link.read()) == 1
    for again_s in (0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.0):
        assert client.room_again_s == pytest.approx(again_s)
        link.buffer = bytes(2_000)
        await asyncio.sleep(again_s)
    link.buffer = b""
    broker.unsubscribe(client, "t/#")
    broker.unsubscribe(client, "t/+")
    broker.leave(client, link, 0.0)
    await asyncio.sleep(1)
    assert link.read() == []
    assert not client.sending
    broker.close()
