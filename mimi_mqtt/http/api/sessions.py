"""Live sessions: devices that talk at this moment."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict

from mimi_mqtt.commands.model import EndSession, Principal, Refusal
from mimi_mqtt.errors import NotFound
from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.paging import Cursor, Limit, Page, key_of, page_of
from mimi_mqtt.http.api.problems import Problem
from mimi_mqtt.http.api.services import ApiServices, Services
from mimi_mqtt.http.api.visibility import MAX_ID_CHARS, sees, visible
from mimi_mqtt.people.access import Caller, Scope
from mimi_mqtt.session.overview import SessionOverview, TurnState

router = APIRouter(prefix="/sessions", tags=["sessions"])

SessionId = Annotated[str, Path(max_length=MAX_ID_CHARS, description="The id of a live session")]


class SessionAudio(BaseModel):
    """Packets of the session's audio so far. All but `sent` count what the device sends."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    received: int
    lost: int
    late: int
    duplicate: int
    forged: int
    """Packets that were not the device's, or damaged."""
    sent: int
    loss_percent: float
    jitter_ms: float
    """As RFC 3550 defines it."""


class LiveSession(BaseModel):
    """A session."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    id: str
    device_id: str
    device_name: str
    transport: str
    """The way of its audio: `udp` or `websocket`."""
    agent: str
    language: str
    since: datetime
    state: TurnState
    """The state: `opened` until the device listens, then `listening`, `thinking` or `speaking`."""
    audio: SessionAudio


@router.get("")
async def list_sessions(
    caller: Annotated[Caller, callers(Scope.DEVICES_READ)],
    services: Services,
    device: Annotated[str | None, Query(max_length=MAX_ID_CHARS, description="Of this device alone")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[LiveSession]:
    """The live sessions of the caller's devices."""
    key = key_of(cursor, str)
    only = visible(services.directory, caller, device).device_id if device is not None else None
    found: list[LiveSession] = []
    for each in services.sessions:
        if (key is not None and each.session_id <= str(key[0])) or (
            only is not None and each.device_id != only
        ):
            continue
        if sees(caller, services.directory.get(each.device_id)):
            found.append(_live(services, each))
        if len(found) > limit:
            break
    return page_of(found, limit, found[min(limit, len(found)) - 1].id if found else "")


@router.get("/{session_id}")
async def read_session(
    session_id: SessionId, caller: Annotated[Caller, callers(Scope.DEVICES_READ)], services: Services
) -> LiveSession:
    """One live session."""
    return _live(services, _visible(services, caller, session_id))


@router.delete("/{session_id}", status_code=204)
async def delete_session(
    session_id: SessionId, caller: Annotated[Caller, callers(Scope.COMMANDS)], services: Services
) -> None:
    """Ends the session with a goodbye; the device becomes idle."""
    found = _visible(services, caller, session_id)
    by = Principal(caller.name, found.device_id, user_id=caller.user_id, address=caller.address)
    result = await services.commands.run(EndSession(device_id=found.device_id), by=by)
    if result.refusal in (Refusal.NO_SESSION, Refusal.UNKNOWN_DEVICE):
        raise NotFound("there is no such session any more")
    if result.status != "done":
        raise Problem(409 if result.status == "refused" else 502, result.message)


def _visible(services: ApiServices, caller: Caller, session_id: str) -> SessionOverview:
    found = services.sessions.get(session_id)
    if found is None or not sees(caller, services.directory.get(found.device_id)):
        raise NotFound("there is no such session: it may be over")
    return found


def _live(services: ApiServices, found: SessionOverview) -> LiveSession:
    device = services.directory.get(found.device_id)
    audio = found.audio
    expected = audio.received + audio.lost
    return LiveSession(
        id=found.session_id,
        device_id=found.device_id,
        device_name=device.name if device is not None else "",
        transport=found.transport,
        agent=found.agent,
        language=found.language,
        since=found.since,
        state=found.state,
        audio=SessionAudio(
            received=audio.received,
            lost=audio.lost,
            late=audio.late,
            duplicate=audio.duplicate,
            forged=audio.forged,
            sent=audio.sent,
            loss_percent=round(100 * audio.lost / expected, 1) if expected else 0.0,
            jitter_ms=round(audio.jitter_ms, 1),
        ),
    )
