"""The log's handler: folds repeated lines, and bounds the bytes of a minute, so that nobody fills the disk.

A line is repeated when its logger, level and message template were the same for the same device within the
minute; lines about no device are told apart by the texts in them. Beyond `REPEATS` they are counted and told
once a minute as "… and 340 more like it". As a last resort the whole log has a bound in bytes a minute; a
part of it is kept for the first lines of every device, so that one can't hide the others.

Lines of level DEBUG are neither folded nor bounded: whoever asks for them wants them all.
"""

import copy
import logging
import re
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from types import TracebackType
from typing import Final, TextIO

import prometheus_client

from mimi_mqtt.log.context import device_of

PERIOD_S: Final = 60.0
"""Seconds in which repeated lines are counted together."""
REPEATS: Final = 20
"""Lines of one kind that are written within that time; further ones are counted."""
TRACEBACKS: Final = 3
"""Tracebacks from one place in the code, by the place that logs them, that are written within that time,
whatever devices they are about; further lines end with the exception alone."""
MAX_KINDS: Final = 2_048
"""Kinds of lines that are remembered; beyond them the least recent is forgotten, its count told together with
others."""
MAX_TOLD: Final = 20
"""Kinds whose counts are told one by one; those of further ones are told together."""
ORDINARY_PART: Final = 0.6
"""Part of the bound in bytes for all lines."""
RESERVE_PART: Final = 0.9
"""Part of the bound up to which the first `FIRST_LINES` a minute of each device, or about no device of each
template, are still written, and as many errors. The rest is for the lines that tell of those left out."""
FIRST_LINES: Final = 2
MAX_SOURCES: Final = 4_096
"""Devices and templates whose first lines are counted; further ones have no part in the reserve."""

_SUBJECT_CHARS: Final = 200
_EXAMPLE_CHARS: Final = 160
_VARYING: Final = re.compile(r"0x[0-9a-fA-F]+|\d+")

_left_out = prometheus_client.Counter(
    "mimi_log_lines_left_out_total", "Log lines that were counted instead of written.", ["reason"]
)

_Key = tuple[str, int, str, str]  # logger, level, template, device or other subject


@dataclass(slots=True)
class _Kind:
    since: float
    written: int = 0
    folded: int = 0
    example: str = ""
    device: str = ""


