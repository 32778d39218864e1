"""One-time links: to make the first administrator, and to set the password of an account.

A link holds 128 random bits, of which the database keeps the digest. It is good once and for a day. The first
administrator is made while there is none that is enabled: members may be there, such as those whom an OpenID
provider brought. With the first administrator all links that make one end.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from mimi_mqtt.errors import Invalid, LimitReached
from mimi_mqtt.passwords import PasswordHashing, check_new
from mimi_mqtt.people import rules
from mimi_mqtt.people.access import Caller, Role
from mimi_mqtt.people.random_tokens import digest, new_link_token
from mimi_mqtt.people.users import NewUser, add, put_password
from mimi_mqtt.shares import Ledger, Rates
from mimi_mqtt.store import audit, credentials, people
from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import AccountLink, User

LINK_LIFETIME: Final = timedelta(hours=24)
"""Validity of a link."""
TRIES_PER_MINUTE: Final = 10
"""Links that one address may try in a minute."""
MAX_SETUP_LINKS: Final = 8
"""Links for the first administrator that are good at once: each start of a server without one makes one."""

_NOT_GOOD: Final = (
    "token: this link is not good (any more): `mimi-mqtt users link` on the server's machine makes a new one"
)


class Links:
    """The links in the database. `changed` is called when rights changed; `clock` gives monotonic seconds."""

    def __init__(
        self,
        store: Store,
        hashing: PasswordHashing,
        ledger: Ledger | None = None,
        *,
        changed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._hashing = hashing
        self._ledger = ledger or Ledger()
        self._changed = changed
        self._clock = clock
        self._tries = Rates(TRIES_PER_MINUTE / 60, TRIES_PER_MINUTE)

    async def is_needed(self) -> bool:
        """True while there is no administrator."""
        async with self._store.read() as session:
            return not await people.has_enabled(session, Role.ADMIN)

    async def for_setup(self, now: datetime) -> str | None:
        """The token of a new link for the first administrator; None when there is one."""
        token = new_link_token()
        async with self._store.write() as session:
            if await people.has_enabled(session, Role.ADMIN):
                return None
            there = await credentials.setup_links(session)
            for number, link in enumerate(there):
                if link.expires_at <= now or number >= MAX_SETUP_LINKS - 1:
                    await session.delete(link)
            session.add(AccountLink(digest=digest(token), created_at=now, expires_at=now + LINK_LIFETIME))
        return token

    async def for_password(self, caller: Caller, user_id: str, now: datetime) -> str:
        """The token of a new link by which a person sets a password; the links before it end. Raises
        Forbidden, NotFound."""
        token = new_link_token()
        async with self._store.write() as session:
            user = await people.user(session, user_id, lock=True)
            if user is None:
                raise rules.no_such_user()
            rules.check_may_equip(caller, Role(user.role))
            await credentials.forget_reset_links(session, user_id)
            session.add(
                AccountLink(
                    digest=digest(token), user_id=user_id, created_at=now, expires_at=now + LINK_LIFETIME
                )
            )
            audit.record(session, caller.author, "user.link", f"user:{user_id}")
        return token

    async def set_up(self, token: str, new: NewUser, address: str, now: datetime) -> User:
        """Makes the first administrator, once. Raises Conflict, Invalid, LimitReached, LoginRefused."""
        self._try(address)
        name = rules.user_name(new.name)
        check_new(new.password or "", name)
        async with self._store.read() as session:
            # Before the password is hashed, which is work that strangers must not give.
            known = {link.digest for link in await credentials.setup_links(session)}
        if digest(token) not in known:
            raise Invalid(_NOT_GOOD)
        password_hash = await self._hashing.hash(new.password or "")
        async with self._store.write() as session:
            # Locks all of them: of two that come at once the second one finds none.
            links = await credentials.setup_links(session)
            good = [link for link in links if link.digest == digest(token) and link.expires_at > now]
            if not good or await people.has_enabled(session, Role.ADMIN):
                raise Invalid(_NOT_GOOD)
            user = await add(session, None, new, password_hash, now, address=address)
        self._changed()
        return user

    async def reset_password(self, token: str, password: str, address: str, now: datetime) -> User:
        """Sets the password of the account that a link is for, once. Raises Invalid, LimitReached,
        LoginRefused."""
        self._try(address)
        check_new(password)
        async with self._store.read() as session:
            user_id = await credentials.reset_link(session, digest(token), now)
            user = await people.user(session, user_id) if user_id is not None else None
        if user is None:
            raise Invalid(_NOT_GOOD)
        check_new(password, user.name)
        password_hash = await self._hashing.hash(password)
        async with self._store.write() as session:
            if await credentials.take_reset_link(session, digest(token), now) != user.id:
                raise Invalid(_NOT_GOOD)
            locked = await people.user(session, user.id, lock=True)
            if locked is None or locked.disabled:
                raise Invalid(_NOT_GOOD)
            await put_password(session, Author(user.name, user.id, address), locked, password_hash, now)
        self._changed()
        return locked

    def _try(self, address: str) -> None:
        now = self._clock()
        if not self._tries.take(address, now):
            self._ledger.refuse("tries of one-time links", address, now)
            raise LimitReached(
                "too many links were tried from this address", self._tries.wait_s(address, now)
            )
