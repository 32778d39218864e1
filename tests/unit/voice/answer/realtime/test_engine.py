"""A whole conversation by a speech-to-speech service, on virtual time."""

import asyncio

import pytest

from mimi_mqtt.config.agents import AgentSettings
from mimi_mqtt.config.settings import SessionSettings
from mimi_mqtt.config.voice import VoiceSettings
from mimi_mqtt.errors import ProviderError, ProviderRefused, ProviderUnavailable, ToolError
from mimi_mqtt.providers.contract.chat import ToolCall
from mimi_mqtt.providers.runtime.breaker import Breaker, Health
from mimi_mqtt.voice.services import VoiceServices
from mimi_mqtt.voice.turn.state import TurnState
from tests.fakes.scene import Scene, scene
from tests.fakes.speech_service import FakeService, Sound, Step, spoken
from tests.fakes.voice import (
    SILENCE,
    SPEECH,
    FakeTools,
    MemoryLog,
    ScriptedLlm,
    ScriptedStt,
    ToneTts,
    Wait,
    services,
)

pytestmark = pytest.mark.virtual_time

FINE = "The weather is fine today. It will rain tomorrow, they say."
DOWN = ProviderUnavailable("fake-s2s", "down")


def by(
    service: FakeService,
    *,
    llm: ScriptedLlm | None = None,
    stt: ScriptedStt | None = None,
    tts: ToneTts | None = None,
    voice: VoiceSettings | None = None,
    session: SessionSettings | None = None,
    agent: AgentSettings | None = None,
) -> VoiceServices:
    """Services with `service`, and a pipeline that can be told from it."""
    return services(
        s2s=service,
        stt=stt or ScriptedStt("heard by the pipeline"),
        llm=llm or ScriptedLlm(["From the pipeline."]),
        tts=tts,
        voice=voice,
        session=session,
        agent=agent,
    )


async def one_turn(s: Scene, mode: str = "auto") -> None:
    s.conversation.listen("realtime" if mode == "realtime" else "auto")
    await s.say()
    await s.device.until("stop")
    await s.idle()


def timings(s: Scene, turn: int = 0) -> dict[str, float]:
    assert isinstance(s.services.log, MemoryLog)
    return dict(s.services.log.records[turn].timings_ms)


def asked(s: Scene) -> int:
    """How often the pipeline's model was asked."""
    assert isinstance(s.services.llm, ScriptedLlm)
    return len(s.services.llm.requests)


# ── a turn ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_is_said_goes_to_the_service_and_its_speech_to_the_device() -> None:
    service = FakeService(["😊 ", *spoken(FINE)], words=["how is it"])
    async with scene(by(service)) as s:
        await one_turn(s)
        assert s.device.said(audio=True) == [
            "stt", "llm", "start", "sentence", "audio", "sentence", "audio", "stop",
        ]  # fmt: skip
        assert s.device.texts("stt") == ["how is it"]
        assert s.device.texts("llm") == ["happy"]
        assert s.device.texts("sentence") == [
            "The weather is fine today.",
            "It will rain tomorrow, they say.",
        ]
        assert s.records == [("answered", "how is it", f"😊 {FINE}")]
        # Ten frames of speech, their silence, and what libopus holds back: nothing is lost.
        assert service.log == ["connect", "audio", "answer 1.3"]
        assert asked(s) == 0


async def test_a_reply_without_an_emoji_begins_neutral_and_plays_all_that_was_said() -> None:
    service = FakeService([Sound(900), "It is", Sound(300), " fine."])
    async with scene(by(service)) as s:
        await one_turn(s)
        assert s.device.texts("llm") == ["neutral"]
        assert 1200 <= s.device.count("audio") * 60 <= 1320
        assert s.device.texts("sentence") == ["It is fine."]


