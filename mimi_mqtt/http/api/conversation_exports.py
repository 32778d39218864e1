"""Export of conversations: streamed, as JSON lines or as text."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from mimi_mqtt.errors import Invalid
from mimi_mqtt.http.api.conversation_models import Turn, conversation_of, turn_of
from mimi_mqtt.http.api.conversations import (
    Agent,
    Device,
    Outcome,
    Owner,
    Reader,
    Since,
    Until,
    asker_of,
    filter_of,
)
from mimi_mqtt.http.api.services import Services
from mimi_mqtt.memory.exports import Piece
from mimi_mqtt.store import tables
from mimi_mqtt.store.conversation_pages import Filter
from mimi_mqtt.store.search import MAX_QUERY_CHARS

router = APIRouter(prefix="/conversations", tags=["conversations"])


@router.get(
    "/export",
    response_class=Response,
    responses={
        200: {
            "content": {"application/x-ndjson": {}, "text/plain": {}},
            "description": "A conversation with its turns on each line, or all of them as text",
        }
    },
)
async def export_conversations(
    services: Services,
    caller: Reader,
    q: Annotated[
        str | None, Query(min_length=1, max_length=MAX_QUERY_CHARS, description="Words that a turn must have")
    ] = None,
    conversation: Annotated[
        str | None, Query(max_length=tables.SESSION_ID_CHARS, description="Id of the only one that is wanted")
    ] = None,
    device: Device = None,
    agent: Agent = None,
    outcome: Outcome = None,
    owner: Owner = None,
    since: Since = None,
    until: Until = None,
    format_: Annotated[Literal["json", "text"], Query(alias="format")] = "json",
) -> Response:
    """The conversations that fit with all their turns, the latest first; with `q` the turns that are found,
    each with its conversation. It is streamed, however much it is; a caller runs two at once."""
    wanted = filter_of(device, agent, outcome, owner, since, until)
    asker, exports = asker_of(caller), services.exports
    if conversation is not None:
        if q is not None or wanted != Filter():
            raise Invalid("conversation: not together with a filter")
        pieces = exports.one(asker, conversation)
    elif q is not None:
        pieces = exports.found(asker, q, wanted)
    else:
        pieces = exports.all(asker, wanted)
    written = _text(pieces) if format_ == "text" else _json_lines(pieces)
    # What is wrong is answered with its status, so the beginning is awaited.
    first = await anext(written, b"")
    kind, suffix = ("text/plain", "txt") if format_ == "text" else ("application/x-ndjson", "ndjson")
    return StreamingResponse(
        _all(first, written),
        media_type=kind,
        headers={
            "Content-Disposition": f'attachment; filename="conversations.{suffix}"',
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        },
    )


async def _all(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(rest):
        yield first
        async for part in rest:
            yield part


async def _json_lines(pieces: AsyncGenerator[Piece, None]) -> AsyncGenerator[bytes, None]:
    """A line for each conversation: as the API tells it, and `turns`."""
    async with aclosing(pieces):
        async for piece in pieces:
            line = ""
            if piece.begins:
                head = conversation_of(piece.conversation).model_dump_json(exclude={"device_name", "opening"})
                line = f'{head[:-1]},"turns":['
            elif piece.turns:
                line = ","
            line += ",".join(_turn_json(turn_of(each)) for each in piece.turns)
            yield (line + ("]}\n" if piece.ends else "")).encode()


def _turn_json(turn: Turn) -> str:
    return turn.model_dump_json(exclude={"audio"})


async def _text(pieces: AsyncGenerator[Piece, None]) -> AsyncGenerator[bytes, None]:
    """A heading for each conversation, and a line for each side of a turn; times are in UTC."""
    async with aclosing(pieces):
        async for piece in pieces:
            lines = []
            if piece.begins:
                of = piece.conversation
                lines.append(
                    f"== {_time(of.started_at)} | device {of.device_id} | agent {of.agent or '-'} =="
                )
            for turn in piece.turns:
                at = _time(turn.started_at)
                if turn.heard:
                    lines.append(f"[{at}] user: {_line(turn.heard)}")
                if turn.tools_called:
                    lines.append(f"[{at}] tools: {_line(', '.join(turn.tools_called))}")
                if turn.reply:
                    lines.append(f"[{at}] assistant: {_line(turn.reply)}")
                if turn.outcome != "answered":
                    reason = f" ({_line(turn.error)})" if turn.error else ""
                    lines.append(f"[{at}] {turn.outcome}{reason}")
            yield ("\n".join([*lines, ""]) + ("\n" if piece.ends else "")).encode()


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S")


def _line(text: str) -> str:
    """`text` on one line, without what moves the cursor of a terminal that shows the file."""
    return "".join(each for each in " ".join(text.split()) if each.isprintable())
