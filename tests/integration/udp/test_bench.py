"""The bench runs, with its load process, and says what it should; how fast is not for a test to judge."""

import argparse
import json

from mimi_mqtt.cli.bench import udp


def test_the_bench_measures_and_loses_nothing() -> None:
    parser = argparse.ArgumentParser()
    udp.configure(parser)
    args = parser.parse_args(["--devices", "5", "--seconds", "1", "--datagrams", "1000", "--runs", "1"])
    figures = udp.measure(args)
    assert figures == json.loads(json.dumps(figures))
    assert figures["frames_sent"] == figures["frames_heard"] == 80
    assert figures["frames_lost"] == 0
    for name in ("cpu_us_per_datagram", "reference_asyncio_us_per_datagram", "cpu_us_per_heard_frame"):
        assert isinstance(figures[name], float)
