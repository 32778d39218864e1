"""Control messages: the JSON that devices and server exchange over MQTT or WebSocket.

`parse` turns a device's bytes into a frozen dataclass; the server's messages are dataclasses with `encode`.
Fields come and go between firmware versions: unknown ones are accepted, wrong types are a MessageError that
names the field. Source of every fact: the device contract, section 3.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mimi_mqtt.errors import MessageError

Json = Mapping[str, Any]

ListenMode = Literal["auto", "manual", "realtime"]
EMOTIONS = (
    "neutral", "happy", "laughing", "funny", "sad", "angry", "crying", "loving", "embarrassed", "surprised",
    "shocked", "thinking", "winking", "cool", "relaxed", "delicious", "kissy", "confident", "sleepy", "silly",
    "confused",
)  # fmt: skip


# ── from the device ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class AudioParams:
    """Opus stream parameters: Hz, channel count, ms per frame."""

    sample_rate: int = 16_000
    channels: int = 1
    frame_duration: int = 60


@dataclass(frozen=True, slots=True)
class DeviceHello:
    """Opens an audio channel; must be answered within 10 s."""

    version: int
    transport: str
    audio: AudioParams
    mcp: bool = False
    aec: bool = False
    glyph_push: bool = False


@dataclass(frozen=True, slots=True)
class Listen:
    """The device starts or stops sending speech, or heard its wake word (`detect`, then `text` is the word)."""

    session_id: str
    state: Literal["start", "stop", "detect"]
    mode: ListenMode = "auto"
    text: str = ""


@dataclass(frozen=True, slots=True)
class Abort:
    """Stop speaking now."""

    session_id: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DeviceMcp:
    """A JSON-RPC 2.0 reply or notification of the device's MCP server; may come before any hello."""

    session_id: str
    payload: Json


@dataclass(frozen=True, slots=True)
class DeviceGoodbye:
    """The device closed the channel."""

    session_id: str


@dataclass(frozen=True, slots=True)
class UnknownMessage:
    """A well-formed message of a type this server does not know: ignored."""

    type: str


DeviceMessage = DeviceHello | Listen | Abort | DeviceMcp | DeviceGoodbye | UnknownMessage


def parse(payload: bytes) -> DeviceMessage:
    """A device's message. Raises MessageError that names what is wrong; never anything else.

    The caller bounds the size of `payload`.
    """
    raise NotImplementedError


# ── to the device ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class ServerHello:
    """The answer to hello. `channel` holds the transport's own section, such as `{"udp": {...}}`."""

    transport: str
    session_id: str
    audio: AudioParams
    channel: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stt:
    """What was heard; shown as the user's line."""

    text: str


@dataclass(frozen=True, slots=True)
class Llm:
    """A face (one of EMOTIONS) and its emoji."""

    emotion: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Tts:
    """`start` puts the device into the speaking state, `stop` ends it, `sentence_start` shows `text`."""

    state: Literal["start", "sentence_start", "stop"]
    text: str = ""


@dataclass(frozen=True, slots=True)
class ServerMcp:
    """A JSON-RPC 2.0 request to the device's MCP server; ids are numbers."""

    payload: Json


@dataclass(frozen=True, slots=True)
class System:
    """`reboot`."""

    command: Literal["reboot"]


@dataclass(frozen=True, slots=True)
class Alert:
    """Shown, with a sound, in any state and without a session."""

    status: str
    message: str
    emotion: str = "neutral"


@dataclass(frozen=True, slots=True)
class Custom:
    """An application's own payload, in builds that enable it."""

    payload: Json


@dataclass(frozen=True, slots=True)
class ServerGoodbye:
    """Ends the session `session_id`; always says which, as old firmware would act on any other too."""

    session_id: str


ServerMessage = ServerHello | Stt | Llm | Tts | ServerMcp | System | Alert | Custom | ServerGoodbye


def encode(message: ServerMessage, session_id: str = "") -> bytes:
    """The message as compact UTF-8 JSON, with `session_id` where one is known."""
    raise NotImplementedError


def redact(payload: bytes) -> bytes:
    """A copy for mirrors and logs: the values of `key`, `nonce`, `token` and `password` at any depth are `***`.

    What is not JSON comes back as a note of its length, never as it is.
    """
    raise NotImplementedError
