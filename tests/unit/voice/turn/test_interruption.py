"""Speech during a reply, on virtual time."""

import asyncio

import pytest

from mimi_mqtt.config.voice import VoiceSettings
from mimi_mqtt.errors import ProviderUnavailable
from mimi_mqtt.voice.services import VoiceServices
from mimi_mqtt.voice.turn.state import TurnState
from tests.fakes.scene import Scene, scene
from tests.fakes.voice import SILENCE, SPEECH, FakeHearing, ScriptedLlm, ScriptedStt, Wait, services
from tests.unit.voice.answer.pipeline.test_preemptive import InterimStt

pytestmark = pytest.mark.virtual_time

WORDS = "The weather is fine today. It will rain tomorrow, they say."


def with_stt(*script: str | BaseException | Wait) -> VoiceServices:
    return services(stt=ScriptedStt(*script), llm=ScriptedLlm([WORDS], ["Something else."]))


async def speaking(s: Scene) -> None:
    """Realtime mode, in the middle of the first sentence."""
    s.conversation.listen("realtime")
    await s.say()
    await s.device.until("audio")
    await s.send(SILENCE, 8)
    assert s.conversation.state is TurnState.SPEAKING


async def test_speech_pauses_the_reply_at_once_and_interrupts_it_when_it_has_words() -> None:
    async with scene(with_stt("weather", "stop please")) as s:
        await speaking(s)
        began = s.loop.time()
        await s.send(SPEECH, 8)
        paused = next(time for time, what, _ in s.device.events if what == "pause")
        assert paused - began <= 0.18
        assert s.conversation.state is TurnState.SPEAKING
        await s.send(SILENCE, 13)
        await s.device.until("stop", 2)
        await s.idle()
        assert s.device.texts("stt") == ["weather", "stop please"]
        assert s.device.texts("sentence")[-1] == "Something else."
        assert [record[0] for record in s.records] == ["interrupted", "answered"]
        assert 0 < len(s.records[0][2]) < len(WORDS)


@pytest.mark.parametrize("nothing", ["", ProviderUnavailable("x", "down")])
async def test_noise_pauses_the_reply_and_lets_it_go_on_from_where_it_stopped(
    nothing: str | Exception,
) -> None:
    async with scene(with_stt("weather", nothing)) as s:
        await speaking(s)
        await s.send(SPEECH, 4)
        played = s.device.frames_played
        await s.send(SILENCE, 5)
        assert s.device.frames_played == played
        await s.send(SILENCE, 9)
        await s.device.until("resume")
        await s.device.until("stop")
        await s.idle()
        assert s.records == [("answered", "weather", WORDS)]
        assert s.device.count("pause") == s.device.count("resume") == 1


async def test_a_cough_that_is_too_short_changes_nothing() -> None:
    async with scene(with_stt("weather")) as s:
        await speaking(s)
        await s.send(SPEECH, 1)
        await s.send(SILENCE, 10)
        assert s.device.count("pause") == 0


async def test_the_assistants_own_words_do_not_interrupt_it() -> None:
    async with scene(with_stt("weather", "weather is fine today")) as s:
        await speaking(s)
        await s.send(SPEECH, 8)
        await s.send(SILENCE, 13)
        await s.device.until("stop")
        await s.idle()
        assert s.records == [("answered", "weather", WORDS)]


async def test_interim_words_interrupt_before_the_utterance_is_over() -> None:
    stt = InterimStt({4: "no", 20: "no I mean tomorrow"}, "No, I mean tomorrow.")
    made = services(
        stt=stt, llm=ScriptedLlm([WORDS], ["Rain."]), voice=VoiceSettings(preemptive_silence_ms=0)
    )
    async with scene(made) as s:
        await speaking(s)
        await s.send(SPEECH, 22)
        assert not s.device.speaking
        assert s.conversation.state is TurnState.LISTENING
        await s.send(SILENCE, 13)
        await s.device.until("stop", 2)
        assert s.device.texts("sentence")[-1] == "Rain."
        assert len(stt.heard_samples) == 2


async def test_speech_while_the_answer_is_thought_about_holds_it_back() -> None:
    llm = ScriptedLlm([Wait(1.0), "The kitchen light is on."], ["Both are on."])
    async with scene(services(stt=ScriptedStt("turn on the light", "and the heating"), llm=llm)) as s:
        s.conversation.listen("realtime")
        await s.say()
        assert s.conversation.state is TurnState.THINKING
        await s.send(SPEECH, 22)
        assert s.device.count("start") == 0
        await s.send(SILENCE, 13)
        await s.device.until("stop")
        assert s.device.texts("sentence") == ["Both are on."]


async def test_noise_while_the_answer_is_thought_about_only_delays_it() -> None:
    llm = ScriptedLlm([Wait(0.5), "It is on."])
    async with scene(services(stt=ScriptedStt("turn on the light", ""), llm=llm)) as s:
        s.conversation.listen("realtime")
        await s.say()
        await s.send(SPEECH, 10)
        await s.send(SILENCE, 8)
        assert s.device.count("start") == 0
        await s.send(SILENCE, 8)
        await s.device.until("stop")
        assert s.device.texts("sentence") == ["It is on."]
        await s.idle()
        assert s.records == [("answered", "turn on the light", "It is on.")]


