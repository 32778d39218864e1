"""Accounts of people whom an OpenID provider vouches for: found by issuer and subject, never by an e-mail
address."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

from mimi_mqtt.config import OidcSettings
from mimi_mqtt.errors import Conflict, Forbidden, Invalid, NotFound
from mimi_mqtt.people import rules
from mimi_mqtt.people.access import Caller, Role, Via
from mimi_mqtt.people.users import NewUser, add, end_sign_ins
from mimi_mqtt.store import audit, credentials, people
from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import ISSUER_CHARS, SUBJECT_CHARS, OpenIdentity, User

MAX_IDENTITIES: Final = 10
"""Identities of one account."""
_NAMES_TRIED: Final = 100
_NOT_IN_NAMES: Final = re.compile(r"[^\w.@+-]+")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Vouched:
    """A provider's claims about a person, checked to be from it."""

    issuer: str
    subject: str
    name: str = ""
    display_name: str = ""
    email: str = ""
    """Only one that the provider verified."""
    groups: frozenset[str] = field(default_factory=frozenset)
    """Values of `oidc.claim`."""


def vouched(issuer: str, claims: Mapping[str, Any], settings: OidcSettings) -> Vouched:
    """The facts in the claims of an ID token and of userinfo. Raises Invalid."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not _is_subject(subject) or len(issuer) > ISSUER_CHARS:
        raise Invalid("the provider gave no usable subject")
    address = claims.get("email")
    is_verified = claims.get("email_verified") is True
    named = claims.get("preferred_username") or (address if isinstance(address, str) else "") or ""
    found = claims.get(settings.claim)
    values = found if isinstance(found, list) else [found]
    display_name = claims.get("name")
    return Vouched(
        issuer.rstrip("/"),
        subject,
        name=str(named),
        display_name=display_name if isinstance(display_name, str) else "",
        email=address if isinstance(address, str) and is_verified else "",
        groups=frozenset(value for value in values if isinstance(value, str)),
    )


class OpenIdAccounts:
    """Signs in people of the provider in `settings`. `changed` is called when rights changed."""

    def __init__(
        self, store: Store, settings: OidcSettings, changed: Callable[[], None] = lambda: None
    ) -> None:
        self._store = store
        self._settings = settings
        self._changed = changed

    async def sign_in(self, person: Vouched, address: str, now: datetime) -> User:
        """The account of the person, which is made when that is allowed. Raises Conflict, Forbidden,
        LimitReached."""
        role = self._role(person)
        async with self._store.write() as session:
            admins = await people.lock_enabled(session, Role.ADMIN)
            found = await credentials.identity(session, person.issuer, person.subject)
            if found is None:
                user = await self._make(session, person, role, address, now)
            else:
                identity, user = found
                if user.disabled:
                    raise Forbidden("the account is disabled: ask an administrator of this server")
                identity.used_at = now
                session.add(identity)
                if identity.made_account and self._settings.admins and user.role != role.value:
                    if {admin.id for admin in admins} == {user.id}:
                        _log.warning("the last administrator stays one, though the provider says otherwise")
                    else:
                        audit.record(
                            session, Author("OpenID provider", "", address), "user.change",
                            f"user:{user.id}", before={"role": user.role}, after={"role": role.value},
                        )  # fmt: skip
                        user.role = role.value
                        user.version += 1
                        user.updated_at = now
                        await end_sign_ins(session, user, now)
        self._changed()
        return user

    async def link(self, caller: Caller, user_id: str, issuer: str, subject: str, now: datetime) -> None:
        """Links an identity with an account: that of the caller, who signed in, or any with the rights of its
        role. A key with few scopes gives nobody a way to sign in, not even its owner. Raises Conflict,
        Forbidden, Invalid, NotFound."""
        if not _is_subject(subject) or not 0 < len(issuer) <= ISSUER_CHARS:
            raise Invalid(f"subject: it has 1 to {SUBJECT_CHARS} printable characters")
        issuer = issuer.rstrip("/")
        async with self._store.write() as session:
            user = await people.user(session, user_id, lock=True)
            if user is None or user.disabled:
                raise rules.no_such_user()
            if user.id != caller.user_id or caller.via is not Via.SESSION:
                rules.check_may_equip(caller, Role(user.role))
            found = await credentials.identity(session, issuer, subject)
            if found is not None:
                if found[1].id == user_id:
                    return
                raise Conflict("this identity belongs to another account")
            if len(await credentials.identities(session, user_id)) >= MAX_IDENTITIES:
                raise Conflict(f"the account has {MAX_IDENTITIES} identities, which is the most")
            session.add(OpenIdentity(issuer=issuer, subject=subject, user_id=user_id, created_at=now))
            audit.record(
                session, caller.author, "user.link_identity", f"user:{user_id}",
                after={"issuer": issuer, "subject": subject},
            )  # fmt: skip

    async def identities(self, user_id: str) -> Sequence[OpenIdentity]:
        """The identities of an account."""
        async with self._store.read() as session:
            return await credentials.identities(session, user_id)

    async def unlink(self, caller: Caller, user_id: str, issuer: str, subject: str) -> None:
        """Takes an identity from an account: the caller's own, or any with the rights of its role. Raises
        Forbidden, NotFound."""
        async with self._store.write() as session:
            found = await credentials.identity(session, issuer, subject)
            if found is None or found[1].id != user_id:
                raise NotFound("there is no such identity")
            if user_id != caller.user_id:
                rules.check_may_equip(caller, Role(found[1].role))
            await session.delete(found[0])
            audit.record(
                session, caller.author, "user.unlink_identity", f"user:{user_id}",
                before={"issuer": issuer, "subject": subject},
            )  # fmt: skip

    def _role(self, person: Vouched) -> Role:
        """The role that the provider's claim gives. Raises Forbidden for people who may not sign in."""
        if person.groups & set(self._settings.admins):
            return Role.ADMIN
        if self._settings.members and not person.groups & set(self._settings.members):
            raise Forbidden(
                "this account of the provider is in no group that may sign in here (oidc.members)"
            )
        return Role.MEMBER

    async def _make(
        self, session: AsyncSession, person: Vouched, role: Role, address: str, now: datetime
    ) -> User:
        if not self._settings.new_users:
            raise Forbidden(
                "no account here is linked with this identity: sign in with a password and link it, or have "
                "an administrator do so"
            )
        author = Author("OpenID provider", "", address)
        new = NewUser(await _free_name(session, person), role, display_name=_shown(person.display_name))
        user = await add(session, author, new, "", now)
        try:
            user.email = rules.email(person.email)
        except Invalid:
            user.email = ""
        people.save(session, user)
        identity = OpenIdentity(
            issuer=person.issuer, subject=person.subject, user_id=user.id, made_account=True,
            created_at=now, used_at=now,
        )  # fmt: skip
        session.add(identity)
        return user


def _is_subject(text: str) -> bool:
    return 0 < len(text) <= SUBJECT_CHARS and text.isprintable()


async def _free_name(session: AsyncSession, person: Vouched) -> str:
    """A user name like the provider's that nobody has."""
    wanted = _NOT_IN_NAMES.sub("_", person.name.strip())[:48] or "user"
    for number in range(1, _NAMES_TRIED):
        name = wanted if number == 1 else f"{wanted}{number}"
        if await people.user_named(session, rules.folded(name)) is None:
            return name
    raise Conflict(f"there are too many users called {wanted!r}")


def _shown(name: str) -> str:
    try:
        return rules.shown_name(name)
    except Invalid:
        return ""
