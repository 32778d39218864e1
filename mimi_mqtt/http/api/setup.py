"""Uses of one-time links: the first administrator, and a new password."""

from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response
from pydantic import Field, SecretStr

from mimi_mqtt.http import session_cookie
from mimi_mqtt.http.api.access import anyone
from mimi_mqtt.http.api.accounts import Account
from mimi_mqtt.http.api.models import Input
from mimi_mqtt.http.api.services import Services
from mimi_mqtt.passwords import MAX_BYTES, MIN_CHARS
from mimi_mqtt.people.access import Role
from mimi_mqtt.people.users import NewUser

router = APIRouter(prefix="/setup", tags=["session"])


class FirstAdministrator(Input):
    """The first administrator, and the token of the link that the server printed."""

    token: SecretStr = Field(max_length=64)
    user_name: str = Field(max_length=256)
    password: SecretStr = Field(min_length=MIN_CHARS, max_length=MAX_BYTES)
    display_name: str = Field("", max_length=64)


class NewPassword(Input):
    """A new password, and the token of a link to set it."""

    token: SecretStr = Field(max_length=64)
    password: SecretStr = Field(min_length=MIN_CHARS, max_length=MAX_BYTES)


@router.post("", status_code=201)
@anyone
async def set_up(
    given: FirstAdministrator, request: Request, response: Response, services: Services
) -> Account:
    """Makes the first administrator, once, and signs him in."""
    people, now = services.people, datetime.now(UTC)
    new = NewUser(
        given.user_name,
        Role.ADMIN,
        password=given.password.get_secret_value(),
        display_name=given.display_name,
    )
    holder = session_cookie.holder_of(request)
    user = await people.links.set_up(given.token.get_secret_value(), new, holder, now)
    session = await people.sessions.begin(user, session_cookie.browser_of(request), now)
    session_cookie.give(response, request, session)
    return Account.of(user)


@router.post("/password", status_code=204)
@anyone
async def reset_password(given: NewPassword, request: Request, services: Services) -> None:
    """Sets the password of the account that the link is for, once; its sessions and tokens end."""
    await services.people.links.reset_password(
        given.token.get_secret_value(),
        given.password.get_secret_value(),
        session_cookie.holder_of(request),
        datetime.now(UTC),
    )
