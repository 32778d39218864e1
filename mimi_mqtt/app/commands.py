"""Commands, notices and reminders, as one part of the server: all that reaches a device from outside its
conversations."""

from collections.abc import Callable
from contextlib import AsyncExitStack

from mimi_mqtt.app.fleet import FleetParts
from mimi_mqtt.app.foundation import Foundation
from mimi_mqtt.app.voices import Voices
from mimi_mqtt.commands.due import DueNotices
from mimi_mqtt.commands.kept_notices import KeptNotices
from mimi_mqtt.commands.notice_urls import NoticeUrls
from mimi_mqtt.commands.notices import Notices
from mimi_mqtt.commands.runner import Commands
from mimi_mqtt.config import Settings
from mimi_mqtt.fleet.agent_choice import AgentChoice
from mimi_mqtt.fleet.agents import AgentCatalog
from mimi_mqtt.http.device.notices import NOTICE_PATH
from mimi_mqtt.http.health import PartHealth
from mimi_mqtt.session.control import LiveDevices
from mimi_mqtt.session.manager import SessionManager
from mimi_mqtt.store.reminders import ReminderTable
from mimi_mqtt.tools.reminders.scheduler import ReminderScheduler
from mimi_mqtt.tools.reminders.service import Reminders, local_zone
from mimi_mqtt.tools.reminders.tools import ReminderTools
from mimi_mqtt.voice.notices.maker import RecordingMaker


class CommandParts:
    """Commands to devices, notices to them, and reminders, which are notices that are due.

    Sessions have the tools of reminders, and commands need the sessions: reminders are made first, `join`
    makes the commands, and `start` begins to tell.
    """

    def __init__(self, settings: Settings, foundation: Foundation) -> None:
        self._settings = settings
        self._foundation = foundation
        rows, publish = ReminderTable(foundation.store), foundation.events.publish
        self.scheduler = ReminderScheduler(
            rows,
            lambda *due: self._due.tell(*due),
            lambda device_id: self._sessions.language_of(device_id),
            publish=publish,
        )
        self.reminders = Reminders(rows, local_zone(settings.server.timezone), publish=publish)
        self.reminder_tools = ReminderTools(self.reminders, self.scheduler)

    def join(
        self,
        sessions: SessionManager,
        voices: Voices,
        fleet: FleetParts,
        agents: AgentCatalog,
        stack: AsyncExitStack,
        *,
        origin: Callable[[str], str | None],
    ) -> None:
        """Makes the commands for devices with `sessions`; `origin` begins the addresses by which a device
        reaches this server. `stack` ends the writer of notices."""
        store, events = self._foundation.store, self._foundation.events
        self._sessions = sessions
        devices = LiveDevices(sessions)
        maker = RecordingMaker(voices.pool, self._settings.voice.downlink_sample_rate)
        stack.callback(maker.close)
        self._kept = KeptNotices(store)
        stack.push_async_callback(self._kept.aclose)
        self._kept.start()
        self.notice_urls = NoticeUrls()
        self.notices = Notices(
            devices, maker, self.notice_urls, self._kept, events, address=origin, path=NOTICE_PATH
        )
        self.runner = Commands(
            devices, events, notices=self.notices, agents=AgentChoice(store, fleet.directory, agents)
        )
        self._due = DueNotices(self.runner, devices)

    async def start(self, stack: AsyncExitStack) -> None:
        """Starts telling notices and reminders, which `stack` ends. Raises StoreError."""
        stack.push_async_callback(self.notices.aclose)
        await self.notices.start()
        stack.push_async_callback(self.scheduler.aclose)
        self.scheduler.start()

    def notices_health(self) -> PartHealth:
        """The health of notices, and how many wait for their devices."""
        healthy = self.notices.healthy and self._kept.healthy
        return PartHealth(healthy, f"{len(self.notices)} waiting")

    def reminders_health(self) -> PartHealth:
        """The health of reminders, and how many are being told."""
        return PartHealth(self.scheduler.healthy, f"{self.scheduler.telling} being told")
