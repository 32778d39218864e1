"""Fair order of work that one place does for many devices: short work first, and every device in its turn.

Providers that compute on this machine have one model, one thread or a few processes for all conversations.
The device that they work for travels in a context variable, as its id does on log lines, so that no vendor
has to pass it on.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_holder: Final[ContextVar[str]] = ContextVar("mimi_work_holder", default="")


def bind_holder(holder: str) -> None:
    """Makes what this task, and whatever is started from here, asks of a provider count for `holder`."""
    _holder.set(holder)


def current_holder() -> str:
    """The device for which this task works; empty where it works for none."""
    return _holder.get()


class FairQueue(Generic[T]):
    """Waiting work of several holders, by weighted fair queueing (Demers, Keshav and Shenker, 1989). Pure.

    Each item has a cost, such as seconds of audio. The next is always the one that would be done first if all
    holders were served at the same time and speed: a short one goes before the long ones of others, whoever
    has many gets no more than everybody else, and only a bounded amount of later work overtakes what waits.
    Items of one holder keep their order. Items are told apart by hash; choosing costs time in proportion to
    the number of holders.
    """

    def __init__(self) -> None:
        self._items: dict[str, dict[T, float]] = {}
        self._served: dict[str, float] = {}  # virtual time up to which a holder was served, where ahead
        self._holders: dict[T, str] = {}
        self._clock = 0.0  # virtual time: the work that each of the holders was served

    def __len__(self) -> int:
        return len(self._holders)

    def __contains__(self, item: T) -> bool:
        return item in self._holders

    def waits(self, holder: str) -> bool:
        """True while work of `holder` is in."""
        return holder in self._items

    def add(self, holder: str, item: T, cost: float) -> None:
        """Appends `item` to those of `holder`."""
        if holder not in self._items:
            self._items[holder] = {}
            self._served[holder] = max(self._clock, self._served.get(holder, 0.0))
        self._items[holder][item] = cost
        self._holders[item] = holder

    def remove(self, item: T) -> bool:
        """Takes `item` out, if it is in."""
        holder = self._holders.pop(item, None)
        if holder is None:
            return False
        del self._items[holder][item]
        if not self._items[holder]:
            del self._items[holder]
        return True

    def peek(self, fits: Callable[[T], bool] | None = None) -> T | None:
        """The next item, which stays in; None when there is none. With `fits`, the next of those that fit and
        are the first of their holder."""
        found = self._next(fits)
        return None if found is None else next(iter(self._items[found[0]]))

    def pop(self, fits: Callable[[T], bool] | None = None) -> T | None:
        """Takes out what `peek` gives."""
        if (found := self._next(fits)) is None:
            return None
        holder, ends = found
        self._clock += (ends - self._served[holder]) / len(self._items)
        self._served[holder] = ends
        item = next(iter(self._items[holder]))
        self.remove(item)
        self._served = {
            other: served
            for other, served in self._served.items()
            if served > self._clock or other in self._items
        }
        return item

    def _next(self, fits: Callable[[T], bool] | None) -> tuple[str, float] | None:
        """The holder whose first item is next, and the virtual time at which that would be done."""
        found: tuple[str, float] | None = None
        for holder, items in self._items.items():
            item, cost = next(iter(items.items()))
            ends = self._served[holder] + cost
            if (found is None or ends < found[1]) and (fits is None or fits(item)):
                found = holder, ends
        return found

    def clear(self) -> list[T]:
        """Takes out all items."""
        items = [*self._holders]
        self._items.clear()
        self._served.clear()
        self._holders.clear()
        return items
