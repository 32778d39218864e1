"""Finds the person behind a session cookie, an API key or a signed token.

What was found is remembered for `FRESH_S`: an authenticated request costs no query each time, and an end of a
session, a key or an account is felt within that time on every node, and at once on the node that made it.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from mimi_mqtt.people import signed_tokens
from mimi_mqtt.people.access import SCOPES_OF, Caller, Presented, Role, Scope, Via
from mimi_mqtt.people.random_tokens import KEY_PREFIX, TOKEN_CHARS, digest
from mimi_mqtt.people.sessions import Sessions
from mimi_mqtt.people.tokens import Claims, Tokens
from mimi_mqtt.store import credentials, people
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import User
from mimi_mqtt.supervision import SupervisedLoop

FRESH_S: Final = 0.5
"""Longest age of what is believed of an account, session or key, in seconds."""
MAX_REMEMBERED: Final = 4_096
"""Callers that are remembered; of more, the least recent is read again."""
USES_EVERY_S: Final = 30.0
"""Seconds between two writes of when sessions and keys were last used."""
USE_AGE: Final = timedelta(minutes=1)
"""A use is written when the last one that was is older."""
MAX_USES: Final = 10_000
"""Uses that wait to be written; further ones are forgotten, and the next use counts."""


@dataclass(frozen=True, slots=True)
class _Known:
    caller: Caller
    read_at: float
    """Monotonic seconds."""
    until: float | None
    """The end by the wall clock, in seconds since 1970; None: it has none."""


class People:
    """The accounts in the database as an `Authenticator`. `clock` gives monotonic seconds, `wall` those since
    1970."""

    def __init__(
        self,
        store: Store,
        sessions: Sessions,
        tokens: Tokens,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._tokens = tokens
        self._clock = clock
        self._wall = wall
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._generation = 0
        self._used_sessions: dict[str, tuple[datetime, datetime]] = {}
        self._used_keys: dict[str, datetime] = {}
        self._uses = SupervisedLoop("last uses of sessions and keys", self.write_uses, every_s=USES_EVERY_S)

    @property
    def healthy(self) -> bool:
        """True while uses are written."""
        return self._uses.healthy

    def start(self) -> None:
        """Starts writing uses."""
        self._uses.start()

    async def aclose(self) -> None:
        """Ends; uses of the last half minute are lost."""
        await self._uses.aclose()

    def forget(self) -> None:
        """Reads everything again, as rights changed."""
        self._generation += 1
        self._known.clear()

    async def authenticate(self, shown: Presented) -> Caller | None:
        """The caller, or None. A bearer token that is not good is not made up for by a cookie. Raises
        StoreError."""
        if shown.bearer:
            if shown.bearer.startswith(KEY_PREFIX):
                if len(shown.bearer) != len(KEY_PREFIX) + TOKEN_CHARS:
                    return None
                return self._at(shown, await self._remembered(shown.bearer, self._by_key))
            if shown.bearer.count(".") != 2:
                return None
            await signed_tokens.load()
            claims = self._tokens.read(shown.bearer)  # each time: keys rotate, and tokens run out
            if claims is None:
                return None
            return self._at(shown, await self._remembered(shown.bearer, lambda _: self._by_token(claims)))
        if len(shown.session) == TOKEN_CHARS:
            return self._at(shown, await self._remembered(shown.session, self._by_session))
        return None

    async def write_uses(self) -> None:
        """Writes when sessions and keys were last used. Raises StoreError."""
        sessions, self._used_sessions = self._used_sessions, {}
        keys, self._used_keys = self._used_keys, {}
        if not sessions and not keys:
            return
        try:
            async with self._store.write() as session:
                await credentials.touch_web_sessions(session, sessions)
                await credentials.touch_keys(session, keys)
        except BaseException:
            self._used_sessions = {**sessions, **self._used_sessions}
            self._used_keys = {**keys, **self._used_keys}
            raise

    @staticmethod
    def _at(shown: Presented, caller: Caller | None) -> Caller | None:
        return replace(caller, address=shown.address) if caller is not None else None

    async def _remembered(self, secret: str, read: "_Reader") -> Caller | None:
        key, now = digest(secret), self._clock()
        known = self._known.get(key)
        if known is None or now - known.read_at > FRESH_S:
            generation = self._generation
            found = await read(key)
            if found is None:
                self._known.pop(key, None)
                return None
            known = _Known(found[0], now, found[1])
            # What was read while rights changed may be from before.
            if generation == self._generation:
                self._known[key] = known
                if len(self._known) > MAX_REMEMBERED:
                    self._known.popitem(last=False)
        if known.until is not None and self._wall() >= known.until:
            return None
        if key in self._known:
            self._known.move_to_end(key)
        return known.caller

    async def _by_session(self, key: str) -> "_Found | None":
        now = self._now()
        async with self._store.read() as session:
            row = await credentials.web_session(session, key)
            if row is None or row[1].disabled or row[0].expires_at <= now:
                return None
            found, user = row
            groups = await people.group_ids(session, user.id)
        expires_at = found.expires_at
        if now - found.seen_at > USE_AGE and (
            key in self._used_sessions or len(self._used_sessions) < MAX_USES
        ):
            expires_at = self._sessions.expiry(found, now)
            self._used_sessions[key] = (now, expires_at)
        scopes = SCOPES_OF[Role(user.role)]
        return _caller(user, Via.SESSION, scopes, groups), expires_at.timestamp()

    async def _by_key(self, key: str) -> "_Found | None":
        now = self._now()
        async with self._store.read() as session:
            row = await credentials.key(session, key)
            if row is None or row[1].disabled:
                return None
            found, user = row
            groups = await people.group_ids(session, user.id)
        if found.expires_at is not None and found.expires_at <= now:
            return None
        if (found.used_at is None or now - found.used_at > USE_AGE) and (
            found.id in self._used_keys or len(self._used_keys) < MAX_USES
        ):
            self._used_keys[found.id] = now
        until = found.expires_at.timestamp() if found.expires_at is not None else None
        return _caller(user, Via.KEY, _scopes(found.scopes), groups, found.id), until

    async def _by_token(self, claims: Claims) -> "_Found | None":
        now = self._now()
        async with self._store.read() as session:
            user = await people.user(session, claims.user_id)
            if user is None or user.disabled or user.token_epoch != claims.epoch:
                return None
            scopes = claims.scopes
            if claims.key_id:
                made_with = await credentials.key_of_id(session, claims.key_id)
                if made_with is None or made_with.user_id != user.id:
                    return None
                if made_with.expires_at is not None and made_with.expires_at <= now:
                    return None
                scopes &= _scopes(made_with.scopes)
            groups = await people.group_ids(session, user.id)
        return _caller(user, Via.TOKEN, scopes, groups, claims.key_id), claims.expires_at

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._wall(), UTC)


_Found = tuple[Caller, float | None]
_Reader = Callable[[str], "Awaitable[_Found | None]"]


def _caller(
    user: User, via: Via, scopes: frozenset[Scope], groups: frozenset[str], key_id: str = ""
) -> Caller:
    role = Role(user.role)
    return Caller(user.name, user.id, role, scopes & SCOPES_OF[role], groups, via, key_id=key_id)


def _scopes(words: list[str]) -> frozenset[Scope]:
    known = {each.value for each in Scope}
    return frozenset(Scope(word) for word in words if word in known)
