"""Shares of the broker's connections: by address before they are authenticated, by account afterwards.

One instance belongs to the gate. Refusals go to the ledger, which tells who and how many.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

from mimi_mqtt.config.connections import MqttSettings, SharesSettings
from mimi_mqtt.fleet.identity import Role
from mimi_mqtt.shares import KnownAddresses, Ledger, Places, Rates
from mimi_mqtt.transports.mqtt.counters import Counters
from mimi_mqtt.transports.mqtt.limits import BAD_CONNECTIONS_AT_ONCE, BAD_CONNECTIONS_PER_S

P = TypeVar("P", bound=Hashable)


class Crowd(Generic[P]):
    """Counts of the connections and of their failures; `P` is a connection before CONNECT.

    `known` are addresses from which devices connected. A part of all connections,
    `shares.device_reserve_percent`, is for devices and the administrator alone; of the rest clients without a
    user name get at most half.
    """

    def __init__(
        self, settings: MqttSettings, shares: SharesSettings, ledger: Ledger, known: KnownAddresses
    ) -> None:
        percent = shares.device_reserve_percent
        pending = settings.max_pending_connects
        self.known = known
        self.pending: Places[P] = Places(
            pending, shares.pending_connects_per_address, min(pending - 1, pending * percent // 100)
        )
        """Connections that have not sent CONNECT, or whose password is being checked, by address."""
        self._others = max(1, settings.max_connections * (100 - percent) // 100)
        self._per_account = shares.connections_per_account
        self._connects = Rates(shares.connects_per_minute / 60, shares.connects_per_minute)
        self._failures = Rates(BAD_CONNECTIONS_PER_S, BAD_CONNECTIONS_AT_ONCE)
        self._ledger = ledger

    def refuse_pending(self, address: str, now: float) -> None:
        """Counts a connection that was closed for its address's share of those without CONNECT."""
        self._ledger.refuse(
            "connections without CONNECT", address, now, setting="shares.pending_connects_per_address"
        )

    def may_arrive(self, address: str, now: float) -> bool:
        """Counts a new connection as one that fails, until `came_in`; False when too many of its address did,
        so that it is not read."""
        if address in self.known or self._failures.take(address, now):
            return True
        self._ledger.refuse("connections that fail", address, now)
        return False

    def came_in(self, role: Role, address: str) -> None:
        """Takes back the count of a connection that was let in, and remembers the address of a device."""
        if address not in self.known:
            self._failures.give_back(address)
        if role is Role.DEVICE:
            self.known.add(address)

    def is_full(self, role: Role, counters: Counters) -> bool:
        """True when the role has all connections that it may have beside devices."""
        connected = counters.connected
        if role is Role.ANONYMOUS:
            return connected[role.value] >= max(1, self._others // 2)
        if role is Role.TESTER:
            return connected[role.value] + connected[Role.ANONYMOUS.value] >= self._others
        return False

    def has_its_share(self, account: str, connections: int, now: float) -> bool:
        """True when an account with so many connections may not have another; counted."""
        if connections < self._per_account:
            return False
        self._ledger.refuse("MQTT connections", account, now, setting="shares.connections_per_account")
        return True

    def may_connect(self, account: str, now: float) -> bool:
        """Counts a connect of an account; False when there were too many lately."""
        if self._connects.take(account, now):
            return True
        self._ledger.refuse("MQTT connects", account, now, setting="shares.connects_per_minute")
        return False
