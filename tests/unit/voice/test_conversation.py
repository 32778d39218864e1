"""A whole conversation, on virtual time, with scripted providers and a device that plays."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY

from mimi_mqtt.config import AgentSettings, SessionSettings, VoiceSettings
from mimi_mqtt.config.connections import SharesSettings
from mimi_mqtt.errors import ProviderRefused, ProviderUnavailable, ToolError
from mimi_mqtt.events import TurnStage
from mimi_mqtt.providers.contract.chat import ToolCall
from mimi_mqtt.providers.contract.tts import SpeechChunk
from mimi_mqtt.voice.device_shares import DeviceShares
from mimi_mqtt.voice.ports import Announcement
from mimi_mqtt.voice.turn.state import TurnState
from mimi_mqtt.voice.utterance.utterance import UserUtterance
from mimi_mqtt.wire.messages import ListenMode
from tests.fakes.scene import scene
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

STAGES = (
    "endpoint", "transcript", "first_token", "first_sentence", "speech", "first_audio", "stop", "tools",
)  # fmt: skip
WORDS = "The weather is fine today. It will rain tomorrow, they say."


def stage_count(stage: str) -> float:
    return REGISTRY.get_sample_value("mimi_turn_stage_seconds_count", {"stage": stage}) or 0.0


# ── a turn ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_utterance_is_answered_in_the_order_devices_need() -> None:
    async with scene(
        services(
            stt=ScriptedStt("how is it"), llm=ScriptedLlm(["😊 The weather", " is fine. Rain later on!"])
        )
    ) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("stop")
        assert s.device.said(audio=True) == [
            "stt",
            "llm",
            "start",
            "sentence",
            "audio",
            "sentence",
            "audio",
            "stop",
        ]
        assert s.device.texts("stt") == ["how is it"]
        assert s.device.texts("llm") == ["happy"]
        assert s.device.texts("sentence") == ["The weather is fine.", "Rain later on!"]
        await s.idle()
        assert s.records == [("answered", "how is it", "😊 The weather is fine. Rain later on!")]


async def test_speech_begins_with_the_first_word_not_with_the_first_sound() -> None:
    llm = ScriptedLlm(["😊 It", Wait(0.5), " is fine.", Wait(1.0), " Bye."])
    async with scene(services(llm=llm, tts=ToneTts(delay_s=0.3))) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("stop")
        at = {what: time for time, what, _ in reversed(s.device.events)}
        assert at["start"] == at["stt"]
        assert at["audio"] == pytest.approx(
            at["start"] + 1.8
        )  # the follower of the stop comes a second later


async def test_the_reply_starts_in_the_moment_of_the_endpoint_when_providers_are_instant() -> None:
    async with scene() as s:
        s.conversation.listen("auto")
        await s.send(SPEECH, 10)
        decided = s.loop.time() + 0.06 * 11
        await s.send(SILENCE, 15)
        await s.idle()
        started = next(time for time, what, _ in s.device.events if what == "start")
        assert started == pytest.approx(decided)


async def test_the_next_sentence_is_made_while_the_first_is_played() -> None:
    tts = ToneTts(delay_s=1.0)
    async with scene(services(llm=ScriptedLlm([WORDS]), tts=tts)) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("stop")
        audio = [time for time, what, _ in s.device.events if what == "audio"]
        stop = s.device.events[-1][0]
        assert len(tts.texts) == 2
        # A second for the first sentence, then sound without a gap: one frame each 60 ms to the end, and the
        # margin after it.
        assert stop - audio[0] == pytest.approx(len(audio) * 0.06 + 0.12)


async def test_timings_of_a_turn_count_from_the_end_of_speech() -> None:
    async with scene(
        services(stt=ScriptedStt(Wait(0.2), "hi"), llm=ScriptedLlm([Wait(0.3), "Yes it is."]))
    ) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("stop")
        await s.idle()
        assert isinstance(s.services.log, MemoryLog)
        timings = s.services.log.records[0].timings_ms
        assert timings["endpoint"] == pytest.approx(720, abs=61)
        assert timings["transcript"] - timings["endpoint"] == pytest.approx(200, abs=1)
        assert timings["first_token"] - timings["transcript"] == pytest.approx(300, abs=1)
        assert timings["first_audio"] >= timings["speech"] >= timings["first_token"]
        assert timings["stop"] > timings["first_audio"]
        assert "tools" not in timings


async def test_a_device_that_comes_back_is_answered_as_soon_as_before() -> None:
    heard = "turn on the light"
    habits = services().habits
    waited: list[float] = []
    for _ in range(12):
        voice = VoiceSettings(preemptive_silence_ms=180)
        made = replace(services(stt=ScriptedStt(heard, streaming=False), voice=voice), habits=habits)
        async with scene(made) as s:
            s.conversation.listen("auto")
            await s.say()
            await s.device.until("stop")
            await s.idle()
            assert isinstance(made.log, MemoryLog)
            waited.append(made.log.records[0].timings_ms["endpoint"])
    assert waited[-1] <= waited[0] - 60


async def test_every_stage_of_a_turn_is_counted_and_the_time_of_its_tools() -> None:
    class SlowTools(FakeTools):
        async def call(self, name: str, arguments: Mapping[str, Any]) -> str:
            await asyncio.sleep(0.4)
            return await super().call(name, arguments)

    llm = ScriptedLlm([ToolCall("1", "lamp", {})], [ToolCall("2", "lamp", {})], ["It is on."])
    async with scene(services(llm=llm), SlowTools(lamp="on")) as s:
        s.conversation.listen("auto")
        before = {stage: stage_count(stage) for stage in STAGES}
        await s.say()
        await s.device.until("stop")
        await s.idle()
        assert isinstance(s.services.log, MemoryLog)
        timings = s.services.log.records[0].timings_ms
        assert set(timings) == set(STAGES)
        assert timings["tools"] == pytest.approx(800)
        assert {stage: stage_count(stage) - before[stage] for stage in STAGES} == dict.fromkeys(STAGES, 1)


async def test_the_dialogue_goes_on_from_turn_to_turn() -> None:
    llm = ScriptedLlm(["One is one."], ["Two is two."])
    async with scene(services(stt=ScriptedStt("first", "second"), llm=llm)) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.idle()
        await s.say()
        await s.idle()
        assert [(m.role, m.content) for m in llm.requests[1][1:]] == [
            ("user", "first"),
            ("assistant", "One is one."),
            ("user", "second"),
        ]


# ── listening ────────────────────────────────────────────────────────────────────────────────────────────


async def test_auto_mode_listens_again_after_the_reply_without_being_told() -> None:
    async with scene() as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("stop")
        await s.idle()
        assert s.conversation.state is TurnState.LISTENING
        await s.say()
        await s.device.until("stop", 2)


async def test_the_devices_own_listen_after_a_reply_does_not_cut_what_was_said_already() -> None:
    async with scene() as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("stop")
        await s.idle()
        await s.send(SPEECH, 5)
        s.conversation.listen("auto")
        await s.say(speech=5)
        await s.device.until("stop", 2)
        assert isinstance(s.services.stt, ScriptedStt)
        assert s.services.stt.heard_samples[1] >= 20 * 960


async def test_audio_that_overtakes_listen_start_is_heard() -> None:
    async with scene() as s:
        await s.send(SPEECH, 3)
        s.conversation.listen("auto")
        await s.say(speech=7)
        await s.idle()
        assert s.ear.sequences[:4] == [1, 2, 3, 4]


async def test_old_audio_is_not_taken_for_the_beginning() -> None:
    async with scene() as s:
        await s.send(SPEECH, 200)
        assert s.ear.sequences == []
        s.conversation.listen("auto")
        assert 10 <= len(s.ear.sequences) <= 17


async def test_an_empty_transcript_in_auto_mode_is_silence() -> None:
    async with scene(services(stt=ScriptedStt("", "hello"))) as s:
        s.conversation.listen("auto")
        await s.say()
        assert s.device.events == []
        assert s.conversation.state is TurnState.LISTENING
        await s.say()
        await s.device.until("stop")


async def test_nobody_speaking_changes_nothing_and_is_no_activity() -> None:
    async with scene() as s:
        s.conversation.listen("auto")
        began = s.conversation.last_activity
        await s.send(SILENCE, 600)
        assert s.device.events == []
        assert s.conversation.last_activity == began
        assert not s.conversation.busy
        await s.say()
        await s.device.until("stop")
        assert s.conversation.last_activity > began


async def test_an_uplink_that_stops_in_the_middle_of_a_word_is_answered() -> None:
    async with scene() as s:
        s.conversation.listen("auto")
        await s.send(SPEECH, 10)
        await s.device.until("stop")
        await s.idle()
        assert s.records == [("answered", "hello", "Hi there.")]


async def test_manual_mode_waits_for_the_button() -> None:
    async with scene() as s:
        s.conversation.listen("manual")
        await s.send(SPEECH, 5)
        await s.send(SILENCE, 50)
        assert s.device.events == []
        s.conversation.stop_listening()
        await s.device.until("stop")
        await s.idle()
        assert s.ear.flushed == 1
        assert s.conversation.state is TurnState.IDLE


async def test_manual_mode_without_words_makes_the_device_usable_again() -> None:
    async with scene(services(stt=ScriptedStt(""))) as s:
        s.conversation.listen("manual")
        await s.send(SILENCE, 5)
        s.conversation.stop_listening()
        await s.device.until("stop")
        assert s.device.said() == ["start", "stop"]
        await s.idle()
        assert s.conversation.state is TurnState.IDLE


async def test_manual_mode_without_a_single_packet_makes_the_device_usable_again() -> None:
    async with scene() as s:
        s.conversation.listen("manual")
        s.conversation.stop_listening()
        await s.device.until("stop")
        assert s.device.said() == ["start", "stop"]


async def test_stopping_in_auto_mode_before_a_word_rests() -> None:
    async with scene() as s:
        s.conversation.listen("auto")
        await s.send(SILENCE, 5)
        s.conversation.stop_listening()
        await s.send(SPEECH, 30)
        assert s.conversation.state is TurnState.IDLE
        assert s.device.events == []


async def test_realtime_mode_ends_utterances_by_itself_and_is_not_interrupted_unless_wanted() -> None:
    async with scene(services(llm=ScriptedLlm([WORDS]), voice=VoiceSettings(barge_in_ms=0))) as s:
        s.conversation.listen("realtime")
        await s.say()
        await s.device.until("audio")
        await s.send(SPEECH, 20)
        assert s.conversation.state is TurnState.SPEAKING
        await s.device.until("stop")
        await s.idle()
        assert s.device.count("stt") == 1


async def test_a_provider_gets_its_own_sample_rate() -> None:
    stt = ScriptedStt("hi", sample_rate=8_000)
    async with scene(services(stt=stt)) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("stop")
        assert stt.heard_samples[0] == pytest.approx(22 * 480, abs=480)
        assert stt.languages == ["en"]


# ── the wake word ────────────────────────────────────────────────────────────────────────────────────────


def waking(choice: str) -> AgentSettings:
    return AgentSettings.model_validate({"wake_word": choice, "greeting": "Yes please?"})


async def test_the_wake_word_is_greeted_and_then_listened_to() -> None:
    async with scene(services(agent=waking("greet"))) as s:
        await s.send(SPEECH, 10)  # the wake word itself
        s.conversation.wake_word("hi mimi")
        s.conversation.listen("auto")  # as devices do, at once
        await s.device.until("stop")
        assert s.device.said() == ["stt", "llm", "start", "sentence", "stop"]
        assert s.device.texts("sentence") == ["Yes please?"]
        await s.idle()
        s.conversation.listen("auto")
        assert s.conversation.state is TurnState.LISTENING
        assert s.ear.sequences == []
        await s.say()
        await s.device.until("stop", 2)


async def test_the_wake_word_can_be_the_first_question() -> None:
    llm = ScriptedLlm(["Ten past ten."])
    async with scene(services(agent=waking("answer"), llm=llm)) as s:
        s.conversation.wake_word("what time is it")
        s.conversation.listen("auto")
        await s.device.until("stop")
        assert llm.requests[0][-1].content == "what time is it"
        assert s.device.texts("sentence") == ["Ten past ten."]


async def test_the_wake_word_can_be_silent() -> None:
    async with scene(services(agent=waking("listen"))) as s:
        await s.send(SPEECH, 10)
        s.conversation.wake_word("hi mimi")
        s.conversation.listen("auto")
        assert s.device.events == []
        await s.say()
        await s.device.until("stop")


async def test_the_wake_word_interrupts_a_reply() -> None:
    async with scene(services(agent=waking("answer"), llm=ScriptedLlm([WORDS], ["Stopped."]))) as s:
        s.conversation.wake_word("tell me")
        await s.device.until("audio", 5)
        s.conversation.wake_word("stop it")
        assert not s.device.speaking
        await s.device.until("stop", 2)
        assert s.device.texts("sentence")[-1] == "Stopped."


# ── interruption ─────────────────────────────────────────────────────────────────────────────────────────


async def test_abort_silences_at_once_and_listens_again() -> None:
    llm = ScriptedLlm([WORDS, Wait(60), "never"])
    async with scene(services(llm=llm)) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("audio", 10)
        before = s.loop.time()
        s.conversation.abort("wake_word_detected")
        assert s.device.events[-1] == (before, "stop", "")
        assert s.conversation.state is TurnState.LISTENING
        await asyncio.sleep(5)
        assert s.device.events[-1] == (before, "stop", "")
        assert llm.cancelled == 1


async def test_abort_while_thinking_sends_nothing() -> None:
    async with scene(services(llm=ScriptedLlm([Wait(60), "never"]))) as s:
        s.conversation.listen("auto")
        await s.say()
        s.conversation.abort("")
        await asyncio.sleep(120)
        assert s.device.said() == ["stt"]
        assert s.conversation.state is TurnState.LISTENING


@pytest.mark.parametrize("mode", ["auto", "manual", "realtime"])
async def test_a_device_that_gives_up_listening_is_not_answered(mode: ListenMode) -> None:
    """Applications of Espressif's component say so by `abort`, and send no more sound."""
    llm = ScriptedLlm(["Never said."])
    async with scene(services(llm=llm)) as s:
        s.conversation.listen(mode)
        await s.say(speech=10, silence=0)
        s.conversation.abort("stop_listening")
        assert s.conversation.state is TurnState.IDLE
        await asyncio.sleep(30)
        assert (s.device.events, llm.requests) == ([], [])


