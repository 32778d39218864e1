"""Signed tokens (JWT) for programs, good for minutes."""

from datetime import UTC, datetime

from fastapi import APIRouter, Request
from pydantic import Field, SecretStr, model_validator

from mimi_mqtt.http.api import access
from mimi_mqtt.http.api.access import anyone
from mimi_mqtt.http.api.models import Input, Output
from mimi_mqtt.http.api.services import Services
from mimi_mqtt.http.api.session import PasswordSignIn, signed_in
from mimi_mqtt.passwords import MAX_BYTES
from mimi_mqtt.people import signed_tokens
from mimi_mqtt.people.access import Scope
from mimi_mqtt.people.tokens import DEFAULT_TOKEN_S, MAX_TOKEN_S, MIN_TOKEN_S, Issued

router = APIRouter(prefix="/tokens", tags=["session"])


class TokenRequest(Input):
    """A token to make. Without a user name it is for whoever the session or the API key of the request is."""

    user_name: str | None = Field(None, min_length=1, max_length=256)
    password: SecretStr | None = Field(None, min_length=1, max_length=MAX_BYTES)
    scopes: list[Scope] = Field(default_factory=list, max_length=len(Scope))
    """The scopes of the token. Empty: all that the caller may do."""
    expires_in_s: int = Field(DEFAULT_TOKEN_S, ge=MIN_TOKEN_S, le=MAX_TOKEN_S)

    @model_validator(mode="after")
    def _is_whole(self) -> "TokenRequest":
        if (self.user_name is None) != (self.password is None):
            raise ValueError("user_name and password come together")
        return self


class Token(Output):
    """A token, to be sent as `Authorization: Bearer TOKEN`."""

    access_token: str
    token_type: str
    expires_in: int
    """Seconds until it ends."""
    scope: str

    @classmethod
    def of(cls, issued: Issued) -> "Token":
        """The token that was made."""
        return cls(
            access_token=issued.token,
            token_type="Bearer",  # noqa: S106 - a word, not a secret
            expires_in=issued.expires_in_s,
            scope=" ".join(sorted(scope.value for scope in issued.scopes)),
        )


@router.post("", status_code=201)
@anyone
async def create_token(given: TokenRequest, request: Request, services: Services) -> Token:
    """Makes a token from a session, an API key, or a user name and password. It ends with the key that it was
    made with, and with another password or role of its person. Not from a token."""
    people, now = services.people, datetime.now(UTC)
    await signed_tokens.load()
    if given.user_name is not None and given.password is not None:
        user = await signed_in(
            people, PasswordSignIn(user_name=given.user_name, password=given.password), request
        )
        issued = people.tokens.of_user(user, now, scopes=given.scopes, lifetime_s=given.expires_in_s)
    else:
        caller = await access.presented_by(request, services)
        issued = await people.tokens.of_caller(
            caller, now, scopes=given.scopes, lifetime_s=given.expires_in_s
        )
    return Token.of(issued)
