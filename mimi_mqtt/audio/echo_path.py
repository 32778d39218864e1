"""The way from a loudspeaker to its microphone, learnt while both run. Pure.

A partitioned-block Kalman filter in the frequency domain, after Enzner and Vary, "Frequency-domain adaptive
Kalman filter for acoustic echo control in hands-free telephones" (2006), and its partitioned form by Kuech,
Mabande and Enzner (2014): each weight has an uncertainty of its own, so that somebody who speaks over the
echo hardly moves it and needs no detector. It only subtracts: unlike a suppressor it takes nothing from a
speaker.
"""

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

_Floats: TypeAlias = NDArray[np.float32]

BLOCK: Final = 320
"""Samples taken at once: 20 ms at 16 kHz."""

_PARTS: Final = 15  # blocks of memory: 300 ms of delay and room

MEMORY: Final = _PARTS * BLOCK
"""Samples of delay and room that an echo path covers."""

_TRANSITION: Final = 0.9995  # of a block; how much of the room is still true
_SMOOTHING: Final = 0.9  # of the noise, from block to block
_UNCERTAINTY: Final = 1.0
_DECAY_DB: Final = 2.5  # of a room, from block to block: 60 dB in half a second
_LEAST_NOISE: Final = 0.01  # of the residual's power
_TINY: Final = 1e-9

_LOUD: Final = 200.0 / 32768  # root mean square; less is no echo to judge by
_PROVEN: Final = 6.3  # times: 8 dB of the echo are gone
_LOST: Final = 2.0
_PROVEN_S, _LOST_S = 0.5, 4.0  # of echo; people who speak over it look like a new room, but not for so long
_BLOCK_S: Final = 0.02


class _Gain:
    """Ratio of the power heard to the power left, over the last `seconds` in which something was played."""

    def __init__(self, seconds: float) -> None:
        self._share = _BLOCK_S / seconds
        self._least = round(seconds / _BLOCK_S)
        self.reset()

    def reset(self) -> None:
        """Forgets."""
        self._heard = self._left = 0.0
        self._blocks = 0

    def add(self, heard: float, left: float) -> None:
        """One block's powers."""
        self._heard += (heard - self._heard) * self._share
        self._left += (left - self._left) * self._share
        self._blocks += 1

    def exceeds(self, times: float) -> bool | None:
        """True when the ratio is more than `times`; None before there is enough to judge by."""
        return self._heard > times * self._left if self._blocks >= self._least else None


