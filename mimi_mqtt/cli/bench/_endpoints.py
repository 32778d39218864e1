"""Delay of finding the end of an utterance, and the share found too soon; part of `bench turns`."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import sqrt
from typing import Final

import numpy as np

from mimi_mqtt.cli.bench._corpus import FRAME, FRAME_MS, Speaker, Utterance
from mimi_mqtt.cli.bench._recognisers import Asked, Deaf, Heard, Recogniser, Streaming
from mimi_mqtt.config.voice import VoiceSettings
from mimi_mqtt.voice.utterance.endpointing import (
    End,
    Endpointer,
    Endpointing,
    EndpointSettings,
    SpeechPaused,
    SpeechWentOn,
    UtteranceEnded,
)
from mimi_mqtt.voice.utterance.endpointing.fixed import FixedSilence

_CONFIDENCE: Final = 1.96  # standard errors, for 95 %


@dataclass(frozen=True, slots=True)
class Result:
    """Times in ms after the true end of speech; None: never. `preemptive` is the pause at which the
    last preemptive reply began, `begun` their number, `went_on` when speech was heard after the decision."""

    decided: float | None
    preemptive: float | None
    begun: int
    went_on: float | None = None

    @property
    def cut_off(self) -> bool:
        """True when the speaker had not finished."""
        return self.decided is not None and self.decided < 0


def recogniser(
    kind: str, lag_s: float, answer_s: float, written: Sequence[Mapping[int, str]] = ()
) -> Callable[[int, Utterance], Recogniser]:
    """Makes the recogniser of an utterance, given its number; one that is `heard` has what was `written`."""

    def make(number: int, utterance: Utterance) -> Recogniser:
        random = np.random.default_rng((number, 1))
        if kind == "heard":
            return Heard(utterance, answer_s, random, written[number])
        if kind == "streaming":
            return Streaming(utterance, lag_s, random)
        return Asked(utterance, answer_s, random) if kind == "asked" else Deaf()

    return make


def bounds(voice: VoiceSettings) -> EndpointSettings:
    """The bounds of an utterance that the settings name."""
    return EndpointSettings(
        speech_threshold=voice.speech_threshold,
        min_speech_ms=voice.min_speech_ms,
        preroll_ms=voice.preroll_ms,
        preemptive_silence_ms=voice.preemptive_silence_ms,
    )


def replay(
    voice: VoiceSettings,
    strategy: Callable[[Callable[[], str]], Endpointing],
    make: Callable[[int, Utterance], Recogniser],
    speakers: Sequence[Speaker],
    utterances: Sequence[Utterance],
    heard: Sequence[Sequence[float]],
) -> list[Result]:
    """Results of one strategy, with one instance a speaker, for the corpus."""
    strategies = [strategy(partial(str, speaker.language)) for speaker in speakers]
    settings = bounds(voice)
    return [
        _one(settings, strategies[utterance.speaker], make(number, utterance), utterance, probabilities)
        for number, (utterance, probabilities) in enumerate(zip(utterances, heard, strict=True))
    ]


def _one(
    settings: EndpointSettings,
    strategy: Endpointing,
    words: Recogniser,
    utterance: Utterance,
    probabilities: Sequence[float],
) -> Result:
    now = 0.0
    endpointer = Endpointer(settings, strategy, 0.0, lambda: words.spoken(now))
    preemptive = None
    begun = 0
    for number, probability in enumerate(probabilities):
        now = (number + 1) * FRAME_MS / 1000
        pcm = utterance.pcm[number * FRAME : (number + 1) * FRAME]
        after_ms = (now - utterance.speech_end_s) * 1000
        for event in endpointer.frame(pcm, FRAME_MS, probability, now):
            if isinstance(event, SpeechPaused):
                preemptive = after_ms
                begun += 1
                words.paused(now)
            elif isinstance(event, SpeechWentOn):
                preemptive = None
                words.went_on()
            elif isinstance(event, UtteranceEnded) and event.reason is End.SILENCE:
                went_on = _went_on(settings, utterance, probabilities, number + 1)
                return Result(after_ms, preemptive, begun, went_on)
    return Result(None, preemptive, begun)


def _went_on(
    settings: EndpointSettings, utterance: Utterance, probabilities: Sequence[float], begin: int
) -> float | None:
    """Times at which speech is heard from frame `begin` on, in ms after the true end of speech."""
    endpointer = Endpointer(settings, FixedSilence(0), 0.0)
    for number in range(begin, len(probabilities)):
        now = (number + 1) * FRAME_MS / 1000
        pcm = utterance.pcm[number * FRAME : (number + 1) * FRAME]
        endpointer.frame(pcm, FRAME_MS, probabilities[number], now)
        if endpointer.began:
            return (now - utterance.speech_end_s) * 1000
    return None


def _joined(result: Result, answer_ms: float) -> bool:
    """True when the speaker went on before the answer could be heard, so that the whole was answered."""
    if result.decided is None or result.went_on is None:
        return False
    return result.went_on - result.decided <= answer_ms - _saving(result, answer_ms)


def _saving(result: Result, answer_ms: float) -> float:
    """Part of `answer_ms` that was over when the utterance was, in ms."""
    if result.preemptive is None or result.decided is None:
        return 0.0
    return min(result.decided - result.preemptive, answer_ms)


def judge(results: Sequence[Result], answer_ms: float) -> Mapping[str, float | None]:
    """The figures of one strategy. Medians are of utterances that were not cut off."""
    right = [result for result in results if result.decided is not None and not result.cut_off]
    late = [result.decided or 0.0 for result in right]
    savings = [_saving(result, answer_ms) for result in right]
    felt = [decided - saved for decided, saved in zip(late, savings, strict=True)]
    cut = sum(result.cut_off for result in results)
    joined = sum(result.cut_off and _joined(result, answer_ms) for result in results)
    low, high = share(cut, len(results))
    return {
        "decision_ms_p50": median(late),
        "decision_ms_p95": percentile(late, 95),
        "cut_off_percent": round(100 * cut / len(results), 1),
        "cut_off_percent_from": low,
        "cut_off_percent_to": high,
        "cut_off_and_joined_percent": round(100 * joined / len(results), 1),
        "never_percent": round(100 * sum(r.decided is None for r in results) / len(results), 1),
        "preemptive_saves_ms_p50": median(savings),
        "felt_ms_p50": median(felt),
        "felt_ms_p95": percentile(felt, 95),
        "preemptive_per_utterance": round(sum(r.begun for r in results) / len(results), 2),
    }


def median(values: Sequence[float]) -> int | None:
    """Rounded; None of nothing."""
    return round(statistics.median(values)) if values else None


def percentile(values: Sequence[float], percent: int) -> int | None:
    """Rounded; None of nothing."""
    return round(sorted(values)[(len(values) - 1) * percent // 100]) if values else None


def share(found: int, of: int) -> tuple[float, float]:
    """Between which percentages the true share is with 95 % confidence (Wilson's interval)."""
    if not of:
        return 0.0, 100.0
    part, square = found / of, _CONFIDENCE**2
    middle = (part + square / (2 * of)) / (1 + square / of)
    width = _CONFIDENCE * sqrt(part * (1 - part) / of + square / (4 * of**2)) / (1 + square / of)
    return round(100 * max(0.0, middle - width), 1), round(100 * min(1.0, middle + width), 1)