async def test_sentences_are_shown_in_step_with_their_sound_although_it_comes_much_faster() -> None:
    service = FakeService(spoken("One two three four five six. " * 6, ms_per_char=75))
    async with scene(by(service)) as s:
        await one_turn(s)
        began = next(time for time, what, _ in s.device.events if what == "audio")
        shown = [time - began for time, what, _ in s.device.events if what == "sentence"]
        assert len(shown) == 6
        for number, at in enumerate(shown):
            due = number * 29 * 0.075
            assert due - 7.0 <= at <= due + 0.1  # the play-out queue takes seconds, and keeps them in order


async def test_words_that_come_slowly_keep_their_place_in_the_sound() -> None:
    first: list[Step] = ["One two three", Sound(3_000), Wait(2.0), " four five. Then six.", Sound(2_000)]
    async with scene(by(FakeService(first))) as s:
        await one_turn(s)
        assert s.device.texts("sentence") == ["One two three four five.", "Then six."]
        assert s.device.count("audio") * 60 == pytest.approx(5_000, abs=121)


async def test_timings_are_of_the_same_stages_and_words_may_come_after_the_answer_began() -> None:
    service = FakeService([Wait(0.3), *spoken(FINE)], words=[Wait(0.9), "how is it"])
    async with scene(by(service)) as s:
        await one_turn(s)
        at = timings(s)
        assert at["endpoint"] == pytest.approx(720, abs=61)
        assert at["first_token"] - at["endpoint"] == pytest.approx(300, abs=1)
        assert at["speech"] <= at["first_audio"] < at["transcript"] < at["stop"]
        assert at["transcript"] - at["endpoint"] == pytest.approx(900, abs=1)
        assert s.device.said()[:4] == ["llm", "start", "sentence", "stt"]
        assert s.records == [("answered", "how is it", FINE)]


async def test_an_answer_is_heard_although_its_question_is_never_known() -> None:
    service = FakeService(spoken(FINE), words=[ProviderUnavailable("fake-s2s", "no text")])
    async with scene(by(service)) as s:
        await one_turn(s)
        assert s.device.count("stt") == 0
        assert s.records == [("answered", "", FINE)]


async def test_nothing_said_is_not_answered() -> None:
    service = FakeService([Wait(1.0), *spoken(FINE)], words=["", "hello"])
    async with scene(by(service)) as s:
        s.conversation.listen("auto")
        await s.say()
        assert s.device.events == []
        assert s.conversation.state is TurnState.LISTENING
        assert service.log[-3:] == ["answer 1.3", "interrupted 0", "discard"]
        await s.say()
        await s.device.until("stop")


async def test_an_answer_to_nothing_is_cut_off() -> None:
    service = FakeService(spoken(FINE), words=[Wait(1.0), ""])
    async with scene(by(service)) as s:
        await one_turn(s)
        assert s.device.frames_played * 60 < 1_200
        assert service.log[-2].startswith("interrupted ")
        assert service.log[-1] == "discard"
        assert s.records == [("nothing heard", "", "")]


async def test_in_manual_mode_the_device_ends_the_utterance_and_is_answered() -> None:
    service = FakeService(spoken(FINE), words=["how is it", ""])
    async with scene(by(service)) as s:
        s.conversation.listen("manual")
        await s.send(SPEECH, 10)
        s.conversation.stop_listening()
        await s.device.until("stop")
        await s.idle()
        assert s.records == [("answered", "how is it", FINE)]
        s.conversation.listen("manual")
        await s.send(SILENCE, 10)
        s.conversation.stop_listening()
        await s.device.until("stop", 2)


async def test_a_service_may_end_the_utterance() -> None:
    service = FakeService()
    async with scene(by(service, voice=VoiceSettings(endpointing="vendor"))) as s:
        s.conversation.listen("auto")
        await s.send(SPEECH, 10)
        service.endpoint = True
        await s.send(SILENCE, 3)
        assert s.conversation.state is not TurnState.LISTENING
        assert service.sessions[0].setup.end_by_vendor
        await s.idle()


async def test_nothing_is_begun_on_a_guess() -> None:
    service = FakeService()
    async with scene(by(service, voice=VoiceSettings(preemptive_silence_ms=180))) as s:
        s.conversation.listen("auto")
        await s.send(SPEECH, 10)
        await s.send(SILENCE, 6)
        await s.send(SPEECH, 5)
        assert service.log == ["connect", "audio"]
        assert asked(s) == 0


