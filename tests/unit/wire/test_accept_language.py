"""Which language an Accept-Language header wants most."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.wire.accept_language import preferred


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("en", "en"),
        ("zh-CN", "zh-CN"),
        ("pt_BR", "pt-BR"),
        ("de-AT,de;q=0.9,en;q=0.5", "de-AT"),
        ("en;q=0.5, vi", "vi"),
        ("en;q=0.8 , fr;q=0.9", "fr"),
        ("da, en-gb;q=1, en;q=0.7", "da"),
        ("ja; Q = 0.3, ko;q=0.31", "ko"),
        ("*, de;q=0.1", "de"),
        ("en;q=0, ru;q=0.001", "ru"),
        ("en;q=2, ru;q=0.9", "ru"),
        ("en;level=1, ru;q=0.2", "ru"),
        ("zh-Hant-TW", "zh-Hant-TW"),
        ("", ""),
        ("*", ""),
        ("en;q=0", ""),
        ("<script>", ""),
    ],
)
def test_the_wish_of_highest_quality_counts(header: str, language: str) -> None:
    assert preferred(header) == language


@given(st.text(max_size=200))
def test_any_header_is_a_language_or_none(header: str) -> None:
    assert preferred(header).replace("-", "").isalnum() or preferred(header) == ""


def test_a_header_is_read_up_to_a_bound() -> None:
    assert preferred("x;q=0.1," * 31 + "en," + "de") == "en"
    assert preferred("x;q=0.1," * 32 + "en") == "x"
