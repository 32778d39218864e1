"""Endpoints of a companion server: it checks tokens here, and saves and reads what its people said.

The paths and fields are those that such servers are written for:

    POST /api/auth/verify           {"token"} -> {"valid", "user_id"}
    POST /api/memory/save           {"user_id", "conversation_id", "message", "response", "timestamp"}
    POST /api/conversation/save     {"user_id", "conversation_id", "messages": [{"role", "content"}],
                                     "summary"}
    GET  /api/memory/get/{user_id}  -> {"memories": [{"conversation_id", "summary", "last_updated"}]}

A caller shows a token that both servers believe, and is then that person; or an API key or a token of this
server, whose owner is one person, or an administrator who may speak for all.
"""

import asyncio
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    NaiveDatetime,
    StringConstraints,
    ValidationError,
)
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mimi_mqtt.errors import LoginRefused
from mimi_mqtt.http.clients import client_address
from mimi_mqtt.http.limits import MAX_JSON_VALUES, REFUSED, json_values, read_body
from mimi_mqtt.http.replies import json_reply
from mimi_mqtt.memory.companion import CompanionMemory
from mimi_mqtt.people import signed_tokens
from mimi_mqtt.people.access import Authenticator, Presented, Scope
from mimi_mqtt.people.shared_tokens import MAX_ID_CHARS, SharedTokens
from mimi_mqtt.people.signed_tokens import MAX_TOKEN_CHARS
from mimi_mqtt.shares import Rates, address_holder
from mimi_mqtt.store.companion import MAX_CONTENT_CHARS, MAX_MESSAGES
from mimi_mqtt.wire import strict_json

MAX_BODY_BYTES: Final = 1_048_576
"""Longest body of a request, in bytes."""
KEY_HEADER: Final = "x-api-key"
"""Header of an API key; `Authorization: Bearer` takes it, too."""

_BOUND: Final = "http.companion.MAX_BODY_BYTES"

_Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_CHARS, pattern=r"^[^\x00-\x1f\x7f]+$")]
_Text = Annotated[str, StringConstraints(max_length=MAX_CONTENT_CHARS)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class TokenToVerify(_Body):
    """A token to check."""

    token: Annotated[str, StringConstraints(min_length=1, max_length=MAX_TOKEN_CHARS)]


class Exchange(_Body):
    """A person's words, and the response. `timestamp` is ISO 8601, or seconds since 1970; without a zone it
    is UTC."""

    user_id: _Id
    conversation_id: _Id
    message: _Text
    response: _Text
    timestamp: AwareDatetime | NaiveDatetime | None = None


class Spoken(_Body):
    """One message."""

    role: Literal["user", "assistant", "system"]
    content: _Text


class WholeConversation(_Body):
    """A conversation at its end."""

    user_id: _Id
    conversation_id: _Id
    messages: list[Spoken] = Field(max_length=MAX_MESSAGES)
    summary: _Text = ""


_B = TypeVar("_B", bound=_Body)


@dataclass(frozen=True, slots=True)
class _Asker:
    """The asker: one person, or one who speaks for everybody (`user_id` None)."""

    name: str
    user_id: str | None


class CompanionEndpoints:
    """The endpoints. `authenticator` knows API keys and this server's own tokens, `tokens` the shared ones;
    `requests_per_minute` bounds each person, key and address."""

    def __init__(
        self,
        memory: CompanionMemory,
        tokens: SharedTokens,
        authenticator: Authenticator,
        *,
        requests_per_minute: int,
    ) -> None:
        self._memory = memory
        self._tokens = tokens
        self._authenticator = authenticator
        self._rates = Rates(requests_per_minute / 60, requests_per_minute)

    def routes(self) -> list[Route]:
        """Their routes."""
        return [
            Route("/api/auth/verify", self.verify, methods=["POST"]),
            Route("/api/memory/save", self.save_exchange, methods=["POST"]),
            Route("/api/conversation/save", self.save_conversation, methods=["POST"]),
            Route("/api/memory/get/{user_id}", self.memories, methods=["GET"]),
        ]

    async def verify(self, request: Request) -> Response:
        """Tells if a token is good, and its person; the token is in the body, or in the query."""
        self._count(f"address {_holder(request)}")
        token = request.query_params.get("token")
        if token is None:
            token = (await _body(request, TokenToVerify)).token
        user_id = await self._person_of(token, request)
        return json_reply({"valid": user_id is not None, "user_id": user_id})

    async def save_exchange(self, request: Request) -> Response:
        """Adds an exchange to a conversation."""
        asker = await self._asker(request, Scope.CONVERSATIONS_WRITE)
        given = await _body(request, Exchange)
        self._admit(asker, given.user_id)
        said_at = given.timestamp or datetime.now(UTC)
        try:
            said_at = said_at.replace(tzinfo=UTC) if said_at.tzinfo is None else said_at.astimezone(UTC)
        except OverflowError:
            raise HTTPException(422, "timestamp: this moment can't be told in UTC") from None
        await self._memory.save_exchange(
            given.user_id, given.conversation_id, given.message, given.response, said_at
        )
        return json_reply({"success": True})

    async def save_conversation(self, request: Request) -> Response:
        """Saves a whole conversation."""
        asker = await self._asker(request, Scope.CONVERSATIONS_WRITE)
        given = await _body(request, WholeConversation)
        self._admit(asker, given.user_id)
        await self._memory.save_conversation(
            given.user_id,
            given.conversation_id,
            [(each.role, each.content) for each in given.messages],
            given.summary,
        )
        return json_reply({"success": True})

    async def memories(self, request: Request) -> Response:
        """A person's conversations in short."""
        asker = await self._asker(request, Scope.CONVERSATIONS_READ)
        user_id = request.path_params["user_id"]
        self._admit(asker, user_id)
        found = await self._memory.memories(user_id)
        return json_reply(
            {
                "memories": [
                    {
                        "conversation_id": each.conversation_id,
                        "summary": each.summary,
                        "last_updated": each.last_updated.isoformat(),
                    }
                    for each in found
                ]
            }
        )

    async def _asker(self, request: Request, scope: Scope) -> _Asker:
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        token = bearer.strip() if scheme.lower() == "bearer" else request.headers.get(KEY_HEADER, "")
        if not token:
            raise _refused(401, "send a token or an API key as `Authorization: Bearer …`")
        await signed_tokens.load()
        if (user_id := self._tokens.user_id(token)) is not None:
            asker = _Asker(f"person {user_id}", user_id)
        else:
            caller = await self._caller(token, request)
            if caller is None:
                self._count(f"address {_holder(request)}")
                raise _refused(401, "the token or API key is not valid (any more)")
            if not caller.may(scope):
                raise HTTPException(403, f"this needs the scope {scope.value}, which the key does not have")
            asker = _Asker(f"caller {caller.name}", None if caller.is_admin else caller.user_id)
        self._count(asker.name)
        return asker

    async def _person_of(self, token: str, request: Request) -> str | None:
        await signed_tokens.load()
        if (user_id := self._tokens.user_id(token)) is not None:
            return user_id
        caller = await self._caller(token, request)
        return (caller.user_id or None) if caller is not None else None

    async def _caller(self, token: str, request: Request) -> Any:
        try:
            return await self._authenticator.authenticate(Presented(token, "", _holder(request)))
        except LoginRefused as error:
            raise HTTPException(429, str(error), {"Retry-After": "60"}) from None

    @staticmethod
    def _admit(asker: _Asker, user_id: str) -> None:
        if asker.user_id is not None and asker.user_id != user_id:
            raise HTTPException(403, "a token or key of one person does not reach another's conversations")

    def _count(self, holder: str) -> None:
        now = asyncio.get_running_loop().time()
        if not self._rates.take(holder, now):
            REFUSED.labels("companion").inc()
            raise HTTPException(
                429,
                "too many requests (companion.requests_per_minute)",
                {"Retry-After": str(max(1, math.ceil(self._rates.wait_s(holder, now))))},
            )


async def _body(request: Request, kind: type[_B]) -> _B:
    raw = await read_body(request, MAX_BODY_BYTES, _BOUND)
    if json_values(raw) > MAX_JSON_VALUES:
        REFUSED.labels("body_size").inc()
        raise HTTPException(413, f"the body has more than {MAX_JSON_VALUES} values")
    try:
        return kind.model_validate(strict_json.loads(raw))
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part)[:40] for part in found["loc"])
        raise HTTPException(422, f"{where or 'the body'}: {found['msg']}") from None
    except ValueError as error:
        raise HTTPException(400, f"the body is not JSON: {error}"[:300]) from None


def _refused(status: int, message: str) -> HTTPException:
    return HTTPException(status, message, {"WWW-Authenticate": "Bearer"})


def _holder(request: Request) -> str:
    return address_holder(client_address(request.scope))
