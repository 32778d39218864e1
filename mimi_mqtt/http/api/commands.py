"""Commands for a device: say, notify, alert, play, tool, reboot, end, disconnect, agent."""

import json
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import TypeAdapter, ValidationError

from mimi_mqtt.commands.model import (
    EXPIRES_S,
    MAX_ALERT_CHARS,
    MAX_EXPIRES_S,
    MAX_TIMEOUT_S,
    CallTool,
    Command,
    CommandResult,
    Disconnect,
    EndSession,
    Notify,
    Play,
    Principal,
    Reboot,
    Say,
    SetAgent,
    ShowAlert,
)
from mimi_mqtt.errors import LimitReached
from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.bodies import stream
from mimi_mqtt.http.api.command_bodies import (
    MIN_TIMEOUT_S,
    AgentBody,
    AlertBody,
    CommandBody,
    CommandDone,
    NotifyBody,
    PlayBody,
    SayBody,
    ToolBody,
)
from mimi_mqtt.http.api.command_results import require_done
from mimi_mqtt.http.api.idempotency import IdempotencyKey, Outcome
from mimi_mqtt.http.api.paths import DeviceId
from mimi_mqtt.http.api.problems import Problem, wrong_fields
from mimi_mqtt.http.api.services import ApiServices, Services
from mimi_mqtt.http.api.visibility import visible
from mimi_mqtt.http.device.notices import MAX_UPLOAD_BYTES
from mimi_mqtt.people.access import Caller, Scope

MAX_UPLOADS: Final = 4
"""Sounds that are being sent at once."""

router = APIRouter(prefix="/devices/{device_id}/commands", tags=["commands"])

CommandCaller = Annotated[Caller, callers(Scope.COMMANDS)]

_RESULT: Final = TypeAdapter(CommandResult)


class _Asking:
    """The common part of all routes: the device as the caller sees it, and the key of the request."""

    def __init__(
        self,
        device_id: DeviceId,
        caller: CommandCaller,
        services: Services,
        response: Response,
        idempotency_key: IdempotencyKey = None,
    ) -> None:
        self.device_id = visible(services.directory, caller, device_id).device_id
        self._caller = caller
        self._services: ApiServices = services
        self._response = response
        self._key = idempotency_key

    async def run(
        self, kind: type[Command], body: CommandBody | None = None, *, audio: bytes | None = None
    ) -> CommandDone:
        """Carries a command out. Raises Problem."""
        fields = body.model_dump() if body is not None else {}
        asked = json.dumps([self.device_id, kind.name, fields], sort_keys=True).encode() + (audio or b"")
        if audio is not None:
            fields["audio"] = audio
        try:
            command = kind.model_validate({**fields, "device_id": self.device_id})
        except ValidationError as error:
            raise wrong_fields(error) from None

        async def carry_out() -> Outcome:
            result = await self._services.commands.run(command, by=self._principal(command))
            kept = result.status != "refused"
            return Outcome(_RESULT.dump_json(result).decode(), kept)

        told, again = await self._services.idempotency.once(self._caller, self._key, asked, carry_out)
        if again:
            self._response.headers["Idempotency-Replayed"] = "true"
        return _answer(kind.name, _RESULT.validate_json(told))

    def _principal(self, command: Command) -> Principal:
        """The caller. A key that may only give commands has no tools that are for people: one of them gives
        the device another firmware."""
        caller = self._caller
        for_people = command.for_people or caller.may(Scope.DEVICES_WRITE)
        return Principal(caller.name, self.device_id, for_people, caller.user_id, caller.address)


Asking = Annotated[_Asking, Depends()]


def _answer(name: str, result: CommandResult) -> CommandDone:
    require_done(name, result)
    return CommandDone(command=name, result=dict(result.payload))


@router.post("/say")
async def say(asking: Asking, body: SayBody) -> CommandDone:
    """Speaks a text on the device after what it is speaking. `result.how`: `spoken` when it is queued, or
    `shown` on a device without a session."""
    return await asking.run(Say, body)


@router.post("/notify")
async def notify(asking: Asking, body: NotifyBody) -> CommandDone:
    """Has the device say a text although it may be idle or away. `result.how` is what is known by then, and
    the event `notice_told` with the id `result.notice` tells what becomes of it."""
    return await asking.run(Notify, body)


@router.post(
    "/notify/audio",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def notify_audio(
    asking: Asking,
    request: Request,
    services: Services,
    text: Annotated[str, Query(max_length=MAX_ALERT_CHARS, description="Shown while the sound plays")] = "",
    urgent: bool = False,
    expires_s: Annotated[float, Query(gt=0, le=MAX_EXPIRES_S)] = EXPIRES_S,
    timeout_s: Annotated[float | None, Query(ge=MIN_TIMEOUT_S, le=MAX_TIMEOUT_S)] = None,
) -> CommandDone:
    """Has the device play the body, a sound file such as WAV, MP3 or Ogg Opus; otherwise as `notify`."""
    with services.sound_uploads:
        sound = b"".join([part async for part in stream(request, MAX_UPLOAD_BYTES)])
        if not sound:
            raise Problem(422, "the body must be a sound file")
        body = _SoundBody(text=text, urgent=urgent, expires_s=expires_s, timeout_s=timeout_s)
        return await asking.run(Notify, body, audio=sound)


class _SoundBody(CommandBody):
    text: str
    urgent: bool
    expires_s: float


class Uploads:
    """Bounds the sounds that are being sent at once, as a context. Raises LimitReached."""

    def __init__(self, most: int = MAX_UPLOADS) -> None:
        self._most = most
        self._running = 0

    def __enter__(self) -> None:
        if self._running >= self._most:
            raise LimitReached("other sounds are being sent: try again in a moment", 5)
        self._running += 1

    def __exit__(self, *_: object) -> None:
        self._running -= 1


@router.post("/alert")
async def alert(asking: Asking, body: AlertBody) -> CommandDone:
    """Shows a message with a sound, whatever the device is doing."""
    return await asking.run(ShowAlert, body)


@router.post("/play")
async def play(asking: Asking, body: PlayBody) -> CommandDone:
    """Has an idle device fetch and play a sound by its address."""
    return await asking.run(Play, body)


@router.post("/tool")
async def call_tool(asking: Asking, body: ToolBody) -> CommandDone:
    """Calls a tool; `result.text` is what it answered. Tools that devices keep for people, such as
    `self.upgrade_firmware`, need the scope `devices:write` as well."""
    return await asking.run(CallTool, body)


@router.post("/reboot")
async def reboot(asking: Asking, body: CommandBody | None = None) -> CommandDone:
    """Restarts the device."""
    return await asking.run(Reboot, body)


@router.post("/end")
async def end_session(asking: Asking, body: CommandBody | None = None) -> CommandDone:
    """Ends the device's session: it becomes idle and stays connected."""
    return await asking.run(EndSession, body)


@router.post("/disconnect")
async def disconnect(asking: Asking, body: CommandBody | None = None) -> CommandDone:
    """Ends the device's session and closes its connection; it may connect again at once."""
    return await asking.run(Disconnect, body)


@router.post("/agent")
async def set_agent(
    asking: Asking, body: AgentBody, caller: Annotated[Caller, callers(Scope.DEVICES_WRITE)]
) -> CommandDone:
    """Gives the device another agent from its next session on, also while it is away."""
    del caller  # its scope is checked
    return await asking.run(SetAgent, body)
