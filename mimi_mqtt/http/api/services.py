"""The parts of the server that routes call, handed over by the composition root."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Protocol

from fastapi import Depends, Request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from mimi_mqtt.backup.scheduling import Backups
    from mimi_mqtt.commands.runner import Commands
    from mimi_mqtt.commands.screenshots import Belonging, Screenshots
    from mimi_mqtt.commands.updates import Updates
    from mimi_mqtt.files.recordings import Recordings
    from mimi_mqtt.files.uploads import Seer, Uploads
    from mimi_mqtt.fleet.browser_devices import BrowserDevices
    from mimi_mqtt.fleet.claiming import Claims
    from mimi_mqtt.fleet.connection_history import ConnectionHistory
    from mimi_mqtt.fleet.device_keys import DeviceKeys
    from mimi_mqtt.fleet.firmware.assets import Assets
    from mimi_mqtt.fleet.firmware.images import FirmwareImages
    from mimi_mqtt.fleet.firmware.rollouts import RollOuts
    from mimi_mqtt.fleet.registry import DeviceRegistry
    from mimi_mqtt.http.api.commands import Uploads as SoundUploads
    from mimi_mqtt.http.api.diagnostics import MakesArchives
    from mimi_mqtt.http.api.event_feed import EventFeed
    from mimi_mqtt.http.api.health import Health, KnownProblems
    from mimi_mqtt.http.api.idempotency import Idempotency
    from mimi_mqtt.http.api.log_feed import LogFeed
    from mimi_mqtt.http.api.rates import CallerRates
    from mimi_mqtt.http.api.reminders import Pages
    from mimi_mqtt.http.api.server import ServerFacts
    from mimi_mqtt.http.api.settings import SettingsAccess
    from mimi_mqtt.http.api.visibility import Devices
    from mimi_mqtt.http.health import CheckResult
    from mimi_mqtt.managed.model_installs import ModelInstalls
    from mimi_mqtt.managed.parts import ManagedParts
    from mimi_mqtt.managed.trials import StageResult
    from mimi_mqtt.memory.exports import ConversationExports
    from mimi_mqtt.memory.history import ConversationHistory
    from mimi_mqtt.people.access import Authenticator
    from mimi_mqtt.people.accounts import Accounts
    from mimi_mqtt.session.overview import LiveSessions
    from mimi_mqtt.session.trace import ControlTraces
    from mimi_mqtt.store.audit import Author
    from mimi_mqtt.store.engine import Store
    from mimi_mqtt.store.viewers import Asker
    from mimi_mqtt.tools.reminders.service import Reminders
    from mimi_mqtt.voice.replay import ReplayOfTurn, ReplayWish
    from mimi_mqtt.voice.speech.sample import SampleWish


class SaysSamples(Protocol):
    """Samples of voices."""

    async def wav(self, text: str, key: str, wish: "SampleWish") -> bytes:
        """A text as the agent `key` says it, or as `wish` asks."""


class ReplaysTurns(Protocol):
    """Replays of recorded turns."""

    async def run(
        self,
        asker: "Asker",
        seer: "Seer",
        author: "Author",
        conversation_id: str,
        number: int,
        wish: "ReplayWish",
    ) -> "ReplayOfTurn":
        """Asks a turn again, with what `wish` names in place of what was."""


class TestsStages(Protocol):
    """Timed tests of hearing and thinking."""

    async def hear(self, recording: bytes, sentence: str, language: str) -> "StageResult":
        """Recognises the speech of a WAV file, or of a sentence that the server says."""

    async def think(self, question: str) -> "StageResult":
        """The answer to a question."""


class ChecksItself(Protocol):
    """Round trips of the server through its own addresses."""

    async def run(self, browser_time: "datetime | None") -> "Sequence[CheckResult]":
        """All checks; `browser_time` is the caller's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServices:
    """The parts that routes need, a field each."""

    assets: "Assets"
    authenticator: "Authenticator"
    backups: "Backups"
    belonging: "Callable[[str], Belonging | None]"
    """Tells whose a device is; None when there is none of that id."""
    browsers: "BrowserDevices"
    checks: "ChecksItself"
    claims: "Claims"
    collect_files: "Callable[[], Awaitable[None]]"
    """Deletes the bytes of files that nothing refers to any more, as far as that works at present."""
    commands: "Commands"
    connections: "ConnectionHistory"
    conversations: "ConversationHistory"
    database: "Store"
    device_keys: "DeviceKeys"
    devices: "DeviceRegistry"
    diagnostics: "MakesArchives"
    directory: "Devices"
    events: "EventFeed"
    exports: "ConversationExports"
    firmware: "FirmwareImages"
    health: "Health"
    idempotency: "Idempotency"
    installs: "ModelInstalls"
    logs: "LogFeed"
    managed: "ManagedParts"
    people: "Accounts"
    problems: "KnownProblems"
    rates: "CallerRates"
    recordings: "Recordings"
    reminder_pages: "Pages"
    reminders: "Reminders"
    replays: "ReplaysTurns"
    rollouts: "RollOuts"
    samples: "SaysSamples"
    screenshots: "Screenshots"
    server: "ServerFacts"
    sessions: "LiveSessions"
    settings: "SettingsAccess"
    sound_uploads: "SoundUploads"
    traces: "ControlTraces"
    stages: "TestsStages"
    updates: "Updates"
    uploads: "Uploads"


def _services(request: Request) -> ApiServices:
    services = request.app.state.services
    assert isinstance(services, ApiServices)  # noqa: S101 - `build_api` puts it there
    return services


Services = Annotated[ApiServices, Depends(_services)]
"""A parameter of a route: the server's parts."""
