"""Recordings of turns, where an agent or a device keeps them."""

from typing import Annotated

from fastapi import APIRouter, Header, Path, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from mimi_mqtt.http import ranges
from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.conversation_models import RecordedSide
from mimi_mqtt.http.api.problems import Problem
from mimi_mqtt.http.api.services import Services
from mimi_mqtt.http.api.uploads import seer_of
from mimi_mqtt.people.access import Caller, Scope

router = APIRouter(prefix="/conversations/{conversation_id}", tags=["conversations"])

ConversationId = Annotated[str, Path(max_length=64, description="Id of a conversation")]
Turn = Annotated[int, Path(ge=0, le=1_000_000, description="Number of a turn in its conversation")]


class TurnRecording(BaseModel):
    """The recording of one side of a turn."""

    turn: int
    side: RecordedSide = Field(description="Who speaks in it")
    duration_ms: int
    bytes: int


@router.get("/recordings")
async def list_recordings(
    conversation_id: ConversationId,
    caller: Annotated[Caller, callers(Scope.CONVERSATIONS_READ)],
    services: Services,
) -> list[TurnRecording]:
    """The recordings of a conversation, in order of its turns; none where its sound is not kept."""
    rows = await services.recordings.of_conversation(conversation_id, seer_of(caller))
    return [
        TurnRecording(
            turn=row.turn,
            side="user" if row.side == "user" else "assistant",
            duration_ms=row.duration_ms,
            bytes=row.bytes,
        )
        for row in rows
    ]


@router.get(
    "/turns/{number}/audio/{side}",
    response_class=Response,
    responses={200: {"content": {"audio/ogg": {}}, "description": "Ogg Opus"}, 206: {}},
)
async def read_turn_audio(
    conversation_id: ConversationId,
    number: Turn,
    side: RecordedSide,
    caller: Annotated[Caller, callers(Scope.CONVERSATIONS_READ)],
    services: Services,
    wanted: Annotated[str, Header(alias="Range", max_length=64, description="One range")] = "",
    if_range: Annotated[str | None, Header(max_length=128, description="The ETag of the part before")] = None,
) -> Response:
    """The sound of one side of a turn, as it came: an Ogg Opus file. A browser may ask for a part of it."""
    row = await services.recordings.get(conversation_id, number, side, seer_of(caller))
    etag = f'"{row.sha256}"'
    asked = {"range": wanted} | ({"if-range": if_range} if if_range is not None else {})
    part = ranges.wanted(asked, etag, row.bytes)
    told = part.content_range(row.bytes)
    if part.status == 416:
        detail = f"Range must be one range within the {row.bytes} bytes, such as bytes=0-999"
        raise Problem(416, detail, headers={"Content-Range": told or ""})
    content = await services.recordings.blobs.open_content(row.sha256, part.start, part.end)
    headers = {
        "Content-Length": str(content.end - content.start),
        "Content-Disposition": f'inline; filename="turn-{number}-{side}.ogg"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=3600",
        "ETag": etag,
        "X-Content-Type-Options": "nosniff",
    }
    if told is not None:
        headers["Content-Range"] = told
    return StreamingResponse(content.parts, part.status, media_type="audio/ogg", headers=headers)
