"""A recorded turn as one file, and asked again."""

import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from mimi_mqtt import __version__
from mimi_mqtt.errors import FilesError
from mimi_mqtt.files.blobs import Content
from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.conversation_models import Turn, Use, turn_of
from mimi_mqtt.http.api.conversations import ConversationId, Reader, asker_of
from mimi_mqtt.http.api.services import Services
from mimi_mqtt.http.api.uploads import seer_of
from mimi_mqtt.people.access import Caller, Scope
from mimi_mqtt.store import tables
from mimi_mqtt.voice.replay import ReplayWish

router = APIRouter(prefix="/conversations/{conversation_id}/turns/{number}", tags=["conversations"])

FILE_FORMAT: Final = "mimi_mqtt turn"
"""The first member of a turn's file."""
FILE_VERSION: Final = 1
_NAME_CHARS: Final = 64
_LEFT_OUT: Final = {"conversation", "audio"}

Number = Annotated[int, Path(ge=1, le=2**31 - 1)]


class ReplayIn(BaseModel):
    """Differences of a turn that is asked again; what is left out is as it was."""

    agent: str = Field(
        "", max_length=tables.TURN_AGENT_CHARS, description="Key of an agent; empty: the one that answered"
    )
    stt: str = Field("", max_length=_NAME_CHARS, description="Speech to text; empty: the agent's")
    llm: str = Field("", max_length=_NAME_CHARS, description="Language model; empty: the agent's")
    tts: str = Field("", max_length=_NAME_CHARS, description="Text to speech; empty: the agent's")


class TurnReplay(BaseModel):
    """How a turn went when it was asked again."""

    agent: str = Field(description="Key of the agent that was asked, as it is now")
    heard: str
    reply: str
    outcome: str
    error: str = Field(description="Kind of the failure, such as `timeout`; empty: none")
    problem: str = Field(description="What failed, in words; empty: nothing")
    from_audio: bool = Field(
        description="True when the recording was heard; false: none is kept, and its words were taken"
    )
    stages_ms: dict[str, float] = Field(description="As of a turn; `stop` is when a device would be done")
    as_recorded: list[str] = Field(description="Stages whose times are those of the recorded turn")
    providers: dict[str, str] = Field(description="Role -> name of the provider that answered")
    uses: list[Use]
    cost: float | None = Field(description="By the price table; null: nothing that was used has a price")
    heard_s: float
    spoken_s: float
    audio: str = Field(description="The spoken reply, Ogg Opus in base64; it is kept nowhere. Empty: none")


@router.get(
    "/file",
    response_class=Response,
    responses={200: {"content": {"application/json": {}}, "description": "The turn as one file"}},
)
async def read_turn_file(
    services: Services,
    caller: Reader,
    conversation_id: ConversationId,
    number: Number,
    audio: Annotated[bool, Query(description="With the sound of both sides, where it is kept")] = True,
) -> Response:
    """A turn as one file, to be opened elsewhere: what was said, its times and providers, and its sound. It
    does not tell whose device it was, nor which."""
    _, turn = await services.conversations.turn(asker_of(caller), conversation_id, number)
    sounds: list[tuple[tables.StoredRecording, Content]] = []
    if audio:
        for row in await services.conversations.sounds(asker_of(caller), conversation_id):
            if row.turn == number:
                try:
                    sounds.append((row, await services.recordings.blobs.open_content(row.sha256)))
                except FilesError:
                    continue  # the rest of the turn is worth keeping
    name = f"turn-{turn.started_at:%Y%m%d-%H%M%S}-{number}.mimi.json"
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(_file(turn_of(turn), sounds), media_type="application/json", headers=headers)


async def _file(turn: Turn, sounds: list[tuple[tables.StoredRecording, Content]]) -> AsyncIterator[bytes]:
    head = {
        "format": FILE_FORMAT,
        "version": FILE_VERSION,
        "saved_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "server_version": __version__,
        "turn": turn.model_dump(mode="json", exclude=_LEFT_OUT),
    }
    yield json.dumps(head, ensure_ascii=False)[:-1].encode() + b', "audio": {'
    for index, (row, content) in enumerate(sounds):
        told = {"type": "audio/ogg", "duration_ms": row.duration_ms}
        yield f'{", " if index else ""}"{row.side}": {json.dumps(told)[:-1]}, "data": "'.encode()
        rest = b""
        async for part in content.parts:
            whole = rest + part
            cut = len(whole) // 3 * 3
            rest = whole[cut:]
            yield base64.b64encode(whole[:cut])
        yield base64.b64encode(rest) + b'"}'
    yield b"}}\n"


@router.post("/replay")
async def replay_turn(
    services: Services,
    caller: Annotated[Caller, callers(Scope.CONVERSATIONS_READ, Scope.AGENTS_WRITE)],
    conversation_id: ConversationId,
    number: Number,
    body: ReplayIn,
) -> TurnReplay:
    """Asks a turn again: the recorded words, or their text where no sound is kept, go through an agent's
    pipeline once more, with the conversation before them, and with other providers where they are named.

    No device takes part, no tools are offered or called, and the agent's memory of earlier conversations is
    left out. Nothing is kept of it but an entry in the audit; it is not counted in the statistics, but
    providers are really asked, and may cost money. One at a time for each caller, at most 120 s."""
    wish = ReplayWish(body.agent, body.stt, body.llm, body.tts)
    found = await services.replays.run(
        asker_of(caller), seer_of(caller), caller.author, conversation_id, number, wish
    )
    again = found.replayed
    uses = [
        Use(
            role=use.role, name=use.name, input_tokens=use.input_tokens, output_tokens=use.output_tokens,
            input_audio_tokens=use.input_audio_tokens, output_audio_tokens=use.output_audio_tokens,
            audio_s=use.audio_s, characters=use.characters, cost=use.cost,
        )
        for use in again.uses
    ]  # fmt: skip
    return TurnReplay(
        agent=found.agent,
        heard=again.heard,
        reply=again.reply,
        outcome=again.outcome,
        error=again.error,
        problem=again.problem,
        from_audio=again.heard_s > 0,
        stages_ms=dict(again.stages_ms),
        as_recorded=list(again.as_recorded),
        providers=dict(found.providers),
        uses=uses,
        cost=found.cost,
        heard_s=round(again.heard_s, 2),
        spoken_s=round(again.spoken_s, 2),
        audio=base64.b64encode(found.audio).decode(),
    )
