"""Errors and times of a recogniser over sentences, speakers and conditions; part of `bench voice`."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from mimi_mqtt.audio import Pcm
from mimi_mqtt.cli.bench._corpus import RATE
from mimi_mqtt.cli.bench.voice.channel import CLEAN, CONDITIONS, Condition, through
from mimi_mqtt.cli.bench.voice.providers import percentile, transcribed
from mimi_mqtt.cli.bench.voice.scoring import BY_CHARACTER, Score, score
from mimi_mqtt.cli.bench.voice.sentences import Sentence
from mimi_mqtt.cli.bench.voice.speakers import Kind, Recordings, Speaker
from mimi_mqtt.cli.bench.voice.stalls import Stalls
from mimi_mqtt.providers.contract.provider import speaks
from mimi_mqtt.providers.contract.stt import SpeechToText
from mimi_mqtt.providers.languages import primary

KINDS: Final[Sequence[Kind]] = ("neural", "recorded", "formant")


@dataclass(frozen=True, slots=True)
class Utterance:
    """One sentence as the server hears it under a condition."""

    sentence: Sentence
    pcm: Pcm


@dataclass(slots=True)
class Tally:
    """Scores of ordinary sentences and of commands, and what hearing them took, in seconds.

    `written` has each sentence that was not written exactly, and what was written instead.
    """

    ordinary: Score = field(default_factory=Score)
    commands: Score = field(default_factory=Score)
    took: list[float] = field(default_factory=list)
    cpu_s: float = 0.0
    audio_s: float = 0.0
    written: list[tuple[str, str]] = field(default_factory=list)
    stalls: Stalls = field(default_factory=Stalls)

    def figures(self, language: str) -> dict[str, object]:
        """The row of the result. CPU time is this process's, without its children's."""
        rate = "cer" if language in BY_CHARACTER else "wer"
        both = self.ordinary + self.commands
        return {
            f"{rate}_percent": both.error_percent,
            f"{rate}_percent_ordinary": self.ordinary.error_percent,
            f"{rate}_percent_commands": self.commands.error_percent,
            "exact_percent": both.exact_percent,
            "utterances": both.sentences,
            "tokens": both.tokens,
            "ms_p50": percentile(self.took, 50),
            "ms_p95": percentile(self.took, 95),
            "s_per_audio_s": round(sum(self.took) / self.audio_s, 3) if self.audio_s else None,
            "cpu_s_per_audio_s": round(self.cpu_s / self.audio_s, 3) if self.audio_s else None,
            **self.stalls.figures(),
        }


async def corpus(
    recordings: Recordings,
    speakers: Sequence[Speaker],
    chosen: Sequence[Sentence],
    condition: Condition,
    seed: int,
) -> list[Utterance]:
    """Each of the `chosen` sentences under `condition`, the `speakers` taking turns. Raises MimiError."""
    made: list[Utterance | None] = [None] * len(chosen)
    for index, speaker in enumerate(speakers):
        own = range(index, len(chosen), len(speakers))
        speech = await recordings.of(speaker, [chosen[number].spoken for number in own])
        for number, said in zip(own, speech, strict=True):
            made[number] = Utterance(chosen[number], through(said, condition, seed + number))
    return [utterance for utterance in made if utterance is not None]


async def heard(stt: SpeechToText, utterances: Sequence[Utterance], language: str) -> Tally:
    """Transcripts of the utterances by `stt`, one after the other. Raises ProviderError."""
    tally = Tally()
    for utterance in utterances:
        async with tally.stalls.watched():
            began, cpu = time.perf_counter(), time.process_time()
            text = (await transcribed(stt, utterance.pcm, language)).text
            tally.took.append(time.perf_counter() - began)
            tally.cpu_s += time.process_time() - cpu
        tally.audio_s += utterance.pcm.size / RATE
        found = score(utterance.sentence, text, language)
        if utterance.sentence.command:
            tally.commands += found
        else:
            tally.ordinary += found
        if found.errors:
            tally.written.append((utterance.sentence.spoken, text))
    return tally


async def languages_found(stt: SpeechToText, utterances: Sequence[Utterance], language: str) -> float:
    """Percentage of utterances whose language `stt` finds when another is expected. Raises ProviderError."""
    expected = "en" if language != "en" else "de"
    told = [
        (await transcribed(stt, utterance.pcm, expected, certain=False)).language for utterance in utterances
    ]
    found = sum(tag is not None and primary(tag) == language for tag in told)
    return round(100 * found / len(told), 1)


async def rows(
    stt: SpeechToText,
    name: str,
    language: str,
    recordings: Recordings,
    speakers: Sequence[Speaker],
    chosen: Sequence[Sentence],
    seed: int,
    *,
    texts: bool,
) -> list[dict[str, object]]:
    """A row for each kind of speaker and each condition; with `texts` also what was written wrongly."""
    made: list[dict[str, object]] = []
    for kind in KINDS:
        of_kind = [speaker for speaker in speakers if speaker.kind == kind]
        if not of_kind:
            continue
        for condition in CONDITIONS:
            utterances = await corpus(recordings, of_kind, chosen, condition, seed)
            tally = await heard(stt, utterances, language)
            row: dict[str, object] = {
                "recogniser": name,
                "language": language,
                "speakers": kind,
                "condition": condition.name,
                **tally.figures(language),
            }
            if condition is CLEAN and speaks(stt.capabilities.detects, language):
                row["language_found_percent"] = await languages_found(stt, utterances, language)
            made.append(row | ({"wrong": tally.written} if texts else {}))
    return made
