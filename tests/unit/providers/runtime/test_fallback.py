"""Chains: who is asked, when the next one is, who is rested, and what survives a dead provider."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

import pytest

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import (
    ProviderError,
    ProviderNotConfigured,
    ProviderRateLimited,
    ProviderRefused,
    ProviderUnavailable,
)
from mimi_mqtt.providers.contract.chat import ChatMessage, ChatOptions, LlmEvent, TextDelta
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.contract.stt import SttCapabilities
from mimi_mqtt.providers.contract.tts import VoiceOptions
from mimi_mqtt.providers.runtime.breaker import Breaker
from mimi_mqtt.providers.runtime.fallback import LlmChain, SttChain, TtsChain
from mimi_mqtt.providers.runtime.resilience import Limits
from tests.unit.providers.fakes import IMPATIENT, FakeLlm, FakeStt, FakeTts, chunk, collect, metric, pcm

ONE_TRY = Limits(timeout_s=5.0, retries=0, backoff_s=0.0)
DOWN = ProviderUnavailable("first", "down")
QUESTION = (ChatMessage("user", "hello"),)


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def llm(name: str, *tries: list[LlmEvent | BaseException]) -> FakeLlm:
    return FakeLlm(*tries, name=name, limits=ONE_TRY)


async def answer(chain: LlmChain) -> str:
    events = await collect(chain.chat(QUESTION))
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def two(
    *first: list[LlmEvent | BaseException], clock: Clock | None = None
) -> tuple[LlmChain, FakeLlm, FakeLlm]:
    members = llm("first", *first), llm("second", [TextDelta("second")])
    return LlmChain(members, Breaker(failures=2, rest_s=30, clock=clock or Clock())), *members


async def test_the_first_provider_answers_while_it_works() -> None:
    chain, _, second = two([TextDelta("first")])
    assert await answer(chain) == "first"
    assert second.script.played == 0


@pytest.mark.parametrize(
    "error", [DOWN, ProviderRefused("first", "wrong key"), RuntimeError("a bug"), ConnectionError()]
)
async def test_the_next_provider_answers_when_one_fails(error: Exception) -> None:
    chain, _, _ = two([error])
    before = metric("mimi_provider_fallbacks_total", role="llm", name="first")
    assert await answer(chain) == "second"
    assert metric("mimi_provider_fallbacks_total", role="llm", name="first") == before + 1


async def test_the_next_model_goes_on_with_an_answer_that_was_cut_off() -> None:
    first, second = llm("first", [TextDelta("It is fine "), DOWN]), llm("second", [TextDelta("today.")])
    assert await answer(LlmChain([first, second])) == "It is fine today."
    (asked,) = second.asked
    assert [(message.role, message.content) for message in asked[:2]] == [
        ("user", "hello"),
        ("assistant", "It is fine "),
    ]
    assert asked[2].role == "user"
    assert first.asked == [[*QUESTION]]


async def test_a_model_that_can_not_go_on_is_passed_over() -> None:
    members = [
        llm("first", [TextDelta("a"), DOWN]),
        llm("own mind", [TextDelta("x")]),
        llm("b", [TextDelta("b")]),
    ]
    members[1].can_continue = False  # type: ignore[misc]
    assert await answer(LlmChain(members)) == "ab"
    assert members[1].script.played == 0


async def test_a_failure_after_the_first_word_is_raised_when_nobody_can_go_on() -> None:
    chain, _, second = two([TextDelta("fir"), DOWN])
    second.can_continue = False  # type: ignore[misc]
    answer = chain.chat(QUESTION)
    assert await anext(answer) == TextDelta("fir")
    with pytest.raises(ProviderUnavailable):
        await anext(answer)
    assert second.script.played == 0


@pytest.mark.parametrize(
    ("sentence", "said_ms", "speed", "rest"),
    [
        ("The weather is fine today.", 65 * 14, 1.0, "is fine today."),
        ("The weather is fine today.", 65 * 7, 2.0, "is fine today."),
        ("The weather is fine today.", 100, 1.0, "The weather is fine today."),
        ("The weather is fine today.", 9_000, 1.0, "today."),
        ("今天天气很好。", 65 * 4, 1.0, "今天天气很好。"),
    ],
)
async def test_the_next_voice_says_the_rest_of_a_sentence(
    sentence: str, said_ms: int, speed: float, rest: str
) -> None:
    first, second = (
        FakeTts([chunk(*[1] * (16 * said_ms)), DOWN], name="first", limits=ONE_TRY),
        FakeTts([chunk(2)]),
    )
    chunks = await collect(TtsChain([first, second]).speak(sentence, VoiceOptions("en", "eva", speed)))
    assert len(chunks) == 2
    assert [(text, voice.voice) for text, voice in second.asked] == [(rest, None)]


async def test_when_all_fail_the_error_says_why_for_each() -> None:
    chain = LlmChain([llm("first", [DOWN]), llm("second", [ProviderRefused("second", "wrong key")])])
    with pytest.raises(ProviderError) as caught:
        await answer(chain)
    assert "first: down" in str(caught.value)
    assert "second: wrong key" in str(caught.value)


async def test_a_provider_that_keeps_failing_is_rested_and_then_tried_again() -> None:
    clock = Clock()
    chain, first, _ = two([DOWN], [DOWN], [TextDelta("first")], clock=clock)
    for _ in range(4):
        assert await answer(chain) == "second"
    assert first.script.played == 2
    clock.now += 30
    assert await answer(chain) == "first"


async def test_a_provider_that_fails_after_its_rest_is_rested_at_once() -> None:
    clock = Clock()
    chain, first, _ = two([DOWN], clock=clock)
    await answer(chain)
    await answer(chain)
    clock.now += 30
    await answer(chain)
    await answer(chain)
    assert first.script.played == 3


async def test_failures_that_are_not_in_a_row_do_not_rest_a_provider() -> None:
    chain, first, _ = two([DOWN], [TextDelta("first")], [DOWN], [TextDelta("first")])
    assert [await answer(chain) for _ in range(4)] == ["second", "first", "second", "first"]
    assert first.script.played == 4


async def test_resting_providers_are_asked_when_nobody_else_is_left() -> None:
    chain = LlmChain(
        [llm("first", [DOWN], [TextDelta("first")]), llm("second", [DOWN])],
        Breaker(failures=1, clock=Clock()),
    )
    with pytest.raises(ProviderError):
        await answer(chain)
    assert await answer(chain) == "first"


async def test_a_provider_that_asks_for_time_gets_it() -> None:
    clock = Clock()
    chain, first, _ = two(
        [ProviderRateLimited("first", "slow down", 60.0)], [TextDelta("first")], clock=clock
    )
    await answer(chain)
    clock.now += 59
    assert await answer(chain) == "second"
    clock.now += 1
    assert await answer(chain) == "first"
    assert first.script.played == 2


async def test_an_interrupted_answer_is_no_failure() -> None:
    chain, first, _ = two([DOWN], [TextDelta("a"), TextDelta("b")], [DOWN], [TextDelta("again")])
    await answer(chain)
    async with aclosing(chain.chat(QUESTION)) as events:
        assert await anext(events) == TextDelta("a")
    assert await answer(chain) == "second"
    assert await answer(chain) == "again"
    assert first.script.closed == 4


async def test_start_survives_a_member_that_can_not_start() -> None:
    clock = Clock()
    chain, first, second = two([TextDelta("first")], clock=clock)
    first.start_errors = [ProviderNotConfigured("first", "no key")]
    await chain.start()
    assert (first.started, second.started) == (1, 1)
    assert await answer(chain) == "second"
    clock.now += 30
    assert await answer(chain) == "first"
    assert first.started == 2


async def test_a_member_that_never_gets_started_gives_way() -> None:
    class Slow(FakeLlm):
        async def start(self) -> None:
            await asyncio.Event().wait()

    chain = LlmChain([Slow(name="first", limits=IMPATIENT), llm("second", [TextDelta("second")])])
    assert await answer(chain) == "second"


async def test_start_fails_when_nobody_can_start() -> None:
    chain, first, second = two([TextDelta("first")])
    first.start_errors = [ProviderNotConfigured("first", "no key")]
    second.start_errors = [RuntimeError("broken")]
    with pytest.raises(ProviderNotConfigured) as caught:
        await chain.start()
    assert "no key" in str(caught.value)


async def test_closing_closes_all_even_when_one_fails() -> None:
    class Stubborn(FakeLlm):
        async def aclose(self) -> None:
            raise RuntimeError("won't")

    second = llm("second", [TextDelta("second")])
    chain = LlmChain([Stubborn(name="first"), second])
    await chain.start()
    await chain.aclose()
    assert second.closed == 1


async def test_check_reports_each_and_fails_only_when_none_works() -> None:
    chain, _, _ = two([DOWN])
    said = await chain.check()
    assert "first: down" in said
    assert "second: answered" in said
    with pytest.raises(ProviderError):
        await LlmChain([llm("first", [DOWN]), llm("second", [DOWN])]).check()


async def test_concurrent_requests_start_a_member_once() -> None:
    chain, first, _ = two([TextDelta("first")])
    await asyncio.gather(*(answer(chain) for _ in range(5)))
    assert first.started == 1


# ── speech to text ───────────────────────────────────────────────────────────────────────────────────────


def stt(
    name: str, *tries: list[Transcript | BaseException], languages: frozenset[str] | None = None
) -> FakeStt:
    return FakeStt(*tries, name=name, limits=ONE_TRY, languages=languages)


def heard(text: str) -> list[Transcript | BaseException]:
    return [Transcript(text, final=True)]


async def hear(chain: SttChain, language: str | None = None) -> str:
    utterance = chain.open(language=language)
    try:
        utterance.push(pcm(1, 2))
        utterance.push(pcm(3))
        return (await utterance.finish()).text
    finally:
        await utterance.aclose()


async def test_the_same_audio_is_played_to_the_next_listener() -> None:
    first, second = stt("first", [Transcript("he", final=False), DOWN]), stt("second", heard("hello"))
    assert await hear(SttChain([first, second])) == "hello"
    assert [[list(piece) for piece in audio] for audio in (first.heard[0], second.heard[0])] == [
        [[1, 2], [3]]
    ] * 2


async def test_listeners_that_know_the_language_are_preferred() -> None:
    english = stt("english", heard("hello"), languages=frozenset({"en"}))
    chain = SttChain([english, stt("any", heard("xin chào"))])
    assert await hear(chain, "vi") == "xin chào"
    assert await hear(chain, "en-US") == "hello"


async def test_the_vendor_side_of_a_listening_chain_is_the_chain() -> None:
    async def audio() -> AsyncIterator[Pcm]:
        yield pcm(1)
        yield pcm(2)

    chain = SttChain([stt("first", [DOWN]), stt("second", heard("hello"))])
    assert await collect(chain._transcribe(audio(), None)) == heard("hello")


async def test_a_listening_chain_starts_checks_and_closes_its_members() -> None:
    first, second = stt("first", heard("one")), stt("second", heard("two"))
    chain = SttChain([first, second])
    await chain.start()
    assert "second" in await chain.check()
    await chain.aclose()
    assert [member.started for member in (first, second)] == [1, 1]
    assert [member.closed for member in (first, second)] == [1, 1]


class HeavyStt(FakeStt):
    """A recogniser with a model in memory."""

    standby = True


def heavy(name: str, *, languages: frozenset[str] | None = None, works: bool = True) -> HeavyStt:
    made = HeavyStt(heard(name), name=name, limits=ONE_TRY, languages=languages)
    made.start_errors = [] if works else [ProviderNotConfigured(name, "no model")] * 9
    return made


async def test_a_model_stands_by_while_those_before_it_know_its_languages() -> None:
    english = frozenset({"en"})
    first, second = heavy("first", languages=english), heavy("second", languages=english)
    other = heavy("other")
    chain = SttChain([first, second, other])
    await chain.start()
    assert [member.started for member in (first, second, other)] == [1, 0, 1]


async def test_a_model_that_stands_by_is_started_when_it_is_asked() -> None:
    first, second = stt("first", [DOWN]), heavy("second")
    chain = SttChain([first, second])
    await chain.start()
    assert second.started == 0
    assert await hear(chain) == "second"
    assert second.started == 1


async def test_a_model_stands_by_no_longer_when_one_before_it_does_not_start() -> None:
    first, second = heavy("first", works=False), heavy("second")
    await SttChain([first, second]).start()
    assert second.started == 1


async def test_a_model_is_started_when_those_before_it_know_less_than_they_seemed_to() -> None:
    class LearnsItsLanguages(FakeStt):
        async def start(self) -> None:
            self.capabilities = SttCapabilities(True, frozenset({"en"}))

    first, second = LearnsItsLanguages(heard("first"), name="first", limits=ONE_TRY), heavy("second")
    await SttChain([first, second]).start()
    assert second.started == 1


async def test_a_start_that_takes_longer_than_a_user_waits_is_there_for_the_next_one() -> None:
    class Loads(FakeStt):
        standby = True
        starts = 0

        async def start(self) -> None:
            self.starts += 1
            await loading.wait()

    loading = asyncio.Event()
    slow = Loads(heard("slow"), heard("slow"), name="slow", limits=IMPATIENT)
    chain = SttChain([slow, stt("other", heard("other"))])
    assert await hear(chain) == "other"
    loading.set()
    assert await hear(chain) == "slow"
    assert slow.starts == 1


async def test_the_end_of_a_chain_ends_a_start_that_goes_on() -> None:
    ended = asyncio.Event()

    class Loads(FakeLlm):
        async def start(self) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

    chain = LlmChain([Loads(name="first", limits=IMPATIENT), llm("second", [TextDelta("second")])])
    assert await answer(chain) == "second"
    assert not ended.is_set()
    await chain.aclose()
    assert ended.is_set()


async def test_when_nobody_knows_the_language_all_are_asked() -> None:
    english = stt("english", heard("hello"), languages=frozenset({"en"}))
    assert await hear(SttChain([english, english]), "vi") == "hello"


async def test_a_chain_is_a_listener_to_its_own_kind() -> None:
    inner = SttChain([stt("first", [DOWN]), stt("second", heard("hello"))])
    assert await hear(SttChain([inner, stt("third", heard("third"))])) == "hello"


def test_a_chain_can_what_its_members_can() -> None:
    english, german = frozenset({"en"}), frozenset({"de"})
    chain = SttChain([stt("a", languages=english), stt("b", languages=german)])
    assert chain.capabilities.languages == english | german
    assert chain.capabilities.streaming
    assert SttChain([stt("a", languages=english), stt("b")]).capabilities.languages is None
    assert chain.name == "a+b"


# ── text to speech ───────────────────────────────────────────────────────────────────────────────────────


async def test_a_sentence_moves_to_the_next_voice() -> None:
    first = FakeTts([DOWN], [chunk(1), DOWN], name="first", limits=ONE_TRY)
    second = FakeTts([chunk(2)], name="second", limits=ONE_TRY)
    chain = TtsChain([first, second])
    assert [list(part.pcm) for part in await collect(chain.speak("hello"))] == [[2]]
    assert [list(part.pcm) for part in await collect(chain.speak("hello"))] == [[1], [2]]


async def test_a_sentence_that_no_voice_finishes_is_a_failure() -> None:
    chain = TtsChain([FakeTts([chunk(1), DOWN], name=name, limits=ONE_TRY) for name in "ab"])
    with pytest.raises(ProviderUnavailable):
        await collect(chain.speak("hello"))


async def test_a_named_voice_belongs_to_the_first_provider() -> None:
    first = FakeTts([DOWN], name="first", limits=ONE_TRY)
    second = FakeTts([chunk(2)], name="second", limits=ONE_TRY)
    await collect(TtsChain([first, second]).speak("hello", VoiceOptions("de", voice="coral", speed=1.2)))
    assert first.asked[0][1] == VoiceOptions("de", "coral", 1.2)
    assert second.asked[0][1] == VoiceOptions("de", None, 1.2)


class KnowsItsVoices(FakeTts):
    """A voice model: it has one voice, of a gender."""

    standby = True

    def __init__(self, name: str, voice: str, gender: str = "female", language: str = "en") -> None:
        super().__init__([chunk(1)], name=name, limits=ONE_TRY, languages=frozenset({language}))
        self._voice = voice
        self._gender = gender
        self._language = language

    def has_voice(self, wish: VoiceOptions) -> bool | None:
        named = wish.voice is None or wish.voice == self._voice
        return named and wish.gender in ("", self._gender) and wish.language == self._language


@pytest.mark.parametrize(
    ("wish", "asked"),
    [
        (VoiceOptions("en"), "woman"),
        (VoiceOptions("en", "joe"), "man"),
        (VoiceOptions("en", gender="male"), "man"),
        (VoiceOptions("en", "nobody"), "woman"),
        (VoiceOptions("de", "joe"), "woman"),
    ],
    ids=str,
)
async def test_the_provider_that_has_the_wished_voice_speaks_first(wish: VoiceOptions, asked: str) -> None:
    members = [KnowsItsVoices("woman", "ann"), KnowsItsVoices("man", "joe", "male")]
    await collect(TtsChain(members).speak("hello", wish))
    assert [member.name for member in members if member.asked] == [asked]


async def test_a_voice_that_no_model_has_is_asked_of_the_first_service() -> None:
    model, service = KnowsItsVoices("model", "ann"), FakeTts([chunk(2)], name="service", limits=ONE_TRY)
    wish = VoiceOptions("en", "coral")
    await collect(TtsChain([model, service]).speak("hello", wish))
    assert (service.asked[0][1], model.asked) == (wish, [])


@pytest.mark.parametrize("wish", [VoiceOptions("ja", "af_heart"), VoiceOptions("en", gender="male")], ids=str)
async def test_a_voice_of_the_catalogue_is_asked_of_no_service(wish: VoiceOptions) -> None:
    service, model = FakeTts([chunk(2)], name="service", limits=ONE_TRY), KnowsItsVoices("model", "ann")
    await collect(TtsChain([service, model]).speak("hello", wish))
    assert service.asked[0][1].voice is None


def test_a_chain_has_the_voices_of_its_members_as_far_as_they_are_known() -> None:
    model = KnowsItsVoices("model", "ann")
    assert TtsChain([model]).has_voice(VoiceOptions("en", "ann")) is True
    assert TtsChain([model]).has_voice(VoiceOptions("en", "coral")) is False
    assert TtsChain([model, FakeTts()]).has_voice(VoiceOptions("en", "coral")) is None


async def test_a_voice_model_stands_by_while_one_before_it_speaks_its_language() -> None:
    members = [
        KnowsItsVoices("woman", "ann"),
        KnowsItsVoices("man", "joe", "male"),
        KnowsItsVoices("japanese", "jin", language="ja"),
    ]
    chain = TtsChain(members)
    await chain.start()
    assert [member.started for member in members] == [1, 0, 1]
    await collect(chain.speak("hello", VoiceOptions("en", "joe")))
    assert members[1].started == 1


async def test_a_speaking_chain_starts_checks_and_closes_its_members() -> None:
    members = [FakeTts([chunk(1)], name=name) for name in ("first", "second")]
    chain = TtsChain(members)
    await chain.start()
    assert "second" in await chain.check()
    await chain.aclose()
    assert [(member.started, member.closed) for member in members] == [(1, 1), (1, 1)]


async def test_voices_that_know_the_language_are_preferred() -> None:
    first = FakeTts([chunk(1)], name="first", languages=frozenset({"en"}))
    second = FakeTts([chunk(2)], name="second", languages=frozenset({"vi"}))
    chain = TtsChain([first, second])
    spoken = await collect(chain.speak("xin chào", VoiceOptions("vi")))
    assert [list(part.pcm) for part in spoken] == [[2]]


async def test_a_text_without_words_is_silence_and_says_nothing_of_a_provider() -> None:
    first = FakeTts([DOWN], name="first", limits=ONE_TRY)
    chain = TtsChain([first, FakeTts([chunk(1)])], Breaker(failures=2, clock=Clock()))
    for text in ("hello", "…", "hello", "hello"):
        await collect(chain.speak(text))
    assert await collect(chain.speak("…")) == []
    assert len(first.asked) == 2


async def test_the_vendor_side_of_a_chain_is_the_chain() -> None:
    options = ChatOptions()
    chain, _, _ = two([DOWN])
    assert await collect(chain._chat(QUESTION, (), options)) == [TextDelta("second")]
    voices = TtsChain([FakeTts([chunk(1)])])
    assert len(await collect(voices._synthesize("hello", VoiceOptions()))) == 1


@pytest.mark.parametrize("not_sent", [True, False])
async def test_whoever_acts_is_not_asked_after_another_who_may_have_acted(not_sent: bool) -> None:
    cut = ProviderUnavailable("house", "hung up", not_sent=not_sent)
    house, other_house = llm("house", [cut]), llm("other house", [TextDelta("done twice")])
    house.has_side_effects = other_house.has_side_effects = True
    talker = llm("talker", [TextDelta("who knows")])
    expected = "done twice" if not_sent else "who knows"
    assert await answer(LlmChain([house, other_house, talker])) == expected
    assert other_house.script.played == int(not_sent)


async def test_nobody_is_left_when_all_others_act() -> None:
    house, other_house = llm("house", [DOWN]), llm("other house", [TextDelta("done twice")])
    house.has_side_effects = other_house.has_side_effects = True
    with pytest.raises(ProviderUnavailable, match="down"):
        await answer(LlmChain([house, other_house]))
    assert other_house.script.played == 0


async def test_each_member_is_told_the_language_as_far_as_it_needs_it() -> None:
    finder = FakeStt([ProviderUnavailable("finder", "down")], name="finder", detects=None)
    other = FakeStt([Transcript("hallo", final=True)], name="other")
    chain = SttChain([finder, other])
    utterance = chain.open(language="en", certain=False)
    utterance.push(pcm(1))
    await utterance.finish()
    await utterance.aclose()
    assert (finder.language, other.language) == (None, "en")
