"""Puts packets back in order: waits a bounded time for a missing one, then reports it lost. Pure.

The listener is a machine, so nothing is delayed while packets come in order; only a gap is waited for.
"""

from typing import Final, Generic, TypeVar

MAX_HELD_PACKETS: Final = 64
"""Packets held behind a gap; when there are more the gap counts as lost at once."""

MAX_LOST_RUN: Final = 16
"""Losses reported for one gap; a longer one is an outage, which is not concealed in full."""

_RESTART_AFTER: Final = 8
"""Late packets in a row after which the sender is taken to have started over: none of them is lost then.

So what a forger got believed before the device was heard costs the device no audio.
"""


Packet = TypeVar("Packet")


class JitterBuffer(Generic[Packet]):
    """One stream's order, whatever its packets are.

    Sequences count from 1 without wrap; `now` is any steady clock in seconds.

    `wait_s` is how long a missing packet is waited for, counted from the arrival of the first one behind it.
    """

    __slots__ = ("_began", "_gap_since", "_held", "_late_run", "_next", "_ready", "_wait_s", "late", "lost")

    def __init__(self, wait_s: float) -> None:
        self._wait_s = wait_s
        self._next = 1
        self._began = False
        self._ready: list[Packet | None] = []
        self._held: dict[int, tuple[float, Packet]] = {}
        self._gap_since = 0.0
        self._late_run: list[tuple[int, Packet]] = []  # rising sequences, all of them past
        self.lost = 0
        """Packets given up, in all."""
        self.late = 0
        """Packets dropped because their place was already past, in all."""

    def push(self, sequence: int, packet: Packet, now: float) -> None:
        """Takes a packet; one that comes too late, or twice, is dropped."""
        if sequence == self._next:
            self._ready.append(packet)
            self._next = sequence + 1
            self._began = True
            self._late_run.clear()
            if self._held:
                self._take_held()
        elif sequence > self._next:
            self._late_run.clear()
            if not self._held:
                self._gap_since = now
            self._held.setdefault(sequence, (now, packet))
            if len(self._held) > MAX_HELD_PACKETS:
                self._give_up_gap()
        else:
            self.late += 1
            if self._late_run and sequence <= self._late_run[-1][0]:
                self._late_run.clear()
            self._late_run.append((sequence, packet))
            if len(self._late_run) >= _RESTART_AFTER:
                self._restart()

    def pop(self, now: float) -> list[Packet | None]:
        """The packets that can be decoded now, in order; None stands for a lost packet, to be concealed."""
        while self._held and now >= self._gap_since + self._wait_s:
            self._give_up_gap()
        ready, self._ready = self._ready, []
        return ready

    @property
    def due(self) -> float | None:
        """The time at which `pop` gives up a gap without another packet; None while it waits for none."""
        return self._gap_since + self._wait_s if self._held else None

    def flush(self) -> list[Packet | None]:
        """All packets held, gaps as losses: for the end of an utterance. The sequence goes on."""
        while self._held:
            self._give_up_gap()
        ready, self._ready = self._ready, []
        return ready

    def reset(self) -> None:
        """Drops what is held; the count goes on, and what comes unheard until the next push is no loss."""
        if self._held:
            self._next = max(self._held) + 1
        self._held.clear()
        self._ready.clear()
        self._began = False
        self._late_run.clear()

    def _restart(self) -> None:
        run = self._late_run.copy()
        self.reset()
        self._next = run[0][0]
        self.late -= len(run)
        for sequence, packet in run:
            self.push(sequence, packet, self._gap_since)  # what is missing in between was waited for

    def _give_up_gap(self) -> None:
        first = min(self._held)
        if self._began:  # losses before the first packet are silence nobody misses
            self.lost += first - self._next
            self._ready.extend([None] * min(first - self._next, MAX_LOST_RUN))
        self._next = first
        self._began = True
        self._take_held()

    def _take_held(self) -> None:
        while (held := self._held.pop(self._next, None)) is not None:
            self._ready.append(held[1])
            self._next += 1
        if self._held:  # the next gap is as old as the first packet that came behind it
            self._gap_since = min(arrived for arrived, _ in self._held.values())
