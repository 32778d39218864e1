"""Nobody is left in silence: fillers, patience and what follows, on virtual time."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from mimi_mqtt.config import AgentSettings, VoiceSettings
from mimi_mqtt.providers.contract.tts import SpeechChunk
from mimi_mqtt.voice.services import VoiceServices
from mimi_mqtt.voice.speech.phrases import apologies
from mimi_mqtt.voice.speech.prepared import SpokenApologies
from mimi_mqtt.voice.turn import filler
from tests.fakes.scene import Scene, scene
from tests.fakes.voice import SILENCE, SPEECH, ScriptedLlm, ScriptedStt, ToneTts, Wait, services

pytestmark = pytest.mark.virtual_time

SORRY, MOMENT = apologies("en").failed, apologies("en").moment
SPEECH_S = 0.6


async def patient(
    *,
    stt: ScriptedStt | None = None,
    llm: ScriptedLlm | None = None,
    tts: ToneTts | None = None,
    voice: VoiceSettings | None = None,
) -> VoiceServices:
    """Services whose text to speech made its phrases before; nothing else bounds a wait than patience."""
    made = services(
        stt=stt,
        llm=llm,
        tts=tts,
        voice=voice or VoiceSettings(filler_s=5, patience_s=30, preemptive_silence_ms=0),
    )
    made.spoken_apologies = SpokenApologies(ToneTts(ms_per_char=30), None, AgentSettings())
    made.spoken_apologies.prepare("en")
    await made.spoken_apologies.prepared()
    for provider in (made.stt, made.llm, made.tts):
        provider.limits = type(provider.limits)(timeout_s=1_000, retries=0)
    return made


async def ask(s: Scene) -> float:
    """Says something; when the speech ended."""
    s.conversation.listen("auto")
    begun = s.loop.time()
    await s.say()
    return begun + SPEECH_S


def at(s: Scene, what: str, text: str) -> list[float]:
    return [time for time, kind, said in s.device.events if (kind, said) == (what, text)]


class BusyStt(ScriptedStt):
    """Speech to text that has others before."""

    busy = True


@pytest.mark.parametrize("who", ["stt", "llm", "tts"])
async def test_whoever_waits_long_is_told_so_and_then_answered(who: str) -> None:
    late = {
        "stt": lambda: patient(stt=BusyStt(Wait(8), "hello")),
        "llm": lambda: patient(llm=ScriptedLlm([Wait(8), "Hi there."])),
        "tts": lambda: patient(tts=ToneTts(delay_s=8)),
    }
    async with scene(await late[who]()) as s:
        ended = await ask(s)
        await s.device.until("stop")
        (told,) = at(s, "sentence", MOMENT)
        assert told == pytest.approx(ended + 5, abs=0.13)
        assert s.device.texts("sentence") == [MOMENT, "Hi there."]
        assert s.device.count("start") == s.device.count("stop") == 1
        assert s.device.texts("alert") == []
        await s.idle()
        assert s.records == [("answered", "hello", "Hi there.")]


async def test_noise_gets_no_filler_before_any_word_is_known() -> None:
    async with scene(await patient(stt=ScriptedStt(Wait(8), ""))) as s:
        await ask(s)
        await asyncio.sleep(20)
        assert s.device.count("start") == 0


async def test_words_that_are_known_late_get_their_filler_then() -> None:
    stt, llm = ScriptedStt(Wait(8), "hello"), ScriptedLlm([Wait(4), "Hi there."])
    async with scene(await patient(stt=stt, llm=llm)) as s:
        ended = await ask(s)
        await s.device.until("stop")
        (told,) = at(s, "sentence", MOMENT)
        assert ended + 8 < told < ended + 9.5


async def test_a_held_button_is_a_question_before_its_words_are_known() -> None:
    async with scene(await patient(stt=ScriptedStt(Wait(8), "hello"))) as s:
        s.conversation.listen("manual")
        await s.say()
        s.conversation.stop_listening()
        await s.device.until("stop")
        assert s.device.texts("sentence") == [MOMENT, "Hi there."]


async def test_a_complete_reply_is_followed_by_no_filler(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last frame has left, and the device's loudspeaker is waited for when the next look is due."""
    async with scene(await patient(llm=ScriptedLlm(["Hi there."]))) as s:
        finish = s.device.finish_speech

        async def slowly() -> None:
            await asyncio.sleep(20)
            await finish()

        monkeypatch.setattr(s.device, "finish_speech", slowly)
        await ask(s)
        await s.device.until("stop")
        assert s.device.texts("sentence") == ["Hi there."]


