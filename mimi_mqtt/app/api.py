"""The REST API from the parts of the running server. FastAPI is imported when it is built, not before."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Protocol

from mimi_mqtt.app.diagnostics import Diagnostics
from mimi_mqtt.app.replays import TurnReplays
from mimi_mqtt.app.samples import VoiceSamples
from mimi_mqtt.backup.scheduling import Backups
from mimi_mqtt.commands.runner import Commands
from mimi_mqtt.commands.screenshots import Belonging, Screenshots
from mimi_mqtt.commands.updates import Updates
from mimi_mqtt.config import Settings
from mimi_mqtt.config.changes import Changes
from mimi_mqtt.errors import StoreError
from mimi_mqtt.files.recordings import Recordings
from mimi_mqtt.files.uploads import Uploads
from mimi_mqtt.fleet.browser_devices import BrowserDevices
from mimi_mqtt.fleet.claiming import Claims
from mimi_mqtt.fleet.connection_history import ConnectionHistory
from mimi_mqtt.fleet.device_keys import DeviceKeys
from mimi_mqtt.fleet.directory import DeviceDirectory
from mimi_mqtt.fleet.firmware.assets import Assets
from mimi_mqtt.fleet.firmware.images import FirmwareImages
from mimi_mqtt.fleet.firmware.rollouts import RollOuts
from mimi_mqtt.fleet.provisioning import Endpoints
from mimi_mqtt.fleet.registry import DeviceRegistry
from mimi_mqtt.http.api.event_feed import EventFeed
from mimi_mqtt.http.api.log_feed import LogFeed
from mimi_mqtt.http.health import PartHealth
from mimi_mqtt.managed.model_installs import ModelInstalls
from mimi_mqtt.managed.parts import ManagedParts
from mimi_mqtt.memory.exports import ConversationExports
from mimi_mqtt.memory.history import ConversationHistory
from mimi_mqtt.people.access import Authenticator
from mimi_mqtt.people.accounts import Accounts
from mimi_mqtt.session.manager import SessionManager
from mimi_mqtt.session.overview import LiveSessions
from mimi_mqtt.session.trace import ControlTraces
from mimi_mqtt.shares import Ledger
from mimi_mqtt.store import audit
from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.idempotency import IdempotencyTable
from mimi_mqtt.store.reminders import ReminderTable
from mimi_mqtt.tools.reminders.service import Reminders

if TYPE_CHECKING:
    from fastapi import FastAPI

    from mimi_mqtt.app.checks import ServerChecks
    from mimi_mqtt.app.diagnosis import Diagnosis
    from mimi_mqtt.app.stage_tests import StageTests

_log = logging.getLogger(__name__)


class ReloadsSettings(Protocol):
    """The reader of changed settings: `cli.reloading.Reloading`."""

    async def reload(self) -> Changes:
        """Reads them and has them taken over. Raises MimiError."""

    def sources(self) -> Mapping[tuple[str, ...], str]:
        """Where each key is set. Blocks. Raises ConfigError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiParts:
    """The parts of the server that the API is a face of."""

    assets: Assets
    authenticator: Authenticator
    backups: Backups
    belonging: Callable[[str], Belonging | None]
    browsers: BrowserDevices
    checks: "ServerChecks"
    claims: Claims
    collect_files: Callable[[], Awaitable[None]]
    commands: Commands
    connections: ConnectionHistory
    conversations: ConversationHistory
    device_keys: DeviceKeys
    devices: DeviceRegistry
    diagnostics: Diagnostics
    directory: DeviceDirectory
    endpoints: Endpoints
    events: EventFeed
    exports: ConversationExports
    firmware: FirmwareImages
    installs: ModelInstalls
    health: Callable[[], Mapping[str, PartHealth]]
    ledger: Ledger
    logs: LogFeed
    managed: ManagedParts
    people: Accounts
    problems: "Diagnosis"
    recordings: Recordings
    reloading: Callable[[], ReloadsSettings | None]
    reminders: Reminders
    replays: TurnReplays
    rollouts: RollOuts
    samples: VoiceSamples
    screenshots: Screenshots
    sessions: SessionManager
    settings: Callable[[], Settings]
    stages: "StageTests"
    started_at: datetime
    store: Store
    traces: ControlTraces
    updates: Updates
    uploads: Uploads


def build(parts: ApiParts) -> "FastAPI":
    """The API; runs in a thread."""
    from mimi_mqtt.http.api.app import build_api
    from mimi_mqtt.http.api.commands import Uploads as SoundUploads
    from mimi_mqtt.http.api.idempotency import Idempotency
    from mimi_mqtt.http.api.rates import CallerRates
    from mimi_mqtt.http.api.server import ServerFacts
    from mimi_mqtt.http.api.services import ApiServices
    from mimi_mqtt.http.api.settings import SettingsAccess

    def reload() -> Callable[[Author], Awaitable[Changes]] | None:
        reloading = parts.reloading()
        return None if reloading is None else partial(_reload, reloading, parts.store)

    def sources() -> Mapping[tuple[str, ...], str]:
        reloading = parts.reloading()
        return reloading.sources() if reloading is not None else {}

    return build_api(
        ApiServices(
            assets=parts.assets,
            authenticator=parts.authenticator,
            backups=parts.backups,
            belonging=parts.belonging,
            browsers=parts.browsers,
            checks=parts.checks,
            claims=parts.claims,
            collect_files=parts.collect_files,
            commands=parts.commands,
            connections=parts.connections,
            conversations=parts.conversations,
            database=parts.store,
            device_keys=parts.device_keys,
            devices=parts.devices,
            diagnostics=parts.diagnostics,
            directory=parts.directory,
            events=parts.events,
            exports=parts.exports,
            firmware=parts.firmware,
            health=parts.health,
            idempotency=Idempotency(IdempotencyTable(parts.store)),
            installs=parts.installs,
            logs=parts.logs,
            managed=parts.managed,
            people=parts.people,
            problems=parts.problems,
            rates=CallerRates(parts.ledger),
            recordings=parts.recordings,
            reminder_pages=ReminderTable(parts.store),
            reminders=parts.reminders,
            replays=parts.replays,
            rollouts=parts.rollouts,
            samples=parts.samples,
            screenshots=parts.screenshots,
            server=ServerFacts(parts.endpoints, parts.started_at),
            sessions=LiveSessions(parts.sessions),
            settings=SettingsAccess(current=parts.settings, sources=sources, reload=reload),
            sound_uploads=SoundUploads(),
            traces=parts.traces,
            stages=parts.stages,
            updates=parts.updates,
            uploads=parts.uploads,
        )
    )


async def _reload(reloading: ReloadsSettings, store: Store, author: Author) -> Changes:
    """Has the settings read again, and leaves an entry in the audit. Raises MimiError, with which nothing has
    changed."""
    changes = await reloading.reload()
    try:
        async with store.write() as session:
            told = {"effective": list(changes.effective), "restart": list(changes.restart)}
            audit.record(session, author, "settings.reload", "settings", after=told)
    except StoreError as error:  # the settings are in force: a refusal would tell otherwise
        _log.error("a reload is missing in the audit: %s", error)
    return changes