async def test_a_long_interruption_is_not_a_stuck_turn() -> None:
    made = services(
        stt=ScriptedStt("weather", ""), llm=ScriptedLlm([WORDS]), voice=VoiceSettings(max_utterance_s=120)
    )
    made.session = made.session.model_copy(update={"watchdog_s": 20.0})
    async with scene(made) as s:
        await speaking(s)
        await s.send(SPEECH, 1000)
        await s.send(SILENCE, 20)
        await s.device.until("stop")
        await s.idle()
        assert s.records == [("answered", "weather", WORDS)]


async def test_what_begins_at_the_end_of_the_reply_is_heard_whole() -> None:
    stt = ScriptedStt("weather", "and tomorrow")
    async with scene(services(stt=stt, llm=ScriptedLlm(["It is fine."], ["Rain."]))) as s:
        s.conversation.listen("realtime")
        await s.say()
        await s.device.until("audio")
        while s.conversation.state is TurnState.SPEAKING:
            await s.send(SILENCE, 1)
            if s.device.frames_played >= s.device.accepted:
                break
        # In the margin before `tts stop`, too short to interrupt.
        await s.send(SILENCE, 1)
        await s.send(SPEECH, 1)
        await s.until(lambda: s.conversation.state is TurnState.LISTENING)
        await s.send(SPEECH, 10)
        await s.send(SILENCE, 13)
        await s.device.until("stop", 2)
        assert stt.heard_samples[1] >= 24 * 960


async def test_a_faint_voice_does_not_interrupt_an_announcement() -> None:
    async with scene(with_stt("weather")) as s:
        s.conversation.listen("realtime")
        s.conversation.announce(WORDS)
        await s.device.until("audio")
        await s.send(bytes([60]), 10)
        assert s.device.count("pause") == 0
        await s.send(SPEECH, 5)
        assert s.device.count("pause") == 1


async def test_auto_mode_does_not_hear_while_it_speaks() -> None:
    async with scene(with_stt("weather", "never")) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("audio")
        heard = len(s.ear.sequences)
        await s.send(SPEECH, 20)
        assert len(s.ear.sequences) == heard
        await s.device.until("stop")
        await s.idle()
        assert s.device.count("pause") == 0
        assert len(s.records) == 1


async def test_without_a_canceller_a_device_that_needs_one_is_not_heard_while_it_speaks() -> None:
    made = with_stt("weather", "never")
    made.hearing = FakeHearing(cancels_echo=False)
    async with scene(made) as s:
        s.conversation.listen("realtime")
        s.conversation.audio(SILENCE, 1, 60, s.loop.time())
        s._sequence = 1
        await s.say()
        await s.device.until("audio")
        await s.send(SPEECH, 20)
        assert s.device.count("pause") == 0
        assert s.conversation.state is TurnState.SPEAKING


async def test_the_canceller_is_told_what_the_device_plays_in_realtime_mode_only() -> None:
    async with scene() as s:
        s.conversation.listen("auto")
        s.conversation.played(b"x", 60)
        assert s.ear.timestamps == []
        s.conversation.listen("realtime")
        s.conversation.played(b"x", 120)
        assert s.ear.timestamps == [120]


@pytest.mark.parametrize("wait", [0.0, 0.2, 0.5, 1.0])
async def test_closing_while_paused_leaves_nothing_behind(wait: float) -> None:
    async with scene(with_stt("weather", Wait(0.3), "stop")) as s:
        await speaking(s)
        await s.send(SPEECH, 5)
        await asyncio.sleep(wait)
        await s.conversation.aclose()
        assert not s.device.speaking


async def test_abort_while_paused_listens_again() -> None:
    async with scene(with_stt("weather", "next")) as s:
        await speaking(s)
        await s.send(SPEECH, 5)
        s.conversation.abort("button")
        assert not s.device.speaking
        assert s.conversation.state is TurnState.LISTENING
        await s.say()
        await s.device.until("stop", 2)


async def test_after_the_reply_a_faint_voice_is_heard_again() -> None:
    stt = ScriptedStt("weather", "and tomorrow")
    async with scene(services(stt=stt, llm=ScriptedLlm(["It is fine."], ["Rain."]))) as s:
        s.conversation.listen("realtime")
        await s.say()
        await s.device.until("audio")
        faint = bytes([60])
        await s.send(faint, 5)
        assert s.device.count("pause") == 0
        while s.conversation.state is not TurnState.LISTENING:
            await s.send(SILENCE, 1)
        await s.send(faint, 10)
        await s.send(SILENCE, 13)
        await s.device.until("stop", 2)
        assert s.device.texts("stt") == ["weather", "and tomorrow"]
