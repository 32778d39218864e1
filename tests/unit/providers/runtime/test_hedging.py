"""Hedging: the second is asked when the first is slow; who begins first is heard, the other is stopped."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.errors import ProviderError, ProviderTimeout, ProviderUnavailable
from mimi_mqtt.providers.contract.chat import ChatMessage, ChatOptions, LlmEvent, TextDelta, ToolSpec
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.contract.tts import SpeechChunk, VoiceOptions
from mimi_mqtt.providers.runtime.breaker import DEMOTED_S, DOUBLED, RACES_LOST, Breaker, Pace
from mimi_mqtt.providers.runtime.fallback import LlmChain, SttChain, TtsChain
from mimi_mqtt.providers.runtime.resilience import Limits
from tests import virtual_time
from tests.unit.providers.fakes import HANG, FakeLlm, FakeStt, FakeTts, Hang, chunk, collect, metric, pcm

pytestmark = pytest.mark.virtual_time

HEDGE_S = 0.5
LIMITS = Limits(timeout_s=5.0, retries=0, backoff_s=0.0)
DOWN = ProviderUnavailable("fake", "down")
QUESTION = (ChatMessage("user", "hello"),)


class Late(FakeLlm):
    """Begins after `delay_s`, then says each of its words a second apart; goes on with nobody else's."""

    can_continue = False

    def __init__(self, name: str, delay_s: float, *words: str, fails: bool = False) -> None:
        super().__init__(name=name, limits=LIMITS)
        self.delay_s, self.words, self.fails = delay_s, words, fails
        self.asked_at: list[float] = []
        self.closed_at: list[float] = []

    async def _chat(
        self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec], options: ChatOptions
    ) -> AsyncIterator[LlmEvent]:
        loop = asyncio.get_running_loop()
        self.asked_at.append(loop.time())
        try:
            await asyncio.sleep(self.delay_s)
            for word in self.words:
                yield TextDelta(word)
                await asyncio.sleep(1.0)
            if self.fails:
                raise DOWN
        finally:
            self.closed_at.append(loop.time())


def hedged(*members: FakeLlm) -> LlmChain:
    return LlmChain(members, Breaker(failures=1), hedge_s=HEDGE_S)


async def answer(chain: LlmChain) -> str:
    return "".join(
        event.text for event in await collect(chain.chat(QUESTION)) if isinstance(event, TextDelta)
    )


async def test_the_second_is_not_asked_when_the_first_begins_in_time() -> None:
    first, second = Late("first", 0.4, "a", "b"), Late("second", 0.0, "c")
    assert await answer(hedged(first, second)) == "ab"
    assert second.asked_at == []


async def test_a_slow_first_loses_to_the_second_and_is_closed_at_once() -> None:
    first, second = Late("first", 3.0, "a"), Late("second", 0.1, "b", "c")
    chain = hedged(first, second)
    began = asyncio.get_running_loop().time()
    async with aclosing(chain.chat(QUESTION)) as events:
        assert await anext(events) == TextDelta("b")
        assert first.closed_at == [pytest.approx(began + HEDGE_S + 0.1)]
        assert await collect(events) == [TextDelta("c")]
    assert second.asked_at == [pytest.approx(began + HEDGE_S)]


async def test_a_first_that_begins_after_all_is_heard_and_the_second_is_closed() -> None:
    first, second = Late("first", 0.7, "a", "b"), Late("second", 3.0, "c")
    began = asyncio.get_running_loop().time()
    assert await answer(hedged(first, second)) == "ab"
    assert second.closed_at == [pytest.approx(began + 0.7)]


async def test_two_that_begin_in_the_same_moment_are_one_answer() -> None:
    first, second = Late("first", 1.0, "a", "b"), Late("second", 0.5, "c", "d")
    assert await answer(hedged(first, second)) in ("ab", "cd")
    assert len(first.closed_at) == len(second.closed_at) == 1


