"""Every provider by role and name, loaded on first use; and the meaning of `auto`.

A name in the configuration is `<provider>` or `<provider>:<label>`; the label allows several of one kind,
each with its own `providers.options` (`openai:house` next to `openai`). A new provider is one row here, or in
`presets` when it speaks OpenAI's protocol; one that `auto` may choose is also in AUTO_ORDER.
"""

import difflib
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Literal, overload

from pydantic import ValidationError

from mimi_mqtt.config.problems import wording
from mimi_mqtt.config.voice import ProviderSettings
from mimi_mqtt.errors import ConfigError
from mimi_mqtt.models.catalog import Model
from mimi_mqtt.models.engines import engine_installed
from mimi_mqtt.providers.catalog.local_models import (
    VoiceWish,
    chosen_models,
    models_folder,
    provider_name,
    with_model,
)
from mimi_mqtt.providers.catalog.presets import PRESETS
from mimi_mqtt.providers.catalog.requirements import (
    environment,
    missing,
    package_installed,
    preset_of,
    required,
)
from mimi_mqtt.providers.contract.llm import LanguageModel
from mimi_mqtt.providers.contract.provider import Provider, ProviderOptions, Role
from mimi_mqtt.providers.contract.stt import SpeechToText
from mimi_mqtt.providers.contract.tts import TextToSpeech
from mimi_mqtt.providers.contract.vad import VoiceActivityDetector
from mimi_mqtt.providers.runtime.cached_speech import CachedSpeech
from mimi_mqtt.providers.runtime.fallback import LlmChain, SttChain, TtsChain
from mimi_mqtt.providers.runtime.realtime.provider import SpeechToSpeech
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.providers.runtime.speech_cache import SpeechCache

AUTO = "auto"

_OFFLINE = "offline"
_LOCAL = "local"

_OPENAI: Mapping[Role, str] = {
    "stt": "mimi_mqtt.providers.vendors.openai.stt:OpenAiSpeechToText",
    "llm": "mimi_mqtt.providers.vendors.openai.llm:OpenAiLanguageModel",
    "tts": "mimi_mqtt.providers.vendors.openai.tts:OpenAiTextToSpeech",
    "s2s": "mimi_mqtt.providers.vendors.openai.realtime:OpenAiRealtime",
}


def _presets(role: Role) -> Mapping[str, str]:
    return {name: _OPENAI[role] for name, preset in PRESETS.items() if role in preset.roles}


