"""The queue between a connection and the task that handles its packets."""

import asyncio

from mimi_mqtt.transports.mqtt.limits import MAX_INPUT_BYTES
from mimi_mqtt.transports.mqtt.packet_queue import PacketQueue
from mimi_mqtt.wire.mqtt import PacketType, RawPacket


class Turns:
    """Gives turns when told to, or at once."""

    def __init__(self, *, at_once: bool = True) -> None:
        self.at_once = at_once
        self.asked: list[asyncio.Future[None]] = []

    def __call__(self, packet: RawPacket) -> asyncio.Future[None]:
        turn = asyncio.get_running_loop().create_future()
        self.asked.append(turn)
        if self.at_once:
            turn.set_result(None)
        return turn


def packet(body: bytes = b"") -> RawPacket:
    return RawPacket(PacketType.PUBLISH, 0, body, b"\x30\0" + body)


async def test_packets_come_in_order_and_the_end_after_them() -> None:
    queue = PacketQueue(lambda held: None, Turns())
    sent = [packet(b"%d" % number) for number in range(3)]
    for each in sent:
        queue.add(each)
    queue.finish()
    assert [await queue.next() for _ in range(3)] == sent
    assert await queue.next() is None


async def test_a_packet_waits_for_its_turn() -> None:
    turns = Turns(at_once=False)
    queue = PacketQueue(lambda held: None, turns)
    waiting = asyncio.create_task(queue.next())
    queue.add(packet())
    for _ in range(3):
        await asyncio.sleep(0)
    assert not waiting.done()
    assert queue.waiting == 1
    turns.asked[0].set_result(None)
    assert await waiting == packet()


async def test_too_many_bytes_hold_the_connection_until_half_is_taken() -> None:
    held: list[bool] = []
    queue = PacketQueue(held.append, Turns())
    count = 0
    while not held:
        queue.add(packet(bytes(1_000)))
        count += 1
    assert count * 1_000 < MAX_INPUT_BYTES < count * 1_200
    taken = 0
    while held == [True]:
        await queue.next()
        taken += 1
    assert held == [True, False]
    assert count // 2 <= taken <= count // 2 + 2


async def test_tiny_packets_count_with_the_memory_they_take() -> None:
    held: list[bool] = []
    queue = PacketQueue(held.append, Turns())
    for _ in range(MAX_INPUT_BYTES // 160):
        queue.add(packet())
    assert held == [True]


async def test_dropping_ends_the_wait_for_a_turn() -> None:
    queue = PacketQueue(lambda held: None, Turns(at_once=False))
    queue.add(packet())
    waiting = asyncio.create_task(queue.next())
    await asyncio.sleep(0)
    queue.drop()
    assert await waiting is None
    assert queue.waiting == 0
