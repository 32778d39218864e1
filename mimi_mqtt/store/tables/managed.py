"""Managed resources: agents, options of providers and prices that people set at run time; their history."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Column, Index, Integer, String, UniqueConstraint
from sqlmodel import Field, SQLModel

from mimi_mqtt.store.tables.audit import AUTHOR_CHARS
from mimi_mqtt.store.tables.bounds import USER_ID_CHARS
from mimi_mqtt.store.tables.columns import SERIAL, time_column
from mimi_mqtt.store.tables.devices import SECRET_ID_CHARS

KIND_CHARS = 16
MANAGED_KEY_CHARS = 96
MANAGED_ACTION_CHARS = 16


class ManagedResource(SQLModel, table=True):
    """The present state of one resource. A deleted one stays for a time, so that it can be restored."""

    __tablename__ = "managed"

    kind: str = Field(sa_column=Column(String(KIND_CHARS), primary_key=True))
    """`agent`, `provider` or `price`."""
    key: str = Field(sa_column=Column(String(MANAGED_KEY_CHARS), primary_key=True))
    version: int = Field(sa_column=Column(Integer, nullable=False))
    """Raised with each change, from 1."""
    revision: int = Field(sa_column=Column(BigInteger, nullable=False, index=True))
    """Raised above every other row's at each change: by it processes notice changes."""
    content: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    """The settings, without secrets."""
    secrets: dict[str, Any] = Field(repr=False, sa_column=Column(JSON, nullable=False))
    """By option: `sealed` (encrypted, base64) and `set_at`."""
    secret_id: str = Field(default="", sa_column=Column(String(SECRET_ID_CHARS), nullable=False))
    """The server's secret (`Credentials.secret_id`) that `secrets` are encrypted with; empty without any."""
    deleted: bool = Field(default=False, sa_column=Column(Boolean, nullable=False))
    created_at: datetime = Field(sa_column=time_column())
    updated_at: datetime = Field(sa_column=time_column())


class ManagedVersion(SQLModel, table=True):
    """One version of a resource: its whole content, without secrets, and who made it."""

    __tablename__ = "managed_versions"
    __table_args__ = (
        UniqueConstraint("kind", "key", "version", name="uq_managed_versions_version"),
        Index("ix_managed_versions_user", "user_id"),
    )

    id: int | None = Field(default=None, sa_column=Column(SERIAL, primary_key=True))
    kind: str = Field(sa_column=Column(String(KIND_CHARS), nullable=False))
    key: str = Field(sa_column=Column(String(MANAGED_KEY_CHARS), nullable=False))
    version: int = Field(sa_column=Column(Integer, nullable=False))
    at: datetime = Field(sa_column=time_column())
    author: str = Field(sa_column=Column(String(AUTHOR_CHARS), nullable=False))
    user_id: str = Field(default="", sa_column=Column(String(USER_ID_CHARS), nullable=False))
    action: str = Field(sa_column=Column(String(MANAGED_ACTION_CHARS), nullable=False))
    """`create`, `change`, `delete`, `restore` or `import`."""
    content: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    secrets_changed: list[str] = Field(sa_column=Column(JSON, nullable=False))
    """Names of the secrets that were set or removed with it."""
