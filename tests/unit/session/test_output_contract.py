"""The contract of a conversation's output, which a device's and the fake one of the voice tests both keep."""

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

import pytest

from mimi_mqtt.errors import PlayoutError
from mimi_mqtt.session.playout import QUEUE_MS
from mimi_mqtt.voice.ports import Output
from tests.fakes.session import FakeConversation
from tests.fakes.voice import FakeDevice
from tests.unit.session.conftest import House

pytestmark = pytest.mark.virtual_time

GAP_S, MARGIN_S, FRAME_S = 0.1, 0.12, 0.06
QUEUED = QUEUE_MS // 60
"""Frames that wait in play-out before `play` does."""

Event = tuple[float, str]


def now() -> float:
    return asyncio.get_running_loop().time()


class Rig(Protocol):
    """An output, what reached its device, and what its conversation was told of it."""

    @property
    def output(self) -> Output: ...

    @property
    def events(self) -> list[Event]:
        """Time and kind of all that reached the device, in order: start, sentence TEXT, audio, stop, …"""

    @property
    def echoes(self) -> list[int]:
        """Timestamps of the frames that the conversation was told of."""

    @property
    def speaking(self) -> bool: ...

    def end_after_sentence(self) -> None: ...

    def break_sending(self) -> None:
        """The next frame can't be sent."""


class FakeRig:
    def __init__(self) -> None:
        self.output = self._device = FakeDevice()
        self.echoes: list[int] = []
        self._device.on_played = lambda opus, timestamp: self.echoes.append(timestamp)

    @property
    def events(self) -> list[Event]:
        told = [it for it in self._device.events if it[1] not in ("pause", "resume")]
        return [(at, f"{what} {text}".strip() if what != "goodbye" else what) for at, what, text in told]

    @property
    def speaking(self) -> bool:
        return self._device.speaking

    def end_after_sentence(self) -> None:
        self._device.end_after_sentence()

    def break_sending(self) -> None:
        self._device.break_stream()


class RealRig:
    """The output of a session among fakes: its messages and its frames in one order."""

    def __init__(self, house: House) -> None:
        self.events: list[Event] = []
        channel = house.connect()
        session_id = house.hello(channel)
        self._conversation: FakeConversation = house.listen(channel, session_id)
        self.output = self._conversation.output
        self._session = house.session()
        self._broken = False
        channel.on_message = self._told
        audio = house.last_audio
        send = audio.send

        def heard(opus: bytes, timestamp: int) -> bool:
            if self._broken:
                self._broken = False
                raise OSError("the network is down")
            self.events.append((now(), "audio"))
            return send(opus, timestamp)

        audio.send = heard  # type: ignore[method-assign]

    def _told(self, message: dict[str, str]) -> None:
        kind = message["type"]
        if kind == "tts":
            kind = message["state"].removesuffix("_start")
        text = message.get("text") if kind in ("stt", "sentence") else message.get("emotion", "")
        self.events.append((now(), f"{kind} {text or message.get('message', '')}".strip()))

    @property
    def echoes(self) -> list[int]:
        return self._conversation.echoes

    @property
    def speaking(self) -> bool:
        return self._session.idle_since() == float("inf")

    def end_after_sentence(self) -> None:
        output = self._session._output
        assert output is not None
        output.end_after_sentence()

    def break_sending(self) -> None:
        self._broken = True


