"""Tells devices what is due: one supervised loop, which sleeps until the next record is due.

A record is marked before it is told and settled afterwards (`schedule`). What is marked and not settled when
the process ends is told late by the next one: a reminder that is said twice after a crash is a nuisance, one
that is never said is a failure. While this process lives nothing is told twice.

The database is looked at every `POLL_S`, as other processes (the command line) change it; times are compared
with the system's clock each time, so a clock that is set is noticed as soon. A running timer goes by elapsed
time: when the clock is set, the timers set by this process are moved with it.
"""

import asyncio
import functools
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from prometheus_client import Counter

from mimi_mqtt.errors import ReminderError, StoreError
from mimi_mqtt.events import Publish, ReminderChanged, unheard
from mimi_mqtt.store.reminders import ReminderRecord
from mimi_mqtt.supervision import SupervisedLoop
from mimi_mqtt.tools.reminders.ports import Announcer, LanguageOf, ReminderRows, Told
from mimi_mqtt.tools.reminders.schedule import is_late, marked, settled, zone_of
from mimi_mqtt.tools.reminders.service import MAX_TIMER_S, utc_now
from mimi_mqtt.tools.reminders.texts import sentence

_log = logging.getLogger(__name__)

POLL_S: Final = 2.0
"""Longest time after which a change by another process, or of the system's clock, is noticed, in seconds."""
MAX_TELLING: Final = 256
"""Devices that are being told at once; the others that are due wait."""
TELL_TIMEOUT_S: Final = 120.0
"""Longest time for telling one device one thing, in seconds."""
RETRY_S: Final = 30.0
"""Seconds after which what could not be told is tried again."""
SWEEP_S: Final = 60.0
"""Seconds between two looks for what is no longer worth telling."""
ENDED_KEPT: Final = timedelta(days=7)
"""The time for which something that has ended is still listed."""
CLOCK_SET_S: Final = 1.0
"""A difference between clocks from which on the system's is taken to have been set, in seconds."""

_ATTEMPTS: Final = 5
_AFTER_S: Final = 0.001
"""A loop's timer may be so much early."""

_outcomes = Counter("mimi_reminders_total", "Reminders that were due, by what became of them.", ["outcome"])


