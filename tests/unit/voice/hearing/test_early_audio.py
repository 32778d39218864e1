"""Audio that comes before it is announced."""

from mimi_mqtt.voice.hearing.early_audio import EarlyAudio


def test_what_came_a_moment_ago_is_taken_once_in_order() -> None:
    early = EarlyAudio()
    for sequence, now in ((1, 8.0), (2, 9.5), (3, 10.0)):
        early.keep(b"x", sequence, now)
    assert [sequence for _, sequence, _ in early.take(10.1)] == [2, 3]
    assert list(early.take(10.1)) == []


def test_it_is_bounded_and_can_be_forgotten() -> None:
    early = EarlyAudio()
    for sequence in range(200):
        early.keep(b"x", sequence, 10.0)
    assert [sequence for _, sequence, _ in early.take(10.0)] == list(range(150, 200))
    early.keep(b"x", 1, 10.0)
    early.clear()
    assert list(early.take(10.0)) == []
