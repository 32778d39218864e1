"""Answers begun on a guess, on virtual time."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from mimi_mqtt.audio import Pcm
from mimi_mqtt.config.voice import VoiceSettings
from mimi_mqtt.errors import ProviderUnavailable
from mimi_mqtt.providers.contract.chat import ToolCall
from mimi_mqtt.providers.contract.recording import RecordedTranscription, Transcript
from mimi_mqtt.providers.contract.stt import SttCapabilities
from mimi_mqtt.voice.turn.state import TurnState
from tests.fakes.scene import Scene, scene
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

EAGER = VoiceSettings(preemptive_silence_ms=240, endpointing="fixed")


class WholeStt(ScriptedStt):
    """Takes the audio in one piece, as most servers do."""

    def __init__(self, *script: str | BaseException | Wait) -> None:
        super().__init__(*script)
        self.capabilities = SttCapabilities(streaming=False)
        self.recordings: list[RecordedTranscription] = []

    def open(
        self, *, language: str | None = None, certain: bool = True, max_s: float = 30.0
    ) -> RecordedTranscription:
        self.recordings.append(super().open(language=language, certain=certain, max_s=max_s))
        return self.recordings[-1]


class InterimStt(ScriptedStt):
    """Says after each piece of audio what it has understood: words so far by the samples heard."""

    def __init__(self, interim: dict[int, str], final: str) -> None:
        super().__init__(final)
        self._interim = interim
        self._final = final

    async def _transcribe(self, audio: AsyncIterator[Pcm], language: str | None) -> AsyncIterator[Transcript]:
        samples = 0
        async for pcm in audio:
            samples += len(pcm)
            known = [text for at, text in self._interim.items() if samples >= at * 960]
            if known:
                yield Transcript(known[-1], final=False)
        self.heard_samples.append(samples)
        yield Transcript(self._final, final=True)


async def first(s: Scene, what: str) -> float:
    await s.device.until(what)
    return next(time for time, event, _ in s.device.events if event == what)


async def test_a_right_guess_is_answered_in_the_moment_of_the_decision() -> None:
    stt, llm = WholeStt(Wait(0.2), "how is it"), ScriptedLlm([Wait(0.2), "It is fine."])
    async with scene(services(stt=stt, llm=llm, voice=EAGER)) as s:
        s.conversation.listen("auto")
        await s.send(SPEECH, 10)
        decided = s.loop.time() + 0.06 * 11
        await s.send(SILENCE, 15)
        assert await first(s, "start") == pytest.approx(decided)
        await s.device.until("stop")
        assert s.device.said(audio=True) == ["stt", "llm", "start", "sentence", "audio", "stop"]
        assert len(stt.heard_samples) == 1  # the guess heard it all
        assert len(llm.requests) == 1
        await s.idle()
        assert s.records == [("answered", "how is it", "It is fine.")]


async def test_without_eager_turns_the_same_answer_comes_later() -> None:
    stt, llm = WholeStt(Wait(0.2), "how is it"), ScriptedLlm([Wait(0.2), "It is fine."])
    async with scene(services(stt=stt, llm=llm, voice=VoiceSettings(preemptive_silence_ms=0))) as s:
        s.conversation.listen("auto")
        await s.send(SPEECH, 10)
        decided = s.loop.time() + 0.06 * 11
        await s.send(SILENCE, 15)
        assert await first(s, "start") == pytest.approx(decided + 0.4)


async def test_a_guess_is_dropped_unheard_when_the_speaker_goes_on() -> None:
    stt = WholeStt("turn on", "turn on the light")
    llm = ScriptedLlm(["What should I turn on?"], ["The light is on."])
    async with scene(services(stt=stt, llm=llm, voice=EAGER)) as s:
        s.conversation.listen("auto")
        await s.send(SPEECH, 10)
        await s.send(SILENCE, 7)
        assert len(llm.requests) == 1
        assert s.device.events == []
        await s.send(SPEECH, 10)
        assert s.conversation.state is TurnState.LISTENING
        await s.send(SILENCE, 16)
        await s.device.until("stop")
        assert s.device.texts("stt") == ["turn on the light"]
        assert s.device.texts("sentence") == ["The light is on."]
        assert [m.content for m in llm.requests[1]][1:] == ["turn on the light"]


async def test_no_tool_is_called_on_a_guess() -> None:
    llm = ScriptedLlm([ToolCall("1", "light", {})], ["Never."], ["The light is on."])
    async with scene(services(stt=WholeStt("light"), llm=llm, voice=EAGER), FakeTools(light="on")) as s:
        s.conversation.listen("auto")
        await s.send(SPEECH, 10)
        await s.send(SILENCE, 9)
        assert len(llm.requests) == 1
        await s.send(SPEECH, 5)
        await asyncio.sleep(0)
        assert s.tools.calls == []


async def test_the_tools_of_a_right_guess_are_called_after_the_decision() -> None:
    llm = ScriptedLlm([ToolCall("1", "light", {})], ["The light is on."])
    async with scene(services(stt=WholeStt("light"), llm=llm, voice=EAGER), FakeTools(light="on")) as s:
        s.conversation.listen("auto")
        await s.send(SPEECH, 10)
        await s.send(SILENCE, 11)
        assert s.tools.calls == []
        await s.send(SILENCE, 3)
        await s.device.until("stop")
        assert s.tools.calls == [("light", {})]
        await s.idle()
        assert s.records == [("answered", "light", "The light is on.")]


async def test_interim_text_is_guessed_by_and_guessed_again_when_it_grows() -> None:
    stt = InterimStt({4: "what is", 18: "what is the time"}, "What is the time?")
    llm = ScriptedLlm(["What is what?"], ["Ten past ten."])
    async with scene(services(stt=stt, llm=llm, voice=EAGER)) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("stop")
        assert [request[-1].content for request in llm.requests] == ["what is", "what is the time"]
        assert s.device.texts("sentence") == ["Ten past ten."]
        assert len(stt.heard_samples) == 1


async def test_a_guess_that_the_final_transcript_contradicts_is_dropped() -> None:
    stt = InterimStt({4: "what is the lime"}, "What is the time?")
    llm = ScriptedLlm(["A lime is a fruit."], ["Ten past ten."])
    async with scene(services(stt=stt, llm=llm, voice=EAGER)) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("stop")
        assert s.device.texts("sentence") == ["Ten past ten."]
        assert s.device.texts("stt") == ["What is the time?"]


async def test_a_guess_that_fails_is_unheard_and_asked_again() -> None:
    llm = ScriptedLlm([ProviderUnavailable("x", "down")], ["Here I am."])
    async with scene(services(stt=WholeStt("hello"), llm=llm, voice=EAGER)) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("stop")
        assert s.device.said() == ["stt", "llm", "start", "sentence", "stop"]
        assert s.device.texts("sentence") == ["Here I am."]


async def test_a_guess_without_a_transcript_changes_nothing() -> None:
    stt = WholeStt(ProviderUnavailable("x", "down"), "hello")
    async with scene(services(stt=stt, voice=EAGER)) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("stop")
        assert s.device.texts("stt") == ["hello"]


async def test_guesses_are_bounded() -> None:
    llm = ScriptedLlm(["Yes."])
    async with scene(services(stt=WholeStt("well"), llm=llm, voice=EAGER)) as s:
        s.conversation.listen("auto")
        for _ in range(10):
            await s.send(SPEECH, 5)
            await s.send(SILENCE, 5)
        await s.send(SILENCE, 16)
        await s.device.until("stop")
        assert len(llm.requests) == 5  # four guesses, and the answer


async def test_the_audio_is_recorded_once_however_often_it_is_guessed_at() -> None:
    stt = WholeStt("well")
    async with scene(services(stt=stt, llm=ScriptedLlm(["Yes."]), voice=EAGER)) as s:
        s.conversation.listen("auto")
        for _ in range(2):
            await s.send(SPEECH, 5)
            await s.send(SILENCE, 5)
        await s.send(SPEECH, 5)
        await s.send(SILENCE, 16)
        await s.device.until("stop")
        assert len(stt.recordings) == 1
        assert len(stt.heard_samples) == 3
        # The last guess has heard all that was said by then, without a second copy of it.
        assert 25 * 960 <= stt.heard_samples[-1] <= 32 * 960
        assert stt.heard_samples == sorted(stt.heard_samples)


async def test_a_long_answer_on_a_guess_waits_without_end_or_loss() -> None:
    words = " ".join(f"This is sentence number {number}." for number in range(20))
    tts = ToneTts()
    async with scene(services(stt=WholeStt("tell me"), llm=ScriptedLlm([words]), tts=tts, voice=EAGER)) as s:
        s.conversation.listen("auto")
        await s.send(SPEECH, 10)
        await s.send(SILENCE, 10)
        assert s.device.events == []
        assert len(tts.texts) < 20
        await s.send(SILENCE, 3)
        await s.device.until("stop")
        assert len(s.device.texts("sentence")) == 20


async def test_a_device_that_stops_listening_is_not_answered_by_a_guess() -> None:
    stt = WholeStt("turn on", "turn on the light")
    llm = ScriptedLlm(["What?"], ["It is on."])
    async with scene(services(stt=stt, llm=llm, voice=EAGER)) as s:
        s.conversation.listen("auto")
        await s.send(SPEECH, 10)
        await s.send(SILENCE, 5)
        s.conversation.stop_listening()
        await s.device.until("stop")
        assert s.device.texts("sentence") == ["It is on."]


async def test_the_timings_of_a_right_guess_are_the_turns() -> None:
    stt, llm = WholeStt(Wait(0.1), "hi"), ScriptedLlm([Wait(0.1), "Yes it is."])
    async with scene(services(stt=stt, llm=llm, voice=EAGER)) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("stop")
        await s.idle()
        assert isinstance(s.services.log, MemoryLog)
        timings = s.services.log.records[0].timings_ms
        assert timings["first_token"] < timings["endpoint"] <= timings["speech"] <= timings["first_audio"]


async def test_what_a_tool_waited_for_the_decision_is_not_the_tools_time() -> None:
    stt, llm = WholeStt("lamp on"), ScriptedLlm([ToolCall("1", "lamp", {})], ["It is on."])
    async with scene(services(stt=stt, llm=llm, voice=EAGER), FakeTools(lamp="on")) as s:
        s.conversation.listen("auto")
        await s.say()
        await s.device.until("stop")
        await s.idle()
        assert isinstance(s.services.log, MemoryLog)
        assert s.services.log.records[0].timings_ms["tools"] == 0


@pytest.mark.parametrize("silence", [5, 8, 12])
async def test_closing_in_the_middle_of_a_guess_leaves_nothing_behind(silence: int) -> None:
    llm = ScriptedLlm([Wait(0.2), "It is fine.", Wait(60), "never"])
    async with scene(services(stt=WholeStt(Wait(0.1), "hi"), llm=llm, voice=EAGER)) as s:
        s.conversation.listen("auto")
        await s.send(SPEECH, 10)
        await s.send(SILENCE, silence)
        await s.conversation.aclose()
        assert not s.device.speaking


async def test_a_service_that_acts_by_itself_is_never_asked_on_a_guess() -> None:
    stt, llm = WholeStt("turn on", "turn on the light"), ScriptedLlm(["The light is on."])
    llm.has_side_effects = True
    async with scene(services(stt=stt, llm=llm, voice=EAGER)) as s:
        s.conversation.listen("auto")
        await s.send(SPEECH, 10)
        await s.send(SILENCE, 7)
        assert llm.requests == []
        assert stt.heard_samples == []
        await s.send(SILENCE, 9)
        await s.device.until("stop")
        assert len(llm.requests) == 1
