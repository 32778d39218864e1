"""Accounts of people, as the configuration has them: checks their passwords and bounds guessing."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from mimi_mqtt.config import AccountSettings, SharesSettings
from mimi_mqtt.errors import LoginRefused
from mimi_mqtt.fleet.identity import Identity, Role
from mimi_mqtt.logins import Logins
from mimi_mqtt.passwords import Password
from mimi_mqtt.shares import Ledger

MAX_WAITING_CHECKS: Final = 64
"""Passwords that wait to be checked; one more from an address that never logged in is refused."""


class Accounts:
    """The administrator's account. `clock` gives monotonic seconds."""

    def __init__(
        self,
        settings: AccountSettings,
        shares: SharesSettings | None = None,
        ledger: Ledger | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        shares = shares or SharesSettings()
        self.admin = settings.admin_username
        self.anonymous = settings.anonymous
        configured = settings.admin_password
        self._password = Password(configured.get_secret_value()) if configured is not None else None
        self._logins = Logins(shares.failed_logins, shares.lockout_s)
        self._ledger = ledger or Ledger()
        self._clock = clock
        self._checks: dict[tuple[str, bytes], asyncio.Task[Identity | None]] = {}
        """Those that run, by address and digest of the password: clients that come at once share one."""

    def log_in(self, password: bytes, address: str) -> "Identity | asyncio.Task[Identity | None] | None":
        """The administrator's identity when `password` is right, None when it is wrong; a task where finding
        out takes longer, which nobody may cancel. `address` is the holder of the client's address.

        Raises LoginRefused, as the task does, when it is not checked: too many failed before.
        """
        if self._password is None:
            return None
        now = self._clock()
        key = (address, self._password.digest(password))
        if key in self._checks:
            return self._checks[key]
        if not self._logins.begin(self.admin, address, now):
            self._refuse(address, now)
            raise LoginRefused(f"too many wrong passwords for {self.admin!r}: it is not checked for now")
        if self._password.is_recognised(password):
            return self._succeeded(address)
        if not self._password.is_hashed and not self._logins.delay_s(self.admin, address):
            self._was_wrong(address)
            return None
        if len(self._checks) >= MAX_WAITING_CHECKS and not self._logins.is_proven(self.admin, address):
            self._refuse(address, now)
            raise LoginRefused("too many passwords wait to be checked")
        check = asyncio.get_running_loop().create_task(
            self._check(self._password, password, address), name="password check"
        )
        self._checks[key] = check
        check.add_done_callback(partial(self._checked, key))
        return check

    def unlock(self) -> None:
        """Lets addresses that were refused for failed attempts try again at once."""
        self._logins.unlock()

    def close(self) -> None:
        """Gives up the checks that run."""
        for check in list(self._checks.values()):
            check.cancel()
        if self._password is not None:
            self._password.close()

    def _checked(self, key: tuple[str, bytes], check: "asyncio.Task[Identity | None]") -> None:
        del self._checks[key]
        if not check.cancelled():
            check.exception()  # seen, also when the client is gone that would have been told

    async def _check(self, password: Password, given: bytes, address: str) -> Identity | None:
        if password.is_hashed and await password.check(given):
            return self._succeeded(address)
        self._was_wrong(address)
        await asyncio.sleep(self._logins.delay_s(self.admin, address))
        return None

    def _succeeded(self, address: str) -> Identity:
        self._logins.succeeded(self.admin, address)
        return Identity(Role.ADMIN, self.admin)

    def _was_wrong(self, address: str) -> None:
        # The ledger names all who try; the gate's log line only the first one of a minute.
        self._ledger.refuse("wrong passwords", f"{self.admin} from {address}", self._clock())

    def _refuse(self, address: str, now: float) -> None:
        self._ledger.refuse(
            "failed logins", f"{self.admin} from {address}", now, setting="shares.failed_logins"
        )