_PROVIDERS: Mapping[Role, Mapping[str, str]] = {
    "vad": {
        "silero": "mimi_mqtt.providers.vendors.silero.vad:SileroVad",
    },
    "stt": {
        **_presets("stt"),
        "azure": "mimi_mqtt.providers.vendors.azure.stt:AzureSpeechToText",
        "gemini": "mimi_mqtt.providers.vendors.gemini.stt:GeminiSpeechToText",
        "wyoming": "mimi_mqtt.providers.vendors.wyoming.stt:WyomingSpeechToText",
        "funasr": "mimi_mqtt.providers.vendors.funasr.stt:FunAsr",
        "deepgram": "mimi_mqtt.providers.vendors.deepgram.stt:DeepgramSpeechToText",
        "sherpa_onnx": "mimi_mqtt.providers.vendors.sherpa.stt:SherpaOnnx",
        "faster_whisper": "mimi_mqtt.providers.vendors.whisper.stt:FasterWhisper",
        "offline": "mimi_mqtt.providers.vendors.offline.stt:PocketSphinx",
    },
    "llm": {
        **_presets("llm"),
        "gemini": "mimi_mqtt.providers.vendors.gemini.llm:GeminiLanguageModel",
        "anthropic": "mimi_mqtt.providers.vendors.anthropic.llm:AnthropicLanguageModel",
        "dify": "mimi_mqtt.providers.vendors.dify.llm:DifyApp",
        "coze": "mimi_mqtt.providers.vendors.coze.llm:CozeBot",
        "home_assistant": "mimi_mqtt.providers.vendors.home_assistant.llm:HomeAssistant",
        "local": "mimi_mqtt.providers.vendors.local.llm:LocalLanguageModel",
        "offline": "mimi_mqtt.providers.vendors.offline.assistant:OfflineAssistant",
    },
    "tts": {
        **_presets("tts"),
        "azure": "mimi_mqtt.providers.vendors.azure.tts:AzureTextToSpeech",
        "edge": "mimi_mqtt.providers.vendors.edge.tts:EdgeTextToSpeech",
        "elevenlabs": "mimi_mqtt.providers.vendors.elevenlabs.tts:ElevenLabs",
        "gemini": "mimi_mqtt.providers.vendors.gemini.tts:GeminiTextToSpeech",
        "hibari": "mimi_mqtt.providers.vendors.hibari.tts:Hibari",
        "kitten": "mimi_mqtt.providers.vendors.sherpa.tts:Kitten",
        "kokoro": "mimi_mqtt.providers.vendors.kokoro.tts:Kokoro",
        "piper": "mimi_mqtt.providers.vendors.piper.tts:Piper",
        "sherpa_onnx": "mimi_mqtt.providers.vendors.sherpa.tts:SherpaVoice",
        "supertonic": "mimi_mqtt.providers.vendors.sherpa.tts:Supertonic",
        "wyoming": "mimi_mqtt.providers.vendors.wyoming.tts:WyomingTextToSpeech",
        "offline": "mimi_mqtt.providers.vendors.offline.tts:Espeak",
    },
    "s2s": {
        **_presets("s2s"),
        "gemini_live": "mimi_mqtt.providers.vendors.gemini.live:GeminiLive",
    },
}

AUTO_ORDER: Sequence[str] = (
    "deepgram",
    "elevenlabs",
    "openai",
    "gemini",
    "anthropic",
    "grok",
    "deepseek",
    "qwen",
    "groq",
    "openrouter",
    "mistral",
    "azure",
    "dify",
    "coze",
    "home_assistant",
    "sherpa_onnx",
    "faster_whisper",
    "kokoro",
    "supertonic",
    "kitten",
    "piper",
    "ollama",
    "lmstudio",
    "vllm",
    "custom",
)
"""The order in which `auto` asks the usable providers: those with all requirements set, or an address."""