async def test_abort_without_a_reply_is_ignored() -> None:
    async with scene() as s:
        s.conversation.abort("")
        s.conversation.listen("auto")
        s.conversation.abort("")
        assert s.conversation.state is TurnState.LISTENING


async def test_listen_start_while_speaking_interrupts() -> None:
    async with scene(services(llm=ScriptedLlm([WORDS], ["Something else."]))) as s:
        s.conversation.listen("manual")
        await s.send(SPEECH, 10)
        s.conversation.stop_listening()
        await s.device.until("audio", 5)
        s.conversation.listen("manual")
        assert not s.device.speaking
        assert s.conversation.state is TurnState.LISTENING
        await s.send(SPEECH, 10)
        s.conversation.stop_listening()
        await s.device.until("stop", 2)
        assert s.device.texts("sentence")[-1] == "Something else."


async def test_the_model_is_shown_only_what_was_heard_of_an_interrupted_reply() -> None:
    llm = ScriptedLlm([WORDS], ["Yes it is."])
    async with scene(services(stt=ScriptedStt("weather", "really"), llm=llm)) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.until(lambda: s.device.frames_played >= 15)
        s.conversation.abort("")
        await s.say()
        await s.device.until("stop", 2)
        kept = llm.requests[1][2].content
        assert kept.endswith("…")
        assert WORDS.startswith(kept.removesuffix("…"))
        assert 5 < len(kept) < len("The weather is fine today.")
        assert s.records[0] == ("aborted", "weather", kept.removesuffix("…"))


