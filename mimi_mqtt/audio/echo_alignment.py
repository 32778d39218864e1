"""Search for the echo of a reply where the device's labels have moved. Pure.

A label names a whole frame, and may be a frame early or late: from reply to reply, as the device starts to
play at any moment between two uplink frames, and within one, where one of its tasks was late
(device-contract.md, section 4). What the known echo path makes of what was played is correlated with what is
heard; where it fits best is where the device plays, to the sample. In an unknown room the direct sound alone
is looked for.
"""

from collections import deque
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mimi_mqtt.audio.echo_path import MEMORY

_Floats: TypeAlias = NDArray[np.float32]

REACH: Final = 1_920
"""Samples that the echo may be early or late: two frames of 60 ms at 16 kHz."""

DIRECT: Final = 400
"""Samples of an echo path's memory before the direct sound: 25 ms of margin for errors of the search."""

_MOST_HEARD: Final = 3_840  # samples compared at once
_MOST_TRIED: Final = 16  # frames
_LEAST_TRIED: Final = 3  # of an unknown room, of which only the direct sound can be looked for
_FITTING, _FITTING_UNKNOWN = 0.5, 0.3  # share of what is heard that is explained
_SURE: Final = 0.9
_BETTER: Final = 1.1  # times: less is no reason to move
_TINY: Final = 1e-9

_LATE_DIRECT: Final = REACH + DIRECT
_UNKNOWN: Final = np.zeros(MEMORY, np.float32)
_UNKNOWN[_LATE_DIRECT] = 1.0


class Alignment(NamedTuple):
    """`shift`: samples by which what was played has to be moved ahead; `sure`: it explains nearly all."""

    shift: int
    sure: bool


class AlignmentSearch:
    """One search, frame by frame until it is `over` or has found something."""

    def __init__(self) -> None:
        self._heard: deque[_Floats] = deque()
        self._tried = 0

    @property
    def over(self) -> bool:
        """True when it was tried often enough."""
        return self._tried >= _MOST_TRIED

    @property
    def needed(self) -> int:
        """Number of played samples that `find` needs."""
        return self.needed_before + REACH

    @property
    def needed_before(self) -> int:
        """Number of these that come before the end of the newest frame."""
        return MEMORY + self._count + REACH

    @property
    def _count(self) -> int:
        return sum(len(frame) for frame in self._heard)

    def add(self, heard: _Floats) -> None:
        """Takes the next frame heard."""
        self._tried += 1
        self._heard.append(heard)
        while self._count > _MOST_HEARD:
            self._heard.popleft()

    def find(self, played: _Floats, response: _Floats | None) -> Alignment | None:
        """The shift at which `played` through the room's `response` fits what was heard; None if none does.

        Without a `response` the direct sound is looked for, to come after `DIRECT` samples.
        """
        if response is not None:
            return self._find(played, response, _FITTING)
        if self._tried < _LEAST_TRIED:
            return None
        found = self._find(played, _UNKNOWN, _FITTING_UNKNOWN)
        return found and Alignment(found.shift - REACH, sure=False)

    def _find(self, played: _Floats, response: _Floats, fitting: float) -> Alignment | None:
        heard = np.concatenate(self._heard)
        size = 1 << (len(played) + len(heard) - 1).bit_length()
        expected = np.fft.irfft(np.fft.rfft(played, size) * np.fft.rfft(response, size), size)
        expected = expected[MEMORY : MEMORY + len(heard) + 2 * REACH]
        products = np.fft.irfft(np.fft.rfft(expected, size) * np.conj(np.fft.rfft(heard, size)), size)
        products = np.maximum(products[: 2 * REACH + 1], 0)
        sums = np.concatenate([[0.0], np.cumsum(expected**2)])
        powers = sums[len(heard) :] - sums[: len(sums) - len(heard)]
        fits = products**2 / (powers * float(heard @ heard) + _TINY)
        best = int(np.argmax(fits))
        if fits[best] < fitting:
            return None
        if fits[best] < _BETTER * fits[REACH]:
            best = REACH
        return Alignment(best - REACH, sure=bool(fits[best] > _SURE))
