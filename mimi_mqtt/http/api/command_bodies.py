"""Bodies of requests for commands, and their results. `commands.model` has the commands."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from mimi_mqtt.commands import model
from mimi_mqtt.http.api.scalars import Flag
from mimi_mqtt.wire.messages import EMOTIONS

MIN_TIMEOUT_S: Final = 1.0
"""Shortest time-out that can be asked for, in seconds."""

Timeout = Annotated[
    float | None,
    Field(
        ge=MIN_TIMEOUT_S,
        le=model.MAX_TIMEOUT_S,
        description="Longest wait for the result, in seconds; default: the command's",
    ),
]


class CommandBody(BaseModel):
    """Fields that every command takes."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)

    timeout_s: Timeout = None


class SayBody(CommandBody):
    """A text to speak after what the device is speaking; shown on a device without a session."""

    text: str = Field(min_length=1, max_length=model.MAX_SAY_CHARS)


class NotifyBody(CommandBody):
    """A text that the device is to say, now or as soon as it can."""

    text: str = Field(min_length=1, max_length=model.MAX_NOTICE_CHARS)
    urgent: Flag = False
    """Before other notices that wait, and shown besides in a conversation."""
    expires_s: float = Field(model.EXPIRES_S, gt=0, le=model.MAX_EXPIRES_S)
    """Dropped after so many seconds."""


class AlertBody(CommandBody):
    """A message to show with a sound, whatever the device is doing."""

    message: str = Field(min_length=1, max_length=model.MAX_ALERT_CHARS)
    status: str = Field("Notice", min_length=1, max_length=model.MAX_STATUS_CHARS)
    """The title."""
    emotion: str = Field("neutral", json_schema_extra={"enum": list(EMOTIONS)})
    """The face."""


class PlayBody(CommandBody):
    """A sound that the idle device fetches by itself: one Ogg stream of mono Opus; firmware 2.5.0 or newer.
    Any other file is played by `notify/audio`."""

    url: str = Field(
        min_length=8, max_length=model.MAX_URL_CHARS, pattern=r"^https?://[\x21-\x7e]+$", repr=False
    )
    """An address that the device can reach."""
    text: str = Field("", max_length=model.MAX_ALERT_CHARS)
    """Shown while it plays."""


class ToolBody(CommandBody):
    """A call of a tool of the device, or one of the server's that its session may use."""

    tool: str = Field(min_length=1, max_length=model.MAX_TOOL_CHARS)
    """Its name on the device, such as `self.audio_speaker.set_volume`, or the one that models see."""
    arguments: dict[str, JsonValue] = Field(default_factory=dict)


class AgentBody(CommandBody):
    """Another agent, from the next session on."""

    agent: str = Field(max_length=model.MAX_AGENT_CHARS)
    """Its name; empty: the default one."""
    now: Flag = False
    """Ends a running session, so that the next wake-up begins with the agent."""


class CommandDone(BaseModel):
    """A command that was carried out."""

    command: str
    status: Literal["done"] = "done"
    result: dict[str, JsonValue]
