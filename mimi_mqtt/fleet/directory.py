"""The devices that may connect, kept in memory: the authenticator of every connection, and OTA's memory.

The directory mirrors the devices table. Changes made by this process are applied at once, those of others
(the command line, another node) within `refresh_s`. The times at which devices were seen and their OTA
reports are written behind their backs.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from prometheus_client import Counter, Gauge

from mimi_mqtt.config.prompt import DeviceFacts
from mimi_mqtt.errors import MimiError, StoreError
from mimi_mqtt.fleet.accounts import Accounts
from mimi_mqtt.fleet.credentials import COMMAND_LINE_USER, Credentials
from mimi_mqtt.fleet.identity import Identity, Role
from mimi_mqtt.store import devices
from mimi_mqtt.store.devices import BoardFacts, Boot
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Device
from mimi_mqtt.store.write_behind import CLOSE_TIMEOUT_S, WriteBehind
from mimi_mqtt.supervision import LoopFinished, SupervisedLoop

_log = logging.getLogger(__name__)

_KNOWN = Gauge("mimi_fleet_devices", "Devices that may connect")
_BOOTS = Counter(
    "mimi_fleet_boots_total", "Boots of known devices by the outcome of storing their report", ["outcome"]
)

MAX_WAITING_BOOTS = 10_000
"""Reports that wait for the database; further ones are dropped."""

_SEEN_EVERY_S = 30.0
_PRESENT_EVERY_S = 3600.0


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """A device that may connect. `host` is the address of ours it last reached; a text is "" when unknown,
    `agent` for the default one."""

    device_id: str
    udp_key: bytes = field(repr=False)
    host: str | None = None
    language: str = ""
    name: str = ""
    board: str = ""
    """The board's type, from the last OTA report as its name, `firmware_version` and `cellular`."""
    firmware_version: str = ""
    agent: str = ""
    user_name: str = field(default="", repr=False)
    board_name: str = ""
    cellular: bool = False
    """A modem in place of Wi-Fi: messages are shorter (device contract, section 3)."""

    @property
    def facts(self) -> DeviceFacts:
        """The facts that a prompt may tell."""
        return DeviceFacts(self.device_id, self.name, self.board, self.language, self.firmware_version)


@dataclass(frozen=True, slots=True)
class Registration:
    """The part of a device's row that decides how OTA answers it without asking the database."""

    device_id: str
    client_id: str = field(repr=False)
    epoch: int
    transport: str | None
    host: str
    reported_language: str

    @classmethod
    def of(cls, device: Device) -> "Registration":
        """The registration in a row."""
        return cls(
            device.id, device.client_id, device.epoch, device.transport, device.host, device.reported_language
        )


@dataclass(frozen=True, slots=True)
class _Entry:
    epoch: int
    revision: int
    info: DeviceInfo | None
    """None: revoked or forgotten. Remembered, so that an older row that arrives late does not bring it
    back."""
    registration: Registration | None

    @classmethod
    def of(cls, device: Device, credentials: Credentials) -> "_Entry":
        """The entry for a row."""
        if not device.allowed:
            return cls(device.epoch, device.revision, None, None)
        info = DeviceInfo(
            device.id,
            credentials.udp_key(device.id, device.epoch),
            device.host or None,
            device.language or device.reported_language,
            device.name,
            device.board,
            device.firmware_version,
            device.agent,
            device.user_name,
            device.board_name,
            device.cellular,
        )
        return cls(device.epoch, device.revision, info, Registration.of(device))


