"""Every provider by role and name, loaded when it is asked for; and what `auto` means.

A name in the configuration is `<provider>` or `<provider>:<label>`; the label allows several of one kind,
each with its own `providers.options` (`openai:house` next to `openai`). A new provider is one row here.
"""

import difflib
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Literal, overload

from pydantic import ValidationError

from mimi_mqtt.config.settings import ProviderSettings
from mimi_mqtt.errors import ConfigError
from mimi_mqtt.providers.base import (
    LanguageModel,
    Limits,
    Provider,
    ProviderOptions,
    Role,
    SpeechToText,
    TextToSpeech,
    VoiceActivityDetector,
)
from mimi_mqtt.providers.fallback import LlmChain, SttChain, TtsChain

AUTO = "auto"

_OFFLINE = "offline"

_PROVIDERS: Mapping[Role, Mapping[str, str]] = {
    "vad": {
        "silero": "mimi_mqtt.providers.vad.silero:SileroVad",
    },
    "stt": {
        "openai": "mimi_mqtt.providers.stt.openai:OpenAiSpeechToText",
        "offline": "mimi_mqtt.providers.stt.pocketsphinx:PocketSphinx",
    },
    "llm": {
        "openai": "mimi_mqtt.providers.llm.openai:OpenAiLanguageModel",
        "offline": "mimi_mqtt.providers.llm.offline:OfflineAssistant",
    },
    "tts": {
        "openai": "mimi_mqtt.providers.tts.openai:OpenAiTextToSpeech",
        "offline": "mimi_mqtt.providers.tts.espeak:Espeak",
    },
}

# In order of preference: variables, and options under the provider's own name, that mean it can be used.
_SIGNS: Sequence[tuple[str, Sequence[str], Sequence[str]]] = (
    ("openai", ("OPENAI_API_KEY", "OPENAI_BASE_URL"), ("api_key", "base_url")),
)

_BASES: Mapping[Role, type] = {
    "vad": VoiceActivityDetector,
    "stt": SpeechToText,
    "llm": LanguageModel,
    "tts": TextToSpeech,
}


def known(role: Role) -> tuple[str, ...]:
    """The names that a role's setting may hold, `auto` excluded."""
    return tuple(_PROVIDERS[role])


def load(role: Role, name: str) -> type[Provider]:
    """The class behind `name`, without its vendor's package. Raises ConfigError for an unknown name."""
    vendor = _check_name(role, name)
    module, _, attribute = _PROVIDERS[role][vendor].partition(":")
    found: object = getattr(import_module(module), attribute)
    if not (isinstance(found, type) and issubclass(found, Provider) and issubclass(found, _BASES[role])):
        raise TypeError(f"{module}:{attribute} is not a {_BASES[role].__name__}")
    return found