async def test_a_tool_that_ends_the_conversation_does_not_wait_for_itself() -> None:
    class HangUp(FakeTools):
        async def call(self, name: str, arguments: object) -> str:
            await s.conversation.aclose()
            return "never seen"

    llm = ScriptedLlm([ToolCall("1", "hang_up", {})])
    async with scene(services(llm=llm), HangUp(hang_up="")) as s:
        s.conversation.listen("auto")
        await s.say()
        assert s.conversation.state is TurnState.IDLE


# ── tools ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_tools_are_called_and_their_results_answered() -> None:
    llm = ScriptedLlm(
        ["One moment please.", ToolCall("1", "set_volume", {"volume": 40})], ["The volume is forty now."]
    )
    async with scene(services(llm=llm), FakeTools(set_volume="true")) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("stop")
        assert s.tools.calls == [("set_volume", {"volume": 40})]
        assert llm.offered == [("set_volume",), ("set_volume",)]
        assert [(m.role, m.content) for m in llm.requests[1][-2:]] == [
            ("assistant", "One moment please."),
            ("tool", "true"),
        ]
        assert s.device.texts("sentence") == ["One moment please.", "The volume is forty now."]
        await s.idle()
        assert isinstance(s.services.log, MemoryLog)
        assert s.services.log.records[0].tools_called == ("set_volume",)
        assert [span.name for span in s.services.log.records[0].tool_spans] == ["set_volume"]


