"""The bench of WebSockets, small: figures that can be true, whatever the machine's speed."""

import argparse
import json

import pytest

from mimi_mqtt.cli.bench import websocket


def test_the_bench_measures_and_loses_nothing() -> None:
    parser = argparse.ArgumentParser()
    websocket.configure(parser)
    arguments = ["--devices", "5", "--connects", "20", "--seconds", "1", "--runs", "1"]
    figures = websocket.measure(parser.parse_args(arguments))
    assert figures == json.loads(json.dumps(figures))
    assert (figures["devices"], figures["frames_sent"], figures["frames_lost"]) == (5, 80, 0)

    def number(name: str) -> float:
        value = figures[name]
        assert isinstance(value, int | float), name
        return value

    for name in ("connects_per_s", "cpu_us_per_connect", "cpu_us_per_hello", "cpu_us_per_frame_answered"):
        assert number(name) > 0
        assert number(f"reference_{name}") > 0
    for name in ("cpu_us_per_frame_up", "cpu_us_per_frame_down", "hello_p50_ms", "round_trip_ms_p50"):
        assert number(name) > 0
    assert number("hello_p50_ms") <= number("hello_p99_ms")
    ratio = number("connects_per_s") / number("reference_connects_per_s")
    assert number("ratio_to_reference_connects") == pytest.approx(ratio, abs=0.02)
