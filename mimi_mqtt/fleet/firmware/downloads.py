"""Downloads of images and assets: who may fetch what, how many at once, and how far each device came.

Progress is kept in memory and written behind the downloads' backs, at most every `WRITE_EVERY_S` for each.
"""

import time
from collections import Counter as Tally
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from prometheus_client import Counter, Gauge
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from mimi_mqtt.errors import Conflict, LimitReached, NotFound
from mimi_mqtt.events import DeliveryProgressed, Publish, unheard, utc_now
from mimi_mqtt.files.blobs import BlobStore, Content
from mimi_mqtt.fleet.firmware.rollout import Progress, State
from mimi_mqtt.store import firmware
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import AssetsDelivery, AssetsFile, RollOutDevice
from mimi_mqtt.store.write_behind import WriteBehind

MAX_AT_ONCE: Final = 64
"""Downloads at once; while there are as many, booting devices are offered nothing."""
MAX_PER_DEVICE: Final = 2
"""Downloads of one device at once: one that goes on may come before the cut one is noticed."""
WRITE_EVERY_S: Final = 10.0
"""Seconds between two writes of the progress of one download."""
TOLD_EVERY_S: Final = 1.0
"""Seconds between two events about one download."""
RESERVED_S: Final = 60.0
"""Seconds for which a place is kept for a device that was offered an image; it begins within a few."""
MAX_FOLLOWED: Final = 4_096
"""Downloads whose progress is remembered, so that one that goes on is counted from where it was cut."""
MAX_WAITING: Final = 10_000
"""Records of progress that wait for the database; further ones are dropped."""
RETRY_AFTER_S: Final = 30.0
"""Seconds after which a client that found too many downloads may try again."""

Kind = Literal["firmware", "assets"]

_records = Counter(
    "mimi_download_records_total", "Records of downloads, by the outcome of storing them.", ["outcome"]
)
_running = Gauge("mimi_downloads_running", "Downloads of firmware and assets that run.")
_ended = Counter("mimi_downloads_total", "Downloads of firmware and assets that ended.", ["kind", "outcome"])

_STOPPED: Final = {
    State.PAUSED: "the roll-out is paused",
    State.HALTED: "the roll-out halted",
    State.ROLLED_BACK: "the roll-out was taken back",
}


@dataclass(frozen=True, slots=True)
class Key:
    """The thing that a device fetches: an image by its roll-out, or assets, by id."""

    kind: Kind
    id: int
    device_id: str


@dataclass(frozen=True, slots=True)
class Sent:
    """The progress of a download: bytes from the file's start on, without gaps."""

    key: Key
    bytes_sent: int
    ended: bool
    at: datetime


