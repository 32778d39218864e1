"""The log of the server: its last lines, and further ones as they are written."""

import contextlib
import logging
from datetime import datetime
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from mimi_mqtt.http.api.access import callers, presented
from mimi_mqtt.http.api.event_feed import MAX_EVENT_ID_CHARS
from mimi_mqtt.http.api.event_stream import EventStream
from mimi_mqtt.http.api.log_feed import told
from mimi_mqtt.http.api.paging import Cursor, Limit, Page, key_of, page_of
from mimi_mqtt.http.api.services import Services
from mimi_mqtt.http.api.visibility import MAX_ID_CHARS
from mimi_mqtt.log.recent import Wanted
from mimi_mqtt.people.access import Caller, Scope

router = APIRouter(prefix="/logs", tags=["logs"])

MAX_TEXT_CHARS: Final = 200
"""Longest text to look for."""
MAX_PART_CHARS: Final = 100

Level = Literal["debug", "info", "warning", "error"]


class LogLine(BaseModel):
    """One line."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    number: int
    """Grows by one with each line since the start of the server."""
    at: datetime
    level: str
    """`debug`, `info`, `warning`, `error` or `critical`."""
    part: str
    """The part of the server, such as `transports.udp`."""
    message: str
    device_id: str | None
    session_id: str | None
    turn: str | None
    fields: dict[str, str]
    """Further fields."""
    exception: str | None


class LogPage(Page[LogLine]):
    """Lines, the newest first."""

    level: str = Field(description="The level of the log (`log.level`): less severe lines are not written")
    parts: list[str] = Field(description="The parts of the server that lines are of")


def _wanted(
    level: Annotated[Level, Query(description="The least severity")] = "debug",
    part: Annotated[
        str,
        Query(max_length=MAX_PART_CHARS, description="Of this part, such as `transports` or `voice.turn`"),
    ] = "",
    device: Annotated[str, Query(max_length=MAX_ID_CHARS, description="About this device")] = "",
    session: Annotated[str, Query(max_length=MAX_ID_CHARS, description="About this session")] = "",
    q: Annotated[str, Query(max_length=MAX_TEXT_CHARS, description="With this text")] = "",
) -> Wanted:
    return Wanted(logging.getLevelNamesMapping()[level.upper()], part, device, session, q)


WantedLines = Annotated[Wanted, Depends(_wanted)]


@router.get("")
async def list_log(
    caller: Annotated[Caller, callers(Scope.LOGS)],
    services: Services,
    wanted: WantedLines,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> LogPage:
    """The last lines of the log, the newest first: some thousand are kept in memory since the start. Speech,
    prompts and secrets are not among them, except that lines of the level `debug`, which are written only
    with `log.level: debug`, may hold what was said."""
    del caller
    key = key_of(cursor, int)
    lines = services.logs.lines.before(wanted, int(str(key[0])) if key else None, limit + 1)
    items = [LogLine.model_validate(told(line)) for line in lines]
    page = page_of(items, limit, lines[:limit][-1].number if lines else 0)
    level = logging.getLevelName(logging.getLogger("mimi_mqtt").getEffectiveLevel()).lower()
    return LogPage(items=page.items, next=page.next, level=level, parts=list(services.logs.lines.parts()))


@router.get(
    "/stream",
    response_class=Response,
    responses={200: {"content": {"text/event-stream": {"schema": {}}}}},
)
async def stream_log(
    request: Request,
    caller: Annotated[Caller, callers(Scope.LOGS)],
    services: Services,
    wanted: WantedLines,
    last_event_id: Annotated[
        str | None,
        Header(max_length=MAX_EVENT_ID_CHARS, description="`id` of the last line seen: go on behind it"),
    ] = None,
) -> Response:
    """Lines of the log as they are written, as `text/event-stream`: events `line`, with the JSON of a line as
    `data`. An event `missed` says that some are not kept any more. The stream ends with the caller's rights,
    and when it is read too slowly."""
    stack = contextlib.ExitStack()
    listener = stack.enter_context(services.logs.listen(caller, presented(request), wanted, last_event_id))
    return EventStream(listener, stack)
