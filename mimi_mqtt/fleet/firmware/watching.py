"""The watch over roll-outs: what came of each device, which roll-outs halt by themselves, and which are
over."""

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from mimi_mqtt.errors import StoreError
from mimi_mqtt.events import DeliveryProgressed, EventBus, RollOutChanged, RollOutHalted, utc_now
from mimi_mqtt.fleet.firmware.offers import Offers
from mimi_mqtt.fleet.firmware.rollout import (
    GOING,
    OPEN,
    Kind,
    Outcome,
    Progress,
    RollOutFacts,
    State,
    Taker,
    Tally,
    outcome,
    why_halt,
)
from mimi_mqtt.fleet.firmware.rows import rollout_facts
from mimi_mqtt.store import audit, firmware, tables
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.firmware import OpenDevice
from mimi_mqtt.store.tables import Device
from mimi_mqtt.store.values import bounded
from mimi_mqtt.supervision import SupervisedLoop

EVERY_S: Final = 2.0
"""Seconds between two readings of what is open."""
JUDGE_EVERY_S: Final = 5.0
"""Seconds between two looks at what came of devices."""
CLOCK_STEP_S: Final = 30.0
"""A clock that moved by so many seconds against the time that passed was set."""
JUDGED_FOR: Final = timedelta(days=2)
"""Time in which devices of a roll-out that is over are still followed."""
AT_ONCE: Final = 500
"""Devices of one transaction."""

_log = logging.getLogger(__name__)


