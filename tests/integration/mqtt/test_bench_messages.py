"""The bench of general clients' messages, small: figures that can be true, whatever the machine's speed."""

import argparse
import json

import pytest

from mimi_mqtt.cli.bench import messages
from mimi_mqtt.wire import mqtt, mqtt5


def test_every_part_is_measured() -> None:
    parser = argparse.ArgumentParser()
    messages.configure(parser)
    args = parser.parse_args(["--messages", "200", "--others", "300", "--receivers", "4", "--runs", "1"])
    figures = messages.measure(args)
    assert figures == json.loads(json.dumps(figures))
    assert (figures["others"], figures["receivers"], figures["runs"]) == (300, 4, 1)

    def number(name: str) -> float:
        value = figures[name]
        assert isinstance(value, int | float), name
        return value

    for name in figures:
        if name.startswith("cpu_us"):
            assert number(name) > 0
    alone, among = number("cpu_us_per_message"), number("cpu_us_per_message_among_others")
    assert number("ratio_among_others") == pytest.approx(among / alone, abs=0.05)
    five = number("cpu_us_per_message_of_mqtt5")
    assert number("ratio_of_mqtt5") == pytest.approx(five / alone, abs=0.05)


@pytest.mark.parametrize("version", [4, 5])
def test_each_receiver_is_sent_each_message(version: int) -> None:
    scene = messages._Scene(version, receivers=5, others=200)
    encode = mqtt5.encode_publish if version == 5 else mqtt.encode_publish
    packet = messages._cut(encode("house/kitchen/light", b"x"))
    scene.cpu_us(packet, 10)
    assert [link.sent for link in scene.links] == [10 * len(packet.raw)] * 5 + [0, 0, 0]
