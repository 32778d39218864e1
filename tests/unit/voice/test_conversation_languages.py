"""Conversations whose speakers change the language: who is hinted, in what is answered, by which voice."""

from collections.abc import Iterable, Mapping

import pytest

from mimi_mqtt.config import AgentSettings, VoiceSettings
from mimi_mqtt.errors import ProviderUnavailable
from mimi_mqtt.providers.contract.chat import TextDelta
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.contract.stt import SttCapabilities
from mimi_mqtt.voice.speech.phrases import apologies
from tests.fakes.scene import Scene, scene
from tests.fakes.voice import ScriptedLlm, ScriptedStt, ToneTts, services

pytestmark = pytest.mark.virtual_time

GERMAN = "wie spät ist es"
ENGLISH = "what time is it"


class Words:
    """Knows the two sentences above, and is in doubt about everything else."""

    async def probabilities(self, text: str, ours: Iterable[str]) -> Mapping[str, float]:
        known = {GERMAN: "de", ENGLISH: "en"}.get(text)
        return {"en": 0.5, "de": 0.5} | ({} if known is None else {"en": 0.05, "de": 0.05, known: 0.95})


async def turns(s: Scene, count: int) -> None:
    s.conversation.listen("auto")
    for _ in range(count):
        await s.say()
        await s.device.until("stop", s.device.count("stop") + 1)
        await s.idle()


def heard(text: str, language: str | None = None) -> Transcript:
    return Transcript(text, final=True, language=language)


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("eager_ms", [0, 180])
@pytest.mark.parametrize("streaming", [True, False])
async def test_each_utterance_is_answered_in_its_own_language(
    told: bool, eager_ms: int, streaming: bool
) -> None:
    stt = ScriptedStt(
        heard(GERMAN, "de" if told else None), heard(ENGLISH, "en" if told else None), streaming=streaming
    )
    llm, tts = ScriptedLlm(["Es ist drei Uhr."], ["It is three o'clock."]), ToneTts()
    voice = VoiceSettings(preemptive_silence_ms=eager_ms)
    async with scene(services(stt=stt, llm=llm, tts=tts, voice=voice, languages=Words())) as s:
        await turns(s, 2)
        assert llm.languages == ["de", "en"]
        assert tts.voices == [("de", None), ("en", None)]


async def test_who_is_not_sure_stays() -> None:
    stt = ScriptedStt(GERMAN, "ok", "Alexa")
    llm, tts = ScriptedLlm(["Gut."]), ToneTts()
    async with scene(services(stt=stt, llm=llm, tts=tts, languages=Words())) as s:
        await turns(s, 3)
        assert llm.languages == ["de", "de", "de"]


async def test_who_finds_out_the_language_is_not_hinted_and_others_follow_the_conversation() -> None:
    for detects, hints in ((None, [None, None]), (frozenset[str](), ["en", "de"])):
        stt = ScriptedStt(heard(GERMAN, "de"), detects=detects)
        async with scene(services(stt=stt, voice=VoiceSettings(preemptive_silence_ms=0))) as s:
            await turns(s, 2)
            assert stt.languages == hints


async def test_a_chinese_device_is_spoken_to_in_vietnamese() -> None:
    stt = ScriptedStt("mấy giờ rồi", "ok", "现在几点")
    llm, tts = ScriptedLlm(["Ba giờ."], ["Vâng ạ."], ["三点。"]), ToneTts()
    agent = AgentSettings(voice="zh-CN-XiaoxiaoNeural")
    async with scene(services(stt=stt, llm=llm, tts=tts, agent=agent), language="zh-CN") as s:
        await turns(s, 3)
        assert llm.languages == ["vi", "vi", "zh-CN"]
        assert tts.voices == [("vi", None), ("vi", None), ("zh-CN", "zh-CN-XiaoxiaoNeural")]


async def test_an_apology_is_in_the_language_of_the_question() -> None:
    llm = ScriptedLlm([ProviderUnavailable("llm", "down")])
    tts = ToneTts()
    async with scene(services(stt=ScriptedStt(heard(GERMAN, "de")), llm=llm, tts=tts)) as s:
        await turns(s, 1)
        assert s.device.texts("alert") == [apologies("de").failed]
        assert (" ".join(tts.texts), {*tts.voices}) == (apologies("de").failed, {("de", None)})


