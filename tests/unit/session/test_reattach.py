"""A session outlives its control connection, and a device whose session is lost is sent home."""

import asyncio
from dataclasses import replace

import pytest

from mimi_mqtt.session.attachment import MAX_WAITING_MESSAGES
from mimi_mqtt.session.last_sessions import LastSessions
from mimi_mqtt.session.output import DeviceOutput
from mimi_mqtt.session.presence import GOODBYE_AGAIN_S, HELLO_GRACE_S
from tests.fakes.session import DEVICE, OTHER_DEVICE, FakeControlChannel
from tests.unit.session.conftest import House

pytestmark = pytest.mark.virtual_time

AWAY_S = 10  # esp-mqtt reconnects by itself after so long


def now() -> float:
    return asyncio.get_running_loop().time()


async def away(house: House, channel: FakeControlChannel, seconds: float = AWAY_S) -> FakeControlChannel:
    """The device loses its connection and comes back after `seconds`."""
    house.manager.control_closed(channel, "connection reset")
    await asyncio.sleep(seconds)
    back = house.connect(channel.device_id)
    await asyncio.sleep(0)
    return back


# ── the session goes on ──────────────────────────────────────────────────────────────────────────────────


async def test_a_device_that_comes_back_goes_on_listening_without_a_hello(house: House) -> None:
    channel = house.connect()
    session_id = house.hello(channel)
    conversation = house.listen(channel, session_id)
    back = await away(house, channel)
    house.last_audio.hear()
    house.say(back, {"type": "listen", "session_id": session_id, "state": "stop"})
    assert conversation.calls == [("listen", "auto"), ("audio", "1"), ("stop_listening",)]
    await asyncio.sleep(3)
    assert back.messages == []
    assert house.session().session_id == session_id


async def test_audio_and_turn_go_on_while_the_device_is_away(house: House) -> None:
    channel = house.connect()
    conversation = house.listen(channel, house.hello(channel))
    conversation.output.begin_speech()
    for _ in range(20):
        await conversation.output.play(b"frame")
    await asyncio.sleep(0.5)
    house.manager.control_closed(channel, "connection reset")
    sent = len(house.last_audio.sent)
    house.last_audio.hear()
    await conversation.output.finish_speech()
    assert len(house.last_audio.sent) == 20 > sent
    assert conversation.calls[-1] == ("audio", "1")


@pytest.mark.parametrize("server_learns", [True, False])
async def test_messages_that_were_lost_with_a_dead_connection_are_sent_again_before_all_others(
    house: House, server_learns: bool
) -> None:
    channel = house.connect()
    conversation = house.listen(channel, house.hello(channel))
    conversation.output.show_transcript("arrives")
    conversation.output.show_emotion("happy")
    conversation.output.begin_speech()
    channel.lost = 2
    if server_learns:
        house.manager.control_closed(channel, "keepalive expired")
        conversation.output.stop_speech()
    back = house.connect()
    await asyncio.sleep(0)
    assert back.story() == ["llm", "tts start", *(["tts stop"] if server_learns else [])]


async def test_tool_call_that_was_lost_with_a_dead_connection_is_not_made_again(house: House) -> None:
    channel = house.connect()
    house.listen(channel, house.hello(channel))
    channel.send(b'{"type":"mcp","payload":{"jsonrpc":"2.0","id":7,"method":"tools/call"}}')
    channel.lost = 1
    back = house.connect()
    await asyncio.sleep(0)
    assert back.messages == []


async def test_hello_that_was_lost_with_a_dead_connection_is_not_said_again(house: House) -> None:
    channel = house.connect()
    house.hello(channel)
    assert channel.story() == ["hello"]
    channel.lost = 1
    back = house.connect()
    await asyncio.sleep(0)
    assert back.messages == []


async def test_messages_wait_and_are_sent_first_and_in_order(house: House) -> None:
    channel = house.connect()
    conversation = house.listen(channel, house.hello(channel))
    house.manager.control_closed(channel, "connection reset")
    conversation.output.show_transcript("what time is it")
    conversation.output.show_emotion("happy")
    await asyncio.sleep(AWAY_S)
    back = house.connect()
    assert back.messages == []  # the transport has yet to accept the connection
    conversation.output.show_alert("Notice", "later")
    await asyncio.sleep(0)
    assert back.story() == ["stt", "llm", "alert"]


