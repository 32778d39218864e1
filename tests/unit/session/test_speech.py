"""The conversation's output on the wire: what comes in which order, and when."""

import asyncio
import json
from dataclasses import replace

import pytest

from mimi_mqtt.config import SessionSettings, Settings
from mimi_mqtt.errors import PlayoutError
from mimi_mqtt.session.output import ARRIVAL_GAP_S, DELIVERY_POLL_S, DELIVERY_WAIT_S, READY_WAIT_S
from mimi_mqtt.voice.ports import Output
from tests.fakes.session import DEVICE, FakeControlChannel
from tests.unit.session.conftest import House

pytestmark = pytest.mark.virtual_time

GAP_S = 0.1
MARGIN_S = 0.12


def now() -> float:
    return asyncio.get_running_loop().time()


def begin(house: House) -> tuple[FakeControlChannel, Output]:
    channel = house.connect()
    session_id = house.hello(channel)
    output = house.listen(channel, session_id).output
    channel.sent.clear()
    return channel, output


async def reply(output: Output, sentences: int = 2, frames: int = 10) -> None:
    output.begin_speech()
    for index in range(sentences):
        await output.play_sentence(f"s{index}")
        for _ in range(frames):
            await output.play(b"frame")


async def whole_reply(output: Output) -> None:
    await reply(output)
    await output.finish_speech()


async def test_reply_comes_in_the_order_devices_need(house: House) -> None:
    channel, output = begin(house)
    output.show_transcript("what time is it")
    output.show_emotion("happy", "🙂")
    await reply(output)
    await output.finish_speech()
    assert channel.story() == [
        "stt",
        "llm",
        "tts start",
        "tts sentence_start s0",
        "tts sentence_start s1",
        "tts stop",
    ]
    assert channel.messages[1]["emotion"] == "happy"
    assert all(message["session_id"] == house.session().session_id for message in channel.messages)


async def test_audio_follows_tts_start_after_the_guard_gap(house: House) -> None:
    channel, output = begin(house)
    await reply(output)
    await output.finish_speech()
    started = channel.sent[0][0]
    assert house.last_audio.sent[0][0] - started == pytest.approx(GAP_S)


async def test_gap_is_not_added_to_the_time_the_first_frame_takes_to_be_made(house: House) -> None:
    _, output = begin(house)
    output.begin_speech()
    await asyncio.sleep(0.5)
    made = now()
    await output.play(b"frame")
    await output.finish_speech()
    assert house.last_audio.sent[0][0] == pytest.approx(made)


async def test_sentence_text_comes_just_before_its_first_frame(house: House) -> None:
    channel, output = begin(house)
    await reply(output)
    await output.finish_speech()
    texts = [at for at, message in channel.sent if message.get("state") == "sentence_start"]
    frames = [at for at, _, _ in house.last_audio.sent]
    assert texts == [frames[0], frames[10]]


async def test_stop_comes_when_the_last_frame_has_been_played(house: House) -> None:
    channel, output = begin(house)
    await reply(output)
    await output.finish_speech()
    first_frame = house.last_audio.sent[0][0]
    stopped = channel.sent[-1][0]
    assert stopped == pytest.approx(first_frame + 20 * 0.06 + MARGIN_S)


async def test_begin_speech_is_idempotent_within_a_turn(house: House) -> None:
    channel, output = begin(house)
    output.begin_speech()
    await reply(output)
    await output.finish_speech()
    assert channel.story().count("tts start") == 1


async def test_finish_without_speech_says_nothing(house: House) -> None:
    channel, output = begin(house)
    await output.finish_speech()
    output.stop_speech()
    assert channel.messages == []


async def test_stop_speech_silences_at_once(house: House) -> None:
    channel, output = begin(house)
    speaking = asyncio.ensure_future(reply(output, frames=100))
    await asyncio.sleep(1)
    sent = len(house.last_audio.sent)
    output.stop_speech()
    assert channel.sent[-1] == (now(), channel.messages[-1])
    assert channel.story()[-1] == "tts stop"
    await speaking
    assert len(house.last_audio.sent) == sent


async def test_late_calls_of_an_old_turn_do_nothing(house: House) -> None:
    channel, output = begin(house)
    await reply(output, frames=2)
    output.stop_speech()
    told = channel.story()
    await output.play(b"late")
    await output.play_sentence("late")
    await output.finish_speech()
    output.stop_speech()
    await asyncio.sleep(1)
    assert channel.story() == told


async def test_frames_played_counts_what_left_and_keeps_its_value(house: House) -> None:
    _, output = begin(house)
    assert output.frames_played == 0
    await reply(output, sentences=1, frames=50)
    await asyncio.sleep(1)
    output.stop_speech()
    heard = output.frames_played
    assert heard == len(house.last_audio.sent)
    assert 0 < heard < 50
    output.begin_speech()
    assert output.frames_played == 0


