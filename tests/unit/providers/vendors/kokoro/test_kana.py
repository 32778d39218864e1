"""Katakana as Kokoro's phonemes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.providers.vendors.kokoro.kana import phonemes


@pytest.mark.parametrize(
    ("kana", "sounds"),
    [
        ("イマ ナンジ デスカ。", "ima naɲʥi desɨka."),
        ("コンニチワ", "koɲɲiʨiβa"),
        ("トウキョウ", "toɯkʲoɯ"),
        ("シャシン", "ɕaɕiɴ"),
        ("ガッコー", "ɡaʔkoː"),
        ("サンポ", "sampo"),
        ("リンゴ", "ɾʲiŋɡo"),
        ("ファイル、ティー", "ɸaiɾɯ,tiː"),
        ("チェック", "ʨeʔkɯ"),
        ("ッ", ""),
        ("", ""),
        ("abc漢字", ""),
    ],
)
def test_kana_have_their_sounds(kana: str, sounds: str) -> None:
    assert phonemes(kana) == sounds


@given(st.text(alphabet=st.characters(min_codepoint=0x3000, max_codepoint=0x30FF), max_size=200))
def test_any_text_has_sounds_or_none(text: str) -> None:
    assert not any("\u30a0" <= letter <= "\u30fa" for letter in phonemes(text))