def steady_seconds() -> float:
    """Seconds of a clock that nobody sets and that goes on while the machine sleeps."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class _Timer(NamedTuple):
    """A timer: the loop time by which it surely has ended, and the clock's offset for which its time is
    right."""

    until: float
    offset: float


class ReminderScheduler:
    """Tells what is due in `rows` by `announce`, from `start` to `aclose`, in the language of `language_of`.

    `now` is the system's clock, `steady` one that nobody sets.
    """

    def __init__(
        self,
        rows: ReminderRows,
        announce: Announcer,
        language_of: LanguageOf = lambda _: "en",
        *,
        now: Callable[[], datetime] = lambda: utc_now(),
        steady: Callable[[], float] = steady_seconds,
        publish: Publish = unheard,
    ) -> None:
        self._rows = rows
        self._publish = publish
        self._announce = announce
        self._language_of = language_of
        self._now = now
        self._steady = steady
        self._loop = SupervisedLoop("reminders", self._round)
        self._wake = asyncio.Event()
        self._next_due: datetime | None = None
        self._waiting: set[str] = set()
        """Devices that something is still to be told."""
        self._returned: set[str] = set()
        """Those of `_waiting` that have connected."""
        self._gone: set[str] = set()
        """Devices that may no longer connect."""
        self._retries: dict[str, float] = {}
        """Loop times at which devices are to be told again."""
        self._queues: dict[str, deque[ReminderRecord]] = {}
        self._tellers: dict[str, asyncio.Task[None]] = {}
        self._unsettled: list[tuple[ReminderRecord, datetime]] = []
        """Records that were told, and when; they are not settled in the database yet."""
        self._timers: dict[str, _Timer] = {}
        """Timers set by this process."""
        self._offset: float | None = None
        self._sweep_at = 0.0
        self._resumed = False
        """True once what an earlier process left is known."""

    @property
    def healthy(self) -> bool:
        """True while what is due is being told."""
        return self._loop.healthy

    @property
    def telling(self) -> int:
        """Devices that are being told something now."""
        return len(self._tellers)

    def start(self) -> None:
        """Starts to tell, first what was due before."""
        self._wake.set()
        self._loop.start()

    async def aclose(self) -> None:
        """Ends; what is being told is told again by the next process. Safe to call twice."""
        await self._loop.aclose()
        tellers = list(self._tellers.values())
        for task in tellers:
            task.cancel()
        if tellers:
            await asyncio.wait(tellers)
        if self._unsettled:
            try:
                await self._settle()
            except StoreError as error:
                _log.warning("reminders that were told will be told again: %s", error)

    def changed(self) -> None:
        """Something may be due sooner than before."""
        self._wake.set()

    def timer_set(self, reminder_id: str) -> None:
        """A timer was set, which goes by elapsed time while this process lives."""
        until = asyncio.get_running_loop().time() + MAX_TIMER_S
        self._timers[reminder_id] = _Timer(until, self._clock_offset())

    def timer_gone(self, reminder_id: str) -> None:
        """A timer was cancelled."""
        self._timers.pop(reminder_id, None)

    def device_connected(self, device_id: str) -> None:
        """Tells a device that came back what it missed."""
        if device_id in self._waiting:
            self._returned.add(device_id)
            self._wake.set()

    def drop(self, device_id: str) -> None:
        """Deletes everything of a device that may no longer connect."""
        self._gone.add(device_id)
        self._wake.set()

    # ── the loop ─────────────────────────────────────────────────────────────────────────────────────────

    async def _round(self) -> None:
        await self._sleep()
        self._wake.clear()
        await self._follow_clock()
        if not self._resumed:
            self._waiting |= {record.device_id for record in await self._rows.pending()}
            self._returned |= self._waiting
            self._resumed = True
        await self._settle()
        await self._forget_devices()
        await self._tell_again()
        self._next_due = await self._rows.next_due()
        if self._next_due is not None and self._next_due <= self._now():
            await self._tell_due()
        await self._sweep()

    async def _sleep(self) -> None:
        seconds = POLL_S
        if self._next_due is not None and len(self._tellers) < MAX_TELLING:
            seconds = min(seconds, max(0.0, (self._next_due - self._now()).total_seconds() + _AFTER_S))
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _follow_clock(self) -> None:
        offset = self._clock_offset()
        before = self._offset
        if before is not None and abs(offset - before) >= CLOCK_SET_S:
            _log.info("the system's clock was set by %+.0f s", offset - before)
        # By what it was set since each timer was: one may have been set after that, and before this round.
        steps: dict[float, list[str]] = {}
        for reminder_id, timer in self._timers.items():
            step = round(offset - timer.offset, 1)
            steps.setdefault(step if abs(step) >= CLOCK_SET_S else 0.0, []).append(reminder_id)
        for step, ids in steps.items():
            if step:
                await self._rows.shift(ids, timedelta(seconds=step))
            for reminder_id in self._timers.keys() & ids:
                self._timers[reminder_id] = self._timers[reminder_id]._replace(offset=offset)
        self._offset = offset

    def _clock_offset(self) -> float:
        """Seconds by which the system's clock is before the steady one."""
        return self._now().timestamp() - self._steady()

    async def _forget_devices(self) -> None:
        for device_id in [*self._gone]:
            self._waiting.discard(device_id)
            self._returned.discard(device_id)
            self._retries.pop(device_id, None)
            if (task := self._tellers.get(device_id)) is not None:
                task.cancel()
            await self._rows.delete_of_device(device_id)
            self._gone.discard(device_id)

    async def _tell_again(self) -> None:
        """Tells devices that came back, and those that could not be told, what is pending."""
        now = asyncio.get_running_loop().time()
        again = self._returned | {device_id for device_id, at in self._retries.items() if at <= now}
        for device_id in sorted(again - self._tellers.keys()):
            if len(self._tellers) >= MAX_TELLING:
                return
            records = await self._rows.list(device_id)
            self._returned.discard(device_id)
            self._retries.pop(device_id, None)
            self._waiting.discard(device_id)
            self._tell([record for record in records if self._is_pending(record)])

    async def _tell_due(self) -> None:
        """Marks and tells what is due, as long as not too many devices are being told."""
        free, now = MAX_TELLING - len(self._tellers), self._now()
        due = await self._rows.due(now, free) if free > 0 else ()
        if not due:
            return
        self._wake.set()  # what was told is settled before more is marked
        # In a thread: the next occurrence of a strange rule may take a while to find.
        changed = await asyncio.to_thread(lambda: [self._marked(record, now) for record in due])
        for record in await self._rows.replace(changed):
            self._timers.pop(record.id, None)
            if record.pending_at is None:
                self._dropped(record)
            else:
                self._happened(record, "due")
                self._tell([record])

    def _is_pending(self, record: ReminderRecord) -> bool:
        """False when there is nothing to tell, or it was told a moment ago."""
        told = {(other.id, other.pending_at) for other, _ in self._unsettled}
        return record.pending_at is not None and (record.id, record.pending_at) not in told

    def _marked(self, record: ReminderRecord, now: datetime) -> ReminderRecord:
        try:
            return marked(record, now)
        except ReminderError as error:  # a rule from another version of this program
            _log.warning("the reminder %s will not repeat: %s", record.id, error)
            return marked(replace(record, rule=""), now)

    async def _sweep(self) -> None:
        """Drops what has not been told within its time, and deletes what ended long ago."""
        loop_now, now = asyncio.get_running_loop().time(), self._now()
        if loop_now < self._sweep_at:
            return
        self._sweep_at = loop_now + SWEEP_S
        self._timers = {key: timer for key, timer in self._timers.items() if timer.until > loop_now}
        expired = [
            settled(record, None, now)
            for record in await self._rows.pending(expired_by=now)
            if record.device_id not in self._tellers and self._is_pending(record)
        ]
        for record in await self._rows.replace(expired):
            self._dropped(record)
        pending = {record.device_id for record in await self._rows.pending()}
        self._waiting &= pending | self._returned | self._tellers.keys()
        await self._rows.delete_ended(now - ENDED_KEPT)

    def _happened(self, record: ReminderRecord, change: str) -> None:
        self._publish(ReminderChanged(device_id=record.device_id, reminder_id=record.id, change=change))

    def _dropped(self, record: ReminderRecord) -> None:
        self._happened(record, "dropped")
        _outcomes.labels("dropped").inc()
        _log.info(
            "the %s %s was due too long ago and is dropped",
            record.kind,
            record.id,
            extra={"device": record.device_id},
        )

    # ── telling ──────────────────────────────────────────────────────────────────────────────────────────

    def _tell(self, records: Sequence[ReminderRecord]) -> None:
        """Has a device told `records` one after another, after what it is being told."""
        for record in records:
            device_id = record.device_id
            self._waiting.add(device_id)  # from before it is told: it may connect at any moment
            self._queues.setdefault(device_id, deque()).append(record)
            if device_id not in self._tellers:
                task = asyncio.get_running_loop().create_task(self._tell_device(device_id))
                self._tellers[device_id] = task
                task.add_done_callback(functools.partial(self._ended, device_id))

    def _ended(self, device_id: str, task: "asyncio.Task[None]") -> None:
        """Forgets a teller; also one that was cancelled before it began."""
        if self._tellers.get(device_id) is task:
            del self._tellers[device_id]
            self._queues.pop(device_id, None)
        self._wake.set()

    async def _tell_device(self, device_id: str) -> None:
        queue, left, waited = self._queues[device_id], False, False
        while queue:
            record = queue.popleft()
            latest = await self._latest(record) if waited else record
            waited = True
            if latest is None:
                continue
            match await self._tell_one(latest):
                case "told":
                    _outcomes.labels("told").inc()
                    self._unsettled.append((latest, self._now()))
                case "away":
                    left = True
                    _log.info("a %s is due and its device is away", record.kind, extra={"device": device_id})
                case "unknown":
                    self.drop(device_id)
                    break
                case _:
                    left = True
                    self._retries[device_id] = asyncio.get_running_loop().time() + RETRY_S
        # Without a pause since the queue was seen to be empty: nothing is put into a queue that is not read.
        self._tellers.pop(device_id, None)
        self._queues.pop(device_id, None)
        if not left:
            self._waiting.discard(device_id)

    async def _latest(self, record: ReminderRecord) -> ReminderRecord | None:
        """The record as it is now; None when it is not to be told any more, as after a cancellation."""
        try:
            latest = await self._rows.get(record.id)
        except StoreError:
            return record  # told for nothing is better than not told
        return latest if latest is not None and latest.pending_at == record.pending_at else None

    async def _tell_one(self, record: ReminderRecord) -> Told:
        now = self._now()
        due, until = record.pending_at, record.pending_until
        if due is None or until is None:
            return "told"
        left_s = (until - now).total_seconds()
        if left_s <= 0:
            return "away"  # the next sweep drops it
        late_s = round((now - due).total_seconds()) if is_late(due, now) else None
        text = sentence(record, self._language_of(record.device_id), _wall_time(record, due), late_s)
        try:
            async with asyncio.timeout(TELL_TIMEOUT_S):
                return await self._announce(record.device_id, text, left_s)
        except TimeoutError:
            return "failed"
        except Exception:  # noqa: BLE001 - the border of telling: the other devices are to be told
            _log.exception("a %s could not be told", record.kind, extra={"device": record.device_id})
            return "failed"

    async def _settle(self) -> None:
        """Records in the database what was told."""
        while self._unsettled:
            some = self._unsettled[:MAX_TELLING]
            told = [settled(record, told_at, self._now()) for record, told_at in some]
            written = {record.id for record in await self._rows.replace(told)}
            for record, told_at in some:
                if record.id not in written:
                    await self._settle_changed(record, told_at)
                self._happened(record, "told")
            del self._unsettled[: len(some)]

    async def _settle_changed(self, record: ReminderRecord, told_at: datetime) -> None:
        """Settles a record that somebody has changed while it was told."""
        for _ in range(_ATTEMPTS):
            latest = await self._rows.get(record.id)
            if latest is None or latest.pending_at != record.pending_at:
                return
            if await self._rows.replace([settled(latest, told_at, self._now())]):
                return


def _wall_time(record: ReminderRecord, due: datetime) -> datetime | None:
    """The time on the wall at which a record was due; None for a timer."""
    if not record.zone:
        return None
    try:
        return due.astimezone(zone_of(record.zone))
    except ReminderError:
        return due.astimezone(UTC)
