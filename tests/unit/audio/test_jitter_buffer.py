import itertools

from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.audio.jitter_buffer import MAX_HELD_PACKETS, MAX_LOST_RUN, JitterBuffer


def packet(sequence: int) -> bytes:
    return sequence.to_bytes(4, "big")


def push(buffer: JitterBuffer[bytes], *sequences: int, now: float = 0.0) -> None:
    for sequence in sequences:
        buffer.push(sequence, packet(sequence), now)


def test_packets_in_order_are_not_delayed() -> None:
    buffer = JitterBuffer[bytes](0.12)
    for sequence in range(1, 20):
        push(buffer, sequence)
        assert buffer.pop(0.0) == [packet(sequence)]
        assert buffer.due is None


def test_a_swapped_pair_comes_out_in_order() -> None:
    buffer = JitterBuffer[bytes](0.12)
    push(buffer, 1, 3)
    assert buffer.pop(0.0) == [packet(1)]
    push(buffer, 2, now=0.05)
    assert buffer.pop(0.05) == [packet(2), packet(3)]
    assert (buffer.lost, buffer.late) == (0, 0)


def test_a_missing_packet_is_lost_after_the_wait() -> None:
    buffer = JitterBuffer[bytes](0.12)
    push(buffer, 1)
    push(buffer, 3, now=1.0)
    push(buffer, 4, now=1.06)
    assert buffer.due == 1.12
    assert buffer.pop(1.11) == [packet(1)]
    assert buffer.pop(1.12) == [None, packet(3), packet(4)]
    assert buffer.lost == 1
    push(buffer, 2, now=1.2)
    assert buffer.pop(1.2) == []
    assert buffer.late == 1


def test_a_second_gap_is_as_old_as_the_packet_behind_it() -> None:
    buffer = JitterBuffer[bytes](0.12)
    push(buffer, 1)
    push(buffer, 3, now=1.0)
    push(buffer, 5, now=1.05)
    assert buffer.pop(1.12) == [packet(1), None, packet(3)]
    assert buffer.due == 1.05 + 0.12
    assert buffer.pop(1.17) == [None, packet(5)]


def test_losses_before_the_first_packet_are_waited_for_but_not_reported() -> None:
    buffer = JitterBuffer[bytes](0.12)
    push(buffer, 3)
    assert buffer.pop(0.05) == []
    assert buffer.pop(0.12) == [packet(3)]
    assert buffer.lost == 0


def test_a_long_outage_is_reported_as_a_bounded_run() -> None:
    buffer = JitterBuffer[bytes](0.12)
    push(buffer, 1, 400)
    popped = buffer.pop(1.0)
    assert popped == [packet(1)] + [None] * MAX_LOST_RUN + [packet(400)]
    assert buffer.lost == 398


def test_no_more_than_a_bounded_number_is_held_behind_a_gap() -> None:
    buffer = JitterBuffer[bytes](1000.0)
    push(buffer, 1)
    push(buffer, *range(3, 4 + MAX_HELD_PACKETS))
    popped = buffer.pop(0.0)
    assert popped[:3] == [packet(1), None, packet(3)]
    assert buffer.due is None


def test_flush_releases_everything_held() -> None:
    buffer = JitterBuffer[bytes](0.12)
    push(buffer, 1, 3, 6)
    assert buffer.flush() == [packet(1), None, packet(3), None, None, packet(6)]
    push(buffer, 7)
    assert buffer.pop(0.0) == [packet(7)]


def test_reset_drops_what_is_held_and_keeps_the_count() -> None:
    buffer = JitterBuffer[bytes](0.12)
    push(buffer, 1, 2, 5)
    buffer.reset()
    assert buffer.pop(9.0) == []
    push(buffer, 4, 6)
    assert buffer.pop(9.0) == [packet(6)]
    assert buffer.late == 1


def test_what_was_sent_unheard_between_two_turns_is_no_loss() -> None:
    buffer = JitterBuffer[bytes](0.12)
    push(buffer, 1, 2)
    buffer.pop(0.0)
    buffer.reset()
    push(buffer, 51, now=3.0)
    push(buffer, 50, now=3.02)
    assert buffer.pop(3.12) == [packet(50), packet(51)]
    assert buffer.lost == 0


def test_a_sender_that_starts_over_is_followed_from_its_first_packet() -> None:
    buffer = JitterBuffer[bytes](0.12)
    push(buffer, *range(1, 100))
    buffer.pop(0.0)
    push(buffer, *range(1, 8), now=1.0)
    assert (buffer.pop(1.0), buffer.late) == ([], 7)
    push(buffer, *range(8, 20), now=1.1)
    assert buffer.pop(1.1) == [packet(sequence) for sequence in range(1, 20)]
    assert (buffer.late, buffer.lost) == (0, 0)


def test_gaps_of_a_sender_that_started_over_are_not_waited_for_again() -> None:
    buffer = JitterBuffer[bytes](0.12)
    push(buffer, *range(1, 100))
    buffer.pop(0.0)
    push(buffer, 1, 2, 3, 5, 6, 7, 8, 9, now=1.0)
    heard = buffer.pop(1.0)
    assert heard == [*map(packet, (1, 2, 3)), None, *map(packet, range(5, 10))]


def test_a_forgery_believed_before_the_first_packet_costs_nothing_of_what_follows() -> None:
    buffer = JitterBuffer[bytes](0.12)
    push(buffer, 40, now=0.0)
    assert buffer.pop(0.3) == [packet(40)]
    push(buffer, *range(1, 30), now=0.3)
    assert buffer.pop(0.3) == [packet(sequence) for sequence in range(1, 30)]


@given(
    st.lists(
        st.tuples(st.integers(1, 60), st.floats(0, 0.2)),
        max_size=120,
    )
)
def test_whatever_comes_packets_leave_in_order_and_nothing_stays_behind(
    arrivals: list[tuple[int, float]],
) -> None:
    buffer, now = JitterBuffer[bytes](0.12), 0.0
    taken: list[bytes | None] = []
    for sequence, pause in arrivals:
        now += pause
        push(buffer, sequence, now=now)
        taken += buffer.pop(now)
    taken += buffer.flush()
    assert buffer.due is None
    heard = [int.from_bytes(opus, "big") for opus in taken if opus is not None]
    steps_back = sum(after <= before for before, after in itertools.pairwise(heard))
    assert steps_back <= buffer.late // 8
