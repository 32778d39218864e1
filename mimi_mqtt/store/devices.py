"""Queries about devices and their last OTA reports, inside the fleet's transactions."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import bindparam, delete, func, insert, update
from sqlalchemy import select as columns_of
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped
from sqlmodel import SQLModel, col, select

from mimi_mqtt.store import activations, files, tables
from mimi_mqtt.store.tables import (
    Activation,
    Conversation,
    Device,
    DeviceInterval,
    ForgottenDevice,
    KnownTools,
    LastSession,
    OtaExchange,
    OtaReport,
    Reminder,
    SeenDevice,
    SessionStatistics,
    StoredRecording,
    StoredUpload,
    WaitingNotice,
)
from mimi_mqtt.store.values import bounded, bounded_object

REMEMBERED = timedelta(days=30)
"""Lifetime of the mark that a forgotten device leaves."""

_AT_ONCE = 500
_ROWS_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class BootFacts:
    """Facts about a device from its last OTA request that sessions depend on; a text is "" when unknown."""

    board: str = ""
    """The board's type."""
    board_name: str = ""
    firmware_version: str = ""
    cellular: bool = False
    espressif: bool = False
    """Espressif's own client."""
    host: str = ""
    """The address of ours that it last reached."""
    origin: str = ""
    """Scheme, host and port of it."""
    reported_language: str = ""

    @classmethod
    def of(cls, device: "Device | DirectoryRow") -> "BootFacts":
        """The facts in a row."""
        return cls(*(getattr(device, each.name) for each in fields(cls)))

    def updated(self, boot: "Boot") -> "BootFacts":
        """These facts after a boot, bounded as in the table; what the device left out stays as it was."""
        return replace(
            self,
            board=bounded(boot.board, tables.BOARD_CHARS) or self.board,
            board_name=bounded(boot.board_name, tables.BOARD_CHARS) or self.board_name,
            firmware_version=bounded(boot.firmware_version, tables.VERSION_CHARS) or self.firmware_version,
            cellular=self.cellular if boot.cellular is None else boot.cellular,
            espressif=self.espressif if boot.espressif is None else boot.espressif,
            host=bounded(boot.host, tables.HOST_CHARS) or self.host,
            origin=bounded(boot.origin, tables.ORIGIN_CHARS) or self.origin,
            reported_language=bounded(boot.language, tables.LANGUAGE_CHARS) or self.reported_language,
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
    report: Mapping[str, object] | None = field(default_factory=dict, repr=False)
    """None when it could not be read: the one before stays."""
    espressif: bool | None = None
    host: str = ""
    """The address of ours that it reached."""
    origin: str = ""
    """Scheme, host and port of it."""
    language: str = ""


class DirectoryRow(NamedTuple):
    """The part of a device's row that the directories of all processes hold, read without its class: a
    hundred thousand of them are read at a start."""

    id: str
    client_id: str
    epoch: int
    allowed: bool
    transport: str | None
    name: str
    language: str
    reported_language: str
    board: str
    board_name: str
    firmware_version: str
    cellular: bool
    espressif: bool
    host: str
    origin: str
    agent: str
    user_name: str
    secret_id: str
    owner_id: str
    group_id: str
    auto_update: bool
    revision: int
    recordings: str

    @classmethod
    def of(cls, device: Device) -> "DirectoryRow":
        """That part of a row."""
        return cls._make(getattr(device, name) for name in cls._fields)


_DIRECTORY: Final = [getattr(Device, name) for name in DirectoryRow._fields]


async def get(session: AsyncSession, device_id: str, *, lock: bool = False) -> Device | None:
    """The device, or None; `lock` keeps other writers off it until the transaction ends."""
    query = select(Device).where(Device.id == device_id)
    return (await session.scalars(query.with_for_update() if lock else query)).one_or_none()


async def list_all(session: AsyncSession) -> Sequence[Device]:
    """Every device, by id."""
    return (await session.scalars(select(Device).order_by(col(Device.id)))).all()


async def browsers_of(session: AsyncSession, user_id: str) -> Sequence[Device]:
    """The browser devices of an account, locked until the transaction ends, the oldest first."""
    query = select(Device).where(col(Device.owner_id) == user_id, col(Device.browser))
    return (await session.scalars(query.order_by(col(Device.created_at)).with_for_update())).all()


async def end_browsers(session: AsyncSession, user_id: str, now: datetime) -> None:
    """Ends the credentials of an account's browser devices, and their connections with them."""
    for device in await browsers_of(session, user_id):
        device.epoch += 1
        await save_changed(session, device, now)


async def count(session: AsyncSession) -> int:
    """The number of registered devices."""
    return (await session.scalars(select(func.count()).select_from(Device))).one()


async def changed_since(session: AsyncSession, revision: int) -> Sequence[DirectoryRow]:
    """Devices whose `revision` is greater, in any order."""
    query = columns_of(*_DIRECTORY).where(col(Device.revision) > revision)
    return [DirectoryRow._make(row) for row in (await session.execute(query)).all()]


async def every_row(session: AsyncSession) -> AsyncIterator[DirectoryRow]:
    """Every device, in any order; they are read in parts, to hold few of them at a time."""
    found = await session.stream(columns_of(*_DIRECTORY))
    async for part in found.partitions(_ROWS_AT_ONCE):
        for row in part:
            yield DirectoryRow._make(row)


async def save_changed(session: AsyncSession, device: Device, now: datetime) -> None:
    """Stores a new or changed device so that the directory of every process notices.

    A change of no concern to the directories (`last_seen_at`, a report) is written without this.
    """
    device.revision = await _next_revision(session)
    device.updated_at = now
    device.search = search_text(device)
    session.add(device)
    await session.flush()


def search_text(device: Device) -> str:
    """The text in which a device is searched for: what people know it by."""
    words = " ".join([device.id, device.name, device.room, *device.tags])
    return bounded(words.casefold(), tables.SEARCH_CHARS)


async def _next_revision(session: AsyncSession) -> int:
    highest = [
        (await session.scalars(select(func.max(revision)))).one()
        for revision in (Device.revision, ForgottenDevice.revision)
    ]
    return max(revision or 0 for revision in highest) + 1


async def unseen_since(
    session: AsyncSession, moment: datetime, *, among: Collection[str] | None = None
) -> Sequence[Device]:
    """Devices that were last seen before `moment`, and took no turn since, by id; only those of the ids
    `among`, where that is given."""
    talked = select(Conversation.device_id).where(col(Conversation.last_turn_at) >= moment)
    query = select(Device).where(col(Device.last_seen_at) < moment, col(Device.id).not_in(talked))
    if among is not None:
        query = query.where(col(Device.id).in_(among))
    return (await session.scalars(query.order_by(col(Device.id)))).all()


async def last_seen(session: AsyncSession) -> datetime | None:
    """The last moment at which any device was seen."""
    query = select(Device.last_seen_at).order_by(col(Device.last_seen_at).desc()).limit(1)
    return (await session.scalars(query)).first()


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


async def on_fallback(
    session: AsyncSession, most: int | None = None
) -> Sequence[tuple[Device, datetime | None]]:
    """Devices with `fallback_at`, by id, `most` of them, each with the time of its last OTA request."""
    booted = (col(OtaReport.device_id) == col(Device.id), col(Device.fallback_at).is_not(None))
    query = select(Device, OtaReport.received_at).join(OtaReport, booted[0], isouter=True).where(booted[1])
    rows = (await session.execute(query.order_by(col(Device.id)).limit(most))).all()
    return [(device, booted_at) for device, booted_at in rows]


async def forget(session: AsyncSession, ids: Sequence[str], now: datetime) -> None:
    """Deletes devices and all that is known of them, conversations too; every directory notices.

    A conversation of this moment may still be written: see `conversations.save_turns`.
    """
    if not ids:
        return

    async def delete_from(table: type[SQLModel], owner: Mapped[str]) -> None:
        for start in range(0, len(ids), _AT_ONCE):
            await session.execute(delete(table).where(owner.in_(ids[start : start + _AT_ONCE])))

    for table, owner in (
        (Activation, col(Activation.device_id)),
        (Conversation, col(Conversation.device_id)),
        (LastSession, col(LastSession.device_id)),
        (WaitingNotice, col(WaitingNotice.device_id)),
        (Reminder, col(Reminder.device_id)),
        (OtaExchange, col(OtaExchange.device_id)),
        (SessionStatistics, col(SessionStatistics.device_id)),
        (DeviceInterval, col(DeviceInterval.device_id)),
        (KnownTools, col(KnownTools.device_id)),
        (SeenDevice, col(SeenDevice.id)),
        (StoredUpload, col(StoredUpload.device_id)),
        (StoredRecording, col(StoredRecording.device_id)),
    ):
        await delete_from(table, owner)
    # After what takes long: readers look only some revisions back. Before the highest may go.
    revision = await _next_revision(session)
    await delete_from(Device, col(Device.id))
    await delete_from(ForgottenDevice, col(ForgottenDevice.id))
    # A process that was away for longer reads everything anew.
    too_old = col(ForgottenDevice.forgotten_at) < now - REMEMBERED
    await session.execute(delete(ForgottenDevice).where(too_old))
    rows = [{"id": device_id, "revision": revision, "forgotten_at": now} for device_id in sorted(ids)]
    await session.execute(insert(ForgottenDevice), rows)


async def leave_owner(session: AsyncSession, device: Device, owner_id: str, now: datetime) -> None:
    """Gives a device that is somebody's to another account, "" for nobody: new credentials, and nothing of
    the person who had it. The caller saves the row."""
    device.owner_id = owner_id
    device.owned_since = now
    device.epoch += 1
    for name in ("name", "room", "notes", "agent", "language", "user_name", "recordings"):
        setattr(device, name, "")
    await share(session, device, "")
    device.tags = []
    await forget_traces(session, device.id)


async def share(session: AsyncSession, device: Device, group_id: str) -> None:
    """Shares a device with a group, "" for none; the group before sees nothing of it any more. The caller
    saves the row."""
    if device.group_id:
        await files.unshare(session, device.id)
    device.group_id = group_id


async def of_group(session: AsyncSession, group_id: str) -> Sequence[Device]:
    """The devices that are shared with a group, by id; other writers are kept off them until the transaction
    ends."""
    query = select(Device).where(col(Device.group_id) == group_id).order_by(col(Device.id))
    return (await session.scalars(query.with_for_update())).all()


async def forget_traces(session: AsyncSession, device_id: str) -> None:
    """Deletes what tells of the people who have a device: its reports, log, statistics, reminders, notices
    and pending activations."""
    for table, owner in (
        (Activation, col(Activation.device_id)),
        (WaitingNotice, col(WaitingNotice.device_id)),
        (Reminder, col(Reminder.device_id)),
        (OtaReport, col(OtaReport.device_id)),
        (OtaExchange, col(OtaExchange.device_id)),
        (SessionStatistics, col(SessionStatistics.device_id)),
        (DeviceInterval, col(DeviceInterval.device_id)),
    ):
        await session.execute(delete(table).where(owner == device_id))


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
        before = BootFacts.of(device)
        facts = before.updated(boot)
        device.last_seen_at = boot.at
        if facts != before:
            revision = revision or await _next_revision(session)
            device.revision = revision
            for each in fields(facts):
                setattr(device, each.name, getattr(facts, each.name))
    await session.flush()
    reports = [
        {
            "device_id": boot.device_id,
            "received_at": boot.at,
            "report": bounded_object(boot.report, tables.REPORT_CHARS),
        }
        for _, boot in kept
        if boot.report is not None
    ]
    if reports:
        ids = [report["device_id"] for report in reports]
        await session.execute(delete(OtaReport).where(col(OtaReport.device_id).in_(ids)))
        await session.execute(insert(OtaReport), reports)
    # Written later than the device booted: a code that it was made to show since is still good.
    booted = min(boot.at for _, boot in kept)
    await activations.forget_askers(session, [(boot.device_id, boot.client_id) for _, boot in kept], booted)


async def last_report(session: AsyncSession, device_id: str) -> OtaReport | None:
    """The device's last OTA report, or None."""
    return await session.get(OtaReport, device_id)
