"""The last lines of the log in memory."""

import io
import logging
from collections.abc import Iterator

import pytest

from mimi_mqtt.log import setup_logging
from mimi_mqtt.log.bounded import REPEATS
from mimi_mqtt.log.recent import RecentLines, Wanted


@pytest.fixture
def recent() -> Iterator[RecentLines]:
    root, ours = logging.getLogger(), logging.getLogger("mimi_mqtt")
    before = list(root.handlers), root.level, ours.level
    kept = RecentLines()
    setup_logging("info", "text", io.StringIO(), recent=kept)
    yield kept
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


def test_lines_are_kept_with_their_fields(recent: RecentLines) -> None:
    log = logging.getLogger("mimi_mqtt.voice.turn")
    log.info("turn %d\nforged", 3, extra={"device": "aa", "session": "s1", "turn": 3})
    (line,) = recent.before(Wanted(), None, 10)
    assert (line.number, line.part, line.level) == (1, "voice.turn", logging.INFO)
    assert line.message == r"turn 3\nforged"
    assert line.fields == {"device": "aa", "session": "s1", "turn": "3"}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(), [3, 2, 1]),
        (Wanted(level=logging.WARNING), [3]),
        (Wanted(part="voice"), [2, 1]),
        (Wanted(part="voice.tur"), []),
        (Wanted(device="aa"), [1]),
        (Wanted(session="s2"), [2]),
        (Wanted(text="THIRD"), [3]),
        (Wanted(text="s2"), [2]),
    ],
)
def test_lines_are_found_by_what_is_wanted(recent: RecentLines, wanted: Wanted, found: list[int]) -> None:
    logging.getLogger("mimi_mqtt.voice.turn").info("first", extra={"device": "aa"})
    logging.getLogger("mimi_mqtt.voice").info("second", extra={"session": "s2"})
    logging.getLogger("mimi_mqtt.store").warning("third")
    assert [line.number for line in recent.before(wanted, None, 10)] == found


def test_repeated_lines_are_folded_and_push_nothing_out(recent: RecentLines) -> None:
    log = logging.getLogger("mimi_mqtt.x")
    for _ in range(REPEATS + 50):
        log.info("the same", extra={"device": "aa"})
    assert len(recent.before(Wanted(), None, 1_000)) == REPEATS


def test_debug_lines_are_kept_only_while_the_log_is_at_debug(recent: RecentLines) -> None:
    log = logging.getLogger("mimi_mqtt.x")
    log.debug("never written")
    setup_logging("debug", "text", io.StringIO(), recent=recent)
    log.debug("the person said: open the door")
    log.info("a line")
    assert [line.message for line in recent.before(Wanted(), None, 9)] == [
        "a line", "the person said: open the door",
    ]  # fmt: skip
    setup_logging("info", "text", io.StringIO(), recent=recent)
    assert [line.message for line in recent.before(Wanted(), None, 9)] == ["a line"]
    assert recent.after(Wanted(), 0, 9)[2] is False  # nothing was pushed out


def _record(text: str) -> logging.LogRecord:
    return logging.LogRecord("mimi_mqtt.x", logging.INFO, "", 0, text, None, None)


@pytest.mark.parametrize("bounds", [{"max_lines": 3}, {"max_chars": 15}])
def test_number_and_length_are_bounded(bounds: dict[str, int]) -> None:
    lines = RecentLines(**bounds)
    for number in range(1, 8):
        lines.keep(_record(f"{number}234"))
    assert [line.number for line in lines.before(Wanted(), None, 99)] == [7, 6, 5]
    found, last, missed = lines.after(Wanted(), 2, 99)
    assert ([line.number for line in found], last, missed) == ([5, 6, 7], 7, True)
    assert lines.after(Wanted(), 4, 99)[2] is False
    assert [line.number for line in lines.before(Wanted(), 7, 1)] == [6]


def test_who_watches_is_called_until_he_ends_it() -> None:
    lines, called = RecentLines(), []
    end = lines.watch(lambda: called.append(lines.last))
    lines.keep(_record("one"))
    end()
    lines.keep(_record("two"))
    assert called == [1]


def test_a_line_that_can_not_be_made_harms_nobody_at_any_level(
    recent: RecentLines, capsys: pytest.CaptureFixture[str]
) -> None:
    setup_logging("debug", "text", io.StringIO(), recent=recent)
    log = logging.getLogger("mimi_mqtt.voice.turn")
    log.debug("%d packets", "many")
    log.info("%d packets", "many")
    log.debug("%d packets", 3)
    assert [line.message for line in recent.before(Wanted(), None, 10)] == ["3 packets"]
    assert "TypeError" in capsys.readouterr().err
