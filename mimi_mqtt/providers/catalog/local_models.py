"""Models of the catalogue as options of the providers that run them.

The option that names a provider's model (`ProviderOptions.model_option`) takes a path, or a name of the
catalogue; a provider's label that is such a name (`faster_whisper:whisper-base`) stands for that option.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from mimi_mqtt.config.voice import ProviderSettings
from mimi_mqtt.errors import ConfigError
from mimi_mqtt.models.catalog import Model, catalog
from mimi_mqtt.models.folder import ModelsFolder, default_models_dir
from mimi_mqtt.providers.catalog.model_voices import has_voice, wish_of
from mimi_mqtt.providers.contract.provider import ProviderOptions, Role
from mimi_mqtt.providers.contract.tts import GENDERS, VoiceOptions
from mimi_mqtt.providers.languages import primary

VoiceWish: TypeAlias = str | Mapping[str, str] | None
"""An agent's voice (`AgentSettings.voice`): a name or a gender, or these by language."""


def models_folder(settings: ProviderSettings) -> ModelsFolder:
    """The folder of models that `settings` name, or this user's."""
    return ModelsFolder(settings.models_dir or default_models_dir())


def asked_model(name: str, options: type[ProviderOptions], values: Mapping[str, object]) -> Model | None:
    """The catalogue's model that the provider `name` with the options `values` asks for, if it is one.

    Raises ConfigError for a model that another provider runs.
    """
    if not options.model_option:
        return None
    engine, _, label = name.partition(":")
    given = values.get(options.model_option)
    if isinstance(given, str) and given in catalog():
        model = catalog()[given]
        if model.engine != engine or not options.model_option.startswith(model.role):
            raise ConfigError(
                f"providers.options.{name}.{options.model_option}: "
                f"{given} is a {model.role} model of {model.engine}"
            )
        return model
    labelled = catalog().get(label) if given is None else None
    if labelled is None or labelled.engine != engine or not options.model_option.startswith(labelled.role):
        return None
    return labelled


def with_model(
    name: str, options: type[ProviderOptions], values: Mapping[str, object], folder: ModelsFolder
) -> Mapping[str, object]:
    """`values` with the place of the model in place of its name, and what the catalogue says of it.

    A place in which nothing is installed is for `not_installed` to find. Raises ConfigError.
    """
    model = asked_model(name, options, values)
    if model is None:
        return values
    place = folder.path / model.name / (model.file or "")
    told: dict[str, object] = {options.model_option: place}
    known = options.model_fields
    if model.kind and (kind := f"{model.role}_kind") in known and not values.get(kind):
        told[kind] = model.kind
    if "*" not in model.languages and (languages := f"{model.role}_languages") in known:
        told.setdefault(languages, values.get(languages) or model.languages)
    return {**values, **told}


def chosen_models(able: Iterable[Model], role: Role, language: str, voice: VoiceWish = None) -> list[Model]:
    """Those of `able` that `auto` asks for `role`, best first; together they know what any of them knows.

    `language` is what is spoken as far as it is set, else empty. Speech to text: a model for that language
    alone comes before one for many, which comes first where none is set. Text to speech: the first of each
    language, as the catalogue has the better ones first, and those that have the voices of `voice`.
    """
    spoken = primary(language) if language else ""
    of_role = [model for model in able if model.role == role]
    if role == "stt":
        of_role.sort(key=lambda model: _rank(model, spoken))
    chosen: list[Model] = []
    known: set[str] = set()
    for model in of_role:
        if not known.issuperset(model.languages) and "*" not in known:
            chosen.append(model)
            known.update(model.languages)
    return chosen if role == "stt" else _with_voices(chosen, of_role, voice)


def _with_voices(chosen: Sequence[Model], able: Sequence[Model], voice: VoiceWish) -> list[Model]:
    """`chosen` with those of `able` that have what is wished and `chosen` has not."""
    models = list(chosen)
    for wish in _wishes(voice, chosen):
        if not any(has_voice(model.voices, wish) for model in models):
            models += [model for model in able if has_voice(model.voices, wish)][:1]
    return models


def _wishes(voice: VoiceWish, models: Iterable[Model]) -> Sequence[VoiceOptions]:
    """`voice` as it is asked for in each language of `models` or of its own."""
    if isinstance(voice, Mapping):
        return [wish_of(language, name) for language, name in voice.items()]
    if not voice:
        return []
    languages = dict.fromkeys(primary(known.language) for model in models for known in model.voices)
    named = (known.language for model in catalog().values() for known in model.voices if known.name == voice)
    return [wish_of(language, voice) for language in (languages if voice in GENDERS else [*named][:1])]


def _rank(model: Model, spoken: str) -> int:
    if spoken in model.languages:
        return 0 if len(model.languages) == 1 else 1
    return 2 if "*" in model.languages else 3 - (len(model.languages) > 1)


def provider_name(model: Model) -> str:
    """The name by which `model` is asked: its provider, with the model as label where it has files."""
    return model.engine if model.package else f"{model.engine}:{model.name}"


def not_installed(options: ProviderOptions) -> str:
    """The cure where the model of `options` is one of the catalogue and is not installed; else empty."""
    place: object = getattr(options, options.model_option) if options.model_option else None
    if not isinstance(place, Path) or place.exists():
        return ""
    name = next((name for name in (place.name, place.parent.name) if name in catalog()), "")
    return f"the model {name} is not installed: mimi-mqtt models install {name}" if name else ""
