"""The voices of the catalogue's models, and which of them is wished."""

from pathlib import Path

import pytest

from mimi_mqtt.models.catalog import catalog
from mimi_mqtt.providers.catalog.model_voices import fitting, has_voice, owners, speaks_in, voices_at, wish_of
from mimi_mqtt.providers.contract.tts import VoiceOptions

MULTI = catalog()["kokoro-multi"].voices
ALL_LANGUAGES = catalog()["supertonic-3"].voices


@pytest.mark.parametrize(
    ("wish", "name"),
    [
        (VoiceOptions("en"), "af_heart"),
        (VoiceOptions("en-GB"), "bf_emma"),
        (VoiceOptions("en", gender="male"), "am_michael"),
        (VoiceOptions("en-GB", gender="male"), "bm_george"),
        (VoiceOptions("fr", gender="male"), "ff_siwis"),  # there is no man among the French
        (VoiceOptions("en", "am_santa"), "am_santa"),
        (VoiceOptions("es", "am_santa"), "ef_dora"),
        (VoiceOptions("en", "nobody"), "af_heart"),
    ],
    ids=str,
)
def test_the_named_voice_speaks_or_one_that_fits(wish: VoiceOptions, name: str) -> None:
    found = fitting(MULTI, wish)
    assert found is not None
    assert found.name == name


def test_no_voice_is_made_to_speak_another_language() -> None:
    assert fitting(MULTI, VoiceOptions("vi")) is None
    assert fitting(ALL_LANGUAGES, VoiceOptions("vi")) is not None


@pytest.mark.parametrize(
    ("wish", "has"),
    [
        (VoiceOptions("en"), True),
        (VoiceOptions("vi"), False),
        (VoiceOptions("en", "am_santa"), True),
        (VoiceOptions("es", "am_santa"), False),
        (VoiceOptions("fr", gender="female"), True),
        (VoiceOptions("fr", gender="male"), False),
    ],
    ids=str,
)
def test_a_wish_is_met_only_by_the_voice_itself_or_the_gender(wish: VoiceOptions, has: bool) -> None:
    assert has_voice(MULTI, wish) is has


def test_a_gender_takes_the_place_of_a_name() -> None:
    assert wish_of("en", "female") == VoiceOptions("en", None, 1.0, "female")
    assert wish_of("en", "joe", 1.5) == VoiceOptions("en", "joe", 1.5)
    assert wish_of("en", None) == VoiceOptions("en")


def test_voices_are_found_by_the_place_of_a_model() -> None:
    assert voices_at(Path("/models/kokoro-ja"))[0].name == "jf_alpha"
    assert [voice.name for voice in voices_at(Path("/models/piper-en-joe/en_US-joe-medium.onnx"))] == ["joe"]
    assert [voice.name for voice in voices_at(None, "hibari")] == ["af_heart"]
    assert voices_at(Path("/models/mine")) == ()


def test_a_voice_may_belong_to_several_models() -> None:
    assert [model.name for model, _ in owners("bf_emma")] == ["hibari-en-emma", "kokoro-multi"]
    assert owners("nobody") == []


def test_every_voice_of_the_catalogue_speaks_a_language_of_its_model() -> None:
    for model in catalog().values():
        names = [voice.name for voice in model.voices]
        assert len({*names}) == len(names), model.name
        assert model.role == "stt" or names, model.name
        for voice in model.voices:
            assert any(speaks_in(voice, language) for language in model.languages), voice.name
