"""Text in the International Phonetic Alphabet by espeak-ng, for voices that were taught with its phonemes.

Punctuation is kept, as such voices pause and raise their pitch by it.
"""

import re
from itertools import zip_longest
from typing import Final

from mimi_mqtt.providers.languages import normalized, primary_subtag
from mimi_mqtt.providers.vendors.offline.espeak_engine import Engine

_MARKS: Final = re.compile(r"([,;:.!?…]+(?=\s|$)|[，、；：。！？]+)")
_LATIN_MARK: Final = {"…": ".", "，": ",", "、": ",", "；": ";", "：": ":", "。": ".", "！": "!", "？": "?"}
_MARKS_HEARD: Final = ",;:.!?"
_SWITCH: Final = re.compile(r"\([a-z]{2,3}(?:-[a-z0-9]+)*\)")
"""The library's note that it says a word in another language: `(en)`."""


def phonemes(engine: Engine, text: str, language: str, tie: str = "") -> str:
    """`text` as the library's voice for `language`, such as `en-us`, says it, with Latin punctuation.

    Blocking. Words of another script are said as the library says them; a language it doesn't know is read
    as English. `tie`: see `Engine.phonemes`.
    """
    voice = _voice(engine, language)
    said: list[str] = []
    parts = _MARKS.split(text)
    for part, mark in zip_longest(parts[::2], parts[1::2], fillvalue=""):
        sounds = " ".join(_SWITCH.sub(" ", engine.phonemes(part, voice, tie)).split())
        if sounds:
            said.append(sounds)
        if said and mark and said[-1][-1] not in _MARKS_HEARD:
            said[-1] += _LATIN_MARK.get(mark[0], mark[0])
    return " ".join(said)


def _voice(engine: Engine, language: str) -> str:
    """The library's voice for a tag of its own or of ours."""
    tag, short = normalized(language), primary_subtag(language)
    tags = (tag, {"zh": "cmn", "no": "nb", "en": "en-us", "fr": "fr-fr"}.get(short, short), "en-us")
    return next(engine.voices[known] for known in tags if known in engine.voices)
