"""Speech that goes on after it was taken for complete, before the answer is heard; on virtual time."""

from datetime import UTC, datetime
from typing import Literal

import pytest

from mimi_mqtt.config.voice import VoiceSettings
from mimi_mqtt.errors import ProviderUnavailable
from mimi_mqtt.providers.contract.chat import ToolCall
from mimi_mqtt.voice.turn.state import TurnState
from mimi_mqtt.voice.utterance.earlier_part import MAX_PARTS
from tests.fakes.scene import Scene, scene
from tests.fakes.speech_service import FakeService, spoken
from tests.fakes.voice import (
    SILENCE,
    SPEECH,
    FakeHearing,
    FakeTools,
    MemoryLog,
    ScriptedLlm,
    ScriptedStt,
    Wait,
    services,
)
from tests.unit.voice.answer.pipeline.test_preemptive import EAGER, InterimStt, WholeStt

pytestmark = pytest.mark.virtual_time

Mode = Literal["auto", "realtime"]
BOTH = pytest.mark.parametrize("mode", ["auto", "realtime"])
WHOLE = "turn on the light in the kitchen"
FIRST, REST = "turn on the light", "in the kitchen"


class ActingLlm(ScriptedLlm):
    """Asking it has effects."""

    has_side_effects = True


def asked(llm: ScriptedLlm) -> list[str]:
    """What the model was asked, each time."""
    return [request[-1].content for request in llm.requests]


async def cut_off(s: Scene, mode: Mode = "auto") -> None:
    """The first part was said, and taken for all."""
    s.conversation.listen(mode)
    await s.say()
    assert s.conversation.state is TurnState.THINKING


@BOTH
async def test_who_goes_on_while_the_answer_is_thought_about_is_answered_whole(mode: Mode) -> None:
    llm = ScriptedLlm([Wait(2.0), "Which one?"], ["It is on."], ["Bye."])
    async with scene(services(stt=ScriptedStt(FIRST, REST, "thanks"), llm=llm)) as s:
        await cut_off(s, mode)
        await s.say()
        await s.device.until("stop")
        await s.idle()
        assert asked(llm) == [FIRST, WHOLE]
        assert llm.cancelled == 1
        assert [message.role for message in llm.requests[1]] == ["system", "user"]
        assert s.device.texts("stt")[-1] == WHOLE
        assert s.device.texts("sentence") == ["It is on."]
        assert s.records == [("answered", WHOLE, "It is on.")]
        await s.say()
        await s.device.until("stop", 2)
        assert [(m.role, m.content) for m in llm.requests[2][1:]] == [
            ("user", WHOLE),
            ("assistant", "It is on."),
            ("user", "thanks"),
        ]


@BOTH
async def test_a_first_part_that_is_not_understood_yet_is_waited_for(mode: Mode) -> None:
    stt, llm = ScriptedStt(Wait(3.0), REST, FIRST), ScriptedLlm(["It is on."])
    async with scene(services(stt=stt, llm=llm)) as s:
        await cut_off(s, mode)
        await s.say()
        await s.device.until("stop")
        await s.idle()
        assert s.device.said() == ["stt", "llm", "start", "sentence", "stop"]
        assert s.device.texts("stt") == [WHOLE]
        assert asked(llm) == [WHOLE]
        assert s.records == [("answered", WHOLE, "It is on.")]


async def test_words_that_become_known_while_somebody_speaks_are_shown_once_and_whole() -> None:
    stt = ScriptedStt(Wait(0.6), FIRST, REST)
    async with scene(services(stt=stt, llm=ScriptedLlm([Wait(2.0), "Which?"], ["It is on."]))) as s:
        await cut_off(s)
        await s.say()
        await s.device.until("stop")
        assert s.device.texts("stt") == [WHOLE]


@pytest.mark.parametrize("lost", [0, 1])
async def test_of_a_part_that_can_not_be_understood_the_other_is_answered(lost: int) -> None:
    down = ProviderUnavailable("stt", "down")
    stt = ScriptedStt(Wait(1.0), FIRST, down) if lost else ScriptedStt(Wait(1.0), down, REST)
    llm = ScriptedLlm([Wait(3.0), "Yes."], ["Yes."])
    async with scene(services(stt=stt, llm=llm)) as s:
        await cut_off(s)
        await s.say()
        await s.device.until("stop")
        await s.idle()
        assert s.records == [("answered", FIRST if lost else REST, "Yes.")]
        assert s.device.count("alert") == 0


