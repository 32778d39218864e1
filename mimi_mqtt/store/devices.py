"""Queries about devices and their last OTA reports, inside the fleet's transactions."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete, func, insert, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from mimi_mqtt.store import activations, tables
from mimi_mqtt.store.tables import Activation, Conversation, Device, ForgottenDevice, LastSession, OtaReport
from mimi_mqtt.store.values import bounded, bounded_object

REMEMBERED = timedelta(days=30)
"""Lifetime of the mark that a forgotten device leaves."""

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class BoardFacts:
    """Facts about a device from its last OTA report that sessions depend on; a text is "" when unknown."""

    board: str = ""
    """The board's type."""
    board_name: str = ""
    firmware_version: str = ""
    cellular: bool = False

    @classmethod
    def of(cls, device: Device) -> "BoardFacts":
        """The facts in a row."""
        return cls(device.board, device.board_name, device.firmware_version, device.cellular)

    def updated(self, boot: "Boot") -> "BoardFacts":
        """These facts after a boot, bounded as in the table; what the device left out stays as it was."""
        return replace(
            self,
            board=bounded(boot.board, tables.BOARD_CHARS) or self.board,
            board_name=bounded(boot.board_name, tables.BOARD_CHARS) or self.board_name,
            firmware_version=bounded(boot.firmware_version, tables.VERSION_CHARS) or self.firmware_version,
            cellular=self.cellular if boot.cellular is None else boot.cellular,
        )


@dataclass(frozen=True, slots=True)
class Boot:
    """An OTA request that was answered with credentials; texts are of any length, "" and None when the
    device left them out."""

    device_id: str
    client_id: str = field(repr=False)
    at: datetime
    board: str = ""
    board_name: str = ""
    firmware_version: str = ""
    cellular: bool | None = None
    report: Mapping[str, object] = field(default_factory=dict, repr=False)


async def get(session: AsyncSession, device_id: str, *, lock: bool = False) -> Device | None:
    """The device, or None; `lock` keeps other writers off it until the transaction ends."""
    query = select(Device).where(Device.id == device_id)
    return (await session.scalars(query.with_for_update() if lock else query)).one_or_none()


async def list_all(session: AsyncSession) -> Sequence[Device]:
    """Every device, by id."""
    return (await session.scalars(select(Device).order_by(col(Device.id)))).all()


async def count(session: AsyncSession) -> int:
    """The number of registered devices."""
    return (await session.scalars(select(func.count()).select_from(Device))).one()


async def changed_since(session: AsyncSession, revision: int) -> Sequence[Device]:
    """Devices whose `revision` is greater, in the order of their changes."""
    query = select(Device).where(col(Device.revision) > revision).order_by(col(Device.revision))
    return (await session.scalars(query)).all()


async def save_changed(session: AsyncSession, device: Device, now: datetime) -> None:
    """Stores a new or changed device so that the directory of every process notices.

    A change of no concern to the directories (`last_seen_at`, a report) is written without this.
    """
    device.revision = await _next_revision(session)
    device.updated_at = now
    session.add(device)
    await session.flush()


async def _next_revision(session: AsyncSession) -> int:
    highest = [
        (await session.scalars(select(func.max(revision)))).one()
        for revision in (Device.revision, ForgottenDevice.revision)
    ]
    return max(revision or 0 for revision in highest) + 1


async def unseen_since(session: AsyncSession, moment: datetime) -> Sequence[Device]:
    """Devices that were last seen before `moment`, and took no turn since, by id."""
    talked = select(Conversation.device_id).where(col(Conversation.last_turn_at) >= moment)
    query = select(Device).where(col(Device.last_seen_at) < moment, col(Device.id).not_in(talked))
    return (await session.scalars(query.order_by(col(Device.id)))).all()


async def never_connected(session: AsyncSession, before: datetime) -> Device | None:
    """The device to give up for another one: it registered by itself before that moment, never connected and
    nobody named it or set anything. Of the address with the most such devices, its oldest."""
    idle = (
        col(Device.address) != "",
        col(Device.connected_at).is_(None),
        col(Device.created_at) < before,
        col(Device.allowed),
        col(Device.name) == "",
        col(Device.agent) == "",
        col(Device.user_name) == "",
        col(Device.language) == "",
        col(Device.transport).is_(None),
    )
    most = select(Device.address).where(*idle).group_by(col(Device.address))
    most = most.order_by(func.count().desc(), func.min(Device.created_at)).limit(1)
    query = select(Device).where(*idle, col(Device.address).in_(most.scalar_subquery()))
    return (await session.scalars(query.order_by(col(Device.created_at)).limit(1))).one_or_none()


