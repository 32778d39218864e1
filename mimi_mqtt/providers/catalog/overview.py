"""Every provider with its requirements and what is missing of them; and a real request to one.

All of it comes from what the vendors' classes declare: `packages`, `extra`, and the options' `required` and
`environment`. `mimi-mqtt providers` and `doctor` show it.
"""

import asyncio
import itertools
import time
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import get_args

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.resample import Resampler
from mimi_mqtt.config import ProviderSettings, Settings
from mimi_mqtt.config.agents import DEFAULT_AGENT
from mimi_mqtt.errors import ConfigError, ProviderError, ProviderTimeout
from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.providers.catalog.requirements import package_installed, required, variables
from mimi_mqtt.providers.catalog.selection import select_providers
from mimi_mqtt.providers.contract.provider import Provider, Role
from mimi_mqtt.providers.contract.stt import SPEECH_RATE, SpeechToText
from mimi_mqtt.providers.runtime.resilience import first_results

ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True, slots=True)
class NeededOption:
    """An option that must have a value, and the environment variables that can give it one."""

    option: str
    variables: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """One provider of one role.

    `lacking` has a cure for each thing without which it can't be used; `place` is its place, from 1, in the
    list that is asked now, `agents` those in the lists of agents that ask others than the default one.
    """

    role: Role
    name: str
    extra: str
    options: tuple[NeededOption, ...]
    lacking: tuple[str, ...]
    place: int | None
    agents: Mapping[str, int]

    @property
    def configured(self) -> bool:
        """True when nothing is lacking."""
        return not self.lacking


def listings(settings: Settings, environ: Mapping[str, str]) -> list[Listing]:
    """Every provider by role, with those of the configuration's own labels. Raises ConfigError."""
    found: list[Listing] = []
    asked = select_providers(settings, environ)
    for role in ROLES:
        vendors = registry.known(role)
        labelled = [name for name in settings.providers.options if name.partition(":")[0] in vendors]
        chosen = {agent: of_agent[role] for agent, of_agent in asked.items()}
        names = dict.fromkeys((*vendors, *labelled, *itertools.chain(*chosen.values())))
        found += [_listing(role, name, chosen, settings.providers, environ) for name in names]
    return found


def _listing(
    role: Role,
    name: str,
    chosen: Mapping[str, tuple[str, ...]],
    settings: ProviderSettings,
    environ: Mapping[str, str],
) -> Listing:
    provider = registry.load(role, name)
    named = variables(name, provider.Options)
    options = tuple(
        NeededOption(option, named.get(option, ())) for option in required(name, provider.Options)
    )
    try:
        cures = lacking(role, name, settings, environ)
    except ConfigError as error:
        cures = str(error).splitlines()
    usual = chosen[DEFAULT_AGENT]
    place = usual.index(name) + 1 if name in usual else None
    agents = {agent: own.index(name) + 1 for agent, own in chosen.items() if own != usual and name in own}
    return Listing(role, name, provider.extra, options, tuple(cures), place, agents)


def lacking(role: Role, name: str, settings: ProviderSettings, environ: Mapping[str, str]) -> list[str]:
    """The things that the provider `name` lacks before it can be used, packages among them, one cure each.

    Nothing of a vendor is imported. Raises ConfigError.
    """
    provider = registry.load(role, name)
    cures = registry.lacking(role, name, settings, environ)
    absent = [package for package in provider.packages if not package_installed(package)]
    if absent:
        cures = [f"no {', '.join(absent)}: pip install 'mimi-mqtt[{provider.extra}]'", *cures]
    return cures


@dataclass(frozen=True, slots=True)
class Trial:
    """A provider's reply to a real request, and its duration in seconds.

    `first_result_s` is the time to the first of the answer (for stt, from the end of the audio to the text);
    None where there is no such thing.
    """

    said: str
    start_s: float
    first_result_s: float | None
    answer_s: float


async def attempt(provider: Provider, timeout_s: float) -> Trial:
    """Starts `provider`, really asks it for something small, and closes it. Raises ProviderError."""
    word = await spoken_word() if isinstance(provider, SpeechToText) else None
    try:
        began = time.perf_counter()
        with first_results() as seconds:
            try:
                async with asyncio.timeout(timeout_s):
                    await provider.start()
                    started = time.perf_counter()
                    said = await (
                        provider.check(word) if isinstance(provider, SpeechToText) else provider.check()
                    )
            except TimeoutError as error:
                raise ProviderTimeout(provider.name, f"no answer within {timeout_s:g} s") from error
        ended = time.perf_counter()
        return Trial(said, started - began, min(seconds, default=None), ended - started)
    finally:
        await provider.aclose()


async def spoken_word() -> Pcm | None:
    """A word of speech at SPEECH_RATE by the offline voice; None when that can't speak here."""
    voice = registry.build("tts", ProviderSettings(tts=("offline",)), {})
    parts: list[Pcm] = []
    resampler: Resampler | None = None
    try:
        await voice.start()
        async with aclosing(voice.speak("hello")) as chunks:
            async for chunk in chunks:
                resampler = resampler or Resampler(chunk.sample_rate, SPEECH_RATE)
                parts.append(resampler.process(chunk.pcm))
    except ProviderError:
        return None
    finally:
        await voice.aclose()
    return np.concatenate(parts) if parts else None
