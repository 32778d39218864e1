"""Delay and mistakes of finding speech over a reply, and the echo canceller's effect on both; part of
`bench turns`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.echo_canceller import Cleaned, EchoCanceller
from mimi_mqtt.cli.bench._corpus import FRAME, FRAME_MS, RATE
from mimi_mqtt.cli.bench._duplex import Duplex, Over
from mimi_mqtt.cli.bench._endpoints import median, percentile, share
from mimi_mqtt.config.settings import SessionSettings
from mimi_mqtt.config.voice import VoiceSettings
from mimi_mqtt.voice.hearing.pool import SPOKEN, UNSURE
from mimi_mqtt.voice.utterance.endpointing import Endpointer, EndpointSettings, SpeechBegan, endpointing
from mimi_mqtt.voice.utterance.utterance import BARGE_IN_THRESHOLD

_MISSED_AFTER_S: Final = 1.5
_SETTLED_S: Final = 1.0
_LOUD: Final = 200.0
_MOST_SHIFT: Final = 160  # samples that a canceller may hold back

Detect = Callable[[Sequence[Pcm]], list[list[float]]]
"""Voice probabilities of each recording's frames."""


@dataclass(frozen=True, slots=True)
class _Reply:
    """Result of one reply; `began_s` None: no speech was found. Times are in s, from its beginning."""

    over: Over
    over_at_s: float
    began_s: float | None
    loss_db: float
    distortion_db: float

    @property
    def latency_ms(self) -> float | None:
        """From speech to its being found; None when it was missed, or something else found before."""
        if self.over is not Over.SPEECH or self.began_s is None:
            return None
        late_s = self.began_s - self.over_at_s
        return late_s * 1000 if 0 <= late_s <= _MISSED_AFTER_S else None

    @property
    def false(self) -> bool:
        """True when speech was found where there was none."""
        return self.began_s is not None and (self.over is not Over.SPEECH or self.began_s < self.over_at_s)


def judge(
    detect: Detect, recordings: Sequence[Duplex], barge_in_ms: float, *, room_known: bool
) -> Mapping[str, float | None]:
    """The figures of all replies; `room_known`: the canceller has heard the reply before."""
    begins = [0 if room_known else round(each.reply_at_s * RATE) for each in recordings]
    cleaned = [_clean(each, begin) for each, begin in zip(recordings, begins, strict=True)]
    replies = []
    for each, begin, clean, found in zip(
        recordings, begins, cleaned, detect([clean.quiet for clean in cleaned]), strict=True
    ):
        replies.append(_reply(each, clean, found, round(each.reply_at_s * RATE) - begin, barge_in_ms))
    return _figures(replies)


@dataclass(frozen=True, slots=True)
class _Clean:
    """A whole recording cleaned; `sure` frame by frame."""

    quiet: Pcm
    whole: Pcm
    sure: tuple[bool, ...]


