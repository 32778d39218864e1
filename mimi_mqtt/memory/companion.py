"""Conversations that a companion server saves here, and reads back when its people talk again."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from mimi_mqtt.store import companion
from mimi_mqtt.store.companion import Memory, Message
from mimi_mqtt.store.engine import Store, StoreConflict
from mimi_mqtt.supervision import SupervisedLoop

PRUNED_EVERY_S: Final = 6 * 3600.0
"""Seconds between two looks for conversations that are too old."""
AT_ONCE: Final = 100
"""Conversations that are deleted in one transaction."""

_TRIES: Final = 3

_T = TypeVar("_T")


class CompanionMemory:
    """The conversations in the store; those older than `keep_days` are deleted."""

    def __init__(self, store: Store, *, keep_days: int) -> None:
        self._store = store
        self._keep = timedelta(days=keep_days)
        self._loop = SupervisedLoop("companion conversation pruner", self._prune, every_s=PRUNED_EVERY_S)

    @property
    def healthy(self) -> bool:
        """True while what is too old is deleted."""
        return self._loop.healthy

    def start(self) -> None:
        """Starts deleting what is too old."""
        self._loop.start()

    async def aclose(self) -> None:
        """Ends; safe to call twice."""
        await self._loop.aclose()

    async def save_exchange(
        self, user_id: str, conversation_id: str, message: str, response: str, said_at: datetime
    ) -> None:
        """Adds what a person said and the response to a conversation. Raises StoreError."""
        said = [Message("user", message, said_at), Message("assistant", response, said_at)]
        await self._write(
            lambda session: companion.add_messages(session, user_id, conversation_id, said, datetime.now(UTC))
        )

    async def save_conversation(
        self, user_id: str, conversation_id: str, messages: Sequence[tuple[str, str]], summary: str
    ) -> None:
        """Saves a whole conversation, pairs of role and words, and its summary, in place of what was saved of
        it before. Raises StoreError."""
        now = datetime.now(UTC)
        said = [Message(role, content, now) for role, content in messages]
        await self._write(
            lambda session: companion.replace_messages(session, user_id, conversation_id, said, summary, now)
        )

    async def memories(self, user_id: str) -> Sequence[Memory]:
        """A person's conversations in short, the latest first. Raises StoreError."""
        async with self._store.read() as session:
            return await companion.memories(session, user_id)

    async def _write(self, write: Callable[[AsyncSession], Awaitable[_T]]) -> _T:
        for tried in range(1, _TRIES + 1):
            try:
                async with self._store.write() as session:
                    return await write(session)
            except StoreConflict:  # two first messages of one conversation at once
                if tried == _TRIES:
                    raise
        raise AssertionError("the last try returns or raises")

    async def _prune(self) -> None:
        before = datetime.now(UTC) - self._keep
        while True:
            async with self._store.write() as session:
                gone = await companion.forget_older(session, before, AT_ONCE)
            if gone < AT_ONCE:
                return
