"""Roll-outs as people make, change, pause, resume, end, take back and delete them."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from mimi_mqtt.errors import Conflict, Invalid, LimitReached, NotFound, StoreError
from mimi_mqtt.events import Publish, RollOutChanged, unheard, utc_now
from mimi_mqtt.fleet.administration import parse_device_id
from mimi_mqtt.fleet.firmware import versions
from mimi_mqtt.fleet.firmware.images import check_revision
from mimi_mqtt.fleet.firmware.reach import Reach, reach
from mimi_mqtt.fleet.firmware.rollout import (
    GOING,
    Kind,
    Progress,
    RollOutFacts,
    State,
    check_channel,
    refusal,
)
from mimi_mqtt.fleet.firmware.rows import (
    board_device_facts,
    device_facts,
    image_facts,
    rollout_facts,
)
from mimi_mqtt.store import audit, devices, firmware, tables
from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.firmware import Pair
from mimi_mqtt.store.tables import Board, Device, FirmwareImage, RollOut, RollOutDevice
from mimi_mqtt.store.values import bounded

MAX_OPEN: Final = 200
"""Roll-outs that run, are paused or halted, at once; upgrades of one device included."""
MAX_LISTED: Final = 1_000
"""Devices that a roll-out lists; one for more of them names owners, groups or a channel."""
MAX_NAMED: Final = 100
"""Owners, and groups, that a roll-out names."""
MAX_COME_BACK_MIN: Final = 1_440
"""Longest time for a device to come back, in minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Whom a roll-out is for, when, and how careful it is; see `rollout.RollOutFacts`. In a change, None
    leaves a field as it is; in a new roll-out it stands for the default, of `channel` the image's."""

    name: str | None = None
    percent: int | None = None
    channel: str | None = None
    devices: Sequence[str] | None = None
    owners: Sequence[str] | None = None
    groups: Sequence[str] | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    force: bool | None = None
    halt_after: int | None = None
    halt_percent: int | None = None
    come_back_min: int | None = None
    unset: frozenset[str] = field(default_factory=frozenset)
    """Times to take away: `starts_at`, `ends_at`."""

    def given(self) -> dict[str, object]:
        """The fields that are given, checked and in their stored form. Raises Invalid, NotADevice."""
        _within("percent", self.percent, 0, 100)
        _within("halt_after", self.halt_after, 1, 100_000)
        _within("halt_percent", self.halt_percent, 0, 100)
        _within("come_back_min", self.come_back_min, 1, MAX_COME_BACK_MIN)
        if self.channel is not None:
            check_channel(self.channel)
        found: dict[str, object] = {
            each.name: value
            for each in fields(self)
            if each.name != "unset" and (value := getattr(self, each.name)) is not None
        }
        if self.name is not None:
            found["name"] = bounded(self.name.strip(), tables.ROLLOUT_NAME_CHARS)
        for what, most, chars in (
            ("devices", MAX_LISTED, tables.DEVICE_ID_CHARS),
            ("owners", MAX_NAMED, tables.USER_ID_CHARS),
            ("groups", MAX_NAMED, tables.GROUP_ID_CHARS),
        ):
            if (listed := getattr(self, what)) is not None:
                found[what] = _listed(what, listed, most, chars)
        found |= dict.fromkeys(self.unset & {"starts_at", "ends_at"})
        return found


def _within(what: str, value: int | None, low: int, high: int) -> None:
    if value is not None and not low <= value <= high:
        raise Invalid(f"{what}: must be {low} to {high}, not {value}")


def _listed(what: str, listed: Collection[str], most: int, chars: int) -> list[str]:
    if len(listed) > most:
        raise Invalid(f"{what}: at most {most}; name a channel, owners or groups instead")
    if what == "devices":
        return sorted({parse_device_id(each) for each in listed})
    if any(not 0 < len(each) <= chars or not each.isprintable() for each in listed):
        raise Invalid(f"{what}: an id has 1 to {chars} printable characters")
    return sorted(set(listed))


