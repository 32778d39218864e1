"""The last turns of a device's earlier conversations, as a text for a prompt: few, short, the newest last."""

import asyncio
import itertools
import logging
from collections.abc import Collection, Sequence
from datetime import tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from mimi_mqtt.config.prompt import MAX_MEMORY_CHARS
from mimi_mqtt.errors import StoreError
from mimi_mqtt.store import conversations
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Turn

_log = logging.getLogger(__name__)

MAX_TURNS: Final = 10
"""The most turns in the text."""
MAX_WORDS_CHARS: Final = 200
"""The most characters of a question, and of a reply."""
MAX_QUERIES: Final = 2
"""Queries at once: after a mass reconnect the database has other things to do."""
MAX_GREETINGS: Final = 5_000
"""Greetings that are known, those of agents of before among them; the oldest are forgotten."""

_SAID: Final = ("answered", "interrupted", "aborted")
"""Outcomes of turns with a reply."""


class RecentTurns:
    """Reads the last turns of earlier conversations. Replies among `greetings` do not count; `timezone` None
    is that of this machine."""

    def __init__(self, store: Store, *, greetings: Collection[str] = (), timezone: str | None = None) -> None:
        self._store = store
        self._greetings: dict[str, None] = {}
        self.know_greetings(greetings)
        self._zone: tzinfo | None = ZoneInfo(timezone) if timezone else None
        self._reading = asyncio.Semaphore(MAX_QUERIES)
        self._failing = False

    def know_greetings(self, greetings: Collection[str]) -> None:
        """Tells `greetings` from answers too, from now on."""
        for greeting in greetings:
            self._greetings.pop(greeting.strip(), None)
            self._greetings[greeting.strip()] = None
        for oldest in [*self._greetings][: max(0, len(self._greetings) - MAX_GREETINGS)]:
            del self._greetings[oldest]

    async def recall(self, device_id: str, session_id: str) -> str:
        """The turns before the session `session_id` as a text; empty without turns, or when they can't be
        read."""
        try:
            async with self._reading, self._store.read() as session:
                turns = await conversations.last_turns(
                    session, device_id, before=session_id, outcomes=_SAID, limit=MAX_TURNS * 2
                )
        except StoreError as error:
            if not self._failing:
                _log.warning("earlier conversations can't be remembered: %s", error)
            self._failing = True
            return ""
        self._failing = False
        answered = [turn for turn in turns if turn.reply.strip() not in self._greetings]
        remembered = answered[:MAX_TURNS][::-1]
        while len(text := self._tell(remembered)) > MAX_MEMORY_CHARS:
            remembered = remembered[1:]
        return text

    def _tell(self, turns: Sequence[Turn]) -> str:
        """Each conversation under the time of its first turn in `turns`."""
        lines: list[str] = []
        for _, of_conversation in itertools.groupby(turns, lambda turn: turn.conversation_id):
            told = [*of_conversation]
            lines.append(f"{told[0].started_at.astimezone(self._zone):%A, %d %B %Y, %H:%M}:")
            for turn in told:
                lines += [f"User: {_short(turn.heard)}", f"You: {_short(turn.reply)}"]
        return "\n".join(lines)


def _short(text: str) -> str:
    """The text on one line, cut to MAX_WORDS_CHARS."""
    words = " ".join(text.split())
    return words if len(words) <= MAX_WORDS_CHARS else words[: MAX_WORDS_CHARS - 1] + "…"
