"""Fair shares of what is bounded: places, such as connections and queue positions, and rates; pure.

Whatever has a total bound is shared by holders: addresses, accounts or devices. One holder gets at most its
share, and when everything is taken the oldest place of the holder with the most goes, so that one stranger
can't keep the others out. Known holders, such as the addresses that devices connect from, have a reserve that
strangers can't take.

`Ledger` counts what was refused, by whom, and tells the log once a minute.
"""

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv6Address
from typing import Final, Generic, TypeVar

import prometheus_client

from mimi_mqtt.limits import TokenBucket

_log = logging.getLogger(__name__)

MAX_HOLDERS: Final = 4_096
"""Holders that a table of rates or known addresses remembers; beyond them the least recent is forgotten."""
TOLD_EVERY_S: Final = 60.0
"""Seconds between two log entries about the refusals of one bound."""
_NAMED: Final = 3  # holders named in a log entry
_MAX_COUNTED: Final = 256  # holders counted for a log entry; further ones are counted together
_OTHERS: Final = "others"

_refused = prometheus_client.Counter(
    "mimi_share_refused_total", "Requests, connections and others beyond a holder's share.", ["share"]
)


def address_holder(address: str) -> str:
    """The holder that an IP address stands for: an IPv4 address itself, the /64 network of an IPv6 one."""
    if ":" not in address:
        return address
    try:
        parsed = IPv6Address(address.partition("%")[0])
    except AddressValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    network = IPv6Address(int(parsed) >> 64 << 64)
    return f"{network}/64"


# ── places ───────────────────────────────────────────────────────────────────────────────────────────────

T = TypeVar("T", bound=Hashable)


class _Held(Generic[T]):
    """Items by holder, oldest first."""

    __slots__ = ("_items", "_spared", "size")

    def __init__(self, spared: Callable[[T], bool] | None) -> None:
        self._spared = spared
        self._items: dict[str, dict[T, None]] = {}
        self.size = 0

    def count(self, holder: str) -> int:
        return len(self._items.get(holder, ()))

    def add(self, holder: str, item: T) -> None:
        items = self._items.get(holder)
        if items is None:
            self._items[holder] = {item: None}
        else:
            items[item] = None
        self.size += 1

    def remove(self, holder: str, item: T) -> None:
        items = self._items[holder]
        del items[item]
        if not items:
            del self._items[holder]
        self.size -= 1

    def oldest_of(self, holder: str) -> T | None:
        return self._first(self._items.get(holder, {}))

    def oldest_of_largest(self) -> T | None:
        # Looked for when it is needed, as every connection pays for what is counted beforehand.
        return self._first(max(self._items.values(), key=len, default={}))

    def _first(self, items: dict[T, None]) -> T | None:
        oldest = next(iter(items), None)
        if self._spared is None or oldest is None:
            return oldest
        return next((item for item in items if not self._spared(item)), oldest)


