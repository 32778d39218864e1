"""Logging: lines with the ids of device, session and turn, bounded in number and bytes.

Speech, prompts, keys and passwords are never logged at INFO or above. `context` has the ids, `formatters` the
two forms of a line, `bounded` the handler that folds repeated lines, `recent` the last lines in memory.
Imported by everything, imports nothing.
"""

import logging
import sys
from typing import Final, Literal, TextIO

from mimi_mqtt.log.bounded import BoundedHandler
from mimi_mqtt.log.context import bind_log_context as bind_log_context
from mimi_mqtt.log.context import log_context as log_context
from mimi_mqtt.log.formatters import JsonFormatter, TextFormatter
from mimi_mqtt.log.recent import RecentLines

DEFAULT_MAX_KB_PER_MINUTE: Final = 100
"""The bound on the log of commands that are not the server, which has `log.max_kb_per_minute`."""


def setup_logging(
    level: str,
    style: Literal["text", "json"],
    stream: TextIO | None = None,
    *,
    max_kb_per_minute: int = DEFAULT_MAX_KB_PER_MINUTE,
    recent: RecentLines | None = None,
) -> None:
    """Configures the root logger: `level` by name, lines to `stream` (standard error by default).

    May be called again, such as with other settings. `max_kb_per_minute` is in thousands of bytes; 0: no
    bound. `recent` keeps the last lines, those of the level DEBUG only as long as that is the log's level.
    """
    tell_left_out(at_once=True)
    handler = BoundedHandler(
        stream or sys.stderr,
        max_bytes_per_minute=max_kb_per_minute * 1_000,
        written=None if recent is None else recent.keep,
    )
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("mimi_mqtt").setLevel(level.upper())
    if recent is not None and level.upper() != "DEBUG":
        recent.forget_debug()


def tell_left_out(*, at_once: bool = False) -> None:
    """Logs how many lines were folded or left out in a minute that is over; `at_once`: or is not. Called once
    a minute by the server: otherwise the numbers wait for the next line."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, BoundedHandler):
            handler.tell(at_once=at_once)
