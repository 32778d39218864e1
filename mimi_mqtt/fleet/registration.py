"""Registration: whether a device that asks OTA is let in, shows a code, or stays outside.

The first request for a MAC address binds it to its Client-Id (`ota.new_devices: allow`); any other Client-Id
gets an activation, and no credentials until a person allows or claims it. A missing Client-Id is a value of
its own: it matches a device that never sent one, and no other. Listed devices register whatever the setting
says; a device for whose chip a key is registered always has to prove it first (`proof`).
"""

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncSession

from mimi_mqtt.config import OtaSettings
from mimi_mqtt.errors import OtaError
from mimi_mqtt.fleet import listing
from mimi_mqtt.fleet.activation import TOO_MANY_NEW, WAITING_SHARE, Asker, TooManyAskers, ask, same_client
from mimi_mqtt.fleet.credentials import first_epoch
from mimi_mqtt.fleet.rights import SERVER
from mimi_mqtt.shares import Ledger
from mimi_mqtt.store import audit, device_keys, devices, tables
from mimi_mqtt.store.engine import Store, StoreConflict
from mimi_mqtt.store.tables import Activation, Device, ListedDevice
from mimi_mqtt.store.values import bounded

_log = logging.getLogger(__name__)

ANSWERS: Final = Counter("mimi_ota_answers_total", "OTA requests by their answer", ["answer"])

NEVER_CONNECTED: Final = timedelta(hours=24)
"""Time for a device that registered by itself to connect; after it, it is forgotten when `ota.max_devices`
are registered and another one comes."""
WRITE_WITHIN_S: Final = 3.0
"""Longest wait of a device for a locked database, in seconds: then it is told to ask again."""

_TRIES = 3


class Registrar:
    """Decides about devices that are not known, or have another Client-Id than before."""

    def __init__(self, store: Store, settings: OtaSettings, ledger: Ledger, *, waiting_share: int) -> None:
        self._store = store
        self._settings = settings
        self._ledger = ledger
        self._waiting_share = waiting_share

    async def decide(
        self, asker: Asker, now: datetime, may_be_new: Callable[[], bool], origin: str
    ) -> Device | Activation | None:
        """The device that gets credentials, the activation that it shows the code of, or None: it may not
        come in. Raises OtaError, TooManyAskers, StoreError."""
        for _ in range(_TRIES - 1):
            try:
                return await self._decide(asker, now, may_be_new, origin)
            except StoreConflict:
                continue  # another node registered the same device in the same moment: now it is known
        return await self._decide(asker, now, may_be_new, origin)

    async def _decide(
        self, asker: Asker, now: datetime, may_be_new: Callable[[], bool], origin: str
    ) -> Device | Activation | None:
        async with self._store.write(within_s=WRITE_WITHIN_S) as session:
            device = known = await devices.get(session, asker.device_id, lock=True)
            if known is None:
                listed = await device_keys.listed(session, asker.device_id, asker.serial_number)
                keyed = await device_keys.concerns(session, asker.device_id, asker.serial_number)
                if self._settings.new_devices == "locked" and listed is None and not keyed:
                    return None
                if not keyed and (listed is not None or self._settings.new_devices == "allow"):
                    device = await self._take_in(session, asker, now, may_be_new, listed, origin)
            if device is None or not device.allowed or not same_client(device.client_id, asker.client_id):
                return await ask(
                    session, asker, now, may_be_new, share=self._waiting_share, displaced=self._displaced
                )
            if known is None:
                await devices.save_changed(session, device, now)
        if known is None:
            _log.info("new device registered", extra={"device": asker.device_id})
        return device

    async def _take_in(
        self,
        session: AsyncSession,
        asker: Asker,
        now: datetime,
        may_be_new: Callable[[], bool],
        listed: ListedDevice | None,
        origin: str,
    ) -> Device:
        if not may_be_new():
            raise TooManyAskers(TOO_MANY_NEW)
        if await devices.count(session) >= self._settings.max_devices:
            idle = await devices.never_connected(session, now - NEVER_CONNECTED)
            if idle is None:
                ANSWERS.labels("full").inc()
                self.refuse("registered devices", asker.address, "ota.max_devices")
                raise OtaError(
                    f"{self._settings.max_devices} devices are registered already: "
                    "raise ota.max_devices on the server"
                )
            self.refuse("registered devices", idle.address, "ota.max_devices")
            await devices.forget(session, [idle.id], now)
        device = Device(
            id=asker.device_id,
            client_id=asker.client_id,
            epoch=first_epoch(),
            address=bounded(asker.address, tables.ADDRESS_CHARS),
            host=bounded(asker.host, tables.HOST_CHARS),
            origin=bounded(origin, tables.ORIGIN_CHARS),
            reported_language=bounded(asker.language, tables.LANGUAGE_CHARS),
            revision=0,
            created_at=now,
            updated_at=now,
            last_seen_at=now,
        )
        told: dict[str, object] = {}
        if listed is not None:
            device.owner_id, device.group_id, device.address = listed.owner_id, listed.group_id, ""
            told["listed"] = f"{listed.kind}:{listed.value}"
            if listed.kind == "serial":
                await listing.bind(session, listed, device.id)
        audit.record(
            session, SERVER.author, "device.register", f"device:{device.id}",
            after={"owner_id": device.owner_id, "address": device.address, **told},
        )  # fmt: skip
        return device

    def _displaced(self, holder: str) -> None:
        self.refuse(WAITING_SHARE, holder, "shares.waiting_devices_per_address")

    def refuse(self, share: str, holder: str, setting: str) -> None:
        """Counts a refusal."""
        self._ledger.refuse(share, holder, time.monotonic(), setting=setting)
