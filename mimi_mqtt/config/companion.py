"""Settings of a companion server, such as one that remembers what people say elsewhere."""

from pydantic import Field, SecretStr, field_validator

from mimi_mqtt.config.section import Section

MIN_SHARED_SECRET_BYTES = 32
"""Least length of a secret that signs by HMAC-SHA256 (RFC 7518, section 3.2)."""


class CompanionSettings(Section):
    """A companion server, which shares its people's tokens and saves their conversations here."""

    jwt_secret: SecretStr | None = None
    """Secret of the tokens (JWT, HS256) that both servers believe, at least 32 bytes, such as made by
    `openssl rand -hex 32`. Empty: that of the variable JWT_SECRET_KEY or NEKOTA_JWT_SECRET."""

    requests_per_minute: int = Field(120, ge=1)
    """Requests of one person or API key in a minute; a burst of as many is allowed."""

    keep_days: int = Field(365, ge=1)
    """Conversations that were last changed so many days ago are deleted."""

    @field_validator("jwt_secret")
    @classmethod
    def _secret_is_long(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and len(secret.get_secret_value().encode()) < MIN_SHARED_SECRET_BYTES:
            raise ValueError(
                f"must have at least {MIN_SHARED_SECRET_BYTES} bytes, as anybody with one token can try "
                "shorter ones: openssl rand -hex 32"
            )
        return secret
