import pytest

from mimi_mqtt.cli.device.decode_queue import Counters, DecodeQueue


def test_queue_drains_at_the_pace_of_speech() -> None:
    queue = DecodeQueue(5, Counters())
    queue.begin(10.0)
    for _ in range(3):
        queue.push(b"opus", 10.0)
    assert [play.at for play in queue.advance(10.0)] == [10.0]
    assert queue.waiting == 2
    assert not queue.drained(10.1)
    assert [play.at for play in queue.advance(10.13)] == pytest.approx([10.06, 10.12])
    assert queue.drained(10.2)


def test_counters_of_a_turn_are_a_difference() -> None:
    counters = Counters(received=7, lost=1)
    before = Counters(received=3, lost=1)
    assert counters.since(before) == Counters(received=4)


def test_discarded_audio_is_bounded() -> None:
    queue = DecodeQueue(5, counters := Counters())
    queue.begin(0.0)
    for number in range(5_000):
        queue.discard(float(number))
    queue.settle()
    assert counters.clipped_end_ms == 1_000 * 60
