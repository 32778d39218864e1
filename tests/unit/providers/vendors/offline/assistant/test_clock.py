"""Time and date as they are spoken."""

from datetime import datetime

import pytest

from mimi_mqtt.providers.vendors.offline.assistant.clock import spoken_date, spoken_time


@pytest.mark.parametrize(
    ("hour", "minute", "spoken"),
    [
        (0, 0, "midnight"),
        (0, 5, "twelve oh five in the morning"),
        (6, 30, "six thirty in the morning"),
        (12, 0, "noon"),
        (12, 1, "twelve oh one in the afternoon"),
        (16, 25, "four twenty-five in the afternoon"),
        (19, 0, "seven o'clock in the evening"),
        (23, 59, "eleven fifty-nine at night"),
    ],
)
def test_time_is_spoken_with_the_part_of_the_day(hour: int, minute: int, spoken: str) -> None:
    assert spoken_time(datetime(2026, 1, 1, hour, minute)) == spoken


@pytest.mark.parametrize(
    ("day", "spoken"),
    [
        (1, "Sunday, the 1st of November 2026"),
        (2, "Monday, the 2nd of November 2026"),
        (3, "Tuesday, the 3rd of November 2026"),
        (11, "Wednesday, the 11th of November 2026"),
        (12, "Thursday, the 12th of November 2026"),
        (13, "Friday, the 13th of November 2026"),
        (21, "Saturday, the 21st of November 2026"),
        (22, "Sunday, the 22nd of November 2026"),
    ],
)
def test_date_is_spoken_with_an_ordinal(day: int, spoken: str) -> None:
    assert spoken_date(datetime(2026, 11, day)) == spoken
