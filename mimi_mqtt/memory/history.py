"""Conversations and statistics as people read, search and delete them: each call is a transaction, and sees
what its asker may see."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from mimi_mqtt.errors import NotFound
from mimi_mqtt.store import audit, conversation_pages, files, search, statistics
from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.conversation_pages import Filter, Place
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.search import Found
from mimi_mqtt.store.statistics import By, Statistic
from mimi_mqtt.store.tables import Conversation, StoredRecording, Turn
from mimi_mqtt.store.viewers import EVERYTHING, Asker, Viewer, viewer_of

MAX_DELETED: Final = 1_000
"""Conversations that one request deletes, at most."""
AT_ONCE: Final = 100
"""Conversations that are deleted in one transaction: other writers wait for it."""

DAYS_BEFORE: Final = 7
"""Days that a day is compared with."""

_NONE: Final = "there is no such conversation"


@dataclass(frozen=True, slots=True)
class Deleted:
    """The result of a deletion: the number of conversations, and whether there are more."""

    conversations: int
    more: bool


@dataclass(frozen=True, slots=True)
class TurnsOverview:
    """The turns of `day`, and of the DAYS_BEFORE days before it together; `ever`: there was any at all."""

    day: date
    today: Statistic
    before: Statistic
    ever: bool


class ConversationHistory:
    """The conversations and statistics in `store`; `zone` is that of the statistics' days."""

    def __init__(self, store: Store, zone: ZoneInfo) -> None:
        self._store = store
        self.zone = zone
        """The zone of the statistics' days."""

    async def page(
        self, asker: Asker, wanted: Filter, *, limit: int, before: Place | None = None
    ) -> Sequence[Conversation]:
        """Conversations, the latest first: see `conversation_pages.page`. Raises Invalid."""
        async with self._store.read() as session:
            viewer = await viewer_of(session, asker)
            return await conversation_pages.page(session, viewer, wanted, limit=limit, before=before)

    async def read(
        self, asker: Asker, conversation_id: str, *, limit: int, after: int = 0
    ) -> tuple[Conversation, Sequence[Turn]]:
        """A conversation, and its turns behind the number `after`. Raises NotFound."""
        async with self._store.read() as session:
            viewer = await viewer_of(session, asker)
            found = await conversation_pages.get(session, viewer, conversation_id)
            if found is None:
                raise NotFound(_NONE)
            return found, await conversation_pages.turns(session, found.id, limit=limit, after=after)

    async def turn(self, asker: Asker, conversation_id: str, number: int) -> tuple[Conversation, Turn]:
        """One turn, and its conversation. Raises NotFound."""
        async with self._store.read() as session:
            viewer = await viewer_of(session, asker)
            found = await conversation_pages.get(session, viewer, conversation_id)
            turn = await conversation_pages.turn(session, conversation_id, number) if found else None
            if found is None or turn is None:
                raise NotFound("there is no such turn")
            return found, turn

    async def openings(self, conversation_ids: Collection[str]) -> Mapping[str, str]:
        """The first words of conversations that their asker sees, by their ids."""
        async with self._store.read() as session:
            return await conversation_pages.openings(session, conversation_ids)

    async def sounds(self, asker: Asker, conversation_id: str) -> Sequence[StoredRecording]:
        """The recordings of a conversation that its asker may hear, in order of the turns."""
        async with self._store.read() as session:
            rows = await files.recordings_of(session, conversation_id)
        return [row for row in rows if _may_hear(asker, row)]

    async def earlier(self, conversation_id: str, number: int, *, limit: int) -> Sequence[Turn]:
        """The last turns of a conversation that its asker sees, before the one with this number."""
        async with self._store.read() as session:
            return await conversation_pages.turns_before(session, conversation_id, number, limit=limit)

    async def replayed(
        self, author: Author, conversation_id: str, number: int, told: dict[str, object]
    ) -> None:
        """Notes in the audit that a turn was asked again, with which providers, and what it cost."""
        async with self._store.write() as session:
            audit.record(
                session, author, "turn.replay", f"conversation:{conversation_id}",
                after={"turn": number, **told},
            )  # fmt: skip

    async def search(
        self,
        asker: Asker,
        query: str,
        *,
        limit: int,
        before: int | None = None,
        device_id: str | None = None,
        agent: str | None = None,
        outcome: str | None = None,
        owner_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Sequence[Found]:
        """Turns with all words of `query`, the newest first: see `search.find`. Raises Invalid."""
        async with self._store.read() as session:
            viewer = await viewer_of(session, asker)
            return await search.find(
                session, viewer, query,
                limit=limit, before=before, device_id=device_id, agent=agent, outcome=outcome,
                owner_id=owner_id, since=since, until=until,
            )  # fmt: skip

    async def statistics(
        self,
        asker: Asker,
        by: By,
        since: date,
        until: date,
        *,
        device_id: str | None = None,
        agent: str | None = None,
        limit: int,
        after: Sequence[object] | None = None,
    ) -> Sequence[Statistic]:
        """Sums of days: see `statistics.read`. Raises Invalid."""
        async with self._store.read() as session:
            viewer = await viewer_of(session, asker)
            return await statistics.read(
                session, viewer, by, since, until,
                device_id=device_id, agent=agent, limit=limit, after=after,
            )  # fmt: skip

    async def total(self, asker: Asker, since: date, until: date, device_id: str | None = None) -> Statistic:
        """The sums of all days together: see `statistics.total`. Raises Invalid."""
        async with self._store.read() as session:
            viewer = await viewer_of(session, asker)
            return await statistics.total(session, viewer, since, until, device_id)

    async def overview(self, asker: Asker, now: datetime) -> "TurnsOverview":
        """The turns of today and of the seven days before, by the zone of the statistics. Raises Invalid."""
        today = now.astimezone(self.zone).date()
        async with self._store.read() as session:
            viewer = await viewer_of(session, asker)
            return TurnsOverview(
                day=today,
                today=await statistics.total(session, viewer, today, today),
                before=await statistics.total(
                    session, viewer, today - timedelta(days=DAYS_BEFORE), today - timedelta(days=1)
                ),
                ever=await statistics.is_any(session, viewer),
            )

    async def delete(self, asker: Asker, author: Author, conversation_id: str) -> None:
        """Deletes a conversation for ever. A member deletes what is his; what is shared with him is not.

        Raises NotFound.
        """
        async with self._store.write() as session:
            found = await conversation_pages.get(session, await viewer_of(session, asker), conversation_id)
            if found is None or not _may_delete(asker, found):
                raise NotFound(_NONE if found is None else "it is another person's: only he can delete it")
            audit.record(
                session, author, "conversation.delete", f"conversation:{found.id}",
                before={"device": found.device_id, "turns": found.turns},
            )  # fmt: skip
            await files.delete_of_conversations(session, [found.id])
            await session.delete(found)

    async def delete_some(self, asker: Asker, author: Author, wanted: Filter) -> Deleted:
        """Deletes what fits, of what may be deleted: MAX_DELETED conversations at most."""
        viewer = EVERYTHING if asker.is_admin else Viewer(asker.user_id)
        what = {
            name: str(value)
            for name in ("device_id", "agent", "outcome", "owner_id", "since", "until")
            if (value := getattr(wanted, name)) is not None
        }
        deleted = 0
        while deleted < MAX_DELETED:
            async with self._store.write() as session:
                gone = await conversation_pages.delete_some(session, viewer, wanted, AT_ONCE)
                if gone:
                    target = f"device:{wanted.device_id}" if wanted.device_id else "conversations"
                    audit.record(
                        session, author, "conversation.delete_many", target, before={"number": gone, **what}
                    )
            deleted += gone
            if gone < AT_ONCE:
                return Deleted(deleted, more=False)
        return Deleted(deleted, more=True)


def _may_hear(asker: Asker, row: StoredRecording) -> bool:
    own = asker.user_id != "" and row.owner_id == asker.user_id
    return asker.is_admin or own or (row.group_id != "" and row.group_id in asker.groups)


def _may_delete(asker: Asker, conversation: Conversation) -> bool:
    return asker.is_admin or (asker.user_id != "" and conversation.owner_id == asker.user_id)
