"""Places that hold objects, bytes by a name: a folder of this machine, or a bucket of any S3 (obstore).

An object appears under its name whole or not at all, whatever ends the write.
"""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mimi_mqtt.errors import FilesError
from mimi_mqtt.files.ownership import hand_over

if TYPE_CHECKING:
    from obstore.store import ClientConfig, LocalStore, RetryConfig, S3Config, S3Store

OBJECTS: Final = "objects"
"""Start of the name of every object: what else lies in the folder or bucket is never touched."""
PROBE: Final = "probe"
"""The object that shows that the place can be written again."""
PART_BYTES: Final = 8 << 20
"""Bytes of one part of an upload to S3, which is in memory as long as it is sent."""
PARTS_AT_ONCE: Final = 2
"""Parts of one upload that are sent at once."""
READ_BYTES: Final = 256 << 10
"""Bytes of a file that are read at a time."""
S3_RETRIES: Final = 2
S3_RETRY_S: Final = 10.0
"""Time after which a failed request to S3 is not tried again, in seconds."""
S3_CONNECT_S: Final = 5.0
S3_REQUEST_S: Final = 60.0
"""Longest time of one request to S3, in seconds: one part of an upload, or of a download."""
LISTED_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Found:
    """An object in a list, and when it was written."""

    name: str
    written_at: datetime


class Place:
    """A folder or bucket. `objects` is obstore's, None as long as there is none; `told` names the place in
    messages, `cure` says what to do when it fails."""

    def __init__(self, objects: "LocalStore | S3Store | None", told: str, cure: str) -> None:
        self._opened = objects
        self.told = told
        self._cure = cure

    async def open(self) -> None:
        """Prepares the place. Raises FilesError."""

    async def take(self, staged: Path, name: str) -> None:
        """Makes the bytes of a file on this machine the object `name`, whole or not at all. The file may be
        gone afterwards. Raises FilesError."""
        import obstore

        with self._explained("written"):
            await obstore.put_async(
                self._objects, name, staged, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE
            )

    async def prove(self) -> None:
        """Writes and deletes a small object. Raises FilesError."""
        import obstore

        with self._explained("written"):
            await obstore.put_async(self._objects, PROBE, b"mimi_mqtt", use_multipart=False)
        await self.delete(PROBE)

    async def size(self, name: str) -> int | None:
        """The size of an object, in bytes; None when there is none of that name. Raises FilesError."""
        import obstore

        with self._explained("read"):
            try:
                return int((await obstore.head_async(self._objects, name))["size"])
            except FileNotFoundError:
                return None

    async def read(self, name: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes of an object from `start` to before `end`, in parts; less when it is shorter.

        Raises FileNotFoundError when there is no such object, FilesError.
        """
        import obstore

        with self._explained("read", missing=FileNotFoundError):
            answer = await obstore.get_async(self._objects, name, options={"range": (start, end)})
            stream = answer.stream(READ_BYTES)
        while True:
            with self._explained("read"):
                part = await anext(stream, None)
            if part is None:
                return
            yield bytes(part)

    async def delete(self, name: str) -> None:
        """Deletes an object, if it is there. Raises FilesError."""
        import obstore

        with self._explained("written"):
            try:
                await obstore.delete_async(self._objects, name)
            except FileNotFoundError:
                return

    async def every(self) -> AsyncIterator[list[Found]]:
        """Every object, some hundred at a time. Raises FilesError."""
        import obstore

        with self._explained("read"):
            stream = obstore.list(self._objects, OBJECTS, chunk_size=LISTED_AT_ONCE)
        while True:
            with self._explained("read"):
                try:
                    some = await anext(stream, None)
                except FileNotFoundError:  # the folder of the first object is yet to be made
                    return
            if some is None:
                return
            yield [Found(each["path"], each["last_modified"]) for each in some]

    @property
    def _objects(self) -> "LocalStore | S3Store":
        if self._opened is None:
            raise FilesError(f"{self.told} is not open. {self._cure}")
        return self._opened

    @contextmanager
    def _explained(self, done: str, missing: type[Exception] | None = None) -> Iterator[None]:
        """Has failures told as FilesError, with a sentence; those of the kind `missing` pass as they are."""
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

        try:
            yield
        except (PermissionDeniedError, UnauthenticatedError):
            raise FilesError(f"{self.told} can't be {done}: access was refused. {self._cure}") from None
        except OSError as error:
            if missing is not None and isinstance(error, missing):
                raise
            raise FilesError(f"{self.told} can't be {done}: {explain(error)}. {self._cure}") from error
        except (BaseError, ValueError) as error:
            reason = str(error).split("\n", 1)[0].strip()[:300]
            raise FilesError(f"{self.told} can't be {done}: {reason}. {self._cure}") from error


class Folder(Place):
    """A folder of this machine. Files are staged in it too, so that they only change their name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        super().__init__(
            None, f"the folder {folder}", "Let this user write to it, or set files.url to another"
        )

    async def open(self) -> None:
        """Makes the folder, private."""
        from obstore.store import LocalStore

        with self._explained("written"):
            await asyncio.to_thread(private_folder, self._folder)
            self._opened = LocalStore(self._folder)

    async def take(self, staged: Path, name: str) -> None:
        """The file is on the disk before it has its name, so that a power failure leaves no empty one."""
        with self._explained("written"):
            await asyncio.to_thread(self._rename, staged, self._folder / name)

    def _rename(self, staged: Path, final: Path) -> None:
        private_folder(final.parent)
        _flush(staged)
        staged.rename(final)
        _flush(final.parent)


class Bucket(Place):
    """A bucket of an S3, and the start of its objects' names ("" or such as `voice/`)."""

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        endpoint: str = "",
        region: str = "",
        access_key: str = "",
        secret_key: str = "",
        environ: Mapping[str, str] | None = None,
    ) -> None:
        from obstore.store import S3Store

        environ = environ or {}
        key = access_key or environ.get("AWS_ACCESS_KEY_ID", "")
        config: S3Config = {
            "bucket": bucket,
            "region": region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1",
        }
        if key:
            config["access_key_id"] = key
            config["secret_access_key"] = secret_key or environ.get("AWS_SECRET_ACCESS_KEY", "")
            if not access_key and (token := environ.get("AWS_SESSION_TOKEN")):
                config["session_token"] = token
        if endpoint:
            config["endpoint"] = endpoint.rstrip("/")
        client: ClientConfig = {
            "allow_http": endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=S3_CONNECT_S),
            "timeout": timedelta(seconds=S3_REQUEST_S),
        }
        retry: RetryConfig = {"max_retries": S3_RETRIES, "retry_timeout": timedelta(seconds=S3_RETRY_S)}
        told = f"the bucket {bucket}" + (f" of {endpoint}" if endpoint else "")
        super().__init__(
            S3Store(
                prefix=prefix.strip("/") or None, config=config, client_options=client, retry_config=retry
            ),
            told,
            "Check files.url, files.s3_endpoint and the keys, and that the service runs",
        )


def explain(error: OSError) -> str:
    """The reason of a failure of a file system, for people."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; free some space, or keep less (files.keep_recordings_days)"
    if error.errno == errno.EROFS:
        return "it is read-only"
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return "a file is where a folder should be"
    return (error.strerror or str(error)).split("\n", 1)[0][:300]


def private_folder(folder: Path) -> None:
    """Makes a folder, and those above it, for one user alone: this one, or where root makes it the owner of
    the folder that it is in. Raises OSError."""
    if folder.is_dir():
        return
    private_folder(folder.parent)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not folder.is_dir():
            raise
    else:
        hand_over(folder, folder.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
