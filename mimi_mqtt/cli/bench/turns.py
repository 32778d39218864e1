"""Turn-taking over a corpus made on the spot: how soon the end of speech is found, and how often too soon.

The voice detector, the endpointing and the echo canceller are the real ones; audio comes in frames of 60 ms
on a simulated clock, faster than real time. Speech to text is simulated (`_recognisers`), unless --recogniser
names a real one: then the words are real, and it takes the median of the time that it took here. Network and
Opus are left out. Latencies are in ms of audio from the true end of speech, so nothing else depends on this
machine.

Everything is judged twice: on the sentences and voices that rules may be fitted to (`tuned_`), and on others
(`held_out_`). `decision` is when the answer may be heard; `felt` is that less what a preemptive reply saved
by then: as if so early a decision had been made without it. `could_be_all_percent` of the utterances have a
pause at which the words could be all; whoever decides within 350 ms cuts most of these off. Of those that are
cut off, `cut_off_and_joined` go on while the answer is still thought about, and are answered whole. `fluent_`
are the same sentences without a pause, as most people give commands.
"""

import argparse
import asyncio
import functools
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from mimi_mqtt.audio import Pcm
from mimi_mqtt.cli.bench import _barge_ins, _endpoints
from mimi_mqtt.cli.bench._corpus import FRAME, FRAME_MS, RATE, Corpus, Speaker, Utterance
from mimi_mqtt.cli.bench._duplex import duplexes
from mimi_mqtt.cli.bench._options import bounded
from mimi_mqtt.cli.bench._sentences import HELD_OUT, TUNED, Material, fluent
from mimi_mqtt.cli.bench._transcripts import transcripts
from mimi_mqtt.cli.bench.voice.providers import Providers
from mimi_mqtt.config.settings import SessionSettings
from mimi_mqtt.config.voice import ProviderSettings, VoiceSettings
from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.providers.contract.stt import SpeechToText
from mimi_mqtt.providers.contract.tts import TextToSpeech
from mimi_mqtt.providers.contract.vad import VoiceActivityDetector
from mimi_mqtt.voice.utterance.endpointing import endpointing
from mimi_mqtt.voice.utterance.endpointing.likelihood import LikelyEnd

