"""Settings of people's accounts: their sessions, the audit, and signing in by OpenID Connect."""

from ipaddress import ip_address
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from mimi_mqtt.config.section import Section


def _many(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_many)]
"""Words, or a single one."""


class PeopleSettings(Section):
    """Accounts of people, for the web and the REST API."""

    session_days: int = Field(30, ge=1, le=365)
    """Days without use after which a browser has to sign in again."""

    session_max_days: int = Field(180, ge=1, le=3650)
    """Days after which it has to in any case."""

    keep_audit_days: int = Field(365, ge=1, le=36_500)
    """Days for which is kept who changed what."""

    @model_validator(mode="after")
    def _session_ends(self) -> "PeopleSettings":
        if self.session_max_days < self.session_days:
            raise ValueError("session_max_days must be at least session_days")
        return self


class OidcSettings(Section):
    """Signing in by OpenID Connect (Authelia, Authentik, Google)."""

    issuer: str | None = None
    """The provider's issuer URL, below which /.well-known/openid-configuration is read, such as
    https://auth.example.org. Empty: people sign in with passwords alone."""

    client_id: str = ""
    """The client's id at the provider."""

    client_secret: SecretStr | None = None
    """The client's secret. Prefer the variable MIMI_OIDC__CLIENT_SECRET."""

    label: str = "single sign-on"
    """The provider's name for people."""

    scopes: Words = ("openid", "profile", "email")
    """Scopes to ask for; openid is one of them. Authelia and Authentik tell groups for the scope groups or
    profile."""

    callback_url: str | None = None
    """The address that the provider sends people back to, as it is registered there, ending in
    /login/oidc/callback. Empty: that path at the address by which the browser reached this server."""

    new_users: bool = False
    """Whoever the provider vouches for gets an account, as a member. false: only accounts that were linked
    with an identity at the provider. With true, name oidc.members where the provider is not your own."""

    claim: str = "groups"
    """The claim that admins and members are looked for in: a text or a list, such as groups, or hd (the
    domain) with Google."""

    admins: Words = ()
    """Values of the claim that make an administrator of an account that new_users made. It is looked at each
    time somebody signs in."""

    members: Words = ()
    """Values of the claim of which a person needs one, unless it is one of admins. Empty: everyone may
    sign in."""

    @model_validator(mode="after")
    def _is_complete(self) -> "OidcSettings":
        if self.issuer is None:
            return self
        parts = urlsplit(self.issuer)
        if parts.scheme != "https" and not (parts.scheme == "http" and _is_near(parts.hostname or "")):
            raise ValueError(
                "issuer must begin with https://; http:// is for this machine and private addresses"
            )
        if not self.client_id or self.client_secret is None:
            raise ValueError("issuer needs client_id and client_secret, which the provider gives")
        if "openid" not in self.scopes:
            raise ValueError("scopes must have openid among them")
        if self.callback_url is not None and not self.callback_url.endswith("/login/oidc/callback"):
            raise ValueError("callback_url must end with /login/oidc/callback")
        return self


def _is_near(host: str) -> bool:
    """True for a host that is reached without the internet."""
    try:
        return ip_address(host).is_private
    except ValueError:
        return (
            host == "localhost"
            or "." not in host
            or host.endswith((".lan", ".local", ".home.arpa", ".internal"))
        )
