"""A finished turn goes to the log whole, and to the observers of events without what was said."""

from dataclasses import replace
from datetime import UTC, datetime

from mimi_mqtt.events import EventBus, TurnEnded
from mimi_mqtt.store.turn_record import ProviderUse, TurnRecord
from mimi_mqtt.voice.turn.observed import ObservedTurns

RECORD = TurnRecord(
    session_id="s1",
    device_id="aa-bb-cc-00-11-22",
    number=3,
    started_at=datetime(2026, 1, 2, tzinfo=UTC),
    mode="auto",
    heard="what is the secret word",
    reply="the secret word is plum",
    outcome="answered",
    timings_ms={"transcript": 120.0},
    tools_called=("get_time",),
    kind="utterance",
)


class Log:
    def __init__(self) -> None:
        self.turns: list[TurnRecord] = []

    def add_turn(self, record: TurnRecord) -> None:
        self.turns.append(record)


def test_a_turn_is_logged_and_told_without_its_words() -> None:
    log, events = Log(), EventBus()
    told: list[TurnEnded] = []
    turns = ObservedTurns(log, events, {"stt": "azure+offline"}, "chef")
    turns.add_turn(RECORD)  # with nobody to tell
    events.subscribe(told.append, TurnEnded, name="test")
    turns.add_turn(RECORD)
    named = replace(RECORD, agent="chef", providers={"stt": "azure+offline"})
    assert log.turns == [named, named]
    turns.add_turn(replace(RECORD, uses=(ProviderUse("stt", "offline", audio_s=2.0),)))
    assert log.turns[-1].providers == {"stt": "offline"}
    told.pop()
    assert [(turn.number, turn.kind, turn.mode, turn.outcome) for turn in told] == [
        (3, "utterance", "auto", "answered")
    ]
    assert (told[0].stages_ms, told[0].tools) == ({"transcript": 120.0}, ("get_time",))
    assert (told[0].agent, told[0].error) == ("chef", "")
    assert told[0].providers == {"stt": "azure+offline"}
    assert "secret" not in str(told)
