import os
import sys
from types import SimpleNamespace

import pytest

from mimi_mqtt.cli.device.script import MAX_LINE_BYTES, Line, read_line, typed_lines
from mimi_mqtt.errors import ConfigError


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("what time is it\n", Line("say", "what time is it")),
        ("  /MIC ", Line("mic")),
        ("/abort", Line("abort")),
        ("/quit\r\n", Line("quit")),
        ("/dance", Line("unknown", "/dance")),
        (" \n", None),
    ],
)
def test_lines_are_words_or_commands(typed: str, line: Line | None) -> None:
    assert read_line(typed) == line


async def read(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> list[str]:
    """The lines read from a pipe that holds `sent`, to its end."""
    reading, writing = os.pipe()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(fileno=lambda: reading))
    os.write(writing, sent)
    os.close(writing)
    try:
        return [line async for line in typed_lines()]
    finally:
        os.close(reading)


async def test_piped_lines_are_read_to_the_end_with_or_without_a_last_newline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert await read(monkeypatch, b"one\n\ntwo\xff") == ["one", "", "two\ufffd"]
    assert await read(monkeypatch, b"one\ntwo\n") == ["one", "two"]
    assert await read(monkeypatch, b"") == []


async def test_line_without_an_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = await read(monkeypatch, b"x" * 40_000)
    assert 0 < len(line) <= 2 * MAX_LINE_BYTES


async def test_closed_standard_input_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ConfigError, match="standard input"):
        [line async for line in typed_lines()]
