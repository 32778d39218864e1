"""Models of accounts, groups and sessions that several resources tell."""

from collections.abc import Sequence
from datetime import datetime

from mimi_mqtt.http.api.models import Output
from mimi_mqtt.people.access import Role
from mimi_mqtt.people.random_tokens import digest
from mimi_mqtt.store.tables import OpenIdentity, User, UserGroup, WebSession


class Account(Output):
    """The account of a person."""

    id: str
    name: str
    """The name to sign in with."""
    display_name: str
    role: Role
    email: str
    language: str
    zone: str
    disabled: bool
    has_password: bool
    """false: the person signs in by OpenID Connect, or was not given a password yet."""
    version: int
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, user: User) -> "Account":
        """The account in a row."""
        return cls(
            id=user.id,
            name=user.name,
            display_name=user.display_name,
            role=Role(user.role),
            email=user.email,
            language=user.language,
            zone=user.zone,
            disabled=user.disabled,
            has_password=bool(user.password_hash),
            version=user.version,
            created_at=user.created_at,
            updated_at=user.updated_at,
        )


class GroupName(Output):
    """A group by its id and name."""

    id: str
    name: str

    @classmethod
    def of(cls, groups: Sequence[UserGroup]) -> "list[GroupName]":
        """The groups in rows."""
        return [cls(id=group.id, name=group.name) for group in groups]


class BrowserSession(Output):
    """A browser that is signed in."""

    id: str
    created_at: datetime
    seen_at: datetime
    """Last use, to about a minute."""
    expires_at: datetime
    user_agent: str
    address: str
    current: bool
    """The session of this request."""

    @classmethod
    def of(cls, rows: Sequence[WebSession], cookie: str = "") -> "list[BrowserSession]":
        """The sessions in rows."""
        own = digest(cookie) if cookie else ""
        return [
            cls(
                id=row.public_id,
                created_at=row.created_at,
                seen_at=row.seen_at,
                expires_at=row.expires_at,
                user_agent=row.user_agent,
                address=row.address,
                current=row.digest == own,
            )
            for row in rows
        ]


class Identity(Output):
    """An identity at an OpenID provider that signs the person in."""

    issuer: str
    subject: str
    created_at: datetime
    used_at: datetime | None

    @classmethod
    def of(cls, rows: Sequence[OpenIdentity]) -> "list[Identity]":
        """The identities in rows."""
        return [
            cls(issuer=row.issuer, subject=row.subject, created_at=row.created_at, used_at=row.used_at)
            for row in rows
        ]
