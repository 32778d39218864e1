"""Passwords of people: hashed with Argon2, or in clear where the configuration has them so.

A hash (`mimi-mqtt hash-password`) tells a reader of the configuration nothing. Checking one takes tens of
milliseconds and megabytes on purpose, so it is done in a thread, one at a time, and a password that was right
once is recognised without it.
"""

import asyncio
import hmac
import secrets
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pwdlib import PasswordHash

HASH_PREFIX: Final = "$argon2"
"""Beginning of a configured password that is a hash."""
MIN_CHARS: Final = 8
"""Least length of a password, in characters; `accounts.admin_password` in clear is held to it too."""
MAX_BYTES: Final = 1_024
"""Length of a password that is checked, in bytes; a longer one is wrong."""

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