@BOTH
async def test_noise_only_delays_the_answer(mode: Mode) -> None:
    llm, tools = ScriptedLlm([Wait(0.5), ToolCall("1", "lamp", {})], ["It is on."]), FakeTools(lamp="on")
    async with scene(services(stt=ScriptedStt(FIRST, ""), llm=llm), tools) as s:
        await cut_off(s, mode)
        await s.send(SPEECH, 10)
        await s.send(SILENCE, 8)
        assert s.device.count("start") == 0
        assert tools.calls == []
        await s.device.until("stop")
        await s.idle()
        assert len(tools.calls) == 1
        assert s.device.texts("stt") == [FIRST]
        assert s.records == [("answered", FIRST, "It is on.")]


@BOTH
async def test_an_answer_that_was_ready_is_heard_as_soon_as_noise_is_known_for_it(mode: Mode) -> None:
    async with scene(services(stt=ScriptedStt(FIRST, ""), llm=ScriptedLlm([Wait(0.5), "Yes."]))) as s:
        await cut_off(s, mode)
        await s.send(SPEECH, 10)
        decided = s.loop.time() + 0.06 * 11
        await s.send(SILENCE, 13)
        await s.device.until("start")
        assert next(at for at, what, _ in s.device.events if what == "start") == pytest.approx(decided)
        await s.send(SPEECH if mode == "auto" else SILENCE, 5)
        await s.idle()
        assert s.records == [("answered", FIRST, "Yes.")]


async def test_a_cough_is_no_continuation() -> None:
    async with scene(services(stt=ScriptedStt(FIRST, "never"), llm=ScriptedLlm([Wait(0.5), "Yes."]))) as s:
        await cut_off(s)
        await s.send(SPEECH, 2)
        await s.send(SILENCE, 10)
        assert s.conversation.state is TurnState.SPEAKING
        await s.device.until("stop")
        await s.idle()
        assert s.records == [("answered", FIRST, "Yes.")]


async def test_patience_begins_anew_where_noise_has_stopped_it() -> None:
    voice = VoiceSettings(patience_s=6, filler_s=0)
    async with scene(services(stt=ScriptedStt(FIRST, ""), llm=ScriptedLlm([Wait(60)]), voice=voice)) as s:
        await cut_off(s)
        await s.send(SPEECH, 30)
        began = s.loop.time()
        await s.device.until("alert")
        assert s.loop.time() - began < 8
        await s.idle()
        assert [record[0] for record in s.records] == ["failed"]


async def test_a_tool_that_would_be_called_while_somebody_speaks_is_not_called_for_a_part() -> None:
    tools = FakeTools(lamp="on")
    llm = ScriptedLlm(
        [Wait(0.6), ToolCall("1", "lamp", {"all": True})],
        [ToolCall("2", "lamp", {"all": False})],
        ["It is on."],
    )
    async with scene(services(stt=ScriptedStt(FIRST, REST), llm=llm), tools) as s:
        await cut_off(s)
        await s.say()
        await s.device.until("stop")
        assert [arguments for _, arguments in tools.calls] == [{"all": False}]
        await s.idle()
        assert s.records == [("answered", WHOLE, "It is on.")]


@BOTH
async def test_after_a_tool_was_called_what_is_said_is_the_next_utterance(mode: Mode) -> None:
    tools = FakeTools(lamp="on")
    llm = ScriptedLlm([ToolCall("1", "lamp", {})], [Wait(3.0), "It is on."], ["Both are."])
    async with scene(services(stt=ScriptedStt(FIRST, "the heating too"), llm=llm), tools) as s:
        await cut_off(s, mode)
        assert len(tools.calls) == 1
        await s.say()
        await s.device.until("stop")
        await s.idle()
        assert s.records == [("interrupted", FIRST, ""), ("answered", "the heating too", "Both are.")]
        assert [m.role for m in llm.requests[2][1:]] == ["user", "assistant", "tool", "user"]


