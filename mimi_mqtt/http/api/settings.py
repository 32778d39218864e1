"""Settings in force, to be read, and the reload of broker.yaml.

Settings are provisioned: they are changed in broker.yaml or by variables, by whoever runs the server.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Protocol

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, JsonValue

from mimi_mqtt.config import Settings
from mimi_mqtt.config.effective import effective
from mimi_mqtt.errors import ConfigError, Conflict
from mimi_mqtt.http.api.access import callers
from mimi_mqtt.http.api.services import Services
from mimi_mqtt.people.access import Caller, Scope
from mimi_mqtt.store.audit import Author

router = APIRouter(tags=["settings"])


class Reloaded(Protocol):
    """The changes of a reload: `config.changes.Changes`."""

    @property
    def effective(self) -> tuple[str, ...]:
        """A line for each change that is in force."""

    @property
    def restart(self) -> tuple[str, ...]:
        """Keys that need a restart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsAccess:
    """The settings of the running server. `reload` raises MimiError, with which nothing has changed; None
    when the server was not started from the command line."""

    current: Callable[[], Settings]
    sources: Callable[[], Mapping[tuple[str, ...], str]]
    """Where keys were set, read from the file: it blocks. Raises ConfigError."""
    reload: Callable[[], Callable[[Author], Awaitable[Reloaded]] | None]


class Setting(BaseModel):
    """One setting."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    key: str
    value: JsonValue
    """The value in force; that of a secret is never told."""
    default: JsonValue
    source: str
    """The variable, or the file and line, where it is set; empty for a default."""
    doc: str
    at_run_time: bool
    """True: a reload puts a change in force; false: it needs a restart."""


class SettingsList(BaseModel):
    """All settings."""

    settings: list[Setting]


class ReloadResult(BaseModel):
    """The changes of a reload."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    effective: list[str]
    """A line for each change that is in force now."""
    restart: list[str]
    """Keys whose change needs a restart."""


@router.get("/settings")
async def list_settings(
    caller: Annotated[Caller, callers(Scope.SETTINGS_READ)], services: Services
) -> SettingsList:
    """The settings in force, each with its meaning and where it was set. They are changed in broker.yaml or
    by variables, and read again by a reload."""
    del caller
    access = services.settings
    try:
        sources = await asyncio.to_thread(access.sources)
    except ConfigError:  # the file has a mistake that it had not when it was read
        sources = {}
    found = [
        Setting(
            key=each.key, value=each.value, default=each.default, source=each.source, doc=each.doc,
            at_run_time=each.at_run_time,
        )
        for each in effective(access.current(), sources)
    ]  # fmt: skip
    return SettingsList(settings=found)


@router.post("/reload")
async def reload_settings(
    caller: Annotated[Caller, callers(Scope.SETTINGS_WRITE)], services: Services
) -> ReloadResult:
    """Has the server read broker.yaml and its variables again. With a mistake in them nothing changes."""
    reload = services.settings.reload()
    if reload is None:
        raise Conflict("this server can't read its settings again")
    changes = await reload(caller.author)
    return ReloadResult(effective=list(changes.effective), restart=list(changes.restart))
