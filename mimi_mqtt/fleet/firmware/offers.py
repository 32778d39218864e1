"""Offers: the firmware that a booting device is told of. Implements `fleet.firmware_offers.FirmwareOffers`.

What is open is kept in memory, so that a device that is offered nothing, as nearly all are, costs no query.
An offer is one transaction, in which the roll-out is read again: a pause that was answered is in force.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, Protocol

from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncSession

from mimi_mqtt.errors import StoreError
from mimi_mqtt.events import DeliveryProgressed, Publish, unheard, utc_now
from mimi_mqtt.fleet.directory import DeviceInfo
from mimi_mqtt.fleet.firmware import report as reports
from mimi_mqtt.fleet.firmware import versions
from mimi_mqtt.fleet.firmware.links import DownloadLinks
from mimi_mqtt.fleet.firmware.rollout import (
    DEFAULT_CHANNEL,
    GOING,
    MAX_ATTEMPTS,
    DeviceFacts,
    Progress,
    RollOutFacts,
    came_back_with,
    order,
    refusal,
)
from mimi_mqtt.fleet.firmware.rows import rollout_facts
from mimi_mqtt.fleet.firmware_offers import FirmwareOffer, NoFirmware
from mimi_mqtt.store import devices, firmware, tables
from mimi_mqtt.store.engine import Store, StoreConflict
from mimi_mqtt.store.tables import RollOutDevice
from mimi_mqtt.store.values import bounded
from mimi_mqtt.wire.ota import OtaRequest

_log = logging.getLogger(__name__)

WRITE_WITHIN_S: Final = 3.0
"""Longest wait of a booting device for a locked database, in seconds: then it is offered nothing."""

# States of a device that was sent all of the image, and has not asked since.
_RESTARTING: Final = (Progress.DOWNLOADED, Progress.GONE)

_answers = Counter(
    "mimi_firmware_answers_total", "OTA requests of devices, by offered firmware or none.", ["answer"]
)


class Places(Protocol):
    """The places of downloads: no more devices are offered an image than can fetch it."""

    def is_free_for(self, device_id: str) -> bool:
        """True when a device could download now."""

    def reserve(self, device_id: str) -> None:
        """Keeps a place for a device that was offered an image, for the time that it needs to begin."""


class Offers:
    """Offers images to devices. `info` gives what is known of a device in memory, `busy` is true while as
    many devices download as may at once."""

    def __init__(
        self,
        store: Store,
        links: DownloadLinks,
        info: Callable[[str], DeviceInfo | None],
        places: Places,
        *,
        clock: Callable[[], datetime] = utc_now,
        publish: Publish = unheard,
    ) -> None:
        self._store = store
        self._publish = publish
        self._links = links
        self._info = info
        self._places = places
        self._clock = clock
        self._by_board: dict[str, list[RollOutFacts]] = {}
        self._boards: frozenset[str] = frozenset()

    @property
    def open(self) -> int:
        """Roll-outs that are not over."""
        return sum(map(len, self._by_board.values()))

    async def refresh(self) -> None:
        """Reads what is open. Raises StoreError."""
        async with self._store.read() as session:
            found = [rollout_facts(*pair) for pair in await firmware.rollouts(session, states=GOING)]
            boards = await firmware.boards(session)
        by_board: dict[str, list[RollOutFacts]] = {}
        for each in order(found):
            by_board.setdefault(each.image.board, []).append(each)
        self._by_board, self._boards = by_board, frozenset(boards)

    async def offer(self, request: OtaRequest, origin: str) -> FirmwareOffer | NoFirmware:
        """The firmware for a device; see `FirmwareOffers`."""
        try:
            found = await self._offer(request, origin)
        except StoreError as error:
            _log.warning("no firmware was offered: %s", error, extra={"device": request.device_id})
            found = NoFirmware("the database did not work: at its next request")
        except Exception:  # noqa: BLE001 - the border of OTA: the device needs its credentials
            _log.exception("no firmware was offered", extra={"device": request.device_id})
            found = NoFirmware("the server made a mistake: see its log")
        _answers.labels("offered" if isinstance(found, FirmwareOffer) else "none").inc()
        return found

    async def _offer(self, request: OtaRequest, origin: str) -> FirmwareOffer | NoFirmware:
        rollouts = self._by_board.get(request.board, ())
        if not rollouts:
            known = request.board in self._boards
            return NoFirmware("no roll-out for this board" if known else "no image for this board")
        now = self._clock()
        reason, wanted = self._candidates(rollouts, request, now)
        if not wanted:
            return NoFirmware(reason)
        if not self._places.is_free_for(request.device_id):
            return NoFirmware("too many devices download at once: at its next request")
        try:
            return await self._claim(wanted, request, origin, now)
        except StoreConflict:  # the same device asked twice at once
            return await self._claim(wanted, request, origin, now)

    def _candidates(
        self, rollouts: Sequence[RollOutFacts], request: OtaRequest, now: datetime
    ) -> tuple[str, list[RollOutFacts]]:
        """The roll-outs that may fit, as far as is known in memory; and why the first of the others does
        not."""
        info = self._info(request.device_id)
        if info is None:
            return "the device was forgotten meanwhile", []
        first, wanted = "", []
        # Its channel is not in memory: it may be that of any roll-out.
        facts = _facts(
            request, channel="", owner_id=info.owner_id, group_id=info.group_id, took=True,
            auto_update=info.auto_update,
        )  # fmt: skip
        for each in rollouts:
            alike = facts if each.channel == DEFAULT_CHANNEL else replace(facts, channel=each.channel)
            if reason := refusal(each, alike, now):
                first = first or reason
            else:
                wanted.append(each)
        return first, wanted

    async def _claim(
        self, wanted: Sequence[RollOutFacts], request: OtaRequest, origin: str, now: datetime
    ) -> FirmwareOffer | NoFirmware:
        async with self._store.read() as session:
            found = await self._first_fitting(session, wanted, request, now)
        if isinstance(found, str):
            return NoFirmware(found)
        async with self._store.write(within_s=WRITE_WITHIN_S) as session:
            found = await self._first_fitting(session, [found], request, now, lock=True)
            if isinstance(found, str):
                return NoFirmware(found)
            failed = await _record(session, found, request, now)
        state = Progress.FAILED if failed else Progress.OFFERED
        self._publish(
            DeliveryProgressed(device_id=request.device_id, kind="firmware", number=found.id, state=state)
        )
        if failed:
            return NoFirmware(failed)
        self._places.reserve(request.device_id)
        _log.info(
            "firmware %s is offered (roll-out %d)", found.image.version, found.id,
            extra={"device": request.device_id},
        )  # fmt: skip
        url = self._links.firmware(origin, found.id, request.device_id, now.timestamp())
        return FirmwareOffer(found.image.version, url, found.force)

    async def _first_fitting(
        self,
        session: AsyncSession,
        wanted: Sequence[RollOutFacts],
        request: OtaRequest,
        now: datetime,
        *,
        lock: bool = False,
    ) -> RollOutFacts | str:
        """The first roll-out that fits by its own row and the device's; else why the first does not."""
        device = await devices.get(session, request.device_id)
        if device is None:
            return "the device was forgotten meanwhile"
        first = ""
        for each in wanted:
            pair = await firmware.rollout(session, each.id, lock=False if lock else None)
            if pair is None:
                first = first or "the roll-out was deleted meanwhile"
                continue
            rollout = rollout_facts(*pair)
            facts = _facts(
                request, channel=device.channel, owner_id=device.owner_id, group_id=device.group_id,
                auto_update=device.auto_update, took=await _took(session, rollout, request),
            )  # fmt: skip
            reason = refusal(rollout, facts, now)
            if not reason:
                row = await firmware.device_in(session, rollout.id, device.id)
                if row is None or row.attempts < MAX_ATTEMPTS or row.progress in _RESTARTING:
                    return rollout
                reason = f"downloaded it {row.attempts} times, and still runs {request.firmware_version}"
            first = first or reason
        return first


