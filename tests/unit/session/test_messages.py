"""What devices say after hello: to whom it counts, and that nothing malformed or foreign has an effect."""

import asyncio
import copy
import json
import logging
import logging.handlers
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.errors import MessageError
from mimi_mqtt.log.formatters import JsonFormatter
from mimi_mqtt.providers.runtime.fair_queue import current_holder
from mimi_mqtt.session.manager import HELLO_BURST, HELLOS_PER_S
from mimi_mqtt.session.presence import MAX_SESSION_ID_CHARS
from mimi_mqtt.wire import messages
from tests.fakes.session import DEVICE, OTHER_DEVICE
from tests.unit.session.conftest import HELLO, House
from tests.virtual_time import run

pytestmark = pytest.mark.virtual_time

STALE = "0123456789abcdef0123456789abcdef"


async def test_listen_detect_stop_and_abort_reach_the_conversation(house: House) -> None:
    channel = house.connect()
    session_id = house.hello(channel)
    house.say(channel, {"type": "listen", "session_id": session_id, "state": "detect", "text": "hi mimi"})
    house.say(channel, {"type": "listen", "session_id": session_id, "state": "start", "mode": "manual"})
    house.say(channel, {"type": "listen", "session_id": session_id, "state": "stop"})
    house.say(channel, {"type": "abort", "session_id": session_id, "reason": "wake_word_detected"})
    (conversation,) = house.conversations
    assert conversation.calls == [
        ("wake_word", "hi mimi"),
        ("listen", "manual"),
        ("stop_listening",),
        ("abort", "wake_word_detected"),
    ]
    assert conversation.language == "vi-VN"
    assert (conversation.uplink.sample_rate, conversation.downlink.sample_rate) == (16_000, 24_000)


async def test_audio_before_any_message_reaches_the_conversation(house: House) -> None:
    house.hello(house.connect())
    house.last_audio.hear()
    house.last_audio.hear()
    assert house.conversations[0].calls == [("audio", "1"), ("audio", "2")]


@pytest.mark.parametrize(
    ("features", "label"),
    [({"mcp": True, "aec": True}, 51_720), ({"mcp": True, "aec": False}, 0), ({"mcp": True}, 0)],
)
async def test_only_the_timestamps_of_a_device_with_server_aec_label_its_echo(
    house: House, features: dict[str, bool], label: int
) -> None:
    """Espressif's component sends its tick count (device contract, section 8)."""
    house.hello(house.connect(), features=features)
    house.last_audio.hear(timestamp=51_720)
    house.last_audio.hear()
    assert house.conversations[0].labels == [label, 0]


@pytest.mark.parametrize("state", ["start", "stop", "detect"])
async def test_listen_with_an_unknown_session_is_answered_with_goodbye_for_it(
    house: House, state: str
) -> None:
    channel = house.connect()
    house.say(channel, {"type": "listen", "session_id": STALE, "state": state})
    assert channel.messages == [{"type": "goodbye", "session_id": STALE}]


async def test_empty_session_id_means_the_session_of_the_connection(house: House) -> None:
    channel = house.connect()
    house.hello(channel)
    house.listen(channel, "")
    house.say(channel, {"type": "listen", "state": "stop"})
    assert house.conversations[0].calls == [("listen", "auto"), ("stop_listening",)]
    house.say(channel, {"type": "goodbye"})
    assert house.manager.count == 0


async def test_empty_session_id_without_a_session_is_answered_with_goodbye(house: House) -> None:
    channel = house.connect()
    house.say(channel, {"type": "listen", "state": "start", "mode": "auto"})
    assert channel.messages == [{"type": "goodbye", "session_id": ""}]


async def test_stale_session_id_after_a_restart_of_the_server(house: House) -> None:
    channel = house.connect()
    session_id = house.hello(channel)
    house.listen(channel, session_id)
    await house.manager.aclose()
    house.manager = house.start()
    again = house.connect()
    house.say(again, {"type": "listen", "session_id": session_id, "state": "start", "mode": "auto"})
    assert again.messages == [{"type": "goodbye", "session_id": session_id}]
    assert house.hello(again) != session_id


