"""Accounts on a database in a temporary folder, and clients of the API that sign in to them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace

import httpx

from mimi_mqtt.config.connections import HttpSettings
from mimi_mqtt.people.access import MEMBER_SCOPES, Caller, Role, Scope, Via
from mimi_mqtt.people.accounts import Accounts
from mimi_mqtt.people.authenticators import command_line
from mimi_mqtt.people.users import NewUser
from mimi_mqtt.store.tables import User
from tests.fakes.api import client

NOW = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)
PASSWORD = "correct horse"


class Keys:
    """Signing keys, which `rotate` replaces with an overlap."""

    def __init__(self) -> None:
        self.secrets: list[bytes] = [b"k" * 32]

    def key(self, purpose: str) -> bytes:
        return self.secrets[0] + purpose.encode()

    def old_key(self, purpose: str) -> bytes | None:
        return self.secrets[1] + purpose.encode() if len(self.secrets) > 1 else None

    def rotate(self) -> None:
        self.secrets = [bytes([self.secrets[0][0] + 1]) * 32, self.secrets[0]]


async def added(
    people: Accounts, name: str, role: Role = Role.MEMBER, password: str | None = PASSWORD
) -> User:
    """A user that was made by the command line."""
    return await people.users.create(
        command_line(), NewUser(name, role, password=password), datetime.now(UTC)
    )


def as_caller(
    user: User,
    scopes: frozenset[Scope] | None = None,
    *,
    via: Via = Via.SESSION,
    groups: frozenset[str] = frozenset(),
) -> Caller:
    """The user as a caller, with all scopes of his role unless others are given."""
    role = Role(user.role)
    own = frozenset(Scope) if role is Role.ADMIN else MEMBER_SCOPES
    return Caller(user.name, user.id, role, own if scopes is None else scopes, groups, via, "192.0.2.1")


@asynccontextmanager
async def api_of(people: Accounts, bearer: str = "") -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API with a cookie jar of its own."""

    async def collect_files() -> None:
        """There are no files."""

    settings = SimpleNamespace(current=lambda: SimpleNamespace(http=HttpSettings()))
    async with client(
        as_="", people=people, authenticator=people.authenticator, collect_files=collect_files,
        settings=settings,
    ) as api:  # fmt: skip
        if bearer:
            api.headers["Authorization"] = f"Bearer {bearer}"
        yield api


@asynccontextmanager
async def signed_in(
    people: Accounts, name: str, password: str = PASSWORD
) -> AsyncIterator[httpx.AsyncClient]:
    """A browser that signed in."""
    async with api_of(people) as api:
        reply = await api.post("/session", json={"user_name": name, "password": password})
        assert reply.status_code == 201, reply.text
        yield api
