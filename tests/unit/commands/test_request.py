"""Requests in JSON: every field of every command, and errors that say how to mend them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.commands.model import (
    COMMANDS,
    MAX_ARGUMENTS_BYTES,
    MAX_SAY_CHARS,
    CallTool,
    Command,
    CommandResult,
    Disconnect,
    EndSession,
    Notify,
    Play,
    Reboot,
    Refusal,
    Say,
    SetAgent,
    ShowAlert,
    done,
    refused,
)
from mimi_mqtt.commands.request import (
    MAX_ID_CHARS,
    MAX_REQUEST_BYTES,
    BadRequest,
    Request,
    parse,
    refusal_reply,
    reply,
)
from tests.unit.commands.fake_control import DEVICE


def _parse(**fields: Any) -> Request:
    return parse(DEVICE, json.dumps(fields).encode())


def _refused(payload: bytes) -> BadRequest:
    with pytest.raises(BadRequest) as refusal:
        parse(DEVICE, payload)
    return refusal.value


@pytest.mark.parametrize(
    ("fields", "command"),
    [
        ({"command": "say", "text": " Hello. "}, Say(device_id=DEVICE, text="Hello.")),
        ({"command": "notify", "text": " Hello. "}, Notify(device_id=DEVICE, text="Hello.")),
        (
            {"command": "notify", "text": "x", "urgent": True, "expires_s": 60},
            Notify(device_id=DEVICE, text="x", urgent=True, expires_s=60.0),
        ),
        ({"command": "alert", "message": "Door"}, ShowAlert(device_id=DEVICE, message="Door")),
        (
            {"command": "alert", "message": "Door", "status": "Warning", "emotion": "sad"},
            ShowAlert(device_id=DEVICE, message="Door", status="Warning", emotion="sad"),
        ),
        (
            {"command": "call", "tool": "self.audio_speaker.set_volume", "arguments": {"volume": 30}},
            CallTool(device_id=DEVICE, tool="self.audio_speaker.set_volume", arguments={"volume": 30}),
        ),
        (
            {"command": "call", "tool": "t", "timeout_s": 30},
            CallTool(device_id=DEVICE, tool="t", timeout_s=30.0),
        ),
        ({"command": "end"}, EndSession(device_id=DEVICE)),
        ({"command": "disconnect"}, Disconnect(device_id=DEVICE)),
        (
            {"command": "play", "url": "http://192.0.2.9/bell.ogg", "text": "Bell"},
            Play(device_id=DEVICE, url="http://192.0.2.9/bell.ogg", text="Bell"),
        ),
        ({"command": "reboot"}, Reboot(device_id=DEVICE)),
        (
            {"command": "agent", "agent": "chef", "now": True},
            SetAgent(device_id=DEVICE, agent="chef", now=True),
        ),
    ],
)
def test_every_command_has_its_json(fields: dict[str, Any], command: Command) -> None:
    assert _parse(**fields) == Request("", command)
    assert _parse(id="42", **fields) == Request("42", command)


def test_every_command_is_tested() -> None:
    assert set(COMMANDS) == {
        "say", "notify", "alert", "call", "end", "disconnect", "play", "reboot", "agent",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "refusal", "named"),
    [
        ({}, Refusal.UNKNOWN_COMMAND, "command"),
        ({"command": 1}, Refusal.UNKNOWN_COMMAND, "command"),
        ({"command": "dance"}, Refusal.UNKNOWN_COMMAND, "disconnect"),
        ({"command": "say"}, Refusal.BAD_ARGUMENTS, "text"),
        ({"command": "say", "text": 1}, Refusal.BAD_ARGUMENTS, "text"),
        ({"command": "say", "text": "  "}, Refusal.BAD_ARGUMENTS, "text"),
        ({"command": "say", "text": "x" * (MAX_SAY_CHARS + 1)}, Refusal.TOO_LONG, "text"),
        ({"command": "say", "text": "x", "volume": 3}, Refusal.BAD_ARGUMENTS, "volume"),
        ({"command": "say", "text": "x", "device_id": DEVICE}, Refusal.BAD_ARGUMENTS, "device_id"),
        ({"command": "say", "text": "x", "timeout_s": 0}, Refusal.BAD_ARGUMENTS, "timeout_s"),
        ({"command": "say", "text": "x", "timeout_s": 1e9}, Refusal.BAD_ARGUMENTS, "timeout_s"),
        ({"command": "say", "text": "x", "timeout_s": True}, Refusal.BAD_ARGUMENTS, "timeout_s"),
        ({"command": "notify"}, Refusal.BAD_ARGUMENTS, "text"),
        ({"command": "notify", "text": " "}, Refusal.BAD_ARGUMENTS, "text"),
        ({"command": "notify", "text": "x" * 2_001}, Refusal.TOO_LONG, "text"),
        ({"command": "notify", "text": "x", "expires_s": 0}, Refusal.BAD_ARGUMENTS, "expires_s"),
        ({"command": "notify", "text": "x", "expires_s": 604_801}, Refusal.BAD_ARGUMENTS, "expires_s"),
        ({"command": "notify", "text": "x", "urgent": 1}, Refusal.BAD_ARGUMENTS, "urgent"),
        ({"command": "notify", "text": "x", "audio": "AAAA"}, Refusal.BAD_ARGUMENTS, "--audio"),
        ({"command": "notify", "text": "x", "volume": 1}, Refusal.BAD_ARGUMENTS, "text, urgent"),
        ({"command": "alert", "message": "x", "emotion": "grumpy"}, Refusal.BAD_ARGUMENTS, "neutral"),
        ({"command": "call", "tool": "t", "arguments": []}, Refusal.BAD_ARGUMENTS, "arguments"),
        (
            {"command": "call", "tool": "t", "arguments": {"a": "x" * MAX_ARGUMENTS_BYTES}},
            Refusal.BAD_ARGUMENTS,
            "arguments",
        ),
        ({"command": "end", "id": 1}, Refusal.BAD_ARGUMENTS, "id"),
        ({"command": "end", "id": "x" * (MAX_ID_CHARS + 1)}, Refusal.TOO_LONG, "id"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], refusal: Refusal, named: str) -> None:
    error = _refused(json.dumps(fields).encode())
    assert error.refusal is refusal
    assert named in str(error)


@pytest.mark.parametrize(
    ("payload", "refusal"),
    [
        (b"", Refusal.BAD_ARGUMENTS),
        (b"say hello", Refusal.BAD_ARGUMENTS),
        (b"\xff", Refusal.BAD_ARGUMENTS),
        (b"[]", Refusal.BAD_ARGUMENTS),
        (b'{"command": NaN}', Refusal.BAD_ARGUMENTS),
        (b'{"command":"say","text":"\\ud800"}', Refusal.BAD_ARGUMENTS),
        (b"[" * 10_000, Refusal.BAD_ARGUMENTS),
        (b" " * (MAX_REQUEST_BYTES + 1), Refusal.TOO_LONG),
    ],
)
def test_what_is_no_request_is_refused(payload: bytes, refusal: Refusal) -> None:
    assert _refused(payload).refusal is refusal


def test_an_error_reply_has_the_requests_id_and_does_not_repeat_its_text() -> None:
    error = _refused(json.dumps({"id": "7", "command": "say", "text": ["the secret word"]}).encode())
    answer = json.loads(refusal_reply(error))
    assert (answer["id"], answer["command"], answer["status"]) == ("7", "say", "refused")
    assert answer["reason"] == "bad_arguments"
    assert "secret" not in str(answer)


def test_an_error_reply_is_bounded() -> None:
    fields = {f"{number}{'x' * 200}": 1 for number in range(50)}
    assert len(refusal_reply(_refused(json.dumps({"command": "end", **fields}).encode()))) < 1_000


@pytest.mark.parametrize(
    ("result", "wanted"),
    [
        (done(how="spoken"), {"status": "done", "result": {"how": "spoken"}}),
        (done(), {"status": "done", "result": {}}),
        (
            refused(Refusal.NO_SESSION, "it is idle"),
            {"status": "refused", "reason": "no_session", "message": "it is idle"},
        ),
        (CommandResult("timed_out", message="late"), {"status": "timed_out", "message": "late"}),
        (CommandResult("failed", message="broken"), {"status": "failed", "message": "broken"}),
    ],
)
def test_replies_have_their_json(result: CommandResult, wanted: dict[str, Any]) -> None:
    assert json.loads(reply("", "", result)) == wanted
    assert json.loads(reply("7", "say", result)) == {"id": "7", "command": "say"} | wanted


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_FIELDS = st.sampled_from(
    ["id", "command", "text", "message", "status", "emotion", "tool", "arguments", "timeout_s", "device_id"]
)
_NEARLY = st.fixed_dictionaries(
    {"command": st.sampled_from([*COMMANDS, "dance"])},
    optional={
        "text": _JSON,
        "message": _JSON,
        "tool": _JSON,
        "arguments": _JSON,
        "timeout_s": _JSON,
        "id": _JSON,
    },
)


@given(
    st.one_of(_JSON, st.dictionaries(_FIELDS, _JSON, max_size=6), _NEARLY).map(
        lambda v: json.dumps(v).encode()
    )
    | st.binary(max_size=200)
)
def test_any_payload_is_a_request_or_a_documented_error(payload: bytes) -> None:
    try:
        request = parse(DEVICE, payload)
    except BadRequest as error:
        answer = refusal_reply(error)
        assert len(answer) < 4_000
        assert json.loads(answer)["message"]
        return
    assert request.command.device_id == DEVICE
    assert COMMANDS[request.command.name] is type(request.command)