async def test_being_slow_is_counted_but_is_no_failure() -> None:
    labels = {"role": "llm", "name": "slow"}
    slow, rival = Late("slow", 3.0, "a"), Late("rival", 0.0, "b")
    chain = hedged(slow, rival)
    hedges, won = metric("mimi_provider_hedges_total", **labels), "mimi_provider_hedges_won_total"
    wins = metric(won, role="llm", name="rival")
    assert await answer(chain) == "b"
    assert metric("mimi_provider_hedges_total", **labels) == hedges + 1
    assert metric(won, role="llm", name="rival") == wins + 1
    assert metric("mimi_provider_resting", **labels) == 0
    slow.delay_s = 0.0
    assert await answer(chain) == "a"


async def asked_for(chain: LlmChain, member: Late, times: int) -> int:
    """How often `member` is asked in so many requests."""
    before = len(member.asked_at)
    for _ in range(times):
        await answer(chain)
    return len(member.asked_at) - before


async def test_one_that_keeps_losing_is_asked_later_and_tried_again_after_a_while() -> None:
    loop = asyncio.get_running_loop()
    labels = {"role": "llm", "name": "ever slow"}
    slow, rival = Late("ever slow", 3.0, "a"), Late("quick", 0.0, "b")
    chain = LlmChain((slow, rival), Breaker(clock=loop.time), hedge_s=HEDGE_S)
    assert await asked_for(chain, slow, 15) == RACES_LOST
    assert metric("mimi_provider_demoted", **labels) == 1
    await asyncio.sleep(DEMOTED_S)
    assert await asked_for(chain, slow, 5) == 1  # one more loss is enough
    await asyncio.sleep(2 * DEMOTED_S)
    slow.delay_s = 0.0
    assert await asked_for(chain, slow, 5) == 5
    assert metric("mimi_provider_demoted", **labels) == 0


def test_the_time_for_which_one_that_is_always_slow_is_asked_later_is_bounded() -> None:
    now = [0.0]
    pace = Pace("llm", "never quick", lambda: now[0])
    for _ in range(RACES_LOST - 1):
        pace.lost()
    for _ in range(2_000):  # some weeks of an hour each
        seconds = pace.lost()
        assert DEMOTED_S <= seconds <= DEMOTED_S * 2**DOUBLED
        now[0] += seconds


async def test_a_race_that_is_won_in_between_keeps_the_first_place() -> None:
    slow, rival = Late("now and then slow", 3.0, "a"), Late("other", 0.0, "b")
    chain = hedged(slow, rival)
    for _ in range(4):
        slow.delay_s = 3.0
        assert await asked_for(chain, slow, RACES_LOST - 1) == RACES_LOST - 1
        slow.delay_s = 0.0
        assert await asked_for(chain, slow, 1) == 1


class LastResort(Late):
    last_resort = True


async def test_the_last_resort_answers_for_none_that_is_only_slow() -> None:
    cloud, last = Late("cloud", 3.0, "a"), LastResort("last", 0.0, "z")
    chain = hedged(cloud, last)
    assert await answer(chain) == "a"
    assert last.asked_at == []


async def test_the_last_resort_answers_for_one_that_fails() -> None:
    assert await answer(hedged(Late("cloud", 0.1, fails=True), LastResort("last", 0.0, "z"))) == "z"


async def test_one_that_keeps_losing_is_asked_after_the_faster_one_and_before_all_others() -> None:
    slow, quick, last = Late("slow", 3.0, "a"), Late("quick", 0.0, "b"), LastResort("last", 0.0, "z")
    chain = hedged(slow, quick, last)
    await asked_for(chain, slow, RACES_LOST)
    quick.fails, quick.words = True, ()
    slow.delay_s = 0.2
    assert await answer(chain) == "a"
    assert last.asked_at == []


async def test_a_failure_after_the_second_was_asked_is_no_lost_race() -> None:
    failing, rival = Late("failing", 0.6, fails=True), Late("rival", 0.3, "b")
    chain = LlmChain((failing, rival), Breaker(failures=99), hedge_s=HEDGE_S)
    assert await asked_for(chain, failing, 6) == 6


async def test_one_that_is_asked_later_answers_when_the_other_is_down() -> None:
    slow, rival = Late("slow but alive", 3.0, "a"), Late("dying", 0.0, "b")
    chain = hedged(slow, rival)
    await asked_for(chain, slow, RACES_LOST)
    rival.words, rival.fails = (), True
    assert await answer(chain) == "a"


