"""The REST API from the parts of the running server. FastAPI is imported when it is built, not before."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Protocol

from mimi_mqtt.app.health import Health
from mimi_mqtt.app.parts import Parts
from mimi_mqtt.app.replays import TurnReplays
from mimi_mqtt.app.samples import VoiceSamples
from mimi_mqtt.app.stage_tests import StageTests
from mimi_mqtt.commands.screenshots import Belonging
from mimi_mqtt.config import Settings
from mimi_mqtt.config.changes import Changes
from mimi_mqtt.errors import StoreError
from mimi_mqtt.managed.model_installs import ModelInstalls
from mimi_mqtt.memory.exports import ConversationExports
from mimi_mqtt.session.overview import LiveSessions
from mimi_mqtt.store import audit
from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.engine import Store
from mimi_mqtt.store.idempotency import IdempotencyTable
from mimi_mqtt.store.reminders import ReminderTable

if TYPE_CHECKING:
    from fastapi import FastAPI

_log = logging.getLogger(__name__)


class ReloadsSettings(Protocol):
    """The reader of changed settings: `cli.reloading.Reloading`."""

    async def reload(self) -> Changes:
        """Reads them and has them taken over. Raises MimiError."""

    def sources(self) -> Mapping[tuple[str, ...], str]:
        """Where each key is set. Blocks. Raises ConfigError."""


def build(
    parts: Parts, health: Health, installs: ModelInstalls, reloading: Callable[[], ReloadsSettings | None]
) -> "FastAPI":
    """The API; runs in a thread. `reloading` returns the reader of changed settings, if there is one."""
    from mimi_mqtt.http.api.app import build_api
    from mimi_mqtt.http.api.commands import Uploads as SoundUploads
    from mimi_mqtt.http.api.idempotency import Idempotency
    from mimi_mqtt.http.api.rates import CallerRates
    from mimi_mqtt.http.api.server import ServerFacts
    from mimi_mqtt.http.api.services import ApiServices
    from mimi_mqtt.http.api.settings import SettingsAccess

    foundation, fleet, records, firmware = parts.foundation, parts.fleet, parts.records, parts.firmware
    store, environ, commands = foundation.store, foundation.environ, parts.commands.runner
    origin = parts.addresses.origin

    def settings() -> Settings:
        return parts.in_force.settings

    def belonging(device_id: str) -> Belonging:
        return fleet.belonging(device_id) or Belonging()

    def reload() -> Callable[[Author], Awaitable[Changes]] | None:
        reader = reloading()
        return None if reader is None else partial(_reload, reader, store)

    def sources() -> Mapping[tuple[str, ...], str]:
        reader = reloading()
        return reader.sources() if reader is not None else {}

    return build_api(
        ApiServices(
            assets=firmware.assets,
            authenticator=parts.people.authenticator,
            backups=records.backups,
            belonging=fleet.belonging,
            browsers=fleet.browsers,
            checks=health.checks,
            claims=fleet.claims,
            collect_files=records.files.collect,
            commands=commands,
            connections=fleet.connections,
            conversations=records.history,
            database=store,
            device_keys=fleet.keys,
            devices=fleet.registry,
            diagnostics=health.diagnostics,
            directory=fleet.directory,
            events=parts.streams.events,
            exports=ConversationExports(store),
            firmware=firmware.images,
            health=health.current,
            idempotency=Idempotency(IdempotencyTable(store)),
            installs=installs,
            logs=parts.streams.logs,
            managed=parts.in_force.managed,
            people=parts.people.accounts,
            problems=health.diagnosis,
            rates=CallerRates(foundation.ledger),
            recordings=records.files.recordings,
            reminder_pages=ReminderTable(store),
            reminders=parts.commands.reminders,
            replays=TurnReplays(
                settings, parts.voices.pool, records.history, records.files.recordings, fleet.directory.get
            ),
            rollouts=firmware.rollouts,
            samples=VoiceSamples(settings, environ),
            screenshots=records.files.screenshots(commands, belonging, origin),
            server=ServerFacts(parts.addresses.endpoints, health.started_at),
            sessions=LiveSessions(parts.live.sessions),
            settings=SettingsAccess(current=settings, sources=sources, reload=reload),
            sound_uploads=SoundUploads(),
            stages=StageTests(settings, environ),
            traces=parts.streams.traces,
            updates=firmware.updates(commands, origin),
            uploads=records.files.uploads,
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
