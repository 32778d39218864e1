"""Reads the configuration again at SIGHUP, has the running server take it over, and tells what came of it."""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mimi_mqtt.cli.server_process import ReloadResult, write_result
from mimi_mqtt.config import load_settings
from mimi_mqtt.config.changes import Changes
from mimi_mqtt.config.loading import settings_sources
from mimi_mqtt.errors import MimiError
from mimi_mqtt.log import setup_logging
from mimi_mqtt.supervision import SupervisedLoop

if TYPE_CHECKING:
    from mimi_mqtt.app import App

_log = logging.getLogger(__name__)


class Reloading:
    """Obeys SIGHUP from `start` to `aclose`; one that came since this was made is obeyed first. `path` and
    `environ` are those that the settings of `app` were read from. Make it on the running loop."""

    def __init__(self, app: "App", path: Path | None, environ: Mapping[str, str]) -> None:
        self._app = app
        self._path = path
        self._environ = environ
        self._asked = asyncio.Event()
        self._reloads = asyncio.Lock()
        self._loop = SupervisedLoop("reload", self._round)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._asked.set)

    def start(self) -> None:
        """Begins to obey."""
        self._loop.start()

    def sources(self) -> Mapping[tuple[str, ...], str]:
        """Where each key is set now that has not its default. Blocks. Raises ConfigError."""
        return settings_sources(self._path, self._environ)

    @property
    def healthy(self) -> bool:
        """False from a reload that failed unforeseen, which may have put some of the settings in force, until
        one succeeds."""
        return self._loop.healthy

    async def aclose(self) -> None:
        """Ends a reload that is running; SIGHUP is ignored from now on."""
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        await self._loop.aclose()

    async def _round(self) -> None:
        await self._asked.wait()
        self._asked.clear()
        began = time.monotonic()
        data_dir = self._app.settings.server.data_dir
        try:
            result = await self._reload(began)
        except asyncio.CancelledError:
            _write(data_dir, ReloadResult(os.getpid(), began, problem="the server is being stopped"))
            raise
        except Exception:  # told to who asked; the supervised loop logs it
            _write(data_dir, ReloadResult(os.getpid(), began, problem="failed: the server's log tells more"))
            raise
        _write(data_dir, result)

    async def reload(self) -> Changes:
        """Reads the settings again and has them taken over. Raises MimiError; then nothing has changed."""
        async with self._reloads:
            try:
                settings = await asyncio.to_thread(load_settings, self._path, self._environ)
                changes = await self._app.reload(settings)
            except MimiError as error:
                _log.error("the settings were not taken over, nothing has changed: %s", error)
                raise
            log = changes.settings.log
            setup_logging(
                log.level, log.format, max_kb_per_minute=log.max_kb_per_minute, recent=self._app.recent_lines
            )
            for line in changes.effective:
                _log.info("settings: %s", line)
            for key in changes.restart:
                _log.warning("settings: %s needs a restart", key)
            if not changes.effective and not changes.restart:
                _log.info("settings: nothing has changed")
            return changes

    async def _reload(self, began: float) -> ReloadResult:
        try:
            changes = await self.reload()
        except MimiError as error:
            return ReloadResult(os.getpid(), began, problem=str(error))
        return ReloadResult(os.getpid(), began, changes.effective, changes.restart)


def _write(data_dir: Path, result: ReloadResult) -> None:
    try:
        write_result(data_dir, result)
    except OSError as error:
        _log.warning("the result of the reload can't be left for `mimi-mqtt reload`: %s", error.strerror)