def _clean(each: Duplex, begin: int) -> _Clean:
    """Output of the canceller for `each` from sample `begin` on, with packets ahead of play-out."""
    canceller = EchoCanceller()
    ahead = SessionSettings().playout_ahead_frames
    frames: list[Cleaned] = []
    sent = begin // FRAME
    for number in range(begin // FRAME, len(each.labels)):
        while sent < min(len(each.labels), number + 1 + ahead):
            if each.sent[sent]:
                canceller.played(each.sent[sent], each.played[sent * FRAME : (sent + 1) * FRAME])
            sent += 1
        heard = each.heard[number * FRAME : (number + 1) * FRAME]
        frames.append(canceller.clean(heard, each.labels[number]))
    quiet, whole, sure = zip(*frames, strict=True)
    return _Clean(np.concatenate(quiet), np.concatenate(whole), sure)


def _reply(each: Duplex, clean: _Clean, found: Sequence[float], ahead: int, barge_in_ms: float) -> _Reply:
    """`ahead`: samples in `clean` that come before the reply."""
    found = found[ahead // FRAME :]
    quiet, whole, sure = clean.quiet[ahead:], clean.whole[ahead:], clean.sure[ahead // FRAME :]
    worth = [value if known else value * UNSURE for value, known in zip(found, sure, strict=True)]
    begin = round(each.reply_at_s * RATE)
    heard, near = each.heard[begin:], each.near[begin:]
    over_at_s, over_end_s = each.over_at_s - each.reply_at_s, each.over_end_s - each.reply_at_s
    spoken = np.repeat(np.asarray(found) >= SPOKEN, FRAME)
    passed: Pcm = np.where(spoken, whole[: len(spoken)], quiet[: len(spoken)])
    span = slice(int(over_at_s * RATE), int(over_end_s * RATE))
    return _Reply(
        each.over,
        over_at_s,
        _first_speech(worth, barge_in_ms),
        _loss_db(heard, passed),
        _distortion_db(near[span], passed[span.start :].astype(np.float64))
        if each.over is Over.SPEECH
        else 0.0,
    )


def _figures(replies: Sequence[_Reply]) -> Mapping[str, float | None]:
    latencies = [reply.latency_ms for reply in replies if reply.latency_ms is not None]
    spoken = [reply for reply in replies if reply.over is Over.SPEECH]
    missed = sum(reply.latency_ms is None and not reply.false for reply in spoken)
    false = sum(reply.false for reply in replies)
    losses = [reply.loss_db for reply in replies if reply.over is Over.NOTHING]
    return {
        "ms_p50": median(latencies),
        "ms_p95": percentile(latencies, 95),
        "missed_percent": round(100 * missed / max(1, len(spoken)), 1),
        "missed_percent_to": share(missed, len(spoken))[1],
        "false_percent": round(100 * false / len(replies), 1),
        "false_percent_to": share(false, len(replies))[1],
        "false_by_noise": sum(reply.false for reply in replies if reply.over is Over.NOISE),
        "echo_return_loss_enhancement_db_p50": round(float(np.median(losses)), 1),
        "echo_return_loss_enhancement_db_min": round(min(losses), 1),
        "speech_to_distortion_db_p50": round(float(np.median([r.distortion_db for r in spoken])), 1)
        if spoken
        else None,
    }


def _first_speech(probabilities: Sequence[float], barge_in_ms: float) -> float | None:
    """The time from which on speech counts as a barge-in, in s."""
    voice = VoiceSettings()
    endpointer = Endpointer(
        EndpointSettings(BARGE_IN_THRESHOLD, barge_in_ms, voice.preroll_ms),
        endpointing(voice, lambda: "en"),
        0.0,
    )
    silence = np.zeros(FRAME, np.int16)
    for number, probability in enumerate(probabilities):
        now = (number + 1) * FRAME_MS / 1000
        if any(isinstance(e, SpeechBegan) for e in endpointer.frame(silence, FRAME_MS, probability, now)):
            return now
    return None


def _loss_db(heard: Pcm, clean: Pcm) -> float:
    """Reduction of the echo, where there is any, a second into the reply, in dB."""
    begin = int(_SETTLED_S * RATE)
    before = heard[begin : len(clean)].astype(np.float64)
    after = clean[begin:].astype(np.float64)
    loud = np.abs(before) > _LOUD
    return float(10 * np.log10(np.mean(before[loud] ** 2) / (np.mean(after[loud] ** 2) + 1e-3)))


def _distortion_db(near: NDArray[np.float64], passed: NDArray[np.float64]) -> float:
    """Ratio of the speaker's own samples to everything else, in dB (scale-invariant, SI-SDR)."""
    best = -np.inf
    for shift in range(0, _MOST_SHIFT, 8):
        got = passed[shift : shift + len(near)]
        said = near[: len(got)]
        power = float(said @ said)
        scale = float(got @ said) / power
        rest = got - scale * said
        best = max(best, 10 * np.log10((scale**2 * power + 1e-3) / (float(rest @ rest) + 1e-3)))
    return float(best)
