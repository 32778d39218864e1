"""Japanese as it is read aloud, in katakana with spaces between words, as espeak-ng needs it.

Readings come from SudachiPy and its small dictionary, loaded with the first sentence: 0.1 s and 50 MB, most
of it mapped from the file.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from mimi_mqtt.errors import ProviderNotConfigured
from mimi_mqtt.providers.contract.provider import load_package
from mimi_mqtt.providers.vendors.offline.japanese_numbers import numbers_in_kana

KANJI: Final = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff々〇]")

_USUAL: Final[Mapping[str, str]] = {
    "私": "ワタシ",
    "日本": "ニホン",
    "明日": "アシタ",
    "何": "ナニ",
    "他": "ホカ",
    "良い": "イイ",
    "こんにちは": "コンニチワ",
    "こんばんは": "コンバンワ",
}
"""Words that are said otherwise than the dictionary has it, which prefers official speech."""

_TAKEN_APART: Final[Mapping[str, str]] = {
    "母さん": "カアサン",
    "父さん": "トウサン",
    "兄さん": "ニイサン",
    "姉さん": "ネエサン",
    "一昨日": "オトトイ",
    "明後日": "アサッテ",
    "一度": "イチド",
    **{
        f"{day}曜": f"{said}ヨウ"
        for day, said in zip(
            "月火水木金土日", ("ゲツ", "カ", "スイ", "モク", "キン", "ド", "ニチ"), strict=True
        )
    },
    "曜日": "ヨウビ",
    "この間": "コノアイダ",
    "何時間": "ナンジカン",
    "何時": "ナンジ",
    "何分": "ナンプン",
    "何秒": "ナンビョウ",
    "何年": "ナンネン",
    "何月": "ナンガツ",
    "何日": "ナンニチ",
    "何曜日": "ナンヨウビ",
    "何度": "ナンド",
    "何回": "ナンカイ",
    "何人": "ナンニン",
    "何個": "ナンコ",
    "何歳": "ナンサイ",
    "何の": "ナンノ",
    "何です": "ナンデス",
    "何でしょう": "ナンデショウ",
    "何でも": "ナンデモ",
    "何と": "ナント",
}
"""Expressions whose parts the dictionary reads each by itself."""

_EXPRESSION: Final = re.compile(
    "[月火水木金土日]曜日|" + "|".join(sorted(_TAKEN_APART, key=len, reverse=True))
)
_ATTACHED: Final = frozenset({"助詞", "助動詞", "接尾辞", "補助記号"})
"""Parts of speech that are said together with the word before."""

_HIRAGANA: Final = {code: code + 0x60 for code in range(ord("ぁ"), ord("ゖ") + 1)}
_LONG_O: Final = re.compile("([オコソトノホモヨロゴゾドボポョォ])ウ")
_LONG_E: Final = re.compile("([エケセテネヘメレゲゼデベペェ])イ")


class JapaneseReader:
    """Blocking; for one thread at a time. Raises ProviderNotConfigured for kanji without SudachiPy."""

    def __init__(self, provider: str, extra: str) -> None:
        self._provider = provider
        self._extra = extra
        self._tokenizer: Any = None

    def reading(self, text: str) -> str:
        """`text` in katakana; what has no reading is left out."""
        text = numbers_in_kana(text)
        try:
            tokenizer = self._loaded()
        except ProviderNotConfigured:
            if KANJI.search(text):
                raise
            return text
        text = _EXPRESSION.sub(_together, text)
        return " ".join("".join(_words(tokenizer.tokenize(text))).split())

    def _loaded(self) -> Any:
        if self._tokenizer is None:
            load_package("sudachidict_small", self._provider, self._extra)
            package = load_package("sudachipy", self._provider, self._extra)
            self._tokenizer = package.Dictionary(dict="small").tokenizer()
        return self._tokenizer


def _together(match: re.Match[str]) -> str:
    expression = match[0]
    if len(expression) == 3 and expression.endswith("曜日"):
        return _TAKEN_APART.get(expression) or f"{_TAKEN_APART[expression[:2]]}ビ"
    return _TAKEN_APART[expression]


def _words(morphemes: Iterable[Any]) -> Iterable[str]:
    prefixed = False
    for morpheme in morphemes:
        surface, kind = str(morpheme.surface()), str(morpheme.part_of_speech()[0])
        said = _said(surface, str(morpheme.reading_form()), kind)
        yield said if kind in _ATTACHED or prefixed or not said else f" {said}"
        prefixed = kind == "接頭辞"


def _said(surface: str, reading: str, kind: str) -> str:
    """The sound of one word, in katakana."""
    if kind == "助詞" and surface in ("は", "へ"):
        return {"は": "ワ", "へ": "エ"}[surface]
    if not KANJI.search(surface):
        return _USUAL.get(surface, surface.translate(_HIRAGANA))
    said = _USUAL.get(surface, reading)
    if KANJI.search(said):
        return ""
    end = -1 if kind == "動詞" else len(said)  # the ending of a verb is not a long vowel: オモ-ウ
    return _LONG_E.sub(r"\1ー", _LONG_O.sub(r"\1ー", said[:end])) + said[end:]
