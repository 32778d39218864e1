"""Katakana as the phonemes of Kokoro's Japanese voices: the International Phonetic Alphabet. Pure.

Affricates are one letter each (ʦ ʨ ʣ ʥ), a long vowel is followed by ː, the first half of a double consonant
is ʔ, and the moraic nasal takes the place of what follows it.
"""

from collections.abc import Mapping
from typing import Final

_ROWS: Final[Mapping[str, str]] = {
    "アイウエオ": "a i ɯ e o",
    "カキクケコ": "ka kʲi kɯ ke ko",
    "ガギグゲゴ": "ɡa ɡʲi ɡɯ ɡe ɡo",
    "サシスセソ": "sa ɕi sɨ se so",
    "ザジズゼゾ": "ʣa ʥi zɨ ʣe ʣo",
    "タチツテト": "ta ʨi ʦɨ te to",
    "ダヂヅデド": "da ʥi zɨ de do",
    "ナニヌネノ": "na ɲi nɯ ne no",
    "ハヒフヘホ": "ha çi ɸɯ he ho",
    "バビブベボ": "ba bʲi bɯ be bo",
    "パピプペポ": "pa pʲi pɯ pe po",
    "マミムメモ": "ma mʲi mɯ me mo",
    "ヤユヨ": "ja jɯ jo",
    "ラリルレロ": "ɾa ɾʲi ɾɯ ɾe ɾo",
    "ワヰヱヲヴ": "βa i e o vɯ",
}
_SMALL_VOWELS: Final[Mapping[str, str]] = dict(zip("ァィゥェォャュョ", "aiɯeoaɯo", strict=True))
_SINGLE: Final[Mapping[str, str]] = {
    kana: sound for row, sounds in _ROWS.items() for kana, sound in zip(row, sounds.split(), strict=True)
}
_MARKS: Final[Mapping[str, str]] = {
    "。": ".", "．": ".", ".": ".", "、": ",", "，": ",", ",": ",", "！": "!", "!": "!", "？": "?", "?": "?",
    "…": "…", "：": ":", "；": ";", "「": "“", "」": "”", "『": "“", "』": "”", " ": " ", "\u3000": " ",
    "・": " ",
}  # fmt: skip
_PALATAL: Final[Mapping[str, str]] = {
    "イ": "j",
    "テ": "t",
    "デ": "d",
    "ト": "t",
    "ド": "d",
    "ウ": "w",
    "フ": "ɸ",
}
_VOWELS: Final = "aiɯɨeo"


def phonemes(katakana: str) -> str:
    """The sounds of a text in katakana; what is neither kana nor punctuation is left out."""
    sounds: list[str] = []
    waiting = ""  # ン or ッ, which sound as the next consonant has it
    for at, kana in enumerate(katakana):
        if kana in "ンッ":
            sounds += [_before(waiting, "")] if waiting else []
            waiting = kana
            continue
        if kana == "ー":
            sound = "ː" if sounds and sounds[-1][-1:] in _VOWELS else ""
        elif kana in _SMALL_VOWELS and at and sounds and katakana[at - 1] in _SINGLE:
            sounds[-1] = _combined(sounds[-1], katakana[at - 1], kana)
            continue
        else:
            sound = _SINGLE.get(kana) or _SMALL_VOWELS.get(kana) or _MARKS.get(kana, "")
        if waiting:
            sounds.append(_before(waiting, sound))
            waiting = ""
        sounds.append(sound)
    if waiting:
        sounds.append(_before(waiting, ""))
    return " ".join("".join(sounds).split())


def _combined(sound: str, kana: str, small: str) -> str:
    """A kana with a small vowel after it: キャ is kʲa, ファ ɸa, ティ ti."""
    vowel = _SMALL_VOWELS[small]
    if kana in _PALATAL and small not in "ャュョ":
        return _PALATAL[kana] + vowel
    consonant = sound.rstrip(_VOWELS)
    if small in "ャュョ" and kana in "テデ":
        return f"{consonant}ʲ{vowel}"
    return consonant + vowel


def _before(waiting: str, following: str) -> str:
    """ン or ッ before the sound `following`."""
    first = following[:1]
    if waiting == "ッ":
        return "ʔ" if first and first not in ".,!?…:;“” " else ""
    if first in ("p", "b", "m"):
        return "m"
    if first in ("k", "ɡ"):
        return "ŋ"
    if first in ("ɲ", "ʨ", "ʥ", "ɕ"):
        return "ɲ"
    if first in ("t", "d", "n", "ɾ", "z", "ʦ", "ʣ"):
        return "n"
    return "ɴ"
