"""The replacement of a language model: a table of intents, and an admission for everything else."""

import asyncio
import random
import re
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Sequence
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mimi_mqtt.providers.contract.chat import (
    ChatMessage,
    ChatOptions,
    LlmEvent,
    TextDelta,
    ToolCall,
    ToolSpec,
)
from mimi_mqtt.providers.contract.llm import LanguageModel
from mimi_mqtt.providers.contract.provider import ProviderOptions
from mimi_mqtt.providers.languages import primary
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.providers.vendors.offline.assistant.intents import INTENTS, plain
from mimi_mqtt.providers.vendors.offline.assistant.languages import (
    OTHERS,
    candidates,
    make_numbers,
    pack_for,
    reminding,
)
from mimi_mqtt.providers.vendors.offline.assistant.languages.acting import answer
from mimi_mqtt.providers.vendors.offline.assistant.talk import fixed
from mimi_mqtt.providers.vendors.offline.assistant.turn import Action, Result, Say, Turn

_NAME: Final = re.compile(r"\byou are (?P<name>[A-Z][\w-]{0,30})", re.IGNORECASE)
_SENTENCE: Final = re.compile(r".+?(?:[.!?]+(?:\s+|$)|[。！？]+|$)", re.DOTALL)
_REMINDING: Final = re.compile(r"\b(?:alarms?|remind|reminders?|wake|get me up|call me)\b")
"""Words without which an English sentence is not about alarms or reminders."""
_DEFAULT_NAME: Final = "MiMi"


def _system_clock(zone: ZoneInfo | None) -> datetime:
    return datetime.now(zone).astimezone(zone)


class OfflineAssistant(LanguageModel):
    """A model that answers at once, offline. `now` gives the time in a zone (None: the machine's own)."""

    can_continue = False
    last_resort = True

    def __init__(
        self,
        name: str,
        options: ProviderOptions,
        limits: Limits,
        *,
        now: Callable[[ZoneInfo | None], datetime] = _system_clock,
        chance: random.Random | None = None,
    ) -> None:
        super().__init__(name, options, limits)
        self._now = now
        self._chance = chance or random.Random()
        self._prepared: frozenset[str] = frozenset()

    async def check(self) -> str:
        """Answers a sum."""
        events = [event async for event in self.chat([ChatMessage("user", "what is six times seven")])]
        return "".join(event.text for event in events if isinstance(event, TextDelta))

    async def _chat(
        self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec], options: ChatOptions
    ) -> AsyncGenerator[LlmEvent, None]:
        turn = self._turn(messages, tools, options)
        action = decide(turn, self._prepared)
        if action is None:
            # Numbers in words are made at the first use of a language, which takes a while.
            self._prepared |= await asyncio.to_thread(prepare, turn)
            action = decide(turn, self._prepared)
        match action or unknown(turn):
            case Say(text, language):
                for sentence in _sentences(text):
                    yield TextDelta(sentence, language)
            case use:
                yield ToolCall(f"offline_{len(turn.results) + 1}", use.tool, use.arguments)

    def _turn(self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec], options: ChatOptions) -> Turn:
        asked = max((at for at, message in enumerate(messages) if message.role == "user"), default=-1)
        spoken = messages[asked].content if asked >= 0 else ""
        system = next((message.content for message in messages if message.role == "system"), "")
        name = _NAME.search(system)
        language = primary(options.language)
        return Turn(
            spoken=spoken,
            text=plain(spoken),
            language=language if language in OTHERS else "en",
            name=name["name"] if name else _DEFAULT_NAME,
            now=self._now(_zone(options.timezone)),
            tools={tool.name: tool for tool in tools},
            results=tuple(_results(messages[asked + 1 :])),
            earlier=[message.content for message in messages[:asked] if message.role == "assistant"],
            random=self._chance,
        )


def decide(turn: Turn, prepared: Collection[str]) -> Action | None:
    """The action for `turn`: the first intent that answers, in the likeliest language first.

    None when none does, or when a likelier language than the one that does is not `prepared`.
    """
    if not any(map(str.isalnum, turn.spoken)):
        return fixed("nothing", turn)
    for language in candidates(turn.spoken, turn.language):
        if language == "en":
            if _REMINDING.search(turn.text):
                if language not in prepared:
                    return None
                english = pack_for(language, turn.spoken)
                if (action := reminding.answer(english, turn, english.plain(turn.spoken))) is not None:
                    return action
            action = _english(turn)
        elif language in prepared:
            action = answer(pack_for(language, turn.spoken), turn)
        else:
            return None
        if action is not None:
            return action
    return None


def prepare(turn: Turn) -> frozenset[str]:
    """Makes the numbers of all languages in which `turn` may be understood; blocks for up to a second."""
    made = [
        language
        for language in candidates(turn.spoken, turn.language)
        if language != "en" or _REMINDING.search(turn.text)
    ]
    for language in made:
        make_numbers(language)
    return frozenset(made)


def unknown(turn: Turn) -> Say:
    """The admission that the answer is not known, in other words the second time."""
    last = turn.earlier[-1] if turn.earlier else ""
    again = any(fixed(key, turn).text[2:] in last for key in ("unknown", "unknown again"))
    return fixed("unknown again" if again else "unknown", turn)


def _english(turn: Turn) -> Action | None:
    for intent in INTENTS:
        match = intent.pattern.search(turn.text) if turn.text else None
        action = intent.act(turn, match) if match else None
        if action is not None:
            return action
    return None


def _results(messages: Sequence[ChatMessage]) -> Iterator[Result]:
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    for message in messages:
        if message.role == "tool" and message.tool_call_id in names:
            yield Result(names[message.tool_call_id], message.content)


def _zone(name: str | None) -> ZoneInfo | None:
    """The zone called `name`; None, the machine's own, when there is no such zone."""
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _sentences(text: str) -> Iterator[str]:
    return (match[0] for match in _SENTENCE.finditer(text))
