"""Actions of the simulated firmware: what is to be done, and what is shown to its user."""

from dataclasses import dataclass

from mimi_mqtt.wire.messages import AudioParams


@dataclass(frozen=True, slots=True)
class Send:
    """Publish this control message."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Play:
    """This frame begins to sound at `at`; `fresh` when the decoder was reset before it."""

    opus: bytes
    at: float
    fresh: bool


@dataclass(frozen=True, slots=True)
class ChannelOpened:
    """Hello was answered: send audio of the session `ssrc` to `server`:`port`, or without a server over the
    WebSocket; the downlink is Opus of `audio`."""

    server: str
    port: int
    session_id: str
    audio: AudioParams
    ssrc: int


@dataclass(frozen=True, slots=True)
class ChannelClosed:
    """There is no audio channel any more, or none came to be; `reason` is for people."""

    reason: str


@dataclass(frozen=True, slots=True)
class Heard:
    """`stt`: what the server understood."""

    text: str


@dataclass(frozen=True, slots=True)
class Sentence:
    """`tts sentence_start`: what is being said."""

    text: str


@dataclass(frozen=True, slots=True)
class Face:
    """`llm`: an emotion."""

    emotion: str


@dataclass(frozen=True, slots=True)
class AlertShown:
    """`alert`."""

    status: str
    message: str


@dataclass(frozen=True, slots=True)
class SpeakingBegan:
    """`tts start`."""


@dataclass(frozen=True, slots=True)
class SpeakingEnded:
    """`tts stop` took effect."""


@dataclass(frozen=True, slots=True)
class ToolCalled:
    """The server called one of the device's tools."""

    name: str


@dataclass(frozen=True, slots=True)
class Rebooted:
    """`system reboot`."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """A message of a type this device does not know, such as `notify`."""

    type: str


Action = (
    Send | Play | ChannelOpened | ChannelClosed | Heard | Sentence | Face | AlertShown | SpeakingBegan
    | SpeakingEnded | ToolCalled | Rebooted | Ignored
)  # fmt: skip
