"""One-time links: good once, for a day, and of no use to whoever guesses."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from mimi_mqtt.errors import Invalid, LimitReached
from mimi_mqtt.people.access import Role
from mimi_mqtt.people.accounts import Accounts
from mimi_mqtt.people.authenticators import command_line
from mimi_mqtt.people.links import LINK_LIFETIME, MAX_SETUP_LINKS, TRIES_PER_MINUTE
from mimi_mqtt.people.sessions import Browser
from mimi_mqtt.people.upkeep import Upkeep
from mimi_mqtt.people.users import NewUser, UserChange
from mimi_mqtt.store import audit
from mimi_mqtt.store.audit import AuditFilter
from mimi_mqtt.store.engine import Store
from tests.fakes.people import NOW, PASSWORD, added

FIRST = NewUser("ada", Role.ADMIN, password=PASSWORD)


async def setup_token(people: Accounts) -> str:
    token = await people.links.for_setup(NOW)
    assert token is not None
    return token


async def test_setup_link_makes_one_administrator_once(people: Accounts) -> None:
    token = await setup_token(people)
    user = await people.links.set_up(token, FIRST, "a", NOW)
    assert (user.name, user.role) == ("ada", "admin")
    assert await people.sign_in.check("ada", PASSWORD, "a") is not None
    with pytest.raises(Invalid, match="not good"):
        await people.links.set_up(token, NewUser("eve", Role.ADMIN, password=PASSWORD), "a", NOW)
    assert await people.links.for_setup(NOW) is None
    assert len(await people.users.page(9)) == 1


async def test_of_many_that_use_setup_links_at_once_one_wins(people: Accounts) -> None:
    tokens = [await setup_token(people) for _ in range(3)]
    names = [f"user{number}" for number in range(6)]
    made = await asyncio.gather(
        *(
            people.links.set_up(tokens[number % 3], NewUser(name, Role.ADMIN, password=PASSWORD), "a", NOW)
            for number, name in enumerate(names)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(each, Invalid) for each in made) == 5
    assert len(await people.users.page(9)) == 1


async def test_setup_link_is_worthless_once_there_is_an_administrator(people: Accounts) -> None:
    token = await setup_token(people)
    await added(people, "carl", Role.ADMIN)
    with pytest.raises(Invalid):
        await people.links.set_up(token, FIRST, "a", NOW)


async def test_member_who_comes_first_leaves_the_way_to_the_first_administrator(people: Accounts) -> None:
    token = await setup_token(people)
    await added(people, "bob")
    assert await people.links.is_needed()
    assert (await people.links.set_up(token, FIRST, "a", NOW)).role == "admin"
    assert not await people.links.is_needed()


async def test_setup_link_ends_after_a_day(people: Accounts) -> None:
    token = await setup_token(people)
    with pytest.raises(Invalid):
        await people.links.set_up(token, FIRST, "a", NOW + LINK_LIFETIME)
    assert (
        await people.links.set_up(token, FIRST, "a", NOW + LINK_LIFETIME - timedelta(seconds=1))
    ).role == "admin"


async def test_starts_without_users_leave_a_bounded_number_of_links(people: Accounts) -> None:
    tokens = [await people.links.for_setup(NOW + timedelta(seconds=number)) for number in range(20)]
    with pytest.raises(Invalid):
        await people.links.set_up(tokens[-MAX_SETUP_LINKS - 1] or "", FIRST, "a", NOW)
    assert (await people.links.set_up(tokens[-MAX_SETUP_LINKS] or "", FIRST, "a", NOW)).role == "admin"


async def test_wrong_link_costs_no_hash_and_tries_are_bounded(
    people: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hashed(_: str) -> str:
        raise AssertionError("work for a stranger")

    monkeypatch.setattr(people.hashing, "hash", hashed)
    await setup_token(people)
    monkeypatch.setattr(people.links, "_clock", lambda: 5.0)
    for number in range(TRIES_PER_MINUTE):
        attempt = (
            people.links.set_up("guess", FIRST, "evil", NOW)
            if number % 2
            else people.links.reset_password("guess", PASSWORD, "evil", NOW)
        )
        with pytest.raises(Invalid):
            await attempt
    with pytest.raises(LimitReached):
        await people.links.set_up("guess", FIRST, "evil", NOW)
    with pytest.raises(Invalid):
        await people.links.set_up("guess", FIRST, "other", NOW)


async def test_link_of_a_wrong_form_is_kept_for_the_next_try(people: Accounts) -> None:
    token = await setup_token(people)
    for wrong in (
        NewUser("a b", Role.ADMIN, password=PASSWORD),
        NewUser("ada", Role.ADMIN, password="short"),
    ):
        with pytest.raises(Invalid):
            await people.links.set_up(token, wrong, "a", NOW)
    assert (await people.links.set_up(token, FIRST, "a", NOW)).role == "admin"


async def test_reset_link_sets_a_password_once_and_ends_sessions(people: Accounts) -> None:
    bob = await added(people, "bob")
    old = await people.links.for_password(command_line(), bob.id, NOW)
    token = await people.links.for_password(command_line(), bob.id, NOW)
    await people.sessions.begin(bob, Browser(), NOW)
    with pytest.raises(Invalid):
        await people.links.reset_password(old, "another password", "a", NOW)
    await people.links.reset_password(token, "another password", "a", NOW)
    assert await people.sessions.list(bob.id, NOW) == []
    assert await people.sign_in.check("bob", "another password", "a") is not None
    with pytest.raises(Invalid):
        await people.links.reset_password(token, "third password", "b", NOW)


async def test_reset_link_is_no_setup_link_and_the_other_way_round(people: Accounts) -> None:
    token = await setup_token(people)
    with pytest.raises(Invalid):
        await people.links.reset_password(token, PASSWORD, "a", NOW)
    bob = await added(people, "bob")
    reset = await people.links.for_password(command_line(), bob.id, NOW)
    with pytest.raises(Invalid):
        await people.links.set_up(reset, FIRST, "a", NOW)


async def test_reset_link_of_a_disabled_user_is_worthless(people: Accounts) -> None:
    bob = await added(people, "bob")
    await people.users.change(command_line(), bob.id, UserChange(disabled=True), NOW)
    token = await people.links.for_password(command_line(), bob.id, NOW)
    with pytest.raises(Invalid):
        await people.links.reset_password(token, "another password", "a", NOW)


async def test_upkeep_deletes_what_is_over_and_old_entries_of_the_audit(
    people: Accounts, store: Store
) -> None:
    now = datetime.now(UTC)
    bob = await added(people, "bob")
    await people.sessions.begin(bob, Browser(), now - timedelta(days=400))
    await people.sessions.begin(bob, Browser(), now)
    await people.links.for_password(command_line(), bob.id, now - timedelta(days=2))
    async with store.write() as session:
        for number in range(3):
            audit.record(session, audit.SERVER, "old.thing", f"x:{number}")
    everything = await people.audit.page(AuditFilter(), 99)
    upkeep = Upkeep(store, 365)
    await upkeep.delete(now)
    assert await people.audit.page(AuditFilter(), 99) == everything
    assert len(await people.sessions.list(bob.id, now - timedelta(days=399))) == 1
    await upkeep.delete(now + timedelta(days=366))
    assert await people.audit.page(AuditFilter(), 99) == []


async def test_audit_is_read_by_target_person_action_and_time(people: Accounts, store: Store) -> None:
    async with store.write() as session:
        for number, (name, action, target) in enumerate(
            [
                ("u1", "device.claim", "device:a"),
                ("u2", "device.say", "device:a_"),
                ("u1", "user.create", "user:u3"),
            ]
        ):
            audit.record(session, audit.Author(name, name), action, target, after={"number": number})
    page = people.audit.page

    async def numbers(wanted: AuditFilter, number: int = 9, before: int | None = None) -> list[int]:
        return [entry.after["number"] for entry in await page(wanted, number, before=before)]

    assert await numbers(AuditFilter()) == [2, 1, 0]
    assert await numbers(AuditFilter(target="device:a")) == [0]
    assert await numbers(AuditFilter(target="device:")) == [1, 0]
    assert await numbers(AuditFilter(user_id="u1")) == [2, 0]
    assert await numbers(AuditFilter(action="device.")) == [1, 0]
    assert await numbers(AuditFilter(action="user.create", user_id="u2")) == []
    assert await numbers(AuditFilter(since=datetime.now(UTC) + timedelta(hours=1))) == []
    assert await numbers(AuditFilter(until=datetime.now(UTC) + timedelta(hours=1))) == [2, 1, 0]
    newest = (await page(AuditFilter(), 1))[0].id
    assert await numbers(AuditFilter(), 1, newest) == [1]