@BOTH
async def test_after_a_tool_that_changes_nothing_what_is_said_still_belongs_to_the_question(
    mode: Mode,
) -> None:
    tools = FakeTools(weather="sunny")
    tools.read_only = frozenset({"weather"})
    llm = ScriptedLlm([ToolCall("1", "weather", {})], [Wait(3.0), "It is sunny."], ["Sunny there, too."])
    async with scene(services(stt=ScriptedStt(FIRST, REST), llm=llm), tools) as s:
        await cut_off(s, mode)
        assert len(tools.calls) == 1
        await s.say()
        await s.device.until("stop")
        await s.idle()
        assert s.records == [("answered", WHOLE, "Sunny there, too.")]
        assert [m.role for m in llm.requests[2][1:]] == ["user"]


async def test_a_model_that_acts_is_not_asked_twice_about_the_same() -> None:
    llm = ActingLlm([Wait(3.0), "Done."], ["That too."])
    async with scene(services(stt=ScriptedStt(FIRST, "and the heating"), llm=llm)) as s:
        await cut_off(s)
        await s.say()
        await s.device.until("stop")
        await s.idle()
        assert asked(llm) == [FIRST, "and the heating"]
        assert [record[0] for record in s.records] == ["interrupted", "answered"]


async def test_a_model_that_acts_is_not_asked_while_somebody_speaks() -> None:
    llm = ActingLlm(["Done."])
    async with scene(services(stt=ScriptedStt(Wait(0.6), FIRST, REST), llm=llm)) as s:
        await cut_off(s)
        await s.say()
        await s.device.until("stop")
        await s.idle()
        assert asked(llm) == [WHOLE]
        assert s.records == [("answered", WHOLE, "Done.")]


@BOTH
async def test_one_may_go_on_more_than_once(mode: Mode) -> None:
    llm = ScriptedLlm([Wait(2.0), "No."], [Wait(2.0), "No."], ["It is on."])
    async with scene(services(stt=ScriptedStt(FIRST, "in the", "kitchen"), llm=llm)) as s:
        await cut_off(s, mode)
        began, cut_off_at = s.loop.time(), datetime.now(UTC)
        await s.say()
        assert s.conversation.state is TurnState.THINKING
        await s.say()
        await s.device.until("stop")
        await s.idle()
        assert asked(llm)[-1] == WHOLE
        assert s.records == [("answered", WHOLE, "It is on.")]
        assert isinstance(s.services.log, MemoryLog)
        assert s.services.log.records[0].started_at < cut_off_at
        timings = s.services.log.records[0].timings_ms
        assert timings["speech"] < (s.loop.time() - began) * 1000 / 2  # from the end of the last part


async def test_who_never_ends_is_answered_all_the_same() -> None:
    llm = ScriptedLlm([Wait(2.0), "I see."])
    parts = [f"part {number}" for number in range(MAX_PARTS + 2)]
    async with scene(services(stt=ScriptedStt(*parts), llm=llm)) as s:
        s.conversation.listen("auto")
        for _ in parts:
            await s.say()
        await s.device.until("stop")
        await s.idle()
        assert s.records[0] == ("answered", " ".join(parts[:MAX_PARTS]), "I see.")


async def test_all_parts_together_are_no_longer_than_an_utterance() -> None:
    stt, llm = ScriptedStt(FIRST, REST, "never"), ScriptedLlm([Wait(2.0), "No."], [Wait(3.0), "It is on."])
    voice = VoiceSettings(max_utterance_s=4, preemptive_silence_ms=0)
    async with scene(services(stt=stt, llm=llm, voice=voice)) as s:
        await cut_off(s)
        await s.send(SPEECH, 100)
        await s.device.until("stop")
        await s.idle()
        assert s.records[0] == ("answered", WHOLE, "It is on.")
        assert 3.5 <= sum(stt.heard_samples[:2]) / 16_000 <= 4.5


