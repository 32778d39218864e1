"""Claims: a person who enters the code that a device shows owns it from then on.

A code has six digits, so guessing is bounded: for each person, each address, and all together. One answer
stands for every code that can't be claimed, as whether a code exists is what a guesser wants to know.

A code is proof that its asker is near the person who enters it; it is no proof that the asker is the device
whose MAC address it says. So a code gives nobody a device that is registered under another Client-Id, unless
it is his own already (it was reset), and none that an administrator revoked or that belongs to somebody else.

An active device that belongs to nobody shows no code. `ask_for_codes` has those show one that are connected
from the caller's own address: who reads it is near the device.
"""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from mimi_mqtt.errors import FleetError, LimitReached
from mimi_mqtt.fleet.activation import Asker, ask, of_code, same_client
from mimi_mqtt.fleet.administration import let_in
from mimi_mqtt.fleet.directory import DeviceDirectory
from mimi_mqtt.fleet.rights import Rights
from mimi_mqtt.shares import Ledger, Rates
from mimi_mqtt.store import audit, devices
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Activation, Device

_log = logging.getLogger(__name__)

WRONG_CODES_PER_PERSON: Final = 5
"""Wrong codes of one person within `WRONG_CODES_S`."""
WRONG_CODES_PER_ADDRESS: Final = 10
"""Wrong codes from one address within `WRONG_CODES_S`."""
WRONG_CODES_S: Final = 900.0
"""Seconds in which these are earned back."""
WRONG_CODES_OF_ALL: Final = 100
"""Wrong codes of all people within an hour. Beyond it one attempt an hour is left to each person."""
CODE_REQUESTS: Final = 3
"""Requests for codes of one person within `WRONG_CODES_S`."""
MAX_SHOWING: Final = 8
"""Devices that show a code for one request."""

_HOUR_S: Final = 3600.0
_ALL: Final = "everybody"


class CannotClaim(FleetError):
    """No device that the caller can claim shows the code."""

    def __init__(self) -> None:
        super().__init__(
            "no device that you can claim shows this code now. Codes are good once, and for half an hour "
            "after the device last asked; a device that belongs to somebody, or was registered before it "
            "was reset, is given to you by its owner or an administrator"
        )


class NearbyDevices(Protocol):
    """Connected devices, as claims reach them."""

    def connected_from(self, address: str) -> Sequence[str]:
        """The devices that are connected from an address (`shares.address_holder`) and can show a text."""

    def show(self, device_id: str, title: str, text: str) -> bool:
        """Shows a text on a device's screen. False: it is not connected any more."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The number of devices that show a code, and the time at which it expires."""

    devices: int
    expires_at: datetime


