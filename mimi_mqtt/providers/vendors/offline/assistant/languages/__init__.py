"""The offline assistant in other languages than English: a module with the words of each, and what acts on them.

`numbers` reads numbers in words, `pack` is what a language consists of, `acting` answers a turn in one.
"""

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Final

from mimi_mqtt.providers.languages import letters_by_script
from mimi_mqtt.providers.vendors.offline.assistant.languages.pack import Pack

OTHERS: Final = ("de", "es", "fr", "pt", "vi", "ru", "ja", "zh", "ko")
"""The languages beside English."""

_SCRIPTS: Final = {"cyrillic": ("ru",), "kana": ("ja",), "han": ("zh", "ja"), "hangul": ("ko",)}
_LATIN: Final = ("de", "es", "fr", "pt", "vi")


@cache
def pack(language: str) -> Pack:
    """The words of one of OTHERS, its numbers not made yet."""
    found: Pack = import_module(f"{__name__}.{language}").PACK
    return found


def candidates(text: str, language: str) -> Sequence[str]:
    """The languages in which `text` may be understood, the likeliest first: that of the turn, those of its
    script, English, and where that is Latin the other ones."""
    scripts = letters_by_script(text)
    written = [code for script in scripts for code in _SCRIPTS.get(script, ())]
    likely = [language, *written, "en"]
    return tuple(dict.fromkeys(likely if written else [*likely, *_LATIN]))
