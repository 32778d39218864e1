"""A member gets 404 for what is others', a stranger 401, and a key without the scope 403, for every route."""

import importlib
import pkgutil
import re
from pathlib import Path

import httpx
import pytest
from fastapi.routing import APIRoute

from mimi_mqtt.http.api.access import is_open
from mimi_mqtt.people.access import MEMBER_SCOPES, Caller, Role, Scope
from tests.fakes.api import KnownCallers, client
from tests.unit.http.api import isolation
from tests.unit.http.api.isolation.example import Example
from tests.unit.http.api.test_routes import ROUTES, scopes

EXAMPLES: dict[str, Example] = {
    name: example
    for module in pkgutil.iter_modules(isolation.__path__)
    for name, example in getattr(
        importlib.import_module(f"{isolation.__name__}.{module.name}"), "EXAMPLES", {}
    ).items()
}

CLOSED = [route for route in ROUTES if not is_open(route.endpoint)]
OF_MEMBERS = [route for route in CLOSED if (scopes(route.dependant) or set()) <= set(MEMBER_SCOPES)]
"""Routes that a member may call at all."""
WITHOUT_OTHERS: dict[str, str] = {
    "change_my_password": "names nobody: the password of the caller, who knows the present one",
    "create_key": "names nobody: a key of the caller's account",
    "ask_to_register_passkey": "names nobody: a question to the caller, with his own passkeys",
    "register_passkey": "names nobody: a passkey of the caller's account",
    "end_my_sessions": "names nobody; test_people.py has a test that others stay signed in",
    "list_agents": "agents are the server's; test_managed.py has tests of what members are not told",
    "read_agent": "agents are the server's; test_managed.py has tests of what members are not told",
    "plan_reminder": "names nothing: it computes times, and sets nothing",
    "list_licences": "packages are the server's",
    "list_voices": "voices come with packages and models",
    "read_licence": "packages are the server's",
}
"""Routes of members that need no example, with the reason: they name nothing, and tell of nobody else."""


def _ids(route: APIRoute) -> str:
    return route.name


def _method(route: APIRoute) -> str:
    return min(route.methods or ())


def _some_path(route: APIRoute) -> str:
    return re.sub(r"\{[^}]+\}", "x", route.path)


def _named(example: str) -> str:
    """The name of an example's route."""
    return example.partition("/")[0]


def _detail(answer: httpx.Response, *told: str) -> tuple[int, str]:
    """The status and sentence of an error, without what the request itself told."""
    detail = str(answer.json()["detail"])
    for word in told:
        detail = detail.replace(word, "(told)")
    return answer.status_code, detail


def test_there_is_an_example_for_every_route_that_a_member_may_call() -> None:
    wanted = {route.name for route in OF_MEMBERS} - WITHOUT_OTHERS.keys()
    named = {_named(name) for name in EXAMPLES}
    assert wanted - named == set(), "add examples to a module of tests/unit/http/api/isolation"
    assert named - wanted == set(), "there are no such routes of members, or they need no example"
    assert WITHOUT_OTHERS.keys() <= {route.name for route in OF_MEMBERS}


@pytest.mark.parametrize("name", EXAMPLES)
async def test_what_is_others_does_not_exist(name: str, tmp_path: Path) -> None:
    example, route = EXAMPLES[name], next(route for route in OF_MEMBERS if route.name == _named(name))
    answers = {}
    for caller in ("eve", "bob"):
        folder = tmp_path / caller
        folder.mkdir()
        async with example.parts(folder) as parts, client(as_=caller, **parts) as api:
            answers[caller] = await api.request(
                _method(route), example.path, json=example.json, content=example.content
            )
            if example.nowhere and caller == "eve":
                answers["nowhere"] = await api.request(
                    _method(route), example.nowhere, json=example.nowhere_json or example.json
                )
    eve, bob = answers["eve"], answers["bob"]
    if example.marker:
        assert (eve.status_code, bob.status_code) == (200, 200)
        assert example.marker in bob.text
        assert example.marker not in eve.text
        return
    assert eve.status_code == 404
    assert eve.headers["content-type"] == "application/problem+json"
    assert bob.status_code not in (401, 403, 404, 405)
    assert bob.status_code < 500
    if example.nowhere:
        theirs = set(re.split("[/?&=]", example.path)) - set(re.split("[/?&=]", example.nowhere))
        none = set(re.split("[/?&=]", example.nowhere)) - set(re.split("[/?&=]", example.path))
        assert _detail(eve, *theirs) == _detail(answers["nowhere"], *none)


@pytest.mark.parametrize("route", CLOSED, ids=_ids)
async def test_a_stranger_is_asked_to_sign_in(route: APIRoute) -> None:
    for as_ in ("", "nobody"):
        async with client(as_=as_) as api:
            answer = await api.request(_method(route), _some_path(route))
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("route", CLOSED, ids=_ids)
async def test_a_key_without_the_scope_is_refused(route: APIRoute) -> None:
    others = frozenset(Scope) - {Scope(name) for name in scopes(route.dependant) or ()}
    keys = KnownCallers(
        member=Caller("bob", "u-bob", Role.MEMBER, others), admin=Caller("ada", "u-ada", Role.ADMIN, others)
    )
    for as_ in ("member", "admin"):
        async with client(as_=as_, authenticator=keys) as api:
            answer = await api.request(_method(route), _some_path(route))
        assert answer.status_code == 403


@pytest.mark.parametrize("route", [each for each in CLOSED if each not in OF_MEMBERS], ids=_ids)
async def test_what_is_for_administrators_is_refused_to_members(route: APIRoute) -> None:
    async with client(as_="bob") as api:
        assert (await api.request(_method(route), _some_path(route))).status_code == 403
