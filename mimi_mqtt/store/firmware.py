"""Queries about images of firmware, their roll-outs and the devices in them, inside the fleet's
transactions."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import and_, bindparam, func, or_, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from mimi_mqtt.store.tables import Device, FirmwareImage, OtaReport, RollOut, RollOutDevice
from mimi_mqtt.store.values import UtcDateTime

_AT_ONCE: Final = 1_000
"""Devices that are read at once."""
_NEVER = bindparam("never", datetime(1970, 1, 1, tzinfo=UTC), type_=UtcDateTime(), unique=True)


async def image(session: AsyncSession, image_id: int) -> FirmwareImage | None:
    """The image, or None."""
    return await session.get(FirmwareImage, image_id)


async def images(
    session: AsyncSession,
    *,
    board: str | None = None,
    channel: str | None = None,
    before: int | None = None,
    limit: int | None = None,
) -> Sequence[FirmwareImage]:
    """Images, the latest first; `before` is an id."""
    query = select(FirmwareImage).order_by(col(FirmwareImage.id).desc())
    if board is not None:
        query = query.where(FirmwareImage.board == board)
    if channel is not None:
        query = query.where(FirmwareImage.channel == channel)
    if before is not None:
        query = query.where(col(FirmwareImage.id) < before)
    return (await session.scalars(query.limit(limit) if limit is not None else query)).all()


async def image_of_version(
    session: AsyncSession, board: str, board_name: str, version: str
) -> FirmwareImage | None:
    """The image that is registered for the board with this version, or None."""
    query = select(FirmwareImage).where(
        FirmwareImage.board == board,
        FirmwareImage.board_name == board_name,
        FirmwareImage.version == version,
    )
    return (await session.scalars(query)).one_or_none()


@dataclass(frozen=True, slots=True)
class BoardDevice:
    """A device, as far as its row decides about roll-outs; `reported`: its OTA report is kept."""

    id: str
    board_name: str
    firmware_version: str
    channel: str
    auto_update: bool
    owner_id: str
    group_id: str
    reported: bool


async def devices_of_board(session: AsyncSession, board: str) -> AsyncIterator[BoardDevice]:
    """The devices of a type of board that may connect, by id; without their reports, which are large."""
    query = select(
        Device.id, Device.board_name, Device.firmware_version, Device.channel, Device.auto_update,
        Device.owner_id, Device.group_id, OtaReport.device_id,
    ).join(OtaReport, col(OtaReport.device_id) == col(Device.id), isouter=True)  # type: ignore[call-overload]  # fmt: skip
    query = query.where(Device.board == board, col(Device.allowed)).order_by(col(Device.id)).limit(_AT_ONCE)
    after = ""
    while rows := (await session.execute(query.where(col(Device.id) > after))).all():
        for row in rows:
            yield BoardDevice(row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7] is not None)
        after = rows[-1][0]


async def boards(session: AsyncSession) -> set[str]:
    """The types of boards that there are images for."""
    return set((await session.scalars(select(FirmwareImage.board).distinct())).all())


async def uses(session: AsyncSession, image_id: int) -> Sequence[int]:
    """Ids of the roll-outs of an image."""
    query = select(RollOut.id).where(RollOut.image_id == image_id).order_by(col(RollOut.id))
    return [found for found in (await session.scalars(query)).all() if found is not None]


# ── roll-outs ────────────────────────────────────────────────────────────────────────────────────────────

Pair = tuple[RollOut, FirmwareImage]


async def rollout(session: AsyncSession, rollout_id: int, *, lock: bool | None = None) -> Pair | None:
    """A roll-out and its image, or None. `lock` keeps others from changing the roll-out until the transaction
    ends: True to change it, False to rely on it."""
    query = (
        select(RollOut, FirmwareImage)
        .join(FirmwareImage, col(FirmwareImage.id) == col(RollOut.image_id))
        .where(RollOut.id == rollout_id)
    )
    if lock is not None:
        query = query.with_for_update(read=not lock, of=RollOut)
    row = (await session.execute(query)).one_or_none()
    return (row[0], row[1]) if row is not None else None


async def taking_back(session: AsyncSession, rollout_id: int, states: Collection[str]) -> int | None:
    """The id of a roll-out in one of `states` that takes this one back, or None."""
    query = select(RollOut.id).where(RollOut.takes_back == rollout_id, col(RollOut.state).in_(states))
    return (await session.scalars(query.limit(1))).first()


async def rollouts(
    session: AsyncSession,
    *,
    states: Collection[str] = (),
    changed_since: datetime | None = None,
    image_id: int | None = None,
    before: int | None = None,
    limit: int | None = None,
) -> Sequence[Pair]:
    """Roll-outs with their images, the latest first; `before` is an id. `states` may be joined by those that
    were changed since a moment, whatever their state."""
    query = (
        select(RollOut, FirmwareImage)
        .join(FirmwareImage, col(FirmwareImage.id) == col(RollOut.image_id))
        .order_by(col(RollOut.id).desc())
    )
    if changed_since is not None:
        query = query.where(col(RollOut.state).in_(states) | (col(RollOut.changed_at) >= changed_since))
    elif states:
        query = query.where(col(RollOut.state).in_(states))
    if image_id is not None:
        query = query.where(RollOut.image_id == image_id)
    if before is not None:
        query = query.where(col(RollOut.id) < before)
    rows = (await session.execute(query.limit(limit) if limit is not None else query)).all()
    return [(row[0], row[1]) for row in rows]


async def count_rollouts(session: AsyncSession, states: Collection[str]) -> int:
    """The number of roll-outs in these states."""
    query = select(func.count()).select_from(RollOut).where(col(RollOut.state).in_(states))
    return (await session.scalars(query)).one()


async def device_in(session: AsyncSession, rollout_id: int, device_id: str) -> RollOutDevice | None:
    """A device in a roll-out, or None when it was never offered its image."""
    return await session.get(RollOutDevice, (rollout_id, device_id))


async def devices_in(
    session: AsyncSession,
    rollout_id: int,
    *,
    progress: Collection[str] = (),
    after: str = "",
    limit: int | None = None,
) -> Sequence[RollOutDevice]:
    """Devices of a roll-out, by id; `after` is an id."""
    query = select(RollOutDevice).where(RollOutDevice.rollout_id == rollout_id)
    query = query.order_by(col(RollOutDevice.device_id))
    if progress:
        query = query.where(col(RollOutDevice.progress).in_(progress))
    if after:
        query = query.where(col(RollOutDevice.device_id) > after)
    return (await session.scalars(query.limit(limit) if limit is not None else query)).all()


async def counts(session: AsyncSession, rollout_ids: Collection[int]) -> dict[int, dict[str, int]]:
    """The number of devices by state, for each roll-out."""
    query = (
        select(RollOutDevice.rollout_id, RollOutDevice.progress, func.count())
        .where(col(RollOutDevice.rollout_id).in_(rollout_ids))
        .group_by(col(RollOutDevice.rollout_id), col(RollOutDevice.progress))
    )
    found: dict[int, dict[str, int]] = {rollout_id: {} for rollout_id in rollout_ids}
    for rollout_id, progress, number in (await session.execute(query)).all():
        found[rollout_id][progress] = number
    return found


async def from_versions(session: AsyncSession, rollout_id: int) -> Sequence[str]:
    """The versions that devices of a roll-out ran before it, the most frequent first."""
    version = col(RollOutDevice.from_version)
    query = select(version).where(RollOutDevice.rollout_id == rollout_id, version != "")
    query = query.group_by(version).order_by(func.count().desc(), version)
    return (await session.scalars(query)).all()


async def decided(session: AsyncSession, rollout_id: int) -> dict[str, int]:
    """The number of devices by state, of those whose outcome is known and counts."""
    query = (
        select(RollOutDevice.progress, func.count())
        .where(
            RollOutDevice.rollout_id == rollout_id,
            col(RollOutDevice.decided_at).is_not(None),
            col(RollOutDevice.counted),
        )
        .group_by(col(RollOutDevice.progress))
    )
    return {row[0]: row[1] for row in (await session.execute(query)).all()}


async def forgive(session: AsyncSession, rollout_id: int) -> None:
    """Has the outcomes that are known by now not count any more."""
    known = update(RollOutDevice).where(
        col(RollOutDevice.rollout_id) == rollout_id, col(RollOutDevice.decided_at).is_not(None)
    )
    await session.execute(known.values(counted=False))


@dataclass(frozen=True, slots=True)
class OpenDevice:
    """A device whose outcome in a roll-out is open, with what its own rows tell."""

    row: RollOutDevice
    device: Device
    reported_at: datetime | None


async def open_devices(
    session: AsyncSession,
    rollout_id: int,
    progress: Collection[str],
    *,
    after: str = "",
    limit: int,
) -> Sequence[OpenDevice]:
    """Devices of a roll-out in these states that may have come to another one: those that asked OTA since
    they were offered the image, and those whose download ended. By id; `after` is one."""
    query = (
        select(RollOutDevice, Device, OtaReport.received_at)
        .join(Device, col(Device.id) == col(RollOutDevice.device_id))
        .join(OtaReport, col(OtaReport.device_id) == col(RollOutDevice.device_id), isouter=True)
        .where(
            RollOutDevice.rollout_id == rollout_id,
            col(RollOutDevice.progress).in_(progress),
            col(RollOutDevice.device_id) > after,
            or_(
                col(OtaReport.received_at)
                > func.coalesce(RollOutDevice.downloaded_at, RollOutDevice.offered_at),
                col(RollOutDevice.progress) == "downloaded",
            ),
        )
        .order_by(col(RollOutDevice.device_id))
        .limit(limit)
    )
    rows = (await session.execute(query)).all()
    return [OpenDevice(row[0], row[1], row[2]) for row in rows]


async def stuck_devices(
    session: AsyncSession, *, began_before: datetime, attempts: int, limit: int
) -> Sequence[tuple[RollOut, RollOutDevice]]:
    """Devices of running roll-outs that do not get on: gone, failed after so many `attempts`, or downloading
    since before `began_before`."""
    device = RollOutDevice
    stuck = or_(
        col(device.progress) == "gone",
        and_(col(device.progress) == "failed", col(device.attempts) >= attempts),
        and_(col(device.progress) == "downloading", col(device.began_at) < began_before),
    )
    query = select(RollOut, device).join(device, col(device.rollout_id) == col(RollOut.id))
    query = query.where(col(RollOut.state) == "running", stuck)
    query = query.order_by(col(RollOut.id), col(device.device_id)).limit(limit)
    return [(row[0], row[1]) for row in (await session.execute(query)).all()]


async def save_outcomes(session: AsyncSession, outcomes: Sequence[Mapping[str, object]]) -> None:
    """Writes outcomes: `rollout`, `device`, the state that the device `was` in and the time `sent_at` of its
    download, the state that it `now_is` in, `why` and `at` what time. A row that was changed meanwhile stays
    as it is."""
    if not outcomes:
        return
    known = and_(
        col(RollOutDevice.rollout_id) == bindparam("rollout"),
        col(RollOutDevice.device_id) == bindparam("device"),
        col(RollOutDevice.progress) == bindparam("was"),
        func.coalesce(RollOutDevice.downloaded_at, _NEVER)
        == func.coalesce(bindparam("sent_at", type_=UtcDateTime()), _NEVER),
    )
    change = (
        update(RollOutDevice)
        .where(known)
        .values(
            progress=bindparam("now_is"), reason=bindparam("why"), decided_at=bindparam("at"), counted=True
        )
    )
    await (await session.connection()).execute(change, [dict(each) for each in outcomes])