async def test_a_reply_that_does_not_end_is_cut_at_a_sentence() -> None:
    service = FakeService(spoken("One two three four five six. " * 40))
    async with scene(by(service, voice=VoiceSettings(max_reply_chars=100))) as s:
        await one_turn(s)
        assert s.device.count("sentence") == 3
        assert s.device.count("audio") * 60 <= 3 * 29 * 65 + 61
        assert service.log[-1].startswith("interrupted ")


async def test_the_sentence_being_spoken_is_the_last_when_the_server_stops() -> None:
    service = FakeService(spoken("One two three four five six. " * 10))
    async with scene(by(service)) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("audio", 20)
        draining = asyncio.ensure_future(s.conversation.drain(30))
        await s.device.until("stop")
        await draining
        assert s.device.count("audio") < 200


async def test_a_service_that_stops_moving_does_not_leave_the_device_speaking() -> None:
    service = FakeService([*spoken("One two three."), Wait(1_000)])
    async with scene(by(service, session=SessionSettings(watchdog_s=20))) as s:
        await one_turn(s)
        assert s.records[0][0] == "stuck"
        assert s.device.count("alert") == 1


# ── tools ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_tools_are_called_and_the_answer_goes_on() -> None:
    call = ToolCall("1", "set_volume", {"volume": 40})
    service = FakeService([*spoken("One moment please."), call], spoken("The volume is forty now."))
    async with scene(by(service), FakeTools(set_volume="true")) as s:
        await one_turn(s)
        assert s.tools.calls == [("set_volume", {"volume": 40})]
        assert service.log[-1] == "results true"
        assert s.device.texts("sentence") == ["One moment please.", "The volume is forty now."]
        assert isinstance(s.services.log, MemoryLog)
        assert s.services.log.records[0].tools_called == ("set_volume",)
        assert "tools" in timings(s)
        session = service.sessions[0]
        assert [spec.name for spec in session.setup.tools()] == ["set_volume"]
        roles = [message.role for message in session.setup.history()]
        assert roles == ["user", "assistant", "tool", "assistant"]


async def test_a_failing_tool_is_told_to_the_service() -> None:
    service = FakeService([ToolCall("1", "lamp", {})], spoken("That did not work."))
    async with scene(by(service), FakeTools(lamp=ToolError("the lamp is gone"))) as s:
        await one_turn(s)
        assert service.log[-1] == "results error: the lamp is gone"


async def test_tools_are_not_called_for_ever() -> None:
    service = FakeService([ToolCall("1", "lamp", {})])
    async with scene(by(service, voice=VoiceSettings(max_tool_rounds=2)), FakeTools(lamp="on")) as s:
        await one_turn(s)
        assert len(s.tools.calls) == 2
        assert any("too many calls" in line for line in service.log)
        assert s.device.texts("sentence") == ["From the pipeline."]  # which is shown what was done


async def test_without_tool_rounds_no_tools_are_offered() -> None:
    service = FakeService()
    async with scene(by(service, voice=VoiceSettings(max_tool_rounds=0)), FakeTools(lamp="on")) as s:
        await one_turn(s)
        assert service.sessions[0].setup.tools() == ()


# ── interruption ─────────────────────────────────────────────────────────────────────────────────────────


async def speaking(s: Scene, mode: str = "auto") -> None:
    s.conversation.listen("realtime" if mode == "realtime" else "auto")
    await s.say()
    await s.device.until("audio")
    await s.send(SILENCE, 8)
    assert s.conversation.state is TurnState.SPEAKING