async def test_a_reply_that_begins_while_the_device_is_away_is_heard_whole_when_it_is_back(
    house: House,
) -> None:
    channel = house.connect()
    conversation = house.listen(channel, house.hello(channel))
    house.manager.control_closed(channel, "connection reset")
    conversation.output.begin_speech()
    await conversation.output.play_sentence("Hello.")
    for _ in range(10):
        await conversation.output.play(b"frame")
    await asyncio.sleep(AWAY_S)
    assert house.last_audio.sent == []
    back = house.connect()
    await conversation.output.finish_speech()
    assert back.story() == ["tts start", "tts sentence_start Hello.", "tts stop"]
    assert len(house.last_audio.sent) == 10
    assert house.last_audio.sent[0][0] - back.sent[0][0] >= 0.06


async def test_a_second_connection_takes_the_session_over_while_the_first_is_dying(house: House) -> None:
    old = house.connect()
    session_id = house.hello(old)
    conversation = house.listen(old, session_id)
    new = house.connect()
    assert old.closed
    house.manager.control_closed(old, "closed")
    house.say(old, {"type": "abort", "session_id": session_id})
    house.say(new, {"type": "listen", "session_id": session_id, "state": "stop"})
    assert conversation.calls == [("listen", "auto"), ("stop_listening",)]
    assert new.messages == []


async def test_a_hello_after_the_reconnect_opens_a_new_session_and_ends_the_old_silently(
    house: House,
) -> None:
    channel = house.connect()
    conversation = house.listen(channel, house.hello(channel))
    house.manager.control_closed(channel, "rebooted")
    conversation.output.show_transcript("never shown")
    await asyncio.sleep(3)
    back = house.connect()
    house.hello(back)
    await asyncio.sleep(3)
    assert back.story() == ["hello"]
    assert conversation.closed
    assert house.manager.count == 1


async def test_a_device_that_restarted_is_not_put_into_the_conversation_of_before(house: House) -> None:
    channel = house.connect()
    session_id = house.hello(channel)
    conversation = house.listen(channel, session_id)
    house.manager.control_closed(channel, "connection reset")
    conversation.output.begin_speech()
    house.manager.booted(DEVICE)
    back = house.connect()
    await asyncio.sleep(HELLO_GRACE_S + 3)
    assert back.messages == [{"type": "goodbye", "session_id": session_id}]
    assert conversation.closed
    assert house.manager.count == 0


async def test_a_device_that_restarted_before_its_old_connection_was_lost_begins_anew(house: House) -> None:
    channel = house.connect()
    conversation = house.listen(channel, house.hello(channel))
    house.manager.booted(DEVICE)
    back = house.connect()
    await asyncio.sleep(0)
    assert conversation.closed
    session_id = house.hello(back)
    await asyncio.sleep(HELLO_GRACE_S + 1)
    assert back.story() == ["hello"]
    third = await away(house, back)
    house.say(third, {"type": "listen", "session_id": session_id, "state": "start", "mode": "auto"})
    assert house.conversations[-1].calls == [("listen", "auto")]


async def test_a_forged_configuration_request_does_not_end_a_conversation(house: House) -> None:
    channel = house.connect()
    session_id = house.hello(channel)
    conversation = house.listen(channel, session_id)
    house.manager.booted(DEVICE)
    house.manager.booted(OTHER_DEVICE)
    house.say(channel, {"type": "listen", "session_id": session_id, "state": "stop"})
    await asyncio.sleep(HELLO_GRACE_S + 1)
    assert conversation.calls == [("listen", "auto"), ("stop_listening",)]


async def test_another_device_does_not_take_the_session_over(house: House) -> None:
    channel = house.connect()
    session_id = house.hello(channel)
    conversation = house.listen(channel, session_id)
    house.manager.control_closed(channel, "connection reset")
    stranger = house.connect(OTHER_DEVICE)
    house.say(stranger, {"type": "abort", "session_id": session_id})
    assert stranger.messages == [{"type": "goodbye", "session_id": session_id}]
    assert conversation.calls == [("listen", "auto")]


