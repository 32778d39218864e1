"""Problems of the running server and its devices: what parts report, and what a look at them finds."""

import asyncio
import logging
import shutil
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeAlias

from mimi_mqtt.config import BackupSettings
from mimi_mqtt.errors import StoreError
from mimi_mqtt.events import (
    DeviceEvent,
    DeviceRevoked,
    EventBus,
    ProviderEvent,
    ProviderFailed,
    ProviderRecovered,
    SessionOpened,
    SessionRefused,
    Subscription,
)
from mimi_mqtt.fleet.fallback import fallbacks
from mimi_mqtt.http.health import PartHealth
from mimi_mqtt.problems import Problem, Problems, Severity
from mimi_mqtt.store import activations, backups, devices
from mimi_mqtt.store.engine import Store
from mimi_mqtt.tls.watch import CertificateWatch

LOOK_EVERY_S: Final = 5.0
"""Seconds for which what a look found is told again."""
CHECK_TIMEOUT_S: Final = 5.0
"""Longest time of one check, in seconds."""
LOW_DISK_BYTES: Final = 500_000_000
"""Free space of the data folder below which it is a warning."""
NO_DISK_BYTES: Final = 50_000_000
"""Free space below which nothing more may be stored soon."""
MAX_DEVICES_TOLD: Final = 200
"""Devices whose UDP is blocked that are told one by one; of more, the server's own network is told."""
EARLIEST: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""No right clock shows a time before this program was made."""
AHEAD: Final = timedelta(minutes=10)
"""Devices that were seen so far in the future tell that the clock was set back."""

Check: TypeAlias = Callable[[], Awaitable[Iterable[Problem]]]

_log = logging.getLogger(__name__)

_CURES: Final = {
    "ProviderNotConfigured": "set its key, or install what it needs: `mimi-mqtt providers` names it",
    "ProviderRefused": "check its key, model and account: `mimi-mqtt providers test` asks it once",
    "ProviderRateLimited": "wait, or raise its account's limit; a second provider in the list takes over",
    "ProviderTimeout": "check that it can be reached and is not overloaded; a second provider takes over",
    "ProviderUnavailable": "check the network and the service; a second provider in the list takes over",
}
_OTHER_CURE: Final = "see the server's log"


class Diagnosis:
    """All that is known of problems. Implements `http.api.health.KnownProblems`. Belongs to the loop's
    thread; `start`, then `close`."""

    def __init__(self, problems: Problems, events: EventBus, checks: Mapping[str, Check]) -> None:
        self._problems = problems
        self._events = events
        self._checks = checks
        self._looking = asyncio.Lock()
        self._looked_at: float | None = None
        self._subscriptions: list[Subscription] = []
        self._providers: set[str] = set()

    def start(self) -> None:
        """Takes note of what happens from now on."""
        self._subscriptions = [
            self._events.subscribe(self._happened, ProviderEvent, name="problems of providers"),
            self._events.subscribe(
                self._greeted, SessionRefused, SessionOpened, DeviceRevoked, name="problems of devices"
            ),
        ]

    def close(self) -> None:
        """Takes note of nothing more."""
        for subscription in self._subscriptions:
            subscription.close()

    async def current(self) -> Sequence[Problem]:
        """All problems. Looks again when the last look is older than `LOOK_EVERY_S`; who comes meanwhile
        shares it."""
        async with self._looking:
            now = asyncio.get_running_loop().time()
            if self._looked_at is None or now - self._looked_at >= LOOK_EVERY_S:
                await asyncio.gather(*(self._look(name, check) for name, check in self._checks.items()))
                self._looked_at = asyncio.get_running_loop().time()
        return self._problems.current()

    def provider_works(self, role: str, name: str) -> None:
        """A provider was tried and works: it fails no more, until it fails again."""
        self._happened(ProviderRecovered(role=role, name=name))

    @property
    def checks(self) -> Mapping[str, bool]:
        """The names of the checks, and whether each found nothing when it looked last."""
        return {name: not self._problems.found_by(name) for name in self._checks}

    def reloaded(self) -> None:
        """Forgets the failures of providers: others may be in use now."""
        for id_ in self._providers:
            self._problems.resolve(id_)
        self._providers.clear()

    async def _look(self, name: str, check: Check) -> None:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                found = list(await check())
        except (StoreError, TimeoutError) as error:
            _log.debug("the check %s failed: %s", name, error)
            return  # the check of the store tells it
        except Exception:  # noqa: BLE001 - the border of a check: the others still tell
            _log.exception("the check %s failed", name)
            found = [
                Problem(
                    id=f"check.{name}", severity=Severity.WARNING, cure=_OTHER_CURE,
                    kind="check_failed", values={"check": name},
                    cause=f"the server could not look for problems of the kind {name}",
                )
            ]  # fmt: skip
        self._problems.found(name, found)

    def _happened(self, event: ProviderEvent) -> None:
        id_ = f"provider.{event.role}.{event.name}"
        if isinstance(event, ProviderFailed):
            self._providers.add(id_)
            self._problems.report(
                Problem(
                    id=id_, severity=Severity.ERROR, since=event.at,
                    kind="provider_failing",
                    values={"provider": event.name, "role": event.role, "error": event.kind},
                    cause=f"the provider {event.name} ({event.role}) fails: {event.kind}",
                    cure=_CURES.get(event.kind, _OTHER_CURE),
                )
            )  # fmt: skip
        elif isinstance(event, ProviderRecovered):
            self._providers.discard(id_)
            self._problems.resolve(id_)

    def _greeted(self, event: DeviceEvent) -> None:
        id_ = f"device.hello:{event.device_id}"
        if not isinstance(event, SessionRefused):
            self._problems.resolve(id_)
            return
        self._problems.report(
            Problem(
                id=id_, severity=Severity.WARNING, since=event.at, device_id=event.device_id,
                kind="device_refused", values={"reason": event.reason},
                cause=f"the device can't talk: {event.reason}",
                cure="mend what the cause names; it is over when the device talks again",
            )
        )  # fmt: skip


# ── checks ───────────────────────────────────────────────────────────────────────────────────────────────


def parts(health: Callable[[], Mapping[str, PartHealth]]) -> Check:
    """Parts of the server that do not work."""

    async def check() -> Iterable[Problem]:
        return [
            Problem(
                id=f"part.{name}", severity=Severity.ERROR, kind="part_failing",
                values={"part": name, "detail": part.detail},
                cause=f"{name} does not work: {part.detail}",
                cure="see the server's log, which says why; `mimi-mqtt doctor` looks further",
            )
            for name, part in health().items()
            if not part.ok
        ]  # fmt: skip

    return check


def disk(folder: Path) -> Check:
    """Little space for the database and files."""

    async def check() -> Iterable[Problem]:
        usage = await asyncio.to_thread(shutil.disk_usage, folder)
        if usage.free >= LOW_DISK_BYTES:
            return ()
        severity = Severity.ERROR if usage.free < NO_DISK_BYTES else Severity.WARNING
        return [
            Problem(
                id="store.disk", severity=severity, kind="disk_low",
                values={"folder": str(folder), "free_bytes": usage.free},
                cause=f"the disk of {folder} has {usage.free // 1_000_000} MB left",
                cure="free some space, keep less (store.max_size_mb, store.keep_conversations_days), or set "
                "server.data_dir to a folder on another disk",
            )
        ]  # fmt: skip

    return check


def certificates(watch: CertificateWatch) -> Check:
    """Certificates that expired or will soon."""

    async def check() -> Iterable[Problem]:
        return [
            Problem(
                id=f"tls.{section}", severity=Severity.ERROR if expired else Severity.WARNING,
                kind="certificate_expired" if expired else "certificate_ending",
                values={"section": section, "at": ends.isoformat()},
                cause=f"the certificate of {section} {warning}",
                cure=f"renew the file {section}.tls_certificate: the server reads it again by itself",
            )
            for section, warning, expired, ends in watch.warnings()
        ]  # fmt: skip

    return check


def clock(now: Callable[[], float] = time.time) -> Check:
    """A clock that can't be right: tokens and certificates are judged by it."""

    async def check() -> Iterable[Problem]:
        shown = datetime.fromtimestamp(now(), UTC)
        if shown >= EARLIEST:
            return ()
        return [
            Problem(
                id="clock", severity=Severity.ERROR, kind="clock_wrong", values={"shown": shown.isoformat()},
                cause=f"this machine's clock shows {shown:%Y-%m-%d}, which is in the past",
                cure="set it, or have it set by NTP: `timedatectl set-ntp true`",
            )
        ]  # fmt: skip

    return check


