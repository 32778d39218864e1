"""The table of intents, in the order they are tried; the first that matches and does not decline answers.

Patterns see the text as `plain` makes it: lower case, no punctuation, contractions written out.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial
from re import Match

from mimi_mqtt.providers.vendors.offline.assistant import settings, talk, timers
from mimi_mqtt.providers.vendors.offline.assistant.settings import BRIGHTNESS, VOLUME, Level
from mimi_mqtt.providers.vendors.offline.assistant.sums import sums_apart
from mimi_mqtt.providers.vendors.offline.assistant.turn import Action, Intent, Turn

LONGEST_QUESTION = 500
"""Characters of the user's text that are looked at."""

_CONTRACTIONS = (
    (re.compile(r"\b(what|who|how|that|it|where)'?s\b"), r"\1 is"),
    (re.compile(r"\bi'm\b"), "i am"),
    (re.compile(r"\b(you|they|we)'re\b"), r"\1 are"),
    (re.compile(r"\b(do|does|did|is|are|can)n't\b"), r"\1 not"),
)
_APOSTROPHES = re.compile(r"[‘’ʼ`´]")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
_SIGN = re.compile(r"(?<=[\d)])\s*([*/×÷^+−-])\s*(?=[\d(])|(%)")
_X = re.compile(r"(?<=\d)\s*x\s*(?=\d)")
_COMMA = re.compile(r"(?<=\d),(?=\d)")
_REST = re.compile(r"[^\w\s'.:*/×÷^+−%√()-]|(?<!\d)[.:]|:(?!\d)|\.(?!\d)|(?<!\s)-(?=[a-z])")


def plain(text: str) -> str:
    """`text` as the patterns see it: `What's 12×7?` becomes `what is 12 × 7`."""
    text = _APOSTROPHES.sub("'", text[:LONGEST_QUESTION].lower())
    for pattern, written in _CONTRACTIONS:
        text = pattern.sub(written, text)
    text = sums_apart(_COMMA.sub(".", _THOUSANDS.sub("", text)))
    text = _SIGN.sub(r" \1\2 ", _X.sub(" * ", text))
    return " ".join(_REST.sub(" ", text).split()).removesuffix(" please")


def _intent(name: str, pattern: str, act: Callable[[Turn, Match[str]], Action | None]) -> Intent:
    return Intent(name, re.compile(pattern), act)


_UP = r"up|louder|brighter|higher"
_DOWN = r"down|quieter|softer|lower|darker|dimmer"
_MORE = r"(?:raise|increase|turn up|crank up|boost)"
_LESS = r"(?:lower|decrease|reduce|turn down)"
_BY_HOW_MUCH = r"(?: (?:a (?:bit|little|lot)|much|way|by .*))?"
_TO = r"(?: level)?(?: (?:up|down))?(?: (?:to|at|is|as|on))*"
_HIGHEST = r"\b(?:max|maximum|full|highest|loudest|brightest)\b"
_LOWEST = r"\b(?:min|minimum|lowest)\b"
_ASKED = r"\b(?:what is|how (?:loud|bright|high) is|tell me)\b"


def _alone(words: str) -> str:
    """`words` in a short sentence: in a long one they are about something else."""
    return rf"^(?:\S+ ){{0,6}}(?:{words})\b(?: \S+){{0,2}}$"


def _level(level: Level, noun: str, more: str, less: str) -> Sequence[Intent]:
    """The intents of one level: called `noun`, or changed by the single words `more` and `less`."""
    name = level.name
    noun = rf"\b(?:{noun})\b"
    rows: Sequence[tuple[str, str, Callable[[Level, Turn, Match[str]], Action | None]]] = (
        ("set", rf"^(?!.*\bby\b).*{noun}{_TO} (?P<value>\S.*)$", settings.set_level),
        ("highest", rf"{_HIGHEST}.*{noun}|{noun}.*{_HIGHEST}", settings.set_highest),
        ("lowest", rf"{_LOWEST}.*{noun}|{noun}.*{_LOWEST}", settings.set_lowest),
        (
            "raise",
            rf"\b{_MORE}\b.*{noun}|{noun}{_BY_HOW_MUCH} (?:{_UP})\b|{_alone(more)}",
            settings.raise_level,
        ),
        (
            "lower",
            rf"\b{_LESS}\b.*{noun}|{noun}{_BY_HOW_MUCH} (?:{_DOWN})\b|{_alone(less)}",
            settings.lower_level,
        ),
        ("tell", rf"{_ASKED}.*{noun}", settings.tell_level),
    )
    return [_intent(f"{action} {name}", pattern, partial(act, level)) for action, pattern, act in rows]