async def test_nor_when_their_words_are_known_at_once() -> None:
    stt = InterimStt({4: REST}, REST)
    voice = VoiceSettings(max_utterance_s=4, preemptive_silence_ms=0, endpointing="fixed")
    async with scene(services(stt=stt, llm=ScriptedLlm([Wait(2.0), "No."], ["Yes."]), voice=voice)) as s:
        await cut_off(s)
        await s.send(SPEECH, 100)
        await s.idle()
        assert 3.5 <= sum(stt.heard_samples[:2]) / 16_000 <= 4.5


async def test_a_guess_that_was_confirmed_is_dropped_when_the_speaker_goes_on_after_all() -> None:
    stt = WholeStt(FIRST, REST)
    llm = ScriptedLlm([Wait(2.5), "Which one?"], ["It is on."])
    async with scene(services(stt=stt, llm=llm, voice=EAGER)) as s:
        await cut_off(s)
        assert asked(llm) == [FIRST]
        await s.say()
        await s.device.until("stop")
        await s.idle()
        assert asked(llm) == [FIRST, WHOLE]
        assert len(stt.heard_samples) == 2
        assert s.device.texts("sentence") == ["It is on."]
        assert s.records == [("answered", WHOLE, "It is on.")]


async def test_noise_after_a_confirmed_guess_lets_it_be_heard() -> None:
    llm = ScriptedLlm([Wait(1.5), "It is on."])
    async with scene(services(stt=WholeStt(Wait(0.9), FIRST, ""), llm=llm, voice=EAGER)) as s:
        await cut_off(s)
        await s.send(SPEECH, 5)
        await s.send(SILENCE, 30)
        await s.device.until("stop")
        await s.idle()
        assert s.device.texts("stt") == [FIRST]
        assert s.records == [("answered", FIRST, "It is on.")]
        assert len(llm.requests) == 1


@BOTH
async def test_words_that_are_known_at_once_take_the_turn_back_at_once(mode: Mode) -> None:
    stt = InterimStt({4: "in", 10: REST}, REST)
    llm = ScriptedLlm([Wait(2.0), "Which one?"], ["It is on."])
    async with scene(services(stt=stt, llm=llm, voice=EAGER)) as s:
        await cut_off(s, mode)
        await s.send(SPEECH, 5)
        assert s.conversation.state is TurnState.LISTENING
        assert llm.cancelled == 1
        await s.send(SPEECH, 8)
        await s.send(SILENCE, 5)
        assert asked(llm)[-1] == f"{REST} {REST}"  # on a guess, at the pause
        await s.send(SILENCE, 10)
        await s.device.until("stop")
        await s.idle()
        assert s.records == [("answered", f"{REST} {REST}", "It is on.")]
        assert len(llm.requests) == 2


@BOTH
async def test_what_is_said_while_noise_is_understood_as_nothing_is_heard_whole(mode: Mode) -> None:
    stt = ScriptedStt(Wait(0.5), "", FIRST)
    async with scene(services(stt=stt, llm=ScriptedLlm(["Yes."]))) as s:
        await cut_off(s, mode)
        await s.send(SPEECH, 20)
        assert s.conversation.state is TurnState.LISTENING
        await s.send(SILENCE, 13)
        await s.device.until("stop")
        await s.idle()
        assert s.records == [("answered", FIRST, "Yes.")]
        assert stt.heard_samples[1] >= 32 * 960


@BOTH
async def test_a_word_that_begins_as_noise_is_dismissed_keeps_its_beginning(mode: Mode) -> None:
    stt = ScriptedStt(Wait(0.1), "", FIRST)
    async with scene(services(stt=stt, llm=ScriptedLlm(["Yes."]))) as s:
        s.conversation.listen(mode)
        await s.send(SPEECH, 10)
        await s.send(SILENCE, 12)
        await s.send(SPEECH, 12)
        await s.send(SILENCE, 13)
        await s.device.until("stop")
        assert stt.heard_samples[1] >= 24 * 960


