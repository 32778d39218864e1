"""A house for tests of the REST API: bob's two devices, one of them shared, nobody's one, and a session."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from mimi_mqtt.commands.model import CommandResult
from mimi_mqtt.commands.runner import Commands
from mimi_mqtt.config import Settings
from mimi_mqtt.config.changes import Changes, compare
from mimi_mqtt.errors import NotFound
from mimi_mqtt.events import EventBus
from mimi_mqtt.fleet.entry import DeviceInfo
from mimi_mqtt.fleet.provisioning import Endpoints
from mimi_mqtt.http.api.commands import Uploads
from mimi_mqtt.http.api.event_feed import EventFeed
from mimi_mqtt.http.api.idempotency import Idempotency
from mimi_mqtt.http.api.server import ServerFacts
from mimi_mqtt.http.api.settings import SettingsAccess
from mimi_mqtt.http.health import PartHealth
from mimi_mqtt.problems import Problem, Severity
from mimi_mqtt.session.link import AudioStats
from mimi_mqtt.session.overview import SessionOverview, TurnState
from mimi_mqtt.store.audit import Author
from mimi_mqtt.store.idempotency import KnownRequest
from mimi_mqtt.tools.reminders.service import Reminders
from tests.fakes.reminders import NOW, MemoryRows
from tests.unit.commands.fake_control import AWAY, DEVICE, IDLE, FakeControl

BOBS = DEVICE
"""bob's, with a session."""
SHARED = IDLE
"""bob's, shared with the group g-home."""
NOBODYS = AWAY
SESSION = "0123456789abcdef0123456789abcdef"


class FakeDirectory(dict[str, DeviceInfo]):
    """Implements `http.api.visibility.Devices`: a dict has `get`."""


class FakeSessions:
    """Stands for `session.overview.LiveSessions`."""

    def __init__(self, *sessions: SessionOverview) -> None:
        self.sessions = list(sessions)

    def __iter__(self) -> Iterator[SessionOverview]:
        return iter(sorted(self.sessions, key=lambda each: each.session_id))

    def live(self) -> Iterator[tuple[str, TurnState, AudioStats]]:
        return ((each.device_id, each.state, each.audio) for each in self.sessions)

    def get(self, session_id: str) -> SessionOverview | None:
        return next((each for each in self.sessions if each.session_id == session_id), None)


class MemoryRequests:
    """Implements `http.api.idempotency.RequestRows`; the contract tests are in
    `tests/unit/store/test_idempotency.py`."""

    def __init__(self) -> None:
        self.rows: dict[str, KnownRequest] = {}

    async def begin(self, id_: str, caller: str, digest: str, now: datetime) -> KnownRequest | None:
        if (known := self.rows.get(id_)) is None:
            self.rows[id_] = KnownRequest(digest, "")
        return known

    async def finish(self, id_: str, result: str) -> None:
        self.rows[id_] = KnownRequest(self.rows[id_].digest, result)

    async def forget(self, id_: str) -> None:
        self.rows.pop(id_, None)


@dataclass
class FakeAgents:
    """Implements `commands.ports.AgentControl`: there is `chef`."""

    chosen: list[tuple[str, str, Author]] = field(default_factory=list)

    async def set_agent(self, device_id: str, agent: str, author: Author) -> None:
        if agent not in ("", "chef"):
            raise NotFound(f"there is no agent {agent!r}")
        self.chosen.append((device_id, agent, author))


@dataclass
class FakeReloading:
    """Stands for what reads the settings again."""

    settings: Settings = field(default_factory=Settings)
    author: Author | None = None

    async def reload(self, author: Author) -> Changes:
        self.author = author
        return compare(self.settings, self.settings)

    def sources(self) -> Mapping[tuple[str, ...], str]:
        return {("http", "bind"): "broker.yaml, line 3"}


class Noted(Commands):
    """Commands that are noted and not carried out."""

    def __init__(self) -> None:
        self.ran: list[Any] = []

    async def run(self, command: Any, *, by: Any) -> CommandResult:
        self.ran.append(command)
        return CommandResult("done", {"how": "delivered", "notice": "n1"})


def session(session_id: str = SESSION, device_id: str = BOBS) -> SessionOverview:
    audio = AudioStats(received=95, lost=5, sent=40, jitter_ms=3.25)
    return SessionOverview(session_id, device_id, "udp", "assistant", "en", NOW, "speaking", audio)


class Scene:
    """The parts of a server with that house. Make it on the running loop."""

    def __init__(self) -> None:
        self.control = FakeControl()
        self.bus = EventBus()
        self.agents = FakeAgents()
        self.commands = Commands(self.control, self.bus, agents=self.agents)
        self.directory = FakeDirectory(
            {
                BOBS: DeviceInfo(BOBS, name="Kitchen", owner_id="u-bob"),
                SHARED: DeviceInfo(SHARED, name="Hall", owner_id="u-bob", group_id="g-home"),
                NOBODYS: DeviceInfo(NOBODYS),
            }
        )
        self.sessions = FakeSessions(session())
        self.feed = EventFeed(self.bus, self.directory)
        self.requests = MemoryRequests()
        self.rows = MemoryRows()
        self.reminders = Reminders(self.rows, "Europe/Berlin", now=lambda: NOW)
        self.problems = [
            Problem(id="store.disk", severity=Severity.ERROR, cause="full", cure="free some"),
            Problem(
                id=f"device.udp:{BOBS}", severity=Severity.WARNING, cause="UDP", cure="open", device_id=BOBS
            ),
        ]
        self.reloading: FakeReloading | None = FakeReloading()

    def provider_works(self, role: str, name: str) -> None:
        """Implements `http.api.health.KnownProblems`."""
        self.problems = [each for each in self.problems if each.id != f"provider.{role}.{name}"]

    @property
    def checks(self) -> dict[str, bool]:
        """Implements `http.api.health.KnownProblems`."""
        return {"disk": False, "clock": True}

    async def current(self) -> list[Problem]:
        """Implements `http.api.health.KnownProblems`."""
        return self.problems

    @property
    def parts(self) -> dict[str, Any]:
        """The fields of `ApiServices`."""
        endpoints = Endpoints(mqtt_port=1883, udp_port=8884, http_port=8003)
        return {
            "commands": self.commands,
            "directory": self.directory,
            "events": self.feed,
            "health": lambda: {"store": PartHealth(False, "locked"), "udp": PartHealth(True)},
            "idempotency": Idempotency(self.requests),
            "problems": self,
            "reminder_pages": self.rows,
            "reminders": self.reminders,
            "server": ServerFacts(endpoints, datetime.now(UTC)),
            "sessions": self.sessions,
            "sound_uploads": Uploads(),
            "settings": SettingsAccess(
                current=Settings,
                sources=lambda: self.reloading.sources() if self.reloading else {},
                reload=lambda: self.reloading.reload if self.reloading else None,
            ),
        }