async def test_a_first_that_fails_early_gives_way_at_once() -> None:
    first, second = Late("first", 0.1, fails=True), Late("second", 0.0, "b")
    began = asyncio.get_running_loop().time()
    assert await answer(hedged(first, second)) == "b"
    assert second.asked_at == [pytest.approx(began + 0.1)]


async def test_a_first_that_fails_during_the_race_leaves_it_to_the_second() -> None:
    first, second = Late("first", 0.6, fails=True), Late("second", 1.0, "b")
    before = metric("mimi_provider_fallbacks_total", role="llm", name="first")
    assert await answer(hedged(first, second)) == "b"
    assert len(second.asked_at) == 1
    assert metric("mimi_provider_fallbacks_total", role="llm", name="first") == before + 1


async def test_a_second_that_fails_leaves_the_race_to_the_first() -> None:
    assert await answer(hedged(Late("first", 2.0, "a"), Late("second", 0.1, fails=True))) == "a"


async def test_when_both_fail_the_third_is_asked() -> None:
    third = Late("third", 0.0, "c")
    chain = hedged(Late("first", 1.0, fails=True), Late("second", 0.1, fails=True), third)
    assert await answer(chain) == "c"


async def test_when_all_fail_the_error_names_each_once() -> None:
    chain = hedged(Late("first", 1.0, fails=True), Late("second", 0.1, fails=True))
    with pytest.raises(ProviderError) as caught:
        await answer(chain)
    assert str(caught.value).count("down") == 2


async def test_a_first_that_never_begins_is_cancelled_not_timed_out() -> None:
    first = FakeLlm([HANG], name="first", limits=LIMITS)
    before = metric("mimi_provider_errors_total", role="llm", name="first", kind="timeout")
    assert await answer(hedged(first, Late("second", 0.2, "b"))) == "b"
    assert first.script.closed == 1
    assert metric("mimi_provider_errors_total", role="llm", name="first", kind="timeout") == before


async def test_when_neither_begins_both_time_out() -> None:
    chain = hedged(*(FakeLlm([HANG], name=name, limits=LIMITS) for name in ("first", "second")))
    with pytest.raises(ProviderError) as caught:
        await answer(chain)
    assert isinstance(caught.value, ProviderUnavailable | ProviderTimeout)


async def test_a_failure_after_the_first_word_is_raised() -> None:
    chain = hedged(Late("first", 3.0, "a"), Late("second", 0.0, "b", fails=True))
    events = chain.chat(QUESTION)
    assert await anext(events) == TextDelta("b")
    with pytest.raises(ProviderUnavailable):
        await anext(events)


async def test_an_interrupted_race_closes_both() -> None:
    first, second = Late("first", 9.0, "a"), Late("second", 9.0, "b")
    asking = asyncio.create_task(answer(hedged(first, second)))
    await asyncio.sleep(2 * HEDGE_S)
    assert len(second.asked_at) == 1
    asking.cancel()
    await asyncio.wait([asking])
    assert len(first.closed_at) == len(second.closed_at) == 1


async def test_an_answer_that_is_not_read_to_its_end_is_closed() -> None:
    first, second = Late("first", 9.0, "a"), Late("second", 0.0, "b", "c")
    async with aclosing(hedged(first, second).chat(QUESTION)) as events:
        await anext(events)
    assert len(first.closed_at) == len(second.closed_at) == 1


@pytest.mark.parametrize("who", [0, 1])
async def test_a_service_that_acts_is_never_asked_beside_another(who: int) -> None:
    members = [Late("first", 2.0, "a"), Late("second", 0.0, "b")]
    members[who].has_side_effects = True
    chain = hedged(*members)
    assert chain.has_side_effects
    assert await answer(chain) == "a"
    assert members[1].asked_at == []


async def test_a_resting_provider_is_not_asked_as_the_second() -> None:
    first, second = Late("first", 0.0, fails=True), Late("second", 0.0, fails=True)
    chain = hedged(first, second)
    with pytest.raises(ProviderError):
        await answer(chain)
    first.fails, first.words, first.delay_s = False, ("a",), 2.0
    assert await answer(chain) == "a"
    assert len(second.asked_at) == 1


