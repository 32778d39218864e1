"""Word error rates: what a recogniser wrote against what was said, without case, punctuation and hyphens."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mimi_mqtt.cli.bench.voice.sentences import Sentence

BY_CHARACTER: Final = frozenset({"ja", "zh", "ko"})
"""Languages judged by the character: two write no spaces, and in Korean many may be put or left out."""

_TOKEN: Final = re.compile(r"\d+(?:[:.,]\d+)*|[^\W\d_]+(?:'[^\W\d_]+)*|[%×*+=°]|(?<=\s)-(?=\s)")
_APOSTROPHES: Final = str.maketrans({"’": "'", "‘": "'", "ʼ": "'"})


@dataclass(frozen=True, slots=True)
class Score:
    """Errors among `tokens` (words or characters that were said); `exact` of `sentences` have none."""

    errors: int = 0
    tokens: int = 0
    exact: int = 0
    sentences: int = 0

    def __add__(self, other: "Score") -> "Score":
        return Score(
            self.errors + other.errors,
            self.tokens + other.tokens,
            self.exact + other.exact,
            self.sentences + other.sentences,
        )

    @property
    def error_percent(self) -> float | None:
        """Errors in a hundred words or characters, which may exceed 100; None when nothing was said."""
        return round(100 * self.errors / self.tokens, 1) if self.tokens else None

    @property
    def exact_percent(self) -> float | None:
        """Share of sentences without an error; None when there are none."""
        return round(100 * self.exact / self.sentences, 1) if self.sentences else None


def tokens(text: str, language: str) -> list[str]:
    """The words of `text`, or its characters in a language judged by these; letters in lower case."""
    plain = unicodedata.normalize("NFKC", text).casefold().translate(_APOSTROPHES)
    if language == "ru":
        plain = plain.replace("ё", "е")  # may be written either way
    words = _TOKEN.findall(plain)
    return list("".join(words)) if language in BY_CHARACTER else words


def edits(said: Sequence[str], written: Sequence[str]) -> int:
    """The least number of words put in, left out or replaced (Levenshtein's distance)."""
    row = list(range(len(written) + 1))
    for number, token in enumerate(said, 1):
        diagonal, row[0] = row[0], number
        for column, other in enumerate(written, 1):
            diagonal, row[column] = (
                row[column],
                min(row[column] + 1, row[column - 1] + 1, diagonal + (token != other)),
            )
    return row[-1]


def score(sentence: Sentence, written: str, language: str) -> Score:
    """The score of what was `written` for a sentence, against that of its spellings which is nearest."""
    heard = tokens(written, language)
    errors, length = min(
        (edits(said, heard), len(said)) for said in (tokens(text, language) for text in sentence.spellings)
    )
    return Score(errors, length, int(errors == 0), 1)
