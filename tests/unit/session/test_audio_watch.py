"""Devices that listen and whose audio does not arrive, in virtual time."""

import asyncio

import pytest

from mimi_mqtt.session.audio_watch import PATIENCE_S, SHORTEST_S
from tests.fakes.session import DEVICE
from tests.unit.session.conftest import House

pytestmark = pytest.mark.virtual_time


def alerts(channel: object) -> list[str]:
    return [message["message"] for message in channel.of_type("alert")]  # type: ignore[attr-defined]


async def test_a_device_whose_audio_does_not_come_is_told_in_its_language_and_reported(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    missing: list[str] = []
    house.manager.on_audio_missing = missing.append
    channel = house.connect()
    for _ in range(2):
        house.listen(channel, house.hello(channel))
        await asyncio.sleep(PATIENCE_S + 3)
    assert missing == [DEVICE, DEVICE]
    assert len(alerts(channel)) == 2
    assert "cổng UDP 8884 bị chặn" in alerts(channel)[0]
    assert sum("no audio comes" in record.getMessage() for record in caplog.records) == 1


async def test_a_device_that_is_heard_or_does_not_listen_is_left_alone(house: House) -> None:
    missing: list[str] = []
    house.manager.on_audio_missing = missing.append
    channel = house.connect()
    session_id = house.hello(channel)
    await asyncio.sleep(PATIENCE_S + 3)
    house.listen(channel, session_id)
    house.audio.channels[-1].stats.received = 1
    await asyncio.sleep(PATIENCE_S + 3)
    assert missing == []
    assert alerts(channel) == []


async def test_a_button_pressed_and_let_go_says_nothing_of_the_network(house: House) -> None:
    missing: list[str] = []
    house.manager.on_audio_missing = missing.append
    channel = house.connect()
    session_id = house.hello(channel)
    for pressed_s, expected in ((SHORTEST_S / 2, []), (SHORTEST_S * 2, [DEVICE])):
        house.listen(channel, session_id, "manual")
        await asyncio.sleep(pressed_s)
        house.say(channel, {"type": "listen", "session_id": session_id, "state": "stop"})
        await asyncio.sleep(PATIENCE_S + 3)
        assert missing == expected


async def test_a_device_that_speaks_first_is_not_waited_for(house: House) -> None:
    missing: list[str] = []
    house.manager.on_audio_missing = missing.append
    channel = house.connect()
    conversation = house.listen(channel, session_id := house.hello(channel))
    conversation.output.begin_speech()
    await asyncio.sleep(PATIENCE_S + 3)
    conversation.output.stop_speech()
    await asyncio.sleep(PATIENCE_S + 3)
    assert missing == []
    house.listen(channel, session_id)
    await asyncio.sleep(PATIENCE_S + 3)
    assert missing == [DEVICE]


async def test_a_realtime_device_that_is_greeted_is_waited_for_afterwards(house: House) -> None:
    missing: list[str] = []
    house.manager.on_audio_missing = missing.append
    channel = house.connect()
    conversation = house.listen(channel, house.hello(channel), "realtime")
    conversation.output.begin_speech()
    await asyncio.sleep(PATIENCE_S + 3)
    conversation.output.stop_speech()
    assert missing == []
    await asyncio.sleep(PATIENCE_S + 3)
    assert missing == [DEVICE]


async def test_a_device_that_was_switched_off_keeps_its_transport(house: House) -> None:
    missing: list[str] = []
    house.manager.on_audio_missing = missing.append
    channel = house.connect()
    house.listen(channel, house.hello(channel))
    channel.unacknowledged_bytes = 100
    await asyncio.sleep(PATIENCE_S * 3)
    assert missing == []
    channel.unacknowledged_bytes = 0
    await asyncio.sleep(2)
    assert missing == [DEVICE]


async def test_a_device_without_a_network_is_not_told_of_its_udp(house: House) -> None:
    missing: list[str] = []
    house.manager.on_audio_missing = missing.append
    channel = house.connect()
    house.listen(channel, house.hello(channel))
    house.manager.control_closed(channel, "connection reset")
    await asyncio.sleep(PATIENCE_S + 3)
    house.connect()
    await asyncio.sleep(PATIENCE_S + 3)
    assert missing == []


async def test_a_session_that_is_over_is_not_waited_for(house: House) -> None:
    missing: list[str] = []
    house.manager.on_audio_missing = missing.append
    channel = house.connect()
    session_id = house.hello(channel)
    house.listen(channel, session_id)
    house.say(channel, {"type": "goodbye", "session_id": session_id})
    await asyncio.sleep(PATIENCE_S + 3)
    assert missing == []


async def test_audio_over_the_control_connection_is_not_watched(house: House) -> None:
    missing: list[str] = []
    house.manager.on_audio_missing = missing.append
    house.audio.section = {}
    channel = house.connect()
    house.listen(channel, house.hello(channel))
    await asyncio.sleep(PATIENCE_S + 3)
    assert missing == []
