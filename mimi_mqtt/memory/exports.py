"""Exports of conversations with their turns, in pieces of bounded size, each read by a transaction of its
own, so that an export of any length holds nothing."""

from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from mimi_mqtt.errors import LimitReached, NotFound
from mimi_mqtt.store import conversation_pages, search
from mimi_mqtt.store.conversation_pages import Filter, Place
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Conversation, Turn
from mimi_mqtt.store.viewers import Asker, viewer_of

MAX_EXPORTS: Final = 2
"""Exports of one caller that run at the same time."""
PAGE: Final = 200
"""Conversations, or turns, that are read at once."""
RETRY_AFTER_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Piece:
    """Turns of a conversation; `begins` and `ends`: it has none before, or behind, them in the export."""

    conversation: Conversation
    turns: Sequence[Turn]
    begins: bool = True
    ends: bool = True


class ConversationExports:
    """Exports from `store`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._running: Counter[str] = Counter()

    async def one(self, asker: Asker, conversation_id: str) -> AsyncGenerator[Piece, None]:
        """A conversation. Raises NotFound, LimitReached."""
        with self._slot(asker):
            async with self._store.read() as session:
                viewer = await viewer_of(session, asker)
                found = await conversation_pages.get(session, viewer, conversation_id)
            if found is None:
                raise NotFound("there is no such conversation")
            async for piece in self._whole(found):
                yield piece

    async def all(self, asker: Asker, wanted: Filter) -> AsyncGenerator[Piece, None]:
        """The conversations that fit, the latest first. Raises Invalid, LimitReached."""
        with self._slot(asker):
            before: Place | None = None
            while True:
                async with self._store.read() as session:
                    viewer = await viewer_of(session, asker)
                    page = await conversation_pages.page(session, viewer, wanted, limit=PAGE, before=before)
                for some in _grouped(page):
                    if len(some) == 1:
                        async for piece in self._whole(some[0]):
                            yield piece
                        continue
                    async with self._store.read() as session:
                        turns = await conversation_pages.turns_of(session, [each.id for each in some])
                    for each in some:
                        yield Piece(each, turns[each.id])
                if len(page) < PAGE:
                    return
                before = page[-1].last_turn_at, page[-1].id

    async def found(self, asker: Asker, query: str, wanted: Filter) -> AsyncGenerator[Piece, None]:
        """The turns with all words of `query`, the newest first, each with its conversation. Raises Invalid,
        LimitReached."""
        with self._slot(asker):
            before: int | None = None
            while True:
                async with self._store.read() as session:
                    page = await search.find(
                        session, await viewer_of(session, asker), query, limit=PAGE, before=before,
                        device_id=wanted.device_id, agent=wanted.agent, outcome=wanted.outcome,
                        owner_id=wanted.owner_id, since=wanted.since, until=wanted.until,
                    )  # fmt: skip
                for each in page:
                    yield Piece(each.conversation, [each.turn])
                if len(page) < PAGE:
                    return
                before = page[-1].turn.id

    async def _whole(self, conversation: Conversation) -> AsyncGenerator[Piece, None]:
        after, begins = 0, True
        while True:
            async with self._store.read() as session:
                turns = await conversation_pages.turns(session, conversation.id, limit=PAGE, after=after)
            ends = len(turns) < PAGE
            yield Piece(conversation, turns, begins, ends)
            if ends:
                return
            after, begins = turns[-1].number, False

    @contextmanager
    def _slot(self, asker: Asker) -> Iterator[None]:
        if self._running[asker.user_id] >= MAX_EXPORTS:
            raise LimitReached(
                f"{MAX_EXPORTS} exports of yours are running: wait until one is over", RETRY_AFTER_S
            )
        self._running[asker.user_id] += 1
        try:
            yield
        finally:
            self._running[asker.user_id] -= 1
            if not self._running[asker.user_id]:
                del self._running[asker.user_id]


def _grouped(page: Sequence[Conversation]) -> Iterator[Sequence[Conversation]]:
    """Conversations whose turns are read together: one alone, or of PAGE turns at most."""
    group: list[Conversation] = []
    turns = 0
    for each in page:
        if group and turns + each.turns > PAGE:
            yield group
            group, turns = [], 0
        group.append(each)
        turns += each.turns
    if group:
        yield group
