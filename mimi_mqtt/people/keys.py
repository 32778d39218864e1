"""API keys: random secrets for programs, with some of their owner's scopes, told once."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from mimi_mqtt.errors import Forbidden, Invalid, LimitReached, NotFound
from mimi_mqtt.people import rules
from mimi_mqtt.people.access import SCOPES_OF, Caller, Role, Scope
from mimi_mqtt.people.random_tokens import KEY_PREFIX, digest, new_id, new_token
from mimi_mqtt.store import audit, credentials, people
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import ApiKey

MAX_KEYS: Final = 50
"""Keys of one person."""
LONGEST_VALIDITY: Final = timedelta(days=3_650)
"""Longest validity of a key that ends by itself."""
_HINT_CHARS: Final = 8


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was made; `secret` is told now and never again."""

    row: ApiKey
    secret: str = field(repr=False)


class Keys:
    """The keys in the database. A caller without the scope `people` sees his own. `changed` is called after a
    key ended."""

    def __init__(self, store: Store, changed: Callable[[], None] = lambda: None) -> None:
        self._store = store
        self._changed = changed

    async def page(
        self, caller: Caller, user_id: str | None, number: int, *, after: tuple[str, str] = ("", "")
    ) -> Sequence[ApiKey]:
        """The keys of a person, or of all with None, by person and id, beginning behind those in `after`.
        Raises NotFound for others' keys."""
        if not (caller.may(Scope.PEOPLE) or (user_id is not None and user_id == caller.user_id)):
            raise rules.no_such_user()
        async with self._store.read() as session:
            return await credentials.keys(session, number, after=after, user_id=user_id)

    async def create(
        self,
        caller: Caller,
        user_id: str,
        name: str,
        scopes: Collection[Scope],
        now: datetime,
        *,
        expires_at: datetime | None = None,
    ) -> NewKey:
        """Makes a key for the caller's account, or for any account by the command line; it can do no more
        than the caller and the account. Raises Forbidden, Invalid, LimitReached, NotFound."""
        rules.check_may_make_keys(caller)
        if caller.user_id and caller.user_id != user_id:
            raise rules.no_such_user()
        name = rules.shown_name(name, "name", needed=True)
        if not scopes:
            raise Invalid("scopes: name at least one")
        if expires_at is not None and not now < expires_at <= now + LONGEST_VALIDITY:
            raise Invalid(f"expires_at: it is in the future, at most {LONGEST_VALIDITY.days} days from now")
        secret = new_token(KEY_PREFIX)
        async with self._store.write() as session:
            user = await people.user(session, user_id, lock=True)
            if user is None:
                raise rules.no_such_user()
            beyond = [
                scope.value
                for scope in sorted(set(scopes))
                if not caller.may(scope) or scope not in SCOPES_OF[Role(user.role)]
            ]
            if beyond:
                raise Forbidden(f"scopes: {', '.join(beyond)} is more than the account or the caller may do")
            if await credentials.count_keys(session, user_id) >= MAX_KEYS:
                raise LimitReached(f"the account has {MAX_KEYS} keys, which is the most: revoke one")
            row = ApiKey(
                id=new_id("k"),
                digest=digest(secret),
                user_id=user_id,
                name=name,
                hint=secret[:_HINT_CHARS],
                scopes=sorted({scope.value for scope in scopes}),
                created_at=now,
                expires_at=expires_at,
            )
            session.add(row)
            after = {"name": name, "user": user_id, "scopes": row.scopes}
            audit.record(session, caller.author, "key.create", f"key:{row.id}", after=after)
        return NewKey(row, secret)

    async def revoke(self, caller: Caller, key_id: str) -> None:
        """Ends a key, of anyone with the scope `people`. Raises NotFound."""
        async with self._store.write() as session:
            row = await credentials.key_of_id(session, key_id)
            if row is None or not (caller.may(Scope.PEOPLE) or row.user_id == caller.user_id):
                raise NotFound("there is no such key")
            await session.delete(row)
            before = {"name": row.name, "user": row.user_id, "scopes": row.scopes}
            audit.record(session, caller.author, "key.revoke", f"key:{row.id}", before=before)
        self._changed()