def resolve(role: Role, settings: ProviderSettings, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The providers of `role` in the order they are asked, `auto` replaced by what can be used.

    `auto` is every provider whose key or address is set (in `environ` or `providers.options`), and then
    `offline`, so that a dead vendor or a lost line is still answered with speech. Raises ConfigError.
    """
    names: list[str] = []
    for name in _configured(role, settings):
        names += _automatic(role, settings, environ) if name == AUTO else [name]
    for name in names:
        _check_name(role, name)
    return tuple(dict.fromkeys(names))


def _configured(role: Role, settings: ProviderSettings) -> tuple[str, ...]:
    match role:
        case "vad":
            return (settings.vad,)
        case "stt":
            return settings.stt
        case "llm":
            return settings.llm
        case "tts":
            return settings.tts


def _automatic(role: Role, settings: ProviderSettings, environ: Mapping[str, str]) -> list[str]:
    if role == "vad":
        return [next(iter(_PROVIDERS["vad"]))]
    usable = [
        vendor
        for vendor, variables, keys in _SIGNS
        if vendor in _PROVIDERS[role]
        and (
            any(environ.get(variable) for variable in variables)
            or any(settings.options.get(vendor, {}).get(key) for key in keys)
        )
    ]
    return [*usable, _OFFLINE]


@overload
def build(
    role: Literal["vad"], settings: ProviderSettings, environ: Mapping[str, str]
) -> VoiceActivityDetector: ...
@overload
def build(role: Literal["stt"], settings: ProviderSettings, environ: Mapping[str, str]) -> SpeechToText: ...
@overload
def build(role: Literal["llm"], settings: ProviderSettings, environ: Mapping[str, str]) -> LanguageModel: ...
@overload
def build(role: Literal["tts"], settings: ProviderSettings, environ: Mapping[str, str]) -> TextToSpeech: ...
@overload
def build(role: Role, settings: ProviderSettings, environ: Mapping[str, str]) -> Provider: ...
def build(role: Role, settings: ProviderSettings, environ: Mapping[str, str]) -> Provider:
    """The provider of `role`, not started; a fallback chain when there are several.

    Raises ConfigError for an unknown name or option. No vendor's package is imported.
    """
    _check_option_names(settings)
    names = resolve(role, settings, environ)
    members = [_build_one(role, name, settings, environ) for name in names]
    if len(members) > 1:
        match role:
            case "stt":
                return SttChain([member for member in members if isinstance(member, SpeechToText)])
            case "llm":
                return LlmChain([member for member in members if isinstance(member, LanguageModel)])
            case "tts":
                return TtsChain([member for member in members if isinstance(member, TextToSpeech)])
            case "vad":
                pass
    return members[0]


def _build_one(role: Role, name: str, settings: ProviderSettings, environ: Mapping[str, str]) -> Provider:
    provider = load(role, name)
    options = _options(provider.Options, name, settings.options.get(name, {}), environ)
    return provider(name, options, Limits(timeout_s=settings.timeout_s, retries=settings.retries))


def _options(
    model: type[ProviderOptions], name: str, given: Mapping[str, object], environ: Mapping[str, str]
) -> ProviderOptions:
    known_keys = _option_keys(name)
    for key in given:
        if key not in known_keys:
            raise ConfigError(
                f"providers.options.{name}.{key}: there is no such key; {_hint(key, known_keys)}"
            )
    # The roles of one provider share a section: each takes the keys it knows.
    values = {key: value for key, value in given.items() if key in model.model_fields}
    for key, variable in model.environment.items():
        if values.get(key) is None and environ.get(variable):
            values[key] = environ[variable]
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [
            f"providers.options.{name}.{'.'.join(map(str, problem['loc']))}: "
            f"{problem['msg'].removeprefix('Value error, ').replace('Input should be ', 'must be ')}"
            for problem in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise ConfigError("\n".join(lines)) from None


def _option_keys(name: str) -> list[str]:
    """All options under `name`, whichever role takes them."""
    vendor = name.partition(":")[0]
    roles = [role for role in _PROVIDERS if vendor in _PROVIDERS[role]]
    return list(dict.fromkeys(key for role in roles for key in load(role, name).Options.model_fields))


def _check_option_names(settings: ProviderSettings) -> None:
    vendors = list(dict.fromkeys(vendor for names in _PROVIDERS.values() for vendor in names))
    for name in settings.options:
        if name.partition(":")[0] not in vendors:
            raise ConfigError(f"providers.options.{name}: there is no such provider; {_hint(name, vendors)}")


def _check_name(role: Role, name: str) -> str:
    """The provider's name without its label. Raises ConfigError with the known names."""
    vendor, separator, label = name.partition(":")
    if vendor not in _PROVIDERS[role] or (separator and not label):
        hint = _hint(vendor, [*known(role), AUTO])
        raise ConfigError(f"providers.{role}: there is no provider {name!r}; {hint}")
    return vendor


def _hint(word: str, candidates: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, candidates, n=1)
    everything = "known are " + ", ".join(candidates) if candidates else "it has no options"
    return f"did you mean {close[0]}? {everything}" if close else everything
