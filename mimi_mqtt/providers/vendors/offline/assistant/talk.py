"""Intents without a tool: time, sums, jokes, small talk and repeating."""

import re
from collections.abc import Callable
from datetime import timedelta
from re import Match

from mimi_mqtt.providers.vendors.offline.assistant import phrases
from mimi_mqtt.providers.vendors.offline.assistant.clock import spoken_date, spoken_time
from mimi_mqtt.providers.vendors.offline.assistant.languages import pack
from mimi_mqtt.providers.vendors.offline.assistant.numbers import shown
from mimi_mqtt.providers.vendors.offline.assistant.sums import TooLarge, calculate
from mimi_mqtt.providers.vendors.offline.assistant.turn import Action, Say, Turn, Use

_REPEAT = re.compile(
    r"\b(?:repeat|say)\b(?:\s+after\s+me)?[\s:,;\"“”'-]*(?P<words>.*)", re.IGNORECASE | re.DOTALL
)
_ELSEWHERE = re.compile(r"\b(?:in|at) (?!the (?:morning|afternoon|evening)\b|this\b|my\b)\w+")
_LONGEST_REPEAT = 300
_END = "end_conversation"


def tell_time(turn: Turn, match: Match[str]) -> Action:
    """`what time is it`."""
    answer = f"It is {spoken_time(turn.now)}."
    if _ELSEWHERE.search(match.string):
        return Say(f"🤔 I only know the time here. {answer}")
    return Say(f"🙂 {answer}")


def tell_date(turn: Turn, match: Match[str]) -> Action:
    """`what is the date`, `what day is tomorrow`."""
    if re.search(r"\btomorrow\b", match.string):
        return Say(f"🙂 Tomorrow is {spoken_date(turn.now + timedelta(days=1))}.")
    if re.search(r"\byesterday\b", match.string):
        return Say(f"🙂 Yesterday was {spoken_date(turn.now - timedelta(days=1))}.")
    return Say(f"🙂 Today is {spoken_date(turn.now)}.")


def tell_year(turn: Turn, _: Match[str]) -> Action:
    """`what year is it`."""
    return Say(f"🙂 It is the year {turn.now.year}.")


def tell_month(turn: Turn, _: Match[str]) -> Action:
    """`what month is it`."""
    return Say(f"🙂 It is {turn.now:%B}.")


def do_sum(turn: Turn, _: Match[str]) -> Action | None:
    """`what is twelve times seven`; None when it is no sum after all."""
    try:
        value = calculate(turn.text)
    except ZeroDivisionError:
        return Say("🤔 Nobody can divide by zero, not even me.")
    except TooLarge:
        return Say("😳 That number is too large for me.")
    return None if value is None else Say(f"🤓 That is {shown(value)}.")


def repeat(turn: Turn, _: Match[str]) -> Action | None:
    """`repeat after me …`, with the user's own spelling."""
    match = _REPEAT.search(turn.spoken)
    words = match["words"].strip(" \"“”'") if match else ""
    if not words:
        return Say("🙂 Say: repeat after me, and then the words.")
    return Say(f"🙂 {words[:_LONGEST_REPEAT]}")


def joke(turn: Turn, _: Match[str]) -> Action:
    """`tell me a joke`: any but those told lately."""
    told = " ".join(turn.earlier)
    fresh = [text for text in phrases.JOKES if text[2:-1] not in told]
    last = turn.earlier[-1] if turn.earlier else ""
    return Say(turn.random.choice(fresh or [text for text in phrases.JOKES if text[2:-1] not in last]))


def introduce(turn: Turn, _: Match[str]) -> Action:
    """`who are you`."""
    return Say(
        f"😊 I'm {turn.name}, your voice assistant. Without a language model I only know a few things."
    )


def small_talk(key: str) -> Callable[[Turn, Match[str]], Action]:
    """An intent that answers one of `phrases.TALK`."""

    def act(turn: Turn, _: Match[str]) -> Action:
        return Say(turn.random.choice(phrases.TALK[key]))

    return act


def goodbye(turn: Turn, _: Match[str]) -> Action:
    """Ends the conversation, where that can be done, and says goodbye."""
    tool = turn.tool(_END)
    if tool is not None and turn.result(_END) is None:
        return Use(tool, {})
    return Say(phrases.FIXED["goodbye"])


def fixed_reply(key: str) -> Callable[[Turn, Match[str]], Action]:
    """An intent that answers one of `phrases.FIXED`."""

    def act(_turn: Turn, _: Match[str]) -> Action:
        return Say(phrases.FIXED[key])

    return act


def fixed(key: str, turn: Turn) -> Say:
    """The reply `key` in the language of `turn`."""
    if turn.language == "en":
        return Say(phrases.FIXED[key])
    texts = pack(turn.language).replies[key]
    return Say(texts if isinstance(texts, str) else texts[0], turn.language)
