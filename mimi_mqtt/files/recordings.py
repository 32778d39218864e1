"""Recordings of turns: the Opus packets of one side as they came, in an Ogg file each."""

import logging
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from mimi_mqtt.audio.opus import packet_duration_samples
from mimi_mqtt.errors import AudioError, FilesError, LimitReached, NotFound
from mimi_mqtt.files.blobs import BlobStore
from mimi_mqtt.files.uploads import Seer
from mimi_mqtt.store import files
from mimi_mqtt.store.engine import StoreConflict
from mimi_mqtt.store.tables import StoredRecording
from mimi_mqtt.store.write_behind import WriteBehind
from mimi_mqtt.wire.ogg import GRANULE_RATE, OggOpusWriter, OpusPacket

_log = logging.getLogger(__name__)

Side: TypeAlias = Literal["user", "assistant"]
"""The speaker in a recording."""

MAX_WAITING: Final = 64
"""Recordings that wait to be stored; further ones are dropped."""
MAX_SIDE_BYTES: Final = 524_288
"""Opus of one side of a turn, in bytes: some three minutes of speech. Of the user's side the end is kept, of
the assistant's the beginning."""
_MAX_FILE_BYTES: Final = 2 * MAX_SIDE_BYTES
_PACKETS_A_PAGE: Final = 16
_SHORTEST, _LONGEST = 120, 5_760  # samples of a packet at 48 kHz (RFC 6716)

_stored = Counter("mimi_recordings_total", "Recordings of turns, by what became of them.", ["outcome"])


@dataclass(frozen=True, slots=True)
class Recorded:
    """One side of a turn that was recorded; `rate` in Hz, `packets` are Opus as they came."""

    session_id: str
    turn: int
    side: Side
    device_id: str
    owner_id: str
    group_id: str
    rate: int
    packets: Sequence[bytes] = field(repr=False)
    created_at: datetime


class Recordings:
    """The recordings in `blobs`, kept for `keep_days`. `await start()`, then `await aclose()`."""

    def __init__(self, blobs: BlobStore, *, keep_days: int) -> None:
        self.blobs = blobs
        self._keep = timedelta(days=keep_days)
        self._writer = WriteBehind(self._store_all, "recordings of turns", _stored, max_waiting=MAX_WAITING)

    @property
    def healthy(self) -> bool:
        """True while recordings are stored."""
        return self._writer.healthy

    async def start(self) -> None:
        """Starts to store what is added."""
        await self._writer.start()

    async def aclose(self) -> None:
        """Stores what waits, bounded in time."""
        await self._writer.aclose()

    def add(self, recorded: Recorded) -> None:
        """Queues a recording; never blocks, never raises."""
        if recorded.packets:
            self._writer.add(recorded)

    async def get(self, session_id: str, turn: int, side: Side, seer: Seer) -> StoredRecording:
        """A recording that the seer sees. Raises NotFound, StoreError."""
        mine = select(StoredRecording).where(
            col(StoredRecording.session_id) == session_id,
            col(StoredRecording.turn) == turn,
            col(StoredRecording.side) == side,
        )
        async with self.blobs.store.read() as session:
            row = (await session.scalars(mine)).one_or_none()
        if row is None or not seer.sees(row.owner_id, row.group_id):
            raise NotFound("there is no recording of this turn")
        return row

    async def of_conversation(self, session_id: str, seer: Seer) -> Sequence[StoredRecording]:
        """The recordings of a conversation that the seer sees, in order of the turns. Raises StoreError."""
        async with self.blobs.store.read() as session:
            rows = await files.recordings_of(session, session_id)
        return [row for row in rows if seer.sees(row.owner_id, row.group_id)]

    async def expire(self, session: AsyncSession, now: datetime) -> None:
        """Deletes recordings that are too old, or whose conversation was deleted."""
        await files.expire_recordings(session, now, self._keep)

    async def _store_all(self, batch: Sequence[Recorded]) -> None:
        """Stores recordings, each for itself. Raises the first failure, when all were tried."""
        failure: Exception | None = None
        for recorded in batch:
            try:
                await self._store(recorded)
            except (FilesError, LimitReached) as error:
                failure = failure or error
            except StoreConflict:
                _log.debug("turn %d of %s is recorded already", recorded.turn, recorded.session_id)
        if failure is not None:
            raise failure

    async def _store(self, recorded: Recorded) -> None:
        samples = 0

        async def pages() -> AsyncIterator[bytes]:
            nonlocal samples
            writer = OggOpusWriter(secrets.randbits(32), input_rate=recorded.rate)
            yield writer.begin()
            packets = list(_playable(recorded.packets))
            for start in range(0, len(packets), _PACKETS_A_PAGE):
                yield writer.write(packets[start : start + _PACKETS_A_PAGE])
            samples = sum(packet.samples for packet in packets)
            yield writer.end()

        blob = await self.blobs.put(pages(), max_bytes=_MAX_FILE_BYTES)
        row = StoredRecording(
            session_id=recorded.session_id,
            turn=recorded.turn,
            side=recorded.side,
            device_id=recorded.device_id,
            owner_id=recorded.owner_id,
            group_id=recorded.group_id,
            sha256=blob.sha256,
            bytes=blob.size,
            duration_ms=samples * 1000 // GRANULE_RATE,
            created_at=recorded.created_at,
        )
        async with self.blobs.store.write() as session:
            session.add(row)


def _playable(packets: Iterable[bytes]) -> Iterable[OpusPacket]:
    """The packets that an Ogg stream can hold, with their lengths."""
    for packet in packets:
        try:
            samples = packet_duration_samples(packet, GRANULE_RATE) if packet else 0
        except AudioError:
            continue
        if _SHORTEST <= samples <= _LONGEST:
            yield OpusPacket(packet, samples)
