"""Passwords of people: hashed with Argon2, or in clear where the configuration has them so.

A hash tells a reader of the configuration (`mimi-mqtt hash-password`) or of the database nothing. Checking
one takes tens of milliseconds and megabytes on purpose, so it is done in threads, few at a time. `Password`
is the one of the configuration, which is recognised without the hash once it was right; `PasswordHashing` is
for those of the accounts in the database.
"""

import asyncio
import hmac
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final, TypeVar

from mimi_mqtt.errors import Invalid, LoginRefused

if TYPE_CHECKING:
    from pwdlib import PasswordHash

_Result = TypeVar("_Result")

HASH_PREFIX: Final = "$argon2"
"""Beginning of a configured password that is a hash."""
MIN_CHARS: Final = 8
"""Least length of a password, in characters; `accounts.admin_password` in clear is held to it too."""
MAX_BYTES: Final = 1_024
"""Length of a password that is checked, in bytes; a longer one is wrong."""
HASHED_AT_ONCE: Final = 2
"""Passwords of accounts that are hashed at once, each with 19 MiB of memory."""
MAX_WAITING_HASHES: Final = 64
"""Passwords of accounts that wait to be hashed; one more is refused unchecked."""

# The parameters OWASP's Password Storage Cheat Sheet gives for Argon2id: 19 MiB, 2 passes, 1 lane.
_MEMORY_KIB: Final = 19_456
_PASSES: Final = 2
_LANES: Final = 1


def hash_password(password: str) -> str:
    """The Argon2id hash of `password`, to be written in the configuration in its place."""
    return _hasher().hash(password)


@cache
def _hasher() -> "PasswordHash":
    from pwdlib import PasswordHash
    from pwdlib.hashers.argon2 import Argon2Hasher

    return PasswordHash((Argon2Hasher(time_cost=_PASSES, memory_cost=_MEMORY_KIB, parallelism=_LANES),))


def check_new(password: str, user_name: str = "") -> None:
    """Raises Invalid for a password that an account must not have."""
    if len(password) < MIN_CHARS:
        raise Invalid(f"password: it must have at least {MIN_CHARS} characters")
    try:
        size = len(password.encode())
    except UnicodeEncodeError:
        raise Invalid("password: it must be text") from None
    if size > MAX_BYTES:
        raise Invalid(f"password: it must have at most {MAX_BYTES} bytes")
    if user_name and password.casefold() == user_name.casefold():
        raise Invalid("password: it must not be the user name")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on a password; `renewed` is its hash by today's parameters where the kept one has
    others."""

    right: bool
    renewed: str | None = None


class PasswordHashing:
    """Hashes and checks the passwords of accounts in threads; `close` ends these."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(HASHED_AT_ONCE, thread_name_prefix="password hashes")
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """The hash of a password. Raises LoginRefused when too many wait."""
        return await self._run(lambda: hash_password(password))

    async def verify(self, given: str, hashed: str | None) -> Verdict:
        """Compares `given` with a hash. Without one the answer is "wrong", after the same work. Raises
        LoginRefused when too many wait."""
        return await self._run(lambda: _compare(given, hashed))

    def close(self) -> None:
        """Ends the threads; what waits is given up."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[], _Result]) -> _Result:
        if self._waiting >= MAX_WAITING_HASHES:
            raise LoginRefused("too many passwords wait to be checked: try again soon", 5)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1


def _compare(given: str, hashed: str | None) -> Verdict:
    decoy = _decoy()  # made by whichever comparison is the first, so that it tells nothing
    if len(given.encode("utf-8", "replace")) > MAX_BYTES:
        given, hashed = "", None
    right, renewed = _hasher().verify_and_update(given.encode("utf-8", "replace"), hashed or decoy)
    return Verdict(right, renewed) if right and hashed else Verdict(False)


@cache
def _decoy() -> str:
    """The hash of a password that nobody knows."""
    return hash_password(secrets.token_urlsafe())


class Password:
    """One configured password, in clear or hashed. `close` ends its thread."""

    def __init__(self, configured: str) -> None:
        self._hash = configured if configured.startswith(HASH_PREFIX) else None
        self._process_key = secrets.token_bytes(32)
        # Of a hash, the digest of the password that was last found right; none yet.
        self._right = b"" if self._hash is not None else self.digest(configured.encode())
        self._checkers: ThreadPoolExecutor | None = None

    def is_recognised(self, given: bytes) -> bool:
        """True when `given` is known to be right; False does not mean wrong as long as `is_hashed`. Takes the
        same time for every wrong one."""
        return hmac.compare_digest(self.digest(given), self._right)

    @property
    def is_hashed(self) -> bool:
        """True when only `check` finds out about a password that is not recognised."""
        return self._hash is not None

    async def check(self, given: bytes) -> bool:
        """Compares `given` with the hash, in a thread; those that come meanwhile wait for their turn."""
        if self._hash is None or len(given) > MAX_BYTES:
            return self.is_recognised(given)
        if self._checkers is None:
            self._checkers = ThreadPoolExecutor(1, thread_name_prefix="passwords")
        loop = asyncio.get_running_loop()
        right = await loop.run_in_executor(self._checkers, _verify, given, self._hash)
        if right:
            self._right = self.digest(given)
        return right

    def close(self) -> None:
        """Ends the thread; checks that wait are given up."""
        if self._checkers is not None:
            self._checkers.shutdown(wait=False, cancel_futures=True)

    def digest(self, password: bytes) -> bytes:
        """A digest to compare passwords by, which is worth nothing outside this process."""
        return hmac.digest(self._process_key, password, "sha256")


def _verify(given: bytes, configured: str) -> bool:
    return bool(_hasher().verify(given, configured))
