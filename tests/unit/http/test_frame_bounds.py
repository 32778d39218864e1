from mimi_mqtt.http.frame_bounds import (
    CONTROL_FRAMES_BURST,
    CONTROL_FRAMES_PER_S,
    FRAGMENTS_BURST,
    FRAGMENTS_PER_S,
    MAX_EMPTY_FRAGMENTS,
    MAX_FRAGMENTS,
    FrameBounds,
)


def taken(bounds: FrameBounds, most: int, now: float, *, size: int = 1) -> int:
    """Fragments that are taken of at most `most`."""
    return next((number for number in range(most) if not bounds.fragment(size, now)), most)


def test_control_frames_have_a_burst_and_a_rate() -> None:
    bounds = FrameBounds(0.0)
    assert sum(bounds.control(0.0) for _ in range(1_000)) == CONTROL_FRAMES_BURST
    assert sum(bounds.control(1.0) for _ in range(1_000)) == CONTROL_FRAMES_PER_S


def test_each_message_has_its_own_fragments_and_the_rate_is_of_all() -> None:
    bounds = FrameBounds(0.0)
    for _ in range(2):
        bounds.begin()
        assert taken(bounds, 1_000, 0.0) == MAX_FRAGMENTS
    bounds.begin()
    assert taken(bounds, 1_000, 0.0) == FRAGMENTS_BURST - 2 * MAX_FRAGMENTS
    bounds.begin()
    assert taken(bounds, 1_000, 1.0) == FRAGMENTS_PER_S


def test_empty_fragments_are_few() -> None:
    bounds = FrameBounds(0.0)
    assert taken(bounds, 100, 0.0, size=0) == MAX_EMPTY_FRAGMENTS
    bounds.begin()
    assert bounds.fragment(0, 0.0)
