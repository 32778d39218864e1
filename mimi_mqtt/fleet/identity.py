"""The identity of a connection: the result of its authentication."""

import asyncio
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Role(Enum):
    """The rights of a connection."""

    DEVICE = "device"
    """A provisioned device under its own client id: served natively, pushed to without subscription."""
    TESTER = "tester"
    """A device's credentials under another client id: a general client of that device's topics only."""
    ADMIN = "admin"
    """The administrator: reads and writes the whole `mimi/#` tree."""
    ANONYMOUS = "anonymous"
    """No user name, where the configuration allows it, or the server's check of itself: anything but
    `mimi/#`."""


@dataclass(frozen=True, slots=True)
class Identity:
    """An authenticated connection. `device_id` is set for DEVICE and TESTER."""

    role: Role
    username: str
    device_id: str | None = None


class Authenticator(Protocol):
    """Checks credentials; called on the event loop for every CONNECT, so it neither blocks nor awaits."""

    def authenticate(
        self, client_id: str, username: str | None, password: bytes | None, address: str
    ) -> "Identity | asyncio.Task[Identity | None] | None":
        """The identity, or None when the credentials are wrong; an unknown device takes the same time.

        A task of these where finding out takes longer: a person's password that is hashed. `address` is the
        holder of the client's address (`shares.address_holder`). Raises LoginRefused, as the task does, when
        the password is not checked because too many were wrong.
        """
