"""Guessing of passwords: attempts counted by account and address, delayed, then refused for a time; pure.

A password that a person chose can be guessed, unlike a device's. From one address an account can be tried
`failed_logins` times in `WINDOW_S`; then the address is refused, right password or wrong, for `lockout_s`. An
account that is tried from many addresses is closed to all but those that logged in before, so guessing from
elsewhere does not lock its owner out. An address that tries many accounts is refused for all that were never
logged in to from it.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, TypeVar

_Entry = TypeVar("_Entry")

WINDOW_S: Final = 900.0
"""Seconds in which failed attempts are counted together."""
ADDRESSES_AT_ONCE: Final = 10
"""An account is closed to strangers after so many times the failures that one address may have."""
ACCOUNTS_AT_ONCE: Final = 5
"""An address is refused for further accounts after so many times the failures that it may have for one."""
FIRST_DELAYED: Final = 3
"""The failed attempt from which the answer is delayed."""
LONGEST_DELAY_S: Final = 4.0
"""Longest delay of an answer, in seconds; it doubles from half a second."""
MAX_REMEMBERED: Final = 4_096
"""Pairs of account and address that are remembered, and accounts; the least recent is forgotten."""


@dataclass(slots=True)
class _Attempts:
    since: float
    failed: int = 0
    locked_until: float | None = None

    def is_locked(self, now: float) -> bool:
        return self.locked_until is not None and now < self.locked_until

    def take_back(self, most: int) -> None:
        """Counts one failure less, and unlocks when it was the one that locked."""
        self.failed = max(0, self.failed - 1)
        if self.failed <= most:
            self.locked_until = None

    def is_over(self, now: float) -> bool:
        """True when they count no longer: after a lock-out, whatever its length, they begin anew."""
        if self.locked_until is not None:
            return now >= self.locked_until
        return now - self.since > WINDOW_S


class Logins:
    """Attempts to log in to accounts that have a person's password. Times are monotonic seconds."""

    def __init__(self, failed_logins: int, lockout_s: float) -> None:
        self._most = failed_logins
        self._lockout_s = lockout_s
        self._by_address: OrderedDict[tuple[str, str], _Attempts] = OrderedDict()
        self._by_account: OrderedDict[tuple[str, str], _Attempts] = OrderedDict()
        self._of_address: OrderedDict[tuple[str, str], _Attempts] = OrderedDict()
        self._proven: OrderedDict[tuple[str, str], None] = OrderedDict()

    def begin(self, account: str, address: str, now: float) -> bool:
        """Counts an attempt as failed until `succeeded` says otherwise; False when it must be refused."""
        own = _attempts(self._by_address, (account, address), now)
        if own.is_locked(now):
            return False
        everyone = _attempts(self._by_account, (account, ""), now)
        every_account = _attempts(self._of_address, ("", address), now)
        proven = self.is_proven(account, address)
        if (everyone.is_locked(now) or every_account.is_locked(now)) and not proven:
            return False
        own.failed += 1
        if own.failed > self._most:
            own.locked_until = now + self._lockout_s
            return False
        if not proven:
            for counted, times in ((everyone, ADDRESSES_AT_ONCE), (every_account, ACCOUNTS_AT_ONCE)):
                counted.failed += 1
                if counted.failed > self._most * times:
                    counted.locked_until = now + self._lockout_s
                    return False
        return True

    def take_back(self, account: str, address: str) -> None:
        """Counts an attempt no more that `begin` let in: nothing was compared, so nothing was learned."""
        if (own := self._by_address.get((account, address))) is not None:
            own.take_back(self._most)
        if self.is_proven(account, address):
            return
        for counted, times in (
            (self._by_account.get((account, "")), ADDRESSES_AT_ONCE),
            (self._of_address.get(("", address)), ACCOUNTS_AT_ONCE),
        ):
            if counted is not None:
                counted.take_back(self._most * times)

    def succeeded(self, account: str, address: str) -> None:
        """Forgets the failures of an address that knew the password, and remembers the address."""
        own = self._by_address.pop((account, address), None)
        if own is not None and not self.is_proven(account, address):
            for counted in (self._by_account.get((account, "")), self._of_address.get(("", address))):
                if counted is not None:
                    counted.failed = max(0, counted.failed - own.failed)
        _remember(self._proven, (account, address), None)

    def delay_s(self, account: str, address: str) -> float:
        """Seconds to wait before a failed attempt is answered."""
        own = self._by_address.get((account, address))
        beyond = own.failed - FIRST_DELAYED if own is not None else -1
        return min(0.5 * 2.0**beyond, LONGEST_DELAY_S) if beyond >= 0 else 0.0

    def is_proven(self, account: str, address: str) -> bool:
        """True when the account was logged in to from this address before."""
        return (account, address) in self._proven

    def unlock(self) -> None:
        """Forgets all failures; addresses that logged in stay remembered."""
        self._by_address.clear()
        self._by_account.clear()
        self._of_address.clear()


def _attempts(table: OrderedDict[tuple[str, str], _Attempts], key: tuple[str, str], now: float) -> _Attempts:
    known = table.get(key)
    if known is None or known.is_over(now):
        known = _Attempts(now)
    _remember(table, key, known)
    return known


def _remember(table: OrderedDict[tuple[str, str], _Entry], key: tuple[str, str], entry: _Entry) -> None:
    table[key] = entry
    table.move_to_end(key)
    if len(table) > MAX_REMEMBERED:
        table.popitem(last=False)