async def test_a_failed_tool_is_told_to_the_model() -> None:
    llm = ScriptedLlm([ToolCall("1", "lamp", {})], ["I could not reach the lamp."])
    async with scene(services(llm=llm), FakeTools(lamp=ToolError("no answer from the lamp"))) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("stop")
        assert llm.requests[1][-1].content == "error: no answer from the lamp"
        assert s.device.texts("sentence") == ["I could not reach the lamp."]


async def test_tool_rounds_are_bounded() -> None:
    llm = ScriptedLlm([ToolCall("1", "again", {})])
    async with scene(
        services(llm=llm, voice=VoiceSettings(max_tool_rounds=3)), FakeTools(again="once more")
    ) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("stop")
        assert len(s.tools.calls) == 3
        assert llm.offered[-1] == ()
        assert s.device.texts("sentence") == ["Sorry, I have no answer to that."]


# ── failures ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("error", [ProviderUnavailable("x", "down"), ProviderRefused("x", "wrong key")])
async def test_a_failing_model_is_told_aloud_and_on_the_screen(error: Exception) -> None:
    async with scene(services(llm=ScriptedLlm([error], ["Better now."]))) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("stop")
        assert s.device.said(audio=True) == ["stt", "alert", "llm", "start", "sentence", "audio", "stop"]
        await s.idle()
        await s.say()
        await s.device.until("stop", 2)
        assert s.device.texts("sentence")[-1] == "Better now."


