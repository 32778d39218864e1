"""Stored files: the blob store and its collector, pictures of devices, as one part of the server."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from starlette.routing import BaseRoute

from mimi_mqtt.commands.runner import Commands
from mimi_mqtt.commands.screenshots import Belonging, Screenshots
from mimi_mqtt.config import Settings
from mimi_mqtt.errors import FilesError, RequestError, StoreError
from mimi_mqtt.events import Publish
from mimi_mqtt.files.collection import Collector
from mimi_mqtt.files.opening import blob_store
from mimi_mqtt.files.recordings import Recordings
from mimi_mqtt.files.upload_links import UploadLink, UploadLinks
from mimi_mqtt.files.uploads import PHOTO, Uploads
from mimi_mqtt.http.device.uploads import UPLOAD_PATH, PictureUpload
from mimi_mqtt.http.health import PartHealth
from mimi_mqtt.shares import Ledger
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.files import expire_uploads

_log = logging.getLogger(__name__)


class Files:
    """The stored files of a server. Files that can't be written or read keep nothing else from working."""

    def __init__(
        self, settings: Settings, store: Store, environ: Mapping[str, str], publish: Publish
    ) -> None:
        self.blobs = blob_store(settings, store, environ)
        self.uploads = Uploads(
            self.blobs,
            max_bytes=round(settings.files.max_upload_mb * 1e6),
            keep_days=settings.files.keep_uploads_days,
            publish=publish,
        )
        self.recordings = Recordings(self.blobs, keep_days=settings.files.keep_recordings_days)
        self._links = UploadLinks()
        self._first_look: asyncio.Task[None] | None = None
        self._collector = Collector(self.blobs, [expire_uploads, self.recordings.expire])

    async def start(self) -> None:
        """Opens the folder or bucket, and starts the collector."""
        await self.blobs.open()
        self._first_look = asyncio.get_running_loop().create_task(
            self._look(), name="first look at the stored files"
        )
        self._collector.start()
        await self.recordings.start()

    async def aclose(self) -> None:
        """Stores the recordings that wait, and ends the collector."""
        look, self._first_look = self._first_look, None
        if look is not None:
            look.cancel()
            await asyncio.wait({look})
        await self.recordings.aclose()
        await self._collector.aclose()

    async def _look(self) -> None:
        """Finds out whether files can be written, and what they take: for the health, before the first
        collection. The start does not wait for an S3."""
        try:
            await self.blobs.usage()
            await self.blobs.place.prove()
        except FilesError as error:
            self.blobs.failed("written", error)
        except StoreError as error:
            _log.warning("%s", error)

    async def collect(self) -> None:
        """Deletes the bytes of files that nothing refers to any more; what fails is done by the collector."""
        try:
            await self._collector.collect()
        except (FilesError, StoreError) as error:
            _log.warning("files that were deleted are still stored for a while: %s", error)

    async def keep_photo(self, device_id: str, session_id: str, belonging: Belonging, photo: bytes) -> None:
        """Stores a photo of a conversation. A failure is the blob store's to tell."""

        async def parts() -> AsyncIterator[bytes]:
            yield photo

        of = UploadLink(device_id, belonging.owner_id, belonging.group_id, PHOTO, 0.0)
        try:
            await self.uploads.add(of, await self.uploads.put(parts()), session_id=session_id)
        except (FilesError, RequestError, StoreError) as error:
            _log.warning("a photo could not be kept: %s", error, extra={"device": device_id})

    def routes(self, ledger: Ledger) -> Sequence[BaseRoute]:
        """The routes at which devices post pictures."""
        return PictureUpload(self._links, self.uploads, ledger).routes()

    def screenshots(
        self,
        commands: Commands,
        belonging: Callable[[str], Belonging],
        address: Callable[[str], str | None],
    ) -> Screenshots:
        """Screenshots on request."""
        return Screenshots(commands, self._links, belonging, address=address, path=UPLOAD_PATH)

    def health(self) -> PartHealth:
        """The health of the files: if they can be stored, and how much is."""
        usage, damaged = self.blobs.known_usage, len(self.blobs.damaged)
        room = f" of {usage.quota / 1e6:,.0f}" if usage.quota else ""
        told = f"{usage.blobs} files, {usage.bytes / 1e6:,.1f}{room} MB"
        if damaged:
            told += f"; {damaged} missing or damaged"
        if self.blobs.failure:
            told += f"; {self.blobs.failure}"
        healthy = self._collector.healthy and self.recordings.healthy
        return PartHealth(healthy and not self.blobs.failure, told)
