"""The limit of open files, and the connections that it allows."""

import asyncio
import errno
import logging
import resource

import pytest

from mimi_mqtt import descriptors
from mimi_mqtt.config import Settings
from mimi_mqtt.descriptors import RESERVE, TOLD_EVERY_S, AcceptFailures, needed, provide


class Limit:
    """The process's limit, as `resource` has it."""

    def __init__(self, soft: int, hard: int) -> None:
        self.now = (soft, hard)

    def get(self, which: int) -> tuple[int, int]:
        assert which == resource.RLIMIT_NOFILE
        return self.now

    def set(self, which: int, now: tuple[int, int]) -> None:
        assert which == resource.RLIMIT_NOFILE
        self.now = now


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Limit:
    limit = Limit(1024, 1_048_576)
    monkeypatch.setattr(resource, "getrlimit", limit.get)
    monkeypatch.setattr(resource, "setrlimit", limit.set)
    return limit


def test_soft_limit_is_raised_to_what_the_settings_need(limit: Limit) -> None:
    settings = Settings()
    assert provide(settings) == (settings.mqtt, settings.http)
    assert limit.now == (needed(settings), 1_048_576)


def test_limit_that_is_high_enough_stays(limit: Limit) -> None:
    limit.now = (100_000, 100_000)
    settings = Settings()
    assert provide(settings) == (settings.mqtt, settings.http)
    assert limit.now == (100_000, 100_000)


def test_unlimited_needs_nothing(limit: Limit) -> None:
    limit.now = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    assert provide(Settings()) == (Settings().mqtt, Settings().http)


def test_low_hard_limit_lowers_the_connections_and_says_so(
    limit: Limit, caplog: pytest.LogCaptureFixture
) -> None:
    limit.now = (256, 1024)
    settings = Settings()
    with caplog.at_level(logging.WARNING):
        mqtt, http = provide(settings)
    assert limit.now == (1024, 1024)
    assert mqtt.max_connections + mqtt.max_pending_connects + http.max_connections <= 1024 - RESERVE
    assert mqtt.max_connections > 400
    assert mqtt.max_pending_connects >= 16
    assert http.max_connections >= 16
    assert "LimitNOFILE" in caplog.text
    assert str(needed(settings)) in caplog.text
    assert mqtt.keepalive_s == settings.mqtt.keepalive_s


def test_few_connections_stay_however_low_the_limit(limit: Limit) -> None:
    limit.now = (64, 64)
    mqtt, http = provide(Settings())
    assert (mqtt.max_connections, mqtt.max_pending_connects, http.max_connections) == (16, 16, 16)


def test_limit_that_can_not_be_raised_is_used_as_it_is(
    limit: Limit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(which: int, now: tuple[int, int]) -> None:
        raise PermissionError(errno.EPERM, "not permitted")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    mqtt, _ = provide(Settings())
    assert mqtt.max_connections < 1024
    assert "can't be raised" in caplog.text


def test_system_that_takes_less_than_the_hard_limit_is_asked_for_less(
    limit: Limit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """macOS: no hard limit, and EINVAL beyond kern.maxfilesperproc."""
    limit.now = (256, resource.RLIM_INFINITY)
    set_limit = resource.setrlimit

    def refuse_many(which: int, now: tuple[int, int]) -> None:
        if now[0] > 10_240:
            raise ValueError("current limit exceeds maximum limit")
        set_limit(which, now)

    monkeypatch.setattr(resource, "setrlimit", refuse_many)
    mqtt, _ = provide(Settings())
    assert 5_000 < limit.now[0] <= 10_240
    assert mqtt.max_connections > 3_000


async def test_sockets_that_can_not_be_accepted_make_one_line_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 0.0
    failures = AcceptFailures(lambda: now)
    loop = asyncio.get_running_loop()
    report = {
        "message": "socket.accept() out of system resource",
        "exception": OSError(errno.EMFILE, "Too many open files"),
    }
    for _ in range(1000):
        failures(loop, report)
    assert len(caplog.records) == 1
    assert "ulimit -n" in caplog.text
    assert caplog.records[0].exc_info is None
    now = TOLD_EVERY_S
    failures(loop, report)
    assert "(1000 tries)" in caplog.records[1].message


async def test_other_reports_of_the_loop_are_logged_as_ever(caplog: pytest.LogCaptureFixture) -> None:
    AcceptFailures()(asyncio.get_running_loop(), {"message": "a task failed", "exception": ValueError("x")})
    assert "a task failed" in caplog.text


async def test_words_of_asyncio_are_those_that_are_looked_for() -> None:
    source = asyncio.selector_events.__file__
    with open(source, encoding="utf-8") as file:  # noqa: ASYNC230, PTH123
        assert descriptors._NO_DESCRIPTOR in file.read()
