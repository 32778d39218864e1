"""People: accounts, groups, sessions, API keys, passkeys, identities at an OpenID provider, and one-time
links."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Column, ForeignKey, Integer, String
from sqlmodel import Field, SQLModel

from mimi_mqtt.store.tables.bounds import GROUP_ID_CHARS, USER_ID_CHARS
from mimi_mqtt.store.tables.columns import added_text, moment_column, time_column

ACCOUNT_NAME_CHARS = 64
FOLDED_NAME_CHARS = 256
DISPLAY_NAME_CHARS = 64
EMAIL_CHARS = 254
ACCOUNT_LANGUAGE_CHARS = 35
ACCOUNT_ZONE_CHARS = 64
ROLE_CHARS = 16
HASH_CHARS = 255
PROFILE_CHARS = 16_384
USER_SEARCH_CHARS = 1_024
DIGEST_CHARS = 64
PUBLIC_ID_CHARS = 32
USER_AGENT_CHARS = 200
HOLDER_CHARS = 64
KEY_NAME_CHARS = 64
KEY_HINT_CHARS = 12
ISSUER_CHARS = 255
SUBJECT_CHARS = 255
CREDENTIAL_ID_CHARS = 1_364
"""1,023 bytes in base64url, the most that WebAuthn allows (section 5.8.3)."""
PUBLIC_KEY_CHARS = 2_048
RP_ID_CHARS = 253


def _user_column(**more: Any) -> Column[str]:
    """The account that a row belongs to, and goes with."""
    owner = ForeignKey("users.id", ondelete="CASCADE")
    return Column(String(USER_ID_CHARS), owner, nullable=False, **more)


class User(SQLModel, table=True):
    """The account of a person."""

    __tablename__ = "users"

    id: str = Field(sa_column=Column(String(USER_ID_CHARS), primary_key=True))
    name: str = Field(sa_column=Column(String(ACCOUNT_NAME_CHARS), nullable=False))
    """The name to sign in with, as it was written."""
    folded_name: str = Field(
        sa_column=Column(String(FOLDED_NAME_CHARS), nullable=False, unique=True, index=True)
    )
    """The same without differences of case, by which it is found and is unique."""
    display_name: str = Field(default="", sa_column=Column(String(DISPLAY_NAME_CHARS), nullable=False))
    role: str = Field(sa_column=Column(String(ROLE_CHARS), nullable=False))
    email: str = Field(default="", sa_column=Column(String(EMAIL_CHARS), nullable=False))
    language: str = Field(default="", sa_column=Column(String(ACCOUNT_LANGUAGE_CHARS), nullable=False))
    zone: str = Field(default="", sa_column=Column(String(ACCOUNT_ZONE_CHARS), nullable=False))
    disabled: bool = Field(default=False, sa_column=Column(Boolean, nullable=False))
    password_hash: str = Field(default="", repr=False, sa_column=Column(String(HASH_CHARS), nullable=False))
    """Empty: the person signs in by OpenID Connect alone."""
    token_epoch: int = Field(default=1, sa_column=Column(Integer, nullable=False))
    """Part of every signed token; raising it ends them."""
    profile: dict[str, Any] = Field(
        default_factory=dict, repr=False, sa_column=Column(JSON, nullable=False, default=dict)
    )
    version: int = Field(default=1, sa_column=Column(Integer, nullable=False))
    """Raised at each change of the account or its profile."""
    search: str = Field(default="", repr=False, sa_column=added_text(USER_SEARCH_CHARS))
    """Names and e-mail address without differences of case, a line each, for searching."""
    created_at: datetime = Field(sa_column=time_column())
    updated_at: datetime = Field(sa_column=time_column())


class UserGroup(SQLModel, table=True):
    """A household, or any group that shares devices."""

    __tablename__ = "user_groups"

    id: str = Field(sa_column=Column(String(GROUP_ID_CHARS), primary_key=True))
    name: str = Field(sa_column=Column(String(DISPLAY_NAME_CHARS), nullable=False))
    version: int = Field(default=1, sa_column=Column(Integer, nullable=False))
    created_at: datetime = Field(sa_column=time_column())
    updated_at: datetime = Field(sa_column=time_column())


class GroupMember(SQLModel, table=True):
    """A person in a group."""

    __tablename__ = "group_members"

    group_id: str = Field(
        sa_column=Column(
            String(GROUP_ID_CHARS), ForeignKey("user_groups.id", ondelete="CASCADE"), primary_key=True
        )
    )
    user_id: str = Field(sa_column=_user_column(primary_key=True, index=True))


class WebSession(SQLModel, table=True):
    """A browser that signed in."""

    __tablename__ = "web_sessions"

    digest: str = Field(repr=False, sa_column=Column(String(DIGEST_CHARS), primary_key=True))
    """SHA-256 of the cookie's value, in hexadecimal digits."""
    public_id: str = Field(sa_column=Column(String(PUBLIC_ID_CHARS), nullable=False, unique=True))
    user_id: str = Field(sa_column=_user_column(index=True))
    created_at: datetime = Field(sa_column=time_column())
    seen_at: datetime = Field(sa_column=time_column())
    expires_at: datetime = Field(sa_column=time_column(index=True))
    """Moved on by use, up to `ends_at`."""
    ends_at: datetime = Field(sa_column=time_column())
    user_agent: str = Field(default="", sa_column=Column(String(USER_AGENT_CHARS), nullable=False))
    address: str = Field(default="", sa_column=Column(String(HOLDER_CHARS), nullable=False))