async def test_a_model_that_fails_in_the_middle_finishes_its_sentence_first() -> None:
    llm = ScriptedLlm(["This is a beginning. And", ProviderUnavailable("x", "cut")])
    async with scene(services(llm=llm)) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("alert")
        first, apology = s.device.texts("sentence")
        assert first == "This is a beginning."
        assert apology.startswith("Sorry")
        assert s.device.said()[-2:] == ["stop", "alert"]


async def test_a_failing_recogniser_is_told() -> None:
    async with scene(services(stt=ScriptedStt(ProviderRefused("x", "wrong key"), "hello"))) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("stop")
        assert s.device.said()[:2] == ["alert", "llm"]
        await s.idle()
        await s.say()
        await s.device.until("stop", 2)
        await s.idle()
        assert [record[0] for record in s.records] == ["failed", "answered"]


async def test_without_a_voice_the_answer_is_shown() -> None:
    async with scene(
        services(llm=ScriptedLlm([WORDS]), tts=ToneTts(error=ProviderUnavailable("x", "down")))
    ) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("alert")
        assert not s.device.speaking
        assert WORDS in s.device.texts("alert")[0]
        await s.idle()
        assert s.conversation.state is TurnState.LISTENING


async def test_a_voice_that_fails_in_the_middle_shows_the_rest() -> None:
    tts = ToneTts(error=ProviderUnavailable("x", "down"), fails_on="tomorrow")
    async with scene(services(llm=ScriptedLlm([WORDS]), tts=tts)) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("alert")
        assert s.device.said(audio=True)[-4:] == ["sentence", "audio", "stop", "alert"]
        assert s.device.texts("sentence") == ["The weather is fine today."]
        assert "tomorrow" in s.device.texts("alert")[0]
        assert "fine" not in s.device.texts("alert")[0]


