"""Cache of phrases that are spoken often: on disk, bounded in bytes and age, and the latest used in memory.

Both forget the longest unused first. One file a phrase: a header with rate, length and checksum, then the
samples. Whatever is wrong with a file or with the disk, the phrase is made anew; nothing here raises.
"""

import asyncio
import logging
import os
import struct
import tempfile
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from prometheus_client import Counter, Gauge

from mimi_mqtt.providers.contract.tts import SpeechChunk
from mimi_mqtt.providers.runtime.lru import Lru

_log = logging.getLogger(__name__)

_HEADER: Final = struct.Struct("<8sIII")  # magic, rate in Hz, samples, CRC-32 of the samples
_MAGIC: Final = b"mimi spk"
_SUFFIX: Final = ".speech"
_UNFINISHED: Final = ".new"
_CHUNK_MS: Final = 200
_LARGEST_SHARE: Final = 8  # one phrase takes at most so much of the whole
_MAX_COUNTED: Final = 4_096  # phrases whose requests are counted
_MEMORY_BYTES: Final = 16 << 20  # some hundred greetings of three seconds at 16 kHz
_TOUCH_S: Final = 3_600.0  # a phrase found in memory is marked as used on disk at most so often

_lookups: Final = Counter("mimi_speech_cache_lookups", "Phrases looked for in the speech cache.", ["result"])
_bytes: Final = Gauge("mimi_speech_cache_bytes", "Size of the speech cache on disk.")


@dataclass(frozen=True, slots=True)
class _Kept:
    size: int
    used: float


