"""Position of the speech in an utterance, by its energy: to decode from a pause on, and to cut off silence.

Pure; 16 kHz. It only saves work: where it is wrong, the whole utterance is decoded at its end. By energy,
too, a long utterance is cut into pieces where the speaker is quietest.
"""

import numpy as np

from mimi_mqtt.audio import Pcm

FRAME = 320
"""Samples a frame: 20 ms."""
_PAUSE_FRAMES = 9
_LEAD_FRAMES = 15
_TAIL_FRAMES = 12
_LEAST_SPEECH_FRAMES = 4
_LOUD_FRAMES = 5
_QUIET_PERCENT = 5
_LEAST_RANGE_DB = 9.0
_THRESHOLD = 0.35  # of the way from the quiet to the loud
_QUIETEST_DB = 12.0  # below four units of sixteen bits there is nothing to hear

LONGEST_WHOLE_S = 9
"""Utterances up to this length, in seconds, are decoded in one piece: no command is longer."""
_PIECE_FRAMES = 250, 350
_GAP_FRAMES = 10


def pieces(pcm: Pcm) -> list[Pcm]:
    """`pcm` in pieces of 5 to 7 s, the last two of 2.5 to 7 s, cut where it is quietest; a short one whole.

    Decoding can't be interrupted: with pieces the requests of others get in between.
    """
    if pcm.size <= LONGEST_WHOLE_S * 50 * FRAME:
        return [pcm]
    whole = pcm.size // FRAME
    power = (pcm[: whole * FRAME].reshape(-1, FRAME).astype(np.float32) ** 2).mean(axis=1)
    around = np.convolve(power, np.ones(_GAP_FRAMES, np.float32), mode="same")
    shortest, longest = _PIECE_FRAMES
    cuts, start = [], 0
    while whole - start > longest + shortest:
        start += shortest + int(np.argmin(around[start + shortest : start + longest]))
        cuts.append(start * FRAME)
    if whole - start > longest:  # two pieces of the same length, about
        middle = (whole - start) // 2
        reach = (longest - shortest) // 2
        start += middle - reach + int(np.argmin(around[start + middle - reach : start + middle + reach]))
        cuts.append(start * FRAME)
    return np.split(pcm, cuts)


class SpeechSpan:
    """The speech in the audio of one utterance, which grows."""

    def __init__(self) -> None:
        self._levels: list[float] = []
        self._rest: Pcm = np.zeros(0, np.int16)

    def push(self, pcm: Pcm) -> None:
        """Adds audio of any length."""
        joined = np.concatenate([self._rest, pcm]) if self._rest.size else pcm
        whole = joined.size // FRAME * FRAME
        frames = joined[:whole].reshape(-1, FRAME).astype(np.float32)
        power = (frames**2).mean(axis=1) if whole else np.zeros(0, np.float32)
        self._levels += (10.0 * np.log10(np.maximum(power, 1.0))).tolist()
        self._rest = joined[whole:].copy()

    def _speech(self) -> tuple[int, int] | None:
        """The first frame of speech and the one after the last; None without a difference of loudness."""
        levels = np.asarray(self._levels)
        if levels.size <= _LEAST_SPEECH_FRAMES:
            return None
        # The loudest tenth of a second, not a share: a word in half a minute of silence is speech too.
        loud = float(np.partition(levels, -_LOUD_FRAMES)[-_LOUD_FRAMES])
        quiet = max(float(np.percentile(levels, _QUIET_PERCENT)), _QUIETEST_DB)
        if loud - quiet < _LEAST_RANGE_DB:
            return None
        spoken = np.flatnonzero(levels > quiet + _THRESHOLD * (loud - quiet))
        if spoken.size < _LEAST_SPEECH_FRAMES:
            return None
        return int(spoken[0]), int(spoken[-1]) + 1

    @property
    def silent(self) -> bool:
        """True when there is nothing at all to hear."""
        return not self._levels or max(self._levels) < _QUIETEST_DB

    @property
    def pause(self) -> int | None:
        """While the speaker pauses, after which frame the speech ended; else None."""
        speech = self._speech()
        if speech is None or len(self._levels) - speech[1] < _PAUSE_FRAMES:
            return None
        return speech[1]

    def bounds(self) -> tuple[int, int]:
        """The first sample worth decoding and the one after the last; all of them if that is unclear."""
        total = len(self._levels) * FRAME + self._rest.size
        speech = self._speech()
        if speech is None:
            return 0, total
        return max(0, speech[0] - _LEAD_FRAMES) * FRAME, min(total, (speech[1] + _TAIL_FRAMES) * FRAME)