async def test_a_device_that_takes_no_audio_is_not_left_speaking() -> None:
    async with scene(services(session=SessionSettings(watchdog_s=20))) as s:
        s.device.stuck = True
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("alert")
        assert s.device.said()[-2:] == ["stop", "alert"]
        s.device.stuck = False
        await s.idle()
        await s.say()
        await s.device.until("stop", 2)
        await s.idle()
        assert [record[0] for record in s.records] == ["stuck", "answered"]


async def test_a_long_reply_is_not_taken_for_a_stuck_one() -> None:
    long = "This is one more sentence of many. " * 40
    async with scene(services(llm=ScriptedLlm([long]), session=SessionSettings(watchdog_s=20))) as s:
        s.conversation.listen("auto")
        await s.say()
        began = s.loop.time()
        await s.device.until("stop")
        assert s.loop.time() - began > 60
        await s.idle()
        assert s.records[0][0] == "answered"


@pytest.mark.parametrize("last_seconds", [5.5, 7.0, 12.0])
async def test_the_end_of_a_long_reply_is_heard_although_it_all_waits_to_be_played(
    last_seconds: float,
) -> None:
    text = "x" * 100 + "."
    made = services(
        llm=ScriptedLlm([text]),
        tts=ToneTts(ms_per_char=int(last_seconds * 10)),
        session=SessionSettings(watchdog_s=5),
    )
    async with scene(made) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("stop")
        await s.idle()
        assert s.records == [("answered", "hello", text)]
        assert s.device.count("audio") * 0.06 == pytest.approx(last_seconds, abs=0.2)
        assert s.device.count("alert") == 0


async def test_a_fault_while_cleaning_up_does_not_make_an_interrupted_turn_a_failed_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with scene(services(llm=ScriptedLlm([WORDS]))) as s:

        async def broken(self: object) -> None:
            raise ZeroDivisionError

        s.conversation.listen("auto")
        await s.say()
        await s.device.until("audio")
        with monkeypatch.context() as patched:
            patched.setattr(UserUtterance, "aclose", broken)
            s.conversation.listen("auto")
            await asyncio.sleep(1)
        assert [record[0] for record in s.records] == ["interrupted"]
        assert s.device.count("alert") == 0


async def test_a_fault_while_cleaning_up_does_not_make_an_answered_turn_a_failed_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with scene(services(llm=ScriptedLlm([WORDS]))) as s:

        async def broken(self: object) -> None:
            raise ZeroDivisionError

        s.conversation.listen("auto")
        await s.say()
        await s.device.until("audio")
        with monkeypatch.context() as patched:
            patched.setattr(UserUtterance, "aclose", broken)
            await s.device.until("stop")
            await s.idle()
        assert [record[0] for record in s.records] == ["answered"]
        assert s.device.count("alert") == 0


async def test_a_bug_ends_one_turn_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene() as s:

        def broken() -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(s.tools, "specs", broken)
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("alert")
        monkeypatch.undo()
        await s.idle()
        await s.say()
        await s.device.until("stop")
        await s.idle()
        assert [record[0] for record in s.records] == ["failed", "answered"]


async def test_a_reply_is_bounded_at_a_sentence() -> None:
    async with scene(
        services(llm=ScriptedLlm(["This is a sentence. " * 50]), voice=VoiceSettings(max_reply_chars=100))
    ) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("stop")
        assert s.device.texts("sentence") == ["This is a sentence."] * 5


# ── announcements, draining, closing ─────────────────────────────────────────────────────────────────────


async def test_an_announcement_waits_for_the_running_turn() -> None:
    async with scene(services(llm=ScriptedLlm([WORDS]))) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("audio")
        s.conversation.announce("The tea is ready.")
        await s.device.until("stop", 2)
        assert s.device.texts("sentence")[-1] == "The tea is ready."
        await s.idle()
        assert s.conversation.state is TurnState.LISTENING


async def test_the_devices_listen_after_a_reply_does_not_silence_the_announcement_that_followed() -> None:
    async with scene() as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("audio")
        s.conversation.announce("The tea is ready.")
        await s.device.until("start", 2)
        await asyncio.sleep(0.05)
        s.conversation.listen("auto")
        await s.device.until("stop", 2)
        await s.idle()
        assert [record[0] for record in s.records] == ["answered", "answered"]


