"""Repeated lines are folded, the bytes of a minute are bounded, and nobody's first lines are hidden."""

import io
import logging
from collections.abc import Iterator

import pytest

from mimi_mqtt.log import log_context
from mimi_mqtt.log.bounded import FIRST_LINES, MAX_KINDS, REPEATS, TRACEBACKS, BoundedHandler
from mimi_mqtt.log.formatters import TextFormatter

KB = 1_000
_log = logging.getLogger("mimi_mqtt.attacked")


class Log:
    """A bounded log with a clock of its own."""

    def __init__(self, max_kb: int = 100) -> None:
        self.now = 1_000.0
        self.stream = io.StringIO()
        self.handler = BoundedHandler(self.stream, max_bytes_per_minute=max_kb * KB, clock=lambda: self.now)
        self.handler.setFormatter(TextFormatter())

    def taken(self) -> list[str]:
        """The lines since the last call."""
        text = self.stream.getvalue()
        self.stream.seek(0)
        self.stream.truncate()
        return text.splitlines()

    def minute_later(self) -> list[str]:
        self.now += 61
        self.handler.tell()
        return self.taken()


@pytest.fixture
def log() -> Iterator[Log]:
    yield from _as_root(Log())


@pytest.fixture
def unbounded() -> Iterator[Log]:
    yield from _as_root(Log(max_kb=0))


def _as_root(log: Log) -> Iterator[Log]:
    logging.getLogger().handlers[:] = [log.handler]
    logging.getLogger("mimi_mqtt").setLevel(logging.DEBUG)
    yield log


def _raise(number: int) -> None:
    raise ValueError(f"number {number}")


def _failed(number: int) -> None:
    try:
        _raise(number)
    except ValueError:
        _log.exception("failed", extra={"device": f"d{number}"})


def test_repeated_lines_are_counted_and_told_once_a_minute(log: Log) -> None:
    for port in range(500):
        _log.info("device connected from %s:%d", "10.0.0.1", port, extra={"device": "a"})
    assert len(log.taken()) == REPEATS
    (told,) = log.minute_later()
    assert "… and 480 more like it within a minute: device connected from 10.0.0.1:20" in told
    assert told.endswith("  device=a")
    assert log.minute_later() == []
    _log.info("device connected from %s:%d", "10.0.0.1", 1, extra={"device": "a"})
    assert len(log.taken()) == 1


def test_a_count_names_its_own_device_whoever_makes_it_told(log: Log) -> None:
    for _ in range(REPEATS + 1):
        _log.info("connected", extra={"device": "a"})
    log.taken()
    log.now += 61
    with log_context(device="b", session="of b"):
        _log.info("connected")
    count, own = log.taken()
    assert count.endswith("device=a")
    assert own.endswith('device=b session="of b"')


def test_one_devices_lines_do_not_fold_those_of_another(log: Log) -> None:
    for _ in range(1_000):
        _log.info("connected", extra={"device": "a"})
    log.taken()
    with log_context(device="b"):
        _log.info("connected")
    assert len(log.taken()) == 1


def test_one_clients_lines_do_not_fold_those_of_another_without_a_device(log: Log) -> None:
    for port in range(1_000):
        _log.info("%s %s connected from %s:%d", "tester", "loud", "10.0.0.1", port)
    assert len(log.taken()) == REPEATS
    _log.info("%s %s connected from %s:%d", "tester", "quiet", "10.0.0.1", 1)
    assert len(log.taken()) == 1


def test_lines_of_a_library_that_differ_in_numbers_only_are_folded(log: Log) -> None:
    for number in range(100):
        logging.getLogger("asyncio").error(f"callback <Handle at 0x7f{number:010x}> failed {number} times")
    assert len(log.taken()) == REPEATS


def test_tracebacks_from_one_place_are_written_a_few_times(log: Log) -> None:
    for number in range(REPEATS):
        _failed(number)
    lines = log.taken()
    assert sum("Traceback" in line for line in lines) == TRACEBACKS
    assert lines[-1].endswith(f"failed (ValueError: number {REPEATS - 1})  device=d{REPEATS - 1}")
    try:
        raise KeyError("another")
    except KeyError:
        _log.exception("failed", extra={"device": "d1"})
    assert "another" in log.taken()[-1]


def test_tracebacks_that_end_in_one_place_are_told_apart_by_who_logs_them(log: Log) -> None:
    for number in range(TRACEBACKS + 1):
        _failed(number)
    log.taken()
    try:
        _raise(7)
    except ValueError:
        _log.exception("another part failed")
    assert any("Traceback" in line for line in log.taken())


def test_an_error_is_written_after_the_first_lines_of_its_device_at_the_bound(log: Log) -> None:
    for number in range(5_000):
        _log.warning("strange %s", f"{number} " + "x" * 150)
    with log_context(device="victim"):
        for number in range(FIRST_LINES + 1):
            _log.info("ordinary %s", "x" * number)
        log.taken()
        _log.error("failed")
    assert log.taken()[0].endswith("failed  device=victim")


def test_debug_lines_are_neither_folded_nor_bounded(log: Log) -> None:
    for _ in range(5_000):
        _log.debug("the wire %s", "x" * 50, extra={"device": "a"})
    assert len(log.taken()) == 5_000
    _log.info("connected", extra={"device": "a"})
    assert len(log.taken()) == 1


def test_no_minute_has_more_than_the_bound_in_bytes(log: Log) -> None:
    written: list[tuple[float, int]] = []
    for step in range(5 * 60):
        log.now += 1
        for number in range(50):
            _log.warning("strange %s", f"{step}-{number} " + "x" * 150)
        log.handler.tell()
        written.append((log.now, sum(len(line.encode()) + 1 for line in log.taken())))
    for since, _ in written:
        assert sum(size for at, size in written if since <= at < since + 60) <= 100 * KB
    assert sum(size for _, size in written) > 200 * KB


def test_the_bound_is_told_with_the_number_of_lines_left_out(log: Log) -> None:
    for number in range(2_000):
        _log.warning("strange %s", f"{number} " + "x" * 150)
    lines = log.taken()
    (told,) = (line for line in lines if "log.max_kb_per_minute" in line)
    assert "at its bound of 100 KB a minute" in told
    (count,) = (line for line in log.minute_later() if "left out of the log" in line)
    assert f" {2_000 - (len(lines) - 1)} lines" in count


def test_an_attack_hides_nobody_elses_first_lines(log: Log) -> None:
    for minute in range(3):
        for number in range(5_000):
            _log.warning("strange %s", f"{minute}-{number} " + "x" * 150)
            _log.warning("strange", extra={"device": f"attacker {number % 6}"})
        log.taken()
        for number in range(100):
            _log.info("device connected", extra={"device": f"victim {number}"})
        assert sum("victim" in line for line in log.taken()) == 100
        log.minute_later()


def test_what_is_remembered_is_bounded(unbounded: Log) -> None:
    for number in range(MAX_KINDS):
        for _ in range(REPEATS + 1 if number == 0 else 1):
            _log.info("hello", extra={"device": str(number)})
    _log.info("hello", extra={"device": "one more"})
    unbounded.taken()
    assert any("… and 1 more lines" in line for line in unbounded.minute_later())


def test_counts_are_told_at_the_end(log: Log) -> None:
    for _ in range(REPEATS + 7):
        _log.info("hello")
    log.taken()
    log.handler.close()
    (told,) = log.taken()
    assert "… and 7 more like it" in told
