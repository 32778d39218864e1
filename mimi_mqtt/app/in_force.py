"""The settings in force, and their change while the server runs."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime

from mimi_mqtt.app.foundation import Foundation
from mimi_mqtt.app.managed import load_managed
from mimi_mqtt.app.voices import Voices
from mimi_mqtt.config import Settings
from mimi_mqtt.config.changes import Changes, compare
from mimi_mqtt.fleet.agents import AgentCatalog, AgentsInForce
from mimi_mqtt.fleet.directory import DeviceDirectory
from mimi_mqtt.fleet.secret_files import Secrets
from mimi_mqtt.http.health import PartHealth
from mimi_mqtt.managed.merging import Merged
from mimi_mqtt.session.manager import SessionManager
from mimi_mqtt.tls.watch import CertificateWatch
from mimi_mqtt.voice.speech.phrases import greetings


class SettingsInForce:
    """The settings of broker.yaml and the environment, with those that people made under them.

    `load` them, build the voices and sessions with `settings`, then `follow` what people change; from then on
    `reload` takes over what broker.yaml changed.
    """

    def __init__(self, settings: Settings) -> None:
        self.base = settings
        """The settings of broker.yaml and the environment."""
        self.settings = settings
        """The settings in force: `base`, and what people set under it."""
        self._changing = asyncio.Lock()

    async def load(self, foundation: Foundation, directory: DeviceDirectory) -> Merged:
        """Reads what people set, and puts it under the settings. Raises StoreError."""
        self._credentials = foundation.credentials
        self._directory = directory
        self.managed = await load_managed(
            foundation.store, foundation.credentials, foundation.environ,
            base=lambda: self.base,
            in_force=lambda: self.settings,
            put_in_force=self.put_managed_in_force,
            device=directory.get,
        )  # fmt: skip
        watched = self.managed.watched
        merged = await asyncio.to_thread(watched.merged, self.base) if len(watched) else Merged(self.base)
        self.settings = merged.settings
        self._agents = AgentsInForce(self.settings.every_agent)
        self.catalog = AgentCatalog(self._agents)
        return merged

    def follow(self, voices: Voices, sessions: SessionManager, stack: AsyncExitStack) -> None:
        """Has changes that people make reach `voices` and `sessions`, until `stack` ends it."""
        self._voices = voices
        self._sessions = sessions
        stack.push_async_callback(self.managed.watched.aclose)
        self.managed.watched.start()

    async def reload(self, wanted: Settings, certificates: CertificateWatch) -> Changes:
        """Puts in force what of `wanted` can change at run time, for each device from its next turn on.

        The server's secret and `certificates` are read again, too. No connection is dropped, but for those
        whose credentials ended with their secret. Raises ConfigError, ProviderError and StartupError; then
        nothing has changed.
        """
        async with self._changing:
            changes = compare(self.base, wanted)
            secrets = self._credentials.read()
            take_certificates = await certificates.read_again()
            merged = await asyncio.to_thread(self.managed.watched.merged, changes.settings)
            await self._voices.pool.replace(merged.settings, in_background=merged.agents)
            renewed = (*take_certificates(), *self._take_secret(secrets))
            self.base = changes.settings
            self._put_in_force(merged)
        return replace(changes, effective=(*changes.effective, *renewed))

    async def put_managed_in_force(self) -> None:
        """Puts what people set in force, for each device from its next turn on. Raises ConfigError and
        ProviderError; then nothing has changed."""
        async with self._changing:
            merged = await asyncio.to_thread(self.managed.watched.merged, self.base)
            await self._voices.pool.replace(merged.settings, in_background=merged.settings.every_agent)
            self._put_in_force(merged)

    def _put_in_force(self, merged: Merged) -> None:
        settings = self.settings = merged.settings
        self._voices.memory.know_greetings(greetings(settings.every_agent.values()))
        self._agents.replace(settings.every_agent)
        self._sessions.reconfigure(settings)
        self.managed.watched.took(merged)

    def _take_secret(self, secrets: Secrets) -> tuple[str, ...]:
        """Takes over a secret that was rotated; returns a line that tells so."""
        if not self._credentials.take(secrets):
            return ()
        self._directory.secret_changed()
        self.managed.watched.look()  # keys of providers are encrypted with the new one
        if not self._credentials.overlaps:
            return ("the server's secret: rotated; every device needs new credentials",)
        until = datetime.fromtimestamp(self._credentials.old_until).astimezone()
        return (f"the server's secret: rotated; old credentials end by {until:%Y-%m-%d %H:%M}",)

    def health(self) -> PartHealth:
        """The health of what people set: if it is in force, and how much there is."""
        watched = self.managed.watched
        return PartHealth(
            watched.healthy, watched.failure or f"{len(watched)} agents, providers and prices set by people"
        )
