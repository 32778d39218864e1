"""The devices that may connect, kept in memory: the authenticator of every connection, and OTA's memory.

The directory mirrors the devices table. Changes made by this process are applied at once, those of others
(the command line, another node) within `refresh_s`. The times at which devices were seen and their OTA
reports are written behind their backs.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from sys import intern
from typing import Final

from prometheus_client import Counter, Gauge

from mimi_mqtt.errors import StoreError
from mimi_mqtt.fleet.accounts import Accounts
from mimi_mqtt.fleet.activation import same_client
from mimi_mqtt.fleet.boards import BoardWatch
from mimi_mqtt.fleet.browser_tokens import BrowserTokens
from mimi_mqtt.fleet.credentials import COMMAND_LINE_USER, SELF_CHECK_USER, Credentials
from mimi_mqtt.fleet.entry import DeviceInfo as DeviceInfo
from mimi_mqtt.fleet.entry import Entry
from mimi_mqtt.fleet.entry import Registration as Registration
from mimi_mqtt.fleet.identity import Identity, Role
from mimi_mqtt.fleet.overlap import Overlap
from mimi_mqtt.store import boards, devices
from mimi_mqtt.store.devices import Boot, BootFacts, DirectoryRow
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

REFRESH_S: Final = 0.4
"""Seconds between two looks for changes of other processes: a device that was revoked there is cut off within
a second, reading and ending its connections included. A look is two searches in an index."""

_SEEN_EVERY_S = 30.0
_PRESENT_EVERY_S = 3600.0


class DeviceDirectory:
    """The devices that may connect, and the accounts of people. Implements `fleet.identity.Authenticator`."""

    def __init__(
        self, store: Store, credentials: Credentials, accounts: Accounts, *, refresh_s: float = REFRESH_S
    ) -> None:
        self._store = store
        self._credentials = credentials
        self._overlap = Overlap(credentials)
        self._browser_tokens = BrowserTokens(credentials)
        self._accounts = accounts
        self._refresh_s = refresh_s
        self._entries: dict[str, Entry] = {}
        self._allowed = 0
        self._revision = 0
        self._seen: dict[str, datetime] = {}
        self._loop = SupervisedLoop("device directory", self._keep_up)
        # A loop of its own: a database that is being written must not delay the reading of changes.
        self._seeing = SupervisedLoop("sightings of devices", self._note_seen, every_s=_SEEN_EVERY_S)
        self._closing = asyncio.Event()
        self._look_at = 0.0
        self._saving = False
        self._refreshing = asyncio.Lock()
        self._read_at = float("-inf")
        self._boots = WriteBehind(
            self._save_boots, "reports of booting devices", _BOOTS, max_waiting=MAX_WAITING_BOOTS
        )
        self._boards = BoardWatch()
        self._forgotten: dict[str, int] = {}
        """Revisions of forgotten devices that are remembered."""
        self._unended: set[str] = set()
        """Those of `_revoked` whose failure was told."""
        self._moved: set[str] = set()
        """Those of `_revoked` that have another owner than before."""
        self._revoked: dict[str, None] = {}
        """Devices whose connections are to be ended, in order; empty but for those where that failed."""
        self.on_revoked: Callable[[str], None] = _end_nothing
        """Called on the loop with the id of a device whose old credentials stopped being good: end its
        connections. Called again with the next refresh when it raises."""
        self.on_renewed: Callable[[str], None] = _end_nothing
        """Called on the loop with the id of a device that uses the credentials of a new secret for the first
        time: end its connections with older ones."""
        self.on_booted: Callable[[DeviceInfo], None] = _unheard
        """Called on the loop with a device that may connect and has just booted."""
        self.is_connected: Callable[[str], bool] = _never
        """Called with the id of a device; true when it is connected: it counts as seen."""

    @property
    def healthy(self) -> bool:
        """True while the directory keeps up with changes, every revoked device is disconnected and reports
        are written. When false, the last known state still holds."""
        return self._loop.healthy and self._seeing.healthy and self._boots.healthy and not self._revoked

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
        self._look_at = asyncio.get_running_loop().time() + _PRESENT_EVERY_S
        self._loop.start()
        self._seeing.start()

    async def aclose(self) -> None:
        """Stops keeping up and writes what waits to be written; safe to call twice."""
        await self._boots.aclose()
        # A query is not cut off half-way: its connection would be lost to the pool.
        self._closing.set()
        await self._loop.aclose(timeout_s=CLOSE_TIMEOUT_S if self._loop.healthy else 0.0)
        await self._seeing.aclose(timeout_s=CLOSE_TIMEOUT_S if self._saving else 0.0)
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
            known = BootFacts(
                info.board, info.board_name, info.firmware_version, info.cellular, info.espressif,
                info.host or "", info.origin, entry.reported_language,
            )  # fmt: skip
            facts = known.updated(boot)
            if facts != known:
                info = replace(
                    info,
                    board=intern(facts.board),
                    board_name=intern(facts.board_name),
                    firmware_version=intern(facts.firmware_version),
                    cellular=facts.cellular,
                    espressif=facts.espressif,
                    host=intern(facts.host) or None,
                    origin=intern(facts.origin),
                    language=entry.language or intern(facts.reported_language),
                )
                reported = intern(facts.reported_language)
                self._entries[boot.device_id] = replace(entry, info=info, reported_language=reported)
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
        if username == SELF_CHECK_USER:
            is_ours = self._credentials.check_self_check_password(given, time.time())
            return Identity(Role.ANONYMOUS, username) if is_ours else None
        if username == self._accounts.admin:
            return self._accounts.log_in(given, address)
        entry = self._entries.get(username)
        if entry is None or entry.info is None:
            is_device = self._credentials.check_password(given, None, 0)
        else:
            is_device = self._credentials.check_password(given, username, entry.epoch)
        if self._credentials.overlaps:
            is_device = self._check_in_overlap(given, username, entry, is_device, client_id == username)
        if not is_device:
            return None
        if client_id != username:
            return Identity(Role.TESTER, username, username)
        self._seen[username] = datetime.now(UTC)
        return Identity(Role.DEVICE, username, username)

    def admits(self, device_id: str, client_id: str, token: bytes) -> bool:
        """True when `token` is the device's own, and `client_id` the one that it is bound to; takes the same
        time for every wrong one. For connections other than MQTT's, whose token is the MQTT password, or a
        browser's, which names its device by itself."""
        entry = self._entries.get(device_id)
        if BrowserTokens.is_one(token):
            epoch = entry.epoch if entry is not None else 0
            is_good = self._browser_tokens.is_good(token, device_id, epoch, time.time())
            if not is_good or entry is None or entry.info is None:
                return False
            self._seen[device_id] = datetime.now(UTC)
            return True
        registration = entry.registration if entry is not None else None
        bound = same_client(registration.client_id if registration is not None else "", client_id)
        identity = self.authenticate(device_id, device_id, token)
        return isinstance(identity, Identity) and identity.role is Role.DEVICE and bound

    def _check_in_overlap(
        self, given: bytes, username: str, entry: Entry | None, is_current: bool, itself: bool
    ) -> bool:
        """True when `given` is a device's password of either secret; `itself`: it connects as the device."""
        if entry is None or entry.info is None:
            return self._credentials.check_old_password(given, None, 0)
        is_old = self._credentials.check_old_password(given, username, entry.epoch)
        if is_current:
            if itself:
                self._overlap.prove(username, entry.secret_id)
            return True
        return is_old and not self._overlap.is_proven(username, entry.secret_id)

    def master_key(self, device_id: str) -> bytes | None:
        """The UDP master key of a device that may connect; None for others. Of the old secret, while there is
        one, until the device authenticated with its new credentials."""
        entry = self._entries.get(device_id)
        if entry is None or entry.info is None:
            return None
        old = self._credentials.overlaps and not self._overlap.is_proven(device_id, entry.secret_id)
        return self._credentials.udp_key(device_id, entry.epoch, old=old)

    def secret_changed(self) -> None:
        """The credentials have another secret: without an overlap those of every device end, with their
        connections."""
        self._overlap.forget()
        if not self._credentials.overlaps:
            self._revoke_where(lambda _: True)

    def _end_overlap(self) -> None:
        """Ends the credentials of the old secret when their time is over."""
        if not self._credentials.drop_old(time.time()):
            return
        _log.warning("the server's old secret is worthless from now on: its devices need to ask OTA again")
        self._revoke_where(lambda item: not self._overlap.is_proven(item[0], item[1].secret_id))

    def _revoke_where(self, ended: Callable[[tuple[str, Entry]], bool]) -> None:
        for item in self._entries.items():
            if item[1].info is not None and ended(item):
                self._revoked[item[0]] = None
        self._end_connections()

    def apply(self, device: Device) -> None:
        """Takes over a row just written or read; the newest revision wins, whatever the order."""
        self._put(device.id, Entry.of(DirectoryRow.of(device)))
        _KNOWN.set(self._allowed)
        self._end_connections()

    def _put(self, device_id: str, entry: Entry) -> None:
        known = self._entries.get(device_id)
        if known is not None and known.revision >= entry.revision:
            return
        if known is None and entry.revision <= self._revision - self._store.revision_overlap:
            return  # read already, and no longer there: a row from before the device was forgotten
        self._entries[device_id] = entry
        was_allowed = known is not None and known.info is not None
        self._allowed += (entry.info is not None) - was_allowed
        if known is not None and was_allowed and (entry.info is None or known.epoch != entry.epoch):
            self._revoked[device_id] = None
            before, after = known.info, entry.info
            if before is not None and after is not None and before.owner_id not in ("", after.owner_id):
                self._moved.add(device_id)

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
                self._moved.discard(device_id)
                self._unended.discard(device_id)

    def has_moved(self, device_id: str) -> bool:
        """True, inside `on_revoked`, when the device's owner is another one than before."""
        return device_id in self._moved

    async def refresh(self) -> None:
        """Applies the changes of other processes. Raises StoreError."""
        async with self._refreshing:
            await self._read_changes()

    def _is_old(self) -> bool:
        return asyncio.get_running_loop().time() - self._read_at > self._refresh_s

    async def _read_changes(self) -> None:
        began = asyncio.get_running_loop().time()
        highest = self._revision
        async with self._store.read() as session:
            known = self._revision - self._store.revision_overlap
            if known <= 0:
                async for device in devices.every_row(session):
                    self._put(device.id, Entry.of(device))
                    highest = max(highest, device.revision)
            else:
                for device in await devices.changed_since(session, known):
                    self._put(device.id, Entry.of(device))
                    highest = max(highest, device.revision)
            forgotten = await devices.forgotten_since(session, known)
        for gone in forgotten:
            self._put(gone.id, Entry(0, gone.revision))
            self._forgotten[gone.id] = gone.revision
            highest = max(highest, gone.revision)
        self._revision = highest
        _KNOWN.set(self._allowed)
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
        if await self._closes_within(self._refresh_s):
            raise LoopFinished
        self._end_overlap()
        while (device_id := self._overlap.take_untold()) is not None:
            self.on_renewed(device_id)
        await self.refresh()

    async def _note_seen(self) -> None:
        """Stores when devices were seen."""
        self._saving = True
        try:
            await self._save_seen()
        finally:
            self._saving = False
        if self._closing.is_set():
            raise LoopFinished
        loop = asyncio.get_running_loop()
        if loop.time() >= self._look_at:
            self._look_at = loop.time() + _PRESENT_EVERY_S
            self._see_connected()

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
        due = self._boards.due(boots)
        async with self._store.write() as session:
            await devices.save_boots(session, boots)
            if due:
                await boards.see(session, due, boots[-1].at)

    async def _save_seen(self) -> None:
        seen, self._seen = self._seen, {}
        # Read at once: while the database is waited for, another secret may come into force.
        proven, secret_id = self._overlap.take_unsaved(), self._credentials.secret_id
        if not seen and not proven:
            return
        try:
            async with self._store.write() as session:
                await devices.touch(session, seen)
                await devices.know_secret(session, proven, secret_id)
        except BaseException:
            self._seen = seen | self._seen
            self._overlap.put_back(proven)
            raise


def _unheard(device: DeviceInfo) -> None:
    del device


def _never(device_id: str) -> bool:
    del device_id
    return False


def _end_nothing(device_id: str) -> None:
    del device_id
