"""The bench runs, with its load process, and says what it should; how fast is not for a test to judge."""

import argparse
import json
import logging

from mimi_mqtt.cli.bench import turn


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
    for name in (
        "endpoint_to_tts_start_ms_p99",
        "tts_start_to_audio_minus_gap_ms_p99",
        "opening_spacing_ms",
        "spacing_error_ms_p99",
    ):
        assert isinstance(figures[name], float)
