"""Conversations that a companion server saves for its people."""

from datetime import datetime

from sqlalchemy import Column, ForeignKeyConstraint, Index, Integer, String, Text
from sqlmodel import Field, SQLModel

from mimi_mqtt.store.tables.columns import SERIAL, time_column

COMPANION_USER_CHARS = 128
COMPANION_ID_CHARS = 128
COMPANION_ROLE_CHARS = 16


class CompanionConversation(SQLModel, table=True):
    """One conversation; `user_id` is the companion server's own, or that of an account here."""

    __tablename__ = "companion_conversations"
    __table_args__ = (Index("ix_companion_conversations_updated", "user_id", "last_updated"),)

    user_id: str = Field(sa_column=Column(String(COMPANION_USER_CHARS), primary_key=True))
    conversation_id: str = Field(sa_column=Column(String(COMPANION_ID_CHARS), primary_key=True))
    summary: str = Field(default="", repr=False, sa_column=Column(Text, nullable=False))
    last_updated: datetime = Field(sa_column=time_column(index=True))
    chars: int = Field(default=0, sa_column=Column(Integer, nullable=False))
    """Characters of its messages and summary."""


class CompanionMessage(SQLModel, table=True):
    """One message of such a conversation."""

    __tablename__ = "companion_messages"
    __table_args__ = (
        ForeignKeyConstraint(
            ["user_id", "conversation_id"],
            ["companion_conversations.user_id", "companion_conversations.conversation_id"],
            ondelete="CASCADE",
            name="fk_companion_messages_conversation",
        ),
        Index("ix_companion_messages_conversation", "user_id", "conversation_id", "id"),
    )

    id: int | None = Field(default=None, sa_column=Column(SERIAL, primary_key=True))
    user_id: str = Field(sa_column=Column(String(COMPANION_USER_CHARS), nullable=False))
    conversation_id: str = Field(sa_column=Column(String(COMPANION_ID_CHARS), nullable=False))
    role: str = Field(sa_column=Column(String(COMPANION_ROLE_CHARS), nullable=False))
    content: str = Field(repr=False, sa_column=Column(Text, nullable=False))
    said_at: datetime = Field(sa_column=time_column())
