"""The progress of a download: a line that is rewritten on a terminal, a line every ten percent elsewhere."""

import sys
import time
from collections.abc import Callable
from typing import Final, Protocol, TextIO

_REDRAWN_EVERY_S: Final = 0.2
_STEP_PERCENT: Final = 10


class Progress(Protocol):
    """The interface of whoever shows how far an installation is."""

    def say(self, text: str) -> None:
        """Tells one step, without a newline at the end."""

    def downloaded(self, name: str, done: int, total: int) -> None:
        """Tells that `done` of `total` bytes of `name` are there."""


class Silence:
    """Shows nothing."""

    def say(self, text: str) -> None:
        """Ignores it."""

    def downloaded(self, name: str, done: int, total: int) -> None:
        """Ignores it."""


class ProgressLines:
    """Progress on `stream`, with the rate since the first look at a download."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._clock = clock
        self._terminal = self._stream.isatty()
        self._name = ""
        self._began = (0.0, 0)
        self._drawn_at = 0.0
        self._step = -1
        self._open = False

    def say(self, text: str) -> None:
        """Writes one line."""
        self._end_line()
        print(text, file=self._stream, flush=True)

    def downloaded(self, name: str, done: int, total: int) -> None:
        """Draws the line anew, five times a second at most, or writes one for every ten percent."""
        now = self._clock()
        if name != self._name:
            self._end_line()
            self._name, self._began, self._step, self._drawn_at = name, (now, done), -1, 0.0
        percent = min(100, done * 100 // total) if total else 100
        ended = done >= total
        if self._terminal:
            if not ended and now - self._drawn_at < _REDRAWN_EVERY_S:
                return
            self._drawn_at = now
            print(
                f"\r\x1b[K{self._line(name, done, total, percent, now)}",
                end="",
                file=self._stream,
                flush=True,
            )
            self._open = True
        elif percent // _STEP_PERCENT > self._step:
            self._step = percent // _STEP_PERCENT
            print(self._line(name, done, total, percent, now), file=self._stream, flush=True)

    def _line(self, name: str, done: int, total: int, percent: int, now: float) -> str:
        since, before = self._began
        seconds = now - since
        rate = f", {megabytes(round((done - before) / seconds))}/s" if seconds > 0.5 and done > before else ""
        return f"  {name}: {megabytes(done)} of {megabytes(total)} ({percent} %){rate}"

    def _end_line(self) -> None:
        if self._open:
            print(file=self._stream, flush=True)
            self._open = False


def megabytes(count: int) -> str:
    """A number of bytes for people: `70.7 MB`."""
    return f"{count / 1e6:.1f} MB" if count < 99.95e6 else f"{count / 1e6:.0f} MB"