async def test_a_bug_in_a_provider_is_an_error_like_any_other() -> None:
    broken = FakeLlm([RuntimeError("a bug")], name="first", limits=LIMITS)
    assert await answer(hedged(broken, Late("second", 0.0, "b"))) == "b"


_times = st.sampled_from([0.0, 0.1, 0.4, 0.5, 0.6, 1.0, 1.5, 4.0, 9.0])
_plans = st.lists(st.tuples(_times, st.integers(0, 3), st.booleans()), min_size=2, max_size=4)


@given(_plans)
def test_whatever_happens_one_whole_answer_is_heard_or_an_error_and_all_are_closed(
    plans: list[tuple[float, int, bool]],
) -> None:
    members = [
        Late(f"m{index}", delay_s, *(f"{index}" for _ in range(words)), fails=fails)
        for index, (delay_s, words, fails) in enumerate(plans)
    ]

    async def ask() -> None:
        heard = ""
        try:
            async with aclosing(hedged(*members).chat(QUESTION)) as events:
                async for event in events:
                    heard += event.text if isinstance(event, TextDelta) else ""
        except ProviderError:
            assert not any(words and delay_s < 5 and not fails for delay_s, words, fails in plans) or heard
        else:
            assert heard
        assert len(set(heard)) <= 1  # never two answers
        for member in members:
            assert len(member.asked_at) == len(member.closed_at) <= 1

    virtual_time.run(ask())


# ── the other roles ──────────────────────────────────────────────────────────────────────────────────────


async def test_a_slow_voice_loses_to_the_second() -> None:
    first = FakeTts([HANG], name="first", limits=LIMITS)
    second = FakeTts([chunk(1), chunk(2)], name="second", limits=LIMITS)
    chain = TtsChain([first, second], hedge_s=HEDGE_S)
    spoken: list[SpeechChunk] = await collect(chain.speak("hello", VoiceOptions(voice="coral")))
    assert [list(part.pcm) for part in spoken] == [[1], [2]]
    assert second.asked[0][1].voice is None
    assert first.script.closed == 1


class LastVoice(FakeTts):
    last_resort = True


async def test_the_last_resort_speaks_for_a_slow_voice_which_keeps_its_place() -> None:
    first = FakeTts(*[[HANG]] * 10, name="first", limits=LIMITS)
    last = LastVoice([chunk(2)], name="last", limits=LIMITS)
    chain = TtsChain([first, last], hedge_s=HEDGE_S)
    for _ in range(10):
        assert [list(part.pcm) for part in await collect(chain.speak("hello"))] == [[2]]
    assert len(first.asked) == 10


def listener(name: str, *steps: Transcript | BaseException | Hang) -> FakeStt:
    return FakeStt(steps, name=name, limits=LIMITS)


async def test_listening_is_hedged_from_the_end_of_the_audio() -> None:
    first, second = listener("first", HANG), listener("second", Transcript("hello", final=True))
    utterance = SttChain([first, second], hedge_s=HEDGE_S).open()
    utterance.push(pcm(1, 2))
    await asyncio.sleep(10)
    assert second.heard == []
    ended = asyncio.get_running_loop().time()
    assert (await utterance.finish()).text == "hello"
    assert asyncio.get_running_loop().time() == pytest.approx(ended + HEDGE_S)
    assert [[list(piece) for piece in audio] for audio in second.heard] == [[[1, 2]]]
    assert first.script.closed == 1
    await utterance.aclose()


async def test_interim_words_do_not_win_a_race_of_listeners() -> None:
    first = listener("first", Transcript("hel", final=False), HANG)
    second = listener("second", Transcript("he", final=False), Transcript("hello", final=True))
    utterance = SttChain([first, second], hedge_s=HEDGE_S).open()
    utterance.push(pcm(1))
    finishing = asyncio.create_task(utterance.finish())
    await asyncio.sleep(HEDGE_S / 2)
    assert utterance.interim == "hel"
    assert (await finishing).text == "hello"
    await utterance.aclose()
