"""Accuracy of recognisers, intelligibility of voices, and the waiting time for both.

Sentences (`sentences`) are spoken by voices other than the server's own default (`speakers`), pass through
noise, Opus and losses (`channel`), and what recognisers write is compared with what was said (`scoring`,
`hearing`). `speaking` measures the server's voices, `talkers` many people at once, `answering` a whole
server.
It imports providers by name and the simulated device; nothing but `mimi-mqtt bench` imports it.

Rates are shares of wrong words (`wer`), or of wrong characters in languages judged by these (`cer`). Times
depend on the machine; `cpu_s_per_audio_s` does least. What can't be measured here is named in `not_measured`.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from mimi_mqtt.cli.bench._options import bounded
from mimi_mqtt.cli.bench.voice import answering, hearing, speaking, talkers
from mimi_mqtt.cli.bench.voice.channel import CLEAN
from mimi_mqtt.cli.bench.voice.providers import Providers
from mimi_mqtt.cli.bench.voice.sentences import LANGUAGES, Sentence, sentences
from mimi_mqtt.cli.bench.voice.speakers import Recordings, Speaker, present
from mimi_mqtt.errors import MimiError
from mimi_mqtt.models.catalog import small_set
from mimi_mqtt.models.folder import default_models_dir
from mimi_mqtt.providers.catalog.local_models import provider_name
from mimi_mqtt.providers.contract.stt import SpeechToText

MAX_TALKERS: Final = 500
"""Most people who talk at once."""

_VOICE_SENTENCES: Final = 10
_TALKER_SENTENCES: Final = 20
_PARTS: Final = ("hearing", "voices", "talkers", "answers")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares what is measured, and how much of it."""
    parser.add_argument(
        "--languages", type=_languages, default=("en",), metavar="TAGS",
        help=f"of {','.join(LANGUAGES)}, or all (default: en)",
    )  # fmt: skip
    parser.add_argument(
        "--recognisers", type=_names, default=(), metavar="NAMES",
        help="providers such as faster_whisper:whisper-base,offline (default: the installed models)",
    )  # fmt: skip
    parser.add_argument(
        "--voices", type=_names, default=(), metavar="NAMES",
        help="providers such as hibari,offline (default: the installed models, and offline)",
    )  # fmt: skip
    parser.add_argument(
        "--talkers", type=_counts, default=(10, 50, 100), metavar="N,…",
        help="how many people talk at once (default: 10,50,100)",
    )  # fmt: skip
    parser.add_argument(
        "--only", type=_parts, default=_PARTS, metavar="PARTS", help=f"of {','.join(_PARTS)} (default: all)"
    )
    parser.add_argument(
        "--models-dir", type=Path, default=None, metavar="FOLDER",
        help="folder of models (default: this user's)",
    )  # fmt: skip
    parser.add_argument("--texts", action="store_true", help="also what was written where it was wrong")
    bounded(
        parser,
        ("--sentences", 1, 50, 20, "ordinary sentences, and as many commands, of each language"),
        ("--turns", 1, 100, 20, "turns with a whole server"),
        ("--seed", 0, 1 << 31, 7, "seed of noise and losses"),
    )


def measure(args: argparse.Namespace) -> dict[str, object]:
    """Measures all parts; errors in percent, times in ms."""
    return asyncio.run(_measure(args))


async def _measure(args: argparse.Namespace) -> dict[str, object]:
    began = time.perf_counter()
    figures: dict[str, object] = {"bench": "voice", "sentences": 2 * args.sentences}
    with tempfile.TemporaryDirectory() as folder:
        for language in args.languages:
            run = _Language(args, language, Providers(args.models_dir))
            figures[language] = await run.figures(Path(folder))
    return figures | {"took_s": round(time.perf_counter() - began)}


