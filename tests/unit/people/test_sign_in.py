"""Signing in with a password, and what guessers get."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from mimi_mqtt import passwords
from mimi_mqtt.config import SharesSettings
from mimi_mqtt.errors import Conflict, Invalid, LoginRefused, StoreError
from mimi_mqtt.logins import ACCOUNTS_AT_ONCE, ADDRESSES_AT_ONCE
from mimi_mqtt.passwords import PasswordHashing, Verdict
from mimi_mqtt.people.access import Presented, Role
from mimi_mqtt.people.accounts import Accounts
from mimi_mqtt.people.authenticators import command_line
from mimi_mqtt.people.sessions import MAX_SESSIONS, Browser
from mimi_mqtt.people.sign_in import SignIn
from mimi_mqtt.people.users import UserChange
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import User
from tests.fakes.people import NOW, PASSWORD, added, as_caller

TRIES = 3


class Counted(PasswordHashing):
    """Compares without hashing, and keeps what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.compared: list[str | None] = []

    async def verify(self, given: str, hashed: str | None) -> Verdict:
        self.compared.append(hashed)
        return Verdict(hashed is not None and given == PASSWORD)


@pytest.fixture
def hashing() -> Counted:
    return Counted()


@pytest.fixture
def strict(store: Store, hashing: Counted) -> SignIn:
    """A sign-in with few tries; nobody waits in it."""
    return SignIn(store, hashing, SharesSettings(failed_logins=TRIES), clock=lambda: 100.0)


@pytest.fixture(autouse=True)
def _no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(_: float) -> None:
        return

    monkeypatch.setattr("mimi_mqtt.people.sign_in.asyncio.sleep", at_once)


async def test_right_password_signs_in_by_any_case_of_the_name(people: Accounts) -> None:
    await added(people, "Bob")
    user = await people.sign_in.check(" BOB ", PASSWORD, "192.0.2.1")
    assert user is not None
    assert user.name == "Bob"
    assert await people.sign_in.check("Bob", PASSWORD + "x", "192.0.2.1") is None
    assert await people.sign_in.check("Bob", "", "192.0.2.1") is None


async def test_unknown_user_costs_the_same_hash_and_gets_the_same_answer(
    people: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown name, a disabled account, an account without a password and a wrong password are each worth
    one comparison of a full hash with the same parameters."""
    await added(people, "bob")
    await added(people, "nopassword", password=None)
    off = await added(people, "off")
    await people.users.change(command_line(), off.id, UserChange(disabled=True), NOW)
    compared: list[str] = []
    hasher = passwords._hasher()

    class Watched:
        def verify_and_update(self, given: bytes, hashed: str) -> Any:
            compared.append(hashed.rpartition("$")[0].rpartition("$")[0])
            return hasher.verify_and_update(given, hashed)

        def hash(self, password: str) -> str:
            return hasher.hash(password)

    monkeypatch.setattr(passwords, "_hasher", Watched)
    for name, given in (
        ("nobody", PASSWORD), ("off", PASSWORD), ("nopassword", ""), ("nopassword", PASSWORD),
        ("bob", "wrong password"), ("bob", "x" * 5_000),
    ):  # fmt: skip
        assert await people.sign_in.check(name, given, "192.0.2.1") is None
    assert compared == ["$argon2id$v=19$m=19456,t=2,p=1"] * 6


@pytest.mark.parametrize("what", ["database", "queue"])
async def test_passwords_that_were_not_checked_lock_nobody_out(
    people: Accounts,
    store: Store,
    strict: SignIn,
    hashing: Counted,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    await added(people, "bob")
    with monkeypatch.context() as outage:
        if what == "database":
            outage.setattr(store, "read", _out_of_reach)
        else:
            outage.setattr(hashing, "verify", _too_many_wait)
        for _ in range(3 * TRIES):
            with pytest.raises((StoreError, LoginRefused), match=what):
                await strict.check("bob", PASSWORD, "192.0.2.1")
    assert await strict.check("bob", PASSWORD, "192.0.2.1") is not None


def _out_of_reach() -> Any:
    raise StoreError("the database is down")


async def _too_many_wait(*_: object) -> Verdict:
    raise LoginRefused("the queue is full", 5)


async def test_a_guess_that_is_cancelled_while_it_is_checked_counts(
    people: Accounts, strict: SignIn, hashing: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or else a guesser would hang up just before he is refused."""
    await added(people, "bob")
    compares = asyncio.Event()

    async def never_done(*_: object) -> Verdict:
        compares.set()
        await asyncio.Event().wait()
        raise AssertionError

    with monkeypatch.context() as slow:
        slow.setattr(hashing, "verify", never_done)
        for _ in range(TRIES):
            compares.clear()
            guessing = asyncio.create_task(strict.check("bob", "guess", "192.0.2.1"))
            await compares.wait()
            guessing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await guessing
    with pytest.raises(LoginRefused, match="too many sign-ins failed"):
        await strict.check("bob", PASSWORD, "192.0.2.1")


async def test_guesses_from_one_address_are_refused_right_or_wrong(
    people: Accounts, strict: SignIn, hashing: Counted
) -> None:
    await added(people, "bob")
    for _ in range(TRIES):
        assert await strict.check("bob", "wrong", "192.0.2.1") is None
    with pytest.raises(LoginRefused):
        await strict.check("bob", PASSWORD, "192.0.2.1")
    assert len(hashing.compared) == TRIES, "not even compared"
    assert await strict.check("bob", PASSWORD, "192.0.2.2") is not None


async def test_guesses_from_many_addresses_lock_the_account_but_for_its_owner(
    people: Accounts, strict: SignIn, hashing: Counted
) -> None:
    await added(people, "bob")
    assert await strict.check("bob", PASSWORD, "home") is not None
    for number in range(TRIES * ADDRESSES_AT_ONCE):
        assert await strict.check("bob", "wrong", f"198.51.100.{number}") is None
    made = len(hashing.compared)
    for number in range(100, 120):
        with pytest.raises(LoginRefused):
            await strict.check("bob", PASSWORD, f"198.51.100.{number}")
    assert len(hashing.compared) == made
    assert await strict.check("bob", PASSWORD, "home") is not None


async def test_one_password_tried_on_many_users_is_bounded(strict: SignIn, hashing: Counted) -> None:
    refused = 0
    for number in range(TRIES * ACCOUNTS_AT_ONCE + 10):
        try:
            await strict.check(f"user{number}", PASSWORD, "192.0.2.1")
        except LoginRefused:
            refused += 1
    assert refused == 10
    assert len(hashing.compared) == TRIES * ACCOUNTS_AT_ONCE


async def test_no_more_passwords_wait_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "MAX_WAITING_HASHES", 0)
    hashing = PasswordHashing()
    with pytest.raises(LoginRefused, match="too many passwords wait"):
        await hashing.verify(PASSWORD, None)
    hashing.close()


