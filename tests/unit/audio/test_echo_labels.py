"""Labels estimated for a device that sends none."""

from mimi_mqtt.audio.echo_labels import EchoLabels

FRAME_MS = 60


def reply(labels: EchoLabels, first: int, frames: int, at: float, ahead: int = 3) -> None:
    """Sends frames of a reply as the play-out clock does: `ahead` of them before their time."""
    for number in range(frames):
        labels.sent(first + number * FRAME_MS, at + max(0, number - ahead) * FRAME_MS / 1000)


def test_nothing_is_named_before_anything_was_sent() -> None:
    assert EchoLabels(FRAME_MS).label(1, 5.0) == 0


def test_the_first_label_is_that_of_what_left_long_enough_ago_and_the_others_are_counted() -> None:
    labels = EchoLabels(FRAME_MS)
    reply(labels, 60, 10, 1.0)
    assert labels.label(7, 1.1) == 0  # recorded before anything could play
    assert labels.label(8, 1.15) == 100
    assert labels.label(9, 1.4) == 160  # late, and in a burst with those behind it
    assert labels.label(10, 1.4) == 220
    assert labels.label(13, 1.45) == 400  # two were lost


def test_after_the_last_frame_nothing_plays() -> None:
    labels = EchoLabels(FRAME_MS)
    reply(labels, 60, 2, 1.0)
    assert [labels.label(sequence, 1.11 + sequence * 0.06) for sequence in range(3)] == [60, 120, 0]


def test_the_next_reply_has_a_first_label_of_its_own() -> None:
    labels = EchoLabels(FRAME_MS)
    reply(labels, 60, 2, 1.0)
    labels.label(1, 1.12)
    reply(labels, 180, 5, 4.0)
    assert labels.label(50, 4.1) == 0
    assert labels.label(51, 4.17) == 240


def test_a_reply_that_runs_dry_begins_anew() -> None:
    labels = EchoLabels(FRAME_MS)
    reply(labels, 60, 2, 1.0)
    assert labels.label(1, 1.12) == 70
    reply(labels, 180, 5, 1.5)  # its frames should have left 1.12 s after the first
    assert labels.label(8, 1.62) == 190


def test_a_frame_that_is_late_by_a_timer_is_no_pause() -> None:
    labels = EchoLabels(FRAME_MS)
    for number in range(10):
        labels.sent(60 + number * FRAME_MS, 1.0 + number * 0.06 + 0.02 * (number > 0))
    assert labels.label(1, 1.11) == 60
    assert labels.label(5, 1.35) == 300


def test_a_device_that_begins_to_send_long_after_a_reply_has_no_echo() -> None:
    labels = EchoLabels(FRAME_MS)
    reply(labels, 60, 3, 1.0)
    assert labels.label(1, 60.0) == 0
