"""Time-outs, retries, error kinds and metrics around every request."""

import asyncio
from contextlib import aclosing

import pytest

from mimi_mqtt.errors import (
    ProviderBadAnswer,
    ProviderError,
    ProviderNotConfigured,
    ProviderRateLimited,
    ProviderRefused,
    ProviderTimeout,
    ProviderUnavailable,
)
from mimi_mqtt.providers.runtime.resilience import MAX_BACKOFF_S, Limits, error_kind, resilient, retry_delay
from tests.unit.providers.fakes import FAST, HANG, IMPATIENT, Script, collect, metric

DOWN = ProviderUnavailable("fake", "down")


async def run(script: Script[str], limits: Limits = FAST, name: str = "fake") -> list[str]:
    return await collect(resilient(script.play, role="llm", name=name, limits=limits))


async def test_a_retryable_failure_is_tried_again() -> None:
    script = Script[str]([DOWN], ["a", "b"])
    assert await run(script) == ["a", "b"]
    assert script.closed == 2


async def test_tries_are_bounded() -> None:
    script = Script[str]([DOWN])
    with pytest.raises(ProviderUnavailable):
        await run(script, Limits(5.0, retries=3, backoff_s=0))
    assert script.played == 4


async def test_nothing_is_repeated_once_a_part_was_delivered() -> None:
    script = Script[str](["a", DOWN], ["a", "b"])
    with pytest.raises(ProviderUnavailable):
        await run(script)
    assert script.played == 1


@pytest.mark.parametrize(
    "error",
    [
        ProviderRefused("fake", "wrong key"),
        ProviderBadAnswer("fake", "nonsense"),
        ProviderNotConfigured("fake", "no key"),
    ],
)
async def test_what_a_retry_cannot_mend_is_not_repeated(error: ProviderError) -> None:
    script = Script[str]([error])
    with pytest.raises(type(error)):
        await run(script)
    assert script.played == 1


async def test_silence_before_the_first_part_times_out() -> None:
    with pytest.raises(ProviderTimeout):
        await run(Script[str]([HANG]), IMPATIENT)


async def test_silence_between_parts_times_out() -> None:
    script = Script[str](["a", HANG])
    parts = resilient(script.play, role="llm", name="fake", limits=IMPATIENT)
    assert await anext(parts) == "a"
    with pytest.raises(ProviderTimeout):
        await anext(parts)
    assert script.closed == 1


async def test_after_a_time_out_nobody_waits_as_long_again() -> None:
    script = Script[str]([HANG], ["a"])
    with pytest.raises(ProviderTimeout):
        await run(script, Limits(timeout_s=0.05, retries=1, backoff_s=0))
    assert script.played == 1


@pytest.mark.parametrize(
    ("stray", "expected"),
    [
        (ConnectionResetError("gone"), ProviderUnavailable),
        (TimeoutError(), ProviderTimeout),
        (KeyError("choices"), ProviderBadAnswer),
        (RuntimeError("secret words"), ProviderBadAnswer),
    ],
)
async def test_stray_exceptions_become_provider_errors(
    stray: Exception, expected: type[ProviderError]
) -> None:
    with pytest.raises(expected) as caught:
        await run(Script[str]([stray]), IMPATIENT)
    assert caught.value.provider == "fake"
    assert "secret" not in str(caught.value)


async def test_cancellation_passes_through_and_closes_the_vendor() -> None:
    script = Script[str]([HANG])
    task = asyncio.create_task(run(script))
    await script.hanging.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (script.played, script.closed) == (1, 1)


async def test_a_reader_that_stops_early_closes_the_vendor() -> None:
    script = Script[str](["a", "b"])
    async with aclosing(resilient(script.play, role="llm", name="fake", limits=FAST)) as parts:
        assert await anext(parts) == "a"
    assert script.closed == 1


def test_the_pause_before_a_retry_grows_and_is_bounded() -> None:
    limits = Limits(timeout_s=15, retries=20, backoff_s=0.25)
    delays = [retry_delay(DOWN, tries, limits) for tries in range(1, 21)]
    assert all(delay is not None and 0 < delay <= MAX_BACKOFF_S for delay in delays)
    first, last = delays[0], delays[-1]
    assert first is not None
    assert last is not None
    assert first <= 0.25 < MAX_BACKOFF_S / 2 <= last


def test_retry_after_is_kept_to_unless_it_is_too_long() -> None:
    limits = Limits(timeout_s=10, retries=1)
    assert retry_delay(ProviderRateLimited("fake", "slow down", 3.0), 1, limits) == 3.0
    assert retry_delay(ProviderRateLimited("fake", "slow down", 60.0), 1, limits) is None
    assert retry_delay(ProviderRateLimited("fake", "slow down"), 1, limits) is not None


async def test_requests_errors_and_first_results_are_counted() -> None:
    name = "counted"
    requests = metric("mimi_provider_requests_total", role="llm", name=name)
    errors = metric("mimi_provider_errors_total", role="llm", name=name, kind="unavailable")
    results = metric("mimi_provider_first_result_seconds_count", role="llm", name=name)
    await run(Script[str]([DOWN], ["a", "b"]), name=name)
    assert metric("mimi_provider_requests_total", role="llm", name=name) == requests + 2
    assert metric("mimi_provider_errors_total", role="llm", name=name, kind="unavailable") == errors + 1
    assert metric("mimi_provider_first_result_seconds_count", role="llm", name=name) == results + 1


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ProviderNotConfigured("x", ""), "not_configured"),
        (ProviderRefused("x", ""), "refused"),
        (ProviderRateLimited("x", ""), "rate_limited"),
        (ProviderTimeout("x", ""), "timeout"),
        (ProviderUnavailable("x", ""), "unavailable"),
        (ProviderBadAnswer("x", ""), "bad_answer"),
        (ProviderError("x", ""), "other"),
    ],
)
def test_every_kind_of_error_has_a_label(error: ProviderError, kind: str) -> None:
    assert error_kind(error) == kind