async def test_timestamps_increase_over_turns(house: House) -> None:
    _, output = begin(house)
    for _ in range(3):
        await reply(output, frames=4)
        await output.finish_speech()
        await reply(output, frames=4)
        output.stop_speech()
    timestamps = [timestamp for _, _, timestamp in house.last_audio.sent]
    assert timestamps == sorted(set(timestamps))
    assert timestamps[0] > 0


async def test_the_conversation_is_told_what_has_left_for_the_device(house: House) -> None:
    _, output = begin(house)
    await reply(output, frames=4)
    await output.finish_speech()
    assert house.conversations[0].echoes == [timestamp for _, _, timestamp in house.last_audio.sent]


async def test_a_paused_reply_goes_on_without_another_start(house: House) -> None:
    channel, output = begin(house)
    await reply(output, frames=10)
    await asyncio.sleep(0.5)
    output.pause_speech()
    sent = len(house.last_audio.sent)
    assert 0 < sent < 20
    await asyncio.sleep(3)
    assert len(house.last_audio.sent) == sent
    output.resume_speech()
    await output.finish_speech()
    assert len(house.last_audio.sent) == 20
    assert channel.story().count("tts start") == channel.story().count("tts stop") == 1


async def test_tts_start_waits_for_the_devices_first_packet(house: House) -> None:
    house.audio.ready = False
    channel, output = begin(house)
    speaking = asyncio.ensure_future(reply(output))
    await asyncio.sleep(0.5)
    assert channel.messages == []
    house.last_audio.hear()
    heard = now()
    await speaking
    await output.finish_speech()
    assert channel.sent[0][0] == pytest.approx(heard)
    assert channel.story()[0] == "tts start"
    assert len(house.last_audio.sent) == 20
    assert house.last_audio.sent[0][0] == pytest.approx(heard + GAP_S)


async def test_reply_to_a_device_that_never_sends_is_shown_and_ended(house: House) -> None:
    house.audio.ready = False
    channel, output = begin(house)
    asked = now()
    await reply(output)
    await output.finish_speech()
    assert channel.story() == ["tts start", "tts sentence_start s0", "tts sentence_start s1", "tts stop"]
    assert channel.sent[0][0] == pytest.approx(asked + READY_WAIT_S)
    assert house.last_audio.sent == []


async def test_speech_stopped_before_it_could_start_leaves_no_trace(house: House) -> None:
    house.audio.ready = False
    channel, output = begin(house)
    await reply(output)
    output.stop_speech()
    house.last_audio.hear()
    await asyncio.sleep(READY_WAIT_S + 1)
    assert channel.messages == []
    assert house.last_audio.sent == []


async def test_conversation_may_end_the_session(house: House) -> None:
    channel, output = begin(house)
    output.end_session("the user said goodbye")
    output.show_transcript("late")
    output.show_alert("late", "late")
    output.begin_speech()
    await asyncio.sleep(0.1)
    assert channel.story() == ["goodbye"]
    assert house.manager.count == 0
    assert house.conversations[0].closed


async def test_speaking_device_is_told_to_stop_before_goodbye(house: House) -> None:
    channel, output = begin(house)
    await reply(output)
    await asyncio.sleep(0.5)
    output.end_session("enough")
    assert channel.story()[-2:] == ["tts stop", "goodbye"]


async def test_alert_has_all_three_fields(house: House) -> None:
    channel, output = begin(house)
    output.show_alert("Error", "The speech service is down.")
    assert channel.messages[0] == {
        "type": "alert",
        "session_id": house.session().session_id,
        "status": "Error",
        "message": "The speech service is down.",
        "emotion": "sad",
    }


# ── a speech that fails ──────────────────────────────────────────────────────────────────────────────────


