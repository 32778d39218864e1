"""Passkeys: signing in with one, and the caller's own; of other people for administrators."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import AfterValidator, Field, JsonValue

from mimi_mqtt.http import passkey_cookie, session_cookie
from mimi_mqtt.http.api.access import anyone, callers
from mimi_mqtt.http.api.accounts import Account
from mimi_mqtt.http.api.models import Input, Output
from mimi_mqtt.http.api.problems import Problem
from mimi_mqtt.http.api.services import ApiServices, Services
from mimi_mqtt.http.web_address import passkey_site
from mimi_mqtt.people.access import Caller, Scope
from mimi_mqtt.people.passkeys import MAX_CREDENTIAL_CHARS, Question, Site
from mimi_mqtt.people.rules import account_of
from mimi_mqtt.store.tables import Passkey as PasskeyRow

router = APIRouter(tags=["passkeys"])

Myself = Annotated[Caller, callers(Scope.PROFILE)]
Administrator = Annotated[Caller, callers(Scope.PEOPLE)]
PasskeyId = Annotated[str, Path(max_length=32, description="The id of a passkey")]


def _bounded(answer: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if len(str(answer)) > MAX_CREDENTIAL_CHARS:
        raise ValueError(f"it is longer than {MAX_CREDENTIAL_CHARS} characters")
    return answer


Credential = Annotated[
    dict[str, JsonValue],
    AfterValidator(_bounded),
    Field(description="A PublicKeyCredential as JSON (WebAuthn, section 5.1: toJSON)"),
]


class PasskeyQuestion(Output):
    """The options of `navigator.credentials`, as JSON. The cookie that comes with it holds the challenge."""

    options: dict[str, Any]


class PasskeyInput(Input):
    """A passkey that was made, and its name for the person."""

    name: str = Field(min_length=1, max_length=64)
    credential: Credential


class PasskeySignIn(Input):
    """The answer of an authenticator."""

    credential: Credential


class Passkey(Output):
    """A passkey."""

    id: str
    name: str
    host: str
    """The host name at which it was made, and at which alone it signs in."""
    synced: bool
    """True when a service keeps it on more than one device."""
    created_at: datetime
    used_at: datetime | None

    @classmethod
    def of(cls, rows: Sequence[PasskeyRow]) -> "list[Passkey]":
        """The passkeys in rows."""
        return [
            cls(
                id=row.id, name=row.name, host=row.rp_id, synced=row.synced, created_at=row.created_at,
                used_at=row.used_at,
            )
            for row in rows
        ]  # fmt: skip


def _site(request: Request, services: ApiServices) -> Site:
    return passkey_site(request, services.settings.current().http.public_url)


def _asked(question: Question, request: Request, response: Response) -> PasskeyQuestion:
    passkey_cookie.give(response, request, question.cookie)
    options: Mapping[str, Any] = question.options
    return PasskeyQuestion(options=dict(options))


@router.post("/session/passkey/options", tags=["session"])
@anyone
async def ask_for_passkey(request: Request, response: Response, services: Services) -> PasskeyQuestion:
    """Begins signing in with a passkey: the options for `navigator.credentials.get`. Nobody is named in them:
    the authenticator tells who it is."""
    site = _site(request, services)
    return _asked(await services.people.passkeys.ask_to_sign_in(site, datetime.now(UTC)), request, response)


@router.post("/session/passkey", status_code=201, tags=["session"])
@anyone
async def sign_in_with_passkey(
    given: PasskeySignIn, request: Request, response: Response, services: Services
) -> Account:
    """Signs in with a passkey: the answer sets the cookie `mimi_session`. 429 after too many wrong ones,
    which are counted with wrong passwords."""
    people, now = services.people, datetime.now(UTC)
    user = await people.passkeys.check(
        _site(request, services), passkey_cookie.shown(request), given.credential,
        session_cookie.holder_of(request), now,
    )  # fmt: skip
    if user is None:
        detail = "this passkey does not sign in here (any more): use another way"
        raise Problem(401, detail, headers={"WWW-Authenticate": "Bearer"})
    session = await people.sessions.begin(user, session_cookie.browser_of(request), now)
    passkey_cookie.take_back(response, request)
    session_cookie.give(response, request, session)
    return Account.of(user)


@router.get("/me/passkeys")
async def list_my_passkeys(caller: Myself, services: Services) -> list[Passkey]:
    """The passkeys that sign the caller in."""
    return Passkey.of(await services.people.passkeys.list(account_of(caller)))


@router.post("/me/passkeys/options")
async def ask_to_register_passkey(
    caller: Myself, request: Request, response: Response, services: Services
) -> PasskeyQuestion:
    """Begins the registration of a passkey: the options for `navigator.credentials.create`."""
    site = _site(request, services)
    question = await services.people.passkeys.ask_to_register(caller, site, datetime.now(UTC))
    return _asked(question, request, response)


@router.post("/me/passkeys", status_code=201)
async def register_passkey(
    given: PasskeyInput, caller: Myself, request: Request, response: Response, services: Services
) -> Passkey:
    """Registers the passkey that was made. Only for people who signed in, not by a key or a token."""
    row = await services.people.passkeys.register(
        caller, _site(request, services), passkey_cookie.shown(request), given.name, given.credential,
        datetime.now(UTC),
    )  # fmt: skip
    passkey_cookie.take_back(response, request)
    return Passkey.of([row])[0]


@router.delete("/me/passkeys/{passkey_id}", status_code=204)
async def remove_my_passkey(passkey_id: PasskeyId, caller: Myself, services: Services) -> None:
    """Removes one of the caller's passkeys. Sessions that it began go on."""
    await services.people.passkeys.revoke(caller, account_of(caller), passkey_id)


@router.get("/users/{user_id}/passkeys", tags=["people"])
async def list_user_passkeys(user_id: str, caller: Administrator, services: Services) -> list[Passkey]:
    """The passkeys that sign a person in."""
    user = await services.people.users.get(user_id)
    return Passkey.of(await services.people.passkeys.list(user.id))


@router.delete("/users/{user_id}/passkeys/{passkey_id}", status_code=204, tags=["people"])
async def remove_user_passkey(
    user_id: str, passkey_id: PasskeyId, caller: Administrator, services: Services
) -> None:
    """Removes a passkey of a person. Sessions that it began go on."""
    await services.people.passkeys.revoke(caller, user_id, passkey_id)
