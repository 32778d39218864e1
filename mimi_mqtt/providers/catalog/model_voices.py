"""The voices of the catalogue's models, as the providers that run them are asked for them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from mimi_mqtt.models.catalog import Model, ModelVoice, catalog
from mimi_mqtt.providers.contract.tts import GENDERS, VoiceOptions
from mimi_mqtt.providers.languages import normalized, primary

ANY_LANGUAGE = "*"
"""The language of a voice that speaks all languages of its model."""


def voices_at(place: Path | None, engine: str = "") -> Sequence[ModelVoice]:
    """The voices of the catalogue's model that lies at `place`: its folder, or its file; empty for others.

    Without a place, those of the model that the package of `engine` brings.
    """
    if place is None:
        brought = (model for model in catalog().values() if model.package and model.engine == engine)
        return next((model.voices for model in brought), ())
    names = (place.name, place.parent.name)
    return next((catalog()[name].voices for name in names if name in catalog()), ())


def owners(name: str) -> list[tuple[Model, ModelVoice]]:
    """The catalogue's voices of this name, each with its model."""
    return [(model, voice) for model in catalog().values() for voice in model.voices if voice.name == name]


def fitting(voices: Iterable[ModelVoice], wish: VoiceOptions) -> ModelVoice | None:
    """The voice for `wish`: the one that it names, else one for its language, of its gender if there is one.

    None where there is no voice for the language. A voice for the region that is asked for comes first.
    """
    able = [voice for voice in voices if speaks_in(voice, wish.language)]
    named = next((voice for voice in able if voice.name == wish.voice), None)
    if named is not None:
        return named
    tag = normalized(wish.language)

    def rank(voice: ModelVoice) -> tuple[bool, bool]:
        return (bool(wish.gender) and voice.gender != wish.gender, normalized(voice.language) != tag)

    return min(able, key=rank, default=None)


def wish_of(language: str, voice: str | None, speed: float = 1.0) -> VoiceOptions:
    """The options for an agent's voice: a name, or a gender in place of one."""
    gender = GENDERS.get(voice or "", "")
    return VoiceOptions(language, None if gender else voice, speed, gender)


def has_voice(voices: Iterable[ModelVoice], wish: VoiceOptions) -> bool:
    """True when one of `voices` is what `wish` names for its language, or has its gender."""
    found = fitting(voices, wish)
    if found is None:
        return False
    return found.name == wish.voice if wish.voice else not wish.gender or found.gender == wish.gender


def speaks_in(voice: ModelVoice, language: str) -> bool:
    """True when `voice` speaks `language`, whatever its region."""
    return voice.language == ANY_LANGUAGE or primary(voice.language) == primary(language)
