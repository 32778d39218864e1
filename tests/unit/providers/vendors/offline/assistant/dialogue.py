"""Talks to the offline assistant as the voice pipeline does, with tools that answer from a table."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from mimi_mqtt.providers.contract.chat import ChatMessage, ChatOptions, TextDelta, ToolCall, ToolSpec
from mimi_mqtt.providers.contract.provider import ProviderOptions
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.providers.vendors.offline.assistant import OfflineAssistant

STATUS = (
    '{"audio_speaker": {"volume": 70}, "screen": {"brightness": 50, "theme": "light"}, '
    '"battery": {"level": 81}}'
)
SET_VOLUME = "self__audio_speaker__set_volume"
SET_BRIGHTNESS = "self__screen__set_brightness"
GET_STATUS = "self__get_device_status"

RESULTS: Mapping[str, str] = {
    GET_STATUS: STATUS,
    SET_VOLUME: "true",
    SET_BRIGHTNESS: "true",
    "set_timer": "The timer is set for 5 minutes.",
    "set_reminder": "The alarm is set: Sunday, 22 November 2026, 07:30 (id 4821).",
    "list_reminders": '{"id": "1", "kind": "timer", "name": "pasta timer", "label": "pasta", '
    '"left": "3 minutes", "seconds_left": 180}\n'
    '{"id": "2", "kind": "timer", "name": "tea timer", "label": "tea", "left": "20 seconds", '
    '"seconds_left": 20}',
    "change_reminder": "The alarm is changed: Sunday, 22 November 2026, 08:00 (id 4821).",
    "cancel_reminder": "The timer is cancelled.",
}

_ARGUMENTS = {SET_VOLUME: "volume", SET_BRIGHTNESS: "brightness"}

TOOLS = tuple(
    ToolSpec(
        name,
        "",
        {
            "type": "object",
            "properties": {_ARGUMENTS[name]: {"type": "integer"}} if name in _ARGUMENTS else {},
        },
    )
    for name in RESULTS
)

MOST_ROUNDS = 5


def clock(zone: ZoneInfo | None) -> datetime:
    """25 past 4 in the afternoon of a Saturday, in UTC."""
    return datetime(2026, 11, 21, 16, 25, tzinfo=UTC).astimezone(zone or UTC)


def assistant(seed: int = 1) -> OfflineAssistant:
    return OfflineAssistant(
        "offline", ProviderOptions(), Limits(retries=0), now=clock, chance=random.Random(seed)
    )


@dataclass
class Answer:
    """The calls that were made, and what was said, delta by delta."""

    calls: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    deltas: list[str] = field(default_factory=list)
    languages: set[str | None] = field(default_factory=set)

    @property
    def text(self) -> str:
        return "".join(self.deltas)

    @property
    def words(self) -> str:
        """The text without the emoji at its beginning."""
        return self.text.partition(" ")[2]


async def ask(
    question: str,
    *,
    tools: Sequence[ToolSpec] = TOOLS,
    results: Mapping[str, str] = RESULTS,
    options: ChatOptions | None = None,
    before: Sequence[ChatMessage] = (),
    model: OfflineAssistant | None = None,
) -> Answer:
    """Asks until there is an answer in words, running the tools in between."""
    model = model or assistant()
    messages = [ChatMessage("system", "You are MiMi, a friendly assistant."), *before]
    messages.append(ChatMessage("user", question))
    answer = Answer()
    for _ in range(MOST_ROUNDS):
        calls: list[ToolCall] = []
        async for event in model.chat(messages, tools, options):
            if isinstance(event, TextDelta):
                answer.deltas.append(event.text)
                answer.languages.add(event.language)
            elif isinstance(event, ToolCall):
                calls.append(event)
        if not calls:
            return answer
        messages.append(ChatMessage("assistant", "", tuple(calls)))
        for call in calls:
            answer.calls.append((call.name, dict(call.arguments)))
            messages.append(ChatMessage("tool", results[call.name], tool_call_id=call.id))
    raise AssertionError("the assistant only calls tools")