async def test_an_announcement_to_an_idle_or_silently_listening_device_is_spoken_at_once() -> None:
    async with scene() as s:
        s.conversation.announce("Tea.")
        await s.device.until("stop")
        await s.until(lambda: s.conversation.state is TurnState.IDLE)
        s.conversation.listen("auto")
        await s.send(SILENCE, 10)
        s.conversation.announce("More tea.")
        spoken = s.loop.time()
        await s.device.until("start", 2)
        assert s.loop.time() == spoken
        await s.device.until("stop", 2)
        await s.until(lambda: s.conversation.state is TurnState.LISTENING)
        assert s.device.texts("sentence") == ["Tea.", "More tea."]


async def test_an_announcement_does_not_cut_the_user_short() -> None:
    async with scene() as s:
        s.conversation.listen("auto")
        await s.send(SPEECH, 10)
        s.conversation.announce("Tea.")
        await s.send(SILENCE, 13)
        await s.device.until("stop", 2)
        assert s.device.texts("sentence") == ["Hi there.", "Tea."]


async def test_waiting_announcements_are_bounded() -> None:
    async with scene(services(llm=ScriptedLlm([Wait(60), "Done."]))) as s:
        s.conversation.listen("auto")
        await s.say()
        for number in range(100):
            s.conversation.announce(f"number {number}")
        await asyncio.sleep(600)
        assert s.device.count("sentence") == 17


async def test_an_urgent_announcement_comes_before_others_and_urgent_ones_in_their_order() -> None:
    async with scene(services(llm=ScriptedLlm([WORDS]))) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("audio")
        for text, urgent in (("Tea.", False), ("Fire!", True), ("Water!", True), ("Milk.", False)):
            s.conversation.announce(Announcement(text, urgent=urgent))
        await s.device.until("stop", 5)
        assert s.device.texts("sentence")[-4:] == ["Fire!", "Water!", "Tea.", "Milk."]


async def test_who_announces_is_told_once_whether_it_was_heard() -> None:
    told: list[tuple[str, bool]] = []

    def announcement(text: str) -> Announcement:
        return Announcement(text, concluded=lambda spoken: told.append((text, spoken)))

    async with scene(services(llm=ScriptedLlm([WORDS]))) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("audio")
        s.conversation.announce(announcement("Tea is ready, and so is the cake."))
        s.conversation.announce(announcement("Milk."))
        await s.device.until("start", 2)
        await s.device.until("audio")
        assert told == []
        s.conversation.abort("")  # which the user did because of it
        assert told == [("Tea is ready, and so is the cake.", True)]
        s.conversation.announce(announcement("Never heard."))
    assert ("Never heard.", False) in told
    assert len(told) == 3
    for text in (" ", "Too late."):
        s.conversation.announce(announcement(text))
        assert told[-1] == (text, False)


async def test_announcements_beyond_the_bound_are_told_that_they_were_not_heard() -> None:
    told: list[bool] = []
    async with scene(services(llm=ScriptedLlm([Wait(60), "Done."]))) as s:
        s.conversation.listen("auto")
        await s.say()
        for _ in range(20):
            s.conversation.announce(Announcement("Tea.", concluded=told.append))
        assert told == [False] * 4


async def test_an_announcement_may_be_a_recording() -> None:
    async def recording() -> AsyncGenerator[SpeechChunk, None]:
        for _ in range(3):
            yield SpeechChunk(np.full(9_600, 1_000, np.int16), 16_000)

    voice = ToneTts()
    told: list[bool] = []
    async with scene(services(tts=voice)) as s:
        for number, text in enumerate(("Our song.", ""), 1):
            s.conversation.announce(Announcement(text, recording, concluded=told.append))
            await s.device.until("stop", number)
            await s.idle()
        assert s.device.texts("sentence") == ["Our song."]
        assert 60 <= s.device.count("audio") <= 64
    assert voice.texts == []
    assert told == [True, True]


async def test_draining_lets_the_sentence_end_and_nothing_follow() -> None:
    async with scene(services(llm=ScriptedLlm([WORDS]))) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("audio", 5)
        s.device.end_after_sentence()  # as its session does
        await s.conversation.drain(10)
        assert s.device.texts("sentence") == ["The weather is fine today."]
        assert s.device.said()[-1] == "stop"
        s.conversation.listen("auto")
        s.conversation.announce("no")
        assert s.conversation.state is TurnState.IDLE


