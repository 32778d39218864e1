"""Commands, their results and who asks for them: types alone; pure.

A command is checked when it is made: from JSON (`request.parse`), from the command line, or in code; a
ValidationError of pydantic names the field.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, ClassVar, Final, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SkipValidation,
    StringConstraints,
    model_validator,
)

from mimi_mqtt.fleet.identity import Identity, Role
from mimi_mqtt.wire import strict_json
from mimi_mqtt.wire.messages import EMOTIONS
from mimi_mqtt.wire.topics import is_device_id

MAX_SAY_CHARS: Final = 2_000
"""Longest text to say."""
MAX_NOTICE_CHARS: Final = 2_000
"""Longest text of a notice."""
EXPIRES_S: Final = 3_600.0
"""The time in which a notice reaches its device or is dropped, unless it says otherwise, in seconds."""
MAX_EXPIRES_S: Final = 7 * 86_400.0
"""Longest such time, in seconds."""
MAX_ALERT_CHARS: Final = 400
"""Longest message of an alert: a device shows it on one screen, and a modem board takes 2 kB of JSON."""
MAX_STATUS_CHARS: Final = 40
"""Longest title of an alert."""
MAX_TOOL_CHARS: Final = 128
"""Longest name of a tool."""
MAX_ARGUMENTS_BYTES: Final = 4_096
"""Longest arguments of a tool, as JSON."""
MAX_TIMEOUT_S: Final = 60.0
"""Longest time-out that can be asked for, in seconds."""
MAX_AGENT_CHARS: Final = 32
"""Longest name of an agent."""
MAX_URL_CHARS: Final = 1_024
"""Longest address of a sound to play: a modem board takes 2 kB of JSON."""


def _device_id(text: str) -> str:
    if not is_device_id(text):
        raise ValueError("a device id is a MAC address such as aa-bb-cc-00-11-22")
    return text


def _emotion(text: str) -> str:
    if text not in EMOTIONS:
        raise ValueError(f"must be one of {', '.join(EMOTIONS)}")
    return text


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an address that begins with http:// or https://")
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError("must have printable ASCII characters alone: write others as %XX")
    return text


def _bounded(arguments: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    if len(strict_json.dumps(arguments)) > MAX_ARGUMENTS_BYTES:
        raise ValueError(f"the arguments are longer than {MAX_ARGUMENTS_BYTES} bytes of JSON")
    return arguments


# ── commands ─────────────────────────────────────────────────────────────────────────────────────────────


class Command(BaseModel):
    """One thing asked of one device. `timeout_s` is the longest wait for its result; empty: the command's
    own."""

    # Built with the first command, which spares the start 10 ms.
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        hide_input_in_errors=True,
        defer_build=True,
        arbitrary_types_allowed=True,
    )

    name: ClassVar[str]
    default_timeout_s: ClassVar[float] = 5.0
    only_in_code: ClassVar[frozenset[str]] = frozenset()
    """Fields that JSON can't hold."""
    waits: ClassVar[bool] = False
    """True: it has to be waited for (`runner.Commands.run`)."""
    for_people: ClassVar[bool] = False
    """True: only for those who may use the tools that devices keep for people."""

    device_id: Annotated[str, AfterValidator(_device_id)]
    timeout_s: float | None = Field(None, gt=0, le=MAX_TIMEOUT_S, allow_inf_nan=False)


class Say(Command):
    """Speaks a text on the device, after what it is speaking; a device without a session shows it instead."""

    name = "say"

    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_SAY_CHARS)]


class Notify(Command):
    """Has the device say a text, or play a sound, now or as soon as it can: an idle device of firmware 2.5.0
    or newer plays it at once, one in a conversation after the turn, one that is away when it connects.

    `audio` is a sound file, or comes in pieces; with it `text` is shown while it plays, and may be empty. An
    urgent notice comes before others that wait, and is shown by an alert besides when the device is in a
    conversation. After `expires_s` seconds it is dropped.
    """

    name = "notify"
    default_timeout_s = 30.0
    only_in_code = frozenset({"audio"})

    text: Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_NOTICE_CHARS)] = ""
    audio: bytes | SkipValidation[AsyncIterator[bytes]] | None = Field(None, repr=False)
    urgent: bool = False
    expires_s: float = Field(EXPIRES_S, gt=0, le=MAX_EXPIRES_S, allow_inf_nan=False)

    @model_validator(mode="after")
    def _has_something_to_tell(self) -> "Notify":
        if not self.text and self.audio is None:
            raise ValueError("field 'text' must not be empty")
        return self


