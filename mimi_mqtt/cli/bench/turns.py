"""Turn-taking over a corpus made on the spot: how soon the end of speech is found, and how often too soon.

The voice detector, the endpointing and the echo canceller are the real ones; audio comes in frames of 60 ms
on a simulated clock, faster than real time. The recogniser is simulated: it knows every word some time after
it was said, without punctuation, and judges an utterance over after a short silence of its own. Network and
Opus are left out. Latencies are in ms of audio, so they don't depend on this machine.

`felt` is the decision less what the eager answer has saved by then: as if so early a decision had been made
without it.
"""

import argparse
import asyncio
import functools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.echo_canceller import EchoCanceller
from mimi_mqtt.cli.bench._corpus import RATE, Corpus, Duplex, Speaker, Utterance
from mimi_mqtt.config.settings import ProviderSettings, SessionSettings, VoiceSettings
from mimi_mqtt.providers import registry
from mimi_mqtt.providers.base import VoiceActivityDetector
from mimi_mqtt.voice.endpointing import (
    End,
    Endpointer,
    EndpointSettings,
    SpeechBegan,
    SpeechPaused,
    SpeechWentOn,
    Spoken,
    UtteranceEnded,
    endpointing,
)
from mimi_mqtt.voice.listening import BARGE_IN_THRESHOLD

FRAME_MS: Final = 60
_FRAME: Final = RATE * FRAME_MS // 1000
_BATCH: Final = 64
_STRATEGIES: Final = ("fixed", "adaptive", "transcript", "vendor")
_VENDOR_SILENCE_S: Final = 0.3
_MISSED_AFTER_S: Final = 1.5
_SETTLED_S: Final = 1.0
_LOUD: Final = 200.0


def _count(low: int, high: int, text: str) -> int:
    value = int(text)
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"must be from {low} to {high}")
    return value


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the size of the corpus and what is assumed of providers."""
    defaults = VoiceSettings()
    for name, low, high, default, meaning in (
        ("--speakers", 1, 100, 14, "speakers, each in a session"),
        ("--utterances", 1, 200, 20, "utterances of each"),
        ("--duplexes", 3, 300, 48, "replies that are, or are not, interrupted"),
        ("--seed", 0, 1 << 31, 7, "seed of the corpus"),
        ("--end-silence-ms", 200, 5000, defaults.end_silence_ms, "voice.end_silence_ms"),
        ("--eager-silence-ms", 60, 5000, defaults.eager_silence_ms or 180, "voice.eager_silence_ms"),
        ("--barge-in-ms", 60, 5000, defaults.barge_in_ms or 180, "voice.barge_in_ms"),
        ("--recogniser-ms", 0, 2000, 300, "how long after it was said a word is known"),
        ("--answer-ms", 0, 5000, 700, "from the decision to the first word of the answer"),
    ):
        parser.add_argument(
            name, type=functools.partial(_count, low, high), default=default, metavar="N",
            help=f"{meaning} ({default})",
        )  # fmt: skip


def measure(args: argparse.Namespace) -> dict[str, object]:
    """Makes the corpus and judges every strategy, eager turns and barge-in by it."""
    return asyncio.run(_measure(args))


async def _measure(args: argparse.Namespace) -> dict[str, object]:
    settings = ProviderSettings(tts=("offline",))
    tts, vad = registry.build("tts", settings, {}), registry.build("vad", settings, {})
    await tts.start()
    await vad.start()
    try:
        corpus = Corpus(tts, args.seed)
        speakers = corpus.speakers(args.speakers)
        utterances = await corpus.utterances(speakers, args.utterances)
        duplexes = await corpus.duplexes(args.duplexes)
        heard = _probabilities(vad, [utterance.pcm for utterance in utterances])
        figures: dict[str, object] = {
            "bench": "turns",
            "speakers": len(speakers),
            "utterances": len(utterances),
            "audio_s": round(sum(len(utterance.pcm) for utterance in utterances) / RATE),
        }
        for strategy in _STRATEGIES:
            voice = VoiceSettings.model_validate(
                {
                    "endpointing": strategy,
                    "end_silence_ms": args.end_silence_ms,
                    "eager_silence_ms": args.eager_silence_ms,
                }
            )
            results = _replay(voice, speakers, utterances, heard, args.recogniser_ms / 1000)
            figures |= _judge(strategy, results, args.answer_ms)
        return figures | _barge_in(vad, duplexes, args.barge_in_ms)
    finally:
        await vad.aclose()
        await tts.aclose()


def _probabilities(vad: VoiceActivityDetector, recordings: Sequence[Pcm]) -> list[list[float]]:
    """The detector's judgement of each frame, many recordings at a time."""
    found: list[list[float]] = [[] for _ in recordings]
    for begin in range(0, len(recordings), _BATCH):
        streams = [(index, vad.open()) for index in range(begin, min(begin + _BATCH, len(recordings)))]
        at = 0
        while streams := [
            (index, stream) for index, stream in streams if at + _FRAME <= len(recordings[index])
        ]:
            batch = [(stream, recordings[index][at : at + _FRAME]) for index, stream in streams]
            for (index, _), probability in zip(streams, vad.probabilities(batch), strict=True):
                found[index].append(probability)
            at += _FRAME
    return found


