"""Words of a text as the search finds them, the same for every database; pure.

Scripts with spaces are cut into words; case, width and the accents of Latin letters do not count. Scripts
without spaces (Chinese, Japanese, Thai, …), and Korean, whose particles stick to the words, are cut into
pairs of characters, as Lucene does it for Chinese, Japanese and Korean: most words of Chinese have two.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MAX_WORD_CHARS: Final = 40
"""Longer words are cut, in texts and in what is searched for."""
MAX_WORDS: Final = 1_500
"""Different words of a turn that are indexed."""
MAX_ASKED: Final = 16
"""Words of a search; further ones are left out."""
MIN_PREFIX_CHARS: Final = 2
"""Least characters of a beginning of words (`light*`)."""

# Han, kana, Bopomofo, Hangul; Thai, Lao, Myanmar, Khmer. After NFKC no half-width forms are left.
_DENSE: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u3096\u3099-\u309f\u30a1-\u30ff\u3105-\u312f"
    "\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\U00020000-\U000323af"
)
_PIECES: Final = re.compile(rf"([{_DENSE}]+)|([^\W_{_DENSE}]+)(\*?)")
_LATIN_MARK: Final = re.compile(r"([a-z])[\u0300-\u036f]+")
_SPECIAL: Final = str.maketrans({"đ": "d", "ł": "l", "ø": "o", "ı": "i"})


@dataclass(frozen=True, slots=True)
class Asked:
    """A search: a turn must have all `words`, and a word that begins with each of `prefixes`."""

    words: tuple[str, ...]
    prefixes: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.words or self.prefixes)


def indexed(*texts: str) -> list[str]:
    """The different words of `texts`, at most MAX_WORDS."""
    found: dict[str, None] = {}
    for text in texts:
        for piece, dense, _ in _pieces(text):
            found.update(dict.fromkeys([*piece, *_pairs(piece)] if dense else [piece[:MAX_WORD_CHARS]]))
            if len(found) >= MAX_WORDS:
                return list(found)[:MAX_WORDS]
    return list(found)


def asked(text: str) -> Asked:
    """The words of a search; one with `*` at its end is the beginning of words."""
    words: dict[str, None] = {}
    prefixes: dict[str, None] = {}
    for piece, dense, is_prefix in _pieces(text):
        if dense:
            words.update(dict.fromkeys(_pairs(piece) or [piece]))
        elif is_prefix and len(piece) >= MIN_PREFIX_CHARS:
            prefixes[piece[:MAX_WORD_CHARS]] = None
        else:
            words[piece[:MAX_WORD_CHARS]] = None
    begun = tuple(prefixes)[:MAX_ASKED]
    return Asked(tuple(words)[: MAX_ASKED - len(begun)], begun)


def _pieces(text: str) -> Iterator[tuple[str, bool, bool]]:
    """Runs of characters that make words, whether they are of a script without spaces, and whether `*`
    follows."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    if not plain.isascii():
        latin = _LATIN_MARK.sub(r"\1", unicodedata.normalize("NFD", plain))
        plain = unicodedata.normalize("NFC", latin).translate(_SPECIAL)
    for found in _PIECES.finditer(plain):
        dense, word, star = found.groups()
        yield dense or word, dense is not None, star == "*"


def _pairs(piece: str) -> list[str]:
    return [piece[at : at + 2] for at in range(len(piece) - 1)]
