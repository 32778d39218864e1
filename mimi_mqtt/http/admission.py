"""The shares of HTTP clients: connections, WebSockets, requests and computing time by address.

Connections of trusted proxies are not bounded by address; the requests in them are, by the address of the
client they come from.
"""

import itertools
import math
import time
from collections.abc import Callable
from typing import Final, Protocol

from mimi_mqtt.config import HttpSettings, SharesSettings
from mimi_mqtt.http.clients import TrustedProxies
from mimi_mqtt.shares import KnownAddresses, Ledger, Places, Rates, address_holder

ACCEPT_COST_S: Final = 0.0002
"""Computing time charged for an accepted connection, in seconds: about what accepting and closing takes."""
REFUSALS_PER_S: Final = 1.0
"""Answers with 429 that one address gets in a second; beyond them its connections are aborted at accept."""
REFUSALS_BURST: Final = 20.0
"""Answers with 429 that one address gets at once."""
FRAMES_PER_S: Final = 4_000.0
"""WebSocket frames of one address that are read in a second; further ones wait in the client."""

_CPU_BURST_MS: Final = 1_000.0
_REQUESTS: Final = ("HTTP requests", "shares.http_requests_per_minute")
_CPU: Final = ("HTTP computing time", "shares.http_cpu_percent")


class Evictable(Protocol):
    """A connection that can be ended to make room; `address` is its client's."""

    address: str

    def __hash__(self) -> int: ...

    @property
    def answering(self) -> bool:
        """True while a complete request is being answered."""

    def evict(self) -> None:
        """Ends the connection at once."""


class Excess:
    """Why a request is refused: the share, its setting, and the seconds to wait."""

    __slots__ = ("retry_after_s", "setting", "share")

    def __init__(self, reason: tuple[str, str], wait_s: float) -> None:
        self.share, self.setting = reason
        self.retry_after_s = max(1, math.ceil(wait_s))

    @property
    def message(self) -> str:
        """The text for the client."""
        return f"too much from this address ({self.setting}): try again in {self.retry_after_s} s"


class Admission:
    """Bounds of all connections and requests of one HTTP server. `clock` is monotonic seconds."""

    def __init__(
        self,
        settings: HttpSettings,
        shares: SharesSettings,
        ledger: Ledger,
        known: KnownAddresses,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.proxies = TrustedProxies(settings.trusted_proxies)
        self.ledger = ledger
        self._known = known
        self._clock = clock
        total = settings.max_connections
        self._connections: Places[Evictable] = Places(
            total,
            shares.http_connections_per_address,
            total * shares.device_reserve_percent // 100,
            spared=lambda connection: connection.answering,
        )
        # Half of the connections stay for devices that boot.
        total = max(1, total // 2)
        self._websockets: Places[Evictable] = Places(
            total, shares.websockets_per_address, total * shares.device_reserve_percent // 100
        )
        self._numbers = itertools.count()
        self._requests = Rates(shares.http_requests_per_minute / 60, shares.http_requests_per_minute)
        self._cpu_ms = Rates(shares.http_cpu_percent * 10, _CPU_BURST_MS)
        self._answered_refusals = Rates(REFUSALS_PER_S, REFUSALS_BURST)
        self._frames = Rates(FRAMES_PER_S, FRAMES_PER_S)

    # ── connections ─────────────────────────────────────────────────────────────────────────────────────

    def arrive(self, address: str, connection: Evictable) -> bool:
        """Gives a new connection a place, and ends another one for it where there is none. False: it is not
        worth one, since its address is over its bounds and has been told so often enough."""
        now = self._clock()
        holder = address_holder(address)
        if address in self.proxies:
            # Each is its own holder: a proxy has as many connections as its clients need.
            itself = f"{holder} {next(self._numbers)}"
            leaving = self._connections.enter(itself, connection, known=True)
        else:
            excess = self._excess(holder, now)
            if excess is not None and self._answered_refusals.wait_s(holder, now) > 0:
                self.ledger.refuse(excess.share, holder, now, setting=excess.setting)
                return False
            self._cpu_ms.spend(holder, ACCEPT_COST_S * 1e3, now)
            leaving = self._connections.enter(holder, connection, known=holder in self._known)
        if leaving is not None:
            own = self._connections.held_by(holder) >= self._connections.each
            setting = "shares.http_connections_per_address" if own else "http.max_connections"
            self.ledger.refuse("HTTP connections", address_holder(leaving.address), now, setting=setting)
            leaving.evict()
        return True

    def hand_over(self, arrival: Evictable, connection: Evictable) -> None:
        """Gives the place of a connection to the protocol that serves it from now on."""
        self._connections.hand_over(arrival, connection)

    def leave(self, connection: Evictable) -> None:
        """Frees the place of a connection that has ended."""
        self._connections.leave(connection)

    def open_websocket(self, address: str, connection: Evictable) -> bool:
        """Gives a WebSocket a place; False when its address has as many as it may."""
        now, holder = self._clock(), address_holder(address)
        if self._websockets.held_by(holder) >= self._websockets.each:
            self.ledger.refuse("WebSockets", holder, now, setting="shares.websockets_per_address")
            return False
        leaving = self._websockets.enter(holder, connection, known=holder in self._known)
        if leaving is not None:
            self.ledger.refuse(
                "WebSockets", address_holder(leaving.address), now, setting="http.max_connections"
            )
            leaving.evict()
        return True

    def close_websocket(self, connection: Evictable) -> None:
        """Frees the place of a WebSocket."""
        self._websockets.leave(connection)

    # ── requests ────────────────────────────────────────────────────────────────────────────────────────

    def count(self, address: str) -> Excess | None:
        """Counts a request; returns why it is refused, if it is."""
        now, holder = self._clock(), address_holder(address)
        excess = self._excess(holder, now)
        if excess is None:
            self._requests.take(holder, now)
            return None
        self._refuse(excess, holder, now)
        return excess

    def excess(self, address: str) -> Excess | None:
        """Why the next request of an address is refused unread; None when it is not. Counts a refusal."""
        now, holder = self._clock(), address_holder(address)
        excess = self._excess(holder, now)
        if excess is not None:
            self._refuse(excess, holder, now)
        return excess

    def charge(self, address: str, seconds: float) -> None:
        """Charges an address with computing time."""
        self._cpu_ms.spend(address_holder(address), seconds * 1e3, self._clock())

    def read_frames(self, address: str, frames: int) -> float:
        """Counts WebSocket frames; returns the seconds to wait before more are read."""
        now, holder = self._clock(), address_holder(address)
        self._frames.spend(holder, frames, now)
        wait_s = self._frames.wait_s(holder, now)
        if wait_s > 0:
            self.ledger.refuse("WebSocket frames", holder, now)
        return wait_s

    def refuse(self, share: str, address: str, setting: str = "") -> None:
        """Enters a refusal in the ledger."""
        self.ledger.refuse(share, address_holder(address), self._clock(), setting=setting)

    def _excess(self, holder: str, now: float) -> Excess | None:
        if (wait_s := self._requests.wait_s(holder, now)) > 0:
            return Excess(_REQUESTS, wait_s)
        if (wait_s := self._cpu_ms.wait_s(holder, now)) > 0:
            return Excess(_CPU, wait_s)
        return None

    def _refuse(self, excess: Excess, holder: str, now: float) -> None:
        self._answered_refusals.take(holder, now)
        self.ledger.refuse(excess.share, holder, now, setting=excess.setting)