@pytest.mark.parametrize("how", ["abort", "listen", "wake word", "close"])
async def test_the_service_is_told_how_much_was_heard(how: str) -> None:
    service = FakeService(spoken(FINE), words=["weather", "next"])
    async with scene(by(service, agent=AgentSettings(wake_word="listen"))) as s:
        await speaking(s)
        match how:
            case "abort":
                s.conversation.abort("button")
            case "listen":
                await asyncio.sleep(2.1)
                s.conversation.listen("auto")
            case "wake word":
                s.conversation.wake_word("hi")
            case _:
                await s.conversation.aclose()
        played = s.device.frames_played * 60
        assert not s.device.speaking
        await asyncio.sleep(0.01)
        assert f"interrupted {played}" in service.log
        assert 0 < played < 3_000
        outcome, heard, said = s.records[0]
        assert (outcome, heard) == (
            {"abort": "aborted", "listen": "interrupted", "wake word": "aborted", "close": "closed"}[how],
            "weather",
        )
        assert FINE.startswith(said)
        assert said


async def test_a_sentence_that_is_not_whole_yet_is_remembered_as_far_as_it_was_heard() -> None:
    service = FakeService(["One two three four five six seven", Sound(4_000), Wait(60.0)], words=["count"])
    async with scene(by(service)) as s:
        await speaking(s)
        s.conversation.abort("button")
        await s.until(lambda: len(s.records) == 1)
        outcome, heard, said = s.records[0]
        assert (outcome, heard) == ("aborted", "count")
        assert said in ("One", "One two", "One two three")


async def test_an_answer_that_was_heard_to_its_end_is_not_cut() -> None:
    service = FakeService()
    async with scene(by(service)) as s:
        await one_turn(s)
        assert not [told for told in service.log if told.startswith("interrupted")]


async def test_speech_interrupts_the_reply_in_realtime_mode_and_is_answered() -> None:
    service = FakeService(spoken(FINE), spoken("Something else."), words=["weather", "stop please"])
    async with scene(by(service)) as s:
        await speaking(s, "realtime")
        began = s.loop.time()
        await s.send(SPEECH, 8)
        paused = next(time for time, what, _ in s.device.events if what == "pause")
        assert paused - began <= 0.18
        await s.send(SILENCE, 13)
        await s.device.until("stop", 2)
        await s.idle()
        assert s.device.texts("stt") == ["weather", "stop please"]
        assert s.device.texts("sentence")[-1] == "Something else."
        assert [record[0] for record in s.records] == ["interrupted", "answered"]
        told = [what.split()[0] for what in service.log]
        assert told == ["connect", "audio", "answer", "audio", "interrupted", "answer"]


async def test_noise_leaves_no_trace_and_the_reply_goes_on() -> None:
    service = FakeService(spoken(FINE), words=["weather", ""])
    async with scene(by(service)) as s:
        await speaking(s, "realtime")
        await s.send(SPEECH, 4)
        await s.send(SILENCE, 14)
        await s.device.until("resume")
        await s.device.until("stop")
        await s.idle()
        assert s.records == [("answered", "weather", FINE)]
        assert service.log == ["connect", "audio", "answer 1.3", "audio", "discard"]
        assert s.device.count("audio") * 60 == pytest.approx(60 * (len(FINE) + 1), abs=121)


async def test_the_assistants_own_words_do_not_interrupt_it() -> None:
    service = FakeService(spoken(FINE), words=["weather", "weather is fine today"])
    async with scene(by(service)) as s:
        await speaking(s, "realtime")
        await s.send(SPEECH, 8)
        await s.send(SILENCE, 13)
        await s.device.until("stop")
        await s.idle()
        assert s.records == [("answered", "weather", FINE)]


async def test_an_echo_of_the_reply_is_not_answered() -> None:
    service = FakeService(spoken("It is fine today."), words=["weather", "it is fine today", "more"])
    async with scene(by(service)) as s:
        await one_turn(s)
        await s.say()
        assert s.device.count("stt") == 1
        assert not s.device.speaking
        await asyncio.sleep(3)
        await s.say()
        await s.idle()
        assert s.device.texts("stt") == ["weather", "more"]


async def test_what_was_heard_of_a_reply_is_what_the_next_connection_begins_with() -> None:
    service = FakeService(spoken(FINE), words=["weather", "next"])
    async with scene(by(service, voice=VoiceSettings(s2s_idle_s=10))) as s:
        await speaking(s)
        s.conversation.abort("button")
        said = s.records[0][2] if s.records else ""
        await asyncio.sleep(11)
        await s.say()
        await s.device.until("stop", 2)
        said = s.records[0][2]
        assert service.histories[1] == [("user", "weather"), ("assistant", f"{said}…")]


