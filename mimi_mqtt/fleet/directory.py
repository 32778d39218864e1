"""Who may connect, kept in memory: the authenticator of every connection, and OTA's memory.

The directory mirrors the devices table. Changes made by this process are applied at once, those of others
(the command line, another node) within `refresh_s`. When devices were seen and what they said of themselves
is written behind their backs.
"""

import asyncio
import hmac
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from prometheus_client import Counter, Gauge

from mimi_mqtt.config import AccountSettings
from mimi_mqtt.config.prompt import DeviceFacts
from mimi_mqtt.errors import StoreError
from mimi_mqtt.fleet.credentials import Credentials
from mimi_mqtt.fleet.identity import Identity, Role
from mimi_mqtt.store import devices, tables
from mimi_mqtt.store.devices import Boot
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.tables import Device
from mimi_mqtt.store.values import bounded
from mimi_mqtt.store.write_behind import WriteBehind

_logger = logging.getLogger(__name__)

_KNOWN = Gauge("mimi_fleet_devices", "Devices that may connect")
_BOOTS = Counter(
    "mimi_fleet_boots_total", "Boots of known devices by what became of their report", ["outcome"]
)

MAX_WAITING_BOOTS = 10_000
"""Boots whose report waits for the database; of more, the report is not kept."""

_SEEN_EVERY_S = 30.0
_PRESENT_EVERY_S = 3600.0
_CLOSE_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """A device that may connect. `host` is the address of ours it last reached; a text is "" when
    unknown, `agent` for the default one."""

    device_id: str
    udp_key: bytes = field(repr=False)
    host: str | None = None
    language: str = ""
    name: str = ""
    board: str = ""
    firmware_version: str = ""
    agent: str = ""
    user_name: str = field(default="", repr=False)
    cellular: bool = False
    """Whether it is connected by a 4G modem, by its last OTA request."""

    @property
    def facts(self) -> DeviceFacts:
        """What a prompt may tell of it."""
        return DeviceFacts(self.device_id, self.name, self.board, self.language, self.firmware_version)


@dataclass(frozen=True, slots=True)
class Registration:
    """What OTA knows of a device that may connect: whom it is bound to, and what it was last told for."""

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


