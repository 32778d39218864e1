"""Accounts: made, changed, disabled and removed, with an entry in the audit for each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Final

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from mimi_mqtt.errors import Conflict, LimitReached
from mimi_mqtt.passwords import PasswordHashing, check_new
from mimi_mqtt.people import rules
from mimi_mqtt.people.access import Caller, Role
from mimi_mqtt.people.merge_patch import merged
from mimi_mqtt.people.random_tokens import new_id
from mimi_mqtt.store import audit, credentials, devices, people, persons
from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import User, UserGroup

MAX_USERS: Final = 10_000
"""Accounts on one server."""

VersionCheck = Callable[[int], None]
"""Raises when a change was meant for another version than this one."""


@dataclass(frozen=True, slots=True)
class NewUser:
    """An account to make; without a password it signs in by OpenID Connect, or by a link to set one."""

    name: str
    role: Role = Role.MEMBER
    password: str | None = field(default=None, repr=False)
    display_name: str = ""
    email: str = ""
    language: str = ""
    zone: str = ""


@dataclass(frozen=True, slots=True)
class UserChange:
    """A change of an account; None leaves as it is."""

    name: str | None = None
    role: Role | None = None
    display_name: str | None = None
    email: str | None = None
    language: str | None = None
    zone: str | None = None
    disabled: bool | None = None


class Users:
    """The accounts in the database. `changed` is called after each change that rights depend on."""

    def __init__(
        self, store: Store, hashing: PasswordHashing, changed: Callable[[], None] = lambda: None
    ) -> None:
        self._store = store
        self._hashing = hashing
        self._changed = changed

    async def get(self, user_id: str) -> User:
        """The account. Raises NotFound."""
        async with self._store.read() as session:
            return _found(await people.user(session, user_id))

    async def named(self, name: str) -> User:
        """The account with a user name. Raises NotFound."""
        async with self._store.read() as session:
            return _found(await people.user_named(session, rules.folded(name)))

    async def page(
        self,
        number: int,
        *,
        after: str = "",
        text: str = "",
        role: Role | None = None,
        disabled: bool | None = None,
    ) -> Sequence[User]:
        """Accounts by name, beginning behind the folded name `after`."""
        async with self._store.read() as session:
            return await people.users(
                session, number, after=after, text=text, role=role or "", disabled=disabled
            )

    async def groups_of(self, user_id: str) -> Sequence[UserGroup]:
        """The groups that a person is in."""
        async with self._store.read() as session:
            return await people.groups(session, 1_000, of_user=user_id)

    async def create(self, caller: Caller, new: NewUser, now: datetime) -> User:
        """Makes an account. Raises Conflict, Forbidden, Invalid, LimitReached, LoginRefused."""
        rules.check_may_equip(caller, new.role)
        name = rules.user_name(new.name)
        password_hash = ""
        if new.password is not None:
            check_new(new.password, name)
            password_hash = await self._hashing.hash(new.password)
        async with self._store.write() as session:
            return await add(session, caller.author, new, password_hash, now)

    async def change(
        self,
        caller: Caller,
        user_id: str,
        wanted: UserChange,
        now: datetime,
        *,
        if_version: VersionCheck = lambda _: None,
    ) -> User:
        """Changes an account; another role, or disabling, ends its sessions and tokens. Raises Conflict,
        Forbidden, Invalid, NotFound, and what `if_version` raises."""
        weighty = wanted.role is not None or wanted.disabled is not None
        async with self._store.write() as session:
            admins = await people.lock_enabled(session, Role.ADMIN) if weighty else ()
            user = _found(await people.user(session, user_id, lock=True))
            if_version(user.version)
            if weighty:
                rules.check_may_equip(caller, Role(user.role))
                rules.check_may_equip(caller, wanted.role or Role(user.role))
            new = await _checked(session, user, wanted)
            before = {key: getattr(user, key) for key, value in new.items() if getattr(user, key) != value}
            if not before:
                return user
            after = {key: new[key] for key in before}
            if "role" in after or after.get("disabled"):
                _keep_an_admin(admins, user)
                await end_sign_ins(session, user, now)
            for key, value in after.items():
                setattr(user, key, value)
            if "name" in after:
                user.folded_name = rules.folded(user.name)
                await persons.rename_author(session, [str(before["name"])], user.name)
            user.version += 1
            user.updated_at = now
            people.save(session, user)
            audit.record(session, caller.author, "user.change", f"user:{user.id}", before=before, after=after)
        self._changed()
        return user

    async def set_password(self, caller: Caller, user_id: str, password: str, now: datetime) -> None:
        """Gives an account another password, which ends its sessions and tokens. Raises Forbidden, Invalid,
        LoginRefused, NotFound."""
        user = await self.get(user_id)
        rules.check_may_equip(caller, Role(user.role))
        check_new(password, user.name)
        password_hash = await self._hashing.hash(password)
        async with self._store.write() as session:
            user = _found(await people.user(session, user_id, lock=True))
            rules.check_may_equip(caller, Role(user.role))
            await put_password(session, caller.author, user, password_hash, now)
        self._changed()

    async def remove(self, caller: Caller, user_id: str, now: datetime) -> None:
        """Deletes a person: his account, sessions and keys, and all that is kept of him (`store.persons`).

        His devices become nobody's. What a crash leaves half done is ended by doing it again. Raises
        Conflict, Forbidden, NotFound.
        """
        async with self._store.write() as session:
            user = await self._removable(session, caller, user_id)
            await end_sign_ins(session, user, now)
        self._changed()
        while True:
            async with self._store.write() as session:
                if not await persons.forget_some(session, user_id):
                    break
        async with self._store.write() as session:
            user = await self._removable(session, caller, user_id)
            await persons.forget_rest(session, user, now)
            audit.record(
                session, caller.author, "user.remove", f"user:{persons.REMOVED}", before={"role": user.role}
            )
        self._changed()

    @staticmethod
    async def _removable(session: AsyncSession, caller: Caller, user_id: str) -> User:
        admins = await people.lock_enabled(session, Role.ADMIN)
        user = _found(await people.user(session, user_id, lock=True))
        rules.check_may_equip(caller, Role(user.role))
        _keep_an_admin(admins, user)
        return user

    async def change_own(
        self,
        caller: Caller,
        wanted: UserChange,
        profile: Mapping[str, object] | None,
        now: datetime,
        *,
        if_version: VersionCheck = lambda _: None,
    ) -> User:
        """Changes what a person says of himself: names, language, time zone; `profile` is a merge patch
        (RFC 7396) of his profile settings. Raises Invalid, NotFound, and what `if_version` raises."""
        async with self._store.write() as session:
            user = _found(await people.user(session, caller.user_id, lock=True))
            if_version(user.version)
            new = dict(await _checked(session, user, wanted))
            if profile is not None:
                new["profile"] = rules.profile(merged(user.profile, profile))
            changed = [key for key, value in new.items() if getattr(user, key) != value]
            if not changed:
                return user
            for key in changed:
                setattr(user, key, new[key])
            user.version += 1
            user.updated_at = now
            people.save(session, user)
            told = dict.fromkeys(changed, "changed")  # his own business
            audit.record(session, caller.author, "user.profile", f"user:{user.id}", after=told)
        self._changed()
        return user


async def add(
    session: AsyncSession,
    author: Author | None,
    new: NewUser,
    password_hash: str,
    now: datetime,
    *,
    address: str = "",
) -> User:
    """Makes an account in a transaction; with an administrator there is no more link for the first one.
    `author` is None for people who make their own account, from `address`. Raises Conflict, Invalid,
    LimitReached."""
    name = rules.user_name(new.name)
    if await people.user_named(session, rules.folded(name)) is not None:
        raise Conflict(f"there is a user {name!r} already")
    if await people.count_users(session) >= MAX_USERS:
        raise LimitReached(f"there are {MAX_USERS} users, which is the most: remove one")
    user = User(
        id=new_id("u"),
        name=name,
        folded_name=rules.folded(name),
        display_name=rules.shown_name(new.display_name),
        role=new.role.value,
        email=rules.email(new.email),
        language=rules.language(new.language),
        zone=rules.zone(new.zone),
        password_hash=password_hash,
        created_at=now,
        updated_at=now,
    )
    people.save(session, user)
    try:
        await session.flush()
    except IntegrityError:
        raise Conflict(f"there is a user {name!r} already") from None
    if new.role is Role.ADMIN:
        await people.forget_setup_links(session)
    author = author or Author(user.name, user.id, address)
    audit.record(
        session, author, "user.create", f"user:{user.id}", after={"name": user.name, "role": user.role}
    )
    return user


async def put_password(
    session: AsyncSession, author: Author, user: User, password_hash: str, now: datetime
) -> None:
    """Gives an account another password in a transaction, and ends its sessions and tokens."""
    user.password_hash = password_hash
    user.version += 1
    user.updated_at = now
    await end_sign_ins(session, user, now)
    session.add(user)
    audit.record(session, author, "user.password", f"user:{user.id}", after={"password": "changed"})


async def end_sign_ins(session: AsyncSession, user: User, now: datetime) -> None:
    """Ends all sessions, signed tokens and password links of a person, in a transaction, and the connections
    of browsers that talk as devices of his."""
    user.token_epoch += 1
    session.add(user)
    await credentials.end_web_sessions(session, user.id)
    await credentials.forget_reset_links(session, user.id)
    await devices.end_browsers(session, user.id, now)


def _found(user: User | None) -> User:
    if user is None:
        raise rules.no_such_user()
    return user


def _keep_an_admin(enabled_admins: Sequence[User], leaving: User) -> None:
    """Raises Conflict when no administrator would be left."""
    ids = {admin.id for admin in enabled_admins}
    if ids == {leaving.id}:
        raise Conflict("this is the last administrator: make another user an administrator first")


async def _checked(session: AsyncSession, user: User, wanted: UserChange) -> Mapping[str, object]:
    """The new values of what is to change."""
    checks: Mapping[str, Callable[[str], str]] = {
        "name": rules.user_name,
        "display_name": rules.shown_name,
        "email": rules.email,
        "language": rules.language,
        "zone": rules.zone,
    }
    new: dict[str, object] = {}
    for each in fields(wanted):
        value = getattr(wanted, each.name)
        if isinstance(value, Role):
            new[each.name] = value.value
        elif value is not None:
            new[each.name] = checks[each.name](value) if each.name in checks else value
    if "name" in new:
        other = await people.user_named(session, rules.folded(str(new["name"])))
        if other is not None and other.id != user.id:
            raise Conflict(f"there is a user {new['name']!r} already")
    return new
