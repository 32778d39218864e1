"""Errors, callers, pages and versions that all routes of the API share."""

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated

import pytest
from fastapi import APIRouter, Request, Response
from pydantic import TypeAdapter, ValidationError

from mimi_mqtt.errors import Conflict, Invalid, LimitReached, NotFound, StoreError
from mimi_mqtt.http.api import etags
from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.app import build_api
from mimi_mqtt.http.api.bodies import IDLE_TIMEOUT_S, MAX_BODY_BYTES, stream
from mimi_mqtt.http.api.paging import Cursor, Limit, Page, cursor_of, key_of, moment_in, page_of
from mimi_mqtt.http.api.scalars import NoNumber
from mimi_mqtt.http.limits import MAX_JSON_VALUES
from mimi_mqtt.people.access import MEMBER_SCOPES, Caller, Role, Scope
from mimi_mqtt.store.engine import StoreConflict
from tests.fakes.api import client, services

router = APIRouter(prefix="/made")
FAILURES = {
    "not-found": NotFound("no such lamp"), "conflict": Conflict("there is one"),
    "invalid": Invalid("too red"),
    "limit": LimitReached("three lamps at most", 5), "store": StoreError("password of the database"),
    "store-conflict": StoreConflict("UNIQUE failed: devices.password"),
    "bug": ZeroDivisionError("1/0"),
}  # fmt: skip


@router.get("/fails/{how}")
async def fails(how: str, caller: Annotated[Caller, callers(Scope.DEVICES_READ)]) -> None:
    raise FAILURES[how]


@router.get("/people")
async def people(caller: Annotated[Caller, callers(Scope.PEOPLE)]) -> str:
    return caller.name


@router.get("/numbers")
async def numbers(
    caller: Annotated[Caller, callers(Scope.DEVICES_READ)], cursor: Cursor = None, limit: Limit = 2
) -> Page[int]:
    key = key_of(cursor, int)
    begin = int(key[0]) + 1 if key is not None else 0
    found = list(range(begin, min(5, begin + limit + 1)))
    return page_of(found, limit, found[min(limit, len(found)) - 1] if found else -1)


@router.put("/lamp")
async def change(
    colour: dict[str, str],
    caller: Annotated[Caller, callers(Scope.DEVICES_WRITE)],
    response: Response,
    if_match: etags.IfMatch = None,
) -> str:
    etags.check(if_match, 7)
    etags.tell(response, 8)
    return colour["colour"]


@router.post("/file")
async def take_file(request: Request, caller: Annotated[Caller, callers(Scope.FILES_WRITE)]) -> int:
    return sum([len(part) async for part in stream(request, 3 * MAX_BODY_BYTES)])


_JSON = {"content-type": "application/json"}


@pytest.fixture
def made() -> object:
    return build_api(services(), [router])


async def ask(made: object, method: str, path: str, as_: str = "bob", **options: object):  # type: ignore[no-untyped-def]
    async with client(made, as_=as_) as api:  # type: ignore[arg-type]
        return await api.request(method, path, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ("not-found", 404),
        ("conflict", 409),
        ("invalid", 422),
        ("limit", 429),
        ("store", 503),
        ("store-conflict", 409),
        ("bug", 500),
    ],
)
async def test_what_parts_raise_becomes_a_problem_document(made: object, how: str, status: int) -> None:
    answer = await ask(made, "GET", f"/made/fails/{how}")
    assert answer.status_code == status == answer.json()["status"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["title"]
    assert answer.json()["detail"]
    assert "password" not in answer.text
    assert "1/0" not in answer.text
    assert answer.headers.get("retry-after") == {"limit": "5", "store": "10"}.get(how)


async def test_errors_of_the_framework_are_problem_documents_too(made: object) -> None:
    for method, path, options, status in (
        ("GET", "/nowhere", {}, 404),
        ("GET", "/made/lamp", {}, 405),
        ("GET", "/made/numbers?limit=x", {}, 422),
        ("PUT", "/made/lamp", {"content": b"{", "headers": {"content-type": "application/json"}}, 400),
        ("PUT", "/made/lamp", {"content": b"x" * (MAX_BODY_BYTES + 1)}, 413),
    ):  # fmt: skip
        answer = await ask(made, method, path, **options)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


async def test_a_short_password_is_told_in_characters() -> None:
    async with client(as_="") as api:
        answer = await api.post("/setup", json={"token": "t", "user_name": "ada", "password": "short"})
    assert answer.json()["detail"] == "password: Value should have at least 8 characters, not 5"


async def test_the_place_of_a_deep_field_is_cut() -> None:
    deep = b'{"profile":{"a":' + b"[" * 900 + b"]" * 900 + b"}}"
    async with client() as api:
        answer = await api.patch("/me", content=deep, headers=_JSON)
    assert answer.status_code == 422
    assert len(answer.text) < 1_000


async def test_a_file_has_a_bound_of_its_own(made: object) -> None:
    async def parts(number: int) -> AsyncIterator[bytes]:
        for _ in range(number):
            yield b"x" * 65_536

    for number, status in ((48, 200), (49, 413)):
        answer = await ask(made, "POST", "/made/file", content=parts(number))
        assert answer.status_code == status
    assert (await ask(made, "PUT", "/made/lamp", content=parts(17))).status_code == 413


async def test_a_body_of_many_small_values_is_refused_before_it_is_read(made: object) -> None:
    many = b'{"colour":[' + b"[]," * MAX_JSON_VALUES + b"[]]}"
    answer = await ask(made, "PUT", "/made/lamp", content=many, headers=_JSON)
    assert (answer.status_code, answer.json()["detail"]) == (413, "the body is larger than 30000 values")
    text = b'{"colour":"' + b"," * (MAX_JSON_VALUES - 9) + b'"}'
    assert (await ask(made, "PUT", "/made/lamp", "ada", content=text, headers=_JSON)).status_code == 200
    commas = b"," * (MAX_JSON_VALUES + 1)
    assert (await ask(made, "POST", "/made/file", "ada", content=commas)).json() == len(commas)


@pytest.mark.virtual_time
async def test_a_file_that_trickles_is_broken_off(made: object) -> None:
    async def trickle() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(IDLE_TIMEOUT_S - 1)
            yield b"x"

    assert (await ask(made, "POST", "/made/file", "ada", content=trickle())).status_code == 408


async def test_a_path_that_has_other_methods_tells_them(made: object) -> None:
    assert (await ask(made, "GET", "/made/lamp")).headers["allow"] == "PUT"


@pytest.mark.parametrize(("as_", "status"), [("", 401), ("nobody", 401), ("bob", 403), ("ada", 200)])
async def test_callers_without_the_scope_are_refused(made: object, as_: str, status: int) -> None:
    answer = await ask(made, "GET", "/made/people", as_)
    assert answer.status_code == status
    assert ("www-authenticate" in answer.headers) == (status == 401)


async def test_pages_follow_each_other_without_gap_or_repetition(made: object) -> None:
    found: list[int] = []
    path = "/made/numbers"
    while True:
        page = (await ask(made, "GET", path)).json()
        found += page["items"]
        if page["next"] is None:
            break
        path = f"/made/numbers?cursor={page['next']}"
    assert found == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "cursor", ["x", "%00", cursor_of("text"), cursor_of(1, 2), cursor_of(True), "W10", cursor_of(2**63)]
)
async def test_a_cursor_that_was_not_given_is_refused(made: object, cursor: str) -> None:
    assert (await ask(made, "GET", "/made/numbers", params={"cursor": cursor})).status_code == 422


