"""The REST API in a test: its application on a client of its own, with the parts that the test gives."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import fields
from functools import lru_cache
from typing import Any

import httpx
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.datastructures import State
from starlette.routing import Mount

from mimi_mqtt.http.api.app import build_api
from mimi_mqtt.http.api.loading import API_PREFIX
from mimi_mqtt.http.api.rates import CallerRates
from mimi_mqtt.http.api.services import ApiServices
from mimi_mqtt.people.access import MEMBER_SCOPES, Caller, Presented, Role, Scope
from mimi_mqtt.shares import Ledger

ADMIN = Caller("ada", "u-ada", Role.ADMIN, frozenset(Scope))
MEMBER = Caller("bob", "u-bob", Role.MEMBER, MEMBER_SCOPES, frozenset({"g-home"}))
STRANGER = Caller("eve", "u-eve", Role.MEMBER, MEMBER_SCOPES)


class KnownCallers:
    """Callers by their bearer token. An `Authenticator`."""

    def __init__(self, **callers: Caller) -> None:
        self._callers = callers

    async def authenticate(self, shown: Presented) -> Caller | None:
        return self._callers.get(shown.bearer)


class Missing:
    """A part that the test did not give: using it fails."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, what: str) -> Any:
        raise AssertionError(f"the test gave no {self._name}, and {what} of it is used")


def services(**given: object) -> ApiServices:
    """The parts of the server, `Missing` but for those given; ada, bob and eve may call by default."""
    given.setdefault("authenticator", KnownCallers(ada=ADMIN, bob=MEMBER, eve=STRANGER))
    given.setdefault("rates", CallerRates(Ledger()))
    parts = {field.name: given.pop(field.name, Missing(field.name)) for field in fields(ApiServices)}
    assert not given, f"there is no such part: {', '.join(given)}"
    return ApiServices(**parts)  # type: ignore[arg-type]


@lru_cache(maxsize=1)
def _built() -> FastAPI:
    """The API with all its routes, which takes a while to build."""
    return build_api(services())


def _with(parts: ApiServices) -> FastAPI:
    """The API with these parts."""
    app = copy(_built())
    app.state = State({"services": parts})
    return app


@asynccontextmanager
async def client(
    app: FastAPI | None = None, /, *, as_: str = "ada", **given: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API, mounted as in the server; `as_` is the caller by name, "" for none."""
    app = app or _with(services(**given))
    transport = httpx.ASGITransport(Starlette(routes=[Mount(API_PREFIX, app)]), raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {as_}"} if as_ else {}
    async with httpx.AsyncClient(
        timeout=60.0, transport=transport, base_url=f"http://mimi.test{API_PREFIX}", headers=headers
    ) as found:
        yield found
