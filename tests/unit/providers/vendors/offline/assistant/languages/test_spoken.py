"""Times of day as they are said in Vietnamese, Chinese, Japanese and Korean."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.providers.vendors.offline.assistant.languages import pack


@given(st.sampled_from(["vi", "zh", "ja", "ko"]), st.integers(0, 23), st.integers(0, 59))
def test_what_is_said_of_an_alarm_is_understood_too(language: str, hour: int, minute: int) -> None:
    words = pack(language)
    said = words.at(datetime(2026, 11, 21, hour, minute, tzinfo=UTC))
    heard = words.time_of_day(words.plain(said))
    assert heard is not None
    assert (heard.hour, heard.minute) == (hour, minute)


@pytest.mark.parametrize(
    ("language", "hour", "minute", "said"),
    [
        ("vi", 16, 25, "Bây giờ là 4 giờ 25 phút chiều."),
        ("vi", 7, 0, "Bây giờ là 7 giờ sáng."),
        ("vi", 12, 30, "Bây giờ là 12 giờ 30 phút trưa."),
        ("vi", 0, 5, "Bây giờ là 12 giờ 5 phút đêm."),
        ("vi", 21, 0, "Bây giờ là 9 giờ tối."),
        ("zh", 14, 5, "现在是下午两点零5分。"),
        ("zh", 12, 0, "现在是中午12点整。"),
        ("zh", 0, 0, "现在是凌晨零点整。"),
        ("zh", 20, 30, "现在是晚上8点30分。"),
        ("ja", 16, 25, "午後4時25分です。"),
        ("ja", 0, 0, "午前0時ちょうどです。"),
        ("ko", 16, 25, "지금은 오후 네 시 25분이에요."),
        ("ko", 12, 0, "지금은 오후 열두 시 정각이에요."),
    ],
)
def test_the_time_is_said_as_people_do(language: str, hour: int, minute: int, said: str) -> None:
    """Hours that are counted in other words than numbers are read in are words: 네 시, 两点."""
    assert pack(language).time(datetime(2026, 11, 21, hour, minute, tzinfo=UTC)) == said