_BATCH: Final = 64
_STRATEGIES: Final = (
    ("fixed", "deaf"),
    ("adaptive", "deaf"),
    ("transcript", "streaming"),
    ("vendor", "streaming"),
    ("auto", "streaming"),
    ("auto", "asked"),
    ("auto", "deaf"),
    ("auto", "heard"),
)
"""Each with the recogniser it is meant for; the default with all."""
_FLUENT: Final = (("auto", "streaming"), ("auto", "asked"), ("auto", "heard"))
_RISKS: Final = (0.01, 0.02, 0.04, 0.08, 0.15, 0.3)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the size of the corpus and what is assumed of providers."""
    defaults = VoiceSettings()
    preemptive_ms = defaults.preemptive_silence_ms or 180
    bounded(
        parser,
        ("--speakers", 1, 100, 14, "speakers of each part, each in a session"),
        ("--utterances", 1, 200, 20, "utterances of each"),
        ("--duplexes", 3, 300, 45, "replies of each part that are, or are not, interrupted"),
        ("--seed", 0, 1 << 31, 7, "seed of the corpus"),
        ("--end-silence-ms", 200, 5000, defaults.end_silence_ms, "voice.end_silence_ms"),
        ("--preemptive-silence-ms", 60, 5000, preemptive_ms, "voice.preemptive_silence_ms"),
        ("--barge-in-ms", 60, 5000, defaults.barge_in_ms or 180, "voice.barge_in_ms"),
        ("--recogniser-ms", 0, 2000, 300, "how long after it was said a word is known while streaming"),
        ("--recognition-ms", 0, 5000, 500, "how long a recogniser takes that is asked at a pause"),
        ("--answer-ms", 0, 5000, 700, "from the decision to the first word of the answer"),
    )
    parser.add_argument(
        "--risks", action="store_true",
        help="also the decision and the cut-offs at other risks: what a sooner decision costs",
    )  # fmt: skip
    parser.add_argument(
        "--recogniser", default=None, metavar="NAME",
        help="a provider that is asked for the words, such as faster_whisper:whisper-tiny-en",
    )  # fmt: skip
    for part in ("tuned", "held-out"):
        parser.add_argument(
            f"--{part}-voice", default=None, metavar="NAME",
            help=f"provider of an English voice for the {part} sentences (default: offline, many languages)",
        )  # fmt: skip
    parser.add_argument(
        "--models-dir",
        type=Path,
        default=None,
        metavar="FOLDER",
        help="folder of models (default: this user's)",
    )


def measure(args: argparse.Namespace) -> dict[str, object]:
    """Makes the corpus and judges every strategy, preemptive replies and barge-in by it."""
    return asyncio.run(_measure(args))


async def _measure(args: argparse.Namespace) -> dict[str, object]:
    began_s = time.process_time()
    providers = Providers(args.models_dir)
    figures: dict[str, object] = {
        "bench": "turns",
        "barge_in_still_played_ms": SessionSettings().playout_ahead_frames * FRAME_MS,
    }
    async with AsyncExitStack() as stack:
        tts = await stack.enter_async_context(providers.voice("offline"))
        vad = registry.build("vad", ProviderSettings(), {})
        stack.push_async_callback(vad.aclose)
        await vad.start()
        stt = (
            await stack.enter_async_context(providers.recogniser(args.recogniser))
            if args.recogniser
            else None
        )
        for part, material, named in (
            ("tuned", TUNED, args.tuned_voice),
            ("held_out", HELD_OUT, args.held_out_voice),
        ):
            speaker = await stack.enter_async_context(providers.voice(named)) if named else None
            found = await _part(args, material, tts, speaker, vad, stt)
            figures |= {f"{part}_{name}": value for name, value in found.items()}
    return figures | {"cpu_s": round(time.process_time() - began_s, 1)}


def _at_risk(
    risk: float,
    args: argparse.Namespace,
    voice: VoiceSettings,
    speakers: Sequence[Speaker],
    utterances: Sequence[Utterance],
    heard: Sequence[Sequence[float]],
) -> dict[str, float | None]:
    """One point of the curve: a sooner decision, more cut off."""
    results = _endpoints.replay(
        voice,
        lambda language: LikelyEnd(voice.end_silence_ms, language, risk),
        _endpoints.recogniser("streaming", args.recogniser_ms / 1000, 0.0),
        speakers,
        utterances,
        heard,
    )
    figures = _endpoints.judge(results, args.answer_ms)
    return {"risk": risk, **{key: figures[key] for key in ("decision_ms_p50", "cut_off_percent")}}


async def _part(
    args: argparse.Namespace,
    material: Material,
    tts: TextToSpeech,
    speaker: TextToSpeech | None,
    vad: VoiceActivityDetector,
    stt: SpeechToText | None,
) -> dict[str, object]:
    figures: dict[str, object] = {}
    voice = VoiceSettings.model_validate(
        {"end_silence_ms": args.end_silence_ms, "preemptive_silence_ms": args.preemptive_silence_ms}
    )
    # Those who never hesitate begin anew, for what is learned of a speaker counts.
    for prefix, said, strategies in (("", material, _STRATEGIES), ("fluent_", fluent(material), _FLUENT)):
        corpus = Corpus(speaker or tts, said, args.seed, variants=speaker is None)
        speakers = corpus.speakers(args.speakers)
        utterances = await corpus.utterances(speakers, args.utterances)
        heard = _probabilities(vad, [utterance.pcm for utterance in utterances])
        found = _sizes(utterances)
        makers = {
            kind: _endpoints.recogniser(kind, args.recogniser_ms / 1000, args.recognition_ms / 1000)
            for kind in ("deaf", "streaming", "asked")
        }
        if stt is not None:
            real = await transcripts(stt, _endpoints.bounds(voice), utterances, heard)
            found["recogniser_ms_p50"] = round(1000 * real.answer_s)
            makers["heard"] = _endpoints.recogniser("heard", 0.0, real.answer_s, real.written)
        for strategy, kind in strategies:
            if kind not in makers:
                continue
            chosen = voice.model_copy(update={"endpointing": strategy})
            results = _endpoints.replay(
                voice, functools.partial(endpointing, chosen), makers[kind], speakers, utterances, heard
            )
            name = f"{strategy}_{kind}" if strategy == "auto" else strategy
            judged = _endpoints.judge(results, args.answer_ms)
            found |= {f"{name}_{key}": value for key, value in judged.items()}
        if args.risks:
            found["auto_streaming_risks"] = [
                _at_risk(risk, args, voice, speakers, utterances, heard) for risk in _RISKS
            ]
        figures |= {f"{prefix}{name}": value for name, value in found.items()}
    return figures | await _barge_in_part(args, material, tts, vad)


def _sizes(utterances: Sequence[Utterance]) -> dict[str, object]:
    return {
        "utterances": len(utterances),
        "audio_s": round(sum(len(utterance.pcm) for utterance in utterances) / RATE),
        "could_be_all_percent": round(100 * sum(u.could_be_all for u in utterances) / len(utterances), 1),
    }


async def _barge_in_part(
    args: argparse.Namespace, material: Material, tts: TextToSpeech, vad: VoiceActivityDetector
) -> dict[str, object]:
    recordings = await duplexes(Corpus(tts, material, args.seed), material, args.duplexes, args.seed)
    figures: dict[str, object] = {"replies": len(recordings)}
    for name, room_known in (("barge_in", True), ("barge_in_at_first", False)):
        judged = _barge_ins.judge(
            functools.partial(_probabilities, vad), recordings, args.barge_in_ms, room_known=room_known
        )
        figures |= {f"{name}_{key}": value for key, value in judged.items()}
    return figures


def _probabilities(vad: VoiceActivityDetector, recordings: Sequence[Pcm]) -> list[list[float]]:
    """The detector's judgement of each frame, many recordings at a time."""
    found: list[list[float]] = [[] for _ in recordings]
    for begin in range(0, len(recordings), _BATCH):
        streams = [(index, vad.open()) for index in range(begin, min(begin + _BATCH, len(recordings)))]
        at = 0
        while streams := [
            (index, stream) for index, stream in streams if at + FRAME <= len(recordings[index])
        ]:
            batch = [(stream, recordings[index][at : at + FRAME]) for index, stream in streams]
            for (index, _), probability in zip(streams, vad.probabilities(batch), strict=True):
                found[index].append(probability)
            at += FRAME
    return found
