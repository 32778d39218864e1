"""Files that are being received: written to this machine's disk part by part, bounded, and hashed."""

import asyncio
import hashlib
import os
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

from mimi_mqtt.errors import FilesError, FileTooLarge, LimitReached
from mimi_mqtt.files.ownership import hand_over
from mimi_mqtt.files.places import explain, private_folder

MAX_STAGED: Final = 64
"""Files that are being received at once."""
WRITE_BYTES: Final = 256 << 10
"""Bytes that are gathered before they are written: each write is a thread's work."""

_Given = TypeVar("_Given")


class StagedFile:
    """A file that is being received; `sha256` and `size` are of what was written.

    A task that is cancelled can't wait for its thread, which may be making or writing the file just then:
    what `discard` leaves is closed and deleted by that thread.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._hash = hashlib.sha256()
        self._descriptor = -1
        self._lock = threading.Lock()
        self._busy = False
        self._discarded = threading.Event()

    @property
    def sha256(self) -> str:
        """The SHA-256 of the bytes written, in lower-case hex."""
        return self._hash.hexdigest()

    def create(self) -> None:
        """Makes the file, for the folder's owner alone where root makes it, else for this user. Blocks."""
        self._unless_discarded(self._open)

    def write(self, part: bytes) -> None:
        """Adds bytes. Blocks."""
        self._unless_discarded(lambda: self._append(part))

    def discard(self) -> None:
        """Deletes the file, if it is still there: at once, or when the thread is done that uses it."""
        with self._lock:
            self._discarded.set()
            if not self._busy:
                self._delete()

    def _unless_discarded(self, work: Callable[[], None]) -> None:
        with self._lock:
            if self._discarded.is_set():
                return
            self._busy = True
        try:
            work()
        finally:
            with self._lock:
                self._busy = False
                if self._discarded.is_set():
                    self._delete()

    def _delete(self) -> None:
        self.close()
        with suppress(OSError):
            self.path.unlink()

    def _open(self) -> None:
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        hand_over(self._descriptor, self.path.parent)

    def _append(self, part: bytes) -> None:
        self._hash.update(part)
        rest = memoryview(part)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def close(self) -> None:
        """Ends the writing."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


class Staging:
    """The folder of files that are being received. `room` is the number of bytes that all of them may have
    together at present."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._bytes = 0

    @asynccontextmanager
    async def receive(
        self, parts: AsyncIterator[bytes], *, max_bytes: int, room: int
    ) -> AsyncIterator[StagedFile]:
        """The file made of `parts`, whole, until the block ends.

        Raises FileTooLarge beyond `max_bytes`; LimitReached beyond `room`, which bounds all files together,
        and beyond `MAX_STAGED` files; FilesError; and what `parts` raises.
        """
        if self._count >= MAX_STAGED:
            raise LimitReached(f"{MAX_STAGED} files are being received already: try again in a moment", 5)
        staged = StagedFile(self._folder / secrets.token_hex(16))
        self._count += 1
        try:
            await self._fill(staged, parts, max_bytes, room)
            yield staged
        finally:
            self._count -= 1
            self._bytes -= staged.size
            # Not in a thread: a cancelled task could not wait for it, and there is little to do.
            staged.discard()

    async def _fill(self, staged: StagedFile, parts: AsyncIterator[bytes], max_bytes: int, room: int) -> None:
        await self._in_thread(self._create, staged)
        gathered = bytearray()
        async for part in parts:
            if staged.size + len(part) > max_bytes:
                raise FileTooLarge(f"the file is larger than {max_bytes} bytes")
            if self._bytes + len(part) > room:
                raise full()
            staged.size += len(part)
            self._bytes += len(part)
            gathered += part
            if len(gathered) >= WRITE_BYTES:
                await self._in_thread(staged.write, bytes(gathered))
                gathered.clear()
        await self._in_thread(staged.write, bytes(gathered))
        staged.close()

    def _create(self, staged: StagedFile) -> None:
        private_folder(self._folder)
        staged.create()

    async def _in_thread(self, write: Callable[[_Given], None], given: _Given) -> None:
        try:
            await asyncio.to_thread(write, given)
        except OSError as error:
            raise FilesError(f"the folder {self._folder} can't be written: {explain(error)}") from error

    def sweep(self, older_than_s: float) -> int:
        """Deletes files that nothing was written to for so long: a crash left them. Blocks."""
        swept = 0
        if not self._folder.is_dir():
            return swept
        for path in self._folder.iterdir():
            try:
                if path.is_file() and time.time() - path.stat().st_mtime > older_than_s:
                    path.unlink()
                    swept += 1
            except FileNotFoundError:
                continue
        return swept


def full() -> LimitReached:
    """The error for files that the quota has no room for."""
    return LimitReached(
        "the quota of files is used up: delete some, keep recordings and uploads for a shorter time, or "
        "raise files.quota_mb"
    )
