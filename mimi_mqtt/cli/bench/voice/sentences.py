"""The sentences of `bench voice`: for each language as many ordinary ones as commands, one file a language.

`{ten|10}` in a file are spellings that count as equal; the first is the one that is spoken.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

import yaml
from pydantic import BaseModel, ConfigDict, Field

LANGUAGES: Final = ("en", "de", "es", "fr", "pt", "ru", "vi", "ja", "zh", "ko")
"""The languages that have sentences."""

MAX_SPELLINGS: Final = 64
"""Most spellings of one sentence, over all its braces."""

_CHOICE: Final = re.compile(r"\{([^{}]*)\}")


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    ordinary: tuple[str, ...] = Field(alias="open")
    commands: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence: `spoken` is what a voice is given, `spellings` what a recogniser may write for it."""

    spoken: str
    spellings: tuple[str, ...]
    command: bool


def read(line: str, *, command: bool = False) -> Sentence:
    """The sentence of one line of a file. Raises ValueError for one with too many spellings."""
    parts = _CHOICE.split(line)
    choices = [part.split("|") if number % 2 else [part] for number, part in enumerate(parts)]
    spellings = tuple(itertools.islice(map("".join, itertools.product(*choices)), MAX_SPELLINGS + 1))
    if len(spellings) > MAX_SPELLINGS:
        raise ValueError(f"{line!r} has more than {MAX_SPELLINGS} spellings")
    return Sentence(spellings[0], spellings, command)


@cache
def _all(language: str) -> tuple[Sequence[Sentence], Sequence[Sentence]]:
    text = (
        files("mimi_mqtt.cli.bench.voice")
        .joinpath("material", f"{language}.yaml")
        .read_text(encoding="utf-8")
    )
    file = _File.model_validate(yaml.safe_load(text))
    return [read(line) for line in file.ordinary], [read(line, command=True) for line in file.commands]


def sentences(language: str, each: int) -> list[Sentence]:
    """The first `each` ordinary sentences and the first `each` commands of one of LANGUAGES, by turns."""
    ordinary, commands = _all(language)
    return list(itertools.chain.from_iterable(zip(ordinary[:each], commands[:each], strict=True)))
