import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.audio.playout_clock import PlayoutClock


def test_frames_leave_ahead_of_their_time_but_no_further() -> None:
    clock = PlayoutClock(60, ahead=3)
    clock.begin(10.0)
    assert clock.sendable(9.99) == 0
    assert clock.next_send_at == 10.0
    assert clock.sendable(10.0) == 4
    for _ in range(4):
        clock.sent(10.0)
    assert clock.sendable(10.0) == 0
    assert clock.next_send_at == pytest.approx(10.06)
    assert clock.sendable(10.06) == 1
    assert clock.played_at == pytest.approx(10.24)


def test_late_timers_do_not_add_up() -> None:
    clock = PlayoutClock(60, ahead=2)
    clock.begin(0.0)
    clock.sent(0.0)
    now = 0.0
    for _ in range(1000):
        now = max(now, clock.next_send_at) + 0.007
        for _ in range(clock.sendable(now)):
            clock.sent(now)
    assert clock.frames_sent >= 1000
    assert clock.played_at == pytest.approx(clock.frames_sent * 0.06)


def test_a_sender_that_ran_dry_shifts_the_clock() -> None:
    clock = PlayoutClock(60, ahead=1)
    clock.begin(0.0)
    clock.sent(0.0)
    assert clock.played_at == pytest.approx(0.06)
    assert clock.sendable(1.0) == 2
    clock.sent(1.0)
    assert clock.played_at == pytest.approx(1.06)


def test_an_empty_stream_is_over_when_it_begins() -> None:
    clock = PlayoutClock(60, ahead=3)
    clock.begin(5.0)
    assert clock.played_at == 5.0
    assert clock.frames_sent == 0


def test_timestamps_increase_across_streams() -> None:
    clock = PlayoutClock(60, ahead=3)
    clock.begin(0.0)
    first = [clock.sent(0.0), clock.sent(0.0)]
    clock.begin(1.0)
    assert [*first, clock.sent(1.0)] == [60, 120, 180]
    assert clock.frames_sent == 1


@given(
    frame_ms=st.sampled_from([20, 40, 60]),
    ahead=st.integers(0, 40),
    pauses=st.lists(st.floats(0, 0.5), max_size=80),
)
def test_never_more_than_ahead_frames_are_on_their_way(
    frame_ms: int, ahead: int, pauses: list[float]
) -> None:
    clock, now = PlayoutClock(frame_ms, ahead), 100.0
    clock.begin(now)
    for pause in pauses:
        now += pause
        for _ in range(clock.sendable(now)):
            clock.sent(now)
        assert clock.played_at - now <= (ahead + 1) * frame_ms / 1000 + 1e-6
        assert clock.next_send_at >= now - 1e-6