async def test_a_reply_whose_stream_fails_ends_with_tts_stop_and_the_next_one_is_heard(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel, output = begin(house)
    audio = house.last_audio

    def broken(opus: bytes, timestamp: int) -> bool:
        raise RuntimeError("a defect")

    with monkeypatch.context() as patch:
        patch.setattr(audio, "send", broken)
        with pytest.raises(PlayoutError):
            await whole_reply(output)
    assert channel.story() == ["tts start", "tts sentence_start s0", "tts stop"]
    assert audio.sent == []
    with pytest.raises(PlayoutError):
        await output.play(b"what is left of it")
    await reply(output)
    await output.finish_speech()
    assert channel.story()[3:] == ["tts start", "tts sentence_start s0", "tts sentence_start s1", "tts stop"]
    assert len(audio.sent) == 20


async def test_a_session_whose_speech_failed_expires(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    channel, output = begin(house)
    house.last_audio.hear()
    monkeypatch.setattr(house.last_audio, "send", None)
    with pytest.raises(PlayoutError):
        await whole_reply(output)
    await asyncio.sleep(house.settings.session.idle_timeout_s + 2)
    assert channel.story()[-2:] == ["tts stop", "goodbye"]
    assert house.manager.count == 0


# ── TCP is slower than UDP ───────────────────────────────────────────────────────────────────────────────


async def test_audio_waits_until_the_device_has_tts_start(house: House) -> None:
    channel, output = begin(house)
    channel.unacknowledged_bytes = 120
    await reply(output)
    finishing = asyncio.ensure_future(output.finish_speech())
    await asyncio.sleep(1)
    assert channel.story() == ["tts start"]
    assert house.last_audio.sent == []
    channel.unacknowledged_bytes = 0
    delivered = now()
    await finishing
    assert len(house.last_audio.sent) == 20
    assert house.last_audio.sent[0][0] == pytest.approx(delivered + ARRIVAL_GAP_S, abs=2 * DELIVERY_POLL_S)


async def test_an_acknowledgement_within_the_gap_costs_nothing(house: House) -> None:
    channel, output = begin(house)
    channel.unacknowledged_bytes = 120
    await reply(output)
    await asyncio.sleep(0.03)
    channel.unacknowledged_bytes = 0
    await output.finish_speech()
    assert house.last_audio.sent[0][0] - channel.sent[0][0] == pytest.approx(GAP_S)


async def test_a_device_that_never_acknowledges_is_spoken_to_all_the_same(house: House) -> None:
    channel, output = begin(house)
    channel.unacknowledged_bytes = 120
    await reply(output)
    await output.finish_speech()
    waited = house.last_audio.sent[0][0] - channel.sent[0][0]
    assert waited == pytest.approx(DELIVERY_WAIT_S + ARRIVAL_GAP_S, abs=2 * DELIVERY_POLL_S)
    assert channel.story()[-1] == "tts stop"


async def test_a_reply_that_is_stopped_while_it_waits_stays_stopped(house: House) -> None:
    channel, output = begin(house)
    channel.unacknowledged_bytes = 120
    await reply(output)
    await asyncio.sleep(0.5)
    output.stop_speech()
    channel.unacknowledged_bytes = 0
    await asyncio.sleep(2)
    assert channel.story() == ["tts start", "tts stop"]
    assert house.last_audio.sent == []


# ── how much is on its way ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("board", "firmware", "wanted", "lead"),
    [
        ("bread-compact-wifi", "2.4.2", 30, 20),
        ("bread-compact-wifi", "2.5.0", 30, 20),
        ("bread-compact-wifi", "2.4.2", 3, 3),
        ("xmini-c3", "2.4.2", 30, 5),
        ("bread-compact-wifi", "1.5.9", 30, 5),
    ],
)
async def test_after_an_abort_no_more_is_heard_than_the_lead(
    house: House, board: str, firmware: str, wanted: int, lead: int
) -> None:
    house.devices[DEVICE] = replace(house.devices[DEVICE], board=board, firmware_version=firmware)
    house.settings = Settings(session=SessionSettings(playout_ahead_frames=wanted))
    await house.manager.aclose()
    house.manager = house.start()
    _, output = begin(house)
    speaking = asyncio.ensure_future(reply(output, sentences=1, frames=120))
    await asyncio.sleep(5)
    output.stop_speech()
    await speaking
    sent = house.last_audio.sent
    tail_s = sent[0][0] + len(sent) * 0.06 - now()
    assert tail_s == pytest.approx(lead * 0.06, abs=0.0601)
    assert tail_s <= 1.2 + 0.06


# ── long texts ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("cellular", "most"), [(True, 2_000), (False, 8_000)])
async def test_long_texts_end_at_a_sentence_before_they_break_the_connection(
    house: House, cellular: bool, most: int
) -> None:
    house.devices[DEVICE] = replace(house.devices[DEVICE], cellular=cellular)
    channel, output = begin(house)
    text = 'He said "no". ' * 2_000
    output.show_transcript(text)
    output.show_alert("Notice", text)
    output.begin_speech()
    await output.play_sentence(text)
    await output.play(b"frame")
    await output.finish_speech()
    shown = [message.get("text") or message.get("message") for message in channel.messages]
    cut = [line for line in shown if line]
    assert len(cut) == 3
    for line, message in zip(
        cut, [m for m in channel.messages if m.get("text") or m.get("message")], strict=True
    ):
        assert line.endswith('He said "no".')
        assert most * 0.8 < len(json.dumps(message, separators=(",", ":"), ensure_ascii=False)) <= most