async def test_words_that_come_after_the_turn_are_kept_in_the_dialogue_and_in_its_record() -> None:
    service = FakeService(spoken(FINE), words=[Wait(4.0), "weather", "next"])
    async with scene(by(service, voice=VoiceSettings(s2s_idle_s=10))) as s:
        await speaking(s)
        s.conversation.abort("button")
        await asyncio.sleep(11)
        await s.say()
        await s.device.until("stop", 2)
        assert service.histories[1][0] == ("user", "weather")
        assert s.device.texts("stt") == ["next"]
        await s.idle()
        assert [record[:2] for record in s.records] == [("aborted", "weather"), ("answered", "next")]


async def test_closing_does_not_wait_for_late_words() -> None:
    service = FakeService(spoken(FINE), words=[Wait(100.0), "weather"])
    async with scene(by(service)) as s:
        await speaking(s)
        s.conversation.abort("button")
        began = s.loop.time()
        await s.conversation.aclose()
        assert s.loop.time() == began
        assert [record[:2] for record in s.records] == [("aborted", "")]


# ── fallback ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("answer", [[DOWN], ["Well, ", DOWN], [Wait(0.5), DOWN], ["Well, "]])
async def test_a_service_that_fails_unheard_is_replaced_by_the_pipeline_with_the_same_audio(
    answer: list[str | ProviderError | Wait],
) -> None:
    service = FakeService(answer, words=[Wait(60.0), "never"])
    async with scene(by(service)) as s:
        await one_turn(s)
        assert s.device.texts("stt") == ["heard by the pipeline"]
        assert s.device.texts("sentence") == ["From the pipeline."]
        assert s.device.count("alert") == 0
        assert s.device.count("start") == s.device.count("stop") == 1
        assert s.records == [("answered", "heard by the pipeline", "From the pipeline.")]
        assert isinstance(s.services.stt, ScriptedStt)
        assert s.services.stt.heard_samples[0] == pytest.approx(16_000 * 1.32, abs=2_000)
        assert "close" in service.log


async def test_a_service_that_is_silent_for_long_is_not_waited_for() -> None:
    service = FakeService([Wait(25.0), *spoken(FINE)], words=["how is it"])
    async with scene(by(service, voice=VoiceSettings(patience_s=30, filler_s=5))) as s:
        await one_turn(s)
        assert s.records == [("answered", "how is it", "From the pipeline.")]
        assert 10_000 < timings(s)["first_audio"] < 12_000


# ── a service that says nothing of its own choice ────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", ["auto", "realtime"])
async def test_who_talks_to_nobody_is_not_answered_and_listened_to_further(mode: str) -> None:
    service = FakeService([], spoken(FINE), words=["where is my hat", "how is it"])
    async with scene(by(service)) as s:
        s.conversation.listen("realtime" if mode == "realtime" else "auto")
        for _ in range(5):  # as often as would rest a service that fails
            service.answers.insert(0, [])
        for _ in range(6):
            await s.say()
        assert s.device.count("start") == 0
        assert s.conversation.state is TurnState.LISTENING
        assert service.health.ready
        await s.say()
        await s.device.until("stop")
        await s.idle()
        assert s.records[0] == ("nothing heard", "where is my hat", "")
        assert s.records[-1] == ("answered", "how is it", FINE)
        assert asked(s) == 0
        assert len(service.sessions) == 1


async def test_who_holds_the_button_is_answered_by_the_pipeline_and_the_service_learns_of_it() -> None:
    service = FakeService([], spoken(FINE), words=["how is it"])
    async with scene(by(service)) as s:
        for turn in (1, 2):
            s.conversation.listen("manual")
            await s.send(SPEECH, 10)
            s.conversation.stop_listening()
            await s.device.until("stop", turn)
            await s.idle()
        assert [record[2] for record in s.records] == ["From the pipeline.", FINE]
        assert service.health.ready
        assert ("assistant", "From the pipeline.") in service.histories[-1]


