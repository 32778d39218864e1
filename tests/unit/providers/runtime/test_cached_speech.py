"""A provider behind the speech cache: which phrases are kept, and for whom."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from pydantic import SecretStr

from mimi_mqtt.audio import Pcm
from mimi_mqtt.config.voice import ProviderSettings
from mimi_mqtt.errors import ProviderUnavailable
from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.providers.contract.tts import TextToSpeech, VoiceOptions
from mimi_mqtt.providers.runtime.cached_speech import CachedSpeech
from mimi_mqtt.providers.runtime.fallback import TtsChain
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.providers.runtime.speech_cache import SpeechCache
from mimi_mqtt.providers.vendors.edge.tts import EdgeTextToSpeech
from mimi_mqtt.providers.vendors.elevenlabs.tts import ElevenLabs, ElevenLabsOptions
from mimi_mqtt.providers.vendors.offline.espeak_engine import Engine
from mimi_mqtt.providers.vendors.offline.tts import Espeak
from tests.unit.providers.fakes import HANG, FakeTts, chunk, collect

DOWN = ProviderUnavailable("fake", "down")
ONCE = Limits(timeout_s=5.0, retries=0)


@pytest.fixture
async def cache(tmp_path: Path) -> AsyncIterator[SpeechCache]:
    opened = SpeechCache(tmp_path, 1_000_000)
    await opened.start()
    yield opened
    await opened.aclose()


async def say(tts: TextToSpeech, text: str, voice: VoiceOptions | None = None) -> list[int]:
    return [int(sample) for part in await collect(tts.speak(text, voice)) for sample in part.pcm]


async def test_a_phrase_is_made_twice_and_then_kept(cache: SpeechCache) -> None:
    inner = FakeTts([chunk(1), chunk(2)])
    tts = CachedSpeech(inner, cache)
    assert [await say(tts, "Okay.") for _ in range(4)] == [[1, 2]] * 4
    assert inner.script.played == 2


async def test_a_fixed_phrase_is_made_once(cache: SpeechCache) -> None:
    greeting = "Hello! " * 20
    cache.always([greeting])
    inner = FakeTts([chunk(1)])
    tts = CachedSpeech(inner, cache)
    assert [await say(tts, greeting) for _ in range(3)] == [[1]] * 3
    assert inner.script.played == 1


async def test_a_long_sentence_is_never_kept(cache: SpeechCache) -> None:
    inner = FakeTts([chunk(1)])
    tts = CachedSpeech(inner, cache)
    for _ in range(3):
        await say(tts, "a" * 61)
    assert inner.script.played == 3


@pytest.mark.parametrize(
    "other",
    [VoiceOptions("de"), VoiceOptions("en", "coral"), VoiceOptions("en", None, 1.2)],
    ids=["language", "voice", "speed"],
)
async def test_another_voice_has_phrases_of_its_own(cache: SpeechCache, other: VoiceOptions) -> None:
    cache.always(["Okay."])
    inner = FakeTts([chunk(1)], [chunk(2)])
    tts = CachedSpeech(inner, cache)
    assert await say(tts, "Okay.") == [1]
    assert await say(tts, "Okay.", other) == [2]
    assert await say(tts, "Okay.") == [1]


async def test_another_provider_has_phrases_of_its_own(cache: SpeechCache) -> None:
    cache.always(["Okay."])
    assert await say(CachedSpeech(FakeTts([chunk(1)], name="one"), cache), "Okay.") == [1]
    assert await say(CachedSpeech(FakeTts([chunk(2)], name="two"), cache), "Okay.") == [2]


def test_options_that_change_the_sound_count_and_keys_do_not(tmp_path: Path) -> None:
    cache = SpeechCache(tmp_path, 1)

    def key(options: ElevenLabsOptions) -> str:
        tts = CachedSpeech(ElevenLabs("elevenlabs", options, ONCE), cache)
        return tts._key("Okay.", VoiceOptions())

    first = key(ElevenLabsOptions(api_key=SecretStr("one")))
    assert key(ElevenLabsOptions(api_key=SecretStr("two"))) == first
    assert key(ElevenLabsOptions(api_key=SecretStr("one"), tts_voice="other")) != first
    assert key(ElevenLabsOptions(api_key=SecretStr("one"), tts_stability=0.5)) != first


async def test_a_kept_phrase_is_heard_when_the_vendor_is_dead(cache: SpeechCache) -> None:
    cache.always(["Okay."])
    tts = CachedSpeech(FakeTts([chunk(1)], [DOWN], limits=ONCE), cache)
    await say(tts, "Okay.")
    assert await say(tts, "Okay.") == [1]
    with pytest.raises(ProviderUnavailable):
        await say(tts, "Something else.")


async def test_half_a_phrase_is_not_kept(cache: SpeechCache) -> None:
    cache.always(["Okay."])
    inner = FakeTts([chunk(1), DOWN], [chunk(1), HANG], [chunk(1), chunk(2)], limits=ONCE)
    tts = CachedSpeech(inner, cache)
    with pytest.raises(ProviderUnavailable):
        await say(tts, "Okay.")
    async with aclosing(tts.speak("Okay.")) as chunks:
        await anext(chunks)
    assert await say(tts, "Okay.") == [1, 2]
    assert inner.script.played == 3


async def test_the_first_chunk_does_not_wait_for_the_rest(cache: SpeechCache) -> None:
    cache.always(["Okay."])
    tts = CachedSpeech(FakeTts([chunk(1), DOWN], limits=ONCE), cache)
    async with aclosing(tts.speak("Okay.")) as chunks:
        assert [int(sample) for sample in (await anext(chunks)).pcm] == [1]


async def test_a_text_without_words_asks_nobody(cache: SpeechCache) -> None:
    inner = FakeTts([chunk(1)])
    assert await say(CachedSpeech(inner, cache), "…") == []
    assert inner.script.played == 0


async def test_it_starts_checks_and_closes_its_provider(cache: SpeechCache) -> None:
    inner = FakeTts([chunk(1)], name="one", languages=frozenset({"vi"}))
    tts = CachedSpeech(inner, cache)
    await tts.start()
    assert "speech" in await tts.check()
    await tts.aclose()
    assert (inner.started, inner.closed) == (1, 1)
    assert (tts.name, tts.capabilities.languages) == ("one", frozenset({"vi"}))
    assert await collect(tts._synthesize("Okay.", VoiceOptions()))


async def test_the_registry_puts_it_before_every_voice(cache: SpeechCache) -> None:
    key = {"ELEVENLABS_API_KEY": "x"}
    chain = registry.build("tts", ProviderSettings(), key, cache)
    assert isinstance(chain, TtsChain)
    for name in ("edge", "offline"):
        assert isinstance(registry.build("tts", ProviderSettings(tts=(name,)), {}, cache), CachedSpeech)
    assert isinstance(registry.build("tts", ProviderSettings(tts=("edge",)), {}), EdgeTextToSpeech)


async def test_three_hundred_greetings_of_the_offline_voice_at_once_are_one_synthesis(
    cache: SpeechCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    greeting = "Hello there."
    cache.always([greeting])
    spoken: list[str] = []
    speak = Espeak._speak

    def counted(self: Espeak, engine: Engine, text: str, language: str, voice: VoiceOptions) -> Pcm:
        spoken.append(text)
        return speak(self, engine, text, language, voice)

    monkeypatch.setattr(Espeak, "_speak", counted)
    tts = registry.build("tts", ProviderSettings(tts=("offline",)), {}, cache)
    await tts.start()
    try:
        heard = await asyncio.gather(*(say(tts, greeting) for _ in range(300)))
        assert await say(tts, greeting) == heard[0]
    finally:
        await tts.aclose()
    assert spoken == [greeting]
    assert heard[0]
    assert all(samples == heard[0] for samples in heard)


async def test_requests_that_come_in_between_hear_the_phrase_from_its_beginning(cache: SpeechCache) -> None:
    cache.always(["Okay."])
    inner = FakeTts([chunk(1), HANG])
    tts = CachedSpeech(inner, cache)
    async with aclosing(tts.speak("Okay.")) as first, aclosing(tts.speak("Okay.")) as second:
        await anext(first)
        await inner.script.hanging.wait()
        assert [int(sample) for sample in (await anext(second)).pcm] == [1]
    assert inner.script.played == 1


async def test_a_request_that_leaves_does_not_end_the_synthesis_of_the_others(cache: SpeechCache) -> None:
    cache.always(["Okay."])
    inner = FakeTts([chunk(1), HANG], [chunk(2)])
    tts = CachedSpeech(inner, cache)
    staying = tts.speak("Okay.")
    async with aclosing(tts.speak("Okay.")) as leaving:
        await anext(leaving)
        await anext(staying)
    assert inner.script.closed == 0
    await staying.aclose()
    assert inner.script.closed == 1
    assert await say(tts, "Okay.") == [2]


async def test_a_request_cancelled_before_it_was_made_leaves_the_phrase_to_the_next(
    cache: SpeechCache,
) -> None:
    cache.always(["Okay."])
    tts = CachedSpeech(FakeTts([chunk(1)]), cache)
    asking = asyncio.create_task(say(tts, "Okay."))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])
    assert await say(tts, "Okay.") == [1]


async def test_a_failure_is_told_to_all_who_wait_and_the_next_request_tries_again(cache: SpeechCache) -> None:
    cache.always(["Okay."])
    inner = FakeTts([chunk(1), DOWN], [chunk(2)], limits=ONCE)
    tts = CachedSpeech(inner, cache)
    failures = await asyncio.gather(*(say(tts, "Okay.") for _ in range(5)), return_exceptions=True)
    assert [type(failure) for failure in failures] == [ProviderUnavailable] * 5
    assert await say(tts, "Okay.") == [2]


async def test_closing_ends_what_is_being_made(cache: SpeechCache) -> None:
    cache.always(["Okay."])
    inner = FakeTts([chunk(1), HANG])
    tts = CachedSpeech(inner, cache)
    asking = asyncio.create_task(say(tts, "Okay."))
    await inner.script.hanging.wait()
    await tts.aclose()
    with pytest.raises(ProviderUnavailable, match="stopped"):
        await asking
    assert inner.script.closed == 1
