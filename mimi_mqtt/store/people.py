"""Queries about accounts and groups, inside the transactions of `people`."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, or_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from mimi_mqtt.store.tables import USER_SEARCH_CHARS, AccountLink, GroupMember, User, UserGroup
from mimi_mqtt.store.values import bounded, folded, is_storable


async def user(session: AsyncSession, user_id: str, *, lock: bool = False) -> User | None:
    """The account, or None; `lock` keeps other writers off it until the transaction ends."""
    if not is_storable(user_id):
        return None
    query = select(User).where(User.id == user_id)
    return (await session.scalars(query.with_for_update() if lock else query)).one_or_none()


def save(session: AsyncSession, user: User) -> None:
    """Stores a new account, or one whose names or e-mail address changed."""
    lines = (folded(text) for text in (user.name, user.display_name, user.email))
    user.search = bounded("\n".join(lines), USER_SEARCH_CHARS)
    session.add(user)


async def user_named(session: AsyncSession, folded_name: str) -> User | None:
    """The account with this name, folded."""
    if not is_storable(folded_name):
        return None
    return (await session.scalars(select(User).where(User.folded_name == folded_name))).one_or_none()


async def users(
    session: AsyncSession,
    number: int,
    *,
    after: str = "",
    text: str = "",
    role: str = "",
    disabled: bool | None = None,
) -> Sequence[User]:
    """Accounts whose folded name comes after `after`, by that name; `text` is part of a name or e-mail."""
    if not is_storable(after, text):
        return ()
    query = select(User).where(col(User.folded_name) > after)
    if text:
        query = query.where(col(User.search).contains(folded(text), autoescape=True))
    if role:
        query = query.where(User.role == role)
    if disabled is not None:
        query = query.where(col(User.disabled) == disabled)
    return (await session.scalars(query.order_by(col(User.folded_name)).limit(number))).all()


async def count_users(session: AsyncSession) -> int:
    """The number of accounts."""
    return (await session.scalars(select(func.count()).select_from(User))).one()


async def has_enabled(session: AsyncSession, role: str) -> bool:
    """True when there is an account of a role that is not disabled."""
    query = select(User.id).where(User.role == role, col(User.disabled).is_(False)).limit(1)
    return (await session.scalars(query)).one_or_none() is not None


async def lock_enabled(session: AsyncSession, role: str) -> Sequence[User]:
    """Accounts of a role that are not disabled; other writers are kept off them until the transaction
    ends."""
    query = select(User).where(User.role == role, col(User.disabled).is_(False)).order_by(col(User.id))
    return (await session.scalars(query.with_for_update())).all()


async def group(session: AsyncSession, group_id: str, *, lock: bool = False) -> UserGroup | None:
    """The group, or None."""
    if not is_storable(group_id):
        return None
    query = select(UserGroup).where(UserGroup.id == group_id)
    return (await session.scalars(query.with_for_update() if lock else query)).one_or_none()


async def groups(
    session: AsyncSession, number: int, *, after: tuple[str, str] | None = None, of_user: str | None = None
) -> Sequence[UserGroup]:
    """Groups by name and id, those of one person alone with `of_user`."""
    query = select(UserGroup).order_by(col(UserGroup.name), col(UserGroup.id))
    if after is not None:
        name, group_id = after
        if not is_storable(name, group_id):
            return ()
        same_name = (col(UserGroup.name) == name) & (col(UserGroup.id) > group_id)
        query = query.where(or_(col(UserGroup.name) > name, same_name))
    if of_user is not None:
        own = select(GroupMember.group_id).where(GroupMember.user_id == of_user)
        query = query.where(col(UserGroup.id).in_(own))
    return (await session.scalars(query.limit(number))).all()


async def count_groups(session: AsyncSession) -> int:
    """The number of groups."""
    return (await session.scalars(select(func.count()).select_from(UserGroup))).one()


@dataclass(frozen=True, slots=True)
class PersonInGroup:
    """The facts about a person that a group tells."""

    id: str
    name: str
    display_name: str


async def members(session: AsyncSession, group_ids: Collection[str]) -> Mapping[str, list[PersonInGroup]]:
    """The people in each of the groups, by name."""
    # Not whole accounts: there may be thousands, each with a profile.
    query = select(GroupMember.group_id, User.id, User.name, User.display_name)
    query = query.join(User, col(User.id) == col(GroupMember.user_id))
    query = query.where(col(GroupMember.group_id).in_(group_ids)).order_by(col(User.folded_name))
    found: dict[str, list[PersonInGroup]] = {group_id: [] for group_id in group_ids}
    for group_id, *person in (await session.execute(query)).all():
        found[group_id].append(PersonInGroup(*person))
    return found


async def member(session: AsyncSession, group_id: str, user_id: str) -> GroupMember | None:
    """The membership of a person in a group, or None."""
    if not is_storable(group_id, user_id):
        return None
    return await session.get(GroupMember, (group_id, user_id))


async def group_ids(session: AsyncSession, user_id: str) -> frozenset[str]:
    """The ids of the groups that a person is in."""
    query = select(GroupMember.group_id).where(GroupMember.user_id == user_id)
    return frozenset((await session.scalars(query)).all())


async def forget_setup_links(session: AsyncSession) -> None:
    """Deletes every link that makes the first administrator."""
    await session.execute(delete(AccountLink).where(col(AccountLink.user_id).is_(None)))