_DEFAULTS: Final[dict[str, object]] = {
    "name": "", "percent": 100, "devices": [], "owners": [], "groups": [], "starts_at": None, "ends_at": None,
    "force": False, "halt_after": 2, "halt_percent": 10, "come_back_min": 15,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Overview:
    """A roll-out with its image, and the number of devices in each state."""

    row: RollOut
    image: FirmwareImage
    counts: dict[str, int]


class RollOuts:
    """The roll-outs in `store`. `changed` is awaited after each change: this process offers by it at once,
    others within two seconds. `publish` takes the events of changes."""

    def __init__(
        self,
        store: Store,
        changed: Callable[[], Awaitable[None]] | None = None,
        publish: Publish = unheard,
    ) -> None:
        self._store = store
        self._changed = changed
        self._publish = publish

    async def _tell(self, rollout_id: int | None, state: str) -> None:
        if self._changed is not None:
            with contextlib.suppress(StoreError):  # it is read again soon
                await self._changed()
        self._publish(RollOutChanged(rollout_id=rollout_id or 0, state=state))

    # ── reading ─────────────────────────────────────────────────────────────────────────────────────────

    async def get(self, rollout_id: int) -> Overview:
        """One roll-out. Raises NotFound, StoreError."""
        async with self._store.read() as session:
            row, image = _found(await firmware.rollout(session, rollout_id), rollout_id)
            return Overview(row, image, (await firmware.counts(session, [rollout_id]))[rollout_id])

    async def list(
        self,
        *,
        states: Collection[State] = (),
        image_id: int | None = None,
        before: int | None = None,
        limit: int | None = None,
    ) -> "list[Overview]":
        """Roll-outs, the latest first; `before` is an id. Raises StoreError."""
        async with self._store.read() as session:
            found = await firmware.rollouts(
                session, states=states, image_id=image_id, before=before, limit=limit
            )
            counts = await firmware.counts(session, [row.id for row, _ in found if row.id is not None])
        return [Overview(row, image, counts.get(row.id or 0, {})) for row, image in found]

    async def reach(
        self, image_id: int, terms: Terms, rollout_id: int | None = None, *, now: datetime | None = None
    ) -> Reach:
        """The reach of a roll-out that is to be made, or of `rollout_id` when it was changed by `terms`. The
        chip and the room of a device are taken to be those of its type of board. Raises NotFound, Invalid,
        NotADevice, StoreError."""
        now, given = now or utc_now(), terms.given()
        async with self._store.read() as session:
            image = await session.get(FirmwareImage, image_id)
            if image is None:
                raise NotFound(f"there is no firmware image {image_id}")
            facts = RollOutFacts(0, image_facts(image), channel=image.channel)
            if rollout_id is not None:
                facts = rollout_facts(*_found(await firmware.rollout(session, rollout_id), rollout_id))
            facts = _changed(facts, given)
            board = await session.get(Board, image.board)
            takers: set[str] = set()
            if facts.takes_back is not None:
                takers = {row.device_id for row in await firmware.devices_in(session, facts.takes_back)}
            found = [
                board_device_facts(device, image.board, board, took=device.id in takers)
                async for device in firmware.devices_of_board(session, image.board)
            ]
        return await asyncio.to_thread(reach, facts, found, now)

    async def devices(
        self,
        rollout_id: int,
        *,
        progress: Progress | None = None,
        after: str = "",
        limit: int | None = None,
    ) -> Sequence[RollOutDevice]:
        """Devices that were offered the image, by id; `after` is an id. Raises NotFound, StoreError."""
        async with self._store.read() as session:
            _found(await firmware.rollout(session, rollout_id), rollout_id)
            states = (progress,) if progress is not None else ()
            return await firmware.devices_in(session, rollout_id, progress=states, after=after, limit=limit)

    # ── changing ────────────────────────────────────────────────────────────────────────────────────────

    async def create(
        self, image_id: int, terms: Terms, by: Author, *, paused: bool = False, now: datetime | None = None
    ) -> Overview:
        """Begins a roll-out, or makes one that is paused. Raises NotFound, Invalid, LimitReached,
        StoreError."""
        now, given = now or utc_now(), terms.given()
        async with self._store.write() as session:
            image = await session.get(FirmwareImage, image_id)
            if image is None:
                raise NotFound(f"there is no firmware image {image_id}")
            wanted = _DEFAULTS | {"channel": image.channel} | given
            row = _new(image, Kind.ROLL_OUT, wanted, by, now)
            row.state = State.PAUSED if paused else State.RUNNING
            await _check(session, row, now)
            await _add(session, row, by)
        await self._tell(row.id, row.state)
        return Overview(row, image, {})

    async def change(
        self,
        rollout_id: int,
        terms: Terms,
        by: Author,
        *,
        revision: int | None = None,
        now: datetime | None = None,
    ) -> Overview:
        """Changes whom a roll-out is for, when, and how careful it is. With `revision` only that one is
        changed.

        Raises NotFound, Invalid, Conflict (it is over, or another revision), StoreError.
        """
        now, given = now or utc_now(), terms.given()
        async with self._store.write() as session:
            row, image = _found(await firmware.rollout(session, rollout_id, lock=True), rollout_id)
            check_revision(row.revision, revision)
            _check_going(row)
            before = {name: getattr(row, name) for name in given}
            for name, value in given.items():
                setattr(row, name, value)
            changed = {name for name in given if before[name] != given[name]}
            if changed:
                await _check(session, row, now, added=frozenset(changed))
                _touch(session, row, now)
                audit.record(
                    session, by, "rollout.change", f"rollout:{rollout_id}",
                    before=_plain({name: before[name] for name in changed}),
                    after=_plain({name: given[name] for name in changed}),
                )  # fmt: skip
            counts = (await firmware.counts(session, [rollout_id]))[rollout_id]
        await self._tell(rollout_id, row.state)
        return Overview(row, image, counts)

    async def pause(self, rollout_id: int, by: Author, now: datetime | None = None) -> Overview:
        """Stops further offers, and downloads that have not begun; does nothing to a paused one. Raises
        NotFound, Conflict, StoreError."""
        return await self._move(rollout_id, State.PAUSED, "rollout.pause", by, now)

    async def resume(self, rollout_id: int, by: Author, now: datetime | None = None) -> Overview:
        """Lets a roll-out go on that was paused or halted; the devices that did not come back until now don't
        halt it again. Raises NotFound, Conflict, StoreError."""
        return await self._move(rollout_id, State.RUNNING, "rollout.resume", by, now)

    async def end(self, rollout_id: int, by: Author, now: datetime | None = None) -> Overview:
        """Ends a roll-out for good. Raises NotFound, Conflict, StoreError."""
        return await self._move(rollout_id, State.ENDED, "rollout.end", by, now)

    async def delete(self, rollout_id: int, by: Author) -> None:
        """Deletes a roll-out that is over, with what is known of its devices. One that takes it back needs
        that until its own end. Raises NotFound, Conflict, StoreError."""
        async with self._store.write() as session:
            row, image = _found(await firmware.rollout(session, rollout_id, lock=True), rollout_id)
            if State(row.state) in GOING:
                raise Conflict("the roll-out is not over: end it first")
            back = await firmware.taking_back(session, rollout_id, GOING)
            if back is not None:
                raise Conflict(f"roll-out {back} takes it back: end that one first")
            told = {"image": image.version, "board": image.board, "state": row.state}
            audit.record(session, by, "rollout.delete", f"rollout:{rollout_id}", before=told)
            await session.delete(row)
        await self._tell(rollout_id, "")

    async def roll_back(
        self, rollout_id: int, by: Author, *, image_id: int | None = None, now: datetime | None = None
    ) -> Overview:
        """Takes a roll-out back: it ends, and the devices that were offered its image are offered the version
        before, with force. Returns the new roll-out.

        `image_id` None stands for the version that most of these devices had; where that is not registered,
        for the newest one that is older. Raises NotFound, Conflict, LimitReached, StoreError.
        """
        now = now or utc_now()
        async with self._store.write() as session:
            row, image = _found(await firmware.rollout(session, rollout_id, lock=True), rollout_id)
            if State(row.state) is State.ROLLED_BACK:
                raise Conflict("the roll-out was taken back already")
            previous = await _previous(session, rollout_id, image, image_id)
            wanted = _DEFAULTS | {
                "channel": previous.channel,
                "force": True,
                "name": f"takes back {rollout_id}",
            }
            back = _new(previous, Kind.ROLL_BACK, wanted, by, now)
            back.takes_back = rollout_id
            await _check(session, back, now)
            before = row.state
            row.state = State.ROLLED_BACK
            _touch(session, row, now)
            audit.record(
                session, by, "rollout.roll_back", f"rollout:{rollout_id}",
                before={"state": before}, after={"state": row.state, "version": previous.version},
            )  # fmt: skip
            await _add(session, back, by)
        await self._tell(rollout_id, row.state)
        await self._tell(back.id, back.state)
        return Overview(back, previous, {})

    async def upgrade(
        self, device_id: str, image_id: int, by: Author, now: datetime | None = None
    ) -> RollOutFacts:
        """Makes the roll-out of one device that is told to update itself, whatever its version is.

        Raises NotFound, Conflict (the image is none for this device; the message says why), LimitReached,
        StoreError.
        """
        now = now or utc_now()
        async with self._store.write() as session:
            device = await devices.get(session, device_id, lock=True)
            image = await session.get(FirmwareImage, image_id)
            if device is None or image is None:
                raise NotFound(
                    f"there is no device {device_id}"
                    if device is None
                    else f"there is no firmware image {image_id}"
                )
            wanted = _DEFAULTS | {"channel": image.channel, "force": True, "devices": [device_id]}
            row = _new(image, Kind.UPGRADE, wanted, by, now)
            report = await devices.last_report(session, device_id)
            facts = device_facts(device, report.report if report is not None else {})
            meant = RollOutFacts(0, image_facts(image), Kind.UPGRADE, force=True)
            reason = refusal(meant, facts, now)
            if reason:
                raise Conflict(f"{image.version} (image {image_id}) is not for this device: {reason}")
            await _check(session, row, now)
            await _add(session, row, by)
            found = rollout_facts(row, image)
            session.add(
                RollOutDevice(
                    rollout_id=found.id, device_id=device_id, progress=Progress.OFFERED,
                    from_version=device.firmware_version, offered_at=now,
                )
            )  # fmt: skip
        await self._tell(found.id, found.state)
        return found

    async def _move(
        self, rollout_id: int, state: State, action: str, by: Author, now: datetime | None
    ) -> Overview:
        now = now or utc_now()
        async with self._store.write() as session:
            row, image = _found(await firmware.rollout(session, rollout_id, lock=True), rollout_id)
            if row.state != state:
                _check_going(row)
                before = {"state": row.state, "reason": row.reason}
                row.state = state
                if state is State.RUNNING:
                    row.reason = ""
                    await firmware.forgive(session, rollout_id)
                _touch(session, row, now)
                audit.record(
                    session, by, action, f"rollout:{rollout_id}", before=before, after={"state": state.value}
                )
            counts = (await firmware.counts(session, [rollout_id]))[rollout_id]
        await self._tell(rollout_id, row.state)
        return Overview(row, image, counts)


def _changed(facts: RollOutFacts, given: dict[str, object]) -> RollOutFacts:
    """The facts of a roll-out with other terms."""
    names = {each.name for each in fields(RollOutFacts)}
    listed = {name: frozenset(value) for name, value in given.items() if isinstance(value, list)}
    return replace(facts, **{name: value for name, value in (given | listed).items() if name in names})  # type: ignore[arg-type]


def _found(pair: Pair | None, rollout_id: int) -> Pair:
    if pair is None:
        raise NotFound(f"there is no roll-out {rollout_id}")
    return pair


def _check_going(row: RollOut) -> None:
    if State(row.state) not in GOING:
        raise Conflict(f"the roll-out is {row.state}: make another one")


def _touch(session: AsyncSession, row: RollOut, now: datetime) -> None:
    row.changed_at = now
    row.revision += 1
    session.add(row)


def _new(image: FirmwareImage, kind: Kind, wanted: dict[str, object], by: Author, now: datetime) -> RollOut:
    return RollOut.model_validate(
        wanted
        | {
            "image_id": image.id,
            "kind": kind.value,
            "state": State.RUNNING.value,
            "created_by": bounded(by.name, tables.UPLOADER_CHARS),
            "created_at": now,
            "changed_at": now,
        }
    )


async def _check(
    session: AsyncSession,
    row: RollOut,
    now: datetime,
    added: frozenset[str] = frozenset({"devices", "ends_at"}),
) -> None:
    """Raises Invalid for terms that can't be met, and LimitReached for one roll-out too many."""
    if row.starts_at is not None and row.ends_at is not None and row.ends_at <= row.starts_at:
        raise Invalid("ends_at: must be after starts_at")
    if "ends_at" in added and row.ends_at is not None and row.ends_at <= now:
        raise Invalid("ends_at: is over already")
    if row.devices and "devices" in added:
        known = set((await session.scalars(select(Device.id).where(col(Device.id).in_(row.devices)))).all())
        unknown = sorted(set(row.devices) - known)
        if unknown:
            raise Invalid(f"devices: there is no device {', '.join(unknown[:8])}")
    if row.id is None and await firmware.count_rollouts(session, GOING) >= MAX_OPEN:
        raise LimitReached(f"{MAX_OPEN} roll-outs are open: end those that are done")


async def _add(session: AsyncSession, row: RollOut, by: Author) -> None:
    session.add(row)
    await session.flush()
    names = [name for name in ("image_id", "kind", "state", "channel", *_DEFAULTS) if getattr(row, name)]
    told = {name: getattr(row, name) for name in names}
    audit.record(session, by, "rollout.create", f"rollout:{row.id}", after=_plain(told))


def _plain(values: dict[str, object]) -> dict[str, object]:
    """Values as the audit keeps them: times as text."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()
    }


async def _previous(
    session: AsyncSession, rollout_id: int, image: FirmwareImage, image_id: int | None
) -> FirmwareImage:
    """The image to go back to."""
    if image_id is not None:
        chosen = await session.get(FirmwareImage, image_id)
        if chosen is None:
            raise NotFound(f"there is no firmware image {image_id}")
        if (chosen.board, chosen.chip) != (image.board, image.chip) or chosen.id == image.id:
            raise Conflict(f"image {image_id} is not another one for {image.board} ({image.chip})")
        return chosen
    had = await firmware.from_versions(session, rollout_id)
    fitting = [
        each
        for each in await firmware.images(session, board=image.board)
        if each.chip == image.chip and each.board_name in ("", image.board_name) and each.id != image.id
    ]
    for each in fitting:
        if had and versions.is_same(each.version, had[0]):
            return each
    older = [each for each in fitting if versions.is_newer(image.version, each.version)]
    if not older:
        named = ", ".join(had[:4]) or "the version before"
        raise Conflict(
            f"no older image is registered for {image.board}: upload {named} first, or name an image to go "
            "back to"
        )
    return max(older, key=lambda each: versions.numbers(each.version) or ())
