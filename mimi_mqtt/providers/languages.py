"""Language tags, vendors' names for languages, and the scripts that texts are written in. Pure."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final

SCRIPT_OF: Final[Mapping[str, str]] = {
    **dict.fromkeys(("zh", "yue", "hak", "wuu"), "han"),
    "ja": "kana",
    "ko": "hangul",
    **dict.fromkeys(
        ("ru", "uk", "be", "bg", "sr", "mk", "kk", "ky", "tt", "ba", "cv", "mn", "tg"), "cyrillic"
    ),
    "el": "greek",
    **dict.fromkeys(("he", "yi"), "hebrew"),
    **dict.fromkeys(("ar", "fa", "ur", "ug", "sd", "ps"), "arabic"),
    **dict.fromkeys(("hi", "mr", "ne", "kok"), "devanagari"),
    "th": "thai",
}
"""The script of each language that is not written in Latin letters; of Japanese that is kana, besides han."""

READER: Final[Mapping[str, str]] = {
    "han": "zh",
    "kana": "ja",
    "hangul": "ko",
    "cyrillic": "ru",
    "greek": "el",
    "hebrew": "he",
    "arabic": "ar",
    "devanagari": "hi",
    "thai": "th",
}
"""The language that a text in a script is most likely in, where nothing else is known."""

_RANGES: Final[Mapping[str, str]] = {
    "kana": "\u3041-\u30ff\uff66-\uff9d",
    "han": "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff々",
    "hangul": "\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3",
    "cyrillic": "\u0400-\u052f",
    "greek": "\u0370-\u03ff\u1f00-\u1fff",
    "hebrew": "\u0590-\u05ff",
    "arabic": "\u0600-\u06ff\u0750-\u077f",
    "devanagari": "\u0900-\u097f",
    "thai": "\u0e00-\u0e7f",
    "latin": "A-Za-z\u00aa\u00ba\u00c0-\u024f\u1e00-\u1eff\uff21-\uff3a\uff41-\uff5a",
}

SCRIPTS: Final[Mapping[str, re.Pattern[str]]] = {
    script: re.compile(f"[{characters}]") for script, characters in _RANGES.items()
}
"""A character of each script."""

VIETNAMESE: Final = re.compile(r"[ơưƠƯ\u1ea0-\u1ef9]")
"""Letters that no other common language has."""

_SAME: Final[Mapping[str, str]] = {
    "cmn": "zh",
    "iw": "he",
    "in": "id",
    "nb": "no",
    "nn": "no",
    "fil": "tl",
    "jw": "jv",
}

_TAG: Final = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8})*")

_NAMES: Final = """
    afrikaans:af albanian:sq amharic:am arabic:ar armenian:hy assamese:as azerbaijani:az bashkir:ba basque:eu
    belarusian:be bengali:bn bosnian:bs breton:br bulgarian:bg burmese:my cantonese:yue castilian:es
    catalan:ca chinese:zh croatian:hr czech:cs danish:da dutch:nl english:en estonian:et faroese:fo finnish:fi
    flemish:nl french:fr galician:gl georgian:ka german:de greek:el gujarati:gu hausa:ha hawaiian:haw
    hebrew:he hindi:hi hungarian:hu icelandic:is indonesian:id italian:it japanese:ja javanese:jv kannada:kn
    kazakh:kk khmer:km korean:ko lao:lo latin:la latvian:lv lingala:ln lithuanian:lt luxembourgish:lb
    macedonian:mk malagasy:mg malay:ms malayalam:ml maltese:mt mandarin:zh maori:mi marathi:mr moldavian:ro
    mongolian:mn myanmar:my nepali:ne norwegian:no nynorsk:no occitan:oc pashto:ps persian:fa polish:pl
    portuguese:pt punjabi:pa romanian:ro russian:ru sanskrit:sa serbian:sr shona:sn sindhi:sd sinhala:si
    slovak:sk slovenian:sl somali:so spanish:es sundanese:su swahili:sw swedish:sv tagalog:tl tajik:tg
    tamil:ta tatar:tt telugu:te thai:th tibetan:bo turkish:tr turkmen:tk ukrainian:uk urdu:ur uzbek:uz
    valencian:ca vietnamese:vi welsh:cy yiddish:yi yoruba:yo
"""

_CODES: Final[Mapping[str, str]] = dict(pair.split(":") for pair in _NAMES.split())


def normalized(tag: str) -> str:
    """A language tag in lower case, its parts separated by `-`: `zh-cn` of `zh_CN`."""
    return tag.strip().replace("_", "-").lower()


def primary_subtag(tag: str) -> str:
    """The first part of a tag, in lower case and as it is: `cmn` of `cmn-Hans-CN`, `nb` of `nb_NO`."""
    return normalized(tag).partition("-")[0]


def primary(tag: str) -> str:
    """The language of a tag, one for all its names: `zh` of `zh_CN`, `zh-Hans` and `cmn-Hans-CN`."""
    first = primary_subtag(tag)
    return _SAME.get(first, first)


def is_unspaced(char: str) -> bool:
    """True when `char` belongs to a script written without spaces, its punctuation included."""
    return (
        "\u3000" <= char <= "\u30ff"  # CJK punctuation, hiragana, katakana
        or "\u3400" <= char <= "\u9fff"  # CJK ideographs
        or "\uf900" <= char <= "\ufaff"
        or "\uff00" <= char <= "\uffef"
        or "\U00020000" <= char <= "\U0003ffff"
    )


def language_named(name: object) -> str | None:
    """A vendor's name of a language (`english`, `en`, `zh-CN`, `<|ja|>`) as a tag; None when it is none.

    Whisper's own interface speaks of languages by their English names.
    """
    if not isinstance(name, str):
        return None
    known = name.strip().strip("<|>").replace("_", "-")
    if (code := _CODES.get(known.lower())) is not None:
        return code
    if not _TAG.fullmatch(known) or primary(known) in ("und", "mul", "zxx"):
        return None
    _, dash, rest = known.partition("-")
    return f"{primary(known)}{dash}{rest}"


def script_of(tag: str) -> str:
    """The script that a language is written in; Latin where it is not known."""
    return SCRIPT_OF.get(primary(tag), "latin")


def letters_by_script(text: str) -> dict[str, int]:
    """Number of letters of each known script in `text`; scripts that are not in it are left out."""
    found: dict[str, int] = {}
    for character in unicodedata.normalize("NFC", text):
        if character.isalpha() or character == "々":
            for script, pattern in SCRIPTS.items():
                if pattern.match(character):
                    found[script] = found.get(script, 0) + 1
                    break
    return found


def joined(parts: Iterable[str]) -> str:
    """Parts of one utterance as one text; no space where Chinese or Japanese meets anything, nor before
    punctuation."""
    text = ""
    for part in map(str.strip, parts):
        if text and part and not (is_unspaced(text[-1]) or is_unspaced(part[0]) or part[0] in ",.!?;:"):
            text += " "
        text += part
    return text
