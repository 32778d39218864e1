"""Queries about what proves who a person is: sessions, keys, identities, passkeys and links, inside the
transactions of `people`."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import bindparam, delete, func, or_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from mimi_mqtt.store.tables import (
    AccountLink,
    ApiKey,
    OpenIdentity,
    Passkey,
    UsedChallenge,
    User,
    WebSession,
)
from mimi_mqtt.store.values import is_storable

# ── sessions ─────────────────────────────────────────────────────────────────────────────────────────────


async def web_session(session: AsyncSession, digest: str) -> tuple[WebSession, User] | None:
    """The session of a cookie, with its person."""
    query = select(WebSession, User).join(User, col(User.id) == col(WebSession.user_id))
    row = (await session.execute(query.where(WebSession.digest == digest))).one_or_none()
    return (row[0], row[1]) if row is not None else None


async def web_sessions(session: AsyncSession, user_id: str, now: datetime) -> Sequence[WebSession]:
    """The sessions of a person that are not over, the last used one first."""
    query = select(WebSession).where(WebSession.user_id == user_id, col(WebSession.expires_at) > now)
    return (await session.scalars(query.order_by(col(WebSession.seen_at).desc()))).all()


async def end_web_sessions(
    session: AsyncSession, user_id: str, *, public_id: str | None = None, but: str | None = None
) -> int:
    """Deletes the sessions of a person: all, the one with `public_id`, or all but that of a digest. Returns
    their number."""
    if public_id is not None and not is_storable(public_id):
        return 0
    query = delete(WebSession).where(col(WebSession.user_id) == user_id)
    if public_id is not None:
        query = query.where(col(WebSession.public_id) == public_id)
    if but is not None:
        query = query.where(col(WebSession.digest) != but)
    return len((await session.execute(query.returning(col(WebSession.public_id)))).all())


async def end_web_session(session: AsyncSession, digest: str) -> None:
    """Deletes the session of a cookie."""
    await session.execute(delete(WebSession).where(col(WebSession.digest) == digest))


async def forget_oldest_web_sessions(session: AsyncSession, user_id: str, kept: int) -> None:
    """Deletes the sessions of a person but for the `kept` ones that were used last."""
    own = select(WebSession.digest).where(WebSession.user_id == user_id)
    excess = own.order_by(col(WebSession.seen_at).desc(), col(WebSession.digest)).offset(kept)
    digests = (await session.scalars(excess)).all()
    await session.execute(delete(WebSession).where(col(WebSession.digest).in_(digests)))


async def touch_web_sessions(session: AsyncSession, used: Mapping[str, tuple[datetime, datetime]]) -> None:
    """Records when sessions were used, and when they expire now, by digest; those that ended stay so."""
    if not used:
        return
    # In one order everywhere: two nodes that write the same rows don't lock each other out.
    rows = [
        {"known": digest, "seen_at": used[digest][0], "expires_at": used[digest][1]}
        for digest in sorted(used)
    ]
    # On the connection: the session would insist that every row is still there.
    known = col(WebSession.digest) == bindparam("known")
    await (await session.connection()).execute(update(WebSession).where(known), rows)


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────


async def key(session: AsyncSession, digest: str) -> tuple[ApiKey, User] | None:
    """An API key, with its person."""
    query = select(ApiKey, User).join(User, col(User.id) == col(ApiKey.user_id))
    row = (await session.execute(query.where(ApiKey.digest == digest))).one_or_none()
    return (row[0], row[1]) if row is not None else None


async def key_of_id(session: AsyncSession, key_id: str) -> ApiKey | None:
    """The key, or None."""
    if not is_storable(key_id):
        return None
    return (await session.scalars(select(ApiKey).where(ApiKey.id == key_id))).one_or_none()


async def keys(
    session: AsyncSession, number: int, *, after: tuple[str, str] = ("", ""), user_id: str | None = None
) -> Sequence[ApiKey]:
    """The keys of a person, or of all, by person and id, beginning behind those in `after`."""
    owner, key_id = after
    if not is_storable(user_id or "", owner, key_id):
        return ()
    query = select(ApiKey).order_by(col(ApiKey.user_id), col(ApiKey.id)).limit(number)
    same_owner = (col(ApiKey.user_id) == owner) & (col(ApiKey.id) > key_id)
    query = query.where(or_(col(ApiKey.user_id) > owner, same_owner))
    if user_id is not None:
        query = query.where(ApiKey.user_id == user_id)
    return (await session.scalars(query)).all()


async def count_keys(session: AsyncSession, user_id: str) -> int:
    """The number of a person's keys."""
    query = select(func.count()).select_from(ApiKey).where(ApiKey.user_id == user_id)
    return (await session.scalars(query)).one()