async def test_a_reply_that_ends_between_the_look_and_the_filler_is_followed_by_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spawn = filler.Filler._due

    def ends_at_once(self: filler.Filler) -> None:
        spawn(self)
        self._turn.speech.complete = self._task is not None

    monkeypatch.setattr(filler.Filler, "_due", ends_at_once)
    async with scene(await patient(llm=ScriptedLlm([Wait(8), "Hi there."]))) as s:
        await ask(s)
        await s.device.until("stop")
        assert s.device.texts("sentence") == ["Hi there."]


async def test_a_word_each_time_after_three_times_as_long() -> None:
    async with scene(await patient(llm=ScriptedLlm([Wait(28), "Hi there."]))) as s:
        ended = await ask(s)
        await s.device.until("stop")
        first, second = at(s, "sentence", MOMENT)
        assert first == pytest.approx(ended + 5, abs=0.13)
        assert 15 < second - first < 17  # from the end of the first one
        await s.idle()
        assert s.records == [("answered", "hello", "Hi there.")]


async def test_a_pause_in_the_middle_of_the_reply_is_filled_too() -> None:
    llm = ScriptedLlm(["The weather is fine today. It", Wait(9), " will rain tomorrow, they say."])
    async with scene(await patient(llm=llm)) as s:
        await ask(s)
        await s.device.until("stop")
        assert s.device.texts("sentence") == [
            "The weather is fine today.", MOMENT, "It will rain tomorrow, they say.",
        ]  # fmt: skip
        said = [what for what in s.device.said(audio=True) if what != "llm"]
        assert said == ["stt", "start", *["sentence", "audio"] * 3, "stop"]


async def test_what_was_said_beside_the_reply_does_not_count_as_heard_of_it() -> None:
    llm = ScriptedLlm(["The weather is fine today. It", Wait(9), " will rain tomorrow, they say."])
    async with scene(await patient(llm=llm)) as s:
        await ask(s)
        await s.device.until("sentence", 3)
        await asyncio.sleep(1.2)
        s.conversation.abort("")
        await s.until(lambda: bool(s.records))
        assert s.records == [("aborted", "hello", "The weather is fine today. It will rain")]


async def test_two_who_speak_wait_for_each_other() -> None:
    """The answer comes while the filler is being said."""
    tts = ToneTts(ms_per_char=20)
    async with scene(await patient(llm=ScriptedLlm([Wait(4.5), "Hi there."]), tts=tts)) as s:
        await ask(s)
        await s.device.until("stop")
        assert s.device.texts("sentence") == [MOMENT, "Hi there."]
        told, answered = at(s, "sentence", MOMENT)[0], at(s, "sentence", "Hi there.")[0]
        spoken_s = len(MOMENT) * 0.03
        assert answered - told == pytest.approx(spoken_s, abs=0.13)
        assert s.device.count("start") == s.device.count("stop") == 1


async def test_patience_ends_and_an_apology_is_heard() -> None:
    llm = ScriptedLlm([Wait(1_000)], ["Better now."])
    async with scene(await patient(llm=llm)) as s:
        ended = await ask(s)
        await s.device.until("alert")
        (sorry,) = at(s, "sentence", SORRY)
        assert sorry == pytest.approx(ended + 30, abs=0.13)
        assert s.device.said(audio=True)[-4:] == ["sentence", "audio", "stop", "alert"]
        assert s.device.texts("alert") == [SORRY]
        assert llm.cancelled == 1
        await s.idle()
        assert s.records == [("failed", "hello", "")]
        await s.say()
        await s.device.until("stop", 2)
        assert s.device.texts("sentence")[-1] == "Better now."


async def test_the_apology_is_the_last_word_also_when_it_takes_longer_again_just_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def slowly(speech: Sequence[SpeechChunk]) -> AsyncIterator[SpeechChunk]:
        await asyncio.sleep(0.1)  # as on a busy machine
        for chunk in speech:
            yield chunk

    monkeypatch.setattr(filler, "played", slowly)

    second_s = 0.0

    async def told(patience_s: float) -> list[str]:
        nonlocal second_s
        voice = VoiceSettings(filler_s=1, patience_s=patience_s, preemptive_silence_ms=0)
        async with scene(await patient(llm=ScriptedLlm([Wait(1_000)]), voice=voice)) as s:
            ended = await ask(s)
            await s.device.until("alert")
            again = at(s, "sentence", MOMENT)[1:]
            second_s = again[0] - ended if again else second_s
            return s.device.texts("sentence")

    await told(15)
    assert second_s > 3
    for ms in range(-140, 141, 20):
        said = await told(second_s + ms / 1000)
        assert said in ([MOMENT, SORRY], [MOMENT, MOMENT, SORRY])