_SUM_WORDS = (
    r"\b(?:plus|minus|times|squared|cubed|twice|over)\b|\b(?:divided|multiplied) by\b|(?:\bpercent|%) of\b"
    r"|\b(?:root|half|power) of\b|\d\s*[*/×÷^+−-]\s*\d|√"
)
_TIME_WORDS = r"\bwhat time\b|\btime is it\b|\b(?:what is|tell me) the (?:current )?time\b|^(?:the )?time$"
_DATE_WORDS = (
    r"\b(?:today'?s date|the date|date is it|day is it|weekday)\b"
    r"|\bday (?:is|was) (?:it )?(?:today|tomorrow|yesterday)\b"
)
_HELP_WORDS = (
    r"^(?:\w+ ){0,3}help(?: me)?$|\bwhat can (?:you do|i (?:say|ask))\b|\bhow (?:can you help|do you work)\b"
)
_MUTE_WORDS = r"^(?:\w+ ){0,3}(?:mute|be quiet|shut up|silence)(?: the (?:sound|volume))?$"
_HOW_ARE_YOU = r"\bhow (?:are you(?: doing)?(?: today)?|do you do)$"
_BEFORE_BYE = r"(?:okay|ok|well|all right|alright|thanks|thank you|that is all|that is it|no|and)"
_BYE = (
    r"goodbye|good bye|bye|see you|that is all|that is it"
    r"|(?:please )?stop (?:talking|listening)|(?:please )?(?:go to sleep|end (?:the|this) conversation)"
)
_AFTER_BYE = r"later|soon|tomorrow|then|now|for now|for today|thanks|thank you|everyone|please|mimi"
_TIMER_QUESTIONS = (
    r"\bhow (?:much time|much longer|long)\b.*\bleft\b|\btimers?\b.*\b(?:running|left)\b"
    r"|\b(?:list|show|what|which|any|how many)\b.*\btimers?\b"
)
_SET_TIMER = r"\b(?:timer|alarm)\b|\b(?:remind|wake|call) me (?:up )?(?:in|at)\b"

INTENTS: Sequence[Intent] = (
    # What the user wants said comes first: it may contain anything.
    _intent("repeat", r"^(?:please |can you |could you )*repeat\b|\bafter me\b", talk.repeat),
    _intent("joke", r"\bjokes?\b|\bmake me laugh\b|\bsay something funny\b", talk.joke),
    _intent(
        "cancel timer",
        r"\b(?:cancel|stop|delete|remove|clear|turn off)\b.*\b(?:timers?|alarms?)\b",
        timers.cancel_timer,
    ),
    _intent("list timers", _TIMER_QUESTIONS, timers.list_timers),
    _intent("set timer", _SET_TIMER, timers.set_timer),
    *_level(VOLUME, "volume|sound", "louder|speak up|turn it up", "quieter|softer|turn it down"),
    *_level(BRIGHTNESS, "brightness|backlight", "brighter", "darker|dimmer|dim the (?:screen|display|light)"),
    _intent("unmute", r"\bunmute\b", settings.unmute),
    _intent("mute", _MUTE_WORDS, settings.mute),
    _intent("battery", r"\bbattery\b", settings.tell_battery),
    _intent("sum", _SUM_WORDS, talk.do_sum),
    _intent("time", _TIME_WORDS, talk.tell_time),
    _intent("year", r"\b(?:what|which) year\b", talk.tell_year),
    _intent("month", r"\b(?:what|which) month\b", talk.tell_month),
    _intent(
        "date",
        rf"\b(?:what|tell me|which)\b.*{_DATE_WORDS}|^(?:the )?date$|^what is today$",
        talk.tell_date,
    ),
    _intent("help", _HELP_WORDS, talk.fixed_reply("help")),
    _intent("name", r"\bwho are you\b|\bwhat are you$|\byour name\b|\babout yourself\b", talk.introduce),
    _intent("night", r"^good night\b", talk.small_talk("night")),
    _intent(
        "goodbye",
        rf"^(?:{_BEFORE_BYE} )*(?:{_BYE})(?: (?:{_BYE}|{_AFTER_BYE}))*$",
        talk.goodbye,
    ),
    _intent("thanks", r"\bthank(?:s| you)\b|^cheers$", talk.fixed_reply("thanks")),
    # In a longer sentence they may be about something else: the conversation goes on.
    _intent("mention of goodbye", r"\b(?:good)?bye\b|\bsee you\b", talk.fixed_reply("goodbye")),
    _intent("how are you", _HOW_ARE_YOU, talk.small_talk("how are you")),
    _intent("morning", r"\bgood morning\b", talk.small_talk("morning")),
    _intent("afternoon", r"\bgood afternoon\b", talk.small_talk("afternoon")),
    _intent("evening", r"\bgood evening\b", talk.small_talk("evening")),
    _intent("meet", r"\bnice to meet you\b", talk.small_talk("meet")),
    _intent("presence", r"\bare you there\b|\bcan you hear me\b", talk.small_talk("presence")),
    _intent("love", r"\bi (?:love|like) you\b", talk.small_talk("love")),
    _intent("nature", r"\bare you (?:an? )?(?:robot|human|machine|real|alive)\b", talk.small_talk("nature")),
    _intent("age", r"\bhow old are you\b", talk.small_talk("age")),
    _intent("home", r"\bwhere (?:are you from|do you (?:live|come))\b", talk.small_talk("home")),
    _intent("maker", r"\bwho (?:made|built|created|programmed) you\b", talk.small_talk("maker")),
    _intent("insult", r"\byou are (?:\w+ )?(?:stupid|bad|dumb|silly|useless)\b", talk.small_talk("insult")),
    _intent(
        "praise",
        r"\byou are (?:\w+ )?(?:great|nice|funny|smart|good|cool|clever|sweet)\b|^(?:well done|good job)$",
        talk.small_talk("praise"),
    ),
    _intent("sorry", r"^(?:i am )?sorry$", talk.small_talk("sorry")),
    _intent("never mind", r"^(?:never mind|okay|ok|stop|cancel|nothing)$", talk.small_talk("never mind")),
    _intent("yes", r"^(?:yes|yeah|yep|sure)(?: please)?$", talk.small_talk("yes")),
    _intent("no", r"^(?:no|nope)(?: thank you| thanks)?$", talk.small_talk("no")),
    _intent("hello", r"^(?:hello|hi|hey|good day)\b(?: \w+)?$", talk.fixed_reply("greeting")),
    # Of the words to say after "say", any other meaning wins.
    _intent("say", r"^(?:please |can you |could you )*say .", talk.repeat),
)  # fmt: skip
