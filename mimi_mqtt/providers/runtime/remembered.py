"""What a vendor wants back later and a dialogue has no place for: thoughts, signatures, conversation ids."""

from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class Remembered(Generic[T]):
    """Values by key; beyond `most` the one that was not used for longest is forgotten."""

    def __init__(self, most: int = 1_000) -> None:
        self._most = most
        self._values: OrderedDict[str, T] = OrderedDict()

    def get(self, key: str) -> T | None:
        """What was kept under `key`, if it still is."""
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def keep(self, key: str, value: T) -> None:
        """Keeps `value` in place of what was there."""
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._most:
            self._values.popitem(last=False)

    def forget(self, key: str) -> None:
        """Drops what is there, if anything."""
        self._values.pop(key, None)
