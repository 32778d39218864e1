"""The stream of a trace: what it tells, what it hides, and when it ends."""

import asyncio
import json
from datetime import UTC, datetime

import pytest

from mimi_mqtt.errors import StoreError
from mimi_mqtt.fleet.entry import DeviceInfo
from mimi_mqtt.http.api import traces as routes
from mimi_mqtt.http.api.traces import MAX_SHOWN_BYTES, RIGHTS_UNKNOWN_S, frame_of
from mimi_mqtt.people.access import Caller, Presented, Role, Scope
from mimi_mqtt.session.trace import ControlTraces, Traced
from mimi_mqtt.wire.messages import AudioParams, ServerHello, encode
from tests.fakes.api import MEMBER, services
from tests.fakes.api_scene import BOBS, FakeDirectory

pytestmark = pytest.mark.virtual_time

SECRETS = (
    "00112233445566778899aabbccddeeff",
    "ffeeddccbbaa99887766554433221100",
    "tok-1234",
    "sig-5678",
    "pass-9",
)


def shown(payload: bytes, *, speech: bool = True) -> dict[str, object]:
    frame = frame_of(Traced(datetime.now(UTC), "down", payload), speech=speech).decode()
    lines = frame.splitlines()
    assert lines[0] == "event: message"
    told: dict[str, object] = json.loads(lines[1].removeprefix("data: "))
    return told


def test_no_secret_of_any_message_is_told() -> None:
    """Planted in every place where messages have some: hello, vision, links of tools, notices."""
    key, nonce, token, signature, password = SECRETS
    udp = {"server": "192.0.2.1", "port": 8884, "key": key, "nonce": nonce}
    link = f"http://192.0.2.1:8003/files/x?sig={signature}"
    call = {"name": "self.screen.snapshot", "arguments": {"url": link}}
    failure = {"error": {"message": f"can't post to {link}, sorry"}}
    vision = {"capabilities": {"vision": {"url": link, "token": token}}}
    asked = {"method": "initialize", "params": vision}
    messages = [
        encode(ServerHello("udp", "s", AudioParams(), {"udp": udp})),
        json.dumps({"type": "mcp", "payload": asked}).encode(),
        json.dumps({"type": "mcp", "payload": {"params": call}}).encode(),
        json.dumps({"type": "mcp", "payload": failure}).encode(),
        json.dumps({"type": "notify", "audio_url": link}).encode(),
        json.dumps({"type": "custom", "payload": {"wifi": {"Password": password}}}).encode(),
        b'{"type":"hello", broken ' + "".join(SECRETS).encode(),
    ]
    for message in messages:
        for speech in (True, False):
            told = json.dumps(shown(message, speech=speech))
            assert not [secret for secret in SECRETS if secret in told], told


def test_a_message_is_told_with_its_type_size_and_texts() -> None:
    payload = b'{"type":"stt","session_id":"s1","text":"What is the time?"}'
    told = shown(payload)
    assert (told["type"], told["size"], told["direction"]) == ("stt", len(payload), "down")
    assert told["message"] == {"type": "stt", "session_id": "s1", "text": "What is the time?"}


def test_texts_are_for_those_who_may_read_conversations() -> None:
    texts: list[dict[str, object]] = [
        {"type": "stt", "text": "spoken"},
        {"type": "listen", "state": "detect", "text": "spoken"},
        {"type": "alert", "status": "spoken", "message": "spoken", "emotion": "sad"},
        {"type": "notify", "subtitles": [{"start_ms": 0, "text": "spoken"}]},
        {"type": "mcp", "payload": {"method": "tools/call", "params": {"arguments": {"question": "spoken"}}}},
        {"type": "mcp", "payload": {"result": {"content": [{"type": "text", "text": "spoken"}]}}},
    ]
    for text in texts:
        told = shown(json.dumps(text).encode(), speech=False)
        assert "spoken" not in json.dumps(told)
        assert told["type"] == text["type"]
        assert "spoken" in json.dumps(shown(json.dumps(text).encode()))


_OWN = dict.fromkeys(("type", "name", "command", "mode", "state", "method", "format", "emotion"), "spoken")
"""Fields that are shown where they stand in a message, as a tool may call its own."""


@pytest.mark.parametrize(
    "content",
    [
        {
            "type": "mcp",
            "payload": {"method": "tools/call", "params": {"name": "self.say", "arguments": _OWN}},
        },
        {"type": "mcp", "payload": {"method": "notifications/heard", "params": _OWN}},
        {"type": "mcp", "payload": {"result": _OWN}},
        {"type": "mcp", "payload": {"result": {"structuredContent": _OWN}}},
        {"type": "mcp", "payload": {"result": {"content": [{"type": "text", "name": "spoken"}]}}},
        {"type": "mcp", "payload": {"result": {"spoken": 1}}},
        {"type": "mcp", "payload": {"error": {"code": -32601, "data": _OWN, "message": "spoken"}}},
        {"type": "custom", "payload": _OWN},
        {"type": "custom", "payload": {"method": "tools/call", "params": _OWN}},
        {"type": "listen", "state": {"mode": "spoken"}, "mode": ["spoken"]},
        {"type": "tts", "state": "sentence_start", "glyph_push": {"bundle": "spoken"}},
    ],
)
def test_content_of_tools_is_hidden_whatever_its_fields_are_called(content: dict[str, object]) -> None:
    told = shown(json.dumps(content).encode(), speech=False)
    assert "spoken" not in json.dumps(told)
    assert "spoken" in json.dumps(shown(json.dumps(content).encode()))


