"""Actions of the simulated firmware: what is to be done, and what is shown to its user."""

from dataclasses import dataclass, field

from mimi_mqtt.wire.glyphs import Glyph
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
class GlyphsPushed:
    """Glyphs that the device's font lacks came with a text; `bpp` is the depth of their bitmaps."""

    glyphs: tuple[Glyph, ...]
    bpp: int


@dataclass(frozen=True, slots=True)
class GlyphsRefused:
    """The glyphs of a text are not as they must be: none was taken."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Characters of a text that are shown as boxes: neither the font nor what was pushed has them."""

    characters: str


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
class FetchNotice:
    """`notify`: plays a popup sound, then fetches and plays the sound at `url`."""

    url: str = field(repr=False)
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StopNotice:
    """A wake word or a button cancels the notice that is being played."""


@dataclass(frozen=True, slots=True)
class NoticePlayed:
    """A notice is over: so much of its sound was heard, with these subtitles; `error` says what was wrong
    with it."""

    audio_ms: int
    texts: tuple[str, ...]
    error: str = ""


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
class PostPicture:
    """A tool posts a picture to `url`, and answers the request `request_id` with what comes back. A photo has
    a question, a screenshot None."""

    request_id: int
    url: str = field(repr=False)
    token: str = field(repr=False, default="")
    question: str | None = None


@dataclass(frozen=True, slots=True)
class PicturePosted:
    """A picture was posted; `result` is the tool's."""

    result: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Rebooted:
    """`system reboot`."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """A message of a type this device does not know, or a `notify` while it is not idle."""

    type: str


Action = (
    Send | Play | ChannelOpened | ChannelClosed | Heard | Sentence | GlyphsPushed | GlyphsRefused | Unreadable
    | Face | AlertShown | SpeakingBegan | SpeakingEnded | ToolCalled | Rebooted | Ignored | FetchNotice
    | StopNotice | NoticePlayed | PostPicture | PicturePosted
)  # fmt: skip
