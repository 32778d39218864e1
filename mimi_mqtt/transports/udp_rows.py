"""Rows of good packets, by source address: the evidence for which address is the device's; pure.

Without a key about one datagram in ninety passes for audio, and a device's packets count up by one. So a row
gains one point for a good packet that goes on with its count, and loses a point for every 32 forgeries from
its address: a stranger who guesses loses three for each one gained, and a device under whose address 200
forgeries a second are sent, 16 packets among them, still gains. A good packet of one row also takes a point
from the others: only one of them can be the device.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

Address: TypeAlias = tuple[str, int]

FORGERY_WEIGHT: Final = 1 / 32
"""Points that a forgery takes from the row of its address."""
MAX_ROWS: Final = 8
"""Rows of one session; beyond them the oldest of those with the fewest points is forgotten."""
MAX_HELD: Final = 64
"""Packets held for one row until it is believed; beyond them the oldest is dropped."""
_STEP: Final = 16  # packets that may be missing between two of a row, or by which one may come late


class Held(NamedTuple):
    """A good packet that is not believed yet; `arrived` is in seconds."""

    opus: bytes
    sequence: int
    timestamp: int
    arrived: float


@dataclass(slots=True, eq=False)
class Row:
    """Good packets of one Opus configuration (RFC 6716, 3.1) that count up, from one address."""

    address: Address
    config: int
    first: int
    highest: int
    score: float = 0.0
    held: list[Held] = field(default_factory=list)
    credit: int = 0
    """Bytes received from the address, less those sent to it, while it is not proven."""

    def holds(self, sequence: int) -> bool:
        """True when a packet with this number is held."""
        return any(held.sequence == sequence for held in self.held)

    def takes(self, address: Address, config: int, sequence: int) -> bool:
        """True for a packet that may belong to this row."""
        near = -_STEP <= sequence - self.highest <= _STEP
        return near and address == self.address and config == self.config

    def add(self, packet: Held, *, proves: bool) -> bool:
        """Holds a packet; it counts when it `proves` something and goes on with the count."""
        counts = proves and (packet.sequence > self.highest or not self.held)
        if packet.sequence > self.highest:
            self.highest = packet.sequence
        elif packet.sequence < self.first:
            self.first = packet.sequence
        self.held.append(packet)
        if len(self.held) > MAX_HELD:
            del self.held[0]
        if counts:
            self.score += 1.0
        return counts


class Rows:
    """The rows of one session that are not followed."""

    __slots__ = ("rows",)

    def __init__(self) -> None:
        self.rows: list[Row] = []
        """The rows, oldest first."""

    def of(self, address: Address, config: int, sequence: int) -> Row:
        """The row that a packet belongs to, a new one if need be."""
        for row in self.rows:
            if row.takes(address, config, sequence):
                return row
        if len(self.rows) >= MAX_ROWS:
            # min takes the first, hence the oldest, of those with the fewest points
            self.rows.remove(min(self.rows, key=lambda row: row.score))
        row = Row(address, config, sequence, sequence)
        self.rows.append(row)
        return row

    def hold(self, address: Address, sequence: int) -> bool:
        """True when this packet came already from the same address."""
        return any(row.address == address and row.holds(sequence) for row in self.rows)

    def repeats(self, address: Address, sequence: int, rank: Callable[[Address], int]) -> bool:
        """True when this packet came already from another address, which is as likely the device's."""
        return any(
            row.address != address and rank(row.address) >= rank(address) and row.holds(sequence)
            for row in self.rows
        )

    def contradict(self, by: Row, rank: Callable[[Address], int]) -> None:
        """Takes a point from all rows but `by`, as far as they are not more likely the device's."""
        for row in self.rows:
            if row is not by and rank(row.address) <= rank(by.address):
                row.score -= 1.0
        self._drop_worthless()

    def doubt(self, address: Address) -> None:
        """Counts a forgery from `address`."""
        for row in self.rows:
            if row.address == address:
                row.score -= FORGERY_WEIGHT
        self._drop_worthless()

    def clear(self) -> None:
        """Forgets all."""
        self.rows.clear()

    def _drop_worthless(self) -> None:
        if any(row.score <= 0 for row in self.rows):
            self.rows = [row for row in self.rows if row.score > 0]
