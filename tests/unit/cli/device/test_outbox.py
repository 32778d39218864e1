"""Messages that wait for the device's connection: sent in order, or lost with it."""

import asyncio

import pytest

from mimi_mqtt.cli.device.outbox import MAX_WAITING, Outbox


class Losses:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


async def test_messages_are_sent_in_order_and_flush_waits_for_the_last() -> None:
    outbox, sent = Outbox[bytes](Losses()), list[bytes]()

    async def send(message: bytes) -> None:
        await asyncio.sleep(0)
        sent.append(message)

    outbox.up.set()
    assert all(outbox.put(message) for message in (b"a", b"b", b"c"))
    draining = asyncio.create_task(outbox.drain(send))
    await outbox.flush()
    assert sent == [b"a", b"b", b"c"]
    draining.cancel()
    await asyncio.wait([draining])


async def test_nothing_is_taken_without_a_connection_and_no_more_than_may_wait() -> None:
    outbox = Outbox[bytes](Losses())
    assert not outbox.put(b"early")
    outbox.up.set()
    assert all(outbox.put(b"x") for _ in range(MAX_WAITING))
    assert not outbox.put(b"beyond")


async def test_what_waits_is_lost_with_the_connection_once() -> None:
    losses = Losses()
    outbox = Outbox[bytes](losses)
    assert not outbox.break_down()
    outbox.up.set()
    outbox.put(b"lost")
    assert outbox.break_down()
    assert not outbox.break_down()
    assert (outbox.times_lost, losses.count, outbox.up.is_set()) == (1, 1, False)
    await outbox.flush()


async def test_a_message_that_can_not_be_sent_ends_the_draining_and_is_not_waited_for() -> None:
    outbox = Outbox[bytes](Losses())

    async def broken(message: bytes) -> None:
        raise OSError("the connection broke")

    outbox.up.set()
    outbox.put(b"a")
    with pytest.raises(OSError, match="broke"):
        await outbox.drain(broken)
    await outbox.flush()
