"""Tokens that a companion server signs with a secret that both servers know (JWT, HS256)."""

import logging
from collections.abc import Mapping, Sequence
from typing import Final

from mimi_mqtt.config import Settings
from mimi_mqtt.config.companion import MIN_SHARED_SECRET_BYTES
from mimi_mqtt.people.signed_tokens import TokenVerifier

VARIABLES: Final = ("JWT_SECRET_KEY", "NEKOTA_JWT_SECRET")
"""Environment variables that hold the secret where the settings don't."""
LEEWAY_S: Final = 10
"""Difference of the two servers' clocks that is allowed, in seconds."""
MAX_ID_CHARS: Final = 128
"""Longest user id in a token."""

_log = logging.getLogger(__name__)


def shared_secrets(settings: Settings, environ: Mapping[str, str]) -> Sequence[bytes]:
    """The secrets in force: that of the settings, else those of the variables. One that is too short is not
    used, which is logged."""
    if settings.companion.jwt_secret is not None:
        return (settings.companion.jwt_secret.get_secret_value().encode(),)
    found: list[bytes] = []
    for variable in VARIABLES:
        secret = environ.get(variable, "").encode()
        if not secret or secret in found:
            continue
        if len(secret) < MIN_SHARED_SECRET_BYTES:
            _log.warning(
                "tokens of a companion server are not believed: %s has %d bytes and needs %d "
                "(openssl rand -hex 32)",
                variable, len(secret), MIN_SHARED_SECRET_BYTES,
            )  # fmt: skip
            continue
        found.append(secret)
    return tuple(found)


class SharedTokens:
    """Checks tokens against `secrets`; without any, no token is good."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        # Whatever audience the companion names is its own.
        self._verifier = TokenVerifier(lambda: secrets, None, required=(), leeway_s=LEEWAY_S)

    def user_id(self, token: str) -> str | None:
        """The person of a token, by its claim `user_id` or `sub`; None when it is wrong or has expired.

        A token without an expiry is wrong: nobody could end it.
        """
        claims = self._verifier.verify(token)
        user_id = claims.get("user_id", claims.get("sub")) if claims is not None else None
        return user_id if isinstance(user_id, str) and 0 < len(user_id) <= MAX_ID_CHARS else None
