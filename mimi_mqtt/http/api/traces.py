"""The control trace of a device: what it sends and is sent, as it happens (server-sent events)."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Final, TypeAlias

from fastapi import APIRouter, Request, Response

from mimi_mqtt.errors import LoginRefused, StoreError
from mimi_mqtt.http.api.access import callers, presented
from mimi_mqtt.http.api.event_stream import EventStream
from mimi_mqtt.http.api.paths import DeviceId
from mimi_mqtt.http.api.services import ApiServices, Services
from mimi_mqtt.http.api.visibility import sees, visible
from mimi_mqtt.people.access import Caller, Presented, Scope, Via
from mimi_mqtt.session.trace import Traced, TraceReader
from mimi_mqtt.wire import strict_json
from mimi_mqtt.wire.messages import redact

RIGHTS_EVERY_S: Final = 1.0
"""Longest time between two checks of a reader's rights, in seconds."""
RIGHTS_UNKNOWN_S: Final = 30.0
"""Seconds for which a reader goes on while its rights can't be checked."""
HEARTBEAT_S: Final = 15.0
"""Seconds without a message after which a reader is sent a comment, so that proxies keep the connection."""
MAX_SHOWN_BYTES: Final = 16_384
"""Longest message that is shown; of a longer one, type and size are."""
MAX_TYPE_CHARS: Final = 40

_TYPE: Final = re.compile(rb'"type"\s{0,8}:\s{0,8}"([a-z_]{1,40})"')
_TYPE_WITHIN: Final = 512
"""Bytes from the start of a long message in which its type is looked for."""

_Shown: TypeAlias = Mapping[str, "_Shown"]
"""The fields of an object that are shown, each with its own; one without any is a plain value."""


def _fields(*names: str, **inner: _Shown) -> _Shown:
    return {name: {} for name in names} | inner


_SHOWN: Final = _fields(
    "type", "state", "mode", "session_id", "transport", "version", "emotion", "command", "unreadable_bytes",
    audio_params=_fields("format", "sample_rate", "channels", "frame_duration"),
    features=_fields("mcp", "aec", "glyph_push"),
    text_font=_fields("size", "bpp"),
    udp=_fields("port", "encryption"),
)  # fmt: skip
"""Values that are neither speech nor content of tools. By their place: an argument may be called `name`, and
the numbers of a `glyph_push` are the letters of a text."""
_PAYLOAD: Final = _fields("jsonrpc", "id", "method", error=_fields("code"))
_PARAMS: Final[Mapping[object, _Shown]] = {
    "initialize": _fields("protocolVersion"),
    "tools/call": _fields("name"),
}
"""The same of the payload of `mcp`, and of its `params` by their method."""

router = APIRouter(prefix="/devices/{device_id}/trace", tags=["devices"])


@router.get(
    "",
    response_class=Response,
    responses={200: {"content": {"text/event-stream": {"schema": {}}}}},
)
async def trace_device(
    request: Request,
    device_id: DeviceId,
    caller: Annotated[Caller, callers(Scope.DEVICES_READ, Scope.EVENTS)],
    services: Services,
) -> Response:
    """The control messages of a device from now on, as `text/event-stream`: each is an event `message`, whose
    data has `at`, `direction` (`up`: from the device, or `down`), `type`, `size` in bytes, and `message`, the
    JSON itself.

    Keys, tokens, passwords and addresses with signatures are `***`; texts, and arguments and results of
    tools, are for callers who may read conversations, and otherwise `***` too. The last event, `ended`, has a
    `reason`: `slow` when it was read too slowly, `rights`, or `stop`.
    """
    device = visible(services.directory, caller, device_id)
    # Opened here, where a refusal can still become a problem document.
    stack = contextlib.ExitStack()
    reader = stack.enter_context(services.traces.watch(device.device_id, caller.user_id or caller.name))
    return EventStream(_Trace(services, reader, caller, presented(request)), stack)


class _Trace:
    """The frames of one reader, for as long as its caller may read them."""

    def __init__(self, services: ApiServices, reader: TraceReader, caller: Caller, shown: Presented) -> None:
        self._services = services
        self._reader = reader
        self._caller = caller
        self._shown = shown
        self._now = asyncio.get_running_loop().time
        self._asked_at = self._known_at = self._now()

    def end(self, reason: str) -> None:
        """See `event_stream.Streaming`."""
        self._reader.end(reason)

    async def frames(self) -> AsyncIterator[bytes]:
        """See `event_stream.Streaming`."""
        yield b": connected\n\n"
        reader = self._reader
        told_at = self._now()
        while not reader.ended:
            if self._now() - self._asked_at >= RIGHTS_EVERY_S:
                await self._check()
                continue
            taken = reader.take()
            if taken:
                told_at = self._now()
                speech = self._caller.may(Scope.CONVERSATIONS_READ)
                yield b"".join(frame_of(each, speech=speech) for each in taken)
            elif self._now() - told_at >= HEARTBEAT_S:
                told_at = self._now()
                yield b": \n\n"
            else:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RIGHTS_EVERY_S):
                        await reader.wake.wait()
        if reader.ended != "gone":
            yield b"event: ended\ndata: " + strict_json.dumps({"reason": reader.ended}) + b"\n\n"

    async def _check(self) -> None:
        """Ends the reader when its caller may not, or no longer, see the device."""
        self._asked_at = self._now()
        caller: Caller | None = self._caller
        if self._caller.via is not Via.COMMAND_LINE:
            try:
                caller = await self._services.authenticator.authenticate(self._shown)
            except (LoginRefused, StoreError):
                if self._now() - self._known_at > RIGHTS_UNKNOWN_S:
                    self.end("rights")
                return
        self._known_at = self._now()
        device = self._services.directory.get(self._reader.device_id)
        if (
            caller is None
            or not (caller.may(Scope.DEVICES_READ) and caller.may(Scope.EVENTS))
            or not sees(caller, device)
        ):
            self.end("rights")
        else:
            self._caller = caller


def frame_of(traced: Traced, *, speech: bool) -> bytes:
    """One message as it is sent; without `speech`, its texts and the content of tools are hidden."""
    size = len(traced.payload)
    message: object = None
    if size > MAX_SHOWN_BYTES:
        # Not read as a whole: a device sends many of these, and each reader would have the loop do it again.
        found = _TYPE.search(traced.payload, 0, _TYPE_WITHIN)
        kind = found[1].decode() if found is not None else ""
    else:
        message = strict_json.loads(redact(traced.payload))
        kind = message.get("type") if isinstance(message, dict) else None
        message = message if speech else _without_texts(message)
    told = {
        "at": traced.at.isoformat(timespec="milliseconds"),
        "direction": traced.direction,
        "type": kind[:MAX_TYPE_CHARS] if isinstance(kind, str) else "",
        "size": size,
        "message": message,
    }
    return b"event: message\ndata: " + strict_json.dumps(told) + b"\n\n"


def _without_texts(message: object) -> object:
    shown = _SHOWN
    if isinstance(message, dict) and message.get("type") == "mcp":
        payload = message.get("payload")
        method = payload.get("method") if isinstance(payload, dict) else None
        params = _PARAMS.get(method) if isinstance(method, str) else None
        shown = {**shown, "payload": _PAYLOAD if params is None else {**_PAYLOAD, "params": params}}
    return _parts(message, shown)


def _parts(value: object, shown: _Shown | None) -> object:
    """The value with its `shown` parts alone."""
    if isinstance(value, dict) and shown:
        return {name: _parts(part, shown.get(name)) for name, part in value.items()}
    return "***" if shown is None or shown or isinstance(value, dict | list) else value