async def forget(session: AsyncSession, ids: Sequence[str], now: datetime) -> None:
    """Deletes devices and all that is known of them, conversations too; every directory notices.

    A conversation of this moment may still be written: see `conversations.save_turns`.
    """
    if not ids:
        return
    revision = await _next_revision(session)  # before the highest may go
    for table, owner in (
        (Activation, col(Activation.device_id)),
        (Conversation, col(Conversation.device_id)),
        (LastSession, col(LastSession.device_id)),
        (Device, col(Device.id)),
        (ForgottenDevice, col(ForgottenDevice.id)),
    ):
        for start in range(0, len(ids), _AT_ONCE):
            await session.execute(delete(table).where(owner.in_(ids[start : start + _AT_ONCE])))
    # A process that was away for longer reads everything anew.
    too_old = col(ForgottenDevice.forgotten_at) < now - REMEMBERED
    await session.execute(delete(ForgottenDevice).where(too_old))
    rows = [{"id": device_id, "revision": revision, "forgotten_at": now} for device_id in sorted(ids)]
    await session.execute(insert(ForgottenDevice), rows)


async def forgotten_since(session: AsyncSession, revision: int) -> Sequence[ForgottenDevice]:
    """Devices that were forgotten at a greater `revision`, in that order."""
    query = select(ForgottenDevice).where(col(ForgottenDevice.revision) > revision)
    return (await session.scalars(query.order_by(col(ForgottenDevice.revision)))).all()


async def touch(session: AsyncSession, seen: Mapping[str, datetime]) -> None:
    """Records when devices were last seen connected; those that are gone stay so."""
    if seen:
        # In one order everywhere: two nodes that write the same rows don't lock each other out.
        rows = [
            {"known": device_id, "last_seen_at": seen[device_id], "connected_at": seen[device_id]}
            for device_id in sorted(seen)
        ]
        # On the connection: the session would insist that every row is still there.
        known = col(Device.id) == bindparam("known")
        await (await session.connection()).execute(update(Device).where(known), rows)


async def know_secret(session: AsyncSession, ids: Collection[str], secret_id: str) -> None:
    """Records that devices know the server's secret `secret_id`; those that are gone stay so."""
    if not ids:
        return
    revision = await _next_revision(session)
    for start in range(0, len(ids), _AT_ONCE):
        some = sorted(ids)[start : start + _AT_ONCE]
        known = update(Device).where(col(Device.id).in_(some))
        await session.execute(known.values(secret_id=secret_id, revision=revision))


async def save_boots(session: AsyncSession, boots: Sequence[Boot]) -> None:
    """Keeps the reports of booting devices, and ends the activations whose askers got their credentials.

    A device that was revoked, bound to another Client-Id or forgotten meanwhile is left as it is. The
    directories of all processes notice changed facts.
    """
    latest = {boot.device_id: boot for boot in boots}
    # In one order everywhere: two nodes that write the same rows don't lock each other out.
    query = select(Device).where(col(Device.id).in_(latest)).order_by(col(Device.id)).with_for_update()
    kept = [
        (device, latest[device.id])
        for device in await session.scalars(query)
        if device.allowed and device.client_id == latest[device.id].client_id
    ]
    if not kept:
        return
    revision: int | None = None
    for device, boot in kept:
        before = BoardFacts.of(device)
        facts = before.updated(boot)
        device.last_seen_at = boot.at
        if facts != before:
            revision = revision or await _next_revision(session)
            device.revision = revision
            device.board, device.board_name = facts.board, facts.board_name
            device.firmware_version, device.cellular = facts.firmware_version, facts.cellular
    await session.flush()
    ids = [device.id for device, _ in kept]
    await session.execute(delete(OtaReport).where(col(OtaReport.device_id).in_(ids)))
    reports = [
        {
            "device_id": boot.device_id,
            "received_at": boot.at,
            "report": bounded_object(boot.report, tables.REPORT_CHARS),
        }
        for _, boot in kept
    ]
    await session.execute(insert(OtaReport), reports)
    await activations.forget_askers(session, [(boot.device_id, boot.client_id) for _, boot in kept])


async def last_report(session: AsyncSession, device_id: str) -> OtaReport | None:
    """The device's last OTA report, or None."""
    return await session.get(OtaReport, device_id)