class _LastMinute:
    """Bytes written within the last `PERIOD_S`, by the second."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, int]] = deque()
        self._total = 0

    def total(self, now: float) -> int:
        while self._seconds and self._seconds[0][0] < int(now) - PERIOD_S:
            self._total -= self._seconds.popleft()[1]
        return self._total

    def add(self, size: int, now: float) -> None:
        second = int(now)
        if self._seconds and self._seconds[-1][0] == second:
            size_before = self._seconds.pop()[1]
            self._seconds.append((second, size_before + size))
        else:
            self._seconds.append((second, size))
        self._total += size


class BoundedHandler(logging.StreamHandler[TextIO]):
    """Writes lines to `stream`, at most `max_bytes_per_minute` in any minute (0: no bound). `clock` gives
    monotonic seconds; `written` is called with each record that was written."""

    def __init__(
        self,
        stream: TextIO,
        *,
        max_bytes_per_minute: int,
        clock: Callable[[], float] = time.monotonic,
        written: Callable[[logging.LogRecord], None] | None = None,
    ) -> None:
        super().__init__(stream)
        self._written = written
        self._max = max_bytes_per_minute
        self._clock = clock
        self._kinds: OrderedDict[_Key, _Kind] = OrderedDict()
        self._traces: Counter[tuple[str, str, int, str, int]] = Counter()
        self._sources: Counter[str] = Counter()
        self._minute = _LastMinute()
        self._swept_at = clock()
        self._forgotten = 0  # folded lines of kinds that are no longer remembered
        self._unwritten = 0
        self._bound_told = False

    def emit(self, record: logging.LogRecord) -> None:
        """Writes the record, or counts it. The caller holds the handler's lock."""
        try:
            if record.levelno <= logging.DEBUG:
                super().emit(record)
                self._tell_written(record)
                return
            now = self._clock()
            if now - self._swept_at >= PERIOD_S:
                self._sweep(now, at_once=False)
            device = device_of(record)
            key, kind = self._kind(record, device, now)
            if kind.written >= REPEATS:
                kind.folded += 1
                if not kind.example:
                    kind.example, kind.device = record.getMessage()[:_EXAMPLE_CHARS], device
                _left_out.labels("repeated").inc()
                return
            kind.written += 1
            source = device or f"{key[0]} {key[2]}"
            if record.levelno >= logging.ERROR:  # ordinary lines before it don't take its place
                source += " error"
            self._write(self._without_known_trace(record), source, now)
        except RecursionError:
            raise
        except Exception:  # noqa: BLE001 - logging's own border: a line that can't be made must not harm
            self.handleError(record)

    def tell(self, *, at_once: bool = False) -> None:
        """Writes the counts of each minute that is over; `at_once`: of the running one, too."""
        self.acquire()
        try:
            now = self._clock()
            if at_once or now - self._swept_at >= PERIOD_S:
                self._sweep(now, at_once=at_once)
        finally:
            self.release()

    def close(self) -> None:
        """Writes the counts that are left."""
        if not self.stream.closed:
            self.tell(at_once=True)
        super().close()

    def _kind(self, record: logging.LogRecord, device: str, now: float) -> tuple[_Key, _Kind]:
        template = str(record.msg)[:_SUBJECT_CHARS]
        subject = device
        if not record.args:
            template = _VARYING.sub("#", template)
        elif not device and isinstance(record.args, tuple):
            subject = "\n".join(part for part in record.args if isinstance(part, str))[:_SUBJECT_CHARS]
        if (place := _place(record)) is not None:
            template += f"\n{place}"  # another exception is another kind
        key = (record.name, record.levelno, template, subject)
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= MAX_KINDS:
                self._forgotten += self._kinds.popitem(last=False)[1].folded
            kind = self._kinds[key] = _Kind(now)
        elif now - kind.since >= PERIOD_S:
            if kind.folded:
                self._notice(record.name, record.levelno, _more(kind), kind.device, now)
            kind = self._kinds[key] = _Kind(now)
        self._kinds.move_to_end(key)
        return key, kind

    def _without_known_trace(self, record: logging.LogRecord) -> logging.LogRecord:
        """The record itself, or one that names its exception where that place's traceback is known."""
        place = _place(record)
        if place is None:
            return record
        # Not by the message: it may be of any text.
        key = (*place, record.pathname, record.lineno)
        self._traces[key] += 1
        if self._traces[key] <= TRACEBACKS or record.exc_info is None:
            return record
        short = copy.copy(record)
        error = record.exc_info[1]
        short.msg, short.args = f"{record.getMessage()} ({type(error).__name__}: {error})", None
        short.exc_info = short.exc_text = None
        return short

    def _write(self, record: logging.LogRecord, source: str, now: float) -> None:
        if self._put(record, ORDINARY_PART, now):
            return
        if source in self._sources or len(self._sources) < MAX_SOURCES:
            self._sources[source] += 1
            if self._sources[source] <= FIRST_LINES and self._put(record, RESERVE_PART, now):
                return
        self._unwritten += 1
        _left_out.labels("bound").inc()
        if not self._bound_told:
            self._bound_told = True
            text = (
                f"the log is at its bound of {self._max // 1000} KB a minute (log.max_kb_per_minute): more "
                "lines are counted and left out, but for the first ones of each device"
            )
            self._notice(__name__, logging.WARNING, text, "", now)

    def _put(self, record: logging.LogRecord, part: float, now: float) -> bool:
        """Writes one entry if it fits into that part of the bound."""
        entry = self.format(record) + self.terminator
        size = len(entry.encode("utf-8", "backslashreplace"))
        if self._max and self._minute.total(now) + size > self._max * part:
            return False
        self._minute.add(size, now)
        self.stream.write(entry)
        self.flush()
        self._tell_written(record)
        return True

    def _tell_written(self, record: logging.LogRecord) -> None:
        if self._written is not None:
            self._written(record)

    def _notice(self, name: str, level: int, text: str, device: str, now: float) -> bool:
        record = logging.LogRecord(name, level, "", 0, text, None, None)
        if device:
            record.device = device
        # In an empty context: the running task may be another device's.
        return Context().run(self._put, record, 1.0, now)

    def _sweep(self, now: float, *, at_once: bool) -> None:
        self._swept_at = now
        self._traces.clear()
        self._sources.clear()
        self._bound_told = False
        over = [(key, kind) for key, kind in self._kinds.items() if at_once or now - kind.since >= PERIOD_S]
        for key, _ in over:
            del self._kinds[key]
        folded = sorted(((key, kind) for key, kind in over if kind.folded), key=lambda item: -item[1].folded)
        rest = self._forgotten
        self._forgotten = 0
        for number, (key, kind) in enumerate(folded):
            if number >= MAX_TOLD or not self._notice(key[0], key[1], _more(kind), kind.device, now):
                rest += kind.folded
        if rest:
            text = f"… and {rest} more lines like others of the last minute"
            if not self._notice(__name__, logging.INFO, text, "", now):
                self._forgotten = rest
        if self._unwritten:
            text = (
                f"{self._unwritten} lines were left out of the log within a minute, as it may have "
                f"{self._max // 1000} KB (log.max_kb_per_minute)"
            )
            if self._notice(__name__, logging.WARNING, text, "", now):
                self._unwritten = 0


def _more(kind: _Kind) -> str:
    return f"… and {kind.folded} more like it within a minute: {kind.example}"


def _place(record: logging.LogRecord) -> tuple[str, str, int] | None:
    """The type and the place of the record's exception; None for a record without one."""
    if not record.exc_info or record.exc_info[0] is None:
        return None
    trace: TracebackType | None = record.exc_info[2]
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return record.exc_info[0].__name__, "", 0
    return record.exc_info[0].__name__, trace.tb_frame.f_code.co_filename, trace.tb_lineno
