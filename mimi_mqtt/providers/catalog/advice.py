"""Advice: models that would make a server hear, speak or answer better, and the commands for them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from mimi_mqtt.config import Settings
from mimi_mqtt.config.agents import AgentSettings
from mimi_mqtt.models.catalog import catalog, for_language, small_set
from mimi_mqtt.models.progress import megabytes
from mimi_mqtt.providers.catalog.local_models import models_folder, provider_name
from mimi_mqtt.providers.catalog.model_voices import ANY_LANGUAGE, owners, speaks_in, wish_of
from mimi_mqtt.providers.catalog.registry import AUTO, runs_here
from mimi_mqtt.providers.catalog.selection import Selection
from mimi_mqtt.providers.contract.tts import TextToSpeech, VoiceOptions
from mimi_mqtt.providers.languages import primary

MODEL_COMMANDS: Final = ("curl -fsSL https://ollama.com/install.sh | sh", "ollama pull qwen3:4b-instruct")
"""The two commands that give this machine a language model that can call tools: 2.5 GB, which answer at
once. The model of the name qwen3:4b thinks first, which can't be turned off."""

_OFFLINE: Final = "offline"


def better_speech(settings: Settings, asked: Mapping[str, Selection]) -> str:
    """The command that installs models for the languages of the agents, where `auto` found none better than
    the simplest recogniser or voice; empty when there is nothing better.

    `asked` has the providers of each agent.
    """
    folder = models_folder(settings.providers)
    languages: list[str] = []
    gains: list[str] = []
    for key, agent in settings.every_agent.items():
        language = primary(agent.language or settings.server.language)
        poor = [] if asked[key]["s2s"] else _poor(settings, agent, asked[key], language)
        lacking = [model for model in small_set(language) if model.role in poor and not folder.has(model)]
        roles = {model.role for model in lacking if runs_here(model)}
        gains += (["ordinary sentences are heard"] if "stt" in roles else []) + (
            ["a human voice"] if "tts" in roles else []
        )
        languages += [language] if roles else []
    if not languages:
        return ""
    languages = list(dict.fromkeys(languages))
    command = " ".join(("mimi-mqtt models install", *(f"--language {language}" for language in languages)))
    models = {model.name: model for language in languages for model in small_set(language)}
    size = sum(model.download_bytes for model in models.values() if not folder.has(model))
    asked_about = [name for name, model in models.items() if model.limits and not folder.has(model)]
    terms = f"; {' and '.join(asked_about)} has a licence to agree to" if asked_about else ""
    return f"{command}  ({megabytes(size)}: {', '.join(dict.fromkeys(gains))}{terms})"


def better_model(answering: str) -> Sequence[str]:
    """The commands that give a language model, where `answering` is the name of what answers now."""
    return MODEL_COMMANDS if answering in ("", _OFFLINE) else ()


def missing_voices(agent: AgentSettings, language: str, tts: TextToSpeech) -> Sequence[str]:
    """A sentence for each voice of `agent` that `tts`, its providers, is known not to have.

    `language` is the one that is spoken, as far as it is set.
    """
    wishes = agent.voice.items() if isinstance(agent.voice, Mapping) else _usual_wish(agent.voice, language)
    return [
        f"no voice {name} for {spoken} in {tts.name}: {_cure(name, spoken)}"
        for spoken, name in wishes
        if _is_missing(tts, wish_of(spoken, name))
    ]


def _is_missing(tts: TextToSpeech, wish: VoiceOptions) -> bool:
    """True when none of `tts` has what is wished. A service may have any name that is no local model's; none
    knows genders."""
    has = tts.has_voice(wish)
    return has is False or (has is None and (wish.voice is None or bool(owners(wish.voice))))


def _usual_wish(voice: str | None, language: str) -> Sequence[tuple[str, str]]:
    if not voice:
        return ()
    # A voice is wanted for its own language, be it another than the usual one.
    own = next((known.language for _, known in owners(voice) if known.language != ANY_LANGUAGE), language)
    return ((own, voice),)


def _cure(voice: str, language: str) -> str:
    """Advice for a configured voice that is not available."""
    if voice in catalog() and catalog()[voice].voices:
        names = ", ".join(known.name for known in catalog()[voice].voices)
        return f"it is a model; its voices: {names}"
    models = [model.name for model, known in owners(voice) if speaks_in(known, language)]
    if models:
        return f"mimi-mqtt models install {models[0]}, or name that model in tts"
    return f"see mimi-mqtt voices --language {language}"


def _poor(settings: Settings, agent: AgentSettings, asked: Selection, language: str) -> Sequence[str]:
    """The roles for which `auto` found nothing that knows `language`, but for what is always there."""
    automatic = {"stt": agent.stt or settings.providers.stt, "tts": agent.tts or settings.providers.tts}
    return [
        role
        for role, names in (("stt", asked["stt"]), ("tts", asked["tts"]))
        if AUTO in automatic[role] and not _known(names, language)
    ]


def _known(names: Iterable[str], language: str) -> bool:
    """True when one of the providers `names` knows `language`; services are believed to know every one."""
    models = {provider_name(model): model for model in catalog().values()}
    others = [name for name in names if name != _OFFLINE]
    return any(name not in models or for_language(language, [models[name]]) for name in others)
