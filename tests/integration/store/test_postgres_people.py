"""Accounts on PostgreSQL, with two nodes at once, and the way back to the tables of before them."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlmodel import SQLModel

from mimi_mqtt.errors import Conflict, Invalid
from mimi_mqtt.http.api.paging import cursor_of
from mimi_mqtt.people.access import Presented, Role, Scope
from mimi_mqtt.people.accounts import Accounts
from mimi_mqtt.people.authenticators import command_line
from mimi_mqtt.people.openid import Vouched
from mimi_mqtt.people.sessions import Browser
from mimi_mqtt.people.upkeep import Upkeep
from mimi_mqtt.people.users import NewUser, UserChange
from mimi_mqtt.store import migrations
from mimi_mqtt.store.audit import AuditFilter
from mimi_mqtt.store.engine import Store
from tests.databases import is_declared, sqlite_store
from tests.fakes.people import PASSWORD, Keys, added, as_caller, signed_in


@asynccontextmanager
async def accounts(store: Store) -> AsyncIterator[Accounts]:
    """The accounts on a database, which is closed whatever happens: its thread would keep the process."""
    try:
        await store.open()
        people = Accounts.build(store, Keys())
        yield people
        await people.aclose()
    finally:
        await store.aclose()


async def test_two_nodes_share_accounts_on_postgresql(postgres_url: str) -> None:
    first, second = Store(postgres_url), Store(postgres_url)
    async with accounts(first) as mine, accounts(second) as yours:
        await share(mine, yours, Upkeep(first, 1))


async def share(mine: Accounts, yours: Accounts, upkeep: Upkeep) -> None:
    now = datetime.now(UTC)

    # Both print a link; of many who use them at both nodes one becomes the administrator.
    tokens = [await mine.links.for_setup(now), await yours.links.for_setup(now)]
    made = await asyncio.gather(
        *(
            (mine, yours)[number % 2].links.set_up(
                tokens[number // 2 % 2] or "",
                NewUser(f"ada{number}", Role.ADMIN, password=PASSWORD),
                "a",
                now,
            )
            for number in range(6)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(each, Invalid) for each in made) == 5, made
    (ada,) = await yours.users.page(9)

    # Two administrators who demote each other at once: one of them stays.
    eve = await added(mine, "eve", Role.ADMIN, password=None)
    demoted = await asyncio.gather(
        mine.users.change(command_line(), ada.id, UserChange(role=Role.MEMBER), now),
        yours.users.change(command_line(), eve.id, UserChange(role=Role.MEMBER), now),
        return_exceptions=True,
    )
    assert sum(isinstance(each, Conflict) for each in demoted) == 1, demoted

    same = await asyncio.gather(
        *(added(node, "bob", password=None) for node in (mine, yours, mine, yours)), return_exceptions=True
    )
    assert sum(isinstance(each, Conflict) for each in same) == 3, same

    bob = await yours.users.named("BOB")
    caller = as_caller(bob)
    home = await mine.groups.create(command_line(), "Home", now)
    await mine.groups.add_member(command_line(), home.id, bob.id)
    session = await mine.sessions.begin(bob, Browser("\0agent", "192.0.2.1"), now - timedelta(hours=1))
    key = await mine.keys.create(caller, bob.id, "script", {Scope.COMMANDS}, now)
    for shown in (Presented(session=session.cookie), Presented(bearer=key.secret)):
        found = await yours.authenticator.authenticate(shown)
        assert found is not None
        assert found.groups == {home.id}
    await yours.authenticator.write_uses()
    (row,) = await mine.sessions.list(bob.id, now)
    assert row.seen_at >= now
    assert (await mine.keys.page(caller, bob.id, 9))[0].used_at is not None

    reset = await mine.links.for_password(command_line(), bob.id, now)
    taken = await asyncio.gather(
        mine.links.reset_password(reset, "new password 1", "a", now),
        yours.links.reset_password(reset, "new password 2", "a", now),
        return_exceptions=True,
    )
    assert sum(isinstance(each, Invalid) for each in taken) == 1, taken
    assert await mine.sessions.list(bob.id, now) == []

    await mine.openid.link(command_line(), bob.id, "https://auth.example", "sub", now)
    user = await yours.openid.sign_in(Vouched("https://auth.example", "sub"), "a", now)
    assert user.name == "bob"
    assert len(await yours.audit.page(AuditFilter(target="user:"), 100)) > 5
    await yours.users.remove(command_line(), bob.id, now)
    assert await mine.keys.page(command_line(), None, 9) == []
    await upkeep.delete(now + timedelta(days=2))
    assert await yours.audit.page(AuditFilter(), 100) == []


async def test_text_that_no_database_takes_is_not_found_or_refused_on_postgresql(postgres_url: str) -> None:
    async with accounts(Store(postgres_url)) as people:
        await ask_for_impossible_things(people)


async def test_text_that_no_database_takes_is_not_found_or_refused_on_sqlite(tmp_path: Path) -> None:
    async with accounts(sqlite_store(tmp_path)) as people:
        await ask_for_impossible_things(people)


async def ask_for_impossible_things(people: Accounts) -> None:
    await added(people, "ada", Role.ADMIN)
    surrogate, huge = base64.urlsafe_b64encode(b'["\\ud800"]').decode(), cursor_of(10**40)
    async with signed_in(people, "ada") as api:
        ada = (await api.get("/me")).json()["id"]
        home = (await api.post("/groups", json={"name": "Home"})).json()["id"]
        for method, path, body, statuses in (
            ("GET", "/users/%00", None, {404}),
            ("GET", f"/users/{ada}%00", None, {404}),
            ("PATCH", "/users/%00", {"role": "admin"}, {404}),
            ("GET", "/users?text=%00", None, {422}),
            ("GET", f"/users?cursor={surrogate}", None, {422}),
            ("POST", "/users", {"name": "a\0"}, {422}),
            ("POST", "/users", {"name": "b", "email": "a\0@x.org"}, {422}),
            ("POST", "/users", {"name": "c", "display_name": "\0"}, {422}),
            ("POST", "/users", {"name": "d", "zone": "\0"}, {422}),
            ("POST", f"/users/{ada}/identities", {"subject": "\0"}, {409, 422}),
            ("DELETE", f"/users/{ada}/identities?issuer=%00&subject=%00", None, {422}),
            ("POST", "/session", {"user_name": "\0", "password": "\0"}, {401}),
            ("POST", "/setup", {"token": "\0", "user_name": "e", "password": "\0" * 8}, {422}),
            ("PUT", f"/groups/{home}/members/%00", None, {404}),
            ("DELETE", f"/groups/{home}/members/%00", None, {404}),
            ("GET", "/groups/%00", None, {404}),
            ("GET", f"/groups?cursor={cursor_of(chr(0), chr(0))}", None, {422}),
            ("DELETE", "/keys/%00", None, {404}),
            ("GET", "/keys?user_id=%00", None, {422}),
            (
                "POST",
                "/keys",
                {"name": "x", "scopes": ["audit"], "expires_at": "9999-12-31T23:59:59-23:59"},
                {422},
            ),
            ("DELETE", "/me/sessions/%00", None, {404}),
            ("GET", "/audit?target=%00", None, {422}),
            ("GET", f"/audit?cursor={huge}", None, {422}),
            ("GET", "/audit?since=0001-01-01T00:00:00%2B23:59", None, {422}),
            ("GET", "/audit?until=9999-12-31T23:59:59Z", None, {200}),
        ):
            reply = await api.request(method, path, json=body)
            assert reply.status_code in statuses, (method, path, reply.text)


async def test_tables_of_accounts_come_and_go_on_postgresql(postgres_url: str) -> None:
    await come_and_go(Store(postgres_url))


async def test_tables_of_accounts_come_and_go_on_sqlite(tmp_path: Path) -> None:
    await come_and_go(sqlite_store(tmp_path))


async def come_and_go(store: Store) -> None:
    def back(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        config.attributes["connection"] = connection
        command.downgrade(config, "0010")

    def differences(connection: Connection) -> list[object]:
        known = MigrationContext.configure(connection, opts={"include_name": is_declared})
        return list(compare_metadata(known, SQLModel.metadata))

    async with accounts(store) as people:
        await added(people, "bob", password=None)
        async with store.write() as session:
            await (await session.connection()).run_sync(back)
    async with accounts(store) as people:
        async with store.read() as session:
            assert await (await session.connection()).run_sync(differences) == []
            assert (await session.execute(text("SELECT count(*) FROM audit"))).scalar_one() == 1
        assert await people.users.page(9) == []
        await added(people, "bob", password=None)
