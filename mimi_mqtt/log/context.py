"""Ids of the device, session and turn that a log line belongs to.

They travel in context variables, so a line written anywhere below a session's task carries them without being
told.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

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


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """The ids of the running task, and the fields that the record was given (`extra`)."""
    fields: dict[str, object] = dict(_context.get())
    fields.update({key: value for key, value in vars(record).items() if key not in _RESERVED})
    return fields


def device_of(record: logging.LogRecord) -> str:
    """The device that the record is about; "" for none."""
    own = vars(record).get("device")
    if own is not None:
        return str(own)
    return next((value for key, value in _context.get() if key == "device"), "")
