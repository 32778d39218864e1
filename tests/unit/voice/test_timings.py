"""Times of a turn: stages, and single tool calls by the same clock."""

from mimi_mqtt.store.turn_record import ToolSpan
from mimi_mqtt.voice.timings import MAX_TOOL_SPANS, TurnTimings


def test_tool_calls_are_counted_from_the_end_of_the_speech() -> None:
    timings = TurnTimings(9.0)
    timings.speech_end = 10.0
    timings.tool_ran("light.on", 10.5, 10.75, failed=False)
    timings.tool_ran("door.open", 10.6, 11.6, failed=True)
    assert timings.tool_spans() == (
        ToolSpan("light.on", 500.0, 250.0),
        ToolSpan("door.open", 600.0, 1000.0, failed=True),
    )


def test_times_of_tools_are_bounded() -> None:
    timings = TurnTimings(0.0)
    for number in range(MAX_TOOL_SPANS + 5):
        timings.tool_ran(f"tool{number}", number, number + 1, failed=False)
    assert [span.name for span in timings.tool_spans()][-1] == f"tool{MAX_TOOL_SPANS - 1}"


def test_an_adopted_reply_brings_its_calls() -> None:
    early, turn = TurnTimings(1.0), TurnTimings(2.0)
    early.mark("first_token", 2.5)
    early.tool_ran("clock", 2.5, 2.75, failed=False)
    turn.take(early)
    assert turn.as_ms() == {"first_token": 500.0}
    assert turn.tool_spans() == (ToolSpan("clock", 500.0, 250.0),)