async def test_a_sentence_in_another_script_is_spoken_by_a_voice_for_it() -> None:
    llm, tts = ScriptedLlm(["In Japanese you say this: ", "おはようございます。", " Try it!"]), ToneTts()
    async with scene(services(llm=llm, tts=tts)) as s:
        await turns(s, 1)
        assert list(zip(tts.texts, tts.voices, strict=True)) == [
            ("In Japanese you say this:", ("en", None)),
            ("おはようございます。", ("ja", None)),
            ("Try it!", ("en", None)),
        ]
        assert llm.languages == ["en"]


async def test_a_voice_that_does_not_know_the_script_is_not_asked_to() -> None:
    llm, tts = ScriptedLlm(["おはようございます。"]), ToneTts(languages=frozenset({"en"}))
    async with scene(services(llm=llm, tts=tts)) as s:
        await turns(s, 1)
        assert tts.voices == [("en", None)]


async def test_a_model_of_one_language_is_spoken_in_that_one() -> None:
    llm = ScriptedLlm([TextDelta("I only speak English.", language="en")])
    stt, tts = ScriptedStt(heard(GERMAN, "de")), ToneTts()
    async with scene(services(stt=stt, llm=llm, tts=tts)) as s:
        await turns(s, 1)
        assert (llm.languages, tts.voices) == (["de"], [("en", None)])


async def test_where_one_language_is_ever_heard_words_change_nothing() -> None:
    stt = ScriptedStt(GERMAN, heard("mehr Licht bitte", "de"))
    stt.capabilities = SttCapabilities(streaming=True, languages=frozenset({"de"}))
    llm = ScriptedLlm(["Ok."])
    async with scene(services(stt=stt, llm=llm, languages=Words())) as s:
        await turns(s, 2)
        assert llm.languages == ["en", "de"]


async def test_an_agent_with_a_language_of_its_own_never_changes_it() -> None:
    stt = ScriptedStt(heard(ENGLISH, "en"), "おはようございます", detects=None)
    llm, tts = ScriptedLlm(["Es ist drei Uhr."], ["Guten Morgen."]), ToneTts()
    agent = AgentSettings(language="de", voice={"de": "Katja", "en": "Ava"}, prompt="Speak {{ language }}.")
    with_agent = services(
        stt=stt,
        llm=llm,
        tts=tts,
        agent=agent,
        voice=VoiceSettings(preemptive_silence_ms=0),
        languages=Words(),
    )
    async with scene(with_agent, language="de") as s:
        await turns(s, 2)
        assert stt.languages == ["de", "de"]
        assert llm.languages == ["de", "de"]
        assert tts.voices == [("de", "Katja"), ("de", "Katja")]
        assert [request[0].content for request in llm.requests] == ["Speak de.", "Speak de."]


async def test_the_agents_voice_and_prompt_follow_the_language() -> None:
    stt = ScriptedStt(heard(GERMAN, "de"), heard(ENGLISH, "en"))
    llm, tts = ScriptedLlm(["Es ist drei Uhr."], ["It is three."]), ToneTts()
    agent = AgentSettings(voice={"de": "Katja", "en": "Ava"}, prompt="Speak {{ language }}.")
    async with scene(services(stt=stt, llm=llm, tts=tts, agent=agent)) as s:
        await turns(s, 2)
        assert tts.voices == [("de", "Katja"), ("en", "Ava")]
        assert [request[0].content for request in llm.requests] == ["Speak de.", "Speak en."]


@pytest.mark.parametrize("preemptive_ms", [0, 240], ids=["at the end", "at a pause"])
async def test_the_model_is_told_how_the_user_sounds(preemptive_ms: int) -> None:
    angry = Transcript("Where is my coffee?", final=True, language="en", emotion="angry")
    stt, llm = ScriptedStt(angry, heard(ENGLISH, "en")), ScriptedLlm(["At once."], ["It is three."])
    agent = AgentSettings(prompt="{% if user.emotion %}They sound {{ user.emotion }}.{% endif %}")
    settings = VoiceSettings(preemptive_silence_ms=preemptive_ms)
    async with scene(services(stt=stt, llm=llm, agent=agent, voice=settings)) as s:
        await turns(s, 2)
        told = [
            [message.content for message in request if message.role == "system"] for request in llm.requests
        ]
        assert told == [["They sound angry."], []]
