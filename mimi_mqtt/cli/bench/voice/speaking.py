"""Intelligibility and time to first audio of the server's own voices; part of `bench voice`."""

import time
from collections.abc import Sequence
from contextlib import aclosing

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.resample import Resampler
from mimi_mqtt.cli.bench._corpus import RATE
from mimi_mqtt.cli.bench.voice.channel import CLEAN, through
from mimi_mqtt.cli.bench.voice.hearing import Utterance, heard
from mimi_mqtt.cli.bench.voice.providers import Providers, percentile
from mimi_mqtt.cli.bench.voice.sentences import Sentence
from mimi_mqtt.cli.bench.voice.speakers import trimmed
from mimi_mqtt.cli.bench.voice.stalls import Stalls
from mimi_mqtt.providers.contract.stt import SpeechToText
from mimi_mqtt.providers.contract.tts import TextToSpeech, VoiceOptions


async def row(
    providers: Providers,
    name: str,
    language: str,
    recognisers: Sequence[tuple[str, SpeechToText]],
    chosen: Sequence[Sentence],
    seed: int,
) -> dict[str, object]:
    """First audio and speed of the voice `name`, and the error rate of each recogniser that listens to it.

    Raises MimiError for a voice that is not installed, or that fails.
    """
    first: list[float] = []
    took: list[float] = []
    utterances: list[Utterance] = []
    cpu_s = audio_s = 0.0
    stalls = Stalls()
    async with providers.voice(name) as tts:
        await _say(tts, chosen[0].spoken, language)  # what is loaded at the first word is not counted
        for number, sentence in enumerate(chosen):
            async with stalls.watched():
                cpu = time.process_time()
                speech, rate, first_s, whole_s = await _say(tts, sentence.spoken, language)
                cpu_s += time.process_time() - cpu
            pcm = Resampler(rate, RATE).process(speech, last=True)
            first.append(first_s)
            took.append(whole_s)
            audio_s += pcm.size / RATE
            heard_as = through(trimmed(pcm).astype(np.float64), CLEAN, seed + number)
            utterances.append(Utterance(sentence, heard_as))
    figures: dict[str, object] = {
        "voice": name,
        "language": language,
        "first_audio_ms_p50": percentile(first, 50),
        "first_audio_ms_p95": percentile(first, 95),
        "sentence_ms_p50": percentile(took, 50),
        "s_per_audio_s": round(sum(took) / audio_s, 3),
        "cpu_s_per_audio_s": round(cpu_s / audio_s, 3),
        "sentences": len(chosen),
        **stalls.figures(),
    }
    for recogniser, stt in recognisers:
        tally = await heard(stt, utterances, language)
        figures[f"error_percent_heard_by_{recogniser}"] = (tally.ordinary + tally.commands).error_percent
    return figures


async def _say(tts: TextToSpeech, text: str, language: str) -> tuple[Pcm, int, float, float]:
    """The speech, its rate in Hz, and the seconds to its first chunk and to its end."""
    began = time.perf_counter()
    first_s = 0.0
    chunks: list[Pcm] = []
    rate = RATE
    async with aclosing(tts.speak(text, VoiceOptions(language))) as speech:
        async for chunk in speech:
            if not chunks:
                first_s = time.perf_counter() - began
            chunks.append(chunk.pcm)
            rate = chunk.sample_rate
    took = time.perf_counter() - began
    return np.concatenate(chunks), rate, first_s, took