class Places(Generic[T]):
    """Places for items of holders: `total` at once, `each` for one holder, `reserve` of them for known ones.

    `enter` always lets the item in and returns the item that has to leave for it, if any: beyond its own
    share the holder's oldest, otherwise the oldest of the holder with the most. Of one holder's items those
    that are `spared` leave last. Items are told apart by hash.
    """

    __slots__ = ("_entered", "_known", "_strangers", "each", "reserve", "total")

    def __init__(
        self, total: int, each: int, reserve: int = 0, *, spared: Callable[[T], bool] | None = None
    ) -> None:
        if total < 1 or each < 1 or not 0 <= reserve < total:
            raise ValueError("total and each are at least 1, and reserve is less than total")
        self.total = total
        self.each = each
        self.reserve = reserve
        self._known: _Held[T] = _Held(spared)
        self._strangers: _Held[T] = _Held(spared)
        self._entered: dict[T, tuple[str, bool]] = {}

    def __len__(self) -> int:
        return len(self._entered)

    def __contains__(self, item: T) -> bool:
        return item in self._entered

    def held_by(self, holder: str) -> int:
        """Places of one holder."""
        return self._known.count(holder) + self._strangers.count(holder)

    def enter(self, holder: str, item: T, *, known: bool = False) -> T | None:
        """Gives `item` a place. Returns the item that loses its own, already taken out; None when no one
        does."""
        leaving = self.leaving(holder, known=known)
        if leaving is not None:
            self.leave(leaving)
        self.put(holder, item, known=known)
        return leaving

    def put(self, holder: str, item: T, *, known: bool = False) -> None:
        """Gives `item` a place for which there is room: `leaving` said None, or that item left."""
        self._entered[item] = (holder, known)
        (self._known if known else self._strangers).add(holder, item)

    def hand_over(self, item: T, heir: T) -> None:
        """Gives the place of `item`, if it has one, to `heir`, which is the newest of its holder."""
        entry = self._entered.get(item)
        if entry is not None:
            self.leave(item)
            self.put(entry[0], heir, known=entry[1])

    def leave(self, item: T) -> None:
        """Frees the place of `item`, if it has one."""
        entry = self._entered.pop(item, None)
        if entry is not None:
            holder, known = entry
            (self._known if known else self._strangers).remove(holder, item)

    def leaving(self, holder: str, *, known: bool = False) -> T | None:
        """The item that has to leave if the holder's next one enters; None when there is room."""
        if len(self._entered) >= self.each and self.held_by(holder) >= self.each:
            oldest = self._strangers.oldest_of(holder)
            return self._known.oldest_of(holder) if oldest is None else oldest
        full = len(self._entered) >= self.total
        if full or (not known and self._strangers.size >= self.total - self.reserve):
            # Strangers make room first; known holders share among themselves when there are none.
            return (self._strangers if self._strangers.size else self._known).oldest_of_largest()
        return None


class Amounts:
    """Amounts of holders, such as bytes: at most `each` of one holder, and `total` of all.

    Once the total is used up only holders with less than an equal part of it may add, so that a newcomer
    finds room whatever the others hold; all together then hold at most twice the total.
    """

    __slots__ = ("_held", "each", "total", "used")

    def __init__(self, total: int, each: int) -> None:
        self.total = total
        self.each = each
        self.used = 0
        self._held: dict[str, int] = {}

    def held_by(self, holder: str) -> int:
        """The amount of one holder."""
        return self._held.get(holder, 0)

    def add(self, holder: str, amount: int) -> bool:
        """Adds to what the holder has; False, and nothing is added, when that is more than its share."""
        if not self.fits(holder, amount):
            return False
        self._held[holder] = self._held.get(holder, 0) + amount
        self.used += amount
        return True

    def fits(self, holder: str, amount: int, freed: int = 0) -> bool:
        """True when the holder, after it gave back `freed` of what it has, could add `amount`."""
        held = self._held.get(holder, 0) - freed + amount
        if held > self.each:
            return False
        if self.used - freed + amount <= self.total:
            return True
        holders = len(self._held) + (holder not in self._held)
        return held <= self.total // holders

    def remove(self, holder: str, amount: int) -> None:
        """Takes back what was added."""
        left = self._held[holder] - amount
        if left:
            self._held[holder] = left
        else:
            del self._held[holder]
        self.used -= amount


# ── rates ────────────────────────────────────────────────────────────────────────────────────────────────


class Rates:
    """At most `burst` at once and `rate` a second in the long run from each holder; bounded in holders."""

    __slots__ = ("_buckets", "_max_holders", "burst", "rate")

    def __init__(self, rate: float, burst: float, max_holders: int = MAX_HOLDERS) -> None:
        self.rate = rate
        self.burst = burst
        self._max_holders = max_holders
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, holder: str, now: float, amount: float = 1.0) -> bool:
        """Takes one, or `amount`; False when the holder has less left."""
        bucket = self._buckets.get(holder)
        if bucket is None:
            return self._bucket(holder, now).take(now, amount)
        self._buckets.move_to_end(holder)
        return bucket.take(now, amount)

    def spend(self, holder: str, amount: float, now: float) -> None:
        """Takes `amount` that is used already, whatever is left: what is owed is earned back first."""
        self._bucket(holder, now).spend(amount, now)

    def give_back(self, holder: str) -> None:
        """Returns one that was taken and turned out not to count."""
        bucket = self._buckets.get(holder)
        if bucket is not None:
            bucket.give_back()

    def wait_s(self, holder: str, now: float) -> float:
        """Seconds until the holder may take one; 0 when it may now."""
        bucket = self._buckets.get(holder)
        return 0.0 if bucket is None else bucket.wait_s(now)

    def _bucket(self, holder: str, now: float) -> TokenBucket:
        bucket = self._buckets.get(holder)
        if bucket is None:
            while len(self._buckets) >= self._max_holders:
                self._buckets.popitem(last=False)
            bucket = self._buckets[holder] = TokenBucket(self.rate, self.burst, now)
        self._buckets.move_to_end(holder)
        return bucket


