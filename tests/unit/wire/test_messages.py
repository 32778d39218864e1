import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.errors import MessageError
from mimi_mqtt.wire import messages
from mimi_mqtt.wire.glyphs import TextFont
from mimi_mqtt.wire.messages import (
    Abort,
    Alert,
    AudioParams,
    Custom,
    DeviceGoodbye,
    DeviceHello,
    DeviceMcp,
    Listen,
    Llm,
    Notify,
    ServerGoodbye,
    ServerHello,
    ServerMcp,
    ServerMessage,
    Stt,
    Subtitle,
    System,
    Tts,
    UnknownMessage,
)

HELLO = {
    "type": "hello",
    "version": 3,
    "transport": "udp",
    "features": {"mcp": True, "aec": True, "glyph_push": True, "new": 1},
    "text_font": {"bundle": "x", "charset": "gb2312", "size": 20, "bpp": 4},
    "audio_params": {"format": "opus", "sample_rate": 16000, "channels": 1, "frame_duration": 60},
}
LISTEN = {"session_id": "s", "type": "listen", "state": "start", "mode": "manual", "text": "hi"}
ABORT = {"session_id": "s", "type": "abort", "reason": "wake_word_detected"}
MCP = {"session_id": "s", "type": "mcp", "payload": {"jsonrpc": "2.0", "id": 1, "result": {}}}
GOODBYE = {"session_id": "s", "type": "goodbye"}

_GLYPH_PUSH: list[object] = [True, 1, False, 0, 2, None, "yes", [1], {}]
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)


def wire(message: object) -> bytes:
    return json.dumps(message).encode()


# ── from the device ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("sent", "parsed"),
    [
        (
            HELLO,
            DeviceHello(
                3, "udp", AudioParams(16_000, 1, 60), True, True, True, TextFont("x", "gb2312", 20, 4)
            ),
        ),
        *(
            (HELLO | {"text_font": font}, DeviceHello(3, "udp", AudioParams(16_000, 1, 60), True, True, True))
            for font in (None, "x", {}, {"bundle": "x", "charset": "y", "size": 20}, {"bundle": "x" * 65})
        ),
        *(
            (
                {"type": "hello", "features": {"glyph_push": said}},
                DeviceHello(3, "udp", AudioParams(), glyph_push=said == 1),
            )
            for said in _GLYPH_PUSH
        ),
        ({"type": "hello"}, DeviceHello(3, "udp", AudioParams())),
        (
            {"type": "hello", "version": 1, "transport": "websocket", "audio_params": {"frame_duration": 20}},
            DeviceHello(1, "websocket", AudioParams(16_000, 1, 20)),
        ),
        (LISTEN, Listen("s", "start", "manual", "hi")),
        (LISTEN | {"mode": "unknown"}, Listen("s", "start", "auto", "hi")),
        (LISTEN | {"mode": "always"}, Listen("s", "start", "auto", "hi")),
        ({"type": "listen", "state": "stop"}, Listen("", "stop")),
        (
            {"type": "listen", "state": "detect", "text": "你好小智"},
            Listen("", "detect", "auto", "你好小智"),
        ),
        (
            {"type": "listen", "state": "detect", "text": "hello", "source": "text"},
            Listen("", "detect", "auto", "hello", typed=True),
        ),
        ({"type": "listen", "state": "start", "source": "text"}, Listen("", "start")),
        (ABORT, Abort("s", "wake_word_detected")),
        ({"type": "abort"}, Abort("")),
        (MCP, DeviceMcp("s", {"jsonrpc": "2.0", "id": 1, "result": {}})),
        (GOODBYE, DeviceGoodbye("s")),
        ({"type": "goodbye"}, DeviceGoodbye("")),
        ({"type": "iot", "states": []}, UnknownMessage("iot")),
        ({"type": ""}, UnknownMessage("")),
    ],
)
def test_device_messages(sent: dict[str, Any], parsed: object) -> None:
    assert messages.parse(wire(sent)) == parsed


def paths(message: dict[str, Any], *above: str) -> list[tuple[str, ...]]:
    found = []
    for name, value in message.items():
        found.append((*above, name))
        if isinstance(value, dict) and name != "payload":
            found += paths(value, *above, name)
    return found


def understood(message: dict[str, Any]) -> list[tuple[str, ...]]:
    lenient = ("new", "glyph_push")
    return [path for path in paths(message) if path[0] != "text_font" and path[-1] not in lenient]


WRONG: list[object] = [None, True, 0, -1, 3.5, 10**18, "text", [], [{}], {}, {"a": 1}]
FIELDS = [(message, path) for message in (HELLO, LISTEN, ABORT, MCP, GOODBYE) for path in understood(message)]