async def test_a_tester_does_not_take_the_session_over(house: House) -> None:
    channel = house.connect()
    session_id = house.hello(channel)
    conversation = house.listen(channel, session_id)
    house.manager.control_closed(channel, "connection reset")
    tester = house.connect(is_tester=True)
    house.say(tester, {"type": "abort", "session_id": session_id})
    assert tester.messages == [{"type": "goodbye", "session_id": session_id}]
    house.manager.control_closed(tester, "the device itself connected")
    back = house.connect()
    house.say(back, {"type": "abort", "session_id": session_id})
    assert conversation.calls == [("listen", "auto"), ("abort", "")]


@pytest.mark.parametrize("kind", ["abort", "goodbye"])
async def test_what_a_tester_says_of_a_lost_session_does_not_leave_its_device_listening(
    house: House, kind: str
) -> None:
    channel = house.connect()
    session_id = house.hello(channel)
    house.manager.control_closed(channel, "connection reset")
    await asyncio.sleep(40)
    tester = house.connect(is_tester=True)
    house.say(tester, {"type": kind, "session_id": session_id})
    await asyncio.sleep(3)
    house.manager.control_closed(tester, "the device itself connected")
    back = house.connect()
    await asyncio.sleep(HELLO_GRACE_S + 0.1)
    assert back.messages == [{"type": "goodbye", "session_id": session_id}]


async def test_a_testers_session_ends_with_its_channel(house: House) -> None:
    tester = house.connect(is_tester=True)
    house.hello(tester)
    house.manager.control_closed(tester, "the device itself connected")
    assert house.manager.count == 0
    device = house.connect()
    await asyncio.sleep(HELLO_GRACE_S + 1)
    assert device.messages == []


async def test_a_connection_by_another_transport_ends_the_first_and_its_session(house: House) -> None:
    channel = house.connect()
    conversation = house.listen(channel, house.hello(channel))
    other = house.connect(transport="websocket")
    await asyncio.sleep(0.1)
    assert channel.closed
    assert conversation.closed
    assert house.manager.count == 0
    assert house.manager.connected(DEVICE)
    house.manager.control_closed(other, "closed")
    assert not house.manager.connected(DEVICE)


async def test_a_device_for_which_too_much_waits_begins_anew(house: House) -> None:
    channel = house.connect()
    session_id = house.hello(channel)
    conversation = house.listen(channel, session_id)
    house.manager.control_closed(channel, "connection reset")
    for _ in range(MAX_WAITING_MESSAGES + 10):
        conversation.output.show_emotion("happy")
    back = house.connect()
    await asyncio.sleep(HELLO_GRACE_S + 0.1)
    assert back.messages == [{"type": "goodbye", "session_id": session_id}]
    assert house.manager.count == 0


async def test_a_session_after_one_for_which_too_much_waited_lives(house: House) -> None:
    channel = house.connect()
    conversation = house.listen(channel, house.hello(channel))
    house.manager.control_closed(channel, "connection reset")
    for _ in range(MAX_WAITING_MESSAGES):
        conversation.output.show_emotion("happy")
    back = house.connect()
    conversation.output.show_emotion("sad")  # one too many, before the transport accepted the connection
    await asyncio.sleep(2)
    assert back.story()[-1] == "goodbye"
    house.hello(back)
    await asyncio.sleep(2)
    assert house.manager.count == 1


async def test_a_timer_that_is_due_while_the_device_is_away_is_told_in_its_session(house: House) -> None:
    channel = house.connect()
    conversation = house.listen(channel, house.hello(channel))
    await conversation.tools.call("set_timer", {"seconds": 5, "label": "tea"})
    await away(house, channel)
    await asyncio.sleep(0.1)
    assert ("announce", "Hẹn giờ tea đã hết 5 giây trước.") in conversation.calls


# ── a device whose session is gone ───────────────────────────────────────────────────────────────────────


async def test_a_device_that_was_away_for_too_long_is_sent_home(house: House) -> None:
    channel = house.connect()
    session_id = house.hello(channel)
    back = await away(house, channel, 40)
    assert back.messages == []
    await asyncio.sleep(HELLO_GRACE_S + 0.1)
    assert back.messages == [{"type": "goodbye", "session_id": session_id}]
    await asyncio.sleep(10)
    third = await away(house, back)
    await asyncio.sleep(10)
    assert third.messages == []  # it knows