async def _took(session: AsyncSession, rollout: RollOutFacts, request: OtaRequest) -> bool:
    """True for a device that was offered the image that `rollout` takes back, and runs its version now: one
    that has come to another version since is not sent back with force."""
    if rollout.takes_back is None:
        return False
    pair = await firmware.rollout(session, rollout.takes_back)
    if pair is None or not versions.is_same(pair[1].version, request.firmware_version):
        return False
    return await firmware.device_in(session, rollout.takes_back, request.device_id) is not None


async def _record(session: AsyncSession, rollout: RollOutFacts, request: OtaRequest, now: datetime) -> str:
    """Writes that a device is offered the image. One that has just come back from its download with another
    version has failed instead: why is returned, and "" else."""
    row = await firmware.device_in(session, rollout.id, request.device_id)
    version = bounded(request.firmware_version, tables.VERSION_CHARS)
    if row is None:
        row = RollOutDevice(
            rollout_id=rollout.id, device_id=request.device_id, progress=Progress.OFFERED,
            from_version=version,
            offered_at=now,
        )  # fmt: skip
    elif row.progress in _RESTARTING:
        row.progress, row.reason, row.decided_at = Progress.FAILED, came_back_with(version), now
        row.counted = True
        session.add(row)
        return row.reason
    row.progress, row.bytes_sent, row.offered_at = Progress.OFFERED, 0, now
    row.began_at = row.downloaded_at = None
    session.add(row)
    await session.flush()
    return ""


def _facts(
    request: OtaRequest,
    *,
    channel: str,
    owner_id: str,
    group_id: str,
    took: bool,
    auto_update: bool = True,
) -> DeviceFacts:
    return DeviceFacts(
        request.device_id, request.board, request.board_name, request.firmware_version,
        reports.chip_of(request.report), reports.slot_bytes(request.report), channel, auto_update, owner_id,
        group_id, took,
    )  # fmt: skip