class SpeechCache:
    """The phrases in `folder`: at most `max_bytes`, none unused for `max_age_s` of `clock`, the wall clock.

    Files are touched in one thread of its own. `start` before use; until then nothing is found or kept.
    """

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        max_age_s: float = 30 * 86_400.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._clock = clock
        self._thread: ThreadPoolExecutor | None = None
        self._kept: OrderedDict[str, _Kept] = OrderedDict()  # the longest unused first
        self._coming: set[str] = set()  # given to the thread, not written yet
        self._memory = Lru[Sequence[SpeechChunk]](min(max_bytes, _MEMORY_BYTES), _size)
        self._asked = Lru[int](_MAX_COUNTED)
        self._fixed: set[str] = set()

    async def start(self) -> None:
        """Lists the folder, which is made if need be; when the disk refuses, nothing is kept."""
        thread = ThreadPoolExecutor(1, thread_name_prefix="speech-cache")
        self._thread = thread
        await asyncio.get_running_loop().run_in_executor(thread, self._take_stock)

    async def aclose(self) -> None:
        """Ends when everything is written; safe to call twice."""
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.to_thread(thread.shutdown)

    def always(self, texts: Iterable[str]) -> None:
        """Declares fixed phrases: kept when they are said for the first time, whatever their length."""
        self._fixed.update(text.strip() for text in texts)

    def is_fixed(self, text: str) -> bool:
        """True when `text` was given to `always`."""
        return text in self._fixed

    def times_asked(self, key: str) -> int:
        """Number of calls for `key`, this one included; the longest unasked are forgotten."""
        count = (self._asked.get(key) or 0) + 1
        self._asked.keep(key, count)
        return count

    async def get(self, key: str) -> Sequence[SpeechChunk]:
        """The phrase in chunks of 200 ms or as it was made; none when it isn't there."""
        thread = self._thread
        if thread is not None and (remembered := self._memory.get(key)):
            self._mark_used(thread, key)
            _lookups.labels("hit").inc()
            return remembered
        if thread is None or not (key in self._kept or key in self._coming):
            _lookups.labels("miss").inc()
            return ()
        chunks = await asyncio.get_running_loop().run_in_executor(thread, self._read, key)
        _lookups.labels("hit" if chunks else "broken").inc()
        if chunks:
            self._memory.keep(key, chunks)
        return chunks

    def put(self, key: str, chunks: Sequence[SpeechChunk]) -> None:
        """Keeps a whole phrase, on disk in the background; one that is too long for its share is not kept."""
        size = _HEADER.size + _size(chunks)
        if self._thread is not None and chunks and size <= self._max_bytes // _LARGEST_SHARE:
            self._coming.add(key)
            self._thread.submit(self._write, key, tuple(chunks))
            self._memory.keep(key, tuple(chunks))

    def _mark_used(self, thread: ThreadPoolExecutor, key: str) -> None:
        kept = self._kept.get(key)
        if kept is not None and self._clock() - kept.used > _TOUCH_S:
            thread.submit(self._touch, key)

    # ── in the thread ────────────────────────────────────────────────────────────────────────────────────

    def _take_stock(self) -> None:
        found: list[tuple[float, str, int]] = []
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for file in self._folder.iterdir():
                if file.suffix == _UNFINISHED:
                    file.unlink(missing_ok=True)
                elif file.suffix == _SUFFIX:
                    status = file.stat()
                    found.append((status.st_mtime, file.stem, status.st_size))
        except OSError as error:
            _log.warning("the speech cache can't use %s: %s", self._folder, error.strerror)
        self._kept.update((key, _Kept(size, used)) for used, key, size in sorted(found))
        self._make_room()

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}{_SUFFIX}"

    def _touch(self, key: str) -> None:
        kept, now = self._kept.get(key), self._clock()
        if kept is None:
            return
        try:
            os.utime(self._path(key), (now, now))
        except OSError:
            self._forget(key)  # it is still in memory, and made anew after a restart
        else:
            self._kept[key] = _Kept(kept.size, now)
            self._kept.move_to_end(key)

    def _read(self, key: str) -> Sequence[SpeechChunk]:
        path, now = self._path(key), self._clock()
        try:
            content = path.read_bytes()
            os.utime(path, (now, now))
        except OSError:
            self._forget(key)
            return ()
        chunks = _unpacked(content)
        if not chunks:
            _log.warning("the speech cache drops a broken file: %s", path)
            self._forget(key)
        else:
            self._kept[key] = _Kept(len(content), now)
            self._kept.move_to_end(key)
        return chunks

    def _write(self, key: str, chunks: Sequence[SpeechChunk]) -> None:
        content = _packed(chunks)
        try:
            handle, name = tempfile.mkstemp(_UNFINISHED, dir=self._folder)
            unfinished = Path(name)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                unfinished.replace(self._path(key))
            finally:
                unfinished.unlink(missing_ok=True)
            now = self._clock()
            os.utime(self._path(key), (now, now))
            self._kept[key] = _Kept(len(content), now)
            self._kept.move_to_end(key)
        except OSError as error:
            _log.warning("the speech cache can't write to %s: %s", self._folder, error.strerror)
        self._coming.discard(key)
        self._make_room()

    def _make_room(self) -> None:
        size = sum(kept.size for kept in self._kept.values())
        oldest = self._clock() - self._max_age_s
        while self._kept:
            key, kept = next(iter(self._kept.items()))
            if size <= self._max_bytes and kept.used >= oldest:
                break
            size -= kept.size
            self._forget(key)
        _bytes.set(size)

    def _forget(self, key: str) -> None:
        self._kept.pop(key, None)
        try:
            self._path(key).unlink(missing_ok=True)
        except OSError as error:
            _log.warning("the speech cache can't delete from %s: %s", self._folder, error.strerror)


def _size(chunks: Sequence[SpeechChunk]) -> int:
    return sum(2 * chunk.pcm.size for chunk in chunks)


def _packed(chunks: Sequence[SpeechChunk]) -> bytes:
    samples = np.concatenate([chunk.pcm for chunk in chunks]).astype("<i2")
    body = samples.tobytes()
    return _HEADER.pack(_MAGIC, chunks[0].sample_rate, samples.size, zlib.crc32(body)) + body


def _unpacked(content: bytes) -> Sequence[SpeechChunk]:
    """The chunks of a file; none when it is not whole."""
    if len(content) < _HEADER.size:
        return ()
    magic, rate, samples, checksum = _HEADER.unpack_from(content)
    body = content[_HEADER.size :]
    if magic != _MAGIC or len(body) != 2 * samples or zlib.crc32(body) != checksum or not rate:
        return ()
    pcm = np.frombuffer(body, "<i2").astype(np.int16, copy=False)
    step = max(1, rate * _CHUNK_MS // 1000)
    return [SpeechChunk(pcm[at : at + step], rate) for at in range(0, pcm.size, step)]
