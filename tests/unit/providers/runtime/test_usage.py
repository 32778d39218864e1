"""Usage of each provider, and its cost by the price table."""

import numpy as np
import pytest

from mimi_mqtt.config.voice import PriceSettings, ProviderSettings
from mimi_mqtt.errors import ConfigError, ProviderError, ProviderUnavailable
from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.providers.contract.chat import ChatMessage, TextDelta, Usage
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.runtime.usage import UsageMeter, count_speech_tokens, metering
from mimi_mqtt.store.turn_record import ProviderUse
from tests.unit.providers.fakes import IMPATIENT, FakeLlm, FakeStt, FakeTts, chunk, collect, metric

QUESTION = (ChatMessage("user", "hello"),)
DOWN = ProviderUnavailable("paid", "down")


def cost(role: str, name: str) -> float:
    return metric("mimi_provider_cost_total", role=role, name=name)


async def test_tokens_cost_by_direction() -> None:
    llm = FakeLlm([TextDelta("hi"), Usage(2_000, 500)], name="paid-llm")
    llm.price = PriceSettings(input_per_million=0.4, output_per_million=1.6)
    await collect(llm.chat(QUESTION))
    assert cost("llm", "paid-llm") == pytest.approx(0.0008 + 0.0008)


async def test_audio_costs_by_the_minute_once_however_often_it_was_tried() -> None:
    stt = FakeStt([DOWN], [Transcript("hello", final=True)], name="paid-stt")
    stt.price = PriceSettings(per_minute=0.006)
    utterance = stt.open(max_s=60)
    utterance.push(np.zeros(16_000 * 30, np.int16))
    await utterance.finish()
    await utterance.aclose()
    assert metric("mimi_provider_audio_seconds_total", name="paid-stt") == pytest.approx(30)
    assert cost("stt", "paid-stt") == pytest.approx(0.003)


async def test_characters_cost_when_they_are_spoken() -> None:
    tts = FakeTts([chunk(1), chunk(2)], name="paid-tts")
    tts.price = PriceSettings(per_million_characters=15)
    await collect(tts.speak("hello"))
    assert metric("mimi_provider_characters_total", name="paid-tts") == 5
    assert cost("tts", "paid-tts") == pytest.approx(75e-6)


async def test_a_request_that_fails_costs_nothing() -> None:
    tts = FakeTts([DOWN], name="failing-tts", limits=IMPATIENT)
    tts.price = PriceSettings(per_million_characters=15)
    with pytest.raises(ProviderError):
        await collect(tts.speak("hello"))
    assert cost("tts", "failing-tts") == 0


def test_audio_tokens_without_a_price_of_their_own_cost_as_others() -> None:
    price = PriceSettings(input_per_million=1, output_per_million=2)
    count_speech_tokens("paid-s2s", heard=(10, 30), said=(20, 40), price=price)
    assert cost("s2s", "paid-s2s") == pytest.approx((40 * 1 + 60 * 2) / 1e6)
    for direction, tokens in {"input": 10, "input_audio": 30, "output": 20, "output_audio": 40}.items():
        assert metric("mimi_provider_tokens_total", name="paid-s2s", direction=direction) == tokens


def test_a_price_is_a_providers_or_of_one_label() -> None:
    settings = ProviderSettings.model_validate(
        {"prices": {"offline": {"per_minute": 1}, "offline:house": {"per_minute": 2}}}
    )
    prices = {}
    for name in ("offline", "offline:house", "offline:other"):
        price = registry.build("stt", settings.model_copy(update={"stt": (name,)}), {}).price
        prices[name] = price and price.per_minute
    assert prices == {"offline": 1, "offline:house": 2, "offline:other": 1}
    assert registry.build("stt", ProviderSettings(stt=("offline",)), {}).price is None


def test_a_price_of_nobody_is_a_mistake() -> None:
    settings = ProviderSettings(prices={"opanai": PriceSettings()})
    with pytest.raises(ConfigError, match=r"providers.prices.opanai.*did you mean openai"):
        registry.build("llm", settings, {})


async def test_a_meter_has_what_was_used_inside_and_by_tasks_begun_there() -> None:
    llm = FakeLlm([TextDelta("hi"), Usage(2_000, 500)], [TextDelta("ho"), Usage(10, 5)], name="metered-llm")
    llm.price = PriceSettings(input_per_million=1)
    stt = FakeStt([DOWN], [Transcript("hello", final=True)], name="metered-stt")
    meter, other = UsageMeter(), UsageMeter()
    with metering(meter):
        utterance = stt.open(max_s=60)
        utterance.push(np.zeros(16_000 * 30, np.int16))  # begins the task that transcribes
        await collect(llm.chat(QUESTION))
    await utterance.finish()
    await utterance.aclose()
    with metering(other):
        await collect(llm.chat(QUESTION))
    uses = {use.role: use for use in meter.uses}
    assert uses["stt"] == ProviderUse("stt", "metered-stt", audio_s=30.0)
    assert uses["llm"].input_tokens == 2_000
    assert uses["llm"].cost == pytest.approx(0.002)
    meter.take(other)
    assert next(use for use in meter.uses if use.role == "llm").output_tokens == 505


async def test_a_provider_without_counts_is_named_and_one_that_failed_is_not() -> None:
    meter = UsageMeter()
    with metering(meter):
        await collect(FakeLlm([TextDelta("hi")], name="plain-llm").chat(QUESTION))
        with pytest.raises(ProviderError):
            await collect(FakeTts([DOWN], name="failing-tts", limits=IMPATIENT).speak("hello"))
    assert meter.uses == (ProviderUse("llm", "plain-llm"),)
