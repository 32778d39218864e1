"""Assets images (fonts, themes, wake words): uploaded for a board, and handed over to devices one by one."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import col, select

from mimi_mqtt.errors import Conflict, Invalid, NotFound
from mimi_mqtt.events import DeliveryProgressed, Publish, unheard, utc_now
from mimi_mqtt.files.blobs import BlobStore
from mimi_mqtt.fleet.firmware.asset_image import (
    MAX_ASSETS_BYTES,
    AssetsEntry,
    AssetsImage,
    AssetsParser,
    entries,
    table_bytes,
)
from mimi_mqtt.fleet.firmware.images import check_board, check_revision
from mimi_mqtt.fleet.firmware.report import assets_bytes
from mimi_mqtt.fleet.firmware.rollout import Progress
from mimi_mqtt.fleet.firmware.uploads import checked
from mimi_mqtt.store import audit, devices, tables
from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import AssetsDelivery, AssetsFile
from mimi_mqtt.store.values import bounded


@dataclass(frozen=True, slots=True)
class NewAssets:
    """Facts given with an assets image that is uploaded."""

    board: str
    name: str
    board_name: str = ""
    notes: str = ""

    def check(self) -> None:
        """Raises Invalid."""
        check_board(self.board)
        if self.board_name:
            check_board(self.board_name, "board_name")
        check_texts(self.name, self.notes)


def check_texts(name: str | None, notes: str | None) -> None:
    """Raises Invalid for a name or notes that can't be kept."""
    if name is not None and not (0 < len(name.strip()) <= tables.ASSETS_NAME_CHARS and name.isprintable()):
        raise Invalid(f"name: 1 to {tables.ASSETS_NAME_CHARS} printable characters")
    if notes is not None and len(notes) > tables.IMAGE_NOTES_CHARS:
        raise Invalid(f"notes: at most {tables.IMAGE_NOTES_CHARS} characters")