@pytest.mark.parametrize("packed", ['["\\ud800"]', '["a\\u0000b"]'])
def test_a_cursor_with_a_text_that_no_database_takes_is_refused(packed: str) -> None:
    cursor = base64.urlsafe_b64encode(packed.encode()).rstrip(b"=").decode()
    with pytest.raises(Invalid, match="cursor"):
        key_of(cursor, str)


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-11-27", "2026-11-27T12:00:00", "9999-12-31T23:59:59-23:59"]
)
def test_a_moment_that_no_cursor_has_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="cursor"):
        moment_in(text)
    assert moment_in("2026-11-27T12:00:00+01:00").isoformat() == "2026-11-27T11:00:00+00:00"


@pytest.mark.parametrize(("path", "status"), [("/made/%00", 404), ("/made/numbers?cursor=a%00", 422)])
async def test_the_null_character_reaches_no_query(made: object, path: str, status: int) -> None:
    answer = await ask(made, "GET", path)
    assert answer.status_code == status
    assert "U+0000" in answer.json()["detail"]


@pytest.mark.parametrize("given", ["0.5", "1e9", "-1", "inf", 0, 1.5])
def test_a_number_is_no_time(given: object) -> None:
    with pytest.raises(ValidationError, match="ISO 8601"):
        TypeAdapter(Annotated[datetime | None, NoNumber]).validate_python(given)


@pytest.mark.parametrize("given", ["2026-11-27", "2026-11-27T09:30:00Z", datetime(2026, 11, 27), None])
def test_times_and_their_absence_are_taken(given: object) -> None:
    found = TypeAdapter(Annotated[datetime | None, NoNumber]).validate_python(given)
    assert (found is None) == (given is None)


@pytest.mark.parametrize(
    ("if_match", "status"), [(None, 200), ("*", 200), ('"7"', 200), ('"6", "7"', 200), ('"6"', 412)]
)
async def test_a_change_of_an_older_version_is_refused(
    made: object, if_match: str | None, status: int
) -> None:
    headers = {"If-Match": if_match} if if_match else {}
    answer = await ask(made, "PUT", "/made/lamp", headers=headers, json={"colour": "red"})
    assert answer.status_code == status
    assert answer.headers["etag"] == ('"7"' if status == 412 else '"8"')


def test_a_role_bounds_the_scopes_of_a_key() -> None:
    caller = Caller("bob", "u", Role.MEMBER, frozenset({Scope.PEOPLE, Scope.COMMANDS}))
    assert caller.may(Scope.COMMANDS)
    assert not caller.may(Scope.PEOPLE)


def test_a_member_sees_what_is_his_or_of_his_groups() -> None:
    bob = Caller("bob", "u-bob", Role.MEMBER, MEMBER_SCOPES, frozenset({"g"}))
    assert bob.sees("u-bob")
    assert bob.sees("u-ada", "g")
    assert not bob.sees("u-ada", "h")
    assert not bob.sees("", "")
    assert not Caller("", "", Role.MEMBER, MEMBER_SCOPES).sees("")
