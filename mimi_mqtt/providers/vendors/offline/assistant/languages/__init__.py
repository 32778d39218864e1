"""The offline assistant in other languages than English: a module with the words of each, and what acts on them.

`numbers` reads numbers in words, `pack` is what a language consists of, `acting` answers a turn in one;
`reminding` answers what is about alarms and reminders, in English too, with the words in `reminder_words`.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Final

from mimi_mqtt.providers.languages import letters_by_script, script_of
from mimi_mqtt.providers.vendors.offline.assistant.languages.pack import LONGEST_QUESTION, Pack

OTHERS: Final = ("de", "es", "fr", "pt", "vi", "ru", "ja", "zh", "ko")
"""The languages beside English."""

_SCRIPTS: Final = {"cyrillic": ("ru",), "kana": ("ja",), "han": ("zh", "ja"), "hangul": ("ko",)}
_LATIN: Final = ("de", "es", "fr", "pt", "vi")
_WORD: Final = re.compile(r"[^\W\d_]+")
_TIMES: Final = re.compile(r"(?<=\d)\s*x\s*(?=\d)", re.IGNORECASE)
"""A sign in a sum, and no word."""
_COMMON: Final[Mapping[str, frozenset[str]]] = {
    "en": frozenset(
        """
        the a an is are of for to and my me what how set it in on at you do can please time seconds hours half one minute
        """.split()
    ),
    "de": frozenset(
        """
        der die das den dem ein eine einen einer ist sind und auf für von was wie viel ich mich mir es um im
        stelle bitte aus welche welcher ergibt rechne stunde stunden minuten sekunden uhr halbe noch lösche stoppe
        """.split()
    ),
    "es": frozenset(
        """
        el la los las un una es son y en de del por para qué que cuánto cuanto cuál pon a hora horas minutos
        segundos media me mi hoy está más al cancela temporizador alarma día
        """.split()
    ),
    "fr": frozenset(
        """
        le la les un une des du de est et au aux en pour quel quelle combien font fait mets moi à il ce
        heure heures minutes secondes demi demie s l d monte baisse son
        """.split()
    ),
    "pt": frozenset(
        """
        o a os as um uma é são e em de do da dos no na por para que qual quanto coloque marque meia hora horas
        minutos segundos você não cancele desligue apague pare hoje dois duas três vinte temporizador alarme mais
        inicie
        """.split()
    ),
    "vi": frozenset(
        """
        là mấy giờ bao nhiêu tôi hẹn phút giây đặt của bằng còn ngày hôm nay nhân chia cộng trừ cho bạn gì độ
        """.split()
    ),
}
"""The commonest words of the languages in Latin letters, in what is said to an assistant."""


@cache
def pack(language: str) -> Pack:
    """The words of one of OTHERS, or the words for reminders of English; numbers are not made yet."""
    found: Pack = import_module(f"{__name__}.{language}").PACK
    return found


@cache
def _unmarked(language: str) -> Pack:
    return pack(language).unmarked()


def pack_for(language: str, text: str) -> Pack:
    """The words of `language`, without the marks of its letters where `text` has none."""
    found = pack(language)
    return _unmarked(language) if found.marked and text.isascii() else found


def make_numbers(language: str) -> None:
    """Makes the numbers of `language`; blocks for up to a quarter of a second, once."""
    found = pack(language)
    found.read()
    if found.marked:
        _unmarked(language).read()


def candidates(text: str, language: str) -> Sequence[str]:
    """The languages in which `text` may be understood, the likeliest first.

    Those are the languages of its scripts and that of the turn, which comes first unless the text is in another
    script; of those in Latin letters, the one with more of its commonest words goes before.
    """
    scripts = letters_by_script(_TIMES.sub(" ", text))
    if "kana" in scripts:
        scripts.pop("han", None)  # of Japanese: Chinese has no kana
    written = [code for script in _SCRIPTS if script in scripts for code in _SCRIPTS[script]]
    own = not scripts or script_of(language) in scripts or language in written
    latin: Sequence[str] = ()
    if not scripts or "latin" in scripts:
        words = frozenset(_WORD.findall(text[:LONGEST_QUESTION].lower()))
        of_turn = (language,) if own and language in _COMMON else ()
        latin = sorted(
            dict.fromkeys((*of_turn, "en", *(() if written else _LATIN))),
            key=lambda code: -len(words & _COMMON[code]),
        )
    return tuple(dict.fromkeys((*([language] if own and language not in latin else ()), *written, *latin)))
