"""Voices of the local models, with what makes each usable."""

from collections.abc import Iterator
from dataclasses import dataclass

from mimi_mqtt.models.catalog import Model, catalog
from mimi_mqtt.models.engines import engine_installed
from mimi_mqtt.models.folder import ModelsFolder
from mimi_mqtt.providers.catalog.local_models import provider_name
from mimi_mqtt.providers.catalog.model_voices import ANY_LANGUAGE
from mimi_mqtt.providers.languages import primary


@dataclass(frozen=True, slots=True)
class ListedVoice:
    """One voice. `languages` are primary tags; `cure` is the command that makes it usable, empty when it
    is."""

    name: str
    language: str
    languages: tuple[str, ...]
    gender: str
    model: str
    provider: str
    cure: str


def listed_voices(
    folder: ModelsFolder, *, language: str = "", gender: str = "", installed: bool = False
) -> Iterator[ListedVoice]:
    """The voices of all models, or those that speak `language` (a tag), are of a gender, can be used now."""
    for model in catalog().values():
        cure, languages = cure_of(model, folder), tuple(map(primary, model.languages))
        for voice in model.voices:
            spoken = languages if voice.language == ANY_LANGUAGE else (primary(voice.language),)
            if (
                (not language or primary(language) in spoken)
                and (not gender or voice.gender == gender)
                and not (installed and cure)
            ):
                yield ListedVoice(
                    voice.name, voice.language, spoken, voice.gender, model.name, provider_name(model), cure
                )


def cure_of(model: Model, folder: ModelsFolder) -> str:
    """The command that makes the voices of `model` usable; empty when they are."""
    if not engine_installed(model):
        return f"pip install 'mimi-mqtt[{model.needs}]'"
    return "" if folder.has(model) else f"mimi-mqtt models install {model.name}"
