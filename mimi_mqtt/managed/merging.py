"""The settings in force: those of broker.yaml and the environment, and under them what people set. No I/O but
the look at installed models and packages.

broker.yaml and the environment win: an agent or a price by its name, the default agent's keys and a
provider's options one by one. A managed resource that does not work as things are now is left out, with the
reason: it can never keep the server, or another resource, from working.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from mimi_mqtt.config import ProviderSettings, Settings
from mimi_mqtt.config.agents import DEFAULT_AGENT, AgentSettings
from mimi_mqtt.config.voice import PriceSettings
from mimi_mqtt.errors import ConfigError, Invalid
from mimi_mqtt.managed.kinds import (
    CHAINS,
    Kind,
    check_provider_options,
    is_address,
    own_chains,
    parsed_agent,
    parsed_price,
    secret_options,
)
from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.providers.catalog.overview import lacking
from mimi_mqtt.providers.catalog.registry import AUTO
from mimi_mqtt.providers.catalog.requirements import environment
from mimi_mqtt.providers.catalog.selection import select_providers

Origin = Literal["broker.yaml", "environment", "managed"]
"""Where a value in force comes from; "broker.yaml" are also its MIMI_ variables."""

NO_KEY: Final = "none"
"""In place of a key that must not be sent to the address in force."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A managed resource as one process has read it, with its secrets in clear."""

    version: int
    content: Mapping[str, object]
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    unreadable: tuple[str, ...] = ()
    """Secrets that can't be decrypted."""


Entries = Mapping[tuple[Kind, str], Entry]


@dataclass(frozen=True, slots=True)
class Merged:
    """The settings in force, and what is wrong with managed resources, a sentence each by kind and key."""

    settings: Settings = field(repr=False)
    """With keys of providers in clear."""
    agents: frozenset[str] = frozenset()
    """Keys of the agents that managed resources have a part in."""
    problems: Mapping[tuple[Kind, str], tuple[str, ...]] = field(default_factory=dict)


def merge(base: Settings, entries: Entries, environ: Mapping[str, str]) -> Merged:
    """`base`, the settings of broker.yaml and its variables, with what of `entries` works under them."""
    if not entries:
        return Merged(base)
    problems: dict[tuple[Kind, str], tuple[str, ...]] = {}
    by_kind: dict[Kind, dict[str, Entry]] = {"agent": {}, "provider": {}, "price": {}}
    for (kind, key), entry in sorted(entries.items()):
        by_kind[kind][key] = entry
    providers = base.providers
    for name, entry in by_kind["provider"].items():
        providers, told = _with_options(providers, name, entry, environ)
        if told := (*_hidden(name, base.providers, entry, environ), *told):
            problems["provider", name] = told
    prices, told_prices = _with_prices(base.providers.prices, by_kind["price"])
    problems |= {("price", name): told for name, told in told_prices.items()}
    settings = base.model_copy(update={"providers": providers.model_copy(update={"prices": prices})})
    if DEFAULT_AGENT in by_kind["agent"]:
        entry = by_kind["agent"].pop(DEFAULT_AGENT)
        settings, told = _with_default(base, settings, entry, environ)
        if told:
            problems["agent", DEFAULT_AGENT] = told
    agents = dict(settings.agents)
    for key, entry in by_kind["agent"].items():
        if key in base.agents:
            problems["agent", key] = ("broker.yaml has an agent of this name, which wins",)
            continue
        try:
            agents[key], told = _usable(settings, parsed_agent(entry.content), environ)
        except Invalid as error:
            told = (str(error),)
        if told:
            problems["agent", key] = told
    settings = settings.model_copy(update={"agents": agents})
    return Merged(settings, _touched(base, settings, environ), problems)


