"""Records of conversations, as one part of the server: stored files, turns, recordings, and their backups."""

from contextlib import AsyncExitStack
from zoneinfo import ZoneInfo

from mimi_mqtt.app.files import Files
from mimi_mqtt.app.fleet import FleetParts
from mimi_mqtt.app.foundation import Foundation
from mimi_mqtt.backup.scheduling import Backups
from mimi_mqtt.config import Settings
from mimi_mqtt.http.health import PartHealth
from mimi_mqtt.memory.history import ConversationHistory
from mimi_mqtt.session.recording import RecordedTurns, Recorder
from mimi_mqtt.store.conversations import ConversationLog
from mimi_mqtt.tools.reminders.service import local_zone


class Records:
    """The writers and readers of what a server keeps of its conversations. Days of statistics and backups are
    those of the server's time zone."""

    def __init__(self, settings: Settings, foundation: Foundation, fleet: FleetParts) -> None:
        store, zone = foundation.store, ZoneInfo(local_zone(settings.server.timezone))
        self.files = Files(settings, store, foundation.environ, foundation.events.publish)
        self.history = ConversationHistory(store, zone)
        self.backups = Backups(store, settings.backup, foundation.environ, zone=zone)
        self.turn_log = ConversationLog(
            store,
            keep_days=settings.store.keep_conversations_days,
            keep_statistics_days=settings.store.keep_statistics_days,
            max_size_mb=settings.store.max_size_mb,
            zone=zone,
            owner_of=fleet.owner_of,
        )
        self.recorder = Recorder(self.files.recordings, fleet.directory.get)
        self.turns = RecordedTurns(self.turn_log, self.recorder)

    async def start(self, stack: AsyncExitStack) -> None:
        """Starts the writers, which `stack` ends. Raises StoreError."""
        stack.push_async_callback(self.files.aclose)
        await self.files.start()
        stack.push_async_callback(self.backups.aclose)
        self.backups.start()
        stack.push_async_callback(self.turn_log.aclose)
        await self.turn_log.start()

    def backup_health(self) -> PartHealth:
        """The health of scheduled backups, and when the last one was made."""
        return PartHealth(self.backups.healthy, self.backups.told)
