"""The circuit breaker: when a provider rests, who tries it again, and what metrics show."""

import asyncio
from dataclasses import dataclass

from mimi_mqtt.errors import ProviderNotConfigured, ProviderRateLimited, ProviderUnavailable
from mimi_mqtt.events import EventBus, ProviderEvent, ProviderFailed, ProviderRecovered
from mimi_mqtt.providers.contract.chat import ChatMessage, TextDelta
from mimi_mqtt.providers.runtime.breaker import Breaker, Health
from mimi_mqtt.providers.runtime.fallback import LlmChain
from mimi_mqtt.providers.runtime.resilience import Limits
from tests.unit.providers.fakes import HANG, FakeLlm, collect, metric

DOWN = ProviderUnavailable("shaky", "down")
QUESTION = (ChatMessage("user", "hello"),)
ONE_TRY = Limits(timeout_s=5.0, retries=0, backoff_s=0.0)


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def resting() -> float:
    return metric("mimi_provider_resting", role="llm", name="weak")


def test_a_provider_rests_after_failures_in_a_row_and_metrics_show_it() -> None:
    clock = Clock()
    health = Health("llm", "weak", Breaker(failures=2, rest_s=30, clock=clock))
    assert health.failed(DOWN) == 0
    assert (health.ready, resting()) == (True, 0)
    assert health.failed(DOWN) == 30
    assert (health.ready, resting()) == (False, 1)
    clock.now += 30
    assert (health.ready, resting()) == (True, 1)
    assert health.worked()
    assert (health.ready, resting()) == (True, 0)
    assert not health.worked()


def test_a_rest_and_its_end_are_events_once_each() -> None:
    clock, events = Clock(), EventBus()
    told: list[ProviderEvent] = []
    events.subscribe(told.append, ProviderEvent, name="test")
    health = Health("llm", "weak", Breaker(failures=2, rest_s=30, clock=clock))
    health.events = events
    health.failed(DOWN)
    assert told == []
    for _ in range(3):
        health.failed(DOWN)
    assert [(type(event), event.role, event.name) for event in told] == [(ProviderFailed, "llm", "weak")]
    assert isinstance(told[0], ProviderFailed)
    assert (told[0].kind, told[0].rest_s) == ("ProviderUnavailable", 30)
    for _ in range(2):
        health.worked()
    assert [type(event) for event in told] == [ProviderFailed, ProviderRecovered]


async def test_a_chain_tells_of_its_members() -> None:
    events = EventBus()
    told: list[ProviderEvent] = []
    events.subscribe(told.append, ProviderEvent, name="test")
    weak = FakeLlm([ProviderNotConfigured("weak", "no key")], name="weak", limits=ONE_TRY)
    chain = LlmChain([weak, FakeLlm([TextDelta("yes")], name="strong", limits=ONE_TRY)])
    chain.observe(events)
    assert await collect(chain.chat(QUESTION)) == [TextDelta("yes")]
    assert [(type(event), event.name) for event in told] == [(ProviderFailed, "weak")]


def test_one_request_at_a_time_tries_a_rested_provider() -> None:
    clock = Clock()
    health = Health("llm", "shaky", Breaker(failures=1, rest_s=30, clock=clock))
    health.failed(DOWN)
    clock.now += 30
    with health.trying():
        assert not health.ready
        with health.trying():
            pass
        assert not health.ready
    assert health.ready


def test_any_failure_of_the_trial_rests_the_provider_again() -> None:
    clock = Clock()
    health = Health("llm", "shaky", Breaker(failures=3, rest_s=30, clock=clock))
    assert health.failed(ProviderRateLimited("shaky", "slow down", 60.0)) == 60
    clock.now += 60
    assert health.ready
    assert health.failed(DOWN) == 30
    assert not health.ready


def test_a_provider_that_is_not_configured_rests_at_once() -> None:
    health = Health("llm", "shaky", Breaker(failures=3, rest_s=30, clock=Clock()))
    assert health.failed(ProviderNotConfigured("shaky", "no key")) == 30


def test_a_very_long_retry_after_is_bounded() -> None:
    health = Health("llm", "shaky", Breaker(longest_rest_s=300, clock=Clock()))
    assert health.failed(ProviderRateLimited("shaky", "tomorrow", 86_400.0)) == 300


async def test_while_one_request_tries_a_rested_provider_the_others_do_not_wait_for_it() -> None:
    clock = Clock()
    first = FakeLlm([DOWN], [HANG, TextDelta("first")], name="shaky", limits=ONE_TRY)
    second = FakeLlm([TextDelta("second")], name="steady", limits=ONE_TRY)
    chain = LlmChain([first, second], Breaker(failures=1, rest_s=30, clock=clock))
    await collect(chain.chat(QUESTION))
    clock.now += 30
    trial = asyncio.create_task(collect(chain.chat(QUESTION)))
    await first.script.hanging.wait()
    assert await collect(chain.chat(QUESTION)) == [TextDelta("second")]
    trial.cancel()
    await asyncio.wait([trial])
    # The trial was given up, not failed: the next request tries again.
    first.script.hanging.clear()
    again = asyncio.create_task(collect(chain.chat(QUESTION)))
    await first.script.hanging.wait()
    again.cancel()
    await asyncio.wait([again])
    assert first.script.played == 3
