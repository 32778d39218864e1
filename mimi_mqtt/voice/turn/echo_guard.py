"""Tells the assistant's own words, come back through the microphone, from what somebody says. Pure.

Only words decide: what a loudspeaker said a moment ago is heard again as the end of the reply, word for word
or nearly. Two words or less are never taken for it: "yes" and "tomorrow" are answers.
"""

import re
from difflib import SequenceMatcher
from typing import Final

WINDOW_S: Final = 2.0
"""What begins later than this after the reply has ended is no echo of it."""

_QUESTION_WINDOW_S: Final = 0.6
"""After a question the answer may well repeat its words: only what begins at once is an echo."""
_LEAST_WORDS: Final = 3
_LEAST_CHARACTERS: Final = 6  # of a language written without spaces
_SAME: Final = 0.8
_KEPT_CHARS: Final = 2_000

_WORD: Final = re.compile(r"[^\W_]+")
_UNSPACED: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")


def tokens(text: str) -> list[str]:
    """The words of `text` as they are compared; characters where a language has no spaces."""
    found: list[str] = []
    for word in _WORD.findall(text.lower().replace("'", "").replace("’", "")):
        found += list(word) if _UNSPACED.search(word) else [word]
    return found


class EchoGuard:
    """One session's memory of what was last said. Times are loop time, in s."""

    def __init__(self) -> None:
        self._said = ""
        self._ended_at: float | None = None

    def said(self, text: str, ended_at: float) -> None:
        """A reply of which `text` was heard has ended."""
        self._said = text[-_KEPT_CHARS:]
        self._ended_at = ended_at

    def repeats(self, heard: str, began_at: float) -> bool:
        """Whether `heard`, whose speech began at `began_at`, is the end of the last reply come back."""
        if self._ended_at is None:
            return False
        asked = self._said.rstrip().endswith(("?", "？"))
        if began_at - self._ended_at > (_QUESTION_WINDOW_S if asked else WINDOW_S):
            return False
        return resembles(heard, self._said)


def resembles(heard: str, said: str) -> bool:
    """Whether `heard` repeats a stretch of `said`: at least four of five of its words, in their order."""
    words, past = tokens(heard), tokens(said)
    least = _LEAST_CHARACTERS if _UNSPACED.search(heard) else _LEAST_WORDS
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
