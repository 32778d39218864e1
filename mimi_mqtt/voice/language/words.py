"""Words of a text as they are compared and joined, in scripts with and without spaces. Pure."""

import re
from difflib import SequenceMatcher
from typing import Final

from mimi_mqtt.providers.languages import is_unspaced

_LEAST_WORDS: Final = 3
_LEAST_CHARACTERS: Final = 6  # of a language written without spaces
_SAME: Final = 0.8

_WORD: Final = re.compile(r"[^\W_]+")


def tokens(text: str) -> list[str]:
    """The words of `text` in lower case; single characters of a script without spaces."""
    found: list[str] = []
    for word in _WORD.findall(text.lower().replace("'", "").replace("’", "")):
        found += list(word) if any(map(is_unspaced, word)) else [word]
    return found


def resembles(heard: str, said: str) -> bool:
    """True when `heard` repeats a stretch of `said`: at least four of five of its words, in their order.

    Two words or less never do: "yes" and "tomorrow" are answers.
    """
    words, past = tokens(heard), tokens(said)
    least = _LEAST_CHARACTERS if any(map(is_unspaced, heard)) else _LEAST_WORDS
    if len(words) < least:
        return False
    matcher = SequenceMatcher(None, past, words, autojunk=False)
    blocks = [block for block in matcher.get_matching_blocks() if block.size]
    if not blocks:
        return False
    same = sum(block.size for block in blocks)
    stretch = blocks[-1].a + blocks[-1].size - blocks[0].a
    # Words strewn over a long reply are a coincidence: an echo has no gaps.
    return same >= _SAME * len(words) and stretch <= len(words) / _SAME + 1


def join(before: str, after: str) -> str:
    """Both parts of an utterance as one text."""
    unspaced = before and after and is_unspaced(before[-1]) and is_unspaced(after[0])
    return f"{before}{'' if unspaced else ' '}{after}".strip()
