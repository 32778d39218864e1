"""Signing in with a password: guesses are counted and delayed, and an unknown user costs as much as a known
one. Attempts with passkeys are counted with those with passwords."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from mimi_mqtt.config import SharesSettings
from mimi_mqtt.errors import Invalid, LoginRefused
from mimi_mqtt.logins import Logins
from mimi_mqtt.passwords import PasswordHashing, check_new
from mimi_mqtt.people import rules
from mimi_mqtt.people.access import Caller
from mimi_mqtt.people.users import put_password
from mimi_mqtt.shares import Ledger, shown
from mimi_mqtt.store import people, tables
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import User

RETRY_AFTER_S: Final = 60.0
"""Seconds after which somebody who was refused may try again, as he is told; `shares.lockout_s` is the
bound."""


class SignIn:
    """Checks user names and passwords. `clock` gives monotonic seconds."""

    def __init__(
        self,
        store: Store,
        hashing: PasswordHashing,
        shares: SharesSettings | None = None,
        ledger: Ledger | None = None,
        *,
        changed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        shares = shares or SharesSettings()
        self._store = store
        self._hashing = hashing
        self._logins = Logins(shares.failed_logins, shares.lockout_s)
        self._ledger = ledger or Ledger()
        self._changed = changed
        self._clock = clock

    async def check(self, user_name: str, password: str, address: str) -> User | None:
        """The person, or None for a wrong name or password or a disabled account: nobody can tell which.
        `address` is the holder of the client's address.

        Raises LoginRefused when the password is not checked: too many were wrong, or too many wait.
        """
        account = rules.folded(user_name)[: tables.FOLDED_NAME_CHARS]
        with self.attempt(account, address):
            async with self._store.read() as session:
                user = await people.user_named(session, account)
            usable = user is not None and not user.disabled
            verdict = await self._hashing.verify(password, user.password_hash if user and usable else None)
        if user is None or not usable or not verdict.right:
            await self.failed(account, "passwords", address, user)
            return None
        self.succeeded(account, address)
        if verdict.renewed is not None:
            await self._keep_renewed(user, verdict.renewed)
        return user

    @contextmanager
    def attempt(self, account: str, address: str) -> Iterator[None]:
        """The check of an attempt to sign in to an account, by its folded name, which counts as failed until
        `succeeded` says otherwise. A check that raises, as the database is down or too many wait, does not
        count; one that is cancelled does, or a guesser would hang up before he is refused.

        Raises LoginRefused when too many failed.
        """
        if not self._logins.begin(account, address, self._clock()):
            # Never what was typed: it may be a password.
            self._ledger.refuse("failed sign-ins", address, self._clock(), setting="shares.failed_logins")
            raise LoginRefused("too many sign-ins failed: none is checked for now", RETRY_AFTER_S)
        try:
            yield
        except Exception:
            self._logins.take_back(account, address)
            raise

    async def failed(self, account: str, what: str, address: str, user: User | None = None) -> None:
        """Delays the answer to an attempt that failed, the longer the more there were; `what` was wrong, such
        as passwords."""
        named = shown(user.name) if user is not None else "an unknown user"
        self._ledger.refuse(f"wrong {what} of people", f"{named} from {address}", self._clock())
        await asyncio.sleep(self._logins.delay_s(account, address))

    def succeeded(self, account: str, address: str) -> None:
        """Takes note that whoever attempted was the person."""
        self._logins.succeeded(account, address)

    async def change_password(self, caller: Caller, present: str, wanted: str, now: datetime) -> User:
        """Changes the caller's own password, which ends his sessions and tokens. Raises Invalid,
        LoginRefused, NotFound."""
        user_id = rules.account_of(caller)
        async with self._store.read() as session:
            user = await people.user(session, user_id)
        # As checked: its hash may have been made anew.
        if user is None or (user := await self.check(user.name, present, caller.address)) is None:
            raise Invalid("present: this is not the account's password")
        check_new(wanted, user.name)
        password_hash = await self._hashing.hash(wanted)
        async with self._store.write() as session:
            locked = await people.user(session, user_id, lock=True)
            if locked is None or locked.disabled or locked.password_hash != user.password_hash:
                raise Invalid("present: this is not the account's password")
            await put_password(session, caller.author, locked, password_hash, now)
        self._changed()
        return locked

    def unlock(self) -> None:
        """Lets addresses that were refused for failed attempts try again at once."""
        self._logins.unlock()

    async def _keep_renewed(self, user: User, renewed: str) -> None:
        """Replaces a hash that was made with other parameters, unless the password changed meanwhile."""
        async with self._store.write() as session:
            locked = await people.user(session, user.id, lock=True)
            if locked is not None and locked.password_hash == user.password_hash:
                locked.password_hash = renewed
                session.add(locked)
                user.password_hash = renewed
