"""Hello: answered at once, with a new session, whatever there was before."""

import asyncio
import json

import pytest

from mimi_mqtt.config import ServerSettings, SessionSettings, Settings
from mimi_mqtt.events import SessionRefused
from mimi_mqtt.session.telling import MAX_REASON_CHARS
from tests.fakes.session import DEVICE, OTHER_DEVICE
from tests.unit.session.conftest import HELLO, House

pytestmark = pytest.mark.virtual_time


async def test_hello_is_answered_at_once_with_the_channel_and_the_formats(house: House) -> None:
    channel = house.connect()
    house.say(channel, HELLO)
    (answer,) = channel.messages
    assert answer["type"] == "hello"
    assert answer["transport"] == "udp"
    assert len(answer["session_id"]) == 32
    assert answer["audio_params"]["sample_rate"] == 24_000
    assert answer["audio_params"]["frame_duration"] == 60
    assert answer["udp"] == house.last_audio.describe()["udp"]


async def test_hello_builds_no_conversation(house: House) -> None:
    house.hello(house.connect())
    await asyncio.sleep(1)
    assert house.conversations == []


async def test_audio_channel_is_opened_for_the_device_with_its_own_key(house: House) -> None:
    session_id = house.hello(house.connect(OTHER_DEVICE))
    request = house.last_audio.request
    assert request.device_id == OTHER_DEVICE
    assert request.session_id == session_id
    assert (request.sample_rate, request.frame_ms) == (16_000, 60)


@pytest.mark.parametrize("frame_ms", [10, 20, 40, 60, 80, 100, 120])
@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 48_000])
async def test_every_possible_format_is_taken(house: House, rate: int, frame_ms: int) -> None:
    channel = house.connect()
    params = HELLO["audio_params"] | {"sample_rate": rate, "frame_duration": frame_ms}
    house.hello(channel, audio_params=params)
    assert (house.last_audio.request.sample_rate, house.last_audio.request.frame_ms) == (rate, frame_ms)
    spoken_ms = frame_ms if frame_ms in (20, 40, 60) else 60
    assert channel.messages[-1]["audio_params"]["frame_duration"] == spoken_ms


async def test_two_channels_are_heard_and_answered_with_one(house: House) -> None:
    channel = house.connect()
    house.hello(channel, audio_params=HELLO["audio_params"] | {"channels": 2})
    assert house.last_audio.request.stereo
    assert channel.messages[-1]["audio_params"]["channels"] == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [("frame_duration", 30), ("frame_duration", 140), ("sample_rate", 44_100), ("channels", 3)],
)
async def test_impossible_format_is_answered_with_an_alert_and_no_session(
    house: House, field: str, value: int
) -> None:
    channel = house.connect()
    house.say(channel, HELLO | {"audio_params": HELLO["audio_params"] | {field: value}})
    (alert,) = channel.messages
    assert alert["type"] == "alert"
    assert str(value) in alert["message"]
    assert {"status", "message", "emotion"} <= alert.keys()
    assert house.manager.count == 0
    assert house.audio.channels == []


@pytest.mark.parametrize("transport", ["websocket", "carrier pigeon", ""])
async def test_transport_that_does_not_fit_the_connection_is_refused(house: House, transport: str) -> None:
    channel = house.connect()
    house.say(channel, HELLO | {"transport": transport})
    assert [message["type"] for message in channel.messages] == ["alert"]
    assert house.manager.count == 0


async def test_websocket_connection_may_not_say_udp(house: House) -> None:
    channel = house.connect(transport="websocket")
    house.say(channel, HELLO)
    assert [message["type"] for message in channel.messages] == ["alert"]


async def test_device_that_is_no_longer_registered_is_refused(house: House) -> None:
    channel = house.connect()
    del house.devices[DEVICE]
    house.say(channel, HELLO)
    assert [message["type"] for message in channel.messages] == ["alert"]


