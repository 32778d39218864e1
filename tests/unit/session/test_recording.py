"""A recorded conversation is cut into turns, and nothing but its audio is kept."""

from datetime import UTC, datetime
from typing import Any

import pytest

from mimi_mqtt.config.agents import AgentSettings
from mimi_mqtt.config.prompt import DeviceFacts, UserFacts
from mimi_mqtt.files.recordings import MAX_SIDE_BYTES, Recorded
from mimi_mqtt.fleet.directory import DeviceInfo
from mimi_mqtt.session.recording import LEADING_SILENCE, RecordedConversation, RecordedTurns, Recorder, Tape
from mimi_mqtt.store.turn_record import TurnRecord
from mimi_mqtt.voice.ports import AudioFormat, ConversationSetup
from tests.fakes.session import FakeConversation

DEVICE = "aa-bb-cc-00-11-22"
SILENCE = b"\x58"


def packet(number: int) -> bytes:
    return bytes([0x58, number, number])


def record(number: int = 1) -> TurnRecord:
    return TurnRecord("s-1", DEVICE, number, datetime.now(UTC), "auto", "hi", "hello", "answered", {})


def test_what_was_said_and_what_was_answered_are_told_apart() -> None:
    tape = Tape()
    tape.heard(packet(1))
    tape.heard(packet(2))
    tape.spoken(packet(3))
    assert tape.turn_ended() == ((packet(1), packet(2)), (packet(3),))
    assert tape.turn_ended() == ((), ())


def test_what_is_said_during_an_answer_belongs_to_the_next_turn() -> None:
    tape = Tape()
    tape.heard(packet(1))
    tape.spoken(packet(3))
    tape.heard(packet(2))
    assert tape.turn_ended() == ((packet(1),), (packet(3),))
    tape.spoken(packet(4))
    assert tape.turn_ended() == ((packet(2),), (packet(4),))


@pytest.mark.parametrize(("reason", "kept"), [("stop_listening", ()), ("wake_word_detected", (packet(1),))])
async def test_what_was_taken_back_is_in_no_turn(reason: str, kept: tuple[bytes, ...]) -> None:
    tape = Tape()
    talk = RecordedConversation(FakeConversation(setup_of("s-1")), tape, lambda: None)
    talk.audio(packet(1), 1, 0, 0.0)
    talk.abort(reason)
    talk.audio(packet(2), 2, 0, 0.1)
    tape.spoken(packet(3))
    assert tape.turn_ended() == ((*kept, packet(2)), (packet(3),))


def test_silence_before_the_first_word_is_not_kept() -> None:
    tape = Tape()
    for _ in range(1_000):
        tape.heard(SILENCE)
    tape.heard(packet(1))
    tape.heard(SILENCE)
    said, _ = tape.turn_ended()
    assert said == (*[SILENCE] * LEADING_SILENCE, packet(1), SILENCE)
    for _ in range(20):
        tape.heard(SILENCE)
    assert tape.turn_ended() == ((), ())


def test_a_turn_without_an_answer_is_kept() -> None:
    tape = Tape()
    tape.heard(packet(1))
    assert tape.turn_ended() == ((packet(1),), ())


def test_endless_audio_takes_no_more_than_its_bound() -> None:
    tape = Tape()
    for number in range(3 * MAX_SIDE_BYTES // 1_000):
        tape.heard(number.to_bytes(4, "big") * 250)
        tape.spoken(number.to_bytes(4, "big") * 250)
    said, answered = tape.turn_ended()
    assert sum(map(len, said)) <= MAX_SIDE_BYTES
    assert sum(map(len, answered)) <= MAX_SIDE_BYTES
    assert answered[0] == bytes(1_000)


def setup_of(session_id: str, owner_id: str = "") -> ConversationSetup:
    nothing: Any = None
    return ConversationSetup(
        device=DeviceFacts(DEVICE, "", "", "en", ""),
        user=UserFacts(),
        session_id=session_id,
        uplink=AudioFormat(16_000, 60),
        downlink=AudioFormat(24_000, 60),
        output=nothing,
        tools=nothing,
        language="en",
        owner_id=owner_id,
    )


class Kept:
    """Takes recordings, as `Recordings` does."""

    def __init__(self) -> None:
        self.added: list[Recorded] = []

    def add(self, recorded: Recorded) -> None:
        if recorded.packets:
            self.added.append(recorded)


class Log:
    def __init__(self) -> None:
        self.turns: list[TurnRecord] = []

    def add_turn(self, record: TurnRecord) -> None:
        self.turns.append(record)


@pytest.mark.parametrize(
    ("agent", "device", "wanted"),
    [(False, "", False), (True, "", True), (True, "off", False), (False, "on", True)],
)
def test_a_device_may_have_it_otherwise_than_its_agent(agent: bool, device: str, wanted: bool) -> None:
    recorder = Recorder(Kept(), lambda _: DeviceInfo(DEVICE, recordings=device))  # type: ignore[arg-type]
    assert recorder.wants(DEVICE, AgentSettings(recordings=agent)) is wanted


@pytest.mark.parametrize(("before", "owner", "group"), [("u-bob", "u-bob", ""), ("", "u-eve", "g-eves")])
async def test_what_was_said_before_a_transfer_is_not_given_to_the_new_owner(
    before: str, owner: str, group: str
) -> None:
    kept, present = Kept(), [DeviceInfo(DEVICE, owner_id=before, group_id="g-home")]
    recorder = Recorder(kept, lambda _: present[0])  # type: ignore[arg-type]
    turns, setup = RecordedTurns(Log(), recorder), setup_of("s-1", before)
    recorder.record(FakeConversation(setup), setup).audio(packet(1), 1, 0, 0.0)
    present[0] = DeviceInfo(DEVICE, owner_id="u-eve", group_id="g-eves")
    turns.add_turn(record())
    assert [(each.owner_id, each.group_id) for each in kept.added] == [(owner, group)]


async def test_turns_of_recorded_conversations_are_kept_with_their_owner() -> None:
    kept, log = Kept(), Log()
    recorder = Recorder(kept, lambda _: DeviceInfo(DEVICE, owner_id="u-bob", group_id="g-home"))  # type: ignore[arg-type]
    turns = RecordedTurns(log, recorder)
    setup = setup_of("s-1")
    inner = FakeConversation(setup)
    talk = recorder.record(inner, setup)
    talk.audio(packet(1), 1, 0, 0.0)
    talk.played(packet(2), 60)
    turns.add_turn(record())
    assert [(each.side, each.turn, tuple(each.packets)) for each in kept.added] == [
        ("user", 1, (packet(1),)),
        ("assistant", 1, (packet(2),)),
    ]
    assert {(each.owner_id, each.group_id, each.session_id) for each in kept.added} == {
        ("u-bob", "g-home", "s-1")
    }
    assert recorder.records("s-1")
    await talk.aclose()
    assert not recorder.records("s-1")
    assert len(recorder) == 0
    turns.add_turn(record(2))
    assert len(kept.added) == 2
    assert [turn.number for turn in log.turns] == [1, 2]
