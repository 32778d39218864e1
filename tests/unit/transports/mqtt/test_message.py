"""Messages and the time that is left of their expiry interval."""

import pytest

from mimi_mqtt.transports.mqtt.message import Message, expiry


@pytest.mark.parametrize(
    ("after_s", "left", "expired"),
    [(0, 10, False), (0.0005, 10, False), (0.5, 10, False), (1.5, 9, False), (9.9, 1, False), (10, 0, True)],
)
def test_expiry_is_told_in_whole_seconds_that_are_left(after_s: float, left: int, expired: bool) -> None:
    message = Message("t", b"", expires_at=expiry(10, 1_000_000.1))
    assert message.seconds_left(1_000_000.1 + after_s) == left
    assert message.expired(1_000_000.1 + after_s) is expired


def test_without_an_expiry_it_never_expires() -> None:
    message = Message("t", b"", expires_at=expiry(None, 5.0))
    assert message.seconds_left(1e12) is None
    assert not message.expired(1e12)


@pytest.mark.parametrize(("topic", "topic_bytes"), [("topic", 5), ("主题", 6), ("😀", 4)])
def test_topic_and_properties_count_in_bytes_as_the_payload_does(topic: str, topic_bytes: int) -> None:
    assert Message(topic, b"12345678", travelling=b"x" * 100).size == topic_bytes + 108