@pytest.mark.parametrize(
    ("message", "path"), FIELDS, ids=lambda part: ".".join(part) if isinstance(part, tuple) else part["type"]
)
def test_wrong_types_in_every_field_are_refused_by_name(
    message: dict[str, Any], path: tuple[str, ...]
) -> None:
    right: Any = message
    for name in path:
        right = right[name]
    for wrong in WRONG:
        if type(wrong) is type(right) and not (type(right) is int and wrong in (0, -1, 10**18)):
            continue
        damaged = json.loads(json.dumps(message))
        inner = damaged
        for name in path[:-1]:
            inner = inner[name]
        inner[path[-1]] = wrong
        with pytest.raises(MessageError, match=path[-1]):
            messages.parse(wire(damaged))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"hello",
        b"[]",
        b'"hello"',
        b"null",
        b"{}",
        b'{"type":"hello","version":NaN}',
        b'{"type":"hello","version":1e999}',
        b'{"type":"hello","version":' + b"1" * 10_000 + b"}",
        b'{"type":"listen","state":"detect","text":"\\ud83d"}',
        b'{"type":"listen"}',
        b'{"type":"listen","state":"pause"}',
        b'{"type":"hello","audio_params":{"format":"pcm"}}',
        b'{"type":"mcp"}',
        b'{"type":"mcp","payload":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001,
        b'{"type":"mcp","payload":' + b"[" * 500_000,
        b"\xff\xfe\x00",
        b" " * 1_000_000,
    ],
    ids=lambda payload: repr(payload[:40]),
)
def test_junk_is_refused(payload: bytes) -> None:
    with pytest.raises(MessageError):
        messages.parse(payload)


def test_last_of_two_equal_keys_counts() -> None:
    assert messages.parse(b'{"type":"abort","session_id":"a","session_id":"b"}') == Abort("b")


@given(st.one_of(st.binary(), st.text().map(str.encode)))
def test_any_bytes_are_read_or_refused(payload: bytes) -> None:
    try:
        messages.parse(payload)
    except MessageError:
        return


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=8,
)
field_names = st.sampled_from(
    [
        "session_id",
        "state",
        "mode",
        "text",
        "reason",
        "payload",
        "version",
        "transport",
        "features",
        "audio_params",
    ]
)


@given(
    st.sampled_from(["hello", "listen", "abort", "mcp", "goodbye", "x"]),
    st.dictionaries(field_names, json_values),
)
def test_any_fields_are_read_or_refused(kind: str, fields: dict[str, Any]) -> None:
    try:
        messages.parse(wire({**fields, "type": kind}))
    except MessageError:
        return


# ── to the device ────────────────────────────────────────────────────────────────────────────────────────

UDP = {
    "udp": {
        "server": "192.168.1.2",
        "port": 8884,
        "encryption": "aes-128-ctr",
        "key": "00" * 16,
        "nonce": "01" + "00" * 15,
    }
}


