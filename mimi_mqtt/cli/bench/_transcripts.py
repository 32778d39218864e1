"""Transcripts by a real recogniser at every pause of a corpus; part of `bench turns`.

It is asked as the server asks it for a preemptive reply: with all that was heard from just before the speech
to the pause. The pauses are the same for every strategy, until it ends the utterance.
"""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.cli.bench._corpus import FRAME, FRAME_MS, Utterance
from mimi_mqtt.cli.bench.voice.providers import transcribed
from mimi_mqtt.providers.contract.stt import SpeechToText
from mimi_mqtt.voice.answer.pipeline.preemptive import MAX_PREEMPTIVE_REPLIES
from mimi_mqtt.voice.utterance.endpointing import (
    Endpointer,
    EndpointSettings,
    SpeechBegan,
    SpeechPaused,
    SpeechWent,
)
from mimi_mqtt.voice.utterance.endpointing.fixed import FixedSilence

_NEVER_MS: Final = 1e9


@dataclass(frozen=True, slots=True)
class Transcripts:
    """`written` has, for each utterance, the text by the number of frames that were heard up to the pause.

    `answer_s` is the median of the time that it took.
    """

    written: Sequence[Mapping[int, str]]
    answer_s: float


def pauses(settings: EndpointSettings, pcm: Pcm, probabilities: Sequence[float]) -> list[tuple[int, Pcm]]:
    """The frames at which the speaker has paused, and what the server has heard of the utterance by then."""
    endpointer = Endpointer(settings, FixedSilence(_NEVER_MS), 0.0)
    audio: list[Pcm] = []
    found: list[tuple[int, Pcm]] = []
    for number, probability in enumerate(probabilities):
        frame = pcm[number * FRAME : (number + 1) * FRAME]
        now = (number + 1) * FRAME_MS / 1000
        for event in endpointer.frame(frame, FRAME_MS, probability, now):
            match event:
                case SpeechBegan(heard):
                    audio += heard
                case SpeechWent(heard):
                    audio.append(heard)
                case SpeechPaused():
                    found.append((number + 1, np.concatenate(audio)))
    return found[:MAX_PREEMPTIVE_REPLIES]


async def transcripts(
    stt: SpeechToText,
    settings: EndpointSettings,
    utterances: Sequence[Utterance],
    heard: Sequence[Sequence[float]],
) -> Transcripts:
    """Asks `stt` at every pause of every utterance. Raises ProviderError."""
    took: list[float] = []
    written: list[Mapping[int, str]] = []
    for utterance, probabilities in zip(utterances, heard, strict=True):
        texts: dict[int, str] = {}
        for frame, pcm in pauses(settings, utterance.pcm, probabilities):
            began = time.perf_counter()
            texts[frame] = (await transcribed(stt, pcm, utterance.language)).text
            took.append(time.perf_counter() - began)
        written.append(texts)
    return Transcripts(written, statistics.median(took) if took else 0.0)