class Assets:
    """The assets images of `store`, whose bytes are in `blobs`. `publish` takes the event of each device that
    an image is handed over to."""

    def __init__(self, store: Store, blobs: BlobStore, publish: Publish = unheard) -> None:
        self._store = store
        self._blobs = blobs
        self._publish = publish

    async def add(
        self, parts: AsyncIterator[bytes], told: NewAssets, by: Author, now: datetime | None = None
    ) -> AssetsFile:
        """Registers the image whose bytes `parts` gives; nothing is kept of one that is refused.

        Raises Invalid, FileTooLarge, LimitReached, FilesError, StoreError, and what `parts` raises.
        """
        told.check()
        parser, found = AssetsParser(), list[AssetsImage]()
        finish = lambda: found.append(parser.finish())  # noqa: E731
        blob = await self._blobs.put(checked(parts, parser.feed, finish), max_bytes=MAX_ASSETS_BYTES)
        row = AssetsFile(
            name=bounded(told.name.strip(), tables.ASSETS_NAME_CHARS), board=told.board,
            board_name=told.board_name,
            files=found[0].files, size=blob.size, sha256=blob.sha256,
            notes=bounded(told.notes, tables.IMAGE_NOTES_CHARS),
            uploaded_by=bounded(by.name, tables.UPLOADER_CHARS), created_at=now or utc_now(),
        )  # fmt: skip
        async with self._store.write() as session:
            session.add(row)
            await session.flush()
            audit.record(session, by, "assets.add", f"assets:{row.id}", after=_told(row))
        return row

    async def get(self, assets_id: int) -> AssetsFile:
        """One assets image. Raises NotFound, StoreError."""
        async with self._store.read() as session:
            return _found(await session.get(AssetsFile, assets_id), assets_id)

    async def list(
        self, *, board: str | None = None, before: int | None = None, limit: int | None = None
    ) -> "list[AssetsFile]":
        """Assets images, the latest first; `before` is an id. Raises StoreError."""
        query = select(AssetsFile).order_by(col(AssetsFile.id).desc())
        if board is not None:
            query = query.where(AssetsFile.board == board)
        if before is not None:
            query = query.where(col(AssetsFile.id) < before)
        async with self._store.read() as session:
            return [*(await session.scalars(query.limit(limit) if limit is not None else query)).all()]

    async def entries(self, assets_id: int) -> Sequence[AssetsEntry]:
        """The files in an image, in its order. Raises NotFound, FilesError, StoreError."""
        row = await self.get(assets_id)
        end = min(row.size, table_bytes(row.files))
        content = await self._blobs.open_content(row.sha256, 0, end)
        return entries(b"".join([part async for part in content.parts]))

    async def deliveries(
        self, assets_id: int, *, after: str = "", limit: int | None = None
    ) -> Sequence[AssetsDelivery]:
        """Devices that the image was handed over to, by id. Raises NotFound, StoreError."""
        query = select(AssetsDelivery).where(
            AssetsDelivery.assets_id == assets_id, col(AssetsDelivery.device_id) > after
        )
        query = query.order_by(col(AssetsDelivery.device_id))
        async with self._store.read() as session:
            _found(await session.get(AssetsFile, assets_id), assets_id)
            return (await session.scalars(query.limit(limit) if limit is not None else query)).all()

    async def change(
        self,
        assets_id: int,
        by: Author,
        *,
        name: str | None = None,
        notes: str | None = None,
        revision: int | None = None,
    ) -> AssetsFile:
        """Changes the name or the notes. Raises NotFound, Invalid, Conflict (another revision),
        StoreError."""
        check_texts(name, notes)
        async with self._store.write() as session:
            row = _found(await session.get(AssetsFile, assets_id, with_for_update=True), assets_id)
            check_revision(row.revision, revision)
            before = {"name": row.name, "notes": row.notes}
            row.name = row.name if name is None else bounded(name.strip(), tables.ASSETS_NAME_CHARS)
            row.notes = row.notes if notes is None else bounded(notes, tables.IMAGE_NOTES_CHARS)
            after = {"name": row.name, "notes": row.notes}
            if after != before:
                row.revision += 1
                session.add(row)
                audit.record(session, by, "assets.change", f"assets:{assets_id}", before=before, after=after)
        return row

    async def delete(self, assets_id: int, by: Author) -> None:
        """Deletes an assets image; devices that were told of it and have not fetched it get nothing. Raises
        NotFound, StoreError."""
        async with self._store.write() as session:
            row = _found(await session.get(AssetsFile, assets_id, with_for_update=True), assets_id)
            audit.record(session, by, "assets.delete", f"assets:{assets_id}", before=_told(row))
            await session.delete(row)

    async def hand_over(
        self, assets_id: int, device_id: str, by: Author, now: datetime | None = None
    ) -> AssetsFile:
        """Lets a device fetch an assets image. Raises NotFound, Conflict (it is none for this device; the
        message says why), StoreError."""
        async with self._store.write() as session:
            row = _found(await session.get(AssetsFile, assets_id), assets_id)
            device = await devices.get(session, device_id, lock=True)
            if device is None:
                raise NotFound(f"there is no device {device_id}")
            if device.board != row.board or row.board_name not in ("", device.board_name):
                raise Conflict(
                    f"these assets are for {row.board_name or row.board}, the device is a {device.board}"
                )
            report = await devices.last_report(session, device_id)
            room = assets_bytes(report.report) if report is not None else None
            if room is not None and row.size > room:
                raise Conflict(
                    f"does not fit the partition of {room:,} bytes: the assets have {row.size:,}"
                    if room
                    else "the device has no partition for assets"
                )
            delivery = await session.get(AssetsDelivery, (assets_id, device_id)) or AssetsDelivery(
                assets_id=assets_id,
                device_id=device_id,
                progress=Progress.OFFERED,
                offered_at=now or utc_now(),
            )
            delivery.progress, delivery.bytes_sent = Progress.OFFERED, 0
            delivery.offered_at = now or utc_now()
            delivery.began_at = delivery.downloaded_at = None
            session.add(delivery)
            audit.record(
                session,
                by,
                "assets.hand_over",
                f"device:{device_id}",
                after={"assets": assets_id, "name": row.name},
            )
        self._publish(
            DeliveryProgressed(device_id=device_id, kind="assets", number=assets_id, state=Progress.OFFERED)
        )
        return row

    async def withdraw(self, assets_id: int, device_id: str, by: Author) -> None:
        """Takes back what was handed over to a device that could not be told of it. Raises StoreError."""
        async with self._store.write() as session:
            delivery = await session.get(AssetsDelivery, (assets_id, device_id), with_for_update=True)
            if delivery is None or delivery.progress != Progress.OFFERED:
                return
            audit.record(session, by, "assets.withdraw", f"device:{device_id}", before={"assets": assets_id})
            await session.delete(delivery)


def _found(row: AssetsFile | None, assets_id: int) -> AssetsFile:
    if row is None:
        raise NotFound(f"there are no assets {assets_id}")
    return row


def _told(row: AssetsFile) -> dict[str, object]:
    return {name: getattr(row, name) for name in ("name", "board", "board_name", "size", "sha256")}
