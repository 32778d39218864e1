"""Conversations and their turns as the API tells them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from urllib.parse import quote

from pydantic import BaseModel, Field

from mimi_mqtt.store import tables

RecordedSide = Literal["user", "assistant"]


class Conversation(BaseModel):
    """A session in which at least one turn was taken."""

    id: str = Field(description="The id of its session")
    device: str = Field(description="Id of the device")
    device_name: str = Field("", description="Empty: not known, or not the caller's to see; not exported")
    agent: str = Field(description="Key of the agent that answered first; empty: not known")
    owner: str = Field(description="Id of the person whose it is; empty: nobody's")
    started_at: datetime
    last_turn_at: datetime
    turns: int = Field(description="Number of turns")
    outcome: str = Field(description="The gravest outcome of its turns")
    opening: str = Field("", description="Its first words, at most 160 characters; empty but in the list")


class Use(BaseModel):
    """The use of one provider by a turn."""

    role: str
    name: str
    input_tokens: int = 0
    output_tokens: int = 0
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0
    audio_s: float = 0.0
    characters: int = 0
    cost: float | None = Field(None, description="By the price table; null: it has no price")


class ToolSpan(BaseModel):
    """One call of a tool."""

    name: str
    at_ms: float = Field(description="ms from the end of the user's speech to its beginning")
    ms: float = Field(description="Its length")
    failed: bool = False


class TurnAudio(BaseModel):
    """The sound of one side of a turn, where it is kept: Ogg Opus."""

    side: RecordedSide = Field(description="Who speaks in it")
    duration_ms: int
    bytes: int
    href: str = Field(description="Where it is read")


class Turn(BaseModel):
    """A turn: what was heard and replied, how long its stages took, and what it used."""

    conversation: str = Field(description="Id of the conversation")
    number: int
    kind: str = Field(description="Its cause, such as `utterance` or `announcement`; empty: not known")
    agent: str
    mode: str
    started_at: datetime
    heard: str
    reply: str = Field(description="The part of the reply that was heard")
    outcome: str
    error: str = Field(description="Kind of the failure, such as `timeout`; empty: none")
    stages_ms: dict[str, float] = Field(description="ms from the end of the user's speech to each stage")
    tools: list[str] = Field(description="Tools that were called")
    tool_spans: list[ToolSpan] = Field(
        description="The times of the calls, the first 32; none of turns of before they were kept"
    )
    providers: dict[str, str] = Field(description="Role -> name of the provider that answered")
    uses: list[Use]
    cost: float | None = Field(description="By the price table; null: nothing that was used has a price")
    heard_s: float = Field(description="Length of the user's speech, in seconds")
    spoken_s: float = Field(description="Length of the reply that was heard, in seconds")
    audio: list[TurnAudio] | None = Field(
        None, description="The sound that is kept; null in lists, which do not look for it"
    )


def conversation_of(row: tables.Conversation, device_name: str = "", opening: str = "") -> Conversation:
    """A conversation as the API tells it."""
    return Conversation(
        id=row.id,
        device=row.device_id,
        device_name=device_name,
        agent=row.agent,
        owner=row.owner_id,
        started_at=row.started_at,
        last_turn_at=row.last_turn_at,
        turns=row.turns,
        outcome=row.outcome,
        opening=opening,
    )


def turn_of(row: tables.Turn, audio: Sequence[TurnAudio] | None = None) -> Turn:
    """A turn as the API tells it."""
    return Turn(
        conversation=row.conversation_id,
        number=row.number,
        kind=row.kind,
        agent=row.agent,
        mode=row.mode,
        started_at=row.started_at,
        heard=row.heard,
        reply=row.reply,
        outcome=row.outcome,
        error=row.error,
        stages_ms=row.timings_ms,
        tools=row.tools_called,
        tool_spans=[ToolSpan.model_validate(each) for each in row.tool_spans],
        providers=row.providers,
        uses=[Use.model_validate(each) for each in row.uses],
        cost=row.cost,
        heard_s=row.heard_s,
        spoken_s=row.spoken_s,
        audio=None if audio is None else list(audio),
    )


def audio_of(rows: Sequence[tables.StoredRecording], number: int) -> list[TurnAudio]:
    """The sound of a turn, of the recordings of its conversation."""
    return [
        TurnAudio(
            side="user" if row.side == "user" else "assistant",
            duration_ms=row.duration_ms,
            bytes=row.bytes,
            href=f"/api/v1/conversations/{quote(row.session_id, safe='')}/turns/{number}/audio/{row.side}",
        )
        for row in rows
        if row.turn == number
    ]
