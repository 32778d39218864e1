"""The bench of datagrams, small: figures that can be true, whatever the machine's speed."""

import argparse
import json

import pytest

from mimi_mqtt.cli.bench import udp


def test_the_bench_measures_and_loses_nothing() -> None:
    parser = argparse.ArgumentParser()
    udp.configure(parser)
    args = parser.parse_args(["--devices", "5", "--seconds", "1", "--datagrams", "1000", "--runs", "1"])
    figures = udp.measure(args)
    assert figures == json.loads(json.dumps(figures))
    assert figures["frames_sent"] == figures["frames_heard"] == 80
    assert figures["frames_lost"] == 0
    assert figures["talkers"] == 5

    def number(name: str) -> float:
        value = figures[name]
        assert isinstance(value, int | float), name
        return value

    ratio = number("cpu_us_per_datagram") / number("reference_asyncio_us_per_datagram")
    assert number("ratio_to_reference") == pytest.approx(ratio, rel=0.05)
    # What a datagram costs holds what its decryption costs, and a frame that is heard holds both.
    assert 0 < number("reference_aes_us_per_datagram") < number("cpu_us_per_datagram")
    assert number("cpu_us_per_heard_frame") > number("reference_aes_us_per_datagram")
    assert 0 < number("core_share") <= 3
    assert 0 < number("heard_after_ms_p50") <= number("heard_after_ms_p99")
    assert number("longest_batch_ms") > 0