async def test_without_barge_in_realtime_mode_hears_the_question_out_and_not_more() -> None:
    llm = ScriptedLlm([Wait(2.0), "No."], ["The light in the kitchen is on now."])
    voice = VoiceSettings(barge_in_ms=0)
    async with scene(services(stt=ScriptedStt(FIRST, REST, "never"), llm=llm, voice=voice)) as s:
        await cut_off(s, "realtime")
        await s.say()
        await s.device.until("audio")
        await s.send(SPEECH, 10)
        assert s.conversation.state is TurnState.SPEAKING
        await s.device.until("stop")
        await s.idle()
        assert [record[1] for record in s.records] == [WHOLE]


async def test_a_device_whose_echo_can_not_be_told_from_its_user_is_heard_until_it_speaks() -> None:
    made = services(stt=ScriptedStt(FIRST, REST), llm=ScriptedLlm([Wait(2.0), "No."], ["It is on."]))
    made.hearing = FakeHearing(cancels_echo=False)
    async with scene(made) as s:
        s.conversation.listen("realtime")
        s.conversation.audio(SILENCE, 1, 60, s.loop.time())
        s._sequence = 1
        await s.say()
        await s.say()
        await s.device.until("stop")
        await s.idle()
        assert s.records == [("answered", WHOLE, "It is on.")]


async def test_in_manual_mode_the_button_has_decided() -> None:
    stt = ScriptedStt(FIRST, "never")
    async with scene(services(stt=stt, llm=ScriptedLlm([Wait(2.0), "It is on."]))) as s:
        s.conversation.listen("manual")
        await s.send(SPEECH, 10)
        s.conversation.stop_listening()
        await s.send(SPEECH, 20)
        await s.device.until("stop")
        await s.idle()
        assert s.records == [("answered", FIRST, "It is on.")]
        assert len(stt.heard_samples) == 1


@pytest.mark.parametrize("wait_s", [0.0, 0.3, 0.9, 1.5])
@pytest.mark.parametrize("first_s", [0.0, 3.0])
async def test_closing_meanwhile_leaves_nothing_behind(wait_s: float, first_s: float) -> None:
    stt = ScriptedStt(Wait(first_s), FIRST, Wait(0.5), REST)
    async with scene(services(stt=stt, llm=ScriptedLlm([Wait(5.0), "It is on."]))) as s:
        await cut_off(s)
        await s.send(SPEECH, 5)
        await s.send(SILENCE, int(wait_s / 0.06))
        await s.conversation.aclose()
        assert not s.device.speaking


async def test_a_service_that_speaks_itself_has_heard_both_parts_and_answers_the_whole() -> None:
    service = FakeService(
        [Wait(2.0), *spoken("Which one?")], spoken("It is on."), words=[FIRST, REST, "thanks"]
    )
    async with scene(services(s2s=service)) as s:
        await cut_off(s)
        await s.say()
        await s.device.until("stop")
        await s.idle()
        assert s.device.texts("stt")[-1] == WHOLE
        assert s.device.texts("sentence") == ["It is on."]
        assert s.records == [("answered", WHOLE, "It is on.")]
        assert "discard" not in service.log
        assert service.log.count("interrupted 0") == 1


async def test_of_such_a_service_late_words_are_recorded_with_the_first_part() -> None:
    service = FakeService([Wait(2.0), *spoken("Which one?")], spoken("Yes."), words=[FIRST, Wait(6.0), REST])
    async with scene(services(s2s=service)) as s:
        await cut_off(s)
        service.interim = REST
        await s.say()
        await s.device.until("stop")
        await s.until(lambda: bool(s.records))
        assert s.records == [("answered", WHOLE, "Yes.")]


async def test_when_such_a_service_fails_the_pipeline_answers_the_whole() -> None:
    down = ProviderUnavailable("fake-s2s", "down")
    service = FakeService([Wait(2.0), *spoken("Which one?")], [down], words=[FIRST, Wait(9.0), "never"])
    stt, llm = ScriptedStt(REST), ScriptedLlm(["It is on."])
    async with scene(services(s2s=service, stt=stt, llm=llm)) as s:
        await cut_off(s)
        service.interim = REST
        await s.say()
        await s.device.until("stop")
        await s.idle()
        assert asked(llm) == [WHOLE]
        assert s.records == [("answered", WHOLE, "It is on.")]