class KnownAddresses:
    """Addresses from which devices and accounts proved themselves, the most recent ones."""

    __slots__ = ("_max", "_seen")

    def __init__(self, max_addresses: int = MAX_HOLDERS) -> None:
        self._max = max_addresses
        self._seen: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def __contains__(self, holder: str) -> bool:
        return holder in self._seen

    def add(self, holder: str) -> None:
        """Remembers an address (`address_holder`); the least recent one is forgotten when there are too
        many."""
        if holder in self._seen:
            self._seen.move_to_end(holder)
            return
        self._seen[holder] = None
        if len(self._seen) > self._max:
            self._seen.popitem(last=False)


# ── the ledger ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class _Page:
    told_at: float
    since: Counter[str] = field(default_factory=Counter)
    """Refusals since the last log entry, by holder."""


class Ledger:
    """Refusals of all shares: counted by share in `/metrics`, and by holder for log and health.

    The first refusal of a share is logged at once, later ones together once a minute, by `sweep`. `share` is
    one of a few fixed words, `setting` the key that raises it.
    """

    def __init__(self) -> None:
        self._pages: dict[str, _Page] = {}
        self._settings: dict[str, str] = {}
        self._last: dict[str, Counter[str]] = {}

    def refuse(self, share: str, holder: str, now: float, *, setting: str = "") -> None:
        """Counts one refusal; `now` is monotonic seconds."""
        _refused.labels(share).inc()
        page = self._pages.get(share)
        if page is None:
            page = self._pages[share] = _Page(now)
            self._settings[share] = setting
            _log.warning("%s", _sentence(share, Counter({holder: 1}), setting))
            self._last[share] = Counter({holder: 1})
            return
        page.since[holder if holder in page.since or len(page.since) < _MAX_COUNTED else _OTHERS] += 1

    def sweep(self, now: float) -> None:
        """Logs what was refused in the last minute, and forgets shares that nobody exceeds any longer."""
        for share, page in list(self._pages.items()):
            if now - page.told_at < TOLD_EVERY_S:
                continue
            if not page.since:
                del self._pages[share]
                self._last.pop(share, None)
                continue
            _log.warning("%s", _sentence(share, page.since, self._settings[share]))
            self._last[share] = page.since
            page.since, page.told_at = Counter(), now

    def summary(self) -> str:
        """Present refusals, for health: shares with their number and the holder with the most; empty
        when nothing was within the last minute."""
        parts = []
        for share, page in self._pages.items():
            counts = self._last.get(share, Counter[str]()) + page.since
            holder, most = counts.most_common(1)[0]
            parts.append(f"{share}: {counts.total()} refused, {most} of {shown(holder)}")
        return "; ".join(parts)


def shown(text: str) -> str:
    """`text` as a log line may show it: at most 80 characters, none that moves a cursor or ends the line."""
    cut = text[:80]
    return cut if cut.isprintable() else ascii(cut)[1:-1]


def _sentence(share: str, counts: Counter[str], setting: str) -> str:
    named = ", ".join(f"{shown(holder)} ({number})" for holder, number in counts.most_common(_NAMED))
    others = len(counts) - _NAMED
    more = f" and {others} more" if others > 0 else ""
    cure = f"; {setting} is the bound" if setting else ""
    return f"too much of {share}: {counts.total()} refused, by {named}{more}{cure}"
