"""The bench of WebSockets, small: figures that can be true, whatever the machine's speed."""

import argparse
import json

from mimi_mqtt.cli.bench import websocket


def test_the_bench_measures_and_loses_nothing() -> None:
    parser = argparse.ArgumentParser()
    websocket.configure(parser)
    figures = websocket.measure(parser.parse_args(["--devices", "5", "--seconds", "1"]))
    assert figures == json.loads(json.dumps(figures))
    assert (figures["devices"], figures["frames_sent"], figures["frames_lost"]) == (5, 80, 0)
    for name in ("connects_per_s", "cpu_us_per_frame_answered", "round_trip_ms_p50"):
        value = figures[name]
        assert isinstance(value, int | float), name
        assert value > 0, name
