"""The two forms of a log line: text for people, JSON for machines.

What devices, vendors and strangers say can't begin a line of its own, move a terminal's cursor or pass for
another field: control characters and the like are escaped here, in one place, and an entry is bounded.
"""

import json
import logging
import time
from typing import Final

from mimi_mqtt.log.context import fields_of

MAX_MESSAGE_CHARS: Final = 4_000
"""Characters of a message; the rest is cut."""
MAX_FIELD_CHARS: Final = 500
"""Characters of one field; the rest is cut."""
MAX_TRACEBACK_CHARS: Final = 8_000
"""Characters of a traceback; the middle is cut, as its ends say what was called and what went wrong."""

_INDENT: Final = "    "


class TextFormatter(logging.Formatter):
    """`12:04:31.123 INFO  session: opened  device=… session=…`, in local time."""

    def format(self, record: logging.LogRecord) -> str:
        """Renders one line; a traceback follows on lines of its own, each indented."""
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        name = record.name.removeprefix("mimi_mqtt.")
        message = _escaped(_cut(record.getMessage(), MAX_MESSAGE_CHARS))
        line = f"{clock}.{int(record.msecs):03d} {record.levelname:<7} {name}: {message}"
        if fields := fields_of(record):
            line += "  " + " ".join(f"{_escaped(key)}={_field(value)}" for key, value in fields.items())
        if trace := _trace(self, record):
            line += "".join(f"\n{_INDENT}{_escaped(part)}" for part in trace.split("\n"))
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time` (s since 1970), `level`, `logger`, `message`, and the ids."""

    def format(self, record: logging.LogRecord) -> str:
        """Renders one line; what JSON can't hold becomes its `str`."""
        entry: dict[str, object] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _cut(record.getMessage(), MAX_MESSAGE_CHARS),
        }
        for key, value in fields_of(record).items():
            entry[key] = _cut(value, MAX_FIELD_CHARS) if isinstance(value, str) else value
        if trace := _trace(self, record):
            entry["exception"] = trace
        line = json.dumps(entry, ensure_ascii=False, default=_named)
        if line.isprintable():
            return line
        # Inside strings only: JSON itself is ASCII, and its own escapes cover no more than U+0000 to U+001F.
        return "".join(
            character if character.isprintable() else json.dumps(character)[1:-1] for character in line
        )


def parts_of(record: logging.LogRecord) -> tuple[str, dict[str, str], str]:
    """Message, fields and traceback of a record, bounded and escaped as in a line of text."""
    message = _escaped(_cut(record.getMessage(), MAX_MESSAGE_CHARS))
    fields = {_escaped(key): _escaped(_named(value)) for key, value in fields_of(record).items()}
    trace = "\n".join(_escaped(part) for part in _trace(_PLAIN, record).split("\n"))
    return message, fields, trace


_PLAIN: Final = logging.Formatter()


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[0] is None:
        return ""
    text = formatter.formatException(record.exc_info)
    if len(text) <= MAX_TRACEBACK_CHARS:
        return text
    half = MAX_TRACEBACK_CHARS // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters …\n{text[-half:]}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _named(value: object) -> str:
    return _cut(str(value), MAX_FIELD_CHARS)


def _escaped(text: str) -> str:
    r"""`text` on one line: what is not printable, as `\n` and `\x1b`."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def _field(value: object) -> str:
    """A value as one word, or in quotation marks where it could be taken for more than one field."""
    text = _escaped(_named(value))
    return json.dumps(text, ensure_ascii=False) if any(mark in text for mark in ' ="') else text