async def test_words_that_the_service_has_understood_are_not_asked_for_again() -> None:
    service = FakeService([Wait(0.5), DOWN], words=["how is it"])
    async with scene(by(service)) as s:
        await one_turn(s)
        assert s.device.texts("stt") == ["how is it"]
        assert s.records == [("answered", "how is it", "From the pipeline.")]
        assert isinstance(s.services.stt, ScriptedStt)
        assert s.services.stt.heard_samples == []


async def test_tools_that_were_called_are_not_called_again_by_the_pipeline() -> None:
    service = FakeService([ToolCall("1", "lamp", {})], [DOWN])
    llm = ScriptedLlm(["The lamp is on."])
    async with scene(by(service, llm=llm), FakeTools(lamp="on")) as s:
        await one_turn(s)
        assert len(s.tools.calls) == 1
        assert [(m.role, m.content) for m in llm.requests[0][1:]] == [
            ("user", "hello"), ("assistant", ""), ("tool", "on"),
        ]  # fmt: skip
        assert isinstance(s.services.log, MemoryLog)
        assert s.services.log.records[0].tools_called == ("lamp",)


async def test_a_reply_that_breaks_off_ends_with_an_apology() -> None:
    service = FakeService([*spoken("The weather is fine today."), Wait(0.5), DOWN])
    tts = ToneTts()
    async with scene(by(service, tts=tts)) as s:
        await one_turn(s)
        assert tts.texts == ["Sorry, something went wrong. Please try again."]
        assert s.device.texts("sentence")[-1] == "Sorry, something went wrong. Please try again."
        assert s.device.texts("llm")[-1] == "sad"
        assert s.device.count("alert") == 1
        assert s.records[0][0] == "failed"
        assert asked(s) == 0


async def test_while_a_service_keeps_failing_the_pipeline_is_used_at_once() -> None:
    service = FakeService()
    service.refuses = ProviderRefused("fake-s2s", "wrong key")
    async with scene(by(service)) as s:
        s.conversation.listen("auto")
        for turn in range(1, 6):
            await s.say()
            await s.device.until("stop", turn)
            await s.idle()
        assert len(s.records) == 5
        assert {record[2] for record in s.records} == {"From the pipeline."}
        assert not service.health.ready
        assert len(service.sessions) <= 3
        assert service.log.count("audio") < 5


async def test_a_service_is_on_trial_only_until_it_answers() -> None:
    service = FakeService(spoken(FINE), spoken("Something else."), words=["weather", "stop please"])
    async with scene(by(service)) as s:
        service.health = Health("s2s", "fake-s2s", Breaker(failures=1, rest_s=5, clock=s.loop.time))
        service.health.failed(DOWN)
        s.conversation.listen("realtime")
        await s.say()
        await s.device.until("stop")
        assert service.log == []
        await asyncio.sleep(6)
        s.conversation.abort("x")
        await speaking(s, "realtime")
        await s.send(SPEECH, 8)
        await s.send(SILENCE, 13)
        await s.device.until("stop", 3)
        await s.idle()
        assert [record[2] for record in s.records][0::2] == ["From the pipeline.", "Something else."]


async def test_what_cannot_be_connected_to_is_not_waited_for_when_somebody_speaks() -> None:
    service = FakeService()
    service.refuses = DOWN
    async with scene(by(service)) as s:
        await one_turn(s)
        assert s.records == [("answered", "heard by the pipeline", "From the pipeline.")]
        assert "audio" not in service.log
        service.refuses = None
        await s.idle()
        await s.say()
        await s.device.until("stop", 2)
        assert s.records[0][2] == "From the pipeline."


async def test_a_connection_that_is_left_before_it_is_made_is_no_failure_of_the_service() -> None:
    service = FakeService(spoken(FINE), words=["weather"])
    service.connects_after_s = 8.0
    async with scene(by(service, voice=VoiceSettings(s2s_idle_s=5))) as s:
        s.conversation.listen("auto")
        await asyncio.sleep(9)
        assert service.log == ["close"]
        service.connects_after_s = 0.0
        await s.say()
        await s.device.until("stop")
        await s.idle()
        assert [record[2] for record in s.records] == [FINE]


