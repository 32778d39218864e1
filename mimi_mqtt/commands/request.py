"""Commands and results as JSON, for every face that speaks it (`docs/mqtt.md`); pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue, ValidationError

from mimi_mqtt.commands.model import COMMANDS, Command, CommandResult, Refusal
from mimi_mqtt.errors import CommandRefused
from mimi_mqtt.wire import strict_json

MAX_REQUEST_BYTES: Final = 16_384
"""Longest request."""
MAX_ID_CHARS: Final = 64
"""Longest id of a request."""
MAX_PROBLEMS: Final = 4
"""Wrong fields that one error tells."""

_ENVELOPE: Final = frozenset({"id", "command"})
_OURS: Final = frozenset({"device_id"})


@dataclass(frozen=True, slots=True)
class Request:
    """A command and the id by which its sender knows the reply; an empty id is none."""

    id: str
    command: Command


class BadRequest(CommandRefused):
    """A request that can't be understood; `id` and `command` are its own, empty where it has none that fits.

    Its text says what is wrong and what is allowed; `refusal` is the kind of fault.
    """

    def __init__(self, refusal: Refusal, message: str, id_: str = "", command: str = "") -> None:
        super().__init__(message)
        self.refusal = refusal
        self.id = id_
        self.command = command


def parse(device_id: str, payload: bytes) -> Request:
    """The command for `device_id` in a JSON object: `{"id": …, "command": "say", "text": …}`.

    Raises BadRequest, and nothing else, which says what is wrong and what is allowed.
    """
    if len(payload) > MAX_REQUEST_BYTES:
        raise BadRequest(Refusal.TOO_LONG, f"a request has at most {MAX_REQUEST_BYTES} bytes")
    try:
        fields = strict_json.loads(payload)
    except ValueError as error:
        raise BadRequest(Refusal.BAD_ARGUMENTS, f"the request is not JSON: {error}"[:300]) from error
    if not isinstance(fields, dict):
        example = '{"command": "say", "text": "hello"}'
        raise BadRequest(Refusal.BAD_ARGUMENTS, f"a request is a JSON object such as {example}")
    request_id = _id(fields)
    name = fields.get("command")
    if not isinstance(name, str):
        message = f"field 'command' must be one of: {', '.join(COMMANDS)}"
        raise BadRequest(Refusal.UNKNOWN_COMMAND, message, request_id)
    kind = COMMANDS.get(name)
    if kind is None:
        message = f"there is no command {name[:40]!r}; there are: {', '.join(COMMANDS)}"
        raise BadRequest(Refusal.UNKNOWN_COMMAND, message, request_id)
    arguments = {key: value for key, value in fields.items() if key not in _ENVELOPE}
    if any(key in _OURS for key in arguments):
        message = "the device is named by the topic: leave out 'device_id'"
        raise BadRequest(Refusal.BAD_ARGUMENTS, message, request_id, name)
    if any(key in kind.only_in_code for key in arguments):
        message = "a sound is not sent by MQTT: use `mimi-mqtt notify --audio FILE`, or HTTP (docs/mqtt.md)"
        raise BadRequest(Refusal.BAD_ARGUMENTS, message, request_id, name)
    try:
        command = kind.model_validate({**arguments, "device_id": device_id})
    except ValidationError as error:
        refusal, message = _problems(error, kind)
        raise BadRequest(refusal, message, request_id, name) from None  # its text would repeat the input
    return Request(request_id, command)


def _id(fields: Mapping[str, object]) -> str:
    request_id = fields.get("id", "")
    if not isinstance(request_id, str):
        raise BadRequest(Refusal.BAD_ARGUMENTS, "field 'id' must be a string")
    if len(request_id) > MAX_ID_CHARS:
        raise BadRequest(Refusal.TOO_LONG, f"field 'id' has at most {MAX_ID_CHARS} characters")
    return request_id


def _problems(error: ValidationError, kind: type[Command]) -> tuple[Refusal, str]:
    told: list[str] = []
    details = error.errors(include_url=False, include_context=False, include_input=False)
    for detail in details[:MAX_PROBLEMS]:
        where = ".".join(str(part)[:40] for part in detail["loc"])
        if detail["type"] == "extra_forbidden":
            known = [name for name in kind.model_fields if name not in _OURS | kind.only_in_code]
            told.append(f"there is no field {where!r}; {kind.name} takes: {', '.join(known)}")
        elif detail["type"] == "missing":
            told.append(f"field {where!r} is missing")
        else:
            said = detail["msg"].removeprefix("Value error, ")
            told.append(f"field {where!r}: {said}" if where else said)
    if len(details) > MAX_PROBLEMS:
        told.append("and more")
    too_long = all(detail["type"] == "string_too_long" for detail in details)
    return Refusal.TOO_LONG if too_long else Refusal.BAD_ARGUMENTS, "; ".join(told)


def reply(request_id: str, command: str, result: CommandResult) -> bytes:
    """The reply as JSON: `{"id", "command", "status"}`, and `result`, or `reason` and `message`."""
    fields: dict[str, JsonValue] = {}
    if request_id:
        fields["id"] = request_id
    if command:
        fields["command"] = command
    fields["status"] = result.status
    if result.status == "done":
        fields["result"] = dict(result.payload)
    else:
        if result.refusal is not None:
            fields["reason"] = result.refusal.value
        fields["message"] = result.message
    return strict_json.dumps(fields)


def refusal_reply(error: BadRequest) -> bytes:
    """The reply to a request that can't be understood."""
    return reply(error.id, error.command, CommandResult("refused", refusal=error.refusal, message=str(error)))
