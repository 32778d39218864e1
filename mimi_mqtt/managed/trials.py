"""Real requests to providers, asked for by people: one at a time, and bounded in time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from pydantic import SecretStr

from mimi_mqtt.config import ProviderSettings, Settings
from mimi_mqtt.errors import ConfigError, LimitReached, NotFound, ProviderError
from mimi_mqtt.managed.merging import Entry, drafted
from mimi_mqtt.managed.resources import Change
from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.providers.catalog.overview import Trial, attempt
from mimi_mqtt.providers.catalog.selection import with_providers
from mimi_mqtt.providers.contract.provider import Provider, Role

TRIAL_TIMEOUT_S: Final = 30.0
"""Longest time for a provider to start and to answer, in seconds."""
MAX_TOLD_CHARS: Final = 2_000
"""Longest text of a provider that a test tells, answer or error."""
RETRY_AFTER_S: Final = 5.0

_HIDDEN: Final = "***"


@dataclass(frozen=True, slots=True)
class TrialResult:
    """How a real request went: `trial` when it was answered, else `error`."""

    role: Role
    name: str
    trial: Trial | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class StageResult:
    """The outcome of one stage: its text, or the reason of its failure; times in seconds. `asked` are the
    providers in their order; `said` is the sentence that the server spoke to be heard, "" for a recording."""

    asked: tuple[str, ...]
    text: str = ""
    error: str = ""
    said: str = ""
    start_s: float | None = None
    first_s: float | None = None
    answer_s: float | None = None


class OneAtATime:
    """A turn that one request has; others are refused meanwhile."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._taken = False

    def __enter__(self) -> None:
        """Takes the turn. Raises LimitReached while another has it."""
        if self._taken:
            raise LimitReached(f"another {self._what} is running: try again when it is over", RETRY_AFTER_S)
        self._taken = True

    def __exit__(self, *_: object) -> None:
        self._taken = False


class ProviderTrials:
    """Tries out providers. An instance of its own is asked, so that conversations go on as they are.

    `settings` returns the settings in force, `base` those of broker.yaml and the environment; `draft` returns
    what saving a change would make.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        environ: Mapping[str, str],
        base: Callable[[], Settings],
        draft: Callable[[Change], Awaitable[Entry]],
    ) -> None:
        self._settings = settings
        self._environ = environ
        self._base = base
        self._draft = draft
        self._turn = OneAtATime("test of a provider")

    async def run(self, role: Role, name: str, change: Change | None = None) -> TrialResult:
        """Really asks the provider for something small, with the options in force, or as they would be after
        `change`. Raises NotFound, LimitReached, and what saving the change would raise.

        What is asked is what saving would put in force: a stored secret is sent to the addresses that it was
        stored with, and to no other.
        """
        if role not in registry.option_models(name):
            raise NotFound(f"there is no provider {name[:64]!r} for {role}: see GET /providers")
        with self._turn:
            providers = self._settings().providers
            if change is not None:
                entry = await self._draft(change)
                providers, told = await asyncio.to_thread(self._drafted, name, entry)
                if told:
                    return TrialResult(role, name, error="; ".join(told))
            return await self._ask(role, name, providers)

    def _drafted(self, name: str, entry: Entry) -> tuple[ProviderSettings, tuple[str, ...]]:
        return drafted(self._base().providers, name, entry, self._environ)

    async def _ask(self, role: Role, name: str, providers: ProviderSettings) -> TrialResult:
        try:
            settings = with_providers(providers, role, [name])
            provider = await asyncio.to_thread(registry.build, role, settings, self._environ)
        except (ConfigError, ProviderError) as error:
            return TrialResult(role, name, error=str(error))
        try:
            trial = await attempt(provider, TRIAL_TIMEOUT_S)
        except (ConfigError, ProviderError) as error:
            return TrialResult(role, name, error=_without_secrets(str(error), provider))
        return TrialResult(role, name, replace(trial, said=_without_secrets(trial.said, provider)))


def _without_secrets(text: str, provider: Provider) -> str:
    """`text` without the provider's secrets: a service may repeat in its answer what it was sent."""
    options = provider.options
    for option in type(options).model_fields:
        value = getattr(options, option)
        if isinstance(value, SecretStr) and value.get_secret_value():
            text = text.replace(value.get_secret_value(), _HIDDEN)
    return text[:MAX_TOLD_CHARS]
