"""Requests that are carried out once, however often they are sent."""

from datetime import datetime

from sqlalchemy import Column, Index, String, Text
from sqlmodel import Field, SQLModel

from mimi_mqtt.store.tables.columns import time_column

REQUEST_ID_CHARS = 64
REQUEST_CALLER_CHARS = 64
REQUEST_DIGEST_CHARS = 64


class IdempotentRequest(SQLModel, table=True):
    """A request with an idempotency key. `id` is a digest of its caller and key, `digest` one of what it
    asked for; `result` is empty until it was carried out."""

    __tablename__ = "idempotent_requests"
    __table_args__ = (Index("ix_idempotent_requests_caller", "caller", "created_at"),)

    id: str = Field(sa_column=Column(String(REQUEST_ID_CHARS), primary_key=True))
    caller: str = Field(sa_column=Column(String(REQUEST_CALLER_CHARS), nullable=False))
    digest: str = Field(sa_column=Column(String(REQUEST_DIGEST_CHARS), nullable=False))
    result: str = Field(default="", repr=False, sa_column=Column(Text, nullable=False))
    created_at: datetime = Field(sa_column=time_column(index=True))