async def test_a_connection_that_is_cut_while_nobody_speaks_is_made_again_unnoticed() -> None:
    service = FakeService(spoken(FINE), words=["weather", "and now"])
    async with scene(by(service)) as s:
        await one_turn(s)
        service.sessions[0].is_connected = False
        await s.say()
        await s.device.until("stop", 2)
        await s.idle()
        assert [record[2] for record in s.records] == [FINE, FINE]
        assert service.histories[1] == [("user", "weather"), ("assistant", FINE)]
        assert s.device.count("alert") == 0


async def test_a_service_that_works_again_knows_what_was_said_without_it() -> None:
    service = FakeService([DOWN], spoken(FINE), words=["lost", "and now"])
    async with scene(by(service, stt=ScriptedStt("first"))) as s:
        await one_turn(s)
        await s.say()
        await s.device.until("stop", 2)
        await s.idle()
        assert service.histories[1] == [("user", "lost"), ("assistant", "From the pipeline.")]
        assert s.records[1] == ("answered", "and now", FINE)


async def test_a_pipeline_that_fails_too_apologizes() -> None:
    service = FakeService([DOWN], words=[Wait(60.0), "never"])
    stt = ScriptedStt(ProviderUnavailable("stt", "down"))
    async with scene(by(service, stt=stt)) as s:
        await one_turn(s)
        assert s.device.texts("sentence") == ["Sorry, something went wrong. Please try again."]


# ── greetings, wake words, announcements ─────────────────────────────────────────────────────────────────


async def test_the_greeting_is_said_in_the_services_voice() -> None:
    service = FakeService()
    tts = ToneTts()
    async with scene(by(service, tts=tts)) as s:
        s.conversation.wake_word("hi mimi")
        await s.device.until("stop")
        assert service.log[:2] == ["connect", "say Hello! How can I help you?"]
        assert s.device.texts("sentence") == ["Hello! How can I help you?"]
        assert tts.texts == []
        await s.idle()
        assert s.records[0][1:] == ("hi mimi", "Hello! How can I help you?")


async def test_what_the_service_cannot_say_text_to_speech_says() -> None:
    service = FakeService()
    service.mute = DOWN
    tts = ToneTts()
    async with scene(by(service, tts=tts)) as s:
        s.conversation.announce("Tea is ready.")
        await s.device.until("stop")
        assert tts.texts == ["Tea is ready."]
        await s.idle()
        assert s.records[0] == ("answered", "", "Tea is ready.")


async def test_a_greeting_does_not_wait_for_a_slow_service() -> None:
    service = FakeService()
    service.says_after_s = 20.0
    tts = ToneTts()
    async with scene(by(service, tts=tts)) as s:
        began = s.loop.time()
        s.conversation.wake_word("hi mimi")
        await s.device.until("audio")
        assert tts.texts[0] == "Hello!"
        assert s.loop.time() - began < 3.5


async def test_a_connection_that_is_given_up_while_it_is_made_is_no_failure() -> None:
    service = FakeService(spoken(FINE))
    service.connects_after_s = 0.5
    async with scene(by(service)) as s:
        for _ in range(5):
            s.conversation.listen("auto")
            await asyncio.sleep(0.1)
            s.conversation.announce("Tea is ready.")
            await s.device.until("stop", s.device.count("stop") + 1)
        assert service.health.ready


async def test_a_wake_word_may_be_the_first_question() -> None:
    service = FakeService(spoken(FINE))
    async with scene(by(service, agent=AgentSettings(wake_word="answer"))) as s:
        s.conversation.wake_word("what is the weather")
        await s.device.until("stop")
        assert "ask what is the weather" in service.log
        await s.idle()
        assert s.records == [("answered", "what is the weather", FINE)]