@pytest.mark.parametrize("who", ["stt", "tts"])
async def test_patience_is_one_for_all_who_are_asked(who: str) -> None:
    late = {
        "stt": lambda: patient(stt=ScriptedStt(Wait(29), "hello"), llm=ScriptedLlm([Wait(29), "Hi."])),
        "tts": lambda: patient(llm=ScriptedLlm([Wait(29), "Hi."]), tts=ToneTts(delay_s=29)),
    }
    async with scene(await late[who]()) as s:
        ended = await ask(s)
        await s.device.until("alert")
        (sorry,) = at(s, "sentence", SORRY)
        # A filler that is being said is said to its end.
        assert ended + 29.8 < sorry < ended + 31


async def test_a_reply_that_has_begun_is_not_given_up() -> None:
    long = "This is one more sentence of many. " * 40
    async with scene(await patient(llm=ScriptedLlm([long]))) as s:
        await ask(s)
        await s.device.until("stop")
        assert s.device.events[-1][0] - s.device.events[0][0] > 60
        assert MOMENT not in s.device.texts("sentence")
        await s.idle()
        assert [record[0] for record in s.records] == ["answered"]


async def test_a_late_guess_goes_on_where_the_filler_ended() -> None:
    voice = VoiceSettings(preemptive_silence_ms=240)
    async with scene(await patient(llm=ScriptedLlm([Wait(8), "Hi there."]), voice=voice)) as s:
        await ask(s)
        await s.device.until("stop")
        assert s.device.texts("sentence") == [MOMENT, "Hi there."]
        assert s.device.count("start") == s.device.count("stop") == 1
        await s.idle()
        assert s.records == [("answered", "hello", "Hi there.")]


async def test_without_fillers_it_is_silent_until_patience_ends() -> None:
    voice = VoiceSettings(filler_s=0, patience_s=12, preemptive_silence_ms=0)
    async with scene(await patient(llm=ScriptedLlm([Wait(1_000)]), voice=voice)) as s:
        ended = await ask(s)
        await s.device.until("sentence")
        assert s.device.events[-1][0] == pytest.approx(ended + 12, abs=0.13)
        assert s.device.texts("sentence") == [SORRY]


async def test_an_unforeseen_failure_is_heard_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("a bug")

    async with scene(await patient()) as s:
        monkeypatch.setattr(s.tools, "specs", broken)
        await ask(s)
        await s.device.until("alert")
        assert s.device.texts("sentence") == [SORRY]
        assert s.device.said(audio=True)[-3:] == ["audio", "stop", "alert"]
        await s.idle()
        assert [record[0] for record in s.records] == ["failed"]


async def test_noise_during_an_apology_only_delays_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("a bug")

    async with scene(await patient(stt=ScriptedStt("hello", ""))) as s:
        monkeypatch.setattr(s.tools, "specs", broken)
        s.conversation.listen("realtime")
        await s.say()
        await s.device.until("audio")
        await s.send(SPEECH, 5)
        assert s.device.count("pause") == 1
        await s.send(SILENCE, 15)
        await s.device.until("alert")
        assert s.device.said(audio=True)[-5:] == ["pause", "resume", "audio", "stop", "alert"]
        await s.idle()
        assert [record[0] for record in s.records] == ["failed"]


async def test_somebody_who_interrupts_an_apology_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("a bug")

    async with scene(await patient(stt=ScriptedStt("hello", "try again please"))) as s:
        with monkeypatch.context() as patched:
            patched.setattr(s.tools, "specs", broken)
            s.conversation.listen("realtime")
            await s.say()
            await s.device.until("audio")
        await s.send(SPEECH, 8)
        await s.send(SILENCE, 15)
        await s.until(lambda: "Hi there." in s.device.texts("sentence"))
        assert s.device.texts("stt") == ["hello", "try again please"]
        await s.idle()
        assert [record[0] for record in s.records] == ["interrupted", "answered"]


async def test_without_phrases_made_beforehand_there_is_the_alert() -> None:
    made = await patient(llm=ScriptedLlm([Wait(1_000)]))
    made.spoken_apologies = None
    async with scene(made) as s:
        await ask(s)
        await s.device.until("alert")
        assert s.device.said() == ["stt", "alert"]
