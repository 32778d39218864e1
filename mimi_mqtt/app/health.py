"""The health of the running server: the state of each part, problems, checks, and archives for diagnosis."""

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from datetime import datetime

from mimi_mqtt.app import diagnosis
from mimi_mqtt.app.checks import ServerChecks
from mimi_mqtt.app.diagnostics import Diagnostics, Facts
from mimi_mqtt.app.parts import Parts
from mimi_mqtt.http.health import PartHealth
from mimi_mqtt.log.recent import RecentLines
from mimi_mqtt.problems import Problems
from mimi_mqtt.providers.catalog.advice import better_model


class Health:
    """The state of a server. `is_serving` tells whether HTTP is served; `watched` has, by its name, whether
    each loop beside those of the parts is healthy; `recent` are the last lines of the log."""

    def __init__(
        self,
        parts: Parts,
        *,
        is_serving: Callable[[], bool],
        watched: Mapping[str, Callable[[], bool]],
        recent: RecentLines,
        started_at: datetime,
    ) -> None:
        self._parts = parts
        self._is_serving = is_serving
        self._watched = watched
        self.started_at = started_at
        """The time of the server's start."""
        self.diagnosis = self._diagnosis()
        self.diagnostics = self._diagnostics(recent)
        self.checks = ServerChecks(
            lambda: parts.in_force.settings, parts.addresses.endpoints, parts.foundation.credentials,
            parts.live.udp, lambda: parts.addresses.device_host,
        )  # fmt: skip

    def start(self, stack: AsyncExitStack) -> None:
        """Takes note of problems from now on, until `stack` ends it."""
        stack.callback(self.diagnosis.close)
        self.diagnosis.start()

    def current(self) -> Mapping[str, PartHealth]:
        """Each part's state."""
        parts, endpoints = self._parts, self._parts.addresses.endpoints
        told = parts.certificates.describe()
        return {
            "backup": parts.records.backup_health(),
            "process": self._process(),
            "http": PartHealth(
                self._is_serving() and parts.streams.events.healthy,
                f"port {endpoints.http_port}; {len(parts.live.websockets)} devices over WebSocket",
            ),
            "mqtt": parts.live.mqtt_health(endpoints.mqtt_port),
            "files": parts.records.files.health(),
            "firmware": parts.firmware.health(),
            "notices": parts.commands.notices_health(),
            "people": parts.people.health(),
            "udp": parts.live.udp_health(),
            "sessions": parts.live.sessions_health(),
            "managed": parts.in_force.health(),
            **({"tls": PartHealth(not parts.certificates.expired, told)} if told else {}),
            "reminders": parts.commands.reminders_health(),
            "shares": parts.foundation.health(),
            "store": self._store(),
        }

    def _process(self) -> PartHealth:
        """Loops that belong to no other part."""
        parts = self._parts
        failing = [
            *([] if parts.voices.unloading.healthy else ["unloading of idle models"]),
            *([] if parts.certificates.healthy else ["certificates"]),
            *(what for what, healthy in self._watched.items() if not healthy()),
        ]
        return PartHealth(not failing, f"failed: {', '.join(failing)}" if failing else "running")

    def _store(self) -> PartHealth:
        """The database, and what is written there behind the conversations."""
        parts = self._parts
        directory, turn_log = parts.fleet.directory, parts.records.turn_log
        faults = "" if directory.healthy else ", changes of devices may go unnoticed"
        if parts.foundation.store.failure:
            faults += f"; {parts.foundation.store.failure}"
        if not turn_log.healthy:
            faults += f", {turn_log.dropped} turns not recorded"
        return PartHealth(
            all(part.healthy for part in (turn_log, parts.fleet, parts.people.companion)),
            f"{len(directory)} devices{faults}",
        )

    def _diagnosis(self) -> diagnosis.Diagnosis:
        """The checks that find problems."""
        parts, store = self._parts, self._parts.foundation.store
        settings = parts.in_force.settings
        checks = {
            "parts": diagnosis.parts(self.current),
            "database": diagnosis.database(store),
            "disk": diagnosis.disk(settings.server.data_dir),
            "certificates": diagnosis.certificates(parts.certificates),
            "clock": diagnosis.clock(),
            "clock set back": diagnosis.clock_set_back(store),
            "moved ports": diagnosis.moved_ports(parts.addresses.movable_ports),
            "backups": diagnosis.old_backups(store, settings.backup, self.started_at),
            "language model": diagnosis.language_model(lambda: better_model(parts.voices.answering)),
            "devices over WebSocket": diagnosis.devices_over_websocket(store),
            "waiting devices": diagnosis.waiting_devices(store),
            "refusals": diagnosis.refusals(parts.foundation.ledger.summary),
            "roll-outs": parts.firmware.problems,
            "firmware": parts.firmware.stuck,
        }
        return diagnosis.Diagnosis(Problems(), parts.foundation.events, checks)

    def _diagnostics(self, recent: RecentLines) -> Diagnostics:
        """The maker of archives."""
        parts = self._parts
        return Diagnostics(
            Facts(
                settings=lambda: parts.in_force.settings,
                environ=parts.foundation.environ,
                health=self.current,
                diagnosis=self.diagnosis,
                lines=recent,
                store=parts.foundation.store,
                directory=parts.fleet.directory,
                live=parts.fleet.live,
                started_at=self.started_at,
            )
        )
