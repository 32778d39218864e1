"""Text for espeak-ng: made safe, cut into pieces, each with the language whose voice can read it."""

import re
import unicodedata
from collections.abc import Iterator

from mimi_mqtt.providers.languages import READER, SCRIPTS, VIETNAMESE, letters_by_script, primary, script_of

MAX_CHARS = 8_000
"""Longest text read at once, in characters; the rest is left out."""

_PIECE_CHARS = 400
_KEPT_SYMBOLS = frozenset("°№℃℉©™€£¥$+<=>%")
_MARKUP = re.compile(r"[*_`~|\\^{}\[\]]+|(?<!\w)#+(?!\d)")
_LINK = re.compile(r"https?://(?:www\.)?([^\s/]{1,100})\S*")
_UNIT = re.compile(r"°\s?[CF]\b")  # which every language writes so
_BREAK = re.compile(r"(?<=[.!?…;:。！？；])\s*|(?<=[,，、])\s*|\s+")


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
    """The language whose voice can read `text`, or most of it: `language`, unless it is written otherwise.

    A Russian device that is answered in English hears English, not Russian letters' names.
    """
    letters = letters_by_script(_UNIT.sub("", text))
    own = script_of(language)
    if own == "han" and "kana" in letters:
        return "ja"
    if not letters or own in letters or (own == "kana" and "han" in letters):
        return _latin_language(text, language) if own == "latin" and letters else language
    main = max(letters, key=lambda script: letters[script])
    if main == "latin":
        return _latin_language(text, "en")
    return "ja" if main == "han" and "kana" in letters else READER[main]


def _latin_language(text: str, language: str) -> str:
    if VIETNAMESE.search(text):
        return "vi"
    if primary(language) == "vi" and text.isascii() and len(text.split()) >= 3:
        return "en"  # Vietnamese of three words without a single mark hardly exists
    return language


def runs(text: str, language: str) -> Iterator[tuple[str, str]]:
    """`text` in parts with the language of the voice for each: `language` where it is written so.

    Digits and punctuation go with the letters before them.
    """
    readers = _readers(text, language)
    begin, reader = 0, ""
    for at, character in enumerate(text):
        script = next((script for script in readers if SCRIPTS[script].match(character)), None)
        if script is None or readers[script] == reader:
            continue
        if reader:
            yield reader, text[begin:at]
            begin = at
        reader = readers[script]
    if text[begin:]:
        yield reader or language, text[begin:]


def _readers(text: str, language: str) -> dict[str, str]:
    """The language that reads each script of `text`."""
    letters, own = letters_by_script(text), script_of(language)
    readers = {script: language if script == own else READER.get(script, "en") for script in letters}
    if "latin" in readers and own != "latin":
        readers["latin"] = _latin_language(text, "en")
    if "han" in letters and (own == "kana" or (own != "han" and "kana" in letters)):
        readers["han"] = language if own == "kana" else "ja"
    return readers
