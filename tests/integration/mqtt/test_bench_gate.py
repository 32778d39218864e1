"""The gate's bench, small: figures that can be true, whatever the machine's speed."""

import argparse
import asyncio
import json

import pytest

from mimi_mqtt.cli.bench import gate


async def test_every_connect_and_hello_is_measured() -> None:
    parser = argparse.ArgumentParser()
    gate.configure(parser)
    args = parser.parse_args(["--devices", "20", "--connects", "100", "--runs", "1"])
    figures = await asyncio.to_thread(gate.measure, args)
    assert figures == json.loads(json.dumps(figures))
    assert figures["devices"] == 20
    assert figures["runs"] == 1

    def number(name: str) -> float:
        value = figures[name]
        assert isinstance(value, int | float), name
        return value

    ratio = number("connects_per_s") / number("reference_connects_per_s")
    assert number("ratio_to_reference") == pytest.approx(ratio, abs=0.01)
    assert ratio > 0
    for name in ("cpu_us_per_connect", "cpu_us_per_hello"):
        assert number(name) > 0
        assert number(f"reference_{name}") > 0
    for name in ("hello_p99_ms", "hello_p99_ms_of_500"):
        assert number(name) > 0
        assert number(f"reference_{name}") > 0
    assert 0 < number("hello_p50_ms") <= number("hello_p99_ms")
    assert number("bytes_per_idle_device") >= 0  # so few fit into memory that was there