async def test_a_device_is_sent_home_after_the_server_was_killed(house: House) -> None:
    last = LastSessions()
    house.last = last
    await house.manager.aclose()
    house.manager = house.start()
    session_id = house.hello(house.connect())
    killed, house.manager = house.manager, house.start()
    back = house.connect()
    await asyncio.sleep(HELLO_GRACE_S + 0.1)
    assert back.messages == [{"type": "goodbye", "session_id": session_id}]
    await killed.aclose()


async def test_a_device_that_says_hello_at_once_is_told_nothing_of_its_old_session(house: House) -> None:
    channel = house.connect()
    house.hello(channel)
    house.manager.control_closed(channel, "connection reset")
    await asyncio.sleep(40)
    back = house.connect()
    await asyncio.sleep(HELLO_GRACE_S / 2)
    house.hello(back)
    await asyncio.sleep(HELLO_GRACE_S * 2)
    assert back.story() == ["hello"]


async def test_a_device_that_said_goodbye_is_not_bothered_when_it_connects_again(house: House) -> None:
    channel = house.connect()
    session_id = house.hello(channel)
    house.say(channel, {"type": "goodbye", "session_id": session_id})
    back = await away(house, channel)
    await asyncio.sleep(10)
    assert back.messages == []


async def test_a_goodbye_that_was_lost_with_the_connection_is_said_again(house: House) -> None:
    channel = house.connect()
    session_id = house.hello(channel)
    channel.unacknowledged_bytes = 60  # the Wi-Fi is gone and TCP has not noticed
    await asyncio.sleep(40)
    assert channel.story() == ["hello", "goodbye"]
    back = await away(house, channel)
    await asyncio.sleep(HELLO_GRACE_S + 0.1)
    assert back.messages == [{"type": "goodbye", "session_id": session_id}]


@pytest.mark.parametrize("kind", ["listen", "abort"])
async def test_a_press_of_the_button_on_a_device_that_is_stuck_sends_it_home(house: House, kind: str) -> None:
    channel = house.connect()
    house.say(channel, {"type": kind, "session_id": "a1b2", "state": "start"})
    assert channel.messages == [{"type": "goodbye", "session_id": "a1b2"}]


async def test_a_stale_goodbye_or_tool_answer_is_not_answered(house: House) -> None:
    channel = house.connect()
    house.say(channel, {"type": "goodbye", "session_id": "a1b2"})
    house.say(channel, {"type": "mcp", "session_id": "a1b2", "payload": {"id": 1, "result": {}}})
    assert channel.messages == []


async def test_goodbye_goes_out_once_although_the_device_was_about_to_listen_again(house: House) -> None:
    channel = house.connect()
    session_id = house.hello(channel)
    conversation = house.listen(channel, session_id)
    conversation.output.end_session("the assistant said goodbye")
    house.listen(channel, session_id)  # it crossed the goodbye
    assert channel.story() == ["hello", "goodbye"]
    await asyncio.sleep(GOODBYE_AGAIN_S + 0.1)
    house.listen(channel, session_id)  # but whoever insists is told again
    assert channel.story() == ["hello", "goodbye", "goodbye"]


# ── revocation ───────────────────────────────────────────────────────────────────────────────────────────


async def test_a_revoked_device_is_told_goodbye_before_its_connection_ends(house: House) -> None:
    channel = house.connect()
    session_id = house.hello(channel)
    house.listen(channel, session_id)
    house.manager.disconnect(DEVICE, "revoked")
    assert channel.messages[-1] == {"type": "goodbye", "session_id": session_id}
    assert channel.closed == "revoked"
    assert house.manager.count == 0


async def test_a_timer_of_a_forgotten_device_is_not_told_to_who_has_it_next(house: House) -> None:
    channel = house.connect()
    conversation = house.listen(channel, house.hello(channel))
    await conversation.tools.call("set_timer", {"seconds": 60, "label": "tea"})
    forgotten = house.devices.pop(DEVICE)
    house.manager.disconnect(DEVICE, "revoked")
    house.devices[DEVICE] = forgotten
    back = house.connect()
    await asyncio.sleep(120)
    assert "alert" not in back.story()


