"""Control messages: the JSON that devices and server exchange over MQTT or WebSocket.

`parse` turns a device's bytes into a frozen dataclass; the server's messages are dataclasses with `encode`.
Fields come and go between firmware versions: unknown ones are accepted, wrong types are a MessageError that
names the field. Source of every fact: the device contract, section 3.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any, Literal, get_args

from mimi_mqtt.errors import MessageError
from mimi_mqtt.wire import strict_json
from mimi_mqtt.wire.glyphs import GlyphPush, TextFont, read_text_font

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
    """Opens an audio channel; must be answered within 10 s.

    The flags are its `features`; `text_font` is None when the device did not describe it as it should.
    """

    version: int
    transport: str
    audio: AudioParams
    mcp: bool = False
    aec: bool = False
    glyph_push: bool = False
    text_font: TextFont | None = None


@dataclass(frozen=True, slots=True)
class Listen:
    """The device starts or stops sending speech, or heard its wake word (`detect`; `text` is the word).

    `typed`: `text` was written in place of being said (`source` is `text`; no firmware sends it).
    """

    session_id: str
    state: Literal["start", "stop", "detect"]
    mode: ListenMode = "auto"
    text: str = ""
    typed: bool = False


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

    The caller bounds the size of `payload`. Missing fields have their usual values, `session_id` too; null is
    a wrong type.
    """
    if payload.startswith(_HELLO_START) and len(payload) <= _MAX_KEPT_BYTES:
        return _parse_once(payload)
    return _parse(payload)


_HELLO_START = b'{"type":"hello"'
_MAX_KEPT_BYTES = 512


@lru_cache(maxsize=64)
def _parse_once(payload: bytes) -> DeviceMessage:
    """A hello says nothing of its device but its firmware: a thousand devices send the same bytes."""
    return _parse(payload)


def _parse(payload: bytes) -> DeviceMessage:
    try:
        message = strict_json.loads(payload)
    except ValueError as error:
        raise MessageError(f"not a JSON message: {error}") from error
    if type(message) is not dict:
        raise MessageError("a message is a JSON object")
    kind = message.get("type")
    if type(kind) is not str:
        raise MessageError("field 'type' must be a string")
    read = _READERS.get(kind)
    return read(message) if read is not None else UnknownMessage(kind)


_Fields = dict[str, Any]


def _text(fields: _Fields, name: str, default: str = "") -> str:
    value = fields.get(name, default)
    if type(value) is not str:
        raise MessageError(f"field {name!r} must be a string")
    return value


def _whole(fields: _Fields, name: str, default: int, most: int) -> int:
    value = fields.get(name, default)
    if type(value) is not int or not 0 < value <= most:
        raise MessageError(f"field {name!r} must be a whole number from 1 to {most}")
    return value


def _object(fields: _Fields, name: str) -> _Fields:
    value = fields.get(name, _NOTHING)
    if type(value) is not dict:
        raise MessageError(f"field {name!r} must be an object")
    return value


def _flag(fields: _Fields, name: str) -> bool:
    value = fields.get(name, False)
    if type(value) is not bool:
        raise MessageError(f"field {name!r} must be true or false")
    return value


_NOTHING: _Fields = {}
_STATES = frozenset(("start", "stop", "detect"))
_MODES = frozenset(get_args(ListenMode))
_YES = (True, 1)  # some builds say 1; whatever else is said here costs the glyphs, not the conversation


def _read_hello(fields: _Fields) -> DeviceHello:
    audio = _object(fields, "audio_params")
    features = _object(fields, "features")
    if _text(audio, "format", "opus") != "opus":
        raise MessageError("field 'format' must be 'opus'")
    return DeviceHello(
        _whole(fields, "version", 3, 1_000),
        _text(fields, "transport", "udp"),
        AudioParams(
            _whole(audio, "sample_rate", 16_000, 192_000),
            _whole(audio, "channels", 1, 255),
            _whole(audio, "frame_duration", 60, 1_000),
        ),
        _flag(features, "mcp"),
        _flag(features, "aec"),
        features.get("glyph_push") in _YES,
        read_text_font(fields.get("text_font")),
    )


def _read_listen(fields: _Fields) -> Listen:
    state = _text(fields, "state")
    if state not in _STATES:
        raise MessageError("field 'state' of listen must be start, stop or detect")
    mode = _text(fields, "mode", "auto")
    if mode not in _MODES:
        mode = "auto"  # "unknown" and whatever else firmware says (device contract, section 3)
    typed = state == "detect" and fields.get("source") == "text"
    text = _text(fields, "text")
    return Listen(_text(fields, "session_id"), state, mode, text, typed)  # type: ignore[arg-type]


def _read_abort(fields: _Fields) -> Abort:
    return Abort(_text(fields, "session_id"), _text(fields, "reason"))


def _read_mcp(fields: _Fields) -> DeviceMcp:
    if "payload" not in fields:
        raise MessageError("field 'payload' of mcp is missing")
    return DeviceMcp(_text(fields, "session_id"), _object(fields, "payload"))


def _read_goodbye(fields: _Fields) -> DeviceGoodbye:
    return DeviceGoodbye(_text(fields, "session_id"))


_READERS: dict[str, Callable[[_Fields], DeviceMessage]] = {
    "hello": _read_hello,
    "listen": _read_listen,
    "abort": _read_abort,
    "mcp": _read_mcp,
    "goodbye": _read_goodbye,
}


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
    """The transcript; shown as the user's line, with the glyphs that the device's font lacks for it."""

    text: str
    push: GlyphPush | None = None