class ShowAlert(Command):
    """Shows a message on the device with a sound; works in every state of the device."""

    name = "alert"

    message: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_ALERT_CHARS)
    ]
    status: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_STATUS_CHARS)
    ] = "Notice"
    emotion: Annotated[str, AfterValidator(_emotion)] = "neutral"


class CallTool(Command):
    """Calls a tool of the device, or one of the server's that its session may use; the result is its text.

    `tool` is the device's own name (`self.audio_speaker.set_volume`) or the one that language models see.
    """

    name = "call"
    default_timeout_s = 20.0
    waits = True

    tool: Annotated[str, StringConstraints(min_length=1, max_length=MAX_TOOL_CHARS)]
    arguments: Annotated[dict[str, JsonValue], AfterValidator(_bounded)] = Field(default_factory=dict)


class EndSession(Command):
    """Ends the device's session with `goodbye`: the device becomes idle and stays connected."""

    name = "end"


class Disconnect(Command):
    """Ends the device's session and closes its control connection; the device may connect again at once."""

    name = "disconnect"


class Play(Command):
    """Has an idle device of firmware 2.5.0 or newer fetch and play the sound at `url`, one Ogg stream of mono
    Opus that the device itself can reach. `text` is shown while it plays."""

    name = "play"

    url: Annotated[str, StringConstraints(min_length=8, max_length=MAX_URL_CHARS), AfterValidator(_url)] = (
        Field(repr=False)
    )
    text: Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_ALERT_CHARS)] = ""


class Reboot(Command):
    """Restarts the device."""

    name = "reboot"
    for_people = True


class SetAgent(Command):
    """Gives the device another agent from its next session on; empty: the default one. With `now` a running
    session ends, so that the next one begins with the next wake-up."""

    name = "agent"
    waits = True
    for_people = True

    agent: Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_AGENT_CHARS)]
    now: bool = False


COMMANDS: Final[Mapping[str, type[Command]]] = {
    kind.name: kind
    for kind in (Say, Notify, ShowAlert, CallTool, EndSession, Disconnect, Play, Reboot, SetAgent)
}
"""Every command, by name."""


# ── results ──────────────────────────────────────────────────────────────────────────────────────────────

Status = Literal["done", "refused", "timed_out", "failed"]


class Refusal(Enum):
    """Why a command was not carried out; nothing happened on the device."""

    UNKNOWN_COMMAND = "unknown_command"
    BAD_ARGUMENTS = "bad_arguments"
    TOO_LONG = "too_long"
    NOT_ALLOWED = "not_allowed"
    UNKNOWN_DEVICE = "unknown_device"
    NOT_CONNECTED = "not_connected"
    NO_SESSION = "no_session"
    UNSUPPORTED = "unsupported"
    BUSY = "busy"


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The outcome of a command.

    `done` has a `payload`, `refused` a `refusal`; what is not done has a `message` for a person. After
    `timed_out` and `failed` it is unknown how much the device has done.
    """

    status: Status
    payload: Mapping[str, JsonValue] = field(default_factory=dict, repr=False)
    refusal: Refusal | None = None
    message: str = ""


def done(**payload: JsonValue) -> CommandResult:
    """A command that was carried out."""
    return CommandResult("done", payload)


def refused(refusal: Refusal, message: str) -> CommandResult:
    """A command that was not carried out; `message` says what to do."""
    return CommandResult("refused", refusal=refusal, message=message)


# ── who asks ─────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Principal:
    """The asker of a command; `name` is for the log.

    `device_id` is the only device that may be asked; None: every one.
    """

    name: str
    device_id: str | None = None
    user_tools: bool = False
    """True: tools that devices keep for people, such as a reboot, may be called."""
    user_id: str = ""
    """The person's account; "" for none."""
    address: str = ""
    """The IP address from which it is asked, "" when unknown."""

    @classmethod
    def of(cls, identity: Identity) -> "Principal | None":
        """An authenticated connection's; None for a role that may not ask for anything."""
        if identity.role is Role.ADMIN:
            return cls(identity.username, user_tools=True)
        if identity.role is Role.TESTER and identity.device_id is not None:
            return cls(identity.username, identity.device_id)
        return None

    def may_command(self, device_id: str) -> bool:
        """True when the device is one that this principal may ask something of."""
        return self.device_id is None or self.device_id == device_id


TIMER: Final = Principal("timer")
"""A timer that is due."""
