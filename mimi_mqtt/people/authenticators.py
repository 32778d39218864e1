"""Authenticators that need no account: this machine's command line, and several authenticators as one."""

import time
from collections.abc import Callable
from typing import Final

from mimi_mqtt.people.access import Authenticator, Caller, Presented, Role, Scope, Via

COMMAND_LINE_PREFIX: Final = "command-line."
"""Beginning of a bearer token of the command line; a password of `Credentials` follows."""


def command_line(address: str = "") -> Caller:
    """This machine's command line as a caller: an administrator without an account."""
    scopes = frozenset(Scope)
    return Caller("command line", "", Role.ADMIN, scopes, via=Via.COMMAND_LINE, address=address)


class CommandLine:
    """Admits the command line of this machine as an administrator. `is_right` checks its password at a time,
    in seconds since 1970, and takes as long for a wrong one."""

    def __init__(self, is_right: Callable[[bytes, float], bool]) -> None:
        self._is_right = is_right

    async def authenticate(self, shown: Presented) -> Caller | None:
        """The command line, or None."""
        if not shown.bearer.startswith(COMMAND_LINE_PREFIX):
            return None
        password = shown.bearer.removeprefix(COMMAND_LINE_PREFIX).encode("utf-8", "replace")
        if not self._is_right(password, time.time()):
            return None
        return command_line(shown.address)


class FirstOf:
    """The first authenticator that knows a caller."""

    def __init__(self, *authenticators: Authenticator) -> None:
        self._authenticators = authenticators

    async def authenticate(self, shown: Presented) -> Caller | None:
        """The caller, or None."""
        for authenticator in self._authenticators:
            if (caller := await authenticator.authenticate(shown)) is not None:
                return caller
        return None
