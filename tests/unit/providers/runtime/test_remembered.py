"""What is kept for a vendor, and for how long."""

from mimi_mqtt.providers.runtime.remembered import Remembered


def test_the_least_used_is_forgotten_first() -> None:
    kept = Remembered[int](2)
    kept.keep("a", 1)
    kept.keep("b", 2)
    assert kept.get("a") == 1
    kept.keep("c", 3)
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == (1, None, 3)


def test_a_value_can_be_replaced_and_forgotten() -> None:
    kept = Remembered[int](2)
    kept.keep("a", 1)
    kept.keep("a", 2)
    assert kept.get("a") == 2
    kept.forget("a")
    kept.forget("a")
    assert kept.get("a") is None
