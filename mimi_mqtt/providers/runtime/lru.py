"""A bounded mapping that forgets the value that was not used for longest."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")


class Lru(Generic[V]):
    """Values by key. `most` bounds their number, or the sum of what `weigh` says of each value."""

    def __init__(self, most: int = 1_000, weigh: Callable[[V], int] = lambda _: 1) -> None:
        self._most = most
        self._weigh = weigh
        self._values: OrderedDict[str, V] = OrderedDict()
        self.weight = 0
        """Sum of the weights of all values."""

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def get(self, key: str) -> V | None:
        """The value of `key`, which counts as used now; None when it is not there (any more)."""
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def keep(self, key: str, value: V) -> None:
        """Keeps `value` in place of the one that was there; a value heavier than `most` is not kept."""
        self.forget(key)
        self._values[key] = value
        self.weight += self._weigh(value)
        while self.weight > self._most:
            self.forget(next(iter(self._values)))

    def forget(self, key: str) -> None:
        """Drops the value of `key`, if there is one."""
        if key in self._values:
            self.weight -= self._weigh(self._values.pop(key))