def _touched(base: Settings, settings: Settings, environ: Mapping[str, str]) -> frozenset[str]:
    """The agents that are other ones, or have other providers, than without managed resources."""
    before, now = base.every_agent, settings.every_agent
    found = {key for key, agent in now.items() if before.get(key) != agent}
    options, managed = base.providers.options, settings.providers.options
    changed = {name for name in managed if managed[name] != options.get(name)}
    if changed:
        asked, usual = select_providers(settings, environ), select_providers(base, environ)
        for key in now.keys() - found:
            names = {name for role in CHAINS for name in asked[key][role]}
            if names & changed or asked[key] != usual[key]:
                found.add(key)
    return frozenset(found)


# ── options of providers ─────────────────────────────────────────────────────────────────────────────────


class Given(Protocol):
    """The settings of a provider that people made: its options, and its secrets by their names."""

    @property
    def content(self) -> Mapping[str, object]:
        """The options, without secrets."""

    @property
    def secrets(self) -> Mapping[str, object]:
        """By option."""


def origins(
    name: str, base: ProviderSettings, entry: Given | None, environ: Mapping[str, str]
) -> dict[str, Origin]:
    """The origin of each option of the provider `name` that is set, secret or not."""
    return {option: origin for option, (origin, _) in winning(name, base, entry, environ).items()}


def winning(
    name: str, base: ProviderSettings, entry: Given | None, environ: Mapping[str, str]
) -> dict[str, tuple[Origin, object]]:
    """The origin of each option of the provider `name` that is set, and its value there; of a managed secret
    what `entry` tells of it."""
    given: tuple[tuple[Origin, Mapping[str, object]], ...] = (
        ("managed", _given(entry) if entry is not None else {}),
        ("environment", _of_environment(name, environ, entry)),
        ("broker.yaml", _set(base.options.get(name, {}))),
    )
    return {option: (origin, value) for origin, options in given for option, value in options.items()}


def _given(entry: Given) -> dict[str, object]:
    return {**_set(entry.content), **entry.secrets}


def _set(options: Mapping[str, object]) -> dict[str, object]:
    return {option: value for option, value in options.items() if value is not None}


def _of_environment(name: str, environ: Mapping[str, str], entry: Given | None) -> dict[str, object]:
    """The options that variables set. A variable is meant for the plain name: under a label, such as
    openai:house, it is what is used when the resource itself says nothing."""
    found: dict[str, object] = {}
    for model in registry.option_models(name).values():
        found |= environment(name, model, environ)
    if ":" in name and entry is not None:
        found = {option: value for option, value in found.items() if option not in _given(entry)}
    return found


def _hidden(name: str, base: ProviderSettings, entry: Entry, environ: Mapping[str, str]) -> Sequence[str]:
    """Reasons for which options that people set of the provider `name` have no effect, a sentence each."""
    origin = origins(name, base, entry, environ)
    where = {"broker.yaml": "broker.yaml", "environment": "the environment"}
    return [
        f"{option}: {where[origin[option]]} sets it, which wins"
        for option in _given(entry)
        if origin[option] in where
    ]


def sent_elsewhere(
    name: str, base: ProviderSettings, entry: Given, environ: Mapping[str, str]
) -> tuple[str, ...]:
    """Managed addresses of the provider `name` that its provisioned key must not be sent to.

    Whoever may set an address does not thereby get to see a key that he could not read otherwise.
    """
    origin = origins(name, base, entry, environ)
    secrets = secret_options(name)
    provisioned = {"broker.yaml"} if ":" in name else {"broker.yaml", "environment"}
    if not any(origin.get(secret) in provisioned for secret in secrets):
        return ()
    return tuple(option for option, source in origin.items() if source == "managed" and is_address(option))