def test_numbers_of_glyphs_and_arguments_are_hidden() -> None:
    """The code points of the glyphs that a font lacks are the letters of what was said."""
    glyphs = {"v": 1, "bundle": "noto", "glyphs": [{"codepoint": 24_555}]}
    call = {"method": "tools/call", "params": {"name": "self.lock.open", "arguments": {"pin": 24_555}}}
    for message in ({"type": "stt", "text": "x", "glyph_push": glyphs}, {"type": "mcp", "payload": call}):
        assert "24555" not in json.dumps(shown(json.dumps(message).encode(), speech=False))


def test_the_course_of_a_conversation_is_shown_without_its_texts() -> None:
    call = {
        "jsonrpc": "2.0",
        "id": 7,
        "method": "tools/call",
        "params": {"name": "self.lamp", "arguments": {}},
    }
    hello = encode(ServerHello("udp", "s", AudioParams(), {"udp": {"server": "192.0.2.1", "port": 8884}}))
    assert shown(json.dumps({"type": "mcp", "session_id": "s", "payload": call}).encode(), speech=False)[
        "message"
    ] == {
        "type": "mcp",
        "session_id": "s",
        "payload": {**call, "params": {"name": "self.lamp", "arguments": "***"}},
    }
    assert shown(hello, speech=False)["message"] == {
        "type": "hello",
        "transport": "udp",
        "session_id": "s",
        "audio_params": {"format": "opus", "sample_rate": 16_000, "channels": 1, "frame_duration": 60},
        "udp": {"server": "***", "port": 8884},
    }
    assert shown(b"broken", speech=False)["message"] == {"unreadable_bytes": 6}


def test_of_a_long_message_type_and_size_are_told() -> None:
    payload = json.dumps({"type": "mcp", "payload": "x" * MAX_SHOWN_BYTES}).encode()
    told = shown(payload)
    assert (told["type"], told["size"], told["message"]) == ("mcp", len(payload), None)


def test_a_long_message_is_not_read_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A member with a few traces of a device that sends the longest messages would hold up everybody."""

    def never(payload: bytes) -> bytes:
        raise AssertionError(payload[:20])

    monkeypatch.setattr(routes, "redact", never)
    payload = b'{"session_id":"s","type" : "mcp","payload":"' + b"x" * MAX_SHOWN_BYTES + b'"}'
    told = shown(payload)
    assert (told["type"], told["message"]) == ("mcp", None)
    assert shown(b"\xff" * (MAX_SHOWN_BYTES + 1))["type"] == ""


class Callers:
    """An `Authenticator` whose answer is set by the test."""

    def __init__(self) -> None:
        self.answer: Caller | Exception | None = MEMBER

    async def authenticate(self, shown: Presented) -> Caller | None:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Reading:
    """bob reads the trace of his device."""

    def __init__(self) -> None:
        self.callers = Callers()
        self.directory = FakeDirectory({BOBS: DeviceInfo(BOBS, owner_id="u-bob")})
        self.traces = ControlTraces()
        self.frames: list[bytes] = []
        parts = services(authenticator=self.callers, directory=self.directory, traces=self.traces)
        self._place = self.traces.watch(BOBS, "u-bob")
        self.reader = self._place.__enter__()
        self._stream = routes._Trace(parts, self.reader, MEMBER, Presented("key"))

    async def run(self) -> None:
        async for frame in self._stream.frames():
            self.frames.append(frame)
        self._place.__exit__(None, None, None)

    @property
    def text(self) -> str:
        return b"".join(self.frames).decode()


async def test_messages_come_as_they_happen_until_the_client_leaves() -> None:
    reading = Reading()
    task = asyncio.create_task(reading.run())
    await asyncio.sleep(5)
    reading.traces.note(BOBS, "up", b'{"type":"hello"}')
    await asyncio.sleep(0.1)
    assert '"type":"hello"' in reading.text
    reading.reader.end("gone")
    await task
    assert "event: ended" not in reading.text
    assert len(reading.traces) == 0


@pytest.mark.parametrize(
    "answer",
    [None, Caller("bob", "u-bob", Role.MEMBER, frozenset({Scope.PROFILE}))],
    ids=["nobody", "scopes"],
)
async def test_a_reader_whose_rights_ended_is_told_nothing_more(answer: Caller | None) -> None:
    reading = Reading()
    task = asyncio.create_task(reading.run())
    await asyncio.sleep(1.5)
    reading.callers.answer = answer
    await asyncio.sleep(1.5)
    reading.traces.note(BOBS, "up", b'{"type":"late"}')
    await task
    assert '"reason":"rights"' in reading.text
    assert "late" not in reading.text


async def test_a_device_that_changed_hands_is_its_new_owners_alone() -> None:
    reading = Reading()
    task = asyncio.create_task(reading.run())
    await asyncio.sleep(1.5)
    reading.directory[BOBS] = DeviceInfo(BOBS, owner_id="u-eve")
    await asyncio.sleep(1.5)
    reading.traces.note(BOBS, "up", b'{"type":"late"}')
    await task
    assert "late" not in reading.text


async def test_a_short_fault_of_the_database_ends_nothing_and_a_long_one_does() -> None:
    reading = Reading()
    task = asyncio.create_task(reading.run())
    reading.callers.answer = StoreError("away")
    await asyncio.sleep(RIGHTS_UNKNOWN_S - 5)
    assert not task.done()
    await asyncio.sleep(10)
    await task
    assert '"reason":"rights"' in reading.text