async def test_session_id_replaced_by_a_newer_hello_is_stale(house: House) -> None:
    channel = house.connect()
    old = house.hello(channel)
    new = house.hello(channel)
    house.say(channel, {"type": "listen", "session_id": old, "state": "start"})
    house.say(channel, {"type": "goodbye", "session_id": old})
    house.say(channel, {"type": "abort", "session_id": old})
    assert channel.messages[2:] == [{"type": "goodbye", "session_id": old}]
    assert house.session().session_id == new


async def test_message_for_somebody_elses_session_is_like_one_for_none(house: House) -> None:
    victim, attacker = house.connect(), house.connect(OTHER_DEVICE)
    session_id = house.hello(victim)
    conversation = house.listen(victim, session_id)
    house.hello(attacker)
    conversation.calls.clear()
    before = len(victim.messages)
    answers = {}
    for target in (session_id, STALE):
        seen = len(attacker.messages)
        for message in (
            {"type": "abort", "reason": "hush"},
            {"type": "goodbye"},
            {"type": "mcp", "payload": {"jsonrpc": "2.0", "id": 1, "result": {}}},
            {"type": "listen", "state": "start", "mode": "auto"},
            {"type": "listen", "state": "stop"},
            {"type": "listen", "state": "detect", "text": "hi"},
        ):
            house.say(attacker, message | {"session_id": target})
        answers[target] = json.dumps(attacker.messages[seen:]).replace(target, "ID")
    assert answers[session_id] == answers[STALE]  # no oracle
    assert conversation.calls == []
    assert len(victim.messages) == before
    assert house.manager.count == 2


async def test_overlong_unknown_session_id_is_not_repeated(house: House) -> None:
    channel = house.connect()
    house.say(channel, {"type": "listen", "session_id": "x" * (MAX_SESSION_ID_CHARS + 1), "state": "start"})
    assert channel.messages == []


async def test_goodbye_of_the_device_ends_the_session_without_an_answer(house: House) -> None:
    channel = house.connect()
    session_id = house.hello(channel)
    conversation = house.listen(channel, session_id)
    house.say(channel, {"type": "goodbye", "session_id": session_id})
    await asyncio.sleep(0.1)
    assert house.manager.count == 0
    assert house.last_audio.closed
    assert conversation.closed
    assert channel.story() == ["hello"]


async def test_unknown_types_are_ignored(house: House) -> None:
    channel = house.connect()
    house.say(channel, {"type": "telemetry", "session_id": "whatever", "state": 7})
    assert channel.messages == []


async def test_a_fault_in_a_conversation_ends_that_session_and_tells_its_device(house: House) -> None:
    channel, other = house.connect(), house.connect(OTHER_DEVICE)
    session_id = house.hello(channel)
    house.hello(other)
    house.listen(channel, session_id).failure = RuntimeError("a defect")
    house.say(channel, {"type": "listen", "session_id": session_id, "state": "stop"})
    assert channel.story() == ["hello", "alert", "goodbye"]
    assert house.manager.count == 1


async def test_a_fault_while_hearing_does_not_reach_the_transport(house: House) -> None:
    channel = house.connect()
    house.listen(channel, house.hello(channel)).failure = RuntimeError("a defect")
    house.last_audio.hear()
    assert house.manager.count == 0
    house.last_audio.hear()  # and what is still on its way is dropped
    assert len(house.conversations) == 1


