"""Signed tokens for programs, made from what a person or key may do, for minutes."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

from mimi_mqtt.errors import Forbidden, Invalid
from mimi_mqtt.people import rules
from mimi_mqtt.people.access import SCOPES_OF, Caller, Role, Scope, Via
from mimi_mqtt.people.signed_tokens import TokenVerifier, sign
from mimi_mqtt.store import people
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import User

AUDIENCE: Final = "mimi_mqtt"
"""The `aud` of the server's own tokens."""
DEFAULT_TOKEN_S: Final = 900
"""Validity of a token, in seconds, when nothing else is asked for."""
MAX_TOKEN_S: Final = 86_400
"""Longest validity of a token, in seconds."""
MIN_TOKEN_S: Final = 30
_PURPOSE: Final = "jwt"


class SigningKeys(Protocol):
    """Keys that follow from the server's secret (`fleet.credentials.Credentials`)."""

    def key(self, purpose: str) -> bytes:
        """32 bytes for one purpose."""

    def old_key(self, purpose: str) -> bytes | None:
        """The same of the secret before; None when that is over."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A token that was made."""

    token: str = field(repr=False)
    expires_in_s: int
    scopes: frozenset[Scope]


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a token of this server, which the database may have overtaken."""

    user_id: str
    epoch: int
    key_id: str
    """The API key that it was made with, and ends with; "" for none."""
    scopes: frozenset[Scope]
    expires_at: float
    """Seconds since 1970."""


class Tokens:
    """Makes and reads the server's tokens. After a rotation of its secret those of the old one are believed
    as long as that is."""

    def __init__(self, store: Store, keys: SigningKeys) -> None:
        self._store = store
        self._keys = keys
        self._verifier = TokenVerifier(self._believed, AUDIENCE, required=("sub", "iat", "jti"))

    async def of_caller(
        self,
        caller: Caller,
        now: datetime,
        *,
        scopes: Collection[Scope] = (),
        lifetime_s: int = DEFAULT_TOKEN_S,
    ) -> Issued:
        """A token for the caller with some of his scopes, or all. Raises Forbidden, Invalid, NotFound."""
        if caller.via is Via.TOKEN:
            raise Forbidden("a token is not made with a token: it would have no end. Use a key, or sign in")
        user_id = rules.account_of(caller)
        async with self._store.read() as session:
            user = await people.user(session, user_id)
        if user is None or user.disabled:
            raise Forbidden("the account is disabled")
        return self.of_user(
            user, now, may=caller.scopes, scopes=scopes, lifetime_s=lifetime_s, key_id=caller.key_id
        )

    def of_user(
        self,
        user: User,
        now: datetime,
        *,
        may: Collection[Scope] = frozenset(Scope),
        scopes: Collection[Scope] = (),
        lifetime_s: int = DEFAULT_TOKEN_S,
        key_id: str = "",
    ) -> Issued:
        """A token for somebody who may do `may`. Raises Forbidden, Invalid."""
        if not MIN_TOKEN_S <= lifetime_s <= MAX_TOKEN_S:
            raise Invalid(f"expires_in_s: it is from {MIN_TOKEN_S} to {MAX_TOKEN_S}")
        possible = frozenset(may) & SCOPES_OF[Role(user.role)]
        if beyond := [scope.value for scope in sorted(set(scopes)) if scope not in possible]:
            raise Forbidden(f"scopes: {', '.join(beyond)} is more than the caller may do")
        given = frozenset(scopes) or possible
        claims: dict[str, object] = {
            "sub": user.id,
            "scope": " ".join(sorted(scope.value for scope in given)),
            "epoch": user.token_epoch,
        }
        if key_id:
            claims["key"] = key_id
        token = sign(self._keys.key(_PURPOSE), claims, audience=AUDIENCE, now=now, lifetime_s=lifetime_s)
        return Issued(token, lifetime_s, given)

    def read(self, token: str) -> Claims | None:
        """The claims of a token, or None when it is not one of ours, or over."""
        claims = self._verifier.verify(token)
        return _claims(claims) if claims is not None else None

    def _believed(self) -> tuple[bytes, ...]:
        old = self._keys.old_key(_PURPOSE)
        return (self._keys.key(_PURPOSE), *((old,) if old is not None else ()))


def _claims(claims: Any) -> Claims | None:
    user_id, epoch, key_id, scope = (
        claims["sub"],
        claims.get("epoch"),
        claims.get("key", ""),
        claims.get("scope"),
    )
    if not isinstance(user_id, str) or type(epoch) is not int:
        return None
    if not isinstance(key_id, str) or not isinstance(scope, str):
        return None
    known = {each.value for each in Scope}
    scopes = frozenset(Scope(word) for word in scope.split() if word in known)
    return Claims(user_id, epoch, key_id, scopes, float(claims["exp"]))
