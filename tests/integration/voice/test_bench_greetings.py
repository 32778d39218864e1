"""The bench of greetings runs with a real server; how fast is not for a test to judge."""

import argparse

from mimi_mqtt.cli.bench import greetings


def test_every_device_is_greeted_with_the_same_number_of_frames() -> None:
    parser = argparse.ArgumentParser()
    greetings.configure(parser)
    one = greetings.measure(parser.parse_args(["--devices", "1"]))
    three = greetings.measure(parser.parse_args(["--devices", "3"]))
    frames = one["frames"]
    assert isinstance(frames, int)
    assert frames > 10
    assert three["frames"] == 3 * frames
    for figures in (one, three):
        p50, p99, longest = (figures[f"first_frame_ms_{which}"] for which in ("p50", "p99", "max"))
        assert isinstance(p50, float)
        assert isinstance(p99, float)
        assert isinstance(longest, float)
        assert 60 < p50 <= p99 <= longest  # the guard gap at least
