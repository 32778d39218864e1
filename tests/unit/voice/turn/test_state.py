"""The state table."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.voice.turn.state import TABLE, TurnEvent, TurnState, diagram, next_state, refusal, resumes


def test_a_conversation_goes_round() -> None:
    state: TurnState | None = TurnState.IDLE
    way = []
    for event in (TurnEvent.LISTEN, TurnEvent.UTTERANCE, TurnEvent.SPEECH, TurnEvent.DONE):
        assert state is not None
        state = next_state(state, event)
        way.append(state)
    assert way == [TurnState.LISTENING, TurnState.THINKING, TurnState.SPEAKING, TurnState.IDLE]


@pytest.mark.parametrize("state", TurnState)
def test_every_state_can_be_reached_and_left(state: TurnState) -> None:
    assert any(to is state and at is not state for (at, _), to in TABLE.items())
    assert any(at is state and to is not state for (at, _), to in TABLE.items())


@pytest.mark.parametrize("state", [TurnState.THINKING, TurnState.SPEAKING])
@pytest.mark.parametrize(
    ("event", "after"),
    [
        (TurnEvent.DONE, TurnState.IDLE),
        (TurnEvent.ABORT, TurnState.IDLE),
        (TurnEvent.LISTEN, TurnState.LISTENING),
        (TurnEvent.WAKE_WORD, TurnState.THINKING),
    ],
)
def test_a_reply_can_always_be_ended(state: TurnState, event: TurnEvent, after: TurnState) -> None:
    assert next_state(state, event) is after


def test_silence_is_not_wanted_from_who_is_silent() -> None:
    assert next_state(TurnState.LISTENING, TurnEvent.ABORT) is None
    assert next_state(TurnState.IDLE, TurnEvent.ABORT) is None


@given(st.sampled_from(TurnState), st.sampled_from(TurnEvent))
def test_what_has_no_place_has_a_reason(state: TurnState, event: TurnEvent) -> None:
    if next_state(state, event) is None:
        reason = refusal(state, event)
        assert state.value in reason
        assert event.value in reason


def test_the_documentation_shows_the_table() -> None:
    document = Path(__file__).parents[4] / "docs" / "turn.md"
    drawn = document.read_text(encoding="utf-8").split("```mermaid\n")[1].split("\n```")[0]
    assert drawn == diagram()
    arrows = re.findall(r"(\w+) --> (\w+): (.+)", drawn)
    assert len(arrows) == len(TABLE)
    assert ("speaking", "listening", "listen") in arrows


def test_only_hands_free_modes_go_on_listening() -> None:
    assert [resumes(mode) for mode in ("auto", "realtime", "manual", None)] == [True, True, False, False]