async def test_draining_is_bounded() -> None:
    async with scene(services(llm=ScriptedLlm([WORDS]))) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("audio", 5)
        began = s.loop.time()
        await s.conversation.drain(0.5)
        assert s.loop.time() - began == pytest.approx(0.5)


async def test_closing_in_any_state_ends_everything_and_may_be_repeated() -> None:
    for packets, wait in ((0, 0.0), (5, 0.0), (10, 0.0), (10, 1.0), (10, 3.0)):
        async with scene(services(llm=ScriptedLlm([WORDS]), stt=ScriptedStt(Wait(0.2), "hi"))) as s:
            s.conversation.listen("auto")
            await s.send(SPEECH, packets)
            await asyncio.sleep(wait)
            await s.conversation.aclose()
            await s.conversation.aclose()
            assert s.ear.closed
            assert not s.device.speaking
            s.conversation.listen("auto")
            s.conversation.wake_word("x")
            s.conversation.announce("x")
            s.conversation.abort("")
            s.conversation.stop_listening()
            s.packet(SPEECH)
            assert s.conversation.state is TurnState.IDLE


# ── shares ───────────────────────────────────────────────────────────────────────────────────────────────


def few_turns(turns: int) -> DeviceShares:
    return DeviceShares(SharesSettings(turns_per_minute=turns))


async def test_a_storm_of_wake_words_begins_no_more_turns_than_the_share_and_is_told_once() -> None:
    async with scene(services(shares=few_turns(5))) as s:
        for _ in range(100):
            s.conversation.wake_word("hello")
        await s.device.until("stop")
        await s.idle()
        assert len(s.records) <= 6
        assert s.device.count("alert") == 1


async def test_an_utterance_beyond_the_share_is_told_and_the_device_is_listened_to_again() -> None:
    async with scene(services(shares=few_turns(1))) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("stop")
        await s.idle()
        s.conversation.listen("auto")
        await s.say()
        assert len(s.records) == 1
        assert s.device.count("alert") == 1
        assert s.conversation.state is TurnState.LISTENING
        await asyncio.sleep(60)
        await s.say()
        await s.device.until("stop", 2)


async def test_speech_that_waits_too_long_for_recognition_is_answered_by_an_apology() -> None:
    shares = DeviceShares(SharesSettings(unheard_audio_s=5))
    async with scene(services(shares=shares)) as s:
        with shares.unheard("aa-bb-cc-00-11-22", 30.0, 0.0):
            s.conversation.listen("auto")
            await s.say()
            await s.device.until("stop")
        assert s.device.texts("sentence") == ["Sorry, something went wrong. Please try again."]


# ── typed questions, and the stages of turns ─────────────────────────────────────────────────────────────


async def test_a_typed_question_is_answered_whatever_the_wake_word_does() -> None:
    llm = ScriptedLlm([WORDS], ["Stopped."])
    async with scene(services(agent=waking("greet"), llm=llm)) as s:
        s.conversation.typed("  tell me ")
        await s.device.until("audio", 5)
        assert llm.requests[0][-1].content == "tell me"
        assert s.device.texts("stt") == ["tell me"]
        s.conversation.typed("stop it")
        await s.device.until("stop", 2)
        assert s.device.texts("sentence")[-1] == "Stopped."
        s.conversation.typed("   ")
        assert s.conversation.state is not TurnState.THINKING


async def test_stages_of_a_turn_are_told_as_they_are_reached() -> None:
    told: list[TurnStage] = []
    given = services()
    given.events.subscribe(told.append, TurnStage, name="test")
    async with scene(given) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("stop")
        await s.idle()
    turn = [each for each in told if each.number == 1]
    assert {each.stage for each in turn} >= {"endpoint", "transcript", "first_token", "speech", "first_audio"}
    assert turn[-1].stage == "stop"
    assert len({each.stage for each in turn}) == len(turn)
    assert isinstance(given.log, MemoryLog)
    kept = given.log.records[0].timings_ms
    assert {each.stage: each.ms for each in turn}.items() <= kept.items()