# ── the end of an utterance ──────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Result:
    """Times in ms after the true end of speech; None: never. `eager` is the pause the last guess began at."""

    decided: float | None
    eager: float | None
    guesses: int


def _replay(
    voice: VoiceSettings,
    speakers: Sequence[Speaker],
    utterances: Sequence[Utterance],
    heard: Sequence[Sequence[float]],
    recogniser_s: float,
) -> list[_Result]:
    """What one strategy, one instance a speaker, makes of the corpus."""
    strategies = [endpointing(voice, functools.partial(str, speaker.language)) for speaker in speakers]
    settings = EndpointSettings(
        speech_threshold=voice.speech_threshold,
        min_speech_ms=voice.min_speech_ms,
        preroll_ms=voice.preroll_ms,
        eager_silence_ms=voice.eager_silence_ms,
    )
    results = []
    for utterance, probabilities in zip(utterances, heard, strict=True):
        now = 0.0
        endpointer = Endpointer(
            settings, strategies[utterance.speaker], 0.0, lambda: _spoken(utterance, now, recogniser_s)  # noqa: B023
        )  # fmt: skip
        decided = eager = None
        guesses = 0
        for number, probability in enumerate(probabilities):
            now = (number + 1) * FRAME_MS / 1000
            pcm = utterance.pcm[number * _FRAME : (number + 1) * _FRAME]
            after_ms = (now - utterance.speech_end_s) * 1000
            for event in endpointer.frame(pcm, FRAME_MS, probability, now):
                if isinstance(event, SpeechPaused):
                    eager = after_ms
                    guesses += 1
                elif isinstance(event, SpeechWentOn):
                    eager = None
                elif isinstance(event, UtteranceEnded) and event.reason is End.SILENCE:
                    decided = after_ms
            if decided is not None:
                break
        results.append(_Result(decided, eager, guesses))
    return results


def _spoken(utterance: Utterance, now: float, recogniser_s: float) -> Spoken:
    """What the simulated recogniser knows by `now`."""
    known = [(at, text) for at, text in utterance.words if at + recogniser_s <= now]
    if not known:
        return Spoken()
    silent_since = max(at for at, _ in utterance.words if at <= now)
    coming = [at for at, _ in utterance.words if at > now]
    endpoint = now - silent_since >= _VENDOR_SILENCE_S + recogniser_s / 2 and (
        not coming or coming[0] - silent_since > _VENDOR_SILENCE_S
    )
    return Spoken(known[-1][1], endpoint)


def _saving(result: _Result, answer_ms: float) -> float:
    """How much of `answer_ms` was over when the utterance was, in ms."""
    if result.eager is None or result.decided is None:
        return 0.0
    return min(result.decided - result.eager, answer_ms)


