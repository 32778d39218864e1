"""The event stream: what happens to the caller's devices, as it happens (server-sent events)."""

import contextlib
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Request, Response

from mimi_mqtt.http.api.access import callers, presented
from mimi_mqtt.http.api.event_feed import MAX_EVENT_ID_CHARS, selected
from mimi_mqtt.http.api.event_stream import EventStream
from mimi_mqtt.http.api.services import Services
from mimi_mqtt.http.api.visibility import MAX_ID_CHARS, visible
from mimi_mqtt.people.access import Caller, Scope

router = APIRouter(prefix="/events", tags=["events"])

MAX_TYPES: Final = 16
"""Parameters `types` of one stream."""
MAX_TYPE_CHARS: Final = 256
"""Longest of them, several names joined by commas."""


@router.get(
    "",
    response_class=Response,
    responses={200: {"content": {"text/event-stream": {"schema": {}}}}},
)
async def stream_events(
    request: Request,
    caller: Annotated[Caller, callers(Scope.EVENTS)],
    services: Services,
    types: Annotated[
        list[Annotated[str, Query(max_length=MAX_TYPE_CHARS)]] | None,
        Query(max_length=MAX_TYPES, description="Names of events, such as `turn_ended`; default: all"),
    ] = None,
    device: Annotated[str | None, Query(max_length=MAX_ID_CHARS, description="Of this device alone")] = None,
    last_event_id: Annotated[
        str | None,
        Header(max_length=MAX_EVENT_ID_CHARS, description="`id` of the last event seen: go on behind it"),
    ] = None,
) -> Response:
    """Events of the caller's devices, and for administrators those of the server, as `text/event-stream`.

    Each has an `id`, its name as `event`, and JSON as `data`: `event`, `at`, `device_id` and fields of its
    own, never speech. An event `missed` says that some were not kept. The stream ends with the caller's
    rights, and when it is read too slowly.
    """
    chosen = selected(types or [])
    device_id = visible(services.directory, caller, device).device_id if device is not None else ""
    # Opened here, where a refusal can still become a problem document.
    stack = contextlib.ExitStack()
    listener = stack.enter_context(
        services.events.listen(
            caller, presented(request), types=chosen, device_id=device_id, last_id=last_event_id
        )
    )
    return EventStream(listener, stack)
