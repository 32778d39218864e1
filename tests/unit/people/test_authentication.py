"""The person behind a cookie, key or token, and how soon an end of it is felt."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mimi_mqtt.errors import Forbidden, Invalid, LimitReached, NotFound
from mimi_mqtt.people import authentication
from mimi_mqtt.people import keys as key_bounds
from mimi_mqtt.people.access import MEMBER_SCOPES, Caller, Presented, Role, Scope, Via
from mimi_mqtt.people.accounts import Accounts
from mimi_mqtt.people.authentication import FRESH_S, People
from mimi_mqtt.people.authenticators import command_line
from mimi_mqtt.people.sessions import Browser
from mimi_mqtt.people.users import UserChange
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import User
from tests.fakes.people import Keys, added, as_caller

START = datetime.now(UTC)
"""When the test began."""


@pytest.fixture(autouse=True)
def _begin(monkeypatch: pytest.MonkeyPatch) -> None:
    # Signatures are checked by the machine's clock, and this module is read long before its last test runs.
    monkeypatch.setitem(globals(), "START", datetime.now(UTC))


class Clock:
    """Monotonic and wall time that a test moves."""

    def __init__(self) -> None:
        self.passed = 0.0

    def monotonic(self) -> float:
        return self.passed

    def wall(self) -> float:
        return START.timestamp() + self.passed

    @property
    def now(self) -> datetime:
        return START + timedelta(seconds=self.passed)


class Node:
    """A node of its own on the same database: changes that others make are not told to it."""

    def __init__(self, store: Store, people: Accounts) -> None:
        self.clock = Clock()
        self.reads = 0
        self.people = People(
            store, people.sessions, people.tokens, clock=self.clock.monotonic, wall=self.clock.wall
        )
        read = store.read

        def counted() -> object:
            self.reads += 1
            return read()

        store.read = counted  # type: ignore[method-assign, assignment]

    async def bearer(self, secret: str) -> Caller | None:
        return await self.people.authenticate(Presented(bearer=secret, address="192.0.2.1"))

    async def cookie(self, secret: str) -> Caller | None:
        return await self.people.authenticate(Presented(session=secret, address="192.0.2.1"))


@pytest.fixture
async def node(store: Store, people: Accounts) -> AsyncIterator[Node]:
    made = Node(store, people)
    yield made
    await made.people.aclose()


@pytest.fixture
async def bob(people: Accounts) -> User:
    return await added(people, "bob", password=None)


async def key_of(people: Accounts, user: User, *scopes: Scope, **more: datetime) -> tuple[str, str]:
    made = await people.keys.create(as_caller(user), user.id, "tool", scopes, START, **more)
    return made.secret, made.row.id


async def test_session_is_remembered_for_a_second_and_its_end_felt_then(
    people: Accounts, node: Node, bob: User
) -> None:
    session = await people.sessions.begin(bob, Browser(), START)
    for _ in range(5):
        caller = await node.cookie(session.cookie)
        assert caller is not None
        assert (caller.name, caller.via, caller.address) == ("bob", Via.SESSION, "192.0.2.1")
        assert caller.scopes == MEMBER_SCOPES
    assert node.reads == 1, "one query for five requests"
    await people.sessions.end(session.cookie)
    node.clock.passed += FRESH_S
    assert await node.cookie(session.cookie) is not None, "at most this old"
    node.clock.passed += 0.01
    assert await node.cookie(session.cookie) is None


async def test_end_of_a_session_is_felt_at_once_on_the_same_node(people: Accounts, bob: User) -> None:
    session = await people.sessions.begin(bob, Browser(), datetime.now(UTC))
    shown = Presented(session=session.cookie)
    assert await people.authenticator.authenticate(shown) is not None
    await people.sessions.end(session.cookie)
    assert await people.authenticator.authenticate(shown) is None


async def test_session_slides_with_its_use_up_to_its_end(people: Accounts, node: Node, bob: User) -> None:
    session = await people.sessions.begin(bob, Browser(), START)
    day = 86_400.0
    for _ in range(8):
        node.clock.passed += 20 * day
        assert await node.cookie(session.cookie) is not None
        await node.people.write_uses()
        (row,) = await people.sessions.list(bob.id, node.clock.now)
        assert row.seen_at == node.clock.now
    assert row.expires_at == START + timedelta(days=180), "the absolute end"
    node.clock.passed = 180 * day + 1
    assert await node.cookie(session.cookie) is None


async def test_session_that_was_not_used_expires(people: Accounts, node: Node, bob: User) -> None:
    session = await people.sessions.begin(bob, Browser(), START)
    node.clock.passed = 30 * 86_400.0 + 1
    assert await node.cookie(session.cookie) is None


async def test_key_has_its_scopes_and_no_more_than_its_person(
    people: Accounts, node: Node, bob: User
) -> None:
    ada = await added(people, "ada", Role.ADMIN, password=None)
    secret, _ = await key_of(people, ada, Scope.AUDIT, Scope.COMMANDS)
    caller = await node.bearer(secret)
    assert caller is not None
    assert (caller.role, caller.via) == (Role.ADMIN, Via.KEY)
    assert caller.scopes == {Scope.AUDIT, Scope.COMMANDS}
    await added(people, "eve", Role.ADMIN, password=None)
    await people.users.change(command_line(), ada.id, UserChange(role=Role.MEMBER), START)
    node.clock.passed = 2
    caller = await node.bearer(secret)
    assert caller is not None
    assert caller.scopes == {Scope.COMMANDS}, "what is an administrator's is gone"


async def test_key_of_a_disabled_user_is_worthless(people: Accounts, node: Node, bob: User) -> None:
    secret, _ = await key_of(people, bob, Scope.COMMANDS)
    token = (await people.tokens.of_caller(as_caller(bob), START)).token
    session = await people.sessions.begin(bob, Browser(), START)
    assert await node.bearer(secret) is not None
    assert await node.bearer(token) is not None
    await people.users.change(command_line(), bob.id, UserChange(disabled=True), START)
    node.clock.passed = FRESH_S + 0.01
    assert await node.bearer(secret) is None
    assert await node.bearer(token) is None
    assert await node.cookie(session.cookie) is None
    await people.users.change(command_line(), bob.id, UserChange(disabled=False), START)
    node.clock.passed += 2
    assert await node.bearer(secret) is not None
    assert await node.bearer(token) is None, "what was ended stays so"
    assert await node.cookie(session.cookie) is None


async def test_key_ends_when_it_is_revoked_or_its_time_is_over(
    people: Accounts, node: Node, bob: User
) -> None:
    secret, key_id = await key_of(people, bob, Scope.COMMANDS)
    short, _ = await key_of(people, bob, Scope.COMMANDS, expires_at=START + timedelta(seconds=0.5))
    assert await node.bearer(short) is not None
    node.clock.passed = 0.6
    assert await node.bearer(short) is None, "remembered, and over"
    assert await node.bearer(secret) is not None
    await people.keys.revoke(as_caller(bob), key_id)
    node.clock.passed += FRESH_S + 0.01
    assert await node.bearer(secret) is None


async def test_use_of_a_key_is_written_behind(people: Accounts, node: Node, bob: User) -> None:
    secret, _ = await key_of(people, bob, Scope.COMMANDS)
    await node.bearer(secret)
    (row,) = await people.keys.page(as_caller(bob), bob.id, 9)
    assert row.used_at is None
    await node.people.write_uses()
    (row,) = await people.keys.page(as_caller(bob), bob.id, 9)
    assert row.used_at == START


async def test_token_ends_with_the_key_that_it_was_made_with(people: Accounts, node: Node, bob: User) -> None:
    secret, key_id = await key_of(people, bob, Scope.COMMANDS, Scope.EVENTS)
    caller = await node.bearer(secret)
    assert caller is not None
    issued = await people.tokens.of_caller(caller, START, scopes=[Scope.COMMANDS])
    with_token = await node.bearer(issued.token)
    assert with_token is not None
    assert with_token.scopes == {Scope.COMMANDS}
    assert with_token.via is Via.TOKEN
    await people.keys.revoke(as_caller(bob), key_id)
    node.clock.passed = FRESH_S + 0.01
    assert await node.bearer(issued.token) is None


async def test_token_of_the_old_secret_is_good_while_a_rotation_overlaps(
    people: Accounts, node: Node, bob: User, keys: Keys
) -> None:
    old = (await people.tokens.of_caller(as_caller(bob), START)).token
    keys.rotate()
    new = (await people.tokens.of_caller(as_caller(bob), START)).token
    assert await node.bearer(old) is not None
    assert await node.bearer(new) is not None
    keys.secrets.pop()
    assert await node.bearer(old) is None, "remembered callers too"
    assert await node.bearer(new) is not None


async def test_token_can_do_no_more_than_who_made_it(people: Accounts, bob: User) -> None:
    weak = as_caller(bob, frozenset({Scope.COMMANDS}))
    with pytest.raises(Forbidden):
        await people.tokens.of_caller(weak, START, scopes=[Scope.COMMANDS, Scope.EVENTS])
    with pytest.raises(Forbidden):
        await people.tokens.of_caller(as_caller(bob), START, scopes=[Scope.PEOPLE])
    assert (await people.tokens.of_caller(weak, START)).scopes == {Scope.COMMANDS}
    with pytest.raises(Forbidden, match="not made with a token"):
        await people.tokens.of_caller(as_caller(bob, via=Via.TOKEN), START)
    for lifetime_s in (0, -1, 86_401):
        with pytest.raises(Invalid):
            await people.tokens.of_caller(as_caller(bob), START, lifetime_s=lifetime_s)
    with pytest.raises(NotFound):
        await people.tokens.of_caller(command_line(), START)


async def test_key_creation_gives_nobody_more_than_he_has(people: Accounts, bob: User) -> None:
    ada = await added(people, "ada", Role.ADMIN, password=None)
    for caller, whose, scopes in (
        (as_caller(bob), bob, {Scope.PEOPLE}),  # beyond the role
        (as_caller(bob, frozenset({Scope.PROFILE})), bob, {Scope.COMMANDS}),  # beyond the caller
        (as_caller(bob, via=Via.KEY), bob, {Scope.COMMANDS}),  # would outlive the key
        (as_caller(bob, via=Via.TOKEN), bob, {Scope.COMMANDS}),  # would outlive the token
        (command_line(), bob, {Scope.AUDIT}),  # beyond the account
    ):
        with pytest.raises(Forbidden):
            await people.keys.create(caller, whose.id, "x", scopes, START)
    for caller, whose in ((as_caller(bob), ada), (as_caller(ada), bob)):
        with pytest.raises(NotFound):
            await people.keys.create(caller, whose.id, "x", {Scope.COMMANDS}, START)
    assert await people.keys.page(as_caller(ada), None, 9) == []


async def test_keys_of_others_do_not_exist_for_a_member(people: Accounts, bob: User) -> None:
    eve = await added(people, "eve", password=None)
    _, key_id = await key_of(people, bob, Scope.COMMANDS)
    for attempt in (
        people.keys.page(as_caller(eve), bob.id, 9),
        people.keys.page(as_caller(eve), None, 9),
        people.keys.revoke(as_caller(eve), key_id),
    ):
        with pytest.raises(NotFound):
            await attempt


async def test_person_has_a_bounded_number_of_keys(
    people: Accounts, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_bounds, "MAX_KEYS", 1)
    await key_of(people, bob, Scope.COMMANDS)
    with pytest.raises(LimitReached):
        await key_of(people, bob, Scope.COMMANDS)


@pytest.mark.parametrize(
    "shown",
    [
        Presented(), Presented(bearer="mk_"), Presented(bearer="mk_" + "x" * 43),
        Presented(bearer="mk_" + "x" * 9_999),
        Presented(bearer="a.b.c"), Presented(bearer="x"), Presented(bearer="\0"), Presented(session="x" * 43),
        Presented(session="'; DROP TABLE users; --"), Presented(session="\ud800" * 43),
    ],
)  # fmt: skip
async def test_what_was_never_given_is_nobody(node: Node, shown: Presented) -> None:
    assert await node.people.authenticate(shown) is None


async def test_wrong_bearer_is_not_made_up_for_by_a_cookie(people: Accounts, node: Node, bob: User) -> None:
    session = await people.sessions.begin(bob, Browser(), START)
    shown = Presented(bearer="mk_" + "x" * 43, session=session.cookie)
    assert await node.people.authenticate(shown) is None
    assert await node.people.authenticate(replace(shown, bearer="")) is not None


async def test_remembered_callers_are_bounded(
    people: Accounts, node: Node, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication, "MAX_REMEMBERED", 2)
    for _ in range(5):
        session = await people.sessions.begin(bob, Browser(), START)
        assert await node.cookie(session.cookie) is not None
    assert len(node.people._known) == 2


async def test_leaving_a_group_is_felt_within_a_second(people: Accounts, node: Node, bob: User) -> None:
    ada = as_caller(await added(people, "ada", Role.ADMIN, password=None))
    home = await people.groups.create(ada, "Home", START)
    session = await people.sessions.begin(bob, Browser(), START)
    await people.groups.add_member(ada, home.id, bob.id)
    caller = await node.cookie(session.cookie)
    assert caller is not None
    assert caller.sees("somebody", home.id)
    await people.groups.remove_member(ada, home.id, bob.id)
    node.clock.passed = FRESH_S + 0.01
    caller = await node.cookie(session.cookie)
    assert caller is not None
    assert not caller.sees("somebody", home.id)
