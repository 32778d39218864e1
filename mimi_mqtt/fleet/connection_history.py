"""History of devices' connections and sessions: when each was connected, talked or was away.

It follows from domain events, is written behind, and outlives the server: an interval that was not ended when
the server died ends with the last sign of life of that run.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from prometheus_client import Counter

from mimi_mqtt.events import (
    DeviceConnected,
    DeviceEvent,
    DeviceGone,
    EventBus,
    SessionEnded,
    SessionOpened,
    Subscription,
)
from mimi_mqtt.store import connections, tables
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import DeviceInterval, ServerRun
from mimi_mqtt.store.values import bounded
from mimi_mqtt.store.write_behind import WriteBehind
from mimi_mqtt.supervision import SupervisedLoop

KEPT_FOR: Final = timedelta(days=7)
ALIVE_EVERY_S: Final = 60.0
"""Seconds between two signs of life of the server."""
MAX_PER_HOUR: Final = 60
"""Intervals of one device in an hour: of one that comes and goes more often, the last one goes on."""
MAX_READ: Final = 2_000
"""Intervals of one device that are read at once."""
MAX_WAITING: Final = 50_000
"""Changes that wait for the database: two for each of ten thousand devices that all come back, and more."""

_PRUNED_EVERY: Final = timedelta(hours=1)
_INTERVALS = Counter(
    "mimi_fleet_intervals_total", "Changes of the history of connections, by outcome.", ["outcome"]
)

Kind = Literal["connection", "session"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A time in which a device was connected (`connection`) or had a session (`session`). `ended_at` None: it
    goes on. `transport` is that of the control connection, or of the audio; `reason` is why it ended."""

    number: int
    device_id: str
    kind: Kind
    transport: str
    began_at: datetime
    ended_at: datetime | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class History:
    """The intervals of one device since a moment, the oldest first; `server_off` are the times in which no
    server ran that could know."""

    since: datetime
    until: datetime
    intervals: Sequence[Interval]
    server_off: Sequence[tuple[datetime, datetime]]