class Claims:
    """Claims of people. `monotonic` gives the seconds in which guessing is bounded."""

    def __init__(
        self,
        store: Store,
        directory: DeviceDirectory,
        nearby: NearbyDevices,
        ledger: Ledger | None = None,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._directory = directory
        self._nearby = nearby
        self._ledger = ledger or Ledger()
        self._clock = clock
        self._monotonic = monotonic
        self._of_person = Rates(WRONG_CODES_PER_PERSON / WRONG_CODES_S, WRONG_CODES_PER_PERSON)
        self._of_address = Rates(WRONG_CODES_PER_ADDRESS / WRONG_CODES_S, WRONG_CODES_PER_ADDRESS)
        self._of_all = Rates(WRONG_CODES_OF_ALL / _HOUR_S, WRONG_CODES_OF_ALL)
        self._first = Rates(1 / _HOUR_S, 1)
        self._requests = Rates(CODE_REQUESTS / WRONG_CODES_S, CODE_REQUESTS)

    async def claim(self, code: str, rights: Rights) -> Device:
        """The device that shows the code, which belongs to the caller from now on.

        Raises LimitReached after too many wrong codes, CannotClaim, and KeyNotProven when the device still
        has to prove that it has its chip's key: the code stays good.
        """
        taken = self._take(rights)
        try:
            device = await self._claim(code.strip(), rights)
        except CannotClaim:
            raise
        except BaseException:
            self._give_back(taken)
            raise
        self._give_back(taken)
        self._directory.apply(device)
        _log.info("device claimed", extra={"device": device.id})
        return device

    async def _claim(self, code: str, rights: Rights) -> Device:
        now = self._clock()
        async with self._store.write() as session:
            activation = await of_code(session, code, now)
            if activation is None:
                raise CannotClaim
            device = await devices.get(session, activation.device_id, lock=True)
            if device is not None and not _is_claimable(device, activation, rights):
                raise CannotClaim
            return await let_in(
                session, device, activation, now, rights, owner_id=rights.user_id, action="device.claim"
            )

    # ── guessing ─────────────────────────────────────────────────────────────────────────────────────────

    def _take(self, rights: Rights) -> list[tuple[Rates, str]]:
        """Counts an attempt as a wrong one until it turns out right: those made at once are bounded, too.
        Raises LimitReached."""
        now = self._monotonic()
        person, address = rights.user_id or rights.author.name, rights.author.address
        bounds = [(self._of_person, person), (self._of_address, address)]
        taken: list[tuple[Rates, str]] = []
        for rates, holder in bounds:
            if not rates.take(holder, now):
                self._give_back(taken)
                self._refuse(holder, rates.wait_s(holder, now), now)
            taken.append((rates, holder))
        if self._of_all.take(_ALL, now):
            taken.append((self._of_all, _ALL))
        elif self._first.take(person, now):
            taken.append((self._first, person))
        else:
            self._give_back(taken)
            self._refuse(person, self._of_all.wait_s(_ALL, now), now)
        return taken

    @staticmethod
    def _give_back(taken: list[tuple[Rates, str]]) -> None:
        for rates, holder in taken:
            rates.give_back(holder)

    def _refuse(self, holder: str, wait_s: float, now: float) -> None:
        self._ledger.refuse("wrong codes", holder, now)
        raise LimitReached(
            f"too many wrong codes: try again in {math.ceil(wait_s / 60)} minutes", retry_after_s=wait_s
        )

    # ── active devices ───────────────────────────────────────────────────────────────────────────────────

    async def ask_for_codes(self, rights: Rights) -> Shown:
        """Has the active devices that belong to nobody and are connected from the caller's address each show
        a code of their own. Raises LimitReached."""
        now_s = self._monotonic()
        person = rights.user_id or rights.author.name
        for holder in (person, rights.author.address):
            if not self._requests.take(holder, now_s):
                wait_s = self._requests.wait_s(holder, now_s)
                self._ledger.refuse("requests for codes", holder, now_s)
                raise LimitReached(
                    f"codes were asked for too often: try again in {math.ceil(wait_s / 60)} minutes", wait_s
                )
        near = [] if not rights.author.address else self._nearby.connected_from(rights.author.address)
        known = [info for each in near if (info := self._directory.get(each)) is not None]
        unowned = [info.device_id for info in known if not info.owner_id]
        if len(unowned) > MAX_SHOWING:
            raise LimitReached(
                f"{len(unowned)} devices at your address belong to nobody: an administrator has to assign "
                "them"
            )
        codes, expires_at = await self._codes(unowned, rights)
        shown = sum(
            self._nearby.show(device_id, "Code", f"{code[:3]} {code[3:]}") for device_id, code in codes
        )
        return Shown(shown, expires_at)

    async def _codes(
        self, device_ids: Sequence[str], rights: Rights
    ) -> tuple[list[tuple[str, str]], datetime]:
        now = self._clock()
        expires_at = now
        codes = []
        async with self._store.write() as session:
            for device_id in sorted(device_ids):
                device = await devices.get(session, device_id, lock=True)
                if device is None or device.owner_id or not device.allowed:
                    continue
                asker = Asker(device.id, device.client_id, device.board, address=rights.author.address)
                activation = await ask(session, asker, now)
                expires_at = activation.expires_at
                codes.append((device_id, activation.code))
            if codes:
                audit.record(
                    session, rights.author, "device.show_code", f"user:{rights.user_id}",
                    after={"devices": [device_id for device_id, _ in codes]},
                )  # fmt: skip
        return codes, expires_at


def _is_claimable(device: Device, activation: Activation, rights: Rights) -> bool:
    """True when a code of a known device may give it to the caller."""
    if device.owner_id and device.owner_id != rights.user_id:
        return False
    if rights.is_admin:
        return True
    own = device.owner_id != ""
    if not device.allowed:
        return own and device.disabled_by == rights.user_id
    return own or same_client(device.client_id, activation.client_id)