class ApiKey(SQLModel, table=True):
    """A key for a program."""

    __tablename__ = "api_keys"

    id: str = Field(sa_column=Column(String(PUBLIC_ID_CHARS), primary_key=True))
    digest: str = Field(repr=False, sa_column=Column(String(DIGEST_CHARS), nullable=False, unique=True))
    user_id: str = Field(sa_column=_user_column(index=True))
    name: str = Field(sa_column=Column(String(KEY_NAME_CHARS), nullable=False))
    hint: str = Field(sa_column=Column(String(KEY_HINT_CHARS), nullable=False))
    """The first characters of the key, by which a person tells keys apart."""
    scopes: list[str] = Field(sa_column=Column(JSON, nullable=False))
    created_at: datetime = Field(sa_column=time_column())
    expires_at: datetime | None = Field(default=None, sa_column=moment_column())
    used_at: datetime | None = Field(default=None, sa_column=moment_column())


class OpenIdentity(SQLModel, table=True):
    """An account at an OpenID provider that signs a person in."""

    __tablename__ = "open_identities"

    issuer: str = Field(sa_column=Column(String(ISSUER_CHARS), primary_key=True))
    subject: str = Field(sa_column=Column(String(SUBJECT_CHARS), primary_key=True))
    user_id: str = Field(sa_column=_user_column(index=True))
    made_account: bool = Field(default=False, sa_column=Column(Boolean, nullable=False))
    """The account was made for this identity: its role follows the provider's claim."""
    created_at: datetime = Field(sa_column=time_column())
    used_at: datetime | None = Field(default=None, sa_column=moment_column())


class AccountLink(SQLModel, table=True):
    """A one-time link: without an account for the first administrator, with one to set its password."""

    __tablename__ = "account_links"

    digest: str = Field(repr=False, sa_column=Column(String(DIGEST_CHARS), primary_key=True))
    user_id: str | None = Field(
        default=None,
        sa_column=Column(
            String(USER_ID_CHARS), ForeignKey("users.id", ondelete="CASCADE"), nullable=True, index=True
        ),
    )
    created_at: datetime = Field(sa_column=time_column())
    expires_at: datetime = Field(sa_column=time_column())


class Passkey(SQLModel, table=True):
    """A passkey (a discoverable WebAuthn credential) that signs a person in."""

    __tablename__ = "passkeys"

    id: str = Field(sa_column=Column(String(PUBLIC_ID_CHARS), primary_key=True))
    credential_id: str = Field(sa_column=Column(String(CREDENTIAL_ID_CHARS), nullable=False, unique=True))
    """The authenticator's name of it, in base64url."""
    user_id: str = Field(sa_column=_user_column(index=True))
    name: str = Field(sa_column=Column(String(KEY_NAME_CHARS), nullable=False))
    rp_id: str = Field(sa_column=Column(String(RP_ID_CHARS), nullable=False))
    """The host name at which it was made, and at which alone it is good."""
    public_key: str = Field(repr=False, sa_column=Column(String(PUBLIC_KEY_CHARS), nullable=False))
    """COSE key in base64url."""
    sign_count: int = Field(sa_column=Column(BigInteger, nullable=False))
    """The authenticator's counter at the last use; 0 where it keeps none."""
    transports: list[str] = Field(sa_column=Column(JSON, nullable=False))
    synced: bool = Field(sa_column=Column(Boolean, nullable=False))
    """True when it is kept by a service, and is on more than one device."""
    created_at: datetime = Field(sa_column=time_column())
    used_at: datetime | None = Field(default=None, sa_column=moment_column())


class UsedChallenge(SQLModel, table=True):
    """A challenge for a passkey that was answered, and is not good again."""

    __tablename__ = "used_challenges"

    digest: str = Field(sa_column=Column(String(DIGEST_CHARS), primary_key=True))
    expires_at: datetime = Field(sa_column=time_column(index=True))