class ConnectionHistory:
    """Notes what the events on `bus` tell of connections. `start` on the running loop, then `aclose`."""

    def __init__(
        self, store: Store, bus: EventBus, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._store = store
        self._bus = bus
        self._clock = clock
        self._run_id = 0
        self._number = 0
        self._open: dict[tuple[str, Kind], Interval] = {}
        self._sessions: dict[str, str] = {}
        self._hour = datetime.min.replace(tzinfo=UTC)
        self._counts: dict[str, int] = {}
        self._last: dict[tuple[str, Kind], Interval] = {}
        self._pruned_at: datetime | None = None
        self._subscription: Subscription | None = None
        self._changes = WriteBehind(self._save, "history of connections", _INTERVALS, max_waiting=MAX_WAITING)
        self._alive = SupervisedLoop("signs of life", self._tell_alive, every_s=ALIVE_EVERY_S)

    @property
    def healthy(self) -> bool:
        """True while the history is written."""
        return self._changes.healthy and self._alive.healthy

    async def start(self) -> None:
        """Notes what happens from now on. Raises StoreError."""
        async with self._store.write() as session:
            self._run_id = await connections.begin_run(session, self._clock())
        await self._changes.start()
        self._alive.start()
        self._subscription = self._bus.subscribe(
            self._happened, DeviceConnected, DeviceGone, SessionOpened, SessionEnded,
            name="history of connections",
        )  # fmt: skip

    async def aclose(self) -> None:
        """Writes what waits, bounded to a few seconds, and the last sign of life; safe to call twice."""
        subscription, self._subscription = self._subscription, None
        if subscription is None:
            return
        subscription.close()
        await self._changes.aclose()
        await self._alive.aclose()
        async with self._store.write(within_s=2) as session:
            await connections.alive(session, self._run_id, self._clock())

    async def of_device(self, device_id: str, hours: float, owned_since: datetime | None = None) -> History:
        """The last `hours` of a device, without what began before `owned_since`: it is its former owner's,
        whose last connection is ended, and written, after the device has moved. Raises StoreError."""
        now = self._clock()
        since = now - timedelta(hours=hours)
        async with self._store.read() as session:
            rows = await connections.of_device(session, device_id, since, MAX_READ)
            runs = await connections.runs(session, since, sorted({row.run_id for row in rows}))
        ends = {run.id: run.alive_at for run in runs if run.id != self._run_id}
        found = [
            each
            for row in rows
            if (each := self._read(row, ends, now)).ended_at is None or each.ended_at > since
        ]
        known = {row.number for row in rows if row.run_id == self._run_id}
        # Those that wait to be written.
        found += [each for each in self._open_of(device_id) if each.number not in known]
        found = [each for each in found if owned_since is None or each.began_at >= owned_since]
        found.sort(key=lambda each: (each.began_at, each.number))
        return History(since, now, found, _gaps(runs, self._run_id, since, now))

    def _open_of(self, device_id: str) -> list[Interval]:
        keys: tuple[tuple[str, Kind], ...] = ((device_id, "connection"), (device_id, "session"))
        return [self._open[key] for key in keys if key in self._open]

    def _read(self, row: DeviceInterval, ends: dict[int | None, datetime], now: datetime) -> Interval:
        kind: Kind = "session" if row.kind == "session" else "connection"
        ended_at = row.ended_at
        if ended_at is None and row.run_id != self._run_id:
            ended_at = max(row.began_at, ends.get(row.run_id, row.began_at))
        elif ended_at is None:
            present = self._open.get((row.device_id, kind))
            if present is None or present.number != row.number:
                ended_at = now  # its end waits to be written
        return Interval(row.number, row.device_id, kind, row.transport, row.began_at, ended_at, row.reason)

    # ── what happens ─────────────────────────────────────────────────────────────────────────────────────

    def _happened(self, event: DeviceEvent) -> None:
        match event:
            case DeviceConnected():
                self._begin(event, "connection", event.transport)
            case DeviceGone():
                self._end(event, "connection", event.reason)
            case SessionOpened():
                self._sessions[event.device_id] = event.session_id
                self._begin(event, "session", event.transport)
            case SessionEnded() if self._sessions.get(event.device_id) == event.session_id:
                del self._sessions[event.device_id]
                self._end(event, "session", event.reason)

    def _begin(self, event: DeviceEvent, kind: Kind, transport: str) -> None:
        key = event.device_id, kind
        self._end(event, kind, "replaced")
        hour = event.at.replace(minute=0, second=0, microsecond=0)
        if hour != self._hour:
            self._hour = hour
            self._counts.clear()
            self._last.clear()
        count = self._counts.get(event.device_id, 0)
        last = self._last.get(key)
        if count >= MAX_PER_HOUR and last is not None:
            present = replace(last, ended_at=None, reason="")
        else:
            self._number += 1
            transport = bounded(transport, tables.TRANSPORT_CHARS)
            present = Interval(self._number, event.device_id, kind, transport, event.at)
            self._counts[event.device_id] = count + 1
        self._open[key] = present
        self._changes.add(present)

    def _end(self, event: DeviceEvent, kind: Kind, reason: str) -> None:
        present = self._open.pop((event.device_id, kind), None)
        if present is None:
            return
        over = replace(present, ended_at=event.at, reason=bounded(reason, tables.END_CHARS))
        self._last[event.device_id, kind] = over
        self._changes.add(over)

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────

    async def _save(self, batch: Sequence[Interval]) -> None:
        async with self._store.write() as session:
            await connections.save(session, self._run_id, [asdict(each) for each in batch])

    async def _tell_alive(self) -> None:
        now = self._clock()
        async with self._store.write() as session:
            await connections.alive(session, self._run_id, now)
            if self._pruned_at is None or now - self._pruned_at >= _PRUNED_EVERY:
                await connections.prune(session, now - KEPT_FOR)
                self._pruned_at = now


def _gaps(
    runs: Sequence[ServerRun], present: int, since: datetime, now: datetime
) -> list[tuple[datetime, datetime]]:
    """The times since a moment in which no server ran; nothing is told of before the first known run."""
    gaps: list[tuple[datetime, datetime]] = []
    reached: datetime | None = None
    for run in runs:
        if reached is not None and run.started_at > max(reached, since):
            gaps.append((max(reached, since), run.started_at))
        end = now if run.id == present else run.alive_at
        reached = end if reached is None else max(reached, end)
    return gaps