class EchoPath:
    """One device's in its room: the more was played, the better it is known. Keep it between sessions."""

    def __init__(self) -> None:
        bins = BLOCK + 1
        self._spectra = np.zeros((_PARTS, bins), np.complex64)  # of what was played, the newest first
        self._powers = np.zeros((_PARTS, bins), np.float32)
        self._last = np.zeros(BLOCK, np.float32)
        self._quiet = _PARTS + 1  # blocks in which nothing was played
        self._short, self._long = _Gain(_PROVEN_S), _Gain(_LOST_S)
        self.known = False
        """True once it has been measured to remove most of the echo in this session."""
        self.learnt = False
        """True once it has been measured to in any session, until it is given up."""
        self.shift = 0
        """Offset in samples from the device's labels to the samples given as `played`: the filter is only
        true at this one."""
        self._from_before = False  # what is known was learnt elsewhere, or at another delay, perhaps
        self._weights = np.zeros((_PARTS, bins), np.complex64)
        self._uncertainty = np.full((_PARTS, bins), _UNCERTAINTY, np.float32)
        self._noise = np.zeros(bins, np.float32)

    def _learn_anew(self) -> None:
        # From where the weights are: zero is no better a guess, and they may be right in part.
        self._uncertainty.fill(_UNCERTAINTY)
        self._noise.fill(0)
        self.known = self.learnt = self._from_before = False
        self._short.reset()
        self._long.reset()

    def begin_at(self, shift: int) -> None:
        """Learns anew at another `shift`, from zero, where the direct sound comes early: late parts of the
        response are expected to be faint."""
        self._learn_anew()
        self.shift = shift
        self._weights.fill(0)
        faint = 10 ** (-_DECAY_DB / 10 * np.arange(_PARTS, dtype=np.float32))
        self._uncertainty[:] = _UNCERTAINTY * faint[:, np.newaxis]

    def doubt(self) -> None:
        """Believes the filter no more until it was measured again: what plays is not where it was."""
        self.known = False
        self._from_before = True
        self._short.reset()

    def confirm(self) -> None:
        """Believes the filter: a search has found that it explains what is heard."""
        self.known = self.learnt = True
        self._from_before = False

    def restart(self) -> None:
        """A new session: nothing plays, and the device may stand elsewhere, so its room has to prove true."""
        self.recall(np.zeros(MEMORY + BLOCK, np.float32))
        self._quiet = _PARTS + 1
        self._long.reset()
        self.doubt()

    def recall(self, played: _Floats) -> None:
        """Replaces the memory of what was played last by `played`, MEMORY + BLOCK samples."""
        blocks = played.reshape(_PARTS + 1, BLOCK)[::-1]
        self._spectra = np.fft.rfft(np.concatenate([blocks[1:], blocks[:-1]], axis=1), axis=1).astype(
            np.complex64
        )
        self._powers = np.abs(self._spectra) ** 2
        self._last = blocks[0]
        self._quiet = 0

    def response(self) -> _Floats:
        """The impulse response learnt, MEMORY samples."""
        taps: _Floats = np.fft.irfft(self._weights, axis=1)[:, :BLOCK].ravel().astype(np.float32)
        return taps

    def subtract(self, played: _Floats, heard: _Floats, *, learn: bool = True) -> _Floats:
        """`heard` without what the room makes of `played`; both BLOCK samples from -1 to 1.

        Without `learn` the filter stays as it is, as `played` may not be what was playing."""
        self._quiet = 0 if played.any() else self._quiet + 1
        if self._quiet > _PARTS:
            return heard
        spectrum = np.fft.rfft(np.concatenate([self._last, played]))
        self._last = played
        self._spectra = np.roll(self._spectra, 1, axis=0)
        self._spectra[0] = spectrum
        self._powers = np.roll(self._powers, 1, axis=0)
        self._powers[0] = np.abs(spectrum) ** 2
        # Overlap-save: the second half of a circular convolution is a linear one.
        echo = np.fft.irfft((self._weights * self._spectra).sum(axis=0))[BLOCK:]
        left: _Floats = (heard - echo).astype(np.float32)
        if not learn:
            return left
        self._learn(left)
        if float(np.mean(played**2)) > _LOUD**2:
            self._prove(float(np.mean(heard**2)), float(np.mean(left**2)))
        return left

    def _learn(self, left: _Floats) -> None:
        error = np.fft.rfft(np.concatenate([np.zeros(BLOCK, np.float32), left])).astype(np.complex64)
        power = np.abs(error) ** 2
        expected = (self._powers * self._uncertainty).sum(axis=0)
        noise = np.maximum(power - expected / 2, _LEAST_NOISE * power)
        if self._noise.any():
            noise = _SMOOTHING * self._noise + (1 - _SMOOTHING) * noise
        self._noise = noise
        gain = self._uncertainty / (expected + 2 * self._noise + _TINY)
        step = np.fft.irfft(gain * np.conj(self._spectra) * error, axis=1)
        step[:, BLOCK:] = 0
        self._weights += np.fft.rfft(step, axis=1).astype(np.complex64)
        kept = _TRANSITION**2
        self._uncertainty = kept * (1 - gain * self._powers / 2) * self._uncertainty + (1 - kept) * (
            np.abs(self._weights) ** 2
        )

    def _prove(self, heard: float, left: float) -> None:
        self._short.add(heard, left)
        self._long.add(heard, left)
        if not self.known and self._short.exceeds(_PROVEN):
            self.confirm()
        elif (self.known or self._from_before) and self._long.exceeds(_LOST) is False:
            self._learn_anew()
