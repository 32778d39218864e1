"""The audit: who changed what, when, and from where."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, Index, String
from sqlmodel import Field, SQLModel

from mimi_mqtt.store.tables.bounds import USER_ID_CHARS
from mimi_mqtt.store.tables.columns import SERIAL, time_column

AUTHOR_CHARS = 64
ACTION_CHARS = 48
TARGET_CHARS = 128
AUDIT_ADDRESS_CHARS = 64
CHANGE_CHARS = 8_192


class AuditEntry(SQLModel, table=True):
    """One change. `before` and `after` hold the fields that changed, without secrets."""

    __tablename__ = "audit"
    __table_args__ = (
        Index("ix_audit_target", "target", "id"),
        Index("ix_audit_user", "user_id", "id"),
        Index("ix_audit_at", "at"),
    )

    id: int | None = Field(default=None, sa_column=Column(SERIAL, primary_key=True))
    at: datetime = Field(sa_column=time_column())
    author: str = Field(sa_column=Column(String(AUTHOR_CHARS), nullable=False))
    """The name of who made the change, as it was then."""
    user_id: str = Field(default="", sa_column=Column(String(USER_ID_CHARS), nullable=False))
    """Empty for the command line, and for what the server does by itself."""
    address: str = Field(default="", sa_column=Column(String(AUDIT_ADDRESS_CHARS), nullable=False))
    action: str = Field(sa_column=Column(String(ACTION_CHARS), nullable=False))
    """Such as `device.claim` or `user.create`."""
    target: str = Field(sa_column=Column(String(TARGET_CHARS), nullable=False))
    """The thing that was changed, such as `device:aa-bb-cc-00-11-22` or `user:u…`."""
    before: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    after: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
