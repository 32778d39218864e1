"""The order in which values are forgotten."""

from mimi_mqtt.providers.runtime.lru import Lru


def test_the_least_used_is_forgotten_first() -> None:
    kept = Lru[int](2)
    kept.keep("a", 1)
    kept.keep("b", 2)
    assert kept.get("a") == 1
    kept.keep("c", 3)
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == (1, None, 3)


def test_a_value_can_be_replaced_and_forgotten() -> None:
    kept = Lru[int](2)
    kept.keep("a", 1)
    kept.keep("a", 2)
    assert kept.get("a") == 2
    kept.forget("a")
    kept.forget("a")
    assert kept.get("a") is None


def test_weights_are_bounded_together() -> None:
    kept = Lru[bytes](10, len)
    kept.keep("a", bytes(4))
    kept.keep("b", bytes(4))
    kept.keep("a", bytes(6))
    assert (kept.weight, "a" in kept, "b" in kept) == (10, True, True)
    kept.keep("c", bytes(5))
    assert (kept.weight, "a" in kept, "b" in kept, "c" in kept) == (5, False, False, True)
    kept.keep("d", bytes(11))
    assert (kept.weight, kept.get("d")) == (0, None)