def _with_options(
    base: ProviderSettings, name: str, entry: Entry, environ: Mapping[str, str]
) -> tuple[ProviderSettings, tuple[str, ...]]:
    """`base` with the managed options of the provider `name`, and what is wrong with them."""
    told = [
        f"{option}: can't be decrypted, as the server's secret was lost or replaced: set it again"
        for option in entry.unreadable
    ]
    if not registry.option_models(name):
        return base, (*told, "there is no such provider any more")
    origin = origins(name, base, entry, environ)
    managed = {option: value for option, value in _given(entry).items() if origin[option] == "managed"}
    for option in sent_elsewhere(name, base, entry, environ):
        del managed[option]
        told.append(elsewhere_sentence(name, option))
    secrets = secret_options(name)
    if any(map(is_address, managed)):
        # What the environment has is the vendor's key, not this address's.
        by_variable = _of_environment(name, environ, None).keys() & secrets
        managed |= {option: NO_KEY for option in by_variable if origin[option] == "environment"}
        if entry.unreadable:
            managed |= {option: NO_KEY for option in entry.unreadable if option not in managed}
    options = {**_set(base.options.get(name, {})), **managed}
    merged = base.model_copy(update={"options": {**base.options, name: options}})
    try:
        check_provider_options(name, merged, environ)
    except Invalid as error:
        return base, (*told, str(error))
    return (merged if managed else base), tuple(told)


def drafted(
    base: ProviderSettings, name: str, entry: Entry, environ: Mapping[str, str]
) -> tuple[ProviderSettings, tuple[str, ...]]:
    """`base` with options of the provider `name` that people did not set yet, as they would be in force, and
    what is wrong with them: then they would not be, or not all of them."""
    return _with_options(base, name, entry, environ)


def elsewhere_sentence(name: str, option: str) -> str:
    """Why a managed address is not used."""
    return (
        f"{option}: the key of {name} is set in broker.yaml or the environment, and is sent only to an "
        f"address that is set there too; a name of its own, such as {name.partition(':')[0]}:other, can have "
        "another"
    )


def _with_prices(
    base: Mapping[str, PriceSettings], entries: Mapping[str, Entry]
) -> tuple[dict[str, PriceSettings], dict[str, tuple[str, ...]]]:
    prices, problems = dict(base), dict[str, tuple[str, ...]]()
    for name, entry in entries.items():
        if name in base:
            problems[name] = ("broker.yaml has prices of this name, which win",)
            continue
        try:
            prices[name] = parsed_price(entry.content)
        except Invalid as error:
            problems[name] = (str(error),)
            continue
        if not registry.option_models(name):
            del prices[name]
            problems[name] = ("there is no such provider any more",)
    return prices, problems


# ── agents ───────────────────────────────────────────────────────────────────────────────────────────────


def fixed_keys(base: Settings) -> frozenset[str]:
    """The keys of the default agent that broker.yaml or its variables set."""
    return frozenset(base.assistant.model_fields_set)


def _with_default(
    base: Settings, settings: Settings, entry: Entry, environ: Mapping[str, str]
) -> tuple[Settings, tuple[str, ...]]:
    fixed = fixed_keys(base)
    try:
        given = parsed_agent({key: value for key, value in entry.content.items() if key not in fixed})
    except Invalid as error:
        return settings, (str(error),)
    usable, told = _usable(settings, given, environ)
    # A person must find out why a change has no effect.
    hidden = tuple(f"{key}: broker.yaml sets it, which wins" for key in entry.content if key in fixed)
    changed = settings.model_copy(update={"assistant": base.assistant.changed_by(usable)})
    return changed, (*hidden, *told)


def _usable(
    settings: Settings, given: AgentSettings, environ: Mapping[str, str]
) -> tuple[AgentSettings, tuple[str, ...]]:
    """`given` without its own providers for roles in which none of them can work as things are, and the
    reasons: the usual ones answer in their place."""
    unusable: dict[str, object] = {}
    told: list[str] = []
    for key, role, names in own_chains(given):
        if not names or AUTO in names:
            continue
        try:
            cures = [lacking(role, name, settings.providers, environ) for name in names]
        except ConfigError as error:
            cures = [[str(error)]]
        if all(cures):
            unusable[key] = None if key == "s2s" else ()
            why = "; ".join(cure for of_one in cures for cure in of_one)
            told.append(f"{key}: {'+'.join(names)} can't be used, the usual providers answer: {why}")
    return (given.model_copy(update=unusable) if unusable else given), tuple(told)
