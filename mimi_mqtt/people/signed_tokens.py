"""Signed tokens (JWT, RFC 7519): made and checked with shared keys, HMAC-SHA256 alone.

PyJWT is imported with the first token, in a thread (`load`): neither the start nor the devices wait for it.
"""

import asyncio
import importlib
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

MAX_TOKEN_CHARS: Final = 4_096
"""Longest token that is looked at."""

_ALGORITHM: Final = "HS256"
# PyJWT warns of shorter keys at each use. HMAC fills keys up with zeros anyway (RFC 2104, section 2), so that
# the signature is the same.
_KEY_BYTES: Final = 32


async def load() -> None:
    """Imports PyJWT; to be awaited before tokens are made or checked on the loop."""
    if "jwt" not in sys.modules:
        await asyncio.to_thread(importlib.import_module, "jwt")


class TokenVerifier:
    """Checks tokens. `keys` gives those that are believed; `audience` is the `aud` that a token must have,
    None for tokens without one; `required` are the claims that it must have beside `exp`; `leeway_s` allows
    for clocks that differ, in seconds."""

    def __init__(
        self,
        keys: Callable[[], Sequence[bytes]],
        audience: str | None,
        *,
        required: Sequence[str] = ("sub",),
        leeway_s: float = 0.0,
    ) -> None:
        self._keys = keys
        self._audience = audience
        self._required = ["exp", *required, *(["aud"] if audience is not None else [])]
        self._leeway = timedelta(seconds=leeway_s)

    def verify(self, token: str) -> Mapping[str, Any] | None:
        """The claims, or None for a token that is not good: its signature, algorithm, audience, time or form.

        Raises ValueError when a key is empty: whoever forges tokens would know it.
        """
        import jwt

        if len(token) > MAX_TOKEN_CHARS:
            return None
        for key in self._keys():
            if not key:
                raise ValueError("a key of signed tokens is empty")
            try:
                claims: Mapping[str, Any] = jwt.decode(
                    token,
                    key.ljust(_KEY_BYTES, b"\0"),
                    # Named here, never read from the token: `none` and public keys are refused.
                    algorithms=[_ALGORITHM],
                    audience=self._audience,
                    leeway=self._leeway,
                    options={"require": self._required, "verify_aud": self._audience is not None},
                )
            except jwt.InvalidSignatureError:
                continue
            except (jwt.InvalidTokenError, ValueError, OverflowError):
                return None
            return claims
        return None


def sign(key: bytes, claims: Mapping[str, object], *, audience: str, now: datetime, lifetime_s: float) -> str:
    """A token with `claims`, an id, its times and audience."""
    import jwt

    times = {"iat": now, "exp": now + timedelta(seconds=lifetime_s)}
    whole = {**claims, "aud": audience, "jti": uuid.uuid4().hex, **times}
    return jwt.encode(whole, key.ljust(_KEY_BYTES, b"\0"), algorithm=_ALGORITHM)
