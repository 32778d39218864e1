"""Time and date as they are spoken. Pure."""

from datetime import datetime

from mimi_mqtt.providers.vendors.offline.assistant.numbers import in_words


def spoken_time(now: datetime) -> str:
    """`four twenty-five in the afternoon`."""
    if now.minute == 0 and now.hour in (0, 12):
        return "midnight" if now.hour == 0 else "noon"
    hour = in_words((now.hour - 1) % 12 + 1)
    if now.minute == 0:
        clock = f"{hour} o'clock"
    elif now.minute < 10:
        clock = f"{hour} oh {in_words(now.minute)}"
    else:
        clock = f"{hour} {in_words(now.minute)}"
    return f"{clock} {_part_of_day(now.hour)}"


def _part_of_day(hour: int) -> str:
    if hour < 12:
        return "in the morning"
    if hour < 18:
        return "in the afternoon"
    return "in the evening" if hour < 22 else "at night"


def spoken_date(now: datetime) -> str:
    """`Saturday, the 21st of November 2026`."""
    return f"{now:%A}, the {now.day}{_ordinal(now.day)} of {now:%B} {now.year}"


def _ordinal(day: int) -> str:
    if 10 <= day % 100 <= 20:
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