async def with_an_older_hash(people: Accounts, store: Store) -> User:
    """bob, whose hash has other parameters than those of now."""
    from pwdlib import PasswordHash
    from pwdlib.hashers.argon2 import Argon2Hasher

    from mimi_mqtt.store import people as rows

    bob = await added(people, "bob")
    old = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=64, parallelism=1),)).hash(PASSWORD)
    async with store.write() as session:
        row = await rows.user(session, bob.id)
        assert row is not None
        row.password_hash = old
        session.add(row)
    return bob


async def test_hash_with_other_parameters_is_made_anew(people: Accounts, store: Store) -> None:
    bob = await with_an_older_hash(people, store)
    assert await people.sign_in.check("bob", PASSWORD, "a") is not None
    renewed = await people.users.get(bob.id)
    assert "m=19456,t=2,p=1" in renewed.password_hash
    assert renewed.token_epoch == bob.token_epoch, "the same password: nothing ends"
    assert await people.sign_in.check("bob", PASSWORD, "a") is not None


async def test_change_of_password_wants_the_present_one_and_ends_all_sessions(people: Accounts) -> None:
    bob = await added(people, "bob")
    caller = as_caller(bob)
    await people.sessions.begin(bob, Browser(), NOW)
    with pytest.raises(Invalid, match="not the account's password"):
        await people.sign_in.change_password(caller, "wrong", "another password", NOW)
    with pytest.raises(Invalid, match="at least 8"):
        await people.sign_in.change_password(caller, PASSWORD, "short", NOW)
    assert len(await people.sessions.list(bob.id, NOW)) == 1
    await people.sign_in.change_password(caller, PASSWORD, "another password", NOW)
    assert await people.sessions.list(bob.id, NOW) == []
    assert await people.sign_in.check("bob", PASSWORD, "a") is None
    assert await people.sign_in.check("bob", "another password", "a") is not None


async def test_password_whose_hash_is_made_anew_is_changed_at_once(people: Accounts, store: Store) -> None:
    bob = await with_an_older_hash(people, store)
    await people.sign_in.change_password(as_caller(bob), PASSWORD, "another password", NOW)
    assert await people.sign_in.check("bob", "another password", "a") is not None


async def test_person_has_a_bounded_number_of_sessions(people: Accounts) -> None:
    bob = await added(people, "bob", Role.MEMBER, password=None)
    for _ in range(MAX_SESSIONS + 3):
        await people.sessions.begin(bob, Browser("x" * 5_000), NOW)
    found = await people.sessions.list(bob.id, NOW)
    assert len(found) == MAX_SESSIONS
    assert max(len(row.user_agent) for row in found) == 200


@pytest.mark.parametrize("change", [UserChange(role=Role.ADMIN), UserChange(disabled=True)])
async def test_sign_in_that_an_end_of_all_sessions_overtakes_begins_none(
    people: Accounts, change: UserChange
) -> None:
    bob = await added(people, "bob")
    proved = await people.sign_in.check("bob", PASSWORD, "a")
    assert proved is not None
    await people.users.change(command_line(), bob.id, change, NOW)
    with pytest.raises(Conflict, match="sign in again"):
        await people.sessions.begin(proved, Browser(), NOW)
    assert await people.sessions.list(bob.id, NOW) == []


async def test_signing_out_everywhere_ends_tokens_too(people: Accounts) -> None:
    bob = await added(people, "bob")
    token = people.tokens.of_user(bob, datetime.now(UTC)).token
    assert await people.authenticator.authenticate(Presented(token)) is not None
    await people.sessions.revoke(as_caller(bob), bob.id)
    assert await people.authenticator.authenticate(Presented(token)) is None
