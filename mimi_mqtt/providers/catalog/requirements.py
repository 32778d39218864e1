"""Requirements of providers, and the message for each one that is missing."""

import importlib.util
from collections.abc import Mapping

from mimi_mqtt.errors import ProviderNotConfigured
from mimi_mqtt.providers.catalog.local_models import not_installed
from mimi_mqtt.providers.catalog.presets import PRESETS, Preset
from mimi_mqtt.providers.contract.provider import ProviderOptions


def preset_of(name: str, options: type[ProviderOptions]) -> Preset | None:
    """The preset behind the provider `name`, if there is one for its role."""
    return PRESETS.get(name.partition(":")[0]) if options.by_preset else None


def variables(name: str, options: type[ProviderOptions]) -> Mapping[str, tuple[str, ...]]:
    """For each option of the provider `name` that has any, the environment variables that set it."""
    found = preset_of(name, options)
    named = options.environment if found is None else found.environment
    return {option: (names,) if isinstance(names, str) else names for option, names in named.items()}


def environment(name: str, options: type[ProviderOptions], environ: Mapping[str, str]) -> Mapping[str, str]:
    """The options that are set by variables of `environ`; of several variables the first counts."""
    values = {
        option: next((environ[variable] for variable in names if environ.get(variable)), "")
        for option, names in variables(name, options).items()
    }
    return {option: value for option, value in values.items() if value}


def required(name: str, options: type[ProviderOptions]) -> tuple[str, ...]:
    """The options that must have a value."""
    found = preset_of(name, options)
    if found is None:
        return options.required
    wanted = {"base_url": found.needs_base_url, "api_key": found.key is not None}
    return tuple(option for option, needed in wanted.items() if needed)


def missing(name: str, options: ProviderOptions) -> list[str]:
    """The cure for each requirement that `options` lack, a sentence each; empty when nothing is missing.

    A server of one's own in place of the preset's service decides itself whether it wants a key.
    """
    lacking = [
        option
        for option in required(name, type(options))
        if not getattr(options, option) and not getattr(options, options.instead.get(option, option))
    ]
    found = preset_of(name, type(options))
    address: object = getattr(options, "base_url", None)
    if found is not None and found.client == "openai" and address not in (None, found.base_url):
        lacking = [option for option in lacking if option != "api_key"]
    cures = [_cure(name, type(options), option) for option in lacking]
    return [*cures, cure] if (cure := not_installed(options)) else cures


def demand(name: str, options: ProviderOptions) -> None:
    """Raises ProviderNotConfigured with everything that is missing."""
    if cures := missing(name, options):
        raise ProviderNotConfigured(name, "; ".join(cures))


def _cure(name: str, options: type[ProviderOptions], option: str) -> str:
    what = {"api_key": "no key", "base_url": "no address"}.get(option, f"no {option}")
    setting = f"providers.options.{name}.{option}"
    named = " or ".join(variables(name, options).get(option, ()))
    found = preset_of(name, options)
    example = found.example_url if found is not None and option == "base_url" else ""
    way = f"set {named} or {setting}" if named else f"set {setting}"
    return f"{what}: {way}" + (f", such as {example}" if example else "")


def package_installed(package: str) -> bool:
    """True when `package` can be found; its parents are imported, itself is not."""
    try:
        return importlib.util.find_spec(package) is not None
    except (ModuleNotFoundError, ValueError):
        return False
