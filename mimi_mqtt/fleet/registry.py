"""The registry of devices for people and programs: reading, listing and changing them with somebody's rights.

One object with what the REST API and the web app need; the decisions are made in `administration`,
`ownership`, `device_settings` and `claiming`. A change takes effect in this process at once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from mimi_mqtt.errors import FleetError, Invalid, NotFound, RequestError, ToolError
from mimi_mqtt.fleet import administration, device_settings, listing, ownership
from mimi_mqtt.fleet.administration import UnknownDevice, known
from mimi_mqtt.fleet.device_settings import DeviceChange
from mimi_mqtt.fleet.directory import DeviceDirectory
from mimi_mqtt.fleet.live import AudioReport, DevicePresence, LiveFleet
from mimi_mqtt.fleet.ownership import People
from mimi_mqtt.fleet.rights import Rights
from mimi_mqtt.store import (
    activations,
    audit,
    device_keys,
    device_lists,
    devices,
    ota_log,
    session_statistics,
)
from mimi_mqtt.store.device_lists import DeviceQuery
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import (
    Activation,
    Board,
    Device,
    ListedDevice,
    OtaExchange,
    SeenDevice,
    SessionStatistics,
)

MAX_COUNTED: Final = 10_000
"""Devices of a person, and of those that are shared with him, that are counted."""

Check = Callable[[Device], None]
"""Raises when the device is not the version that the caller means to change."""


@dataclass(frozen=True, slots=True)
class DeviceDetails:
    """A device with all that is known of it. `reported_at` None: it never sent a report."""

    device: Device
    presence: DevicePresence | None
    report: Mapping[str, Any] = field(default_factory=dict, repr=False)
    reported_at: datetime | None = None
    requests: Sequence[OtaExchange] = ()
    audio: AudioReport | None = None
    sessions: Sequence[SessionStatistics] = ()
    tools: Sequence[Mapping[str, Any]] = ()
    tools_learned_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Tools:
    """Tools of a device; `learned_at` None: it never listed any. `complete`: those for people are among them;
    `problem` is why the device did not answer."""

    tools: Sequence[Mapping[str, Any]]
    learned_at: datetime | None
    complete: bool
    problem: str = ""


@dataclass(frozen=True, slots=True)
class FleetOverview:
    """Devices, and the packets of their audio that came and that were lost: in the kept sessions that ended
    within the last day, and in the week before that."""

    devices: int
    online: int
    last_day: tuple[int, int]
    before: tuple[int, int]


@dataclass(frozen=True, slots=True)
class BoardSummary:
    """A type of board, and the number of its devices by firmware version; `board` None: it never reported."""

    type: str
    board: Board | None
    versions: Mapping[str, int]


class DeviceRegistry:
    """The registered devices, those that wait, were seen or listed. `clock` gives the time of changes."""

    def __init__(
        self,
        store: Store,
        directory: DeviceDirectory,
        live: LiveFleet,
        people: People,
        *,
        has_agent: Callable[[str], bool] = lambda _: True,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._directory = directory
        self._live = live
        self._people = people
        self._has_agent = has_agent
        self._clock = clock

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────

    async def page(
        self, query: DeviceQuery, after: tuple[str | datetime, str] | None, limit: int
    ) -> Sequence[Device]:
        """Registered devices."""
        async with self._store.read() as session:
            return await device_lists.page(session, query, after, limit)

    def online(self) -> Sequence[str]:
        """The ids of the devices that are connected to this process."""
        return self._live.online()

    async def overview(self, rights: Rights, now: datetime) -> FleetOverview:
        """The number of devices that he sees, and how well their audio travelled today and before."""
        week, day = timedelta(days=7), timedelta(days=1)
        online = self._live.online()
        async with self._store.read() as session:
            ids: Sequence[str] | None = None
            if not rights.is_admin:
                ids = await device_lists.seen_by(session, rights.user_id, rights.groups, MAX_COUNTED)
                online = sorted(set(online) & set(ids))
            return FleetOverview(
                devices=len(self._directory) if ids is None else len(ids),
                online=len(online),
                last_day=await session_statistics.packets(session, now - day, now, ids),
                before=await session_statistics.packets(session, now - day - week, now - day, ids),
            )

    def presence(self, device_id: str) -> DevicePresence | None:
        """The device's connection; None while it has none."""
        return self._live.presence(device_id)

    async def read(self, device_id: str, rights: Rights) -> DeviceDetails:
        """Everything about a device. Raises NotADevice, UnknownDevice."""
        device_id = administration.parse_device_id(device_id)
        async with self._store.read() as session:
            device = await devices.get(session, device_id)
            if device is None or not rights.sees(device):
                raise UnknownDevice(device_id)
            report = await devices.last_report(session, device_id)
            requests = await ota_log.of_device(session, device_id, 2 * ota_log.KEPT)
            sessions = await session_statistics.of_device(session, device_id, 20)
            tools = await session_statistics.tools_of(session, device_id)
        if (since := device.owned_since) is not None:
            # What is written behind may come after all of the former owner's was deleted.
            requests = [each for each in requests if each.at >= since]
            sessions = [each for each in sessions if each.started_at >= since]
        live = self._live.tools(device_id)
        return DeviceDetails(
            device,
            self._live.presence(device_id),
            report.report if report is not None else {},
            report.received_at if report is not None else None,
            requests,
            self._live.audio(device_id),
            sessions,
            live if live is not None else (tools.tools if tools is not None else ()),
            self._clock() if live is not None else (tools.learned_at if tools is not None else None),
        )

    async def require(self, device_id: str, rights: Rights) -> Device:
        """A registered device. Raises NotADevice, UnknownDevice."""
        device_id = administration.parse_device_id(device_id)
        async with self._store.read() as session:
            device = await devices.get(session, device_id)
        if device is None or not rights.sees(device):
            raise UnknownDevice(device_id)
        return device

    async def tools(self, device_id: str, rights: Rights, *, ask: bool) -> Tools:
        """The tools of a device; with `ask` it is asked for those it keeps for people, too, while it is
        connected. Raises NotADevice, UnknownDevice."""
        device_id = (await self.require(device_id, rights)).id
        problem = ""
        if ask:
            try:
                every = await self._live.every_tool(device_id)
            except ToolError as error:
                problem, every = str(error), None
            if every is not None:
                return Tools(every, self._clock(), complete=True)
        if (live := self._live.tools(device_id)) is not None:
            return Tools(live, self._clock(), complete=False, problem=problem)
        async with self._store.read() as session:
            known = await session_statistics.tools_of(session, device_id)
        if known is None:
            return Tools((), None, complete=False, problem=problem)
        return Tools(known.tools, known.learned_at, complete=False, problem=problem)

    async def labels(self, rights: Rights) -> device_lists.Labels:
        """Rooms, tags, boards and versions of the devices that the caller may see."""
        async with self._store.read() as session:
            person = None if rights.is_admin else rights.user_id
            return await device_lists.labels(session, person, rights.groups)

    async def boards(self) -> list[BoardSummary]:
        """Every type of board that was seen."""
        async with self._store.read() as session:
            counts = await device_lists.board_counts(session)
            seen = {board.type: board for board in await device_lists.boards(session)}
        types = sorted({*counts, *seen} - {""})
        return [BoardSummary(kind, seen.get(kind), counts.get(kind, {})) for kind in types]

    async def agent_counts(self, person: str | None, groups: frozenset[str]) -> dict[str, int]:
        """The number of registered devices by the agent that is set for them, "" for none; those that
        `person` may see, or None: everybody's."""
        async with self._store.read() as session:
            return await device_lists.agent_counts(session, DeviceQuery(person=person, groups=groups))

    async def pending(self, after: int, limit: int) -> Sequence[Activation]:
        """Devices that wait to be allowed."""
        async with self._store.read() as session:
            return await device_lists.activations_page(session, after, self._clock(), limit)

    async def seen(self, after: str, limit: int) -> Sequence[SeenDevice]:
        """Devices that asked OTA and may not come in."""
        async with self._store.read() as session:
            return await ota_log.seen_page(session, after, limit)

    async def ota_requests(
        self, before: int | None, limit: int, rights: Rights
    ) -> Sequence[tuple[OtaExchange, str | None]]:
        """OTA requests of the devices that the caller sees, the newest first, each with its device's name; an
        administrator sees those of devices that are not registered, too, with None for the name."""
        viewer = None if rights.is_admin else ota_log.Viewer(rights.user_id, rights.groups)
        async with self._store.read() as session:
            return await ota_log.page(session, viewer, before, limit)

    # ── changing ─────────────────────────────────────────────────────────────────────────────────────────

    async def change(self, device_id: str, wanted: DeviceChange, rights: Rights, check: Check) -> Device:
        """Changes a device's settings. Raises what `check` does, NotADevice, UnknownDevice, Invalid."""
        if wanted.agent and not self._has_agent(wanted.agent):
            raise Invalid(f"agent: there is no agent {wanted.agent!r}")
        async with self._store.write() as session:
            device = await known(session, device_id, rights)
            check(device)
            await device_settings.apply(session, device, wanted, self._clock(), rights)
        self._directory.apply(device)
        return device

    async def change_each(
        self, changes: Sequence[tuple[str, DeviceChange]], rights: Rights
    ) -> list[Device | RequestError | FleetError]:
        """Changes several devices, each by itself: the device, or why it was not changed."""
        results: list[Device | RequestError | FleetError] = []
        for device_id, wanted in changes:
            try:
                results.append(await self.change(device_id, wanted, rights, lambda _: None))
            except (RequestError, FleetError) as error:
                results.append(error)
        return results

    async def revoke(self, device_id: str, rights: Rights) -> Device:
        """See `administration.revoke`."""
        return self._applied(await administration.revoke(self._store, device_id, self._clock(), rights))

    async def enable(self, device_id: str, rights: Rights) -> Device:
        """See `administration.enable`."""
        return self._applied(await administration.enable(self._store, device_id, self._clock(), rights))

    async def rotate(self, device_id: str, rights: Rights) -> Device:
        """See `administration.rotate`."""
        return self._applied(await administration.rotate(self._store, device_id, self._clock(), rights))

    async def forget(self, device_id: str, rights: Rights) -> None:
        """See `administration.forget`."""
        await administration.forget(self._store, device_id, self._clock(), rights)
        await self._directory.refresh()

    async def transfer(self, device_id: str, owner_id: str, rights: Rights) -> Device:
        """See `ownership.transfer`."""
        return self._applied(
            await ownership.transfer(self._store, device_id, owner_id, self._clock(), self._people, rights)
        )

    async def share(self, device_id: str, group_id: str, rights: Rights) -> Device:
        """See `ownership.share`."""
        return self._applied(
            await ownership.share(self._store, device_id, group_id, self._clock(), self._people, rights)
        )

    async def allow(self, activation_id: int, owner_id: str, rights: Rights) -> Device:
        """Lets a pending device in, for `owner_id` or nobody. For administrators. Raises NotFound, Invalid,
        KeyNotProven."""
        await self.check_owner(owner_id)
        async with self._store.write() as session:
            activation = await activations.locked(session, activation_id)
            if activation is None or activation.expires_at <= self._clock():
                raise NotFound("no such activation is pending: codes expire")
            device = await devices.get(session, activation.device_id, lock=True)
            device = await administration.let_in(
                session, device, activation, self._clock(), rights, owner_id=owner_id
            )
        return self._applied(device)

    async def refuse(self, activation_id: int, rights: Rights) -> None:
        """Deletes a pending activation: the device shows another code when it asks again. Raises NotFound."""
        async with self._store.write() as session:
            activation = await activations.locked(session, activation_id)
            if activation is None:
                raise NotFound("no such activation is pending")
            audit.record(session, rights.author, "activation.refuse", f"device:{activation.device_id}")
            await session.delete(activation)

    async def check_owner(self, owner_id: str) -> None:
        """Raises Invalid when there is no such account; "" stands for nobody."""
        await ownership.check_user(self._people, owner_id)

    def _applied(self, device: Device) -> Device:
        self._directory.apply(device)
        return device

    # ── the list of devices that may register ────────────────────────────────────────────────────────────

    async def listed(self, after: tuple[str, str], limit: int) -> Sequence[ListedDevice]:
        """Listed devices, by kind and value."""
        async with self._store.read() as session:
            return await device_keys.list_page(session, after, limit)

    async def add_to_list(self, entry: ListedDevice, rights: Rights) -> ListedDevice:
        """Lists a device. Raises Invalid, LimitReached, Conflict when it is listed already."""
        await self.check_owner(entry.owner_id)
        await ownership.check_group(self._people, entry.group_id)
        return await listing.add(self._store, entry, rights)

    async def remove_from_list(self, kind: str, value: str, rights: Rights) -> None:
        """Takes a device off the list; one that is registered stays so. Raises NotFound."""
        await listing.remove(self._store, kind, value, rights)
