"""Watchdog of one turn: ends it when nothing moves for too long, or when no reply has begun in time."""

import asyncio
from types import TracebackType
from typing import Final

from mimi_mqtt.voice.turn.output import TurnOutput

_LOOKS: Final = 4
"""Times that play-out is looked at within the time after which a turn counts as stuck."""


class Watchdog:
    """An async context manager around a turn's work, to which it raises TimeoutError at the deadline.

    Progress is what `progress` is told of, and each frame that leaves `output` for the device: up to six
    seconds of a reply wait in the play-out queue once everything else is done. Nothing is watched before the
    first progress. `progress` only notes the time, as it is called for every frame, and may be called before
    and after the work.
    """

    def __init__(self, stuck_s: float, output: TurnOutput) -> None:
        self.output = output
        """The turn's output; replace it when the turn gets another."""
        self._stuck_s = stuck_s
        self._loop = asyncio.get_running_loop()
        self._moved_at: float | None = None
        self._frames = 0
        self._give_up_at: float | None = None
        self._patience_left_s: float | None = None
        self._timeout = asyncio.timeout(None)
        self._entered = False
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()
        self._entered = True
        self._look()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._entered = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self._timeout.__aexit__(kind, error, traceback)

    @property
    def expired(self) -> bool:
        """True when the deadline was reached."""
        return self._timeout.expired()

    @property
    def too_late(self) -> bool:
        """True when it was reached because no reply had begun in time."""
        return self.expired and self._give_up_at is not None and not self.output.replied

    def progress(self) -> None:
        """Something moved now."""
        self._moved_at = self._loop.time()
        if self._timer is None:
            self._look()

    def give_up_at(self, when: float) -> None:
        """The reply has to begin by `when` (loop time, s)."""
        self._give_up_at = when
        self._look()

    def pause(self) -> None:
        """The reply is held back on purpose: that time does not count for `give_up_at`."""
        if self._give_up_at is not None:
            self._patience_left_s = self._give_up_at - self._loop.time()
            self._give_up_at = None

    def resume(self) -> None:
        """The reply goes on after `pause`."""
        left_s, self._patience_left_s = self._patience_left_s, None
        if left_s is not None:
            self._give_up_at = self._loop.time() + left_s
        self.progress()
        self._look()

    def _look(self) -> None:
        """Ends the work if it is time, or arms the timer for the next look."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._entered or self._moved_at is None or self.expired:
            return
        now = self._loop.time()
        frames = self.output.frames_sent
        if frames != self._frames:
            self._frames, self._moved_at = frames, now
        due = self._moved_at + self._stuck_s
        if self._give_up_at is not None and not self.output.replied:
            due = min(due, self._give_up_at)
        if now >= due:
            self._timeout.reschedule(now)
        else:
            self._timer = self._loop.call_at(min(due, now + self._stuck_s / _LOOKS), self._look)
