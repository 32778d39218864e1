"""What others say stays on its line, in its field, and within its bounds."""

import io
import json
import logging

import pytest

from mimi_mqtt.log import setup_logging
from mimi_mqtt.log.formatters import MAX_FIELD_CHARS, MAX_MESSAGE_CHARS, MAX_TRACEBACK_CHARS

_log = logging.getLogger("mimi_mqtt.x")

EVIL = "x\n12:00:00.000 ERROR forged: line\r\x1b[2J\u2028\u202e\x9b"


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def test_control_characters_of_messages_and_fields_are_escaped(stream: io.StringIO) -> None:
    setup_logging("info", "text", stream)
    _log.info("it said %s", EVIL, extra={"board": EVIL})
    (line,) = stream.getvalue().splitlines()
    assert line.isprintable()
    assert r"x\n12:00:00.000 ERROR forged: line\r\x1b[2J" in line


def test_a_field_can_not_pass_for_two(stream: io.StringIO) -> None:
    setup_logging("info", "text", stream)
    _log.info("booted", extra={"board": "x device=another", "port": 7})
    assert stream.getvalue().endswith('booted  board="x device=another" port=7\n')


def test_no_line_of_a_traceback_passes_for_a_line_of_the_log(stream: io.StringIO) -> None:
    setup_logging("info", "text", stream)
    try:
        raise ValueError(EVIL)
    except ValueError:
        _log.exception("failed")
    first, *others = stream.getvalue().removesuffix("\n").split("\n")
    assert first.endswith("failed")
    assert len(others) > 3
    assert all(line.startswith("    ") and line.isprintable() for line in others)


def test_a_line_of_json_is_one_line_whatever_it_holds(stream: io.StringIO) -> None:
    setup_logging("info", "json", stream)
    said = EVIL + "\U000e0001"
    _log.info("it said %s", said, extra={"board": said})
    (line,) = stream.getvalue().splitlines()
    assert line.isprintable()
    entry = json.loads(line)
    assert (entry["message"], entry["board"]) == (f"it said {said}", said)


@pytest.mark.parametrize("style", ["text", "json"])
def test_an_entry_is_bounded(stream: io.StringIO, style: str) -> None:
    setup_logging("info", "json" if style == "json" else "text", stream, max_kb_per_minute=0)
    try:
        raise ValueError("y" * 100_000)
    except ValueError:
        _log.exception("z" * 100_000, extra={"board": "w" * 100_000})
    most = MAX_MESSAGE_CHARS + MAX_FIELD_CHARS + MAX_TRACEBACK_CHARS
    assert most < len(stream.getvalue()) < most + 500