@pytest.fixture(params=["fake", "real"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    if request.param == "fake":
        yield FakeRig()
        return
    house = House()
    yield RealRig(house)
    await house.manager.aclose()


def kinds(rig: Rig) -> list[str]:
    return [what for _, what in rig.events]


def times(rig: Rig, kind: str) -> list[float]:
    return [at for at, what in rig.events if what == kind]


async def reply(output: Output, sentences: int = 2, frames: int = 10) -> None:
    output.begin_speech()
    for index in range(sentences):
        await output.play_sentence(f"s{index}")
        for _ in range(frames):
            await output.play(b"frame")


async def test_a_reply_reaches_the_device_in_order_and_on_time(rig: Rig) -> None:
    await reply(rig.output)
    before = rig.speaking
    await rig.output.finish_speech()
    assert (before, rig.speaking) == (True, False)
    sound = ["audio"] * 10
    assert kinds(rig) == ["start", "sentence s0", *sound, "sentence s1", *sound, "stop"]
    first = times(rig, "audio")[0]
    assert first - times(rig, "start")[0] == pytest.approx(GAP_S)
    assert times(rig, "stop") == [pytest.approx(first + 20 * FRAME_S + MARGIN_S)]
    assert now() == pytest.approx(times(rig, "stop")[0])


async def test_everything_else_is_shown_at_once(rig: Rig) -> None:
    rig.output.show_transcript("what time is it")
    rig.output.show_emotion("happy", "🙂")
    rig.output.show_alert("Error", "Sorry.")
    assert [what.split()[0] for what in kinds(rig)] == ["stt", "llm", "alert"]


async def test_a_speech_begins_once(rig: Rig) -> None:
    rig.output.begin_speech()
    await asyncio.sleep(1)
    await reply(rig.output, 1)
    await rig.output.finish_speech()
    assert kinds(rig).count("start") == kinds(rig).count("stop") == 1


async def test_a_speech_without_a_frame_ends(rig: Rig) -> None:
    rig.output.begin_speech()
    await rig.output.play_sentence("not to be made to sound")
    await rig.output.finish_speech()
    assert kinds(rig) == ["start", "sentence not to be made to sound", "stop"]


async def test_so_much_waits_to_be_played_and_no_more(rig: Rig) -> None:
    taken = 0

    async def speak() -> None:
        nonlocal taken
        rig.output.begin_speech()
        for _ in range(QUEUED * 3):
            await rig.output.play(b"frame")
            taken += 1

    speaking = asyncio.ensure_future(speak())
    await asyncio.sleep(GAP_S / 2)
    assert taken == QUEUED
    await asyncio.sleep(5)
    assert taken == QUEUED + rig.output.frames_played
    assert rig.output.frames_played == len(times(rig, "audio")) > 50
    rig.output.stop_speech()
    await speaking


async def test_a_stop_silences_at_once_and_lets_go_of_all_that_wait(rig: Rig) -> None:
    speaking = asyncio.ensure_future(reply(rig.output, frames=QUEUED))
    await asyncio.sleep(1)
    heard = len(times(rig, "audio"))
    rig.output.stop_speech()
    assert times(rig, "stop") == [now()]
    assert not rig.speaking
    await speaking
    await rig.output.finish_speech()
    await asyncio.sleep(1)
    assert len(times(rig, "audio")) == heard
    assert kinds(rig)[-1] == "stop"


async def test_a_stop_ends_a_finish_that_waits(rig: Rig) -> None:
    await reply(rig.output)
    finishing = asyncio.ensure_future(rig.output.finish_speech())
    await asyncio.sleep(0.5)
    rig.output.stop_speech()
    stopped = now()
    await finishing
    assert now() == stopped


async def test_late_calls_of_an_old_turn_do_nothing(rig: Rig) -> None:
    await rig.output.finish_speech()
    rig.output.stop_speech()
    rig.output.resume_speech()
    rig.output.pause_speech()
    assert kinds(rig) == []
    await reply(rig.output, frames=2)
    rig.output.stop_speech()
    told = kinds(rig)
    await rig.output.play(b"late")
    await rig.output.play_sentence("late")
    await rig.output.finish_speech()
    rig.output.stop_speech()
    await asyncio.sleep(1)
    assert kinds(rig) == told
    await reply(rig.output, 1, 3)
    await rig.output.finish_speech()
    assert kinds(rig) == [*told, "start", "sentence s0", *["audio"] * 3, "stop"]


async def test_frames_played_keeps_its_value_until_the_next_speech(rig: Rig) -> None:
    assert rig.output.frames_played == 0
    await reply(rig.output, 1, 50)
    await asyncio.sleep(1)
    rig.output.stop_speech()
    heard = rig.output.frames_played
    assert 0 < heard == len(times(rig, "audio")) < 50
    await asyncio.sleep(1)
    assert rig.output.frames_played == heard
    rig.output.begin_speech()
    assert rig.output.frames_played == 0


async def test_the_conversation_is_told_of_every_frame_that_left(rig: Rig) -> None:
    for _ in range(2):
        await reply(rig.output, 1, 5)
        await rig.output.finish_speech()
    assert len(rig.echoes) == 10
    assert rig.echoes == sorted(set(rig.echoes))


async def test_a_pause_sends_nothing_and_the_next_frame_follows_it(rig: Rig) -> None:
    await reply(rig.output, 1, 50)
    finishing = asyncio.ensure_future(rig.output.finish_speech())
    await asyncio.sleep(1)
    rig.output.pause_speech()
    heard = rig.output.frames_played
    await asyncio.sleep(20)
    assert rig.output.frames_played == heard
    assert "stop" not in kinds(rig)
    assert rig.speaking
    rig.output.resume_speech()
    await finishing
    assert rig.output.frames_played == 50
    assert kinds(rig)[-1] == "stop"


async def test_a_stop_ends_a_pause(rig: Rig) -> None:
    await reply(rig.output, 1, 50)
    rig.output.pause_speech()
    rig.output.stop_speech()
    await reply(rig.output, 1, 3)
    await rig.output.finish_speech()
    assert kinds(rig).count("audio") == 3


async def test_the_sentence_being_played_may_be_the_last(rig: Rig) -> None:
    await reply(rig.output, 3, 20)
    await asyncio.sleep(0.5)
    rig.end_after_sentence()
    await rig.output.play_sentence("late")
    await rig.output.play(b"late")
    await rig.output.finish_speech()
    assert kinds(rig) == ["start", "sentence s0", *["audio"] * 20, "stop"]


async def test_a_speech_that_can_not_be_sent_raises_ends_and_is_no_end_of_the_next(rig: Rig) -> None:
    await reply(rig.output, 1, 10)
    finishing = asyncio.ensure_future(rig.output.finish_speech())
    await asyncio.sleep(0.3)
    rig.break_sending()
    with pytest.raises(PlayoutError):
        await finishing
    assert kinds(rig)[-1] == "stop"
    assert not rig.speaking
    with pytest.raises(PlayoutError):
        await rig.output.play(b"frame")
    with pytest.raises(PlayoutError):
        await rig.output.finish_speech()
    rig.output.stop_speech()
    assert kinds(rig).count("stop") == 1
    await reply(rig.output, 1, 3)
    await rig.output.finish_speech()
    assert kinds(rig)[-6:] == ["start", "sentence s0", *["audio"] * 3, "stop"]


async def test_a_frame_that_waits_for_room_fails_with_its_speech(rig: Rig) -> None:
    speaking = asyncio.ensure_future(reply(rig.output, 1, 3 * QUEUED))
    await asyncio.sleep(1)
    rig.break_sending()
    with pytest.raises(PlayoutError):
        await speaking


async def test_a_goodbye_ends_the_speech_and_is_the_last_that_is_heard(rig: Rig) -> None:
    await reply(rig.output)
    await asyncio.sleep(0.5)
    rig.output.end_session("goodbye")
    assert kinds(rig)[-2:] == ["stop", "goodbye"]
    told = kinds(rig)
    rig.output.show_transcript("more")
    rig.output.show_alert("Error", "more")
    await reply(rig.output)
    await rig.output.finish_speech()
    rig.output.stop_speech()
    await asyncio.sleep(5)
    assert kinds(rig) == told