async def touch_keys(session: AsyncSession, used: Mapping[str, datetime]) -> None:
    """Records when keys were used, by id; those that are gone stay so."""
    if not used:
        return
    rows = [{"known": key_id, "used_at": used[key_id]} for key_id in sorted(used)]
    known = col(ApiKey.id) == bindparam("known")
    await (await session.connection()).execute(update(ApiKey).where(known), rows)


# ── identities ───────────────────────────────────────────────────────────────────────────────────────────


async def identity(session: AsyncSession, issuer: str, subject: str) -> tuple[OpenIdentity, User] | None:
    """An identity at an OpenID provider, with its person, whom other writers are kept off."""
    if not is_storable(issuer, subject):
        return None
    query = select(OpenIdentity, User).join(User, col(User.id) == col(OpenIdentity.user_id))
    query = query.where(OpenIdentity.issuer == issuer, OpenIdentity.subject == subject)
    row = (await session.execute(query.with_for_update())).one_or_none()
    return (row[0], row[1]) if row is not None else None


async def identities(session: AsyncSession, user_id: str) -> Sequence[OpenIdentity]:
    """The identities of a person."""
    query = select(OpenIdentity).where(OpenIdentity.user_id == user_id)
    return (await session.scalars(query.order_by(col(OpenIdentity.issuer), col(OpenIdentity.subject)))).all()


# ── passkeys ─────────────────────────────────────────────────────────────────────────────────────────────


async def passkey(
    session: AsyncSession, credential_id: str, *, lock: bool = False
) -> tuple[Passkey, User] | None:
    """A passkey by the authenticator's name of it, with its person; `lock` keeps other writers off both."""
    if not is_storable(credential_id):
        return None
    query = select(Passkey, User).join(User, col(User.id) == col(Passkey.user_id))
    query = query.where(Passkey.credential_id == credential_id)
    row = (await session.execute(query.with_for_update() if lock else query)).one_or_none()
    return (row[0], row[1]) if row is not None else None


async def passkey_of_id(session: AsyncSession, passkey_id: str) -> tuple[Passkey, User] | None:
    """A passkey by its id here, with its person."""
    if not is_storable(passkey_id):
        return None
    query = select(Passkey, User).join(User, col(User.id) == col(Passkey.user_id))
    row = (await session.execute(query.where(Passkey.id == passkey_id))).one_or_none()
    return (row[0], row[1]) if row is not None else None


async def passkeys(session: AsyncSession, user_id: str) -> Sequence[Passkey]:
    """The passkeys of a person, the oldest first."""
    if not is_storable(user_id):
        return ()
    query = select(Passkey).where(Passkey.user_id == user_id)
    return (await session.scalars(query.order_by(col(Passkey.created_at), col(Passkey.id)))).all()


async def use_challenge(session: AsyncSession, digest: str, expires_at: datetime) -> bool:
    """Uses up a challenge for a passkey; False when it was before."""
    if await session.get(UsedChallenge, digest) is not None:
        return False
    session.add(UsedChallenge(digest=digest, expires_at=expires_at))
    try:
        await session.flush()
    except IntegrityError:  # at the same moment, by another node
        return False
    return True


# ── links ────────────────────────────────────────────────────────────────────────────────────────────────


async def setup_links(session: AsyncSession) -> Sequence[AccountLink]:
    """Links that make the first administrator, the newest one first; other writers are kept off them."""
    query = select(AccountLink).where(col(AccountLink.user_id).is_(None)).with_for_update()
    return (
        await session.scalars(query.order_by(col(AccountLink.created_at).desc(), col(AccountLink.digest)))
    ).all()


async def reset_link(session: AsyncSession, digest: str, now: datetime) -> str | None:
    """The person whose password a link is for, or None when it is not good."""
    query = select(AccountLink.user_id).where(AccountLink.digest == digest, col(AccountLink.expires_at) > now)
    return (await session.scalars(query)).one_or_none()


async def take_reset_link(session: AsyncSession, digest: str, now: datetime) -> str | None:
    """Uses up a link to set a password; the person's id, or None when it is not good."""
    query = delete(AccountLink).where(
        col(AccountLink.digest) == digest, col(AccountLink.user_id).is_not(None)
    )
    taken = await session.execute(query.returning(col(AccountLink.user_id), col(AccountLink.expires_at)))
    row = taken.one_or_none()
    return str(row[0]) if row is not None and row[1] > now else None


async def forget_reset_links(session: AsyncSession, user_id: str) -> None:
    """Deletes the links to set a person's password."""
    await session.execute(delete(AccountLink).where(col(AccountLink.user_id) == user_id))


async def forget_expired(session: AsyncSession, now: datetime) -> None:
    """Deletes sessions, links and used challenges that are over."""
    await session.execute(delete(WebSession).where(col(WebSession.expires_at) <= now))
    await session.execute(delete(AccountLink).where(col(AccountLink.expires_at) <= now))
    await session.execute(delete(UsedChallenge).where(col(UsedChallenge.expires_at) <= now))
