"""Sessions whose client is away: which are kept, and for how long."""

from collections.abc import Iterator
from typing import Final

from mimi_mqtt.fleet.identity import Role
from mimi_mqtt.shares import Ledger, Places
from mimi_mqtt.transports.mqtt import limits
from mimi_mqtt.transports.mqtt.client import Client

SHARE: Final = "kept MQTT sessions"
SETTING: Final = "shares.offline_sessions_per_account"


class OfflineSessions:
    """Clients that are away; `each` is the number of one account's that are kept."""

    def __init__(self, each: int, ledger: Ledger) -> None:
        self._ledger = ledger
        total = limits.MAX_OFFLINE_SESSIONS
        self._places: Places[Client] = Places(total, each, reserve=total // 2)
        self._away: dict[Client, None] = {}  # the first to leave first

    def __len__(self) -> int:
        return len(self._away)

    def enter(self, client: Client, now: float) -> Client | None:
        """Keeps the session of a client that left. Returns the client whose session ends for it: beyond its
        share the account's oldest, when all places are taken the oldest of the account with the most."""
        known = client.identity.role is not Role.ANONYMOUS
        leaving = self._places.enter(client.account, client, known=known)
        self._away[client] = None
        if leaving is not None:
            del self._away[leaving]
            self._ledger.refuse(SHARE, leaving.account, now, setting=SETTING)
        return leaving

    def leave(self, client: Client) -> None:
        """Forgets a client that came back, or whose session ended."""
        if self._away.pop(client, True) is None:
            self._places.leave(client)

    def expired(self, now: float) -> Iterator[Client]:
        """The clients whose sessions have expired."""
        return (client for client in self._away if client.expires_at <= now)

    def __iter__(self) -> Iterator[Client]:
        """The clients that are away."""
        return iter(self._away)
