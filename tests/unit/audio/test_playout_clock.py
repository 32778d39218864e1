from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.audio.playout_clock import PlayoutClock


def leave(clock: PlayoutClock, count: int, late: float = 0.0) -> list[float]:
    """Sends frames as soon as they may leave, each `late` s later; the moments."""
    moments = []
    for _ in range(count):
        moments.append(clock.next_send_at + late)
        assert clock.may_send(moments[-1])
        clock.sent(moments[-1])
    return moments


def test_nothing_leaves_before_the_start() -> None:
    clock = PlayoutClock(60, ahead=3)
    clock.begin(10.0)
    assert not clock.may_send(9.99)
    assert clock.next_send_at == 10.0
    assert clock.may_send(10.0)


@pytest.mark.parametrize("frame_ms", [20, 40, 60])
def test_lead_grows_by_a_third_of_a_frame_each_until_it_is_complete(frame_ms: int) -> None:
    clock, frame = PlayoutClock(frame_ms, ahead=3), frame_ms / 1000
    clock.begin(10.0)
    moments = leave(clock, 30)
    assert moments[:10] == pytest.approx([10.0 + n * frame * 2 / 3 for n in range(10)])
    # From then on exactly three frames before their time.
    assert moments[9:] == pytest.approx([10.0 + (n - 3) * frame for n in range(9, 30)])


def test_only_one_frame_leaves_at_a_time() -> None:
    clock = PlayoutClock(60, ahead=3)
    clock.begin(10.0)
    clock.sent(10.0)
    assert not clock.may_send(10.039)
    assert clock.may_send(10.04)


def test_last_frame_is_heard_when_all_have_been_played() -> None:
    clock = PlayoutClock(60, ahead=3)
    clock.begin(10.0)
    leave(clock, 4)
    assert clock.played_at == pytest.approx(10.24)
    leave(clock, 96)
    assert clock.played_at == pytest.approx(16.0)


def test_late_timers_do_not_add_up() -> None:
    clock = PlayoutClock(60, ahead=2)
    clock.begin(0.0)
    clock.sent(0.0)
    moments = leave(clock, 1000, late=0.007)
    assert clock.played_at == pytest.approx(1001 * 0.06)
    assert moments[-1] == pytest.approx((1000 - 2) * 0.06 + 0.007)


def test_a_timer_that_missed_frames_catches_up_without_a_burst() -> None:
    clock = PlayoutClock(60, ahead=5)
    clock.begin(0.0)
    moments = leave(clock, 30)
    late = moments[-1] + 0.06 + 0.13
    clock.sent(late)
    assert leave(clock, 2) == pytest.approx([late + 0.04, late + 0.08])
    leave(clock, 27)
    assert clock.played_at == pytest.approx(60 * 0.06)
    assert clock.next_send_at == pytest.approx((60 - 5) * 0.06)


def test_a_sender_that_ran_dry_shifts_the_clock_and_builds_its_lead_again() -> None:
    clock = PlayoutClock(60, ahead=1)
    clock.begin(0.0)
    clock.sent(0.0)
    assert clock.played_at == pytest.approx(0.06)
    clock.sent(1.0)
    assert clock.played_at == pytest.approx(1.06)
    assert leave(clock, 5) == pytest.approx([1.04, 1.08, 1.12, 1.18, 1.24])


def test_an_empty_stream_is_over_when_it_begins() -> None:
    clock = PlayoutClock(60, ahead=3)
    clock.begin(5.0)
    assert clock.played_at == 5.0
    assert clock.frames_sent == 0


def test_timestamps_increase_across_streams() -> None:
    clock = PlayoutClock(60, ahead=3)
    clock.begin(0.0)
    first = [clock.sent(0.0), clock.sent(0.04)]
    clock.begin(1.0)
    assert [*first, clock.sent(1.0)] == [60, 120, 180]
    assert clock.frames_sent == 1


@given(
    frame_ms=st.sampled_from([20, 40, 60]),
    ahead=st.integers(0, 40),
    pauses=st.lists(st.floats(0, 0.5), max_size=80),
)
def test_frames_keep_their_distance_and_never_more_than_ahead_are_on_their_way(
    frame_ms: int, ahead: int, pauses: list[float]
) -> None:
    clock, now, sent = PlayoutClock(frame_ms, ahead), 100.0, []
    clock.begin(now)
    for pause in pauses:
        now += pause
        if clock.may_send(now):
            clock.sent(now)
            sent.append(now)
        assert clock.played_at - now <= (ahead + 1) * frame_ms / 1000 + 1e-6
        assert clock.played_at >= 100.0 + len(sent) * frame_ms / 1000 - 1e-6
    assert all(after - before >= frame_ms / 1500 - 1e-6 for before, after in pairwise(sent))
