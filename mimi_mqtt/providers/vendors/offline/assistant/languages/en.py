"""English, as far as alarms and reminders go; all else is in the tables of `intents`."""

from datetime import datetime
from functools import partial
from typing import Final

from mimi_mqtt.providers.vendors.offline.assistant.clock import spoken_date, spoken_time
from mimi_mqtt.providers.vendors.offline.assistant.languages.numbers import reader
from mimi_mqtt.providers.vendors.offline.assistant.languages.pack import Pack
from mimi_mqtt.providers.vendors.offline.assistant.languages.reminder_words import ReminderWords

_PLEASE: Final = r"(?:please |can you |could you |would you |will you |hey |and |then |also )*"


def _at(now: datetime) -> str:
    return f"at {spoken_time(now)}"


REMINDERS: Final = ReminderWords(
    noun=r"\breminders?\b",
    remind=r"\bremind me\b",
    command=rf"{_PLEASE}(?:remind me|(?:set|make|create|add|give me|i need) (?:a |an |another |the )?reminder"
    r"(?: for me)?)\b",
    every=r"\b(?:every|each)\b|\b(?:mon|tues|wednes|thurs|fri|satur|sun)days\b",
    daily=r"\b(?:every|each) (?:single )?(?:day|morning|evening|night|afternoon)\b|\bdaily\b",
    weekdays=r"\b(?:on )?(?:every |each )?(?:weekdays?|working days?|workdays?)\b",
    weekends=r"\b(?:on |at )?(?:every |each |the )?weekends?\b",
    today=r"\btoday\b|\btonight\b|\bthis (?:morning|afternoon|evening)\b",
    overmorrow=r"\b(?:the )?day after tomorrow\b",
    days=tuple(
        rf"\b{day}s?\b"
        for day in ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
    ),
    before_day=r"(?:\band )?(?:\bon )?(?:\b(?:every|each|next|this|coming) )?",
    before_time=r"\b(?:at|for|by|to|from)(?: about| around)?",
    after_time=r"(?:o ?clock|sharp|(?:[ap] ?m|(?:in the|this) (?:morning|afternoon|evening)|at night|tonight)\b| )*",
    before_delay=r"\bin",
    after_delay=r"(?:from now|and a half)?",
    lead=r"(?:to|that|about|of|for|and|please|on)\b",
    trail=r"\b(?:please|at|on|in|every|for|and|by|in the)",
    change=r"\b(?:move|change|shift|reschedule|postpone|push|put off|set back)\b.*\b(?:to|until|till|at)\b",
    show=r"^(?:please |can you |could you )*(?:what|which|list|show|tell me|how many|read me|when is|are there)\b|\bdo i have\b",
    names=("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    joint=" and ",
    said_today="today",
    said_tomorrow="tomorrow",
    said_on="on {day}",
    said_daily="every day",
    said_weekdays="on weekdays",
    said_weekends="on weekends",
    said_every="every {days}",
    alarm="alarm {when}",
    reminder="{when}: {text}",
    replies={
        "set": "👍 I'll remind you {when}: {text}.",
        "changed": "👍 It is changed: {when}.",
        "when": "🤔 When? Say, for example: remind me tomorrow at nine to call mum.",
        "past": "🤔 That time is past.",
        "nothing": "🙂 Nothing is set.",
        "removed": "👍 It is cancelled.",
        "which": "🤔 I don't know which one you mean.",
    },
)

PACK: Final = Pack(
    code="en",
    decimal_comma=False,
    read=partial(reader, "en", joins=frozenset({"and"}), thousands=("thousand",)),
    percent="percent",
    minus="minus ",
    at=_at,
    time=spoken_time,
    day=spoken_date,
    units=(r"hours?\b", r"min(?:ute)?s?\b", r"sec(?:ond)?s?\b"),
    repeat=r"repeat after me",
    reminders=REMINDERS,
    fractions=(
        (r"\bhalf an hour\b", "30 minutes"),
        (r"\b(?:a )?quarter of an hour\b", "15 minutes"),
        (r"\ban hour and a half\b", "90 minutes"),
        (r"\b(?:an|a) (?=hour\b|minute\b)", "1 "),
        (r"\b([ap])\.? ?m\b\.?", r"\1m"),
        (r"\bo'? ?clock\b", "o clock"),
    ),
    clock=(
        (r"\b(?:12 )?noon\b", "@12:00"),
        (r"\b(?:12 )?midnight\b", "@0:00"),
        (r"\bhalf past (\d{1,2})\b", r"@\1:30"),
        (r"\b(?:a )?quarter past (\d{1,2})\b", r"@\1:15"),
        (r"\b(?:a )?quarter to (\d{1,2})\b", r"@\1:-15"),
        (r"\b(\d{1,2})(?: minutes)? past (\d{1,2})\b", r"@\2:\1"),
        (r"(?<!at )(?<!for )\b(\d{1,2}) minutes to (\d{1,2})\b", r"@\2:-\1"),
        (r"\b(\d{1,2}) (?:oh|0) (\d)(?! ?\d)\b", r"@\1:0\2"),
        (r"\b(\d{1,2})[. ](\d{2})(?= ?[ap]m\b| o clock\b| in the\b)", r"@\1:\2"),
        (r"\b(\d{1,2})(?= ?[ap]m\b| o clock\b| in the (?:morning|afternoon|evening)\b)", r"@\1"),
        (r"\b(?<=at )(\d{1,2})(?:[. ](\d{2}))?\b(?! ?(?:hours?|min|sec|percent|%))", r"@\1:\2"),
        (r"\b(?<=for )(\d{1,2})(?:[. ](\d{2}))?(?=$| (?:tomorrow|today|tonight|every|on)\b)", r"@\1:\2"),
        (r"\b(?<=to )(\d{1,2})(?:[. ](\d{2}))?(?=$| (?:tomorrow|today|tonight)\b)", r"@\1:\2"),
        (r"\b(?<=by )(\d{1,2})(?:[. ](\d{2}))?(?=$)", r"@\1:\2"),
    ),
    intents={
        "alarm": r"\balarms?(?: clock)?\b",
        "remind": r"\bremind me\b|\b(?:wake|get) me(?: up)?\b|\bcall me (?=at\b|in\b|up\b)",
        "cancel": r"\b(?:cancel|stop|delete|remove|clear|turn off)\b",
        "tomorrow": r"\btomorrow\b",
        "morning": r"@\d{1,2}(?::-?\d{0,2})? ?am\b|\bam\b(?<=\dam)|\bmornings?\b",
        "evening": r"@\d{1,2}(?::-?\d{0,2})? ?pm\b|\b(?:afternoon|evening|night)s?\b|\btonight\b",
        "wake": r"\b(?:wake|get) me(?: up)?\b",
    },
    replies={
        "alarm set": "👍 The alarm is set: {at}.",
        "no timers": "😔 I have no timers here.",
        "failed": "😔 That didn't work.",
    },
)
