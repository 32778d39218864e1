"""Text in the International Phonetic Alphabet by espeak-ng, for voices that were taught with its phonemes.

Punctuation is kept, as such voices pause and raise their pitch by it.
"""

import re
from collections.abc import Iterator
from itertools import zip_longest
from typing import Final

from mimi_mqtt.providers.languages import normalized, primary_subtag
from mimi_mqtt.providers.vendors.offline.espeak_engine import Engine

_MARKS: Final = re.compile(r"([,;:.!?…]+(?=\s|$)|[，、；：。！？]+)")
_LATIN_MARK: Final = {"…": ".", "，": ",", "、": ",", "；": ";", "：": ":", "。": ".", "！": "!", "？": "?"}
_MARKS_HEARD: Final = ",;:.!?"
_SWITCH: Final = re.compile(r"\([a-z^][a-z0-9^-]{1,15}\)")
"""The library's note that it says a word in another language: `(en)`, or `(^e^n)` where letters are tied."""

_MOST_SOUNDS: Final = 400
"""About how many phonemes are asked for at once: the library keeps 1,000 of them, and drops the rest."""
_SOUNDS_OF_DIGIT: Final = 8
_SOUNDS_OF_SIGN: Final = 6
_FIRST_SIGN: Final = "\u2e80"
"""The first of the characters that are syllables or words."""


def phonemes(engine: Engine, text: str, language: str, tie: str = "") -> str:
    """`text` as the library's voice for `language`, such as `en-us`, says it, with Latin punctuation.

    Blocking. Words of another script are said as the library says them; a language it doesn't know is read
    as English. `tie`: see `Engine.phonemes`.
    """
    voice = _voice(engine, language)
    said: list[str] = []
    parts = _MARKS.split(text)
    for part, mark in zip_longest(parts[::2], parts[1::2], fillvalue=""):
        spoken = " ".join(engine.phonemes(short, voice, tie) for short in _short(part))
        sounds = " ".join(_SWITCH.sub(" ", spoken).split())
        if sounds:
            said.append(sounds)
        if said and mark and said[-1][-1] not in _MARKS_HEARD:
            said[-1] += _LATIN_MARK.get(mark[0], mark[0])
    return " ".join(said)


def _short(text: str) -> Iterator[str]:
    """`text` in parts of at most about `_MOST_SOUNDS`, cut between words where there are any."""
    begin, cut, sounds = 0, 0, 0
    for at, character in enumerate(text):
        sounds += (
            _SOUNDS_OF_DIGIT if character.isdigit() else _SOUNDS_OF_SIGN if character >= _FIRST_SIGN else 1
        )
        if character == " ":
            cut = at + 1
        if sounds > _MOST_SOUNDS:
            end = cut if cut > begin else at
            if end > begin:
                yield text[begin:end]
                begin, sounds = end, sum(_SOUNDS_OF_DIGIT if c.isdigit() else 1 for c in text[end : at + 1])
    yield text[begin:]


def _voice(engine: Engine, language: str) -> str:
    """The library's voice for a tag of its own or of ours."""
    tag, short = normalized(language), primary_subtag(language)
    tags = (tag, {"zh": "cmn", "no": "nb", "en": "en-us", "fr": "fr-fr"}.get(short, short), "en-us")
    return next(engine.voices[known] for known in tags if known in engine.voices)
