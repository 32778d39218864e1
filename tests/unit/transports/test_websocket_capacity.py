"""The bytes that a WebSocket takes beside speech: little until pongs show that it is fast."""

from mimi_mqtt.transports.websocket_capacity import (
    LEAST_BYTES_PER_S,
    MAX_DELAY_S,
    MOST_BYTES_PER_S,
    PROBE_INTERVAL_S,
    WebSocketCapacity,
)

LEAST = int(LEAST_BYTES_PER_S * MAX_DELAY_S)
SECOND = 2 * PROBE_INTERVAL_S


def measured(capacity: WebSocketCapacity, now: float, bytes_per_s: float, size: int | None = None) -> int:
    """Sends as much as may be, over a connection of this rate; what may be sent a second later."""
    size = capacity.spare(now) if size is None else size
    capacity.sent(size, now)
    assert capacity.begin_probe(size, now)
    capacity.answered(now + size / bytes_per_s)
    return capacity.spare(now + SECOND)


def test_an_unknown_connection_has_a_tenth_of_a_second_at_the_least_rate() -> None:
    assert WebSocketCapacity(5.0).spare(5.0) == LEAST == 1_200


def test_what_was_sent_is_in_the_way_until_it_has_drained() -> None:
    capacity = WebSocketCapacity(0.0)
    capacity.sent(1_000, 0.0)
    assert capacity.spare(0.0) == 200
    assert capacity.spare(0.05) == 800
    capacity.sent(50_000, 0.05)
    assert capacity.spare(0.05) == 0
    assert capacity.spare(100.0) == LEAST


def test_speech_leaves_most_of_it() -> None:
    capacity, now = WebSocketCapacity(0.0), 0.0
    for _ in range(100):
        capacity.sent(250, now)
        now += 0.06
    assert capacity.spare(now) == LEAST


def test_a_fast_connection_is_known_after_a_few_texts() -> None:
    capacity = WebSocketCapacity(0.0)
    grown = [measured(capacity, number * SECOND, 1_000_000.0) for number in range(6)]
    assert grown == [2 * LEAST, 4 * LEAST, 8 * LEAST, *[int(MOST_BYTES_PER_S * MAX_DELAY_S)] * 3]


def test_a_slow_connection_stays_at_the_least() -> None:
    capacity = WebSocketCapacity(0.0)
    for number, bytes_per_s in enumerate((12_000.0, 6_000.0, 100.0)):
        assert measured(capacity, number * 100 * SECOND, bytes_per_s) == LEAST


def test_a_connection_that_becomes_slow_is_at_the_least_at_once() -> None:
    capacity = WebSocketCapacity(0.0)
    measured(capacity, 0.0, 1_000_000.0)
    assert measured(capacity, SECOND, 10_000.0) == LEAST


def test_a_short_message_does_not_lower_what_a_long_one_showed() -> None:
    capacity = WebSocketCapacity(0.0)
    measured(capacity, 0.0, 1_000_000.0)
    assert measured(capacity, SECOND, 3_000.0, size=200) == 2 * LEAST


def test_an_answer_that_does_not_come_is_a_slow_connection() -> None:
    capacity = WebSocketCapacity(0.0)
    now = SECOND
    assert measured(capacity, 0.0, 1_000_000.0) == 2 * LEAST
    assert capacity.begin_probe(1_000, now)
    assert capacity.spare(now + MAX_DELAY_S * 0.9) == 2 * LEAST
    assert capacity.spare(now + MAX_DELAY_S * 1.1) == LEAST
    assert not capacity.begin_probe(1_000, now + 100)
    capacity.answered(now + 100)
    assert capacity.begin_probe(1_000, now + 100)


def test_pings_are_rare_and_follow_no_short_message() -> None:
    capacity = WebSocketCapacity(0.0)
    assert not capacity.begin_probe(100, 0.0)
    assert capacity.begin_probe(1_000, 0.0)
    capacity.answered(0.01)
    assert not capacity.begin_probe(1_000, PROBE_INTERVAL_S * 0.9)
    assert capacity.begin_probe(1_000, PROBE_INTERVAL_S)


def test_pongs_that_were_not_asked_for_change_nothing() -> None:
    capacity = WebSocketCapacity(0.0)
    for number in range(1_000):
        capacity.answered(number / 1_000)
    assert capacity.spare(SECOND) == LEAST