class DeviceDirectory:
    """The devices that may connect, and the accounts of people. Implements `fleet.identity.Authenticator`."""

    def __init__(
        self, store: Store, credentials: Credentials, accounts: AccountSettings, *, refresh_s: float = 2.0
    ) -> None:
        self._store = store
        self._credentials = credentials
        self._admin = accounts.admin_username
        password = accounts.admin_password
        self._admin_password = password.get_secret_value().encode() if password is not None else b""
        self._anonymous = accounts.anonymous
        self._refresh_s = refresh_s
        self._entries: dict[str, _Entry] = {}
        self._allowed = 0
        self._revision = 0
        self._seen: dict[str, datetime] = {}
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._failing = False
        self._refreshing = asyncio.Lock()
        self._read_at = float("-inf")
        self._boots = WriteBehind(
            self._save_boots, "reports of booting devices", _BOOTS, max_waiting=MAX_WAITING_BOOTS
        )
        self.on_revoked: Callable[[str], None] = _nobody
        """Called on the loop with the id of a device whose old credentials stopped being good: end its
        connections."""
        self.is_connected: Callable[[str], bool] = _never
        """Whether a device is connected now: it counts as seen although it does not log in again."""

    @property
    def healthy(self) -> bool:
        """Whether the last refresh and the last write succeeded; when not, what was known before still
        holds."""
        return not self._failing and self._boots.healthy

    def __len__(self) -> int:
        return self._allowed

    async def start(self) -> None:
        """Reads every device, and keeps up with changes from now on. Raises StoreError."""
        await self.refresh()
        await self._boots.start()
        if self._task is None:
            self._closing.clear()
            self._task = asyncio.create_task(self._keep_up(), name="device-directory")

    async def aclose(self) -> None:
        """Stops keeping up and writes what waits to be written; safe to call twice."""
        await self._boots.aclose()
        task, self._task = self._task, None
        if task is None:
            return
        # A query is not cut off half-way: its connection would be lost to the pool.
        self._closing.set()
        _, late = await asyncio.wait({task}, timeout=_CLOSE_TIMEOUT_S)
        if late:
            task.cancel()
            await asyncio.wait({task})
        await self._save_seen()

    def get(self, device_id: str) -> DeviceInfo | None:
        """The device, or None when there is none that may connect."""
        entry = self._entries.get(device_id)
        return entry.info if entry is not None else None

    async def registration(self, device_id: str) -> Registration | None:
        """What OTA knows of a device that may connect, from a reading of at most `refresh_s` ago. Who comes
        when it is older shares one new reading. Raises StoreError when that fails."""
        if self._is_old():
            async with self._refreshing:
                if self._is_old():
                    await self._read_changes()
        entry = self._entries.get(device_id)
        return entry.registration if entry is not None else None

    def booted(self, boot: Boot) -> None:
        """Keeps what a device said of itself when the database has time; never blocks, never raises."""
        self._boots.add(boot)
        entry = self._entries.get(boot.device_id)
        if entry is not None and entry.info is not None:
            # Not a change that other processes would notice, nor one that they need at once.
            board = bounded(boot.board, tables.BOARD_CHARS)
            version = bounded(boot.firmware_version, tables.VERSION_CHARS)
            told = replace(entry.info, board=board, firmware_version=version)
            self._entries[boot.device_id] = replace(entry, info=told)

    def authenticate(self, client_id: str, username: str | None, password: bytes | None) -> Identity | None:
        """Checks a CONNECT. An unknown user costs what a wrong password costs; only the current epoch is
        good."""
        if not username:
            return Identity(Role.ANONYMOUS, "") if self._anonymous and not password else None
        given = password or b""
        entry = self._entries.get(username)
        if entry is None or entry.info is None:
            is_device = self._credentials.check_password(given, None, 0)
        else:
            is_device = self._credentials.check_password(given, username, entry.epoch)
        is_admin = hmac.compare_digest(given, self._admin_password)
        if username == self._admin:
            return Identity(Role.ADMIN, username) if is_admin and self._admin_password else None
        if not is_device:
            return None
        if client_id != username:
            return Identity(Role.TESTER, username, username)
        self._seen[username] = datetime.now(UTC)
        return Identity(Role.DEVICE, username, username)

    def apply(self, device: Device) -> None:
        """Takes over a row just written or read; the newest revision wins, whatever the order."""
        if not device.allowed:
            self._put(device.id, _Entry(device.epoch, device.revision, None, None))
            return
        info = DeviceInfo(
            device.id,
            self._credentials.udp_key(device.id, device.epoch),
            device.host or None,
            device.language or device.reported_language,
            device.name,
            device.board,
            device.firmware_version,
            device.agent,
            device.user_name,
        )
        self._put(device.id, _Entry(device.epoch, device.revision, info, Registration.of(device)))

    def _put(self, device_id: str, entry: _Entry) -> None:
        known = self._entries.get(device_id)
        if known is not None and known.revision >= entry.revision:
            return
        self._entries[device_id] = entry
        was_allowed = known is not None and known.info is not None
        self._allowed += (entry.info is not None) - was_allowed
        _KNOWN.set(self._allowed)
        if known is not None and was_allowed and (entry.info is None or known.epoch != entry.epoch):
            self.on_revoked(device_id)

    async def refresh(self) -> None:
        """Applies what others changed. Raises StoreError."""
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
            self.apply(device)
        for gone in forgotten:
            self._put(gone.id, _Entry(0, gone.revision, None, None))
        revisions = [row.revision for row in changed] + [row.revision for row in forgotten]
        self._revision = max([self._revision, *revisions])
        self._read_at = began

    async def _keep_up(self) -> None:
        loop = asyncio.get_running_loop()
        next_seen = loop.time() + _SEEN_EVERY_S
        next_present = loop.time() + _PRESENT_EVERY_S
        while not await self._closes_within(self._refresh_s):
            try:
                await self.refresh()
            except StoreError as error:
                if not self._failing:
                    _logger.warning("changes of devices are not being noticed: %s", error)
                self._failing = True
                continue
            self._failing = False
            if loop.time() >= next_present:
                next_present = loop.time() + _PRESENT_EVERY_S
                self._see_connected()
            if loop.time() >= next_seen:
                next_seen = loop.time() + _SEEN_EVERY_S
                await self._save_seen()

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
        try:
            if seen:
                async with self._store.write() as session:
                    await devices.touch(session, seen)
        except StoreError as error:
            _logger.warning("when devices were last seen could not be recorded: %s", error)


def _never(device_id: str) -> bool:
    del device_id
    return False


def _nobody(device_id: str) -> None:
    del device_id
