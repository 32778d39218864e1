"""Sessions of browsers: a random cookie whose digest is in the database, ended by time, by its person, or
with another password or role."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from mimi_mqtt.config import PeopleSettings
from mimi_mqtt.errors import Conflict, NotFound
from mimi_mqtt.people.access import Caller
from mimi_mqtt.people.random_tokens import digest, new_id, new_token
from mimi_mqtt.store import audit, credentials, devices, people
from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import USER_AGENT_CHARS, User, WebSession
from mimi_mqtt.store.values import bounded

MAX_SESSIONS: Final = 50
"""Sessions of one person; with one more the least recently used one ends."""


@dataclass(frozen=True, slots=True)
class Browser:
    """The client of a sign-in: what it calls itself, the holder of its address, and the session cookie that
    it has from before."""

    user_agent: str = ""
    address: str = ""
    cookie: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session that began: the value of its cookie, which is told once, and the seconds until its end."""

    cookie: str = field(repr=False)
    max_age_s: int


class Sessions:
    """The sessions in the database. `changed` is called after each end of one."""

    def __init__(
        self, store: Store, settings: PeopleSettings, changed: Callable[[], None] = lambda: None
    ) -> None:
        self._store = store
        self._idle = timedelta(days=settings.session_days)
        self._longest = timedelta(days=settings.session_max_days)
        self._changed = changed

    def expiry(self, row: WebSession, used_at: datetime) -> datetime:
        """The end of a session that was used at a time."""
        return min(used_at + self._idle, row.ends_at)

    async def begin(self, user: User, browser: Browser, now: datetime) -> NewSession:
        """Begins a session with a new cookie, whatever the browser had; the session that it had ends.

        `user` is the account as it was when its person proved who he is. Raises Conflict when its sign-ins
        were ended since, by another password or role or by disabling.
        """
        token = new_token()
        row = WebSession(
            digest=digest(token),
            public_id=new_id("s"),
            user_id=user.id,
            created_at=now,
            seen_at=now,
            expires_at=now + self._idle,
            ends_at=now + self._longest,
            user_agent=bounded(browser.user_agent, USER_AGENT_CHARS),
            address=bounded(browser.address, 64),
        )
        async with self._store.write() as session:
            present = await people.user(session, user.id, lock=True)
            if present is None or present.disabled or present.token_epoch != user.token_epoch:
                raise Conflict("the account was changed meanwhile: sign in again")
            if browser.cookie:
                await credentials.end_web_session(session, digest(browser.cookie))
            await credentials.forget_oldest_web_sessions(session, user.id, MAX_SESSIONS - 1)
            session.add(row)
            author = Author(user.name, user.id, browser.address)
            audit.record(session, author, "session.begin", f"user:{user.id}")
        self._changed()
        return NewSession(token, int(self._longest.total_seconds()))

    async def end(self, cookie: str) -> None:
        """Ends the session of a cookie, if there is one."""
        async with self._store.write() as session:
            await credentials.end_web_session(session, digest(cookie))
        self._changed()

    async def list(self, user_id: str, now: datetime) -> Sequence[WebSession]:
        """The sessions of a person, the last used one first."""
        async with self._store.read() as session:
            return await credentials.web_sessions(session, user_id, now)

    async def revoke(self, caller: Caller, user_id: str, public_id: str | None = None) -> None:
        """Ends one session of a person; or all sessions and signed tokens, and the connections of browsers
        that talk as devices of his. Raises NotFound when there is no such one."""
        async with self._store.write() as session:
            if public_id is None and (user := await people.user(session, user_id, lock=True)) is not None:
                user.token_epoch += 1
                session.add(user)
                await devices.end_browsers(session, user_id, datetime.now(UTC))
            number = await credentials.end_web_sessions(session, user_id, public_id=public_id)
            if public_id is not None and not number:
                raise NotFound("there is no such session")
            audit.record(
                session, caller.author, "session.revoke", f"user:{user_id}", before={"sessions": number}
            )
        self._changed()
