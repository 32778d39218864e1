"""Endpoints of a companion server, by the paths and fields that such servers are written for."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from mimi_mqtt.config import Settings
from mimi_mqtt.errors import LoginRefused
from mimi_mqtt.http.companion import MAX_BODY_BYTES, CompanionEndpoints
from mimi_mqtt.http.limits import MAX_JSON_VALUES
from mimi_mqtt.http.replies import error_reply
from mimi_mqtt.memory.companion import CompanionMemory
from mimi_mqtt.people.access import Caller, Presented, Role, Scope
from mimi_mqtt.people.shared_tokens import SharedTokens, shared_secrets
from mimi_mqtt.store import companion
from mimi_mqtt.store.companion import MAX_CONTENT_CHARS, MAX_CONVERSATIONS, MAX_MESSAGES
from tests.databases import sqlite_store
from tests.fakes.api import ADMIN, MEMBER, KnownCallers

SECRET = b"s" * 32
READER = Caller("reader", "u-bob", Role.MEMBER, frozenset({Scope.CONVERSATIONS_READ}))


def token(
    user_id: str | None = "mia", key: bytes | None = SECRET, algorithm: str = "HS256", **claims: Any
) -> str:
    told = {"user_id": user_id, "exp": 4_000_000_000, **claims}
    return jwt.encode(
        {name: value for name, value in told.items() if value is not None},
        key,  # type: ignore[arg-type] # none for the algorithm none
        algorithm,
    )


@pytest.fixture
async def memory(tmp_path: Path) -> AsyncIterator[CompanionMemory]:
    store = sqlite_store(tmp_path)
    await store.open()
    yield CompanionMemory(store, keep_days=30)
    await store.aclose()


Client = Callable[..., httpx.AsyncClient]


@pytest.fixture
def client(memory: CompanionMemory) -> Client:
    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return error_reply(error.status_code, error.detail, error.headers)

    def made(bearer: str = "", *, per_minute: int = 1_000, **headers: str) -> httpx.AsyncClient:
        endpoints = CompanionEndpoints(
            memory,
            SharedTokens((SECRET,)),
            KnownCallers(ada=ADMIN, bob=MEMBER, reader=READER),
            requests_per_minute=per_minute,
        )
        app = Starlette(routes=endpoints.routes(), exception_handlers={HTTPException: refused})
        shown = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://mimi.test", headers={**shown, **headers}
        )

    return made


def exchange(user_id: str = "mia", **fields: object) -> dict[str, object]:
    said = {"user_id": user_id, "conversation_id": "c1", "message": "tea?", "response": "With milk."}
    return {**said, "timestamp": "2026-11-01T08:00:00Z", **fields}


async def test_a_token_of_the_shared_secret_is_verified(client: Client) -> None:
    async with client() as api:
        answer = await api.post("/api/auth/verify", json={"token": token()})
        assert answer.json() == {"valid": True, "user_id": "mia"}
        assert (await api.post("/api/auth/verify", params={"token": token()})).json()["valid"]
        by_subject = token(None, sub="mia")
        assert (await api.post("/api/auth/verify", json={"token": by_subject})).json()["user_id"] == "mia"


@pytest.mark.parametrize(
    "wrong",
    [
        token(key=b"t" * 32),
        token(exp=1_000_000_000),
        token(exp=None),
        token(user_id=""),
        token(user_id="x" * 200),
        token(key=None, algorithm="none"),
        token(key=SECRET * 2, algorithm="HS512"),
        "not.a.token",
        "x",
    ],
    ids=range(9),
)
async def test_a_wrong_token_is_not_valid(client: Client, wrong: str) -> None:
    async with client() as api:
        answer = await api.post("/api/auth/verify", json={"token": wrong})
    assert (answer.status_code, answer.json()) == (200, {"valid": False, "user_id": None})


async def test_exchanges_and_summaries_are_saved_and_told(client: Client) -> None:
    async with client(token()) as api:
        assert (await api.post("/api/memory/save", json=exchange())).status_code == 200
        (memory,) = (await api.get("/api/memory/get/mia")).json()["memories"]
        assert set(memory) == {"conversation_id", "summary", "last_updated"}
        assert memory["summary"] == "tea?\nWith milk."
        whole = {
            "user_id": "mia", "conversation_id": "c1", "summary": "She drinks tea.",
            "messages": [{"role": "user", "content": "tea?"}, {"role": "assistant", "content": "Yes."}],
        }  # fmt: skip
        assert (await api.post("/api/conversation/save", json=whole)).status_code == 200
        (memory,) = (await api.get("/api/memory/get/mia")).json()["memories"]
        assert memory["summary"] == "She drinks tea."


@pytest.mark.parametrize(
    ("bearer", "user_id", "status"),
    [
        (token("mia"), "mia", 200),
        (token("mia"), "tom", 403),
        ("bob", "u-bob", 200),
        ("bob", "mia", 403),
        ("reader", "u-bob", 403),
        ("ada", "mia", 200),
        ("nobody", "mia", 401),
        ("", "mia", 401),
    ],
)
async def test_a_person_reaches_his_own_conversations_alone(
    client: Client, bearer: str, user_id: str, status: int
) -> None:
    async with client(bearer) as api:
        assert (await api.post("/api/memory/save", json=exchange(user_id))).status_code == status
        read = (await api.get(f"/api/memory/get/{user_id}")).status_code
        assert read == (200 if bearer == "reader" else status)


async def test_an_api_key_may_come_in_a_header_of_its_own(client: Client) -> None:
    async with client(**{"X-API-Key": "bob"}) as api:
        assert (await api.get("/api/memory/get/u-bob")).json() == {"memories": []}


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"message": "x" * (MAX_CONTENT_CHARS + 1)}, 422),
        ({"user_id": ""}, 422),
        ({"user_id": "a\u0000b"}, 400),
        ({"user_id": "a\nb"}, 422),
        ({"conversation_id": "c" * 129}, 422),
        ({"timestamp": "yesterday"}, 422),
        ({"mood": "good"}, 422),
        ({"message": None}, 422),
        ({"message": "x" * MAX_BODY_BYTES}, 413),
        ({"message": ["x"] * (MAX_JSON_VALUES + 1)}, 413),
        ({"timestamp": "0001-01-01T00:00:00+14:00"}, 422),
        ({"timestamp": "2026-11-01T08:00:00"}, 200),
        ({"timestamp": 1_790_000_000}, 200),
    ],
)
async def test_fields_are_checked(client: Client, fields: dict[str, object], status: int) -> None:
    async with client("ada") as api:
        answer = await api.post("/api/memory/save", json=exchange(**fields))  # type: ignore[arg-type]
    assert answer.status_code == status
    assert status == 200 or answer.json()["error"]


async def test_who_asks_too_often_is_told_when_to_come_back(client: Client) -> None:
    async with client(token(), per_minute=2) as api:
        answers = [await api.get("/api/memory/get/mia") for _ in range(3)]
    assert [each.status_code for each in answers] == [200, 200, 429]
    assert int(answers[2].headers["retry-after"]) >= 1


async def test_guesses_of_tokens_are_counted_by_address(client: Client) -> None:
    async with client("guess", per_minute=2) as api:
        answers = [await api.get("/api/memory/get/mia") for _ in range(3)]
        assert [each.status_code for each in answers] == [401, 401, 429]
        verified = await api.post("/api/auth/verify", json={"token": "x"})
        assert verified.status_code == 429


async def test_a_caller_that_is_not_checked_is_told_to_wait(memory: CompanionMemory) -> None:
    class Busy:
        async def authenticate(self, shown: Presented) -> Caller | None:
            raise LoginRefused("too many were wrong")

    endpoints = CompanionEndpoints(memory, SharedTokens(()), Busy(), requests_per_minute=9)
    app = Starlette(routes=endpoints.routes())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://mimi.test") as api:
        answer = await api.get("/api/memory/get/mia", headers={"Authorization": "Bearer mk_x"})
    assert answer.status_code == 429


async def test_what_is_kept_of_a_person_is_bounded(memory: CompanionMemory) -> None:
    for number in range(MAX_CONVERSATIONS + 3):
        await memory.save_conversation("mia", f"c{number}", [("user", "hi")], "")
    found = await memory.memories("mia")
    assert [each.conversation_id for each in found][:2] == [
        f"c{MAX_CONVERSATIONS + 2}", f"c{MAX_CONVERSATIONS + 1}",
    ]  # fmt: skip
    assert len(found) == MAX_CONVERSATIONS


async def test_a_long_conversation_loses_its_oldest_messages(memory: CompanionMemory) -> None:
    messages = [("user", f"m{number}") for number in range(MAX_MESSAGES)]
    await memory.save_conversation("mia", "c", messages, "")
    store = memory._store
    async with store.write() as session:
        (first,) = (await companion.messages_of(session, "mia", "c"))[:1]
        await companion.add_messages(session, "mia", "c", [first, first], first.said_at)
    async with store.read() as session:
        kept = await companion.messages_of(session, "mia", "c")
    assert [each.content for each in kept] == [f"m{n}" for n in range(2, MAX_MESSAGES)] + ["m0", "m0"]


async def test_a_person_whose_name_no_database_keeps_has_no_conversations() -> None:
    """PostgreSQL refuses U+0000: `/api/memory/get/%00` was answered 503. This session would be refused."""
    assert not await companion.memories(AsyncSession(), "mia\0")


async def test_what_is_too_old_is_deleted(memory: CompanionMemory) -> None:
    await memory.save_conversation("mia", "c", [("user", "hi")], "")
    await CompanionMemory(memory._store, keep_days=1)._prune()
    assert len(await memory.memories("mia")) == 1
    await CompanionMemory(memory._store, keep_days=-1)._prune()
    assert await memory.memories("mia") == []


@pytest.mark.parametrize(
    ("environ", "number"),
    [
        ({}, 0),
        ({"JWT_SECRET_KEY": "short"}, 0),
        ({"JWT_SECRET_KEY": "k" * 32}, 1),
        ({"JWT_SECRET_KEY": "k" * 32, "NEKOTA_JWT_SECRET": "k" * 32}, 1),
        ({"JWT_SECRET_KEY": "k" * 32, "NEKOTA_JWT_SECRET": "n" * 40}, 2),
    ],
)
def test_the_secret_comes_from_the_environment(environ: dict[str, str], number: int) -> None:
    assert len(shared_secrets(Settings(), environ)) == number


def test_the_secret_of_the_settings_is_the_only_one() -> None:
    settings = Settings.model_validate({"companion": {"jwt_secret": "c" * 32}})
    assert shared_secrets(settings, {"JWT_SECRET_KEY": "k" * 32}) == (b"c" * 32,)


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="openssl rand"):
        Settings.model_validate({"companion": {"jwt_secret": "c" * 31}})


def test_without_a_secret_no_token_is_good() -> None:
    assert SharedTokens(()).user_id(token()) is None