def _judge(strategy: str, results: Sequence[_Result], answer_ms: float) -> dict[str, object]:
    late = sorted(result.decided for result in results if result.decided is not None and result.decided >= 0)
    cut = sum(result.decided is not None and result.decided < 0 for result in results)
    right = [result for result in results if result.decided is not None and result.decided >= 0]
    savings = [_saving(result, answer_ms) for result in right]
    felt = sorted((result.decided or 0.0) - saved for result, saved in zip(right, savings, strict=True))
    return {
        f"{strategy}_decision_ms_p50": round(statistics.median(late)) if late else None,
        f"{strategy}_decision_ms_p95": round(late[(len(late) - 1) * 95 // 100]) if late else None,
        f"{strategy}_cut_off_percent": round(100 * cut / len(results), 1),
        f"{strategy}_never_percent": round(100 * sum(r.decided is None for r in results) / len(results), 1),
        f"{strategy}_eager_saves_ms_p50": round(statistics.median(savings)) if savings else None,
        f"{strategy}_felt_ms_p50": round(statistics.median(felt)) if felt else None,
        f"{strategy}_felt_ms_p95": round(felt[(len(felt) - 1) * 95 // 100]) if felt else None,
        f"{strategy}_guesses_per_utterance": round(sum(r.guesses for r in results) / len(results), 2),
    }


# ── speech during a reply ────────────────────────────────────────────────────────────────────────────────


def _barge_in(
    vad: VoiceActivityDetector, duplexes: Sequence[Duplex], barge_in_ms: float
) -> dict[str, object]:
    cleaned = [_cleaned(duplex) for duplex in duplexes]
    figures: dict[str, object] = {}
    for name, recordings in (("barge_in", cleaned), ("uncancelled", [duplex.heard for duplex in duplexes])):
        found = _probabilities(vad, recordings)
        began = [_first_speech(probabilities, barge_in_ms) for probabilities in found]
        pairs = list(zip(duplexes, began, strict=True))
        latencies = sorted(
            (at - duplex.spoken_at_s) * 1000
            for duplex, at in pairs
            if duplex.spoken_at_s is not None
            and at is not None
            and 0 <= at - duplex.spoken_at_s <= _MISSED_AFTER_S
        )
        spoken = [pair for pair in pairs if pair[0].spoken_at_s is not None]
        false = sum(
            at is not None and (duplex.spoken_at_s is None or at < duplex.spoken_at_s) for duplex, at in pairs
        )
        noisy = [at for duplex, at in pairs if duplex.noise_at_s is not None and at is not None]
        early = sum(at is not None and at < (duplex.spoken_at_s or 0.0) for duplex, at in spoken)
        figures |= {
            f"{name}_ms_p50": round(statistics.median(latencies)) if latencies else None,
            f"{name}_ms_p95": round(latencies[(len(latencies) - 1) * 95 // 100]) if latencies else None,
            f"{name}_false_percent": round(100 * false / len(pairs), 1),
            f"{name}_false_by_noise": len(noisy),
            f"{name}_missed_percent": round(100 * (1 - (len(latencies) + early) / max(1, len(spoken))), 1),
        }
    lead_ms = SessionSettings().playout_ahead_frames * FRAME_MS
    losses = [
        _loss_db(duplex.heard, clean)
        for duplex, clean in zip(duplexes, cleaned, strict=True)
        if duplex.spoken_at_s is None and duplex.noise_at_s is None
    ]
    return figures | {
        "barge_in_still_played_ms": lead_ms,
        "echo_return_loss_enhancement_db_p50": round(statistics.median(losses), 1),
        "echo_return_loss_enhancement_db_min": round(min(losses), 1),
        "replies": len(duplexes),
    }


def _cleaned(duplex: Duplex) -> Pcm:
    canceller = EchoCanceller()
    frames = len(duplex.heard) // _FRAME
    ahead = SessionSettings().playout_ahead_frames
    clean, sent = [], 0
    for number in range(frames):
        while sent < min(frames, number + 1 + ahead):
            canceller.played((sent + 1) * FRAME_MS, duplex.played[sent * _FRAME : (sent + 1) * _FRAME])
            sent += 1
        heard = duplex.heard[number * _FRAME : (number + 1) * _FRAME]
        clean.append(canceller.clean(heard, (number + 1) * FRAME_MS))
    return np.concatenate(clean)


def _first_speech(probabilities: Sequence[float], barge_in_ms: float) -> float | None:
    """When speech counts as a barge-in, in s."""
    voice = VoiceSettings()
    endpointer = Endpointer(
        EndpointSettings(BARGE_IN_THRESHOLD, barge_in_ms, voice.preroll_ms),
        endpointing(voice, lambda: "en"),
        0.0,
    )
    silence = np.zeros(_FRAME, np.int16)
    for number, probability in enumerate(probabilities):
        now = (number + 1) * FRAME_MS / 1000
        if any(isinstance(e, SpeechBegan) for e in endpointer.frame(silence, FRAME_MS, probability, now)):
            return now
    return None


def _loss_db(heard: Pcm, clean: Pcm) -> float:
    """How much less of the echo is left, where there is any, once the canceller knows the room."""
    begin = int(_SETTLED_S * RATE)
    before = heard[begin : len(clean)].astype(np.float64)
    after = clean[begin:].astype(np.float64)
    loud = np.abs(before) > _LOUD
    return float(10 * np.log10(np.mean(before[loud] ** 2) / (np.mean(after[loud] ** 2) + 1e-3)))
