"""Conversations, search and statistics."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from zoneinfo import ZoneInfo

from mimi_mqtt.fleet.entry import DeviceInfo
from mimi_mqtt.memory.exports import ConversationExports
from mimi_mqtt.memory.history import ConversationHistory
from mimi_mqtt.store.turn_record import ProviderUse
from tests.unit.http.api.isolation.example import Example
from tests.unit.http.api.isolation.house import BOBS, opened
from tests.unit.store.conversation_checks import DAY, said, save

USE = ProviderUse("llm", "openai", input_tokens=3)
DAYS = f"from={DAY}&to={DAY}"


@asynccontextmanager
async def talk(folder: Path) -> AsyncIterator[Mapping[str, object]]:
    """bob asked his device for something."""
    async with opened(folder) as store:
        await save(store, said("s-bob", device=BOBS, owner="u-bob", heard="where is mum", uses=(USE,)))
        yield {
            "conversations": ConversationHistory(store, ZoneInfo("UTC")),
            "exports": ConversationExports(store),
            "directory": {BOBS: DeviceInfo(BOBS, name="Bob's", owner_id="u-bob")},
        }


EXAMPLES = {
    "list_conversations": Example("/conversations", talk, marker="s-bob"),
    "list_conversations/device": Example(f"/conversations?device={BOBS}", talk, marker="s-bob"),
    "search_turns": Example("/conversations/search?q=mum", talk, marker="where is mum"),
    "search_turns/device": Example(f"/conversations/search?q=mum&device={BOBS}", talk, marker="where is mum"),
    "export_conversations": Example("/conversations/export", talk, marker="where is mum"),
    "export_conversations/search": Example("/conversations/export?q=mum", talk, marker="where is mum"),
    "export_conversations/one": Example(
        "/conversations/export?conversation=s-bob", talk, nowhere="/conversations/export?conversation=s-none"
    ),
    "read_turn_file": Example(
        "/conversations/s-bob/turns/1/file", talk, nowhere="/conversations/s-none/turns/1/file"
    ),
    "read_conversation": Example("/conversations/s-bob", talk, nowhere="/conversations/s-none"),
    "read_turn": Example("/conversations/s-bob/turns/1", talk, nowhere="/conversations/s-none/turns/1"),
    "delete_conversation": Example("/conversations/s-bob", talk, nowhere="/conversations/s-none"),
    "delete_conversations": Example(f"/conversations?device={BOBS}", talk, marker='"deleted":1'),
    "read_statistics": Example(f"/statistics?{DAYS}", talk, marker='"turns":1'),
    "read_statistics/device": Example(f"/statistics?{DAYS}&by=device", talk, marker=BOBS),
    "read_statistics/of a device": Example(
        f"/statistics?{DAYS}&by=agent&device={BOBS}", talk, marker='"turns":1'
    ),
    "read_total": Example(f"/statistics/total?{DAYS}", talk, marker='"turns":1'),
    "read_total/of a device": Example(f"/statistics/total?{DAYS}&device={BOBS}", talk, marker='"turns":1'),
    "read_statistics/provider": Example(f"/statistics?{DAYS}&by=provider", talk, marker="openai"),
}