class _Language:
    """The measurements of one language."""

    def __init__(self, args: argparse.Namespace, language: str, providers: Providers) -> None:
        self._args = args
        self._language = language
        self._providers = providers
        self._chosen: list[Sentence] = sentences(language, args.sentences)
        self._not_measured: list[str] = []

    async def figures(self, folder: Path) -> dict[str, object]:
        """The rows of each part."""
        args, language = self._args, self._language
        made: dict[str, object] = {}
        place = folder / language
        place.mkdir()
        recordings, speakers, lacking = await present(self._providers, place, language)
        self._not_measured += lacking
        async with AsyncExitStack() as stack:
            recognisers = await self._recognisers(stack) if set(args.only) != {"answers"} else []
            if "hearing" in args.only:
                made["hearing"] = await self._hearing(recognisers, recordings, speakers)
            if "voices" in args.only:
                made["voices"] = await self._voices(recognisers)
            if "talkers" in args.only:
                made["talkers"] = await self._talkers(recognisers, recordings, speakers)
        if "answers" in args.only and speakers:
            made["answers"] = await self._answers(recordings, speakers)
        return made | {"speakers": [s.label for s in speakers], "not_measured": self._not_measured}

    async def _recognisers(self, stack: AsyncExitStack) -> list[tuple[str, SpeechToText]]:
        """Those asked for, or installed, started; the first is the one that counts as the default."""
        installed = [provider_name(model) for model in self._providers.installed("stt", self._language)]
        names = self._args.recognisers or installed
        if not names:
            self._not_measured.append(
                f"{self._language}: no recogniser is installed: mimi-mqtt models install"
            )
        started: list[tuple[str, SpeechToText]] = []
        for name in names:
            try:
                stt = await stack.enter_async_context(self._providers.recogniser(name))
            except MimiError as error:
                self._not_measured.append(f"recogniser {name}: {error}")
            else:
                started.append((name, stt))
        return started

    async def _hearing(
        self,
        recognisers: Sequence[tuple[str, SpeechToText]],
        recordings: Recordings,
        speakers: Sequence[Speaker],
    ) -> list[dict[str, object]]:
        rows: list[dict[str, object]] = []
        for name, stt in recognisers:
            try:
                rows += await hearing.rows(
                    stt, name, self._language, recordings, speakers, self._chosen, self._args.seed,
                    texts=self._args.texts,
                )  # fmt: skip
            except MimiError as error:
                self._not_measured.append(f"recogniser {name} for {self._language}: {error}")
        return rows

    async def _voices(self, recognisers: Sequence[tuple[str, SpeechToText]]) -> list[dict[str, object]]:
        installed = [provider_name(model) for model in self._providers.installed("tts", self._language)]
        said = self._chosen[:_VOICE_SENTENCES]
        rows: list[dict[str, object]] = []
        for name in self._args.voices or (*installed, "offline"):
            try:
                row = await speaking.row(
                    self._providers, name, self._language, recognisers, said, self._args.seed
                )
            except MimiError as error:
                self._not_measured.append(f"voice {name} for {self._language}: {error}")
            else:
                rows.append(row)
        return rows

    async def _talkers(
        self,
        recognisers: Sequence[tuple[str, SpeechToText]],
        recordings: Recordings,
        speakers: Sequence[Speaker],
    ) -> list[dict[str, object]]:
        """With the first recogniser, the default one."""
        if not recognisers or not speakers:
            return []
        name, stt = recognisers[0]
        said = self._chosen[:_TALKER_SENTENCES]
        utterances = await hearing.corpus(recordings, speakers[:1], said, CLEAN, self._args.seed)
        return [await talkers.row(stt, name, self._language, utterances, n) for n in self._args.talkers]

    async def _answers(self, recordings: Recordings, speakers: Sequence[Speaker]) -> dict[str, object]:
        """With the small set of the language, and the assistant that needs no model; the first recogniser or
        voice that was asked for takes the place of the set's."""
        models = small_set(self._language)
        providers = {model.role: provider_name(model) for model in models} | {"llm": "offline"}
        asked = {"stt": self._args.recognisers, "tts": self._args.voices}
        providers |= {role: names[0] for role, names in asked.items() if names}
        commands = [sentence.spoken for sentence in self._chosen if sentence.command]
        texts = [commands[number % len(commands)] for number in range(self._args.turns + 1)]
        try:
            speech = await recordings.of(speakers[0], texts)
            return await answering.figures(
                speech, self._language, self._args.models_dir or default_models_dir(), providers
            )
        except (MimiError, TimeoutError) as error:
            self._not_measured.append(f"answers in {self._language}: {error}")
            return {}


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in text.split(","))))


def _languages(text: str) -> tuple[str, ...]:
    return _among("language", LANGUAGES, LANGUAGES if text == "all" else _names(text))


def _parts(text: str) -> tuple[str, ...]:
    return _among("part", _PARTS, _names(text))


def _among(kind: str, known: Sequence[str], named: tuple[str, ...]) -> tuple[str, ...]:
    for name in named:
        if name not in known:
            raise argparse.ArgumentTypeError(f"there is no {kind} {name!r}; known are {', '.join(known)}")
    return named


def _counts(text: str) -> tuple[int, ...]:
    counts = tuple(int(part) if part.isdecimal() else 0 for part in _names(text))
    if not all(1 <= count <= MAX_TALKERS for count in counts):
        raise argparse.ArgumentTypeError(f"must be numbers from 1 to {MAX_TALKERS}, not {text!r}")
    return counts