class DeviceDirectory:
    """The devices that may connect, and the accounts of people. Implements `fleet.identity.Authenticator`."""

    def __init__(
        self, store: Store, credentials: Credentials, accounts: Accounts, *, refresh_s: float = 2.0
    ) -> None:
        self._store = store
        self._credentials = credentials
        self._accounts = accounts
        self._refresh_s = refresh_s
        self._entries: dict[str, _Entry] = {}
        self._allowed = 0
        self._revision = 0
        self._seen: dict[str, datetime] = {}
        self._loop = SupervisedLoop("device directory", self._keep_up)
        self._closing = asyncio.Event()
        self._save_seen_at = self._look_at = 0.0
        self._refreshing = asyncio.Lock()
        self._read_at = float("-inf")
        self._boots = WriteBehind(
            self._save_boots, "reports of booting devices", _BOOTS, max_waiting=MAX_WAITING_BOOTS
        )
        self._forgotten: dict[str, int] = {}
        """Revisions of forgotten devices that are remembered."""
        self._unended: set[str] = set()
        """Those of `_revoked` whose failure was told."""
        self._revoked: dict[str, None] = {}
        """Devices whose connections are to be ended, in order; empty but for those where that failed."""
        self.on_revoked: Callable[[str], None] = _end_nothing
        """Called on the loop with the id of a device whose old credentials stopped being good: end its
        connections. Called again with the next refresh when it raises."""
        self.on_booted: Callable[[DeviceInfo], None] = _unheard
        """Called on the loop with a device that may connect and has just booted."""
        self.is_connected: Callable[[str], bool] = _never
        """Called with the id of a device; true when it is connected: it counts as seen."""

    @property
    def healthy(self) -> bool:
        """True while the directory keeps up with changes, every revoked device is disconnected and reports
        are written. When false, the last known state still holds."""
        return self._loop.healthy and self._boots.healthy

    def __len__(self) -> int:
        return self._allowed

    @property
    def remembered(self) -> int:
        """Devices in memory: those that may connect, those revoked, and those forgotten a moment ago."""
        return len(self._entries)

    async def start(self) -> None:
        """Reads every device, and keeps up with changes from now on. Raises StoreError."""
        await self.refresh()
        await self._boots.start()
        self._closing.clear()
        now = asyncio.get_running_loop().time()
        self._save_seen_at, self._look_at = now + _SEEN_EVERY_S, now + _PRESENT_EVERY_S
        self._loop.start()

    async def aclose(self) -> None:
        """Stops keeping up and writes what waits to be written; safe to call twice."""
        await self._boots.aclose()
        # A query is not cut off half-way: its connection would be lost to the pool.
        self._closing.set()
        await self._loop.aclose(timeout_s=CLOSE_TIMEOUT_S if self._loop.healthy else 0.0)
        try:
            await self._save_seen()
        except StoreError as error:
            _log.warning("when devices were last seen could not be recorded: %s", error)

    def get(self, device_id: str) -> DeviceInfo | None:
        """The device, or None when there is none that may connect."""
        entry = self._entries.get(device_id)
        return entry.info if entry is not None else None

    async def registration(self, device_id: str) -> Registration | None:
        """The registration of a device that may connect, from a reading of at most `refresh_s` ago. Callers
        that come when it is older share one new reading. Raises StoreError when that fails."""
        if self._is_old():
            async with self._refreshing:
                if self._is_old():
                    await self._read_changes()
        entry = self._entries.get(device_id)
        return entry.registration if entry is not None else None

    def booted(self, boot: Boot) -> None:
        """Takes over the report of a device that got its credentials: in memory at once, in the database
        when that has time. Never blocks, never raises."""
        self._boots.add(boot)
        entry = self._entries.get(boot.device_id)
        if entry is not None and entry.info is not None:
            info = entry.info
            known = BoardFacts(info.board, info.board_name, info.firmware_version, info.cellular)
            facts = known.updated(boot)
            if facts != known:
                info = replace(
                    info,
                    board=facts.board,
                    board_name=facts.board_name,
                    firmware_version=facts.firmware_version,
                    cellular=facts.cellular,
                )
                self._entries[boot.device_id] = replace(entry, info=info)
            self.on_booted(info)

    def authenticate(
        self, client_id: str, username: str | None, password: bytes | None, address: str = ""
    ) -> "Identity | asyncio.Task[Identity | None] | None":
        """Checks a CONNECT. An unknown device takes as long as a wrong password; credentials of another epoch
        than the current one are wrong. Raises LoginRefused for a person's password that is not checked."""
        if not username:
            return Identity(Role.ANONYMOUS, "") if self._accounts.anonymous and not password else None
        given = password or b""
        if username == COMMAND_LINE_USER:
            is_ours = self._credentials.check_command_line_password(given, time.time())
            return Identity(Role.ADMIN, username) if is_ours else None
        if username == self._accounts.admin:
            return self._accounts.log_in(given, address)
        entry = self._entries.get(username)
        if entry is None or entry.info is None:
            is_device = self._credentials.check_password(given, None, 0)
        else:
            is_device = self._credentials.check_password(given, username, entry.epoch)
        if not is_device:
            return None
        if client_id != username:
            return Identity(Role.TESTER, username, username)
        self._seen[username] = datetime.now(UTC)
        return Identity(Role.DEVICE, username, username)

    def apply(self, device: Device) -> None:
        """Takes over a row just written or read; the newest revision wins, whatever the order."""
        self._put(device.id, _Entry.of(device, self._credentials))
        self._end_connections()

    def _put(self, device_id: str, entry: _Entry) -> None:
        known = self._entries.get(device_id)
        if known is not None and known.revision >= entry.revision:
            return
        if known is None and entry.revision <= self._revision - self._store.revision_overlap:
            return  # read already, and no longer there: a row from before the device was forgotten
        self._entries[device_id] = entry
        was_allowed = known is not None and known.info is not None
        self._allowed += (entry.info is not None) - was_allowed
        _KNOWN.set(self._allowed)
        if known is not None and was_allowed and (entry.info is None or known.epoch != entry.epoch):
            self._revoked[device_id] = None

    def _end_connections(self) -> None:
        """Has the connections of revoked devices ended. Devices for which that fails are kept for the next
        time: neither the others nor the reading of further changes depend on it."""
        for device_id in [*self._revoked]:
            try:
                self.on_revoked(device_id)
            except Exception:  # noqa: BLE001 - the border of the transports
                if device_id not in self._unended:
                    _log.exception(
                        "the connections of a revoked device could not be ended", extra={"device": device_id}
                    )
                self._unended.add(device_id)
            else:
                del self._revoked[device_id]
                self._unended.discard(device_id)

    async def refresh(self) -> None:
        """Applies the changes of other processes. Raises StoreError."""
        async with self._refreshing:
            await self._read_changes()

    def _is_old(self) -> bool:
        return asyncio.get_running_loop().time() - self._read_at > self._refresh_s

    async def _read_changes(self) -> None:
        began = asyncio.get_running_loop().time()
        async with self._store.read() as session:
            known = self._revision - self._store.revision_overlap
            changed = await devices.changed_since(session, known)
            forgotten = await devices.forgotten_since(session, known)
        for device in changed:
            self._put(device.id, _Entry.of(device, self._credentials))
        for gone in forgotten:
            self._put(gone.id, _Entry(0, gone.revision, None, None))
            self._forgotten[gone.id] = gone.revision
        revisions = [row.revision for row in changed] + [row.revision for row in forgotten]
        self._revision = max([self._revision, *revisions])
        self._read_at = began
        self._prune()
        self._end_connections()

    def _prune(self) -> None:
        """Drops forgotten devices whose rows can't be read again: see `_put`."""
        known = self._revision - self._store.revision_overlap
        for device_id in [name for name, revision in self._forgotten.items() if revision <= known]:
            revision = self._forgotten.pop(device_id)
            entry = self._entries.get(device_id)
            if entry is not None and entry.revision == revision:
                del self._entries[device_id]

    async def _keep_up(self) -> None:
        loop = asyncio.get_running_loop()
        if await self._closes_within(self._refresh_s):
            raise LoopFinished
        await self.refresh()
        if loop.time() >= self._save_seen_at:
            await self._save_seen()
            self._save_seen_at = loop.time() + _SEEN_EVERY_S
        if loop.time() >= self._look_at:
            self._look_at = loop.time() + _PRESENT_EVERY_S
            self._see_connected()
        if self._revoked:
            raise MimiError(f"the connections of {len(self._revoked)} revoked devices could not be ended")

    async def _closes_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self._closing.wait()
        except TimeoutError:
            return False

    def _see_connected(self) -> None:
        now = datetime.now(UTC)
        for device_id, entry in self._entries.items():
            if entry.info is not None and self.is_connected(device_id):
                self._seen[device_id] = now

    async def _save_boots(self, boots: Sequence[Boot]) -> None:
        async with self._store.write() as session:
            await devices.save_boots(session, boots)

    async def _save_seen(self) -> None:
        seen, self._seen = self._seen, {}
        if not seen:
            return
        try:
            async with self._store.write() as session:
                await devices.touch(session, seen)
        except BaseException:
            self._seen = seen | self._seen
            raise


def _unheard(device: DeviceInfo) -> None:
    del device


def _never(device_id: str) -> bool:
    del device_id
    return False


def _end_nothing(device_id: str) -> None:
    del device_id