_BASES: Mapping[Role, type] = {
    "vad": VoiceActivityDetector,
    "stt": SpeechToText,
    "llm": LanguageModel,
    "tts": TextToSpeech,
    "s2s": SpeechToSpeech,
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


def option_models(name: str) -> Mapping[Role, type[ProviderOptions]]:
    """The option models of the provider `name`, by the roles that it plays; empty for one that is unknown."""
    vendor, separator, label = name.partition(":")
    if separator and not label:
        return {}
    return {role: load(role, name).Options for role in _PROVIDERS if vendor in _PROVIDERS[role]}


def check_options(name: str, settings: ProviderSettings, environ: Mapping[str, str]) -> None:
    """Raises ConfigError when the options of the provider `name` are not what its roles take. Whether any is
    missing is for `lacking`."""
    for role, model in option_models(name).items():
        _options(role, model, name, settings, environ)


def check_names(role: Role, names: Sequence[str], key: str) -> None:
    """Raises ConfigError, naming `key`, when one of `names` is no provider of `role`, nor `auto`."""
    for name in names:
        if name != AUTO or role == "s2s":
            _check_name(role, name, key)


def resolve(
    role: Role,
    settings: ProviderSettings,
    environ: Mapping[str, str],
    key: str = "",
    language: str = "",
    voice: VoiceWish = None,
) -> tuple[str, ...]:
    """The providers of `role` in the order they are asked, `auto` replaced by what can be used.

    `auto` is every provider of AUTO_ORDER whose key, address or model is set (in `environ` or
    `providers.options`), then the installed models that fit `language` (empty: none is set) and have `voice`,
    or the language model server of this machine, and then `offline`, so that a dead vendor or a lost line is
    still answered with speech.
    Raises ConfigError, which names `key` as the place to mend: providers.<role> without one.
    """
    names: list[str] = []
    for name in _configured(role, settings):
        automatic = name == AUTO and role != "s2s"
        names += _automatic(role, settings, environ, language, voice) if automatic else [name]
    for name in names:
        _check_name(role, name, key)
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
        case "s2s":
            return () if settings.s2s is None else (settings.s2s,)


def _automatic(
    role: Role, settings: ProviderSettings, environ: Mapping[str, str], language: str, voice: VoiceWish
) -> list[str]:
    if role == "vad":
        return [next(iter(_PROVIDERS["vad"]))]
    usable = [
        vendor
        for vendor in AUTO_ORDER
        if vendor in _PROVIDERS[role] and _usable(role, vendor, settings, environ)
    ]
    if role == "llm":
        searched = settings.find_llm and "ollama" not in usable and "lmstudio" not in usable
        able = all(map(package_installed, load("llm", _LOCAL).packages))
        return [*usable, *([_LOCAL] if searched and able else []), _OFFLINE]
    return [*usable, *_local(role, settings, language, voice), _OFFLINE]


def _local(role: Role, settings: ProviderSettings, language: str, voice: VoiceWish) -> list[str]:
    """The installed models of `role` that can be used, by their provider's name."""
    able = [model for model in models_folder(settings).installed() if model.role == role and runs_here(model)]
    return [provider_name(model) for model in chosen_models(able, role, language, voice)]


def runs_here(model: Model) -> bool:
    """True when the packages that run `model` are installed, and a provider of its name is known."""
    return model.engine in _PROVIDERS[model.role] and engine_installed(model)


def _usable(role: Role, vendor: str, settings: ProviderSettings, environ: Mapping[str, str]) -> bool:
    """True when all that `vendor` needs is configured; for one that needs nothing, its address."""
    model = load(role, vendor).Options
    given = {**environment(vendor, model, environ), **settings.options.get(vendor, {})}
    wanted = required(vendor, model)
    preset = preset_of(vendor, model)
    own_server = preset is not None and preset.client == "openai" and bool(given.get("base_url"))
    return own_server or (bool(wanted) and all(map(given.get, wanted)))


@overload
def build(
    role: Literal["vad"], settings: ProviderSettings, environ: Mapping[str, str]
) -> VoiceActivityDetector: ...
@overload
def build(role: Literal["stt"], settings: ProviderSettings, environ: Mapping[str, str]) -> SpeechToText: ...
@overload
def build(role: Literal["llm"], settings: ProviderSettings, environ: Mapping[str, str]) -> LanguageModel: ...
@overload
def build(
    role: Literal["tts"],
    settings: ProviderSettings,
    environ: Mapping[str, str],
    speech_cache: SpeechCache | None = None,
) -> TextToSpeech: ...
@overload
def build(role: Literal["s2s"], settings: ProviderSettings, environ: Mapping[str, str]) -> SpeechToSpeech: ...
@overload
def build(role: Role, settings: ProviderSettings, environ: Mapping[str, str]) -> Provider: ...
def build(
    role: Role,
    settings: ProviderSettings,
    environ: Mapping[str, str],
    speech_cache: SpeechCache | None = None,
) -> Provider:
    """The provider of `role`, not started; a fallback chain when there are several.

    Text to speech keeps what is said often in `speech_cache`, if one is given.
    Raises ConfigError for an unknown name or option. No vendor's package is imported.
    """
    _check_option_names(settings)
    names = resolve(role, settings, environ)
    if not names:
        raise ConfigError(f"providers.{role}: no provider is set; known are {', '.join(known(role))}")
    members = [_build_one(role, name, settings, environ) for name in names]
    if speech_cache is not None:
        members = [_cached(member, speech_cache) for member in members]
    if len(members) > 1:
        hedge_s = settings.hedge_ms / 1000
        match role:
            case "stt":
                listeners = [member for member in members if isinstance(member, SpeechToText)]
                return SttChain(listeners, hedge_s=hedge_s)
            case "llm":
                models = [member for member in members if isinstance(member, LanguageModel)]
                return LlmChain(models, hedge_s=hedge_s)
            case "tts":
                voices = [member for member in members if isinstance(member, TextToSpeech)]
                return TtsChain(voices, hedge_s=hedge_s)
            case "vad" | "s2s":
                pass
    return members[0]


def lacking(role: Role, name: str, settings: ProviderSettings, environ: Mapping[str, str]) -> list[str]:
    """The cures for all that the provider `name` still lacks; its package is not looked for.

    Raises ConfigError.
    """
    model = load(role, name).Options
    return missing(name, _options(role, model, name, settings, environ))


def _cached(provider: Provider, cache: SpeechCache) -> Provider:
    return CachedSpeech(provider, cache) if isinstance(provider, TextToSpeech) else provider


def _build_one(role: Role, name: str, settings: ProviderSettings, environ: Mapping[str, str]) -> Provider:
    provider = load(role, name)
    options = _options(role, provider.Options, name, settings, environ)
    built = provider(name, options, Limits(timeout_s=settings.timeout_s, retries=settings.retries))
    built.price = settings.prices.get(name, settings.prices.get(name.partition(":")[0]))
    return built


def _options(
    role: Role,
    model: type[ProviderOptions],
    name: str,
    settings: ProviderSettings,
    environ: Mapping[str, str],
) -> ProviderOptions:
    given = settings.options.get(name, {})
    known_keys = _option_keys(name)
    for key in given:
        if key not in known_keys:
            raise ConfigError(
                f"providers.options.{name}.{key}: there is no such key; {_hint(key, known_keys)}"
            )
    # The roles of one provider share a section: each takes the keys it knows.
    values = {key: value for key, value in given.items() if key in model.model_fields}
    for key, value in environment(name, model, environ).items():
        if values.get(key) is None:
            values[key] = value
    if (preset := preset_of(name, model)) is not None:
        values = {**preset.defaults(role), **values}
    values = dict(with_model(name, model, values, models_folder(settings)))
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [
            f"providers.options.{name}.{'.'.join(map(str, problem['loc']))}: {wording(problem)}"
            for problem in error.errors(include_url=False, include_context=False)
        ]
        raise ConfigError("\n".join(lines)) from None


def _option_keys(name: str) -> list[str]:
    """All options under `name`, whichever role takes them."""
    vendor = name.partition(":")[0]
    roles = [role for role in _PROVIDERS if vendor in _PROVIDERS[role]]
    return list(dict.fromkeys(key for role in roles for key in load(role, name).Options.model_fields))


def _check_option_names(settings: ProviderSettings) -> None:
    vendors = list(dict.fromkeys(vendor for names in _PROVIDERS.values() for vendor in names))
    for section, names in (("options", settings.options), ("prices", settings.prices)):
        for name in names:
            if name.partition(":")[0] not in vendors:
                hint = _hint(name, vendors)
                raise ConfigError(f"providers.{section}.{name}: there is no such provider; {hint}")


def _check_name(role: Role, name: str, key: str = "") -> str:
    """The provider's name without its label. Raises ConfigError with the known names."""
    vendor, separator, label = name.partition(":")
    if vendor not in _PROVIDERS[role] or (separator and not label):
        hint = _hint(vendor, [*known(role), *([] if role == "s2s" else [AUTO])])
        raise ConfigError(f"{key or f'providers.{role}'}: there is no provider {name!r}; {hint}")
    return vendor


def _hint(word: str, candidates: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, candidates, n=1)
    everything = "known are " + ", ".join(candidates) if candidates else "it has no options"
    return f"did you mean {close[0]}? {everything}" if close else everything