async def test_what_a_conversation_logs_carries_the_ids_of_its_session(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = house.connect()
    session_id = house.hello(channel)
    conversation = house.listen(channel, session_id)
    lines: list[str] = []
    record = logging.makeLogRecord({"msg": "heard"})
    monkeypatch.setattr(conversation, "audio", lambda *_: lines.append(JsonFormatter().format(record)))
    house.last_audio.hear()
    assert json.loads(lines[0])["device"] == channel.device_id
    assert json.loads(lines[0])["session"] == session_id


# ── malformed messages ───────────────────────────────────────────────────────────────────────────────────


JUNK = (
    b"",
    b"\x00",
    b"{",
    b"null",
    b"[]",
    b'"hello"',
    b"{}",
    b'{"type":null}',
    b'{"type":"hello"',
    b"\xff\xfe\xfd",
    b'{"type":"listen","state":"dance"}',
    b'{"type":"listen","state":"start","mode":7}',
    b'{"type":"mcp"}',
    b'{"type":"mcp","payload":NaN}',
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b'{"type":"listen","state":"start","session_id":"\\ud800"}',
    b"9" * 10_000,
)


@pytest.mark.parametrize("payload", JUNK, ids=range(len(JUNK)))
async def test_junk_changes_nothing(house: House, payload: bytes) -> None:
    channel = house.connect()
    session_id = house.hello(channel)
    house.manager.control_message(channel, payload)
    assert house.session().session_id == session_id
    assert house.conversations == []
    assert all(message["type"] in ("hello", "goodbye") for message in channel.messages)
    house.hello(channel)  # and the device is served as ever


async def test_one_megabyte_of_json_changes_nothing(house: House) -> None:
    channel = house.connect()
    session_id = house.hello(channel)
    for message in (
        {"type": "junk", "filling": "x" * 1_000_000},
        {"type": "listen", "session_id": "x" * 1_000_000, "state": "start"},
        {"type": "mcp", "payload": {"id": 1, "result": ["x"] * 250_000}},
        ["x"] * 250_000,
    ):
        house.say(channel, message)
    assert channel.story() == ["hello"]
    assert house.session().session_id == session_id


async def test_enormous_texts_are_cut(house: House) -> None:
    channel = house.connect()
    session_id = house.hello(channel)
    house.say(
        channel, {"type": "listen", "session_id": session_id, "state": "detect", "text": "x" * 1_000_000}
    )
    ((_, text),) = house.conversations[0].calls
    assert len(text) == 200


EVERY_MESSAGE: tuple[dict[str, Any], ...] = (
    HELLO
    | {
        "features": {"mcp": True, "aec": False, "glyph_push": False},
        "text_font": {"bundle": "puhui", "charset": "common", "size": 20, "bpp": 4},
    },
    {"type": "listen", "session_id": "ID", "state": "start", "mode": "auto"},
    {"type": "listen", "session_id": "ID", "state": "stop"},
    {"type": "listen", "session_id": "ID", "state": "detect", "text": "hi mimi"},
    {"type": "abort", "session_id": "ID", "reason": "wake_word_detected"},
    {"type": "mcp", "session_id": "ID", "payload": {"jsonrpc": "2.0", "id": 1, "result": {"tools": []}}},
    {"type": "mcp", "session_id": "ID", "payload": {"jsonrpc": "2.0", "id": 1, "error": {"message": "no"}}},
    {
        "type": "mcp",
        "session_id": "ID",
        "payload": {"jsonrpc": "2.0", "method": "notifications/x", "params": {}},
    },
    {"type": "goodbye", "session_id": "ID"},
)
WRONG_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 3, 2**70, 1.5, -1e300, "", "text", "\x00", [], ["ID"], {}, {"type": "hello"},
    [[[[]]]],
)  # fmt: skip