async def test_a_revoked_device_that_is_away_loses_its_session(house: House) -> None:
    channel = house.connect()
    house.hello(channel)
    house.manager.control_closed(channel, "connection reset")
    house.manager.disconnect(DEVICE, "revoked")
    assert house.manager.count == 0
    assert house.last_audio.closed


async def test_a_device_that_did_not_hear_why_it_was_disconnected_is_sent_home(house: House) -> None:
    channel = house.connect()
    session_id = house.hello(channel)
    channel.unacknowledged_bytes = 60  # the Wi-Fi is gone and TCP has not noticed
    house.manager.disconnect(DEVICE, "command")
    back = await away(house, channel)
    await asyncio.sleep(HELLO_GRACE_S + 0.1)
    assert back.messages == [{"type": "goodbye", "session_id": session_id}]


async def test_nothing_is_remembered_of_a_revoked_device(house: House) -> None:
    house.last = last = LastSessions()
    await house.manager.aclose()
    house.manager = house.start()
    channel = house.connect()
    house.hello(channel)
    channel.unacknowledged_bytes = 60
    del house.devices[DEVICE]
    house.manager.disconnect(DEVICE, "revoked")
    assert last.get(DEVICE) is None


async def test_a_revoked_device_that_still_listens_to_a_dead_server_is_sent_home(house: House) -> None:
    channel = house.connect()
    session_id = house.hello(channel)
    back = await away(house, channel, 40)
    house.manager.disconnect(DEVICE, "revoked")
    assert back.messages == [{"type": "goodbye", "session_id": session_id}]
    assert back.closed == "revoked"


def broken(*_: object) -> None:
    raise RuntimeError("a defect")


async def test_a_connection_that_can_not_be_closed_does_not_keep_the_next_one_out(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = house.connect()
    session_id = house.hello(channel)
    monkeypatch.setattr(channel, "close", broken)
    back = house.connect()
    assert house.listen(back, session_id).calls == [("listen", "auto")]


async def test_a_session_whose_audio_can_not_be_closed_ends_all_the_same(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel, other = house.connect(), house.connect(OTHER_DEVICE)
    house.hello(other)
    conversation = house.listen(channel, house.hello(channel))
    monkeypatch.setattr(house.last_audio, "close", broken)
    house.say(channel, {"type": "goodbye", "session_id": ""})
    await asyncio.sleep(0.1)
    assert house.manager.session(DEVICE) is None
    assert house.manager.session(OTHER_DEVICE) is not None
    assert conversation.closed
    house.hello(channel)
    monkeypatch.setattr(house.last_audio, "close", broken)
    await house.manager.aclose()
    assert house.manager.count == 0
    assert other.story()[-1] == "goodbye"


async def test_a_hello_is_answered_although_the_session_before_failed_at_its_end(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = house.connect()
    house.listen(channel, house.hello(channel))
    first = house.last_audio
    monkeypatch.setattr(DeviceOutput, "close", broken)
    house.hello(channel)
    assert channel.story() == ["hello", "hello"]
    assert first.closed
    assert house.manager.count == 1


async def test_a_connection_is_taken_in_although_the_session_before_failed_at_its_end(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.hello(house.connect())
    monkeypatch.setattr(house.last_audio, "close", broken)
    back = house.connect(transport="websocket")
    house.say(back, {"type": "abort", "session_id": "a1b2"})
    assert back.story() == ["goodbye"]


async def test_a_session_that_failed_ends_although_its_device_can_not_be_told(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = house.connect()
    conversation = house.listen(channel, house.hello(channel))
    monkeypatch.setattr(conversation, "abort", broken)
    monkeypatch.setattr(channel, "send", broken)
    house.say(channel, {"type": "abort", "session_id": ""})
    await asyncio.sleep(0.1)
    assert conversation.closed
    assert house.manager.count == 0


async def test_an_alert_is_as_long_as_the_device_takes_also_before_any_hello(house: House) -> None:
    house.devices[DEVICE] = replace(house.devices[DEVICE], cellular=True)
    shown = []
    for device_id in (DEVICE, OTHER_DEVICE):
        channel = house.connect(device_id)
        house.manager.announce(device_id, "Dinner is ready. " * 1_000)
        shown.append(len(channel.of_type("alert")[0]["message"]))
    assert 1_800 < shown[0] < 2_000 < 7_800 < shown[1] < 8_000