class RollOutWatch:
    """Keeps `offers` up to date, and judges what came of devices. `connects` is true for a device that is to
    connect as soon as it started."""

    def __init__(
        self,
        store: Store,
        offers: Offers,
        events: EventBus,
        connects: Callable[[Device], bool],
        *,
        clock: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._offers = offers
        self._events = events
        self._connects = connects
        self._clock = clock
        self._monotonic = monotonic
        self._watched_since = clock()
        self._last = (self._watched_since, monotonic())
        self._judged_at = float("-inf")
        self._halted: dict[int, str] = {}
        self._loop = SupervisedLoop("roll-outs", self._round, every_s=EVERY_S)

    @property
    def healthy(self) -> bool:
        """True while the loop works."""
        return self._loop.healthy

    @property
    def halted(self) -> dict[int, str]:
        """Roll-outs that halted by themselves, and why: problems that wait for a person."""
        return dict(self._halted)

    async def start(self) -> None:
        """Reads what is open, and starts the watch. Raises StoreError."""
        await self._offers.refresh()
        self._loop.start()

    async def aclose(self) -> None:
        """Ends the watch; safe to call twice."""
        await self._loop.aclose()

    async def _round(self) -> None:
        self._watch_clock()
        await self._offers.refresh()
        if self._monotonic() - self._judged_at >= JUDGE_EVERY_S:
            await self.judge()
            self._judged_at = self._monotonic()

    def _watch_clock(self) -> None:
        """Begins anew to watch when the clock was set, or this process was held up: nothing that happened
        meanwhile is the devices' fault."""
        now, passed = self._clock(), self._monotonic()
        before, then = self._last
        self._last = (now, passed)
        moved_s = (now - before).total_seconds() - (passed - then)
        if abs(moved_s) > CLOCK_STEP_S:
            _log.warning(
                "the clock moved by %.0f s: devices in roll-outs have time again to come back", moved_s
            )
            self._watched_since = now

    async def judge(self) -> None:
        """Looks once at all roll-outs. Raises StoreError; a failure with one keeps none of the others."""
        self._watch_clock()
        now = self._clock()
        async with self._store.read() as session:
            pairs = await firmware.rollouts(session, states=GOING, changed_since=now - JUDGED_FOR)
        failure: StoreError | None = None
        halted: dict[int, str] = {}
        for row, image in pairs:
            rollout = rollout_facts(row, image)
            try:
                reason = await self._judge(rollout, now)
            except StoreError as error:
                failure, reason = error, ""
            if rollout.state is State.HALTED or reason:
                halted[rollout.id] = reason or row.reason
        self._halted = halted
        if failure is not None:
            raise failure

    async def _judge(self, rollout: RollOutFacts, now: datetime) -> str:
        """Judges the devices of one roll-out. Returns why it halted just now, or ""."""
        come_back = timedelta(minutes=rollout.come_back_min)
        after = ""
        while True:
            async with self._store.read() as session:
                found = await firmware.open_devices(session, rollout.id, [*OPEN], after=after, limit=AT_ONCE)
            changes = [
                (each, came)
                for each in found
                if (
                    came := outcome(
                        self._taker(each), rollout.image.version, come_back, now, self._watched_since
                    )
                )
            ]
            if changes:
                await self._save(rollout, changes, now)
            if len(found) < AT_ONCE:
                break
            after = found[-1].row.device_id
        if rollout.state not in GOING:
            return ""
        return await self._move(rollout, now)

    def _taker(self, found: OpenDevice) -> Taker:
        row, device = found.row, found.device
        return Taker(
            device.id, Progress(row.progress), row.from_version, row.downloaded_at, device.firmware_version,
            found.reported_at, device.connected_at, self._connects(device),
        )  # fmt: skip

    async def _save(
        self, rollout: RollOutFacts, changes: list[tuple[OpenDevice, Outcome]], now: datetime
    ) -> None:
        async with self._store.write() as session:
            await firmware.save_outcomes(
                session,
                [
                    {
                        "rollout": rollout.id,
                        "device": found.row.device_id,
                        "was": found.row.progress,
                        "sent_at": found.row.downloaded_at,
                        "now_is": came.progress.value,
                        "why": bounded(came.reason, tables.OUTCOME_CHARS),
                        "at": now,
                    }
                    for found, came in changes
                ],
            )
        for found, came in changes:
            level = logging.INFO if came.progress is Progress.DONE else logging.WARNING
            _log.log(
                level, "roll-out %d, firmware %s: %s", rollout.id, rollout.image.version,
                came.reason or came.progress.value, extra={"device": found.row.device_id},
            )  # fmt: skip
            self._events.publish(
                DeliveryProgressed(
                    device_id=found.row.device_id, kind="firmware", number=rollout.id, state=came.progress,
                    bytes_sent=found.row.bytes_sent,
                )
            )  # fmt: skip

    async def _move(self, rollout: RollOutFacts, now: datetime) -> str:
        """Halts a roll-out, or ends one whose time or device is done. Returns why it halted, or ""."""
        async with self._store.read() as session:
            pair = await firmware.rollout(session, rollout.id)
            if pair is None:
                return ""
            state, reason = await _due(session, rollout, now)
        if state is None:
            return ""
        async with self._store.write() as session:
            pair = await firmware.rollout(session, rollout.id, lock=True)
            if pair is None:
                return ""
            row = pair[0]
            state, reason = await _due(session, rollout_facts(*pair), now)
            if state is None:
                return ""
            before = row.state
            row.state, row.reason = state, bounded(reason, tables.OUTCOME_CHARS)
            row.changed_at, row.revision = now, row.revision + 1
            session.add(row)
            action = "rollout.halt" if state is State.HALTED else "rollout.end"
            audit.record(
                session, audit.SERVER, action, f"rollout:{rollout.id}",
                before={"state": before}, after={"state": state.value, "reason": reason},
            )  # fmt: skip
        await self._offers.refresh()
        self._events.publish(RollOutChanged(rollout_id=rollout.id, state=state))
        if state is not State.HALTED:
            return ""
        _log.error("roll-out %d halted: %s; `mimi-mqtt firmware show %d`", rollout.id, reason, rollout.id)
        self._events.publish(
            RollOutHalted(
                rollout_id=rollout.id, board=rollout.image.board, version=rollout.image.version, reason=reason
            )
        )
        return reason


async def _due(session: AsyncSession, rollout: RollOutFacts, now: datetime) -> tuple[State | None, str]:
    """The state that a roll-out comes to by itself, and why; None: it stays."""
    if rollout.kind is Kind.UPGRADE:
        counts = (await firmware.counts(session, [rollout.id]))[rollout.id]
        if any(counts.get(progress) for progress in (Progress.DONE, Progress.FAILED, Progress.GONE)):
            return State.ENDED, ""
    if rollout.ends_at is not None and now >= rollout.ends_at:
        return State.ENDED, ""
    decided = await firmware.decided(session, rollout.id)
    done, gone = decided.pop(Progress.DONE, 0), decided.pop(Progress.GONE, 0)
    # One that failed and tries again counts as failed until it is done.
    tally = Tally(done, sum(decided.values()), gone)
    reason = why_halt(rollout, tally)
    return (State.HALTED, reason) if reason else (None, "")
