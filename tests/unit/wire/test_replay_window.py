import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.wire.replay_window import ReplayWindow, Verdict

sequences = st.integers(-5, 2**32 + 5)


def test_a_stream_begins_at_zero_or_one() -> None:
    window = ReplayWindow()
    assert window.check(-1) is Verdict.TOO_OLD
    assert window.check(0) is Verdict.NEW
    assert window.check(1) is Verdict.NEW


def test_sequence_zero_is_accepted_once() -> None:
    window = ReplayWindow()
    window.accept(0)
    assert window.check(0) is Verdict.DUPLICATE
    assert window.check(1) is Verdict.NEW
    window.accept(1)
    assert window.check(0) is Verdict.DUPLICATE


def test_sequence_zero_may_be_overtaken_by_the_next() -> None:
    window = ReplayWindow()
    window.accept(1)
    assert window.check(0) is Verdict.LATE
    window.accept(0)
    assert window.check(0) is Verdict.DUPLICATE


def test_checking_changes_nothing() -> None:
    window = ReplayWindow()
    assert [window.check(1), window.check(1), window.check(200), window.check(1)] == [Verdict.NEW] * 4
    assert window.highest == 0


def test_repeated_packet_is_a_duplicate_and_a_missed_one_is_late() -> None:
    window = ReplayWindow()
    for sequence in (1, 2, 5):
        window.accept(sequence)
    assert [window.check(n) for n in range(7)] == [
        Verdict.LATE,
        Verdict.DUPLICATE,
        Verdict.DUPLICATE,
        Verdict.LATE,
        Verdict.LATE,
        Verdict.DUPLICATE,
        Verdict.NEW,
    ]
    window.accept(3)
    assert window.check(3) is Verdict.DUPLICATE
    assert window.check(4) is Verdict.LATE


def test_behind_the_window_nothing_is_believed() -> None:
    window = ReplayWindow(size=64)
    window.accept(100)
    assert window.check(37) is Verdict.LATE
    assert window.check(36) is Verdict.TOO_OLD


@pytest.mark.parametrize(("jump", "verdict"), [(250, Verdict.NEW), (251, Verdict.TOO_FAR)])
def test_jumps_are_bounded(jump: int, verdict: Verdict) -> None:
    window = ReplayWindow(max_jump=250)
    window.accept(10)
    assert window.check(10 + jump) is verdict


def test_forged_highest_sequence_is_too_far() -> None:
    window = ReplayWindow()
    window.accept(1)
    assert window.check(0xFFFFFFFF) is Verdict.TOO_FAR
    assert window.check(2) is Verdict.NEW


def test_proven_jump_of_any_size_costs_no_memory() -> None:
    window = ReplayWindow(size=64)
    window.accept(1)
    window.accept(0xFFFFFFFF)
    assert window.check(0xFFFFFFFF) is Verdict.DUPLICATE
    assert window.check(0xFFFFFFFE) is Verdict.LATE
    assert window.check(1) is Verdict.TOO_OLD


@given(st.lists(st.one_of(st.integers(0, 300), sequences)), st.integers(64, 200), st.integers(1, 300))
def test_agrees_with_a_window_that_remembers_everything(
    arrivals: list[int], size: int, max_jump: int
) -> None:
    window = ReplayWindow(size, max_jump)
    accepted: set[int] = set()
    for sequence in arrivals:
        highest = max(accepted, default=0)
        if sequence == 0 and not accepted:
            expected = Verdict.NEW
        elif sequence > highest:
            expected = Verdict.NEW if sequence - highest <= max_jump else Verdict.TOO_FAR
        elif sequence < 0 or highest - sequence >= size:
            expected = Verdict.TOO_OLD
        else:
            expected = Verdict.DUPLICATE if sequence in accepted else Verdict.LATE
        assert window.check(sequence) is expected
        if expected in (Verdict.NEW, Verdict.LATE):
            window.accept(sequence)
            accepted.add(sequence)


def test_a_rewound_window_forgets_what_came_after_and_nothing_before() -> None:
    window = ReplayWindow(size=16, max_jump=100)
    for sequence in (1, 2, 4, 30, 31):
        window.accept(sequence)
    window.rewind(20)
    assert window.highest == 20
    assert window.check(30) is window.check(21) is Verdict.NEW
    assert window.check(16) is Verdict.LATE
    assert window.check(15) is window.check(4) is Verdict.TOO_OLD
    window.accept(21)
    window.rewind(25)
    assert window.check(21) is Verdict.DUPLICATE


def test_a_rewound_window_knows_what_was_accepted_before() -> None:
    window = ReplayWindow(size=16, max_jump=100)
    for sequence in (1, 2, 4, 9):
        window.accept(sequence)
    window.rewind(4)
    assert [window.check(sequence) for sequence in (1, 2, 3, 4, 9)] == [
        Verdict.DUPLICATE, Verdict.DUPLICATE, Verdict.LATE, Verdict.DUPLICATE, Verdict.NEW,
    ]  # fmt: skip
