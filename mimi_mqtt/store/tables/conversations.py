"""Conversations and their turns."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, Float, ForeignKey, Index, Integer, String, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from mimi_mqtt.store.tables.bounds import DEVICE_ID_CHARS, SESSION_ID_CHARS, USER_ID_CHARS
from mimi_mqtt.store.tables.columns import SERIAL, added_text, time_column

HEARD_CHARS = 4_000
REPLY_CHARS = 8_000
WORD_CHARS = 32
TURN_AGENT_CHARS = 32


class Conversation(SQLModel, table=True):
    """One session in which at least one turn was taken. It ends with its age, with its device, or with the
    person whose it is."""

    __tablename__ = "conversations"
    __table_args__ = (
        Index("ix_conversations_device", "device_id", "last_turn_at"),
        Index("ix_conversations_owner", "owner_id", "last_turn_at"),
        Index("ix_conversations_agent", "agent", "last_turn_at"),
        Index("ix_conversations_outcome", "outcome", "last_turn_at"),
    )

    id: str = Field(sa_column=Column(String(SESSION_ID_CHARS), primary_key=True))
    device_id: str = Field(sa_column=Column(String(DEVICE_ID_CHARS), nullable=False))
    started_at: datetime = Field(sa_column=time_column())
    last_turn_at: datetime = Field(sa_column=time_column(index=True))
    agent: str = Field(default="", sa_column=added_text(TURN_AGENT_CHARS))
    """The key of the agent that answered first; empty: from before this was kept."""
    owner_id: str = Field(default="", sa_column=added_text(USER_ID_CHARS))
    """The account that the device belonged to when the conversation began; it stays his. Empty: nobody's."""
    outcome: str = Field(default="", sa_column=added_text(WORD_CHARS))
    """The gravest outcome of its turns (`store.conversations.GRAVITY`)."""
    turns: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default=text("0")))
    """The number of its turns."""


class Turn(SQLModel, table=True):
    """One turn: the words heard, the answer, the outcome, the duration of its stages, and what was used."""

    __tablename__ = "turns"
    __table_args__ = (UniqueConstraint("conversation_id", "number", name="uq_turns_number"),)

    id: int | None = Field(default=None, sa_column=Column(SERIAL, primary_key=True))
    conversation_id: str = Field(
        sa_column=Column(
            String(SESSION_ID_CHARS), ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False
        )
    )
    number: int = Field(sa_column=Column(Integer, nullable=False))
    started_at: datetime = Field(sa_column=time_column())
    mode: str = Field(sa_column=Column(String(WORD_CHARS), nullable=False))
    heard: str = Field(sa_column=Column(Text, nullable=False))
    reply: str = Field(sa_column=Column(Text, nullable=False))
    outcome: str = Field(sa_column=Column(String(WORD_CHARS), nullable=False))
    timings_ms: dict[str, float] = Field(sa_column=Column(JSON, nullable=False))
    tools_called: list[str] = Field(sa_column=Column(JSON, nullable=False))
    tool_spans: list[dict[str, Any]] = Field(
        default_factory=list, sa_column=Column(JSON, nullable=False, server_default=text("'[]'"))
    )
    """The calls of tools with their times (`store.turn_record.ToolSpan`); none from before this was kept."""
    kind: str = Field(default="", sa_column=added_text(WORD_CHARS))
    """Cause of the turn, such as `utterance`; empty: from before this was kept."""
    agent: str = Field(default="", sa_column=added_text(TURN_AGENT_CHARS))
    providers: dict[str, str] = Field(
        default_factory=dict, sa_column=Column(JSON, nullable=False, server_default=text("'{}'"))
    )
    """Role -> name of the provider that answered."""
    uses: list[dict[str, Any]] = Field(
        default_factory=list, sa_column=Column(JSON, nullable=False, server_default=text("'[]'"))
    )
    """The use of each provider (`store.turn_record.ProviderUse`)."""
    cost: float | None = Field(default=None, sa_column=Column(Float, nullable=True))
    error: str = Field(default="", sa_column=added_text(WORD_CHARS))
    """Kind of the failure; empty: none."""
    heard_s: float = Field(default=0.0, sa_column=Column(Float, nullable=False, server_default=text("0")))
    spoken_s: float = Field(default=0.0, sa_column=Column(Float, nullable=False, server_default=text("0")))


class Backfill(SQLModel, table=True):
    """Work on the turns of before a migration, done in the background from the newest to the oldest."""

    __tablename__ = "backfills"

    name: str = Field(sa_column=Column(String(WORD_CHARS), primary_key=True))
    below: int = Field(sa_column=Column(SERIAL, nullable=False, autoincrement=False))
    """Turns with a lower id are still to be done; 0: none."""