async def test_no_more_sessions_than_allowed(house: House) -> None:
    house.settings = Settings(session=SessionSettings(max_sessions=1))
    await house.manager.aclose()
    house.manager = house.start()
    first, second = house.connect(), house.connect(OTHER_DEVICE)
    house.hello(first)
    house.say(second, HELLO)
    assert [message["type"] for message in second.messages] == ["alert"]
    house.hello(first)  # replacing one's own is no further session
    assert house.manager.count == 1


async def test_refused_hello_leaves_the_running_session_alone(house: House) -> None:
    channel = house.connect()
    session_id = house.hello(channel)
    house.say(channel, HELLO | {"transport": "telex"})
    assert house.session().session_id == session_id
    assert not house.last_audio.closed


async def test_host_is_what_ota_saw_else_what_the_connection_saw(house: House) -> None:
    channel = house.connect()
    house.hello(channel)
    assert channel.messages[-1]["udp"]["server"] == "198.51.100.7"
    house.devices[DEVICE] = type(house.devices[DEVICE])(DEVICE)
    house.hello(channel)
    assert channel.messages[-1]["udp"]["server"] == "192.0.2.1"


async def test_public_host_wins(house: House) -> None:
    house.settings = Settings(server=ServerSettings(public_host="voice.example"))
    await house.manager.aclose()
    house.manager = house.start()
    channel = house.connect()
    house.hello(channel)
    assert channel.messages[-1]["udp"]["server"] == "voice.example"


async def test_without_any_address_the_alert_names_the_setting(house: House) -> None:
    house.devices[DEVICE] = type(house.devices[DEVICE])(DEVICE)
    channel = house.connect(local_host=None)
    house.say(channel, HELLO)
    assert "server.public_host" in channel.messages[-1]["message"]


async def test_redelivered_hello_opens_one_more_session_and_leaves_one(house: House) -> None:
    channel = house.connect()
    payload = json.dumps(HELLO).encode()
    house.manager.control_message(channel, payload)
    house.manager.control_message(channel, payload)
    first, second = channel.of_type("hello")
    assert first["session_id"] != second["session_id"]
    assert house.manager.count == 1
    assert house.session().session_id == second["session_id"]


async def test_session_is_replaced_silently_and_its_channel_closed_before_the_answer(house: House) -> None:
    channel = house.connect()
    conversation = house.listen(channel, house.hello(channel))
    old_audio = house.last_audio
    closed_when_answered: list[bool] = []
    channel.on_message = lambda message: closed_when_answered.append(old_audio.closed)
    house.say(channel, HELLO)
    assert closed_when_answered == [True]
    assert channel.story() == ["hello", "hello"]
    await asyncio.sleep(0.1)
    assert conversation.closed


async def test_replaced_speech_never_reaches_the_new_session(house: House) -> None:
    channel = house.connect()
    conversation = house.listen(channel, house.hello(channel))
    conversation.output.begin_speech()
    await conversation.output.play(b"one")
    house.say(channel, HELLO)
    await conversation.output.play(b"two")
    conversation.output.begin_speech()
    conversation.output.show_transcript("late")
    await asyncio.sleep(1)
    assert channel.story() == ["hello", "tts start", "hello"]
    assert [audio.sent for audio in house.audio.channels] == [[], []]


async def test_hello_after_the_stop_has_begun_is_refused(house: House) -> None:
    channel = house.connect()
    await house.manager.aclose()
    house.say(channel, HELLO)
    assert [message["type"] for message in channel.messages] == ["alert"]


async def test_a_refusal_is_told_once_until_a_hello_is_answered(house: House) -> None:
    told: list[SessionRefused] = []
    house.events.subscribe(told.append, SessionRefused, name="test")
    channel = house.connect()
    for _ in range(3):
        house.say(channel, HELLO | {"transport": "carrier pigeon " * 40})
    assert [event.device_id for event in told] == [DEVICE]
    assert 0 < len(told[0].reason) <= MAX_REASON_CHARS
    house.say(channel, HELLO)
    house.say(channel, HELLO | {"transport": ""})
    assert len(told) == 2
