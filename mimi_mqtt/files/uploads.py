"""Pictures that devices sent: screenshots and photos. Their type is told by their bytes, their name by us."""

import secrets
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

from sqlalchemy import or_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from mimi_mqtt.errors import Invalid, NotFound
from mimi_mqtt.events import Publish, UploadStored, unheard
from mimi_mqtt.files.blobs import Blob, BlobStore
from mimi_mqtt.files.images import HEAD_BYTES, media_type
from mimi_mqtt.files.upload_links import UploadLink
from mimi_mqtt.store import audit
from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.tables import StoredUpload

Kind: TypeAlias = Literal["screenshot", "photo"]
SCREENSHOT: Final[Kind] = "screenshot"
PHOTO: Final[Kind] = "photo"


@dataclass(frozen=True, slots=True)
class Seer:
    """The owner of the uploads that are asked for: an account and its groups; None for the account: all."""

    user_id: str | None
    groups: Collection[str] = ()

    def sees(self, owner_id: str, group_id: str) -> bool:
        """True for what belongs to the account, or is shared with one of the groups."""
        if self.user_id is None:
            return True
        return (owner_id != "" and owner_id == self.user_id) or (group_id != "" and group_id in self.groups)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture in the blob store, and its media type."""

    blob: Blob
    media_type: str


class Uploads:
    """The pictures in `blobs`, each of at most `max_bytes` and kept for `keep_days`. `publish` takes the
    event of each that was stored."""

    def __init__(
        self, blobs: BlobStore, *, max_bytes: int, keep_days: int, publish: Publish = unheard
    ) -> None:
        self.blobs = blobs
        self.max_bytes = max_bytes
        self._keep = timedelta(days=keep_days)
        self._publish = publish

    async def put(self, parts: AsyncIterator[bytes]) -> Picture:
        """Stores a picture. Raises Invalid when it is none, FileTooLarge, LimitReached, FilesError."""
        found: list[str] = []
        blob = await self.blobs.put(checked(parts, found.append), max_bytes=self.max_bytes)
        return Picture(blob, found[0])

    async def add(self, link: UploadLink, picture: Picture, *, session_id: str = "") -> StoredUpload:
        """Registers a picture of a device. Raises StoreError."""
        now = self.blobs.clock()
        row = StoredUpload(
            id=f"f{secrets.token_hex(10)}",
            device_id=link.device_id,
            owner_id=link.owner_id,
            group_id=link.group_id,
            session_id=session_id,
            kind=link.kind,
            media_type=picture.media_type,
            sha256=picture.blob.sha256,
            bytes=picture.blob.size,
            created_at=now,
            expires_at=now + self._keep,
        )
        async with self.blobs.store.write() as session:
            session.add(row)
            after = {"device_id": row.device_id, "kind": row.kind, "sha256": row.sha256}
            audit.record(session, link.author, "upload.create", f"upload:{row.id}", after=after)
        self._publish(UploadStored(device_id=row.device_id, upload_id=row.id, kind=row.kind))
        return row

    async def get(self, upload_id: str, seer: Seer) -> StoredUpload:
        """An upload that the seer sees. Raises NotFound, StoreError."""
        async with self.blobs.store.read() as session:
            return await self._seen(session, upload_id, seer)

    async def latest(
        self,
        seer: Seer,
        *,
        limit: int,
        before: tuple[datetime, str] | None = None,
        device_id: str | None = None,
        kind: str | None = None,
    ) -> Sequence[StoredUpload]:
        """Uploads that the seer sees, the newest first; those after the upload of time and id `before`."""
        created, key = col(StoredUpload.created_at), col(StoredUpload.id)
        query = select(StoredUpload).order_by(created.desc(), key.desc()).limit(limit)
        if seer.user_id is not None:
            shared = col(StoredUpload.group_id).in_(sorted(seer.groups)) & (col(StoredUpload.group_id) != "")
            mine = (col(StoredUpload.owner_id) == seer.user_id) & (col(StoredUpload.owner_id) != "")
            query = query.where(or_(mine, shared))
        if device_id is not None:
            query = query.where(col(StoredUpload.device_id) == device_id)
        if kind is not None:
            query = query.where(col(StoredUpload.kind) == kind)
        if before is not None:
            query = query.where(or_(created < before[0], (created == before[0]) & (key < before[1])))
        async with self.blobs.store.read() as session:
            return (await session.scalars(query)).all()

    async def delete(self, upload_id: str, seer: Seer, author: Author) -> None:
        """Deletes an upload; its bytes go with the next collection. Raises NotFound, StoreError."""
        async with self.blobs.store.write() as session:
            row = await self._seen(session, upload_id, seer)
            before = {"device_id": row.device_id, "kind": row.kind, "sha256": row.sha256}
            audit.record(session, author, "upload.delete", f"upload:{row.id}", before=before)
            await session.delete(row)

    async def _seen(self, session: AsyncSession, upload_id: str, seer: Seer) -> StoredUpload:
        row = await session.get(StoredUpload, upload_id)
        if row is None or not seer.sees(row.owner_id, row.group_id):
            raise NotFound(f"there is no upload {upload_id[:40]}")
        return row


async def checked(parts: AsyncIterator[bytes], tell: Callable[[str], None]) -> AsyncIterator[bytes]:
    """The bytes of a picture, after `tell` was called with its media type. Raises Invalid when they are none,
    before the first part is given."""
    head = b""
    told = False
    async for part in parts:
        if told:
            yield part
            continue
        head += part
        if len(head) >= HEAD_BYTES:
            tell(_type_of(head))
            told = True
            yield head
    if not told:
        tell(_type_of(head))
        yield head


def _type_of(head: bytes) -> str:
    found = media_type(head)
    if found is None:
        raise Invalid("the file is no picture: JPEG, PNG and WebP are accepted, told by their first bytes")
    return found
