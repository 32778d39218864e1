"""Both ways of a connection at once."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from mimi_mqtt.errors import ProviderUnavailable
from mimi_mqtt.providers.http.streaming import or_idle, sending


class Line:
    """A line on which nothing ever comes down, unless it is hung up."""

    def __init__(self) -> None:
        self.hung_up = asyncio.Event()
        self.all_sent = asyncio.Event()
        self.sent: list[str] = []

    async def send(self, *words: str, then: BaseException | None = None) -> None:
        for word in words:
            await asyncio.sleep(0)
            self.sent.append(word)
        self.all_sent.set()
        if then is not None:
            raise then

    async def send_for_ever(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.sent.append("stopped")

    async def receive(self) -> None:
        await self.hung_up.wait()
        raise ProviderUnavailable("x", "hung up")


async def test_sending_goes_on_beside_the_body() -> None:
    line = Line()
    async with sending(line.send("a", "b"), line.hung_up.set):
        await line.all_sent.wait()
    assert line.sent == ["a", "b"]
    assert not line.hung_up.is_set()


async def test_sending_ends_with_the_body() -> None:
    line = Line()
    async with sending(line.send_for_ever(), line.hung_up.set):
        await asyncio.sleep(0)
    assert line.sent == ["stopped"]


async def test_a_body_that_is_over_at_once_sends_nothing() -> None:
    line = Line()
    async with sending(line.send("a"), line.hung_up.set):
        pass
    assert line.sent == []


async def test_who_can_not_send_hangs_up_and_is_the_cause() -> None:
    line = Line()
    with pytest.raises(KeyError):
        async with sending(line.send("a", then=KeyError("mine")), line.hung_up.set):
            await line.receive()


async def test_an_answer_counts_even_if_sending_failed() -> None:
    line = Line()
    async with sending(line.send(then=KeyError("mine")), line.hung_up.set):
        await line.hung_up.wait()


async def test_a_bodys_own_error_is_raised() -> None:
    line = Line()

    async def talk() -> None:
        async with sending(line.send_for_ever(), line.hung_up.set):
            await asyncio.sleep(0)
            raise LookupError

    with pytest.raises(LookupError):
        await talk()
    assert line.sent == ["stopped"]


async def test_cancellation_passes_through() -> None:
    line = Line()

    async def talk() -> None:
        async with sending(line.send_for_ever(), line.hung_up.set):
            await line.receive()

    talking = asyncio.create_task(talk())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    talking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await talking
    assert line.sent == ["stopped"]


async def chunks(*pauses_s: float) -> AsyncIterator[bytes]:
    for number, pause_s in enumerate(pauses_s):
        await asyncio.sleep(pause_s)
        yield bytes([number])


@pytest.mark.virtual_time
async def test_a_pause_is_told_again_and_again_and_loses_nothing() -> None:
    heard = [chunk async for chunk in or_idle(chunks(0, 9, 1), 4)]
    assert heard == [b"\x00", None, None, b"\x01", b"\x02"]


@pytest.mark.virtual_time
async def test_who_stops_listening_leaves_nothing_behind() -> None:
    listening = or_idle(chunks(9), 4)
    assert await anext(listening) is None
    await listening.aclose()
    assert asyncio.all_tasks() == {asyncio.current_task()}
