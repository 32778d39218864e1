"""Putting text together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.providers.http.pieces import joined


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