class Download:
    """One request of a device for a file. `close` when it is over, whatever came of it."""

    def __init__(self, downloads: "Downloads", key: Key, sha256: str, size: int) -> None:
        self.sha256 = sha256
        self.size = size
        self._downloads = downloads
        self._key = key
        self._at = 0
        self._whole = False
        self._written_at = float("-inf")
        self._told_at = float("-inf")
        self._closed = False

    async def content(self, start: int, end: int) -> Content:
        """The bytes from `start` to before `end`. Raises NotFound, FilesError, StoreError."""
        found = await self._downloads.blobs.open_content(self.sha256, start, end)
        self._at = start
        self._tell(self._downloads.reach(self._key, start, start))
        return found

    def sent(self, size: int) -> None:
        """Takes note that further `size` bytes were handed to the connection."""
        before, self._at = self._at, self._at + size
        reached = self._downloads.reach(self._key, before, self._at)
        self._whole = reached >= self.size
        now = self._downloads.monotonic()
        if now - self._written_at >= WRITE_EVERY_S:
            self._tell(reached)
        elif now - self._told_at >= TOLD_EVERY_S:
            self._told_at = now
            self._downloads.tell(self._key, Progress.DOWNLOADING, reached)

    def close(self, *, complete: bool) -> None:
        """Ends the download; `complete`: all that was asked for was sent. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._downloads.leave(self._key, "complete" if complete else "cut")
        if self._at:
            reached = self._downloads.reach(self._key, self._at, self._at)
            self._tell(reached, ended=complete and self._whole)

    def _tell(self, reached: int, *, ended: bool = False) -> None:
        self._written_at = self._told_at = self._downloads.monotonic()
        self._downloads.record(Sent(self._key, reached, ended, self._downloads.clock()))


class Downloads:
    """The downloads of all devices. `start` and `aclose` the writing of their progress."""

    def __init__(
        self,
        store: Store,
        blobs: BlobStore,
        *,
        clock: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
        publish: Publish = unheard,
    ) -> None:
        self.blobs = blobs
        self.clock = clock
        self.monotonic = monotonic
        self._store = store
        self._publish = publish
        self._of_device: Tally[str] = Tally()
        self._reserved: dict[str, float] = {}
        """Devices that places are kept for, and until when."""
        self._reached: OrderedDict[Key, int] = OrderedDict()
        self._writer = WriteBehind(self._save, "progress of downloads", _records, max_waiting=MAX_WAITING)

    @property
    def running(self) -> int:
        """Downloads that run."""
        return self._of_device.total()

    @property
    def is_full(self) -> bool:
        """True while no further download may begin."""
        return self.running >= MAX_AT_ONCE

    def is_free_for(self, device_id: str) -> bool:
        """True when a device could download now: places that are kept for others are taken."""
        now = self.monotonic()
        self._reserved = {each: until for each, until in self._reserved.items() if until > now}
        return device_id in self._reserved or self.running + len(self._reserved) < MAX_AT_ONCE

    def reserve(self, device_id: str) -> None:
        """Keeps a place for a device that was offered an image."""
        self._reserved[device_id] = self.monotonic() + RESERVED_S

    @property
    def healthy(self) -> bool:
        """True while progress is written."""
        return self._writer.healthy

    async def start(self) -> None:
        """Starts the writer."""
        await self._writer.start()

    async def aclose(self) -> None:
        """Writes what waits; safe to call twice."""
        await self._writer.aclose()

    async def open(self, key: Key) -> Download:
        """A download, which takes a place until it is closed. Raises NotFound, Conflict (the roll-out is
        paused or over), LimitReached, StoreError."""
        if self.is_full or self._of_device[key.device_id] >= MAX_PER_DEVICE:
            raise LimitReached("too many downloads at once: try again later", RETRY_AFTER_S)
        self._reserved.pop(key.device_id, None)
        self._of_device[key.device_id] += 1
        _running.set(self.running)
        try:
            async with self._store.read() as session:
                sha256, size, reached = await _file(session, key)
        except BaseException:
            self.leave(key, "refused")
            raise
        if key not in self._reached:
            self._follow(key, reached)
        return Download(self, key, sha256, size)

    def progress(self, key: Key) -> int | None:
        """Bytes that a device was sent, as far as this process knows."""
        return self._reached.get(key)

    # ── called by downloads ─────────────────────────────────────────────────────────────────────────────

    def leave(self, key: Key, outcome: str) -> None:
        """Frees the place of a download."""
        self._of_device[key.device_id] -= 1
        if self._of_device[key.device_id] <= 0:
            del self._of_device[key.device_id]
        _running.set(self.running)
        _ended.labels(key.kind, outcome).inc()

    def reach(self, key: Key, start: int, end: int) -> int:
        """Takes note of bytes from `start` to before `end`; returns the bytes from 0 on that were sent
        without a gap. What begins at 0 begins anew."""
        reached = self._reached.get(key, 0)
        if start == 0:
            reached = end
        elif start <= reached:
            reached = max(reached, end)
        self._follow(key, reached)
        return reached

    def tell(self, key: Key, state: Progress, bytes_sent: int) -> None:
        """Has observers know how far a device came."""
        self._publish(
            DeliveryProgressed(
                device_id=key.device_id, kind=key.kind, number=key.id, state=state, bytes_sent=bytes_sent
            )
        )

    def record(self, sent: Sent) -> None:
        """Has progress written."""
        self._writer.add(sent)

    def _follow(self, key: Key, reached: int) -> None:
        self._reached[key] = reached
        self._reached.move_to_end(key)
        while len(self._reached) > MAX_FOLLOWED:
            self._reached.popitem(last=False)

    async def _save(self, batch: Sequence[Sent]) -> None:
        latest: dict[Key, Sent] = {}
        for sent in batch:
            known = latest.get(sent.key)
            # What came after the end is a new download; the end must not be lost to it.
            if known is None or not known.ended:
                latest[sent.key] = sent
        states: dict[Key, Progress | None] = {}
        async with self._store.write() as session:
            for key in sorted(latest, key=lambda each: (each.kind, each.id, each.device_id)):
                states[key] = await _write(session, latest[key])
        for key, state in states.items():
            if state is not None:
                self.tell(key, state, latest[key].bytes_sent)


async def _file(session: AsyncSession, key: Key) -> tuple[str, int, int]:
    """Hash and size of what a device may fetch, and the bytes that it has. Raises NotFound, Conflict."""
    if key.kind == "assets":
        assets = await session.get(AssetsFile, key.id)
        delivery = await session.get(AssetsDelivery, (key.id, key.device_id))
        if assets is None or delivery is None:
            raise NotFound("there are no such assets for this device (any more)")
        return assets.sha256, assets.size, delivery.bytes_sent
    pair = await firmware.rollout(session, key.id)
    row = await firmware.device_in(session, key.id, key.device_id)
    if pair is None or row is None:
        raise NotFound("there is no such firmware for this device (any more)")
    rollout, image = pair
    if reason := _STOPPED.get(State(rollout.state)):
        raise Conflict(f"{reason}: ask OTA again")
    return image.sha256, image.size, row.bytes_sent


async def _write(session: AsyncSession, sent: Sent) -> Progress | None:
    """Writes the progress of a device; returns its state then, None when nothing was written."""
    row = await _row(session, sent.key)
    if row is None or row.progress == Progress.DONE:
        return None
    row.bytes_sent = sent.bytes_sent
    row.began_at = row.began_at or sent.at
    if sent.ended:
        row.progress, row.downloaded_at = Progress.DOWNLOADED, sent.at
        if isinstance(row, RollOutDevice):
            row.attempts += 1
    elif row.progress == Progress.OFFERED or row.downloaded_at is not None:
        row.progress, row.downloaded_at = Progress.DOWNLOADING, None
    session.add(row)
    return Progress(row.progress)


async def _row(session: AsyncSession, key: Key) -> RollOutDevice | AssetsDelivery | None:
    if key.kind == "assets":
        deliveries = select(AssetsDelivery).where(
            AssetsDelivery.assets_id == key.id, AssetsDelivery.device_id == key.device_id
        )
        return (await session.scalars(deliveries.with_for_update())).one_or_none()
    takers = select(RollOutDevice).where(
        RollOutDevice.rollout_id == key.id, col(RollOutDevice.device_id) == key.device_id
    )
    return (await session.scalars(takers.with_for_update())).one_or_none()
