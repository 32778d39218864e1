"""Sessions end: by silence, by a lost connection, with the server. And what reaches a device without one."""

import asyncio

import pytest

from mimi_mqtt.config import SessionSettings, Settings
from tests.fakes.session import OTHER_DEVICE
from tests.unit.session.conftest import HELLO, House

pytestmark = pytest.mark.virtual_time

IDLE_S = 30


async def test_silent_session_gets_a_goodbye(house: House) -> None:
    channel = house.connect()
    session_id = house.hello(channel)
    await asyncio.sleep(IDLE_S - 2)
    assert house.manager.count == 1
    await asyncio.sleep(3)
    assert channel.messages[-1] == {"type": "goodbye", "session_id": session_id}
    assert house.manager.count == 0
    assert house.last_audio.closed


async def test_believed_messages_keep_a_session_alive(house: House) -> None:
    channel = house.connect()
    session_id = house.hello(channel)
    for _ in range(5):
        await asyncio.sleep(IDLE_S - 5)
        house.say(channel, {"type": "abort", "session_id": session_id})
    assert house.manager.count == 1


async def test_foreign_and_malformed_messages_do_not_keep_a_session_alive(house: House) -> None:
    channel = house.connect()
    house.hello(channel)
    for _ in range(5):
        await asyncio.sleep(IDLE_S / 4)
        house.say(channel, {"type": "abort", "session_id": "somebody else's"})
        house.manager.control_message(channel, b"junk")
    assert house.manager.count == 0


async def test_speech_keeps_a_session_alive_and_silence_sent_as_audio_does_not(house: House) -> None:
    channel = house.connect()
    conversation = house.listen(channel, house.hello(channel))
    for second in range(3 * IDLE_S):
        await asyncio.sleep(1)
        if second < IDLE_S:
            conversation.last_activity = asyncio.get_running_loop().time()
        house.last_audio.hear()
        if second == 2 * IDLE_S - 3:
            assert house.manager.count == 1
    assert house.manager.count == 0


async def test_running_turn_is_never_idle(house: House) -> None:
    channel = house.connect()
    conversation = house.listen(channel, house.hello(channel))
    conversation.busy = True
    await asyncio.sleep(3 * IDLE_S)
    assert house.manager.count == 1
    conversation.busy = False
    await asyncio.sleep(2)
    assert house.manager.count == 0


async def test_session_ends_when_its_device_stays_away(house: House) -> None:
    channel = house.connect()
    conversation = house.listen(channel, house.hello(channel))
    house.manager.control_closed(channel, "connection reset")
    await asyncio.sleep(house.settings.session.reattach_s - 0.5)
    assert house.manager.count == 1
    audio = house.last_audio
    assert [audio.closed] == [False]
    await asyncio.sleep(2)
    assert house.manager.count == 0
    assert audio.closed
    assert conversation.closed
    assert channel.story() == ["hello"]


async def test_closing_the_old_connection_late_does_not_touch_the_new_session(house: House) -> None:
    old = house.connect()
    house.hello(old)
    new = house.connect()
    session_id = house.hello(new)
    house.manager.control_closed(old, "taken over")
    assert house.session().session_id == session_id
    house.say(new, {"type": "goodbye", "session_id": session_id})
    assert house.manager.announce(new.device_id, "still there") is True


async def test_session_ends_with_its_connection_when_it_may_not_wait(house: House) -> None:
    house.settings = Settings(session=SessionSettings(reattach_s=0))
    await house.manager.aclose()
    house.manager = house.start()
    channel = house.connect()
    house.hello(channel)
    house.manager.control_closed(channel, "connection reset")
    assert house.manager.count == 0
    assert house.last_audio.closed


async def test_messages_of_a_closed_connection_are_ignored(house: House) -> None:
    channel = house.connect()
    house.manager.control_closed(channel, "gone")
    house.say(channel, HELLO)
    house.manager.control_closed(channel, "gone twice")
    assert channel.messages == []


async def test_announcement_is_spoken_in_a_live_session(house: House) -> None:
    channel = house.connect()
    house.hello(channel)
    house.listen(channel, "")
    assert house.manager.announce(channel.device_id, "Dinner is ready.") is True
    assert house.conversations[0].calls == [("listen", "auto"), ("announce", "Dinner is ready.")]


async def test_announcement_is_shown_on_a_device_without_a_session(house: House) -> None:
    channel = house.connect()
    assert house.manager.announce(channel.device_id, "Dinner is ready.") is True
    (alert,) = channel.messages
    assert (alert["type"], alert["message"]) == ("alert", "Dinner is ready.")


async def test_announcement_to_an_absent_device_is_refused(house: House) -> None:
    assert house.manager.announce(OTHER_DEVICE, "Dinner is ready.") is False


async def test_timer_is_announced_in_whatever_session_lives_then(house: House) -> None:
    channel = house.connect()
    conversation = house.listen(channel, house.hello(channel))
    await conversation.tools.call("set_timer", {"seconds": 10, "label": "tea"})
    renewed = house.listen(channel, house.hello(channel))
    await asyncio.sleep(11)
    assert ("announce", "Hẹn giờ tea đã hết.") in renewed.calls


async def test_timer_missed_while_away_is_told_on_return(house: House) -> None:
    channel = house.connect()
    conversation = house.listen(channel, house.hello(channel))
    await conversation.tools.call("set_timer", {"seconds": 10, "label": "tea"})
    house.manager.control_closed(channel, "out of range")
    await asyncio.sleep(70)
    back = house.connect()
    assert back.messages == []  # the transport has yet to accept the connection
    await asyncio.sleep(0.1)
    assert back.messages[0]["message"] == "Hẹn giờ tea đã hết 1 phút trước."
    again = house.connect()
    await asyncio.sleep(3)
    assert again.of_type("alert") == []  # once


async def test_stop_lets_the_sentence_end_and_says_goodbye_to_all(house: House) -> None:
    first, second = house.connect(), house.connect(OTHER_DEVICE)
    output = house.listen(first, house.hello(first)).output
    house.hello(second)
    speaking_audio = house.audio.channels[0]
    output.begin_speech()
    for sentence in ("One.", "Two."):
        await output.play_sentence(sentence)
        for _ in range(30):
            await output.play(b"frame")
    await asyncio.sleep(0.5)
    await house.manager.aclose()
    assert first.story() == ["hello", "tts start", "tts sentence_start One.", "tts stop", "goodbye"]
    assert len(speaking_audio.sent) == 30
    assert second.story() == ["hello", "goodbye"]
    assert house.manager.count == 0
    assert all(audio.closed for audio in house.audio.channels)
    assert house.conversations[0].closed


async def test_stop_does_not_wait_long_for_an_endless_sentence(house: House) -> None:
    channel = house.connect()
    output = house.listen(channel, house.hello(channel)).output
    output.begin_speech()
    await output.play_sentence("And then, and then, and then")
    for _ in range(90):
        await output.play(b"frame")
    begun = asyncio.get_running_loop().time()
    await house.manager.aclose()
    assert asyncio.get_running_loop().time() - begun < 3.5
    assert channel.story()[-2:] == ["tts stop", "goodbye"]


async def test_many_fruitless_stops_and_endings_are_safe(house: House) -> None:
    channel = house.connect()
    house.listen(channel, house.hello(channel))
    session, output = house.session(), house.conversations[0].output
    for _ in range(2):
        session.end("goodbye", goodbye=True)
        output.stop_speech()
        output.begin_speech()
        await output.play(b"frame")
        await output.finish_speech()
        session.announce("too late")
        await house.manager.aclose()
    assert channel.story() == ["hello", "goodbye"]
