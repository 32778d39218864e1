"""The last lines of the log, in memory, for people who look at it in a browser.

What is kept is what was written: repeated lines are folded, and a minute has its bound, so that nobody can
push out everything else. Lines may come from any thread, and may be read from any.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mimi_mqtt.log.formatters import parts_of

MAX_LINES: Final = 4_000
"""Lines that are kept."""
MAX_CHARS: Final = 4_000_000
"""Characters of all of them."""
_PACKAGE: Final = "mimi_mqtt."


@dataclass(frozen=True, slots=True)
class Line:
    """One line. `number` grows by one with each; `at` is in s since 1970, `level` as in `logging`."""

    number: int
    at: float
    level: int
    part: str
    """The logger, without the name of the package: `transports.udp`."""
    message: str
    fields: Mapping[str, str]
    """`device`, `session`, `turn` and what else was told with it."""
    exception: str = ""

    @property
    def chars(self) -> int:
        """Its length."""
        told = sum(len(name) + len(value) for name, value in self.fields.items())
        return len(self.part) + len(self.message) + len(self.exception) + told


@dataclass(frozen=True, slots=True)
class Wanted:
    """The lines that somebody wants to see: of this least level, of this part and those below it, of this
    device and session, with this text in whatever case; empty for all."""

    level: int = logging.NOTSET
    part: str = ""
    device: str = ""
    session: str = ""
    text: str = ""

    def __call__(self, line: Line) -> bool:
        """True when the line is wanted."""
        if line.level < self.level or (self.device and line.fields.get("device") != self.device):
            return False
        if self.session and line.fields.get("session") != self.session:
            return False
        if self.part and line.part != self.part and not line.part.startswith(f"{self.part}."):
            return False
        if not self.text:
            return True
        text = self.text.casefold()
        told = (line.message, line.part, line.exception, *line.fields.values())
        return any(text in each.casefold() for each in told)


class RecentLines:
    """The last lines, MAX_LINES and MAX_CHARS at most."""

    def __init__(self, max_lines: int = MAX_LINES, max_chars: int = MAX_CHARS) -> None:
        self._max_lines = max_lines
        self._max_chars = max_chars
        self._lock = threading.Lock()
        self._lines: deque[Line] = deque()
        self._chars = 0
        self._last = 0
        self._pushed_out = 0
        self._watchers: tuple[Callable[[], None], ...] = ()

    @property
    def last(self) -> int:
        """The number of the last line; 0 before the first."""
        return self._last

    @property
    def pushed_out(self) -> int:
        """The number of the last line that is not kept any more for want of room; 0 for none."""
        return self._pushed_out

    def keep(self, record: logging.LogRecord) -> None:
        """Keeps a line that was written."""
        message, fields, exception = parts_of(record)
        part = record.name.removeprefix(_PACKAGE)
        with self._lock:
            self._last += 1
            line = Line(self._last, record.created, record.levelno, part, message, fields, exception)
            self._lines.append(line)
            self._chars += line.chars
            while len(self._lines) > self._max_lines or (
                self._chars > self._max_chars and len(self._lines) > 1
            ):
                gone = self._lines.popleft()
                self._pushed_out = gone.number
                self._chars -= gone.chars
            watchers = self._watchers
        for watcher in watchers:
            watcher()

    def forget_debug(self) -> None:
        """Forgets lines that may hold speech: the log is not at its level DEBUG any more."""
        with self._lock:
            self._lines = deque(line for line in self._lines if line.level > logging.DEBUG)
            self._chars = sum(line.chars for line in self._lines)

    def before(self, wanted: Wanted, number: int | None, limit: int) -> Sequence[Line]:
        """The last lines that are wanted, the newest first; those before `number`."""
        found = []
        for line in reversed(self._all()):
            if (number is None or line.number < number) and wanted(line):
                found.append(line)
                if len(found) >= limit:
                    break
        return found

    def after(self, wanted: Wanted, number: int, limit: int) -> tuple[Sequence[Line], int, bool]:
        """Lines behind `number`, the oldest first; the number to go on behind; and whether some between are
        no longer kept."""
        lines = self._all()
        missed = self._pushed_out > number
        found: list[Line] = []
        last = number
        for line in lines:
            if line.number <= number:
                continue
            last = line.number
            if wanted(line):
                found.append(line)
                if len(found) >= limit:
                    break
        return found, last, missed

    def parts(self) -> Sequence[str]:
        """The parts of the server that lines are of."""
        return sorted({line.part for line in self._all()})

    def watch(self, watcher: Callable[[], None]) -> Callable[[], None]:
        """Calls `watcher` after each line, in the thread of whoever logged it; what is returned ends that."""
        with self._lock:
            self._watchers = (*self._watchers, watcher)

        def end() -> None:
            with self._lock:
                self._watchers = tuple(each for each in self._watchers if each is not watcher)

        return end

    def _all(self) -> Sequence[Line]:
        with self._lock:
            return tuple(self._lines)