@pytest.mark.parametrize(
    ("message", "sent"),
    [
        (
            ServerHello("udp", "s1", AudioParams(24_000), UDP),
            {
                "type": "hello",
                "transport": "udp",
                "session_id": "s1",
                "audio_params": {"format": "opus", "sample_rate": 24000, "channels": 1, "frame_duration": 60},
                **UDP,
            },
        ),
        (Stt('say "hi" \\'), {"type": "stt", "session_id": "s", "text": 'say "hi" \\'}),
        (Llm("happy", "🙂"), {"type": "llm", "session_id": "s", "emotion": "happy", "text": "🙂"}),
        (Llm("sad"), {"type": "llm", "session_id": "s", "emotion": "sad"}),
        (Tts("start"), {"type": "tts", "session_id": "s", "state": "start"}),
        (Tts("stop"), {"type": "tts", "session_id": "s", "state": "stop"}),
        (
            Tts("sentence_start", "Chào\nbạn"),
            {"type": "tts", "session_id": "s", "state": "sentence_start", "text": "Chào\nbạn"},
        ),
        (
            ServerMcp({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}),
            {
                "type": "mcp",
                "session_id": "s",
                "payload": {"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
            },
        ),
        (System("reboot"), {"type": "system", "session_id": "s", "command": "reboot"}),
        (
            Alert("Error", "No answer", "sad"),
            {
                "type": "alert",
                "session_id": "s",
                "status": "Error",
                "message": "No answer",
                "emotion": "sad",
            },
        ),
        (Custom({"a": [1, None]}), {"type": "custom", "session_id": "s", "payload": {"a": [1, None]}}),
        (ServerGoodbye("old"), {"type": "goodbye", "session_id": "old"}),
    ],
)
def test_server_messages(message: ServerMessage, sent: dict[str, Any]) -> None:
    assert json.loads(messages.encode(message, "s")) == sent


def test_session_id_is_left_out_where_none_is_known() -> None:
    assert messages.encode(Tts("start")) == b'{"type":"tts","state":"start"}'
    assert json.loads(messages.encode(Alert("a", "b"))) == {
        "type": "alert",
        "status": "a",
        "message": "b",
        "emotion": "neutral",
    }


def test_goodbye_always_says_which_session() -> None:
    assert json.loads(messages.encode(ServerGoodbye(""), "s")) == {"type": "goodbye", "session_id": ""}


@given(texts, texts, texts)
def test_any_text_arrives(first: str, second: str, session_id: str) -> None:
    for message, fields in (
        (Stt(first), {"text": first}),
        (Llm("happy", second or "🙂"), {"text": second or "🙂"}),
        (Tts("sentence_start", first or "a"), {"text": first or "a"}),
        (Alert(first, second), {"status": first, "message": second}),
    ):
        received = json.loads(messages.encode(message, session_id or "s"))
        assert received["session_id"] == (session_id or "s")
        assert received | fields == received


def test_half_a_surrogate_pair_is_sent_as_a_question_mark() -> None:
    assert json.loads(messages.encode(Stt("a\ud83d")))["text"] == "a?"


@pytest.mark.parametrize("payload", [{"a": float("nan")}, {"a": object()}, {"a": {1j: 1}}])
def test_payloads_that_json_can_not_hold_are_refused(payload: dict[str, Any]) -> None:
    for message in (ServerMcp(payload), Custom(payload), ServerHello("udp", "s", AudioParams(), payload)):
        with pytest.raises(MessageError):
            messages.encode(message)


# ── mirrors and logs ─────────────────────────────────────────────────────────────────────────────────────


def test_secrets_at_any_depth_are_blackened() -> None:
    secret = {
        "key": "1",
        "list": [{"Nonce": "2"}, [{"token": {"inner": "3"}}]],
        "capabilities": {"vision": {"url": "http://h/", "token": "4"}},
        "PASSWORD": 5,
        "keys": "stays",
    }
    assert json.loads(messages.redact(wire(secret))) == {
        "key": "***",
        "list": [{"Nonce": "***"}, [{"token": "***"}]],
        "capabilities": {"vision": {"url": "http://h/", "token": "***"}},
        "PASSWORD": "***",
        "keys": "stays",
    }


def test_escaped_key_names_are_blackened_too() -> None:
    assert b"secret" not in messages.redact(b'{"\\u006bey":"secret"}')


def test_hello_of_the_server_is_shown_without_its_key() -> None:
    shown = messages.redact(messages.encode(ServerHello("udp", "s", AudioParams(), UDP)))
    assert b"0000" not in shown
    assert json.loads(shown)["udp"]["server"] == "192.168.1.2"


@pytest.mark.parametrize(
    "payload", [b"", b"key=abc", b'{"key":"abc"', b"\xff", b"[" * 10_000, b'{"key":NaN}']
)
def test_what_is_not_json_is_shown_as_its_length(payload: bytes) -> None:
    assert json.loads(messages.redact(payload)) == {"unreadable_bytes": len(payload)}


@given(st.binary())
def test_any_bytes_can_be_shown(payload: bytes) -> None:
    shown = json.loads(messages.redact(payload))
    try:
        json.loads(payload)
    except ValueError:
        assert shown == {"unreadable_bytes": len(payload)}


def test_a_hello_is_the_same_however_often_and_in_whatever_spelling_it_comes() -> None:
    plain = b'{"type":"hello","features":{"mcp":true},"transport":"udp","audio_params":{"frame_duration":20}}'
    spaced = plain.replace(b":", b": ")
    assert messages.parse(plain) == messages.parse(plain) == messages.parse(spaced)
    assert messages.parse(plain.replace(b"20", b"40")) != messages.parse(plain)


def test_a_wrong_hello_is_an_error_each_time() -> None:
    for _ in range(2):
        with pytest.raises(MessageError, match="transport"):
            messages.parse(b'{"type":"hello","transport":7}')


def test_notify_has_the_address_and_the_times_of_its_subtitles() -> None:
    told = json.loads(
        messages.encode(Notify("http://h/n/x", (Subtitle(0, 'Say "hi".'), Subtitle(900, "Bye"))))
    )
    assert told == {
        "type": "notify",
        "audio_url": "http://h/n/x",
        "subtitles": [{"start_ms": 0, "text": 'Say "hi".'}, {"start_ms": 900, "text": "Bye"}],
    }
    assert json.loads(messages.encode(Notify("http://h/n/x"))) == {
        "type": "notify",
        "audio_url": "http://h/n/x",
    }


def test_the_address_of_a_notify_is_shown_to_no_watcher_and_in_no_repr() -> None:
    notify = Notify("http://h/n/x")
    assert b"/n/x" not in messages.redact(messages.encode(notify))
    assert "/n/x" not in repr(notify)