@dataclass(frozen=True, slots=True)
class Llm:
    """A face (one of EMOTIONS) and its emoji."""

    emotion: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Tts:
    """`start` puts the device into the speaking state, `stop` ends it, `sentence_start` shows `text` with the
    glyphs that the device's font lacks for it."""

    state: Literal["start", "sentence_start", "stop"]
    text: str = ""
    push: GlyphPush | None = None


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
class Subtitle:
    """A text to show from `start_ms` of a notification's sound on."""

    start_ms: int
    text: str


@dataclass(frozen=True, slots=True)
class Notify:
    """Has an idle device (firmware 2.5.0 or newer) fetch and play the Ogg Opus stream at `audio_url`, which
    is a secret; dropped in any other state."""

    audio_url: str = field(repr=False)
    subtitles: tuple[Subtitle, ...] = ()


@dataclass(frozen=True, slots=True)
class Custom:
    """An application's own payload, in builds that enable it."""

    payload: Json


@dataclass(frozen=True, slots=True)
class ServerGoodbye:
    """Ends the session `session_id`; always says which, as old firmware would act on any other too."""

    session_id: str


ServerMessage = ServerHello | Stt | Llm | Tts | ServerMcp | System | Alert | Notify | Custom | ServerGoodbye


def encode(message: ServerMessage, session_id: str = "") -> bytes:
    """The message as compact UTF-8 JSON, with `session_id` where one is known.

    Raises MessageError when a payload holds what JSON can't (NaN, an object).
    """
    quote = encode_basestring
    session = f',"session_id":{quote(session_id)}' if session_id else ""
    match message:
        case Tts(state, text, push):
            spoken = f',"text":{quote(text)}' if text or push else ""  # glyphs without a text are ignored
            line = f'{{"type":"tts"{session},"state":"{state}"{spoken}{_glyphs(push)}}}'
        case Stt(text, push):
            line = f'{{"type":"stt"{session},"text":{quote(text)}{_glyphs(push)}}}'
        case Llm(emotion, text):
            emoji = f',"text":{quote(text)}' if text else ""
            line = f'{{"type":"llm"{session},"emotion":{quote(emotion)}{emoji}}}'
        case ServerHello(transport, hello_session, audio, channel):
            sections = "".join([f",{quote(name)}:{_section(value)}" for name, value in channel.items()])
            line = (
                f'{{"type":"hello","transport":{quote(transport)},"session_id":{quote(hello_session)},'
                f'"audio_params":{{"format":"opus","sample_rate":{audio.sample_rate},'
                f'"channels":{audio.channels},"frame_duration":{audio.frame_duration}}}{sections}}}'
            )
        case ServerMcp(payload):
            line = f'{{"type":"mcp"{session},"payload":{_json(dict(payload))}}}'
        case ServerGoodbye(ended):
            line = f'{{"type":"goodbye","session_id":{quote(ended)}}}'
        case Alert(status, text, emotion):
            line = (
                f'{{"type":"alert"{session},"status":{quote(status)},"message":{quote(text)},'
                f'"emotion":{quote(emotion)}}}'
            )
        case Notify(url, subtitles):
            lines = [f'{{"start_ms":{line.start_ms},"text":{quote(line.text)}}}' for line in subtitles]
            told = f',"subtitles":[{",".join(lines)}]' if lines else ""
            line = f'{{"type":"notify"{session},"audio_url":{quote(url)}{told}}}'
        case System(command):
            line = f'{{"type":"system"{session},"command":"{command}"}}'
        case Custom(payload):
            line = f'{{"type":"custom"{session},"payload":{_json(dict(payload))}}}'
    return line.encode(errors="replace")


def _glyphs(push: GlyphPush | None) -> str:
    return f',"glyph_push":{push.json}' if push is not None else ""


def _section(value: object) -> str:
    """JSON of a transport's section in hello: texts and whole numbers, at half the time that JSON in general
    takes. A thousand devices may say hello at once."""
    if type(value) is not dict:
        return _json(value)
    fields: list[str] = []
    for name, part in value.items():
        if type(name) is str and type(part) is str:
            fields.append(f"{encode_basestring(name)}:{encode_basestring(part)}")
        elif type(name) is str and type(part) is int:
            fields.append(f"{encode_basestring(name)}:{part}")
        else:
            return _json(value)
    return f"{{{','.join(fields)}}}"


def _json(value: object) -> str:
    try:
        return strict_json.dumps(value).decode()
    except ValueError as error:
        raise MessageError(f"a payload can't be sent: {error}") from error


_SECRETS = frozenset(("key", "nonce", "token", "password", "audio_url"))
_ADDRESS = re.compile(r"\b((?:https?|wss?)://[^\s/?#\"]{1,300})[/?#][^\s\"]+", re.IGNORECASE)


def redact(payload: bytes) -> bytes:
    """A copy for mirrors, traces and logs: values of `key`, `nonce`, `token`, `password` and `audio_url` at
    any depth are `***`, and so is the end of each address (`url`): a signature in it opens what it names.

    What is not JSON comes back as a note of its length, never as it is.
    """
    try:
        return strict_json.dumps(_without_secrets(strict_json.loads(payload)))
    except (ValueError, RecursionError):
        return b'{"unreadable_bytes":%d}' % len(payload)


def _without_secrets(value: object) -> object:
    if isinstance(value, dict):
        return {
            name: "***" if name.lower() in _SECRETS else _without_secrets(part)
            for name, part in value.items()
        }
    if isinstance(value, list):
        return [_without_secrets(part) for part in value]
    return _ADDRESS.sub(r"\1/***", value) if isinstance(value, str) else value
