"""Language tags, vendors' names of languages, and the scripts of a text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.providers.languages import joined, language_named, letters_by_script, primary, script_of


@pytest.mark.parametrize(
    ("tag", "language"),
    [("en", "en"), ("pt-BR", "pt"), ("zh_CN", "zh"), ("cmn-Hans-CN", "zh"), ("nb-NO", "no"), (" DE ", "de")],
)
def test_the_language_of_a_tag(tag: str, language: str) -> None:
    assert primary(tag) == language


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("english", "en"),
        ("Vietnamese", "vi"),
        ("de", "de"),
        ("zh-CN", "zh-CN"),
        ("pt_BR", "pt-BR"),
        ("cmn-Hans-CN", "zh-Hans-CN"),
        ("<|ja|>", "ja"),
        ("", None),
        ("klingonese", None),
        ("und", None),
        ("12", None),
        (7, None),
        (None, None),
    ],
)
def test_what_vendors_call_languages(name: object, tag: str | None) -> None:
    assert language_named(name) == tag


@given(st.text(max_size=30))
def test_a_name_is_a_tag_or_nothing(name: str) -> None:
    tag = language_named(name)
    assert tag is None or (tag.isascii() and 2 <= len(primary(tag)) <= 3)


@pytest.mark.parametrize(
    ("tag", "script"),
    [("ja-JP", "kana"), ("zh-TW", "han"), ("uk", "cyrillic"), ("vi", "latin"), ("xx", "latin")],
)
def test_the_script_of_a_language(tag: str, script: str) -> None:
    assert script_of(tag) == script


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("Hello, 42!", {"latin": 5}),
        ("Tiếng Việt", {"latin": 9}),
        ("人々は", {"han": 2, "kana": 1}),
        ("Привет, Anna", {"cyrillic": 6, "latin": 4}),
        ("안녕 여러분", {"hangul": 5}),
        ("12:30 😀 …", {}),
    ],
)
def test_letters_are_counted_by_script(text: str, letters: dict[str, int]) -> None:
    assert letters_by_script(text) == letters


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (["hello", "world"], "hello world"),
        ([" hello ", "", "world "], "hello world"),
        (["hello", ", world", "!"], "hello, world!"),
        (["你好，", "世界。"], "你好，世界。"),
        (["今日は", "いい天気"], "今日はいい天気"),
        (["打开", "Wi-Fi", "开关"], "打开Wi-Fi开关"),
        (["안녕", "하세요"], "안녕 하세요"),
        (["xin", "chào"], "xin chào"),
        ([], ""),
    ],
)
def test_spaces_stand_where_the_script_has_them(pieces: list[str], text: str) -> None:
    assert joined(pieces) == text


@given(st.lists(st.text()))
def test_nothing_is_lost(pieces: list[str]) -> None:
    assert "".join(joined(pieces).split()) == "".join("".join(pieces).split())
