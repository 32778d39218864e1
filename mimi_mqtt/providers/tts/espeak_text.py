"""What espeak-ng is given to read: text made safe, cut into pieces, and whose voice can read it."""

import re
import unicodedata
from collections.abc import Iterator

MAX_CHARS = 8_000
"""Longest text read at once, in characters; the rest is left out."""

_PIECE_CHARS = 400
_KEPT_SYMBOLS = frozenset("°№℃℉©™€£¥$+<=>%")
_MARKUP = re.compile(r"[*_`~|\\^{}\[\]]+|(?<!\w)#+(?!\d)")
_LINK = re.compile(r"https?://(?:www\.)?([^\s/]{1,100})\S*")
_BREAK = re.compile(r"(?<=[.!?…;:。！？；])\s*|(?<=[,，、])\s*|\s+")

_KANA = re.compile(r"[\u3041-\u30ff\uff66-\uff9d]")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")
_VIETNAMESE = re.compile(r"[ăđơưĂĐƠƯ\u1ea0-\u1ef9]")
_NON_ASCII = re.compile(r"[^\x00-\x7f]")

# The script that a language is written in, where it is not Latin; and a language that reads each script.
_SCRIPTS: dict[str, re.Pattern[str]] = {
    "ja": re.compile(r"[\u3041-\u30ff\uff66-\uff9d\u3400-\u9fff]"),
    "zh": _HAN,
    "ko": re.compile(r"[\u1100-\u11ff\uac00-\ud7a3]"),
    "ru": re.compile(r"[\u0400-\u04ff]"),
    "el": re.compile(r"[\u0370-\u03ff]"),
    "he": re.compile(r"[\u0590-\u05ff]"),
    "ar": re.compile(r"[\u0600-\u06ff]"),
    "hi": re.compile(r"[\u0900-\u097f]"),
    "th": re.compile(r"[\u0e00-\u0e7f]"),
}
_SAME_SCRIPT: dict[str, str] = {
    **dict.fromkeys(("yue", "hak", "cmn"), "zh"),
    **dict.fromkeys(("uk", "be", "bg", "sr", "mk", "kk", "ky", "tt", "ba", "cv"), "ru"),
    **dict.fromkeys(("fa", "ur", "ug", "sd"), "ar"),
    **dict.fromkeys(("mr", "ne", "kok"), "hi"),
}


def readable(text: str) -> str:
    """`text` without control characters, emoji and markup, on one line and bounded; empty when nothing in it
    can be spoken."""
    text = _LINK.sub(r"\1", text[:MAX_CHARS])
    kept = [
        character if _is_kept(character) else " " if unicodedata.category(character) == "Cc" else ""
        for character in unicodedata.normalize("NFC", text)
    ]
    clean = " ".join(_MARKUP.sub(" ", "".join(kept)).split())
    return clean if any(character.isalnum() for character in clean) else ""


def _is_kept(character: str) -> bool:
    if character in _KEPT_SYMBOLS or character == " ":
        return True
    category = unicodedata.category(character)
    # Mn and Mc are the vowels and tones of many scripts; variation selectors and key caps belong to emoji.
    if category in ("Mn", "Mc"):
        return not "\ufe00" <= character <= "\ufe0f"
    return category[0] in "LNP" or category in ("Zs", "Sm", "Sc")


def pieces(text: str) -> Iterator[str]:
    """`text` in pieces of a few hundred characters, cut after sentences, clauses or words."""
    start = 0
    while len(text) - start > _PIECE_CHARS:
        window = text[start : start + _PIECE_CHARS]
        cuts = [match.end() for match in _BREAK.finditer(window) if match.end() > _PIECE_CHARS // 2]
        end = start + (cuts[-1] if cuts else _PIECE_CHARS)
        yield text[start:end]
        start = end
    if text[start:]:
        yield text[start:]


def reading_language(text: str, language: str) -> str:
    """The language whose voice can read `text`: `language`, unless the text is in another script.

    A Russian device that is answered in English hears English, not Russian letters' names.
    """
    primary = language.partition("-")[0]
    script = _SAME_SCRIPT.get(primary, primary)
    own = _SCRIPTS.get(script)
    if primary != "ja" and _KANA.search(text):
        return "ja"
    if (own is not None and own.search(text)) or not any(character.isalpha() for character in text):
        return language
    for reader, characters in _SCRIPTS.items():
        if reader not in ("ja", script) and characters.search(text):
            return reader
    if own is not None:
        return "en"
    if primary != "vi" and _VIETNAMESE.search(text):
        return "vi"
    if primary == "vi" and not _NON_ASCII.search(text) and len(text.split()) >= 3:
        return "en"  # Vietnamese of three words without a single mark hardly exists
    return language


def without_kanji(text: str) -> str:
    """Japanese `text` with only what espeak-ng can read of it: for kanji it says "Chinese letter"."""
    return " ".join(_HAN.sub(" ", text).split())