def _paths(message: dict[str, Any], prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in message.items():
        yield (*prefix, name)
        if isinstance(value, dict):
            yield from _paths(value, (*prefix, name))


CASES = [(message, path) for message in EVERY_MESSAGE for path in _paths(message)]


@pytest.mark.parametrize(
    ("message", "path"), CASES, ids=[f"{m['type']}-{m.get('state', '')}-{'.'.join(p)}" for m, p in CASES]
)
async def test_wrong_types_in_every_field_of_every_message(
    house: House, message: dict[str, Any], path: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever stands in the field, or nothing: no fault, no lost connection, and service goes on."""
    channel, other = house.connect(), house.connect(OTHER_DEVICE)
    other_id = house.hello(other)
    for value in (*WRONG_VALUES, "missing"):
        session_id = house.hello(channel)
        spoilt = copy.deepcopy(message)
        if "session_id" in spoilt:
            spoilt["session_id"] = session_id
        inner: dict[str, Any] = spoilt
        for name in path[:-1]:
            inner = inner[name]
        if value == "missing":
            del inner[path[-1]]
        else:
            inner[path[-1]] = value
        house.say(channel, spoilt)
        assert channel.closed is None
    assert house.session(OTHER_DEVICE).session_id == other_id
    assert other.story() == ["hello"]
    house.listen(channel, house.hello(channel))
    assert house.conversations[-1].calls == [("listen", "auto")]
    assert not _faults(caplog.records)


def _faults(records: list[logging.LogRecord]) -> list[logging.LogRecord]:
    return [record for record in records if record.levelno >= logging.ERROR]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=12), children, max_size=5)
    ),
    max_leaves=12,
)
NAMES = st.sampled_from(
    [
        "type",
        "session_id",
        "state",
        "mode",
        "text",
        "payload",
        "audio_params",
        "transport",
        "features",
        "version",
    ]
)
TYPES = st.sampled_from(["hello", "listen", "abort", "mcp", "goodbye", "tts"])


@given(st.lists(st.binary(max_size=80) | st.dictionaries(NAMES, JSON | TYPES, max_size=6), max_size=8))
def test_no_sequence_of_messages_raises(batch: list[bytes | dict[str, Any]]) -> None:
    async def scenario() -> None:
        house = House()
        channel = house.connect()
        for message in batch:
            payload = message if isinstance(message, bytes) else json.dumps(message).encode()
            house.manager.control_message(channel, payload)
        house.hello(channel)
        await house.manager.aclose()

    records: list[logging.LogRecord] = []
    handler = logging.handlers.BufferingHandler(10_000)
    handler.buffer = records
    logging.getLogger("mimi_mqtt").addHandler(handler)
    try:
        run(scenario())
    finally:
        logging.getLogger("mimi_mqtt").removeHandler(handler)
    assert not _faults(records)


@pytest.mark.parametrize("message", EVERY_MESSAGE, ids=lambda message: message["type"])
def test_every_message_above_is_good_before_it_is_spoilt(message: dict[str, Any]) -> None:
    try:
        parsed = messages.parse(json.dumps(message).encode())
    except MessageError as error:
        pytest.fail(str(error))
    assert not isinstance(parsed, messages.UnknownMessage)


async def test_a_storm_of_hellos_makes_few_sessions_and_another_device_is_answered(house: House) -> None:
    storm, other = house.connect(), house.connect(OTHER_DEVICE)
    for _ in range(200):
        house.say(storm, HELLO)
    assert len(storm.of_type("hello")) == HELLO_BURST
    session_id = storm.of_type("hello")[-1]["session_id"]
    house.listen(storm, session_id)  # the last session answered is the device's
    assert house.conversations[0].calls == [("listen", "auto")]
    assert house.hello(other)
    await asyncio.sleep(1 / HELLOS_PER_S)
    house.say(storm, HELLO)
    assert len(storm.of_type("hello")) == HELLO_BURST + 1


async def test_what_a_conversation_asks_of_providers_counts_for_its_device(house: House) -> None:
    for device_id in (DEVICE, OTHER_DEVICE):
        channel = house.connect(device_id)
        house.listen(channel, house.hello(channel))
        context = house.session(device_id)._context
        assert context is not None
        assert context.run(current_holder) == device_id
    assert current_holder() == ""
