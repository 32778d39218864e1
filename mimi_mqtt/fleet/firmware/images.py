"""Registered images of firmware: uploaded, listed, changed and deleted by administrators."""

import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mimi_mqtt.errors import Conflict, Invalid, NotFound, StoreError
from mimi_mqtt.events import utc_now
from mimi_mqtt.files.blobs import BlobStore
from mimi_mqtt.fleet.firmware import versions
from mimi_mqtt.fleet.firmware.image import MAX_IMAGE_BYTES, AppImage, ImageParser
from mimi_mqtt.fleet.firmware.rollout import DEFAULT_CHANNEL, check_channel
from mimi_mqtt.fleet.firmware.uploads import checked
from mimi_mqtt.store import audit, firmware, tables
from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.engine import Store, StoreConflict
from mimi_mqtt.store.tables import FirmwareImage
from mimi_mqtt.store.values import bounded

_BOARD: Final = re.compile(r"[^\s/\x00-\x1f](?:[^/\x00-\x1f]{0,62}[^\s/\x00-\x1f])?")


def check_board(board: str, what: str = "board") -> str:
    """A board's type or name. Raises Invalid."""
    if not _BOARD.fullmatch(board):
        raise Invalid(
            f"{what}: {board[:64]!r} is none; give it as devices report it (`mimi-mqtt devices` shows it), "
            "such as "
            "bread-compact-wifi"
        )
    return board


@dataclass(frozen=True, slots=True)
class NewImage:
    """Facts given with an image that is uploaded. `board` is the type that devices report, `board_name` their
    name ("" for all of the type)."""

    board: str
    board_name: str = ""
    channel: str = DEFAULT_CHANNEL
    notes: str = ""

    def check(self) -> None:
        """Raises Invalid."""
        check_board(self.board)
        if self.board_name:
            check_board(self.board_name, "board_name")
        check_channel(self.channel)
        if len(self.notes) > tables.IMAGE_NOTES_CHARS:
            raise Invalid(f"notes: at most {tables.IMAGE_NOTES_CHARS} characters")


@dataclass(frozen=True, slots=True)
class ImageChange:
    """Fields to change; None leaves one as it is."""

    channel: str | None = None
    notes: str | None = None


class FirmwareImages:
    """The images of `store`, whose bytes are in `blobs`. `changed` is awaited when there is one more or
    less."""

    def __init__(
        self, store: Store, blobs: BlobStore, changed: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._changed = changed

    async def _tell(self) -> None:
        if self._changed is not None:
            with contextlib.suppress(StoreError):  # it is read again soon
                await self._changed()

    async def add(
        self, parts: AsyncIterator[bytes], told: NewImage, by: Author, now: datetime | None = None
    ) -> FirmwareImage:
        """Registers the image whose bytes `parts` gives; nothing is kept of one that is refused.

        Raises Invalid (no app image, or a version that devices can't compare), Conflict (the version is
        registered for the board), FileTooLarge, LimitReached, FilesError, StoreError, and what `parts`
        raises.
        """
        told.check()
        parser, found = ImageParser(), list[AppImage]()

        def finish() -> None:
            image = parser.finish()
            versions.check(image.version)
            found.append(image)

        blob = await self._blobs.put(checked(parts, parser.feed, finish), max_bytes=MAX_IMAGE_BYTES)
        image = found[0]
        row = FirmwareImage(
            board=told.board, board_name=told.board_name, version=image.version, channel=told.channel,
            chip=image.chip, project=image.project, idf_version=image.idf_version, built=image.built,
            elf_sha256=image.elf_sha256, secure_version=image.secure_version, signed=image.signed,
            size=blob.size, sha256=blob.sha256, notes=bounded(told.notes, tables.IMAGE_NOTES_CHARS),
            uploaded_by=bounded(by.name, tables.UPLOADER_CHARS), created_at=now or utc_now(),
        )  # fmt: skip
        try:
            async with self._store.write() as session:
                session.add(row)
                await session.flush()
                audit.record(session, by, "firmware.add", f"firmware:{row.id}", after=_told(row))
        except StoreConflict:
            async with self._store.read() as session:
                known = await firmware.image_of_version(session, told.board, told.board_name, image.version)
            if known is None:
                raise
            same = "the same image" if known.sha256 == blob.sha256 else "another image"
            raise Conflict(
                f"version {image.version} is registered for {told.board} already ({same}, id {known.id}): "
                "devices know "
                "a firmware by its version, so raise PROJECT_VER, or delete the other one"
            ) from None
        await self._tell()
        return row

    async def get(self, image_id: int) -> FirmwareImage:
        """One image. Raises NotFound, StoreError."""
        async with self._store.read() as session:
            return _found(await firmware.image(session, image_id), image_id)

    async def list(
        self,
        *,
        board: str | None = None,
        channel: str | None = None,
        before: int | None = None,
        limit: int | None = None,
    ) -> "list[FirmwareImage]":
        """Images, the latest first; `before` is an id. Raises StoreError."""
        async with self._store.read() as session:
            return [*await firmware.images(session, board=board, channel=channel, before=before, limit=limit)]

    async def change(
        self, image_id: int, wanted: ImageChange, by: Author, *, revision: int | None = None
    ) -> FirmwareImage:
        """Changes an image's channel or notes. With `revision` only that one is changed.

        Raises NotFound, Invalid, Conflict (it is another revision), StoreError.
        """
        if wanted.channel is not None:
            check_channel(wanted.channel)
        if wanted.notes is not None and len(wanted.notes) > tables.IMAGE_NOTES_CHARS:
            raise Invalid(f"notes: at most {tables.IMAGE_NOTES_CHARS} characters")
        async with self._store.write() as session:
            row = _found(await session.get(FirmwareImage, image_id, with_for_update=True), image_id)
            check_revision(row.revision, revision)
            before = {"channel": row.channel, "notes": row.notes}
            row.channel = row.channel if wanted.channel is None else wanted.channel
            row.notes = row.notes if wanted.notes is None else bounded(wanted.notes, len(wanted.notes))
            after = {"channel": row.channel, "notes": row.notes}
            changed = {name for name in after if after[name] != before[name]}
            if changed:
                row.revision += 1
                session.add(row)
                audit.record(
                    session, by, "firmware.change", f"firmware:{image_id}",
                    before={name: before[name] for name in changed},
                    after={name: after[name] for name in changed},
                )  # fmt: skip
        return row

    async def delete(self, image_id: int, by: Author) -> None:
        """Deletes an image that no roll-out uses. Raises NotFound, Conflict, StoreError."""
        async with self._store.write() as session:
            row = _found(await session.get(FirmwareImage, image_id, with_for_update=True), image_id)
            used = await firmware.uses(session, image_id)
            if used:
                raise Conflict(
                    f"the image is used by roll-out {', '.join(map(str, used[:8]))}: end and delete it first"
                )
            audit.record(session, by, "firmware.delete", f"firmware:{image_id}", before=_told(row))
            await session.delete(row)
        await self._tell()


def check_revision(present: int, wanted: int | None) -> None:
    """Raises Conflict when a change is meant for another revision than the present one."""
    if wanted is not None and wanted != present:
        raise Conflict("it was changed meanwhile: read it again, and make the change to that version")


def _found(row: FirmwareImage | None, image_id: int) -> FirmwareImage:
    if row is None:
        raise NotFound(f"there is no firmware image {image_id}")
    return row


def _told(row: FirmwareImage) -> dict[str, object]:
    names = ("board", "board_name", "version", "channel", "chip", "size", "sha256")
    return {name: getattr(row, name) for name in names}
