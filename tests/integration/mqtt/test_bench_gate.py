"""The gate's bench, small: it runs to its end and says what it measured."""

import argparse
import asyncio

from mimi_mqtt.cli.bench import gate


async def test_bench_measures_everything_it_names() -> None:
    parser = argparse.ArgumentParser()
    gate.configure(parser)
    args = parser.parse_args(["--devices", "20", "--connects", "100", "--runs", "1"])
    figures = await asyncio.to_thread(gate.measure, args)
    assert figures["devices"] == 20
    for name in (
        "connects_per_s",
        "ratio_to_reference",
        "cpu_us_per_connect",
        "cpu_us_per_hello",
        "hello_p50_ms",
        "hello_p99_ms",
        "hello_p99_ms_of_500",
    ):
        value = figures[name]
        assert isinstance(value, int | float)
        assert value > 0
