"""Logging set-up: device, session and turn ids on every line; as text for people or JSON for machines.

Speech, prompts, keys and passwords are never logged at INFO or above. The ids travel in context variables,
so a line written anywhere below a session's task carries them without being told.
"""

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, TextIO

_context: ContextVar[tuple[tuple[str, str], ...]] = ContextVar("mimi_log_context", default=())

_RESERVED = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


@contextmanager
def log_context(**ids: str) -> Iterator[None]:
    """Puts `ids` (`device`, `session`, `turn`) on every line logged inside, tasks started inside included."""
    merged = dict(_context.get())
    merged.update(ids)
    token = _context.set(tuple(merged.items()))
    try:
        yield
    finally:
        _context.reset(token)


def bind_log_context(**ids: str) -> None:
    """Like `log_context` for the rest of the running task: for a task that serves one device all its life."""
    merged = dict(_context.get())
    merged.update(ids)
    _context.set(tuple(merged.items()))


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields: dict[str, object] = dict(_context.get())
    fields.update({key: value for key, value in vars(record).items() if key not in _RESERVED})
    return fields


class TextFormatter(logging.Formatter):
    """`12:04:31.123 INFO  session: opened  device=… session=…`, in local time."""

    def format(self, record: logging.LogRecord) -> str:
        """Renders one line; a traceback follows on its own lines."""
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        name = record.name.removeprefix("mimi_mqtt.")
        line = f"{clock}.{int(record.msecs):03d} {record.levelname:<7} {name}: {record.getMessage()}"
        if fields := _fields(record):
            line += "  " + " ".join(f"{key}={value}" for key, value in fields.items())
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time` (s since 1970), `level`, `logger`, `message`, and the ids."""

    def format(self, record: logging.LogRecord) -> str:
        """Renders one line; what JSON can't hold becomes its `str`."""
        entry: dict[str, object] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry.update(_fields(record))
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)


def setup_logging(level: str, style: Literal["text", "json"], stream: TextIO | None = None) -> None:
    """Configures the root logger once: `level` by name, lines to `stream` (standard error by default)."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("mimi_mqtt").setLevel(level.upper())
