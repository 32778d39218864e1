"""Version 2 activation polls: a chip proves by an HMAC that it has its key, where that is registered.

A proof is for one challenge, which is the asker's own and is used up with its activation, so a proof that was
overheard is of no use. A right proof lets a device in without a code where `ota.activate_by_hmac` says so or
any new device is let in; never one that was revoked, and a registered one under another Client-Id only when
it proved the same serial number before. A wrong proof is refused, whatever a person allowed.
"""

import logging
import time
from collections.abc import Callable
from datetime import datetime
from enum import Enum
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from mimi_mqtt.config import OtaSettings
from mimi_mqtt.fleet.activation import Asker, same_client
from mimi_mqtt.fleet.administration import let_in
from mimi_mqtt.fleet.device_keys import DeviceKeys
from mimi_mqtt.fleet.rights import SERVER
from mimi_mqtt.shares import Ledger, Rates
from mimi_mqtt.store import activations, device_keys, devices
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Activation, Device
from mimi_mqtt.wire.ota import ActivationRequest

_log = logging.getLogger(__name__)

WRONG_PROOFS: Final = 10
"""Wrong proofs from one address within `WRONG_PROOFS_S`; further ones are refused unseen."""
WRONG_PROOFS_S: Final = 60.0


class Proof(Enum):
    """The outcome of a proof."""

    NONE = "none"
    """There is no key to check it with, or no activation that it is for."""
    RIGHT = "right"
    """The device has its key; a person has to allow it."""
    ADMITTED = "admitted"
    """The device has its key, and gets credentials with its next OTA request."""
    WRONG = "wrong"


class Prover:
    """Checks the proofs of devices; `admitted` is called with a device that a proof let in."""

    def __init__(
        self,
        store: Store,
        keys: DeviceKeys,
        settings: OtaSettings,
        ledger: Ledger,
        admitted: Callable[[Device], None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._keys = keys
        self._settings = settings
        self._ledger = ledger
        self._admitted = admitted
        self._monotonic = monotonic
        self._wrong = Rates(WRONG_PROOFS / WRONG_PROOFS_S, WRONG_PROOFS)

    async def check(self, asker: Asker, body: ActivationRequest, now: datetime) -> Proof:
        """The outcome of a version 2 poll. Raises StoreError."""
        moment = self._monotonic()
        if self._wrong.wait_s(asker.address, moment) > 0:
            self._refuse(asker, moment)
            return Proof.WRONG
        device: Device | None = None
        async with self._store.write() as session:
            activation = await activations.of_asker(session, asker.device_id, asker.client_id)
            if activation is None or activation.expires_at <= now:
                return Proof.NONE
            outcome = await self._outcome(session, activation, body)
            if outcome is Proof.RIGHT:
                activation.key_proven = True
                device = await self._admit(session, activation, now)
        if outcome is Proof.WRONG:
            self._wrong.take(asker.address, moment)
            self._refuse(asker, moment)
        if device is not None:
            self._admitted(device)
            _log.info("device activated by the key of its chip", extra={"device": device.id})
            return Proof.ADMITTED
        return outcome

    async def _outcome(self, session: AsyncSession, activation: Activation, body: ActivationRequest) -> Proof:
        key = await device_keys.get(session, body.serial_number)
        if key is None:
            # A chip whose key is known may not pass itself off as another one.
            known = await device_keys.concerns(session, activation.device_id, activation.serial_number)
            return Proof.WRONG if known else Proof.NONE
        right = self._keys.is_proof(key, activation.challenge, body.hmac)
        is_own = body.serial_number == activation.serial_number
        is_bound = key.device_id in ("", activation.device_id)
        return Proof.RIGHT if right and is_own and is_bound else Proof.WRONG

    async def _admit(self, session: AsyncSession, activation: Activation, now: datetime) -> Device | None:
        """The device, which was let in; None when a person has to allow it."""
        device = await devices.get(session, activation.device_id, lock=True)
        key = await device_keys.get(session, activation.serial_number)
        if key is not None:
            key.proven_at = now
        if device is not None:
            if not device.allowed:
                return None
            same = same_client(device.client_id, activation.client_id)
            if same or device.serial_number != activation.serial_number:
                return None
        elif not (self._settings.activate_by_hmac or self._settings.new_devices == "allow"):
            return None
        listed = await device_keys.listed(session, activation.device_id, activation.serial_number)
        return await let_in(
            session, device, activation, now, SERVER,
            owner_id=listed.owner_id if listed is not None else "",
            group_id=listed.group_id if listed is not None else "",
            action="device.prove",
        )  # fmt: skip

    def _refuse(self, asker: Asker, moment: float) -> None:
        self._ledger.refuse("wrong proofs of chips", asker.address or asker.device_id, moment)
