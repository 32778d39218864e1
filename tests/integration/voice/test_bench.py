"""The bench of turns, small: figures that can be true, whatever the machine's speed."""

import argparse
import json
import logging

from mimi_mqtt.cli.bench import turn
from mimi_mqtt.config.settings import SessionSettings

DUE_MS = 60
REFERENCE = "reference_spacing_error_ms_p99"


def number(figures: dict[str, object], name: str) -> float:
    value = figures[name]
    assert isinstance(value, int | float), name
    return value


def test_the_bench_takes_real_turns() -> None:
    parser = argparse.ArgumentParser()
    turn.configure(parser)
    args = parser.parse_args(
        ["--devices", "2", "--turns", "1", "--speakers", "2", "--seconds", "2", "--runs", "1"]
    )
    level = logging.getLogger("mimi_mqtt").level
    figures = turn.measure(args)
    assert logging.getLogger("mimi_mqtt").level == level
    assert figures == json.loads(json.dumps(figures))
    assert figures["turns"] == 2
    assert figures["intervals"] == 2 * (34 - 16 - 1)
    assert figures["speakers"] == 2
    assert figures["runs"] == 1
    # Nothing is heard before it was asked for, and half of all is no later than nearly all.
    for name in ("endpoint_to_tts_start_ms", "tts_start_to_audio_minus_gap_ms", "spacing_error_ms"):
        assert number(figures, f"{name}_p50") <= number(figures, f"{name}_p99")
    assert number(figures, "endpoint_to_tts_start_ms_p50") > 0
    assert number(figures, "tts_start_to_audio_minus_gap_ms_p50") > -SessionSettings().guard_gap_ms
    # The first frames are sent ahead, those after them at their pace: the clock is seen at work.
    assert 0 < number(figures, "opening_spacing_ms_p1") <= number(figures, "opening_spacing_ms") < DUE_MS
    assert 0 <= number(figures, "spacing_error_ms_p50") < DUE_MS / 2
    assert number(figures, REFERENCE) > 0
    assert number(figures, "underruns") >= 0