async def test_the_first_question_goes_to_the_pipeline_when_the_service_fails() -> None:
    service = FakeService([DOWN])
    async with scene(by(service, agent=AgentSettings(wake_word="answer"))) as s:
        s.conversation.wake_word("what is the weather")
        await s.device.until("stop")
        await s.idle()
        assert s.records == [("answered", "what is the weather", "From the pipeline.")]


# ── the connection ───────────────────────────────────────────────────────────────────────────────────────


async def test_the_service_is_connected_to_when_the_device_listens_and_left_with_the_conversation() -> None:
    service = FakeService()
    async with scene(by(service)) as s:
        await asyncio.sleep(5)
        assert service.sessions == []
        s.conversation.listen("auto")
        await asyncio.sleep(0.01)
        assert service.log == ["connect"]
        assert "friendly" in service.prompts[0]
        assert "emoji" not in service.prompts[0]
    assert service.log == ["connect", "close"]


async def test_an_idle_device_holds_no_connection_and_the_next_one_knows_the_past() -> None:
    service = FakeService(spoken(FINE), words=["weather", "and now"])
    async with scene(by(service, voice=VoiceSettings(s2s_idle_s=30))) as s:
        await one_turn(s)
        await s.send(SILENCE, 600)
        assert service.log[-1] == "close"
        await s.say()
        await s.device.until("stop", 2)
        assert service.histories == [[], [("user", "weather"), ("assistant", FINE)]]
        assert len(service.sessions) == 2


async def test_a_long_utterance_and_a_long_answer_are_not_idleness() -> None:
    service = FakeService([*spoken(FINE), Wait(12.0), Sound(600)])
    voice = VoiceSettings(s2s_idle_s=5, max_utterance_s=60)
    async with scene(by(service, voice=voice)) as s:
        s.conversation.listen("auto")
        await s.say(speech=200)
        await s.device.until("stop")
        await s.idle()
        assert "close" not in service.log
        assert s.records[0][0] == "answered"


async def test_a_named_voice_is_the_services() -> None:
    service = FakeService()
    async with scene(by(service, agent=AgentSettings(voice="marin", speed=1.2))) as s:
        await one_turn(s)
        setup = service.sessions[0].setup
        assert (setup.voice, setup.speed, setup.language) == ("marin", 1.2, "en")
        assert s.services.manner("en").voice is None


async def test_another_language_is_another_session_that_knows_the_past() -> None:
    agent = AgentSettings(voice={"en": "marin", "ru": "sage"})
    service = FakeService(spoken("Хорошая погода."), words=["какая сегодня погода", "и завтра"])
    async with scene(by(service, agent=agent)) as s:
        await one_turn(s)
        await s.say()
        await s.device.until("stop", 2)
        first, second = (session.setup for session in service.sessions)
        assert (first.language, first.voice) == ("en", "marin")
        assert (second.language, second.voice) == ("ru", "sage")
        assert [text for _, text in service.histories[1]] == ["какая сегодня погода", "Хорошая погода."]


async def test_a_language_that_changes_with_the_words_does_not_end_their_answer() -> None:
    answer = [*spoken("Хорошая погода. " * 3 + "Хорошая погода."), Wait(3.0), *spoken("Тепло.")]
    service = FakeService(answer, words=["какая сегодня погода", ""])
    async with scene(by(service)) as s:
        await speaking(s, "realtime")
        await s.send(SPEECH, 4)
        await s.send(SILENCE, 14)
        await s.device.until("stop")
        await s.idle()
        assert s.records[0][::2] == ("answered", "Хорошая погода. " * 4 + "Тепло.")


@pytest.mark.parametrize("after", [0.0, 0.3, 0.9, 1.5, 2.5])
async def test_closing_at_any_moment_leaves_nothing_behind(after: float) -> None:
    service = FakeService([Wait(0.2), *spoken(FINE), Wait(0.2)], words=[Wait(0.4), "how"])
    async with scene(by(service)) as s:
        s.conversation.listen("realtime")
        await s.send(SPEECH, 10)
        await s.send(SILENCE, 12)
        await asyncio.sleep(after)
        await s.conversation.aclose()
        assert not s.device.speaking
        assert service.log[-1] == "close"