def clock_set_back(store: Store, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Check:
    """A clock that shows an earlier time than it did."""

    async def check() -> Iterable[Problem]:
        async with store.read() as session:
            seen = await devices.last_seen(session)
        if seen is None or seen <= now() + AHEAD:
            return ()
        return [
            Problem(
                id="clock.back", severity=Severity.WARNING, kind="clock_back",
                values={"shown": now().isoformat(), "seen": seen.isoformat()},
                cause=f"this machine's clock shows {now():%Y-%m-%d %H:%M} UTC, but a device was seen on "
                f"{seen:%Y-%m-%d %H:%M} UTC",
                cure="set it, or have it set by NTP: `timedatectl set-ntp true`",
            )
        ]  # fmt: skip

    return check


def moved_ports(ports: Callable[[], Iterable[tuple[str, int, int]]]) -> Check:
    """Ports that another program has: the server listens on others. `ports` are section and key of the
    settings, the port by default and the one in use."""

    async def check() -> Iterable[Problem]:
        return [
            Problem(
                id=f"port.{key}", severity=Severity.WARNING, kind="port_moved",
                values={"key": key, "wanted": wanted, "used": used},
                cause=f"another program has port {wanted}: {key.partition('.')[0].upper()} is on port {used}",
                cure=f"end that program and restart, or set {key} to keep the port; devices are told the new "
                "one at their next start, other clients and firewalls are not",
            )
            for key, wanted, used in ports()
            if wanted not in (0, used)
        ]  # fmt: skip

    return check


def old_backups(
    store: Store,
    settings: BackupSettings,
    started_at: datetime,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Check:
    """Scheduled backups of which the last good one is twice as old as it should be."""

    async def check() -> Iterable[Problem]:
        if settings.folder is None:
            return ()
        async with store.read() as session:
            last = await backups.last_done(session)
        since = max(started_at, last) if last is not None else started_at
        if now() - since < 2 * timedelta(hours=settings.every_hours):
            return ()
        told = f"is of {last:%Y-%m-%d %H:%M} UTC" if last is not None else "was never made"
        return [
            Problem(
                id="backup.old", severity=Severity.WARNING, kind="backup_old",
                values={"at": last.isoformat() if last is not None else None, "hours": settings.every_hours},
                cause=f"the last good backup {told}, though one is due every {settings.every_hours:g} hours",
                cure="make one now (`mimi-mqtt backup`); the list of backups says why others failed",
            )
        ]  # fmt: skip

    return check


def language_model(advice: Callable[[], Sequence[str]]) -> Check:
    """No language model: only the built-in assistant answers."""

    async def check() -> Iterable[Problem]:
        commands = advice()
        if not commands:
            return ()
        return [
            Problem(
                id="providers.llm", severity=Severity.WARNING, kind="no_language_model",
                values={"commands": " && ".join(commands)},
                cause="there is no language model: the built-in assistant answers simple requests alone",
                cure="set the key of a provider, or install a model here: " + " && ".join(commands),
            )
        ]  # fmt: skip

    return check


def database(store: Store) -> Check:
    """A database that does not answer."""

    async def check() -> Iterable[Problem]:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S / 2), store.read() as session:
                await activations.counts(session)
        except StoreError as error:
            reason = str(error)
        except TimeoutError:
            reason = f"{store.place} does not answer"
        else:
            return ()
        return [
            Problem(
                id="store", severity=Severity.ERROR, kind="database_failing", values={"reason": reason},
                cause=reason,
                cure="mend what the cause names; conversations go on meanwhile",
            )
        ]  # fmt: skip

    return check


def devices_over_websocket(store: Store) -> Check:
    """Devices whose UDP is blocked."""

    async def check() -> Iterable[Problem]:
        found = []
        fallen_back = await fallbacks(store, MAX_DEVICES_TOLD + 1)
        if len(fallen_back) > MAX_DEVICES_TOLD:
            return [
                Problem(
                    id="udp", severity=Severity.ERROR, kind="udp_silent",
                    values={"devices": MAX_DEVICES_TOLD},
                    cause=f"the audio of more than {MAX_DEVICES_TOLD} devices does not arrive over UDP: each "
                    "is given a WebSocket",
                    cure="let the server's UDP port through the firewall; `mimi-mqtt devices list` names "
                    "them",
                )
            ]  # fmt: skip
        for each in fallen_back:
            silent = each.silent_since is not None
            since = f"{each.since:%Y-%m-%d %H:%M} UTC"
            told = "; it has not connected since its last start" if silent else ""
            found.append(
                Problem(
                    id=f"device.udp:{each.device_id}", device_id=each.device_id, since=each.since,
                    severity=Severity.ERROR if silent else Severity.WARNING,
                    kind="device_udp_silent",
                    values={"at": each.since.isoformat(), "unreached": int(silent)},
                    cause=f"the device's audio does not arrive over UDP: since {since} it is given "
                    f"a WebSocket{told}",
                    cure="let the server's UDP port through the firewall, then set the transport back: "
                    f"`mimi-mqtt devices set {each.device_id} --transport default`",
                )
            )  # fmt: skip
        return found

    return check


def waiting_devices(store: Store, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Check:
    """Devices that ask and are not allowed."""

    async def check() -> Iterable[Problem]:
        async with store.read() as session:
            number = await activations.count_waiting(session, now())
        if not number:
            return ()
        return [
            Problem(
                id="devices.waiting", severity=Severity.INFO, kind="devices_waiting",
                values={"count": number},
                cause=f"{number} {'device waits' if number == 1 else 'devices wait'} to be allowed",
                cure="enter the code that the device shows or speaks: `mimi-mqtt devices allow CODE`",
            )
        ]  # fmt: skip

    return check


def refusals(summary: Callable[[], str]) -> Check:
    """Shares that somebody exceeds."""

    async def check() -> Iterable[Problem]:
        told = summary()
        if not told:
            return ()
        return [
            Problem(
                id="shares", severity=Severity.INFO, kind="shares_exceeded", values={"told": told},
                cause=f"more is asked than a share allows: {told}",
                cure="look who it is; for many devices behind one address raise the setting for the share, "
                "which docs/security.md names",
            )
        ]  # fmt: skip

    return check
