"""Names of the catalogue of models in place of paths."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from mimi_mqtt.config import Settings
from mimi_mqtt.config.voice import ProviderSettings
from mimi_mqtt.errors import ConfigError, ProviderNotConfigured
from mimi_mqtt.models.folder import MANIFEST
from mimi_mqtt.providers.catalog import registry
from mimi_mqtt.providers.catalog.selection import select_providers
from mimi_mqtt.providers.contract.provider import Role


def settings(folder: Path, **options: Mapping[str, object]) -> ProviderSettings:
    return ProviderSettings(models_dir=folder, options={name: dict(given) for name, given in options.items()})


def placed(name: str, role: Role, given: ProviderSettings) -> object:
    given = given.model_copy(update={role: (name,)})
    options = registry.build(role, given, {}).options
    return getattr(options, options.model_option)


def test_a_name_of_the_catalogue_is_the_place_of_that_model(tmp_path: Path) -> None:
    given = settings(tmp_path, faster_whisper={"stt_model": "whisper-base"})
    assert placed("faster_whisper", "stt", given) == tmp_path / "whisper-base"


def test_a_label_of_the_catalogue_needs_no_options(tmp_path: Path) -> None:
    assert placed("faster_whisper:whisper-base", "stt", settings(tmp_path)) == tmp_path / "whisper-base"
    assert placed("piper:piper-en-joe", "tts", settings(tmp_path)).name == "en_US-joe-medium.onnx"  # type: ignore[attr-defined]


def test_a_path_stays_a_path(tmp_path: Path) -> None:
    given = settings(tmp_path, **{"faster_whisper:whisper-base": {"stt_model": "/elsewhere"}})
    assert placed("faster_whisper:whisper-base", "stt", given) == Path("/elsewhere")


def test_a_model_of_another_engine_is_refused(tmp_path: Path) -> None:
    given = settings(tmp_path, sherpa_onnx={"stt_model": "whisper-base"})
    with pytest.raises(ConfigError, match="is a stt model of faster_whisper"):
        placed("sherpa_onnx", "stt", given)


async def test_a_model_that_is_not_installed_is_told_with_the_command(tmp_path: Path) -> None:
    given = settings(tmp_path)
    name = "faster_whisper:whisper-base"
    told = registry.lacking("stt", name, given, {})
    assert told == ["the model whisper-base is not installed: mimi-mqtt models install whisper-base"]
    provider = registry.build("stt", given.model_copy(update={"stt": (name,)}), {})
    with pytest.raises(ProviderNotConfigured, match="mimi-mqtt models install whisper-base"):
        await provider.start()
    (tmp_path / "whisper-base").mkdir()
    (tmp_path / "whisper-base" / MANIFEST).write_text("{}")
    assert registry.lacking("stt", name, given, {}) == []


def installed(folder: Path, *names: str) -> ProviderSettings:
    for name in names:
        (folder / name).mkdir()
        (folder / name / MANIFEST).write_text("{}")
    return settings(folder)


@pytest.mark.parametrize(
    ("names", "language", "asked"),
    [
        (("whisper-tiny-en",), "", ("whisper-tiny-en",)),
        (("whisper-tiny-en",), "vi", ("whisper-tiny-en",)),
        (("whisper-base", "whisper-tiny-en"), "", ("whisper-base",)),
        (("whisper-base", "whisper-tiny-en"), "vi-VN", ("whisper-base",)),
        (("whisper-base", "whisper-tiny-en"), "en-GB", ("whisper-tiny-en", "whisper-base")),
        ((), "en", ()),
    ],
)
def test_auto_hears_with_installed_models_that_fit_the_language(
    tmp_path: Path, names: tuple[str, ...], language: str, asked: tuple[str, ...]
) -> None:
    given = installed(tmp_path, *names)
    expected = tuple(f"faster_whisper:{name}" for name in asked)
    assert registry.resolve("stt", given, {}, language=language) == (*expected, "offline")
    with_key = registry.resolve("stt", given, {"OPENAI_API_KEY": "sk-test"}, language=language)
    assert with_key == ("openai", *expected, "offline")


@pytest.mark.parametrize(
    ("voice", "asked"),
    [
        (None, ("hibari", "kokoro:kokoro-ja")),
        ("joe", ("hibari", "kokoro:kokoro-ja", "piper:piper-en-joe")),
        ("male", ("hibari", "kokoro:kokoro-ja", "piper:piper-en-joe")),
        ({"en": "male", "ja": "female"}, ("hibari", "kokoro:kokoro-ja", "piper:piper-en-joe")),
        ({"ja": "male"}, ("hibari", "kokoro:kokoro-ja")),
        ("am_fenrir", ("hibari", "kokoro:kokoro-ja")),  # its model is not installed
        ("nobody", ("hibari", "kokoro:kokoro-ja")),
    ],
    ids=str,
)
def test_auto_speaks_with_the_model_of_the_wished_voice_too(
    tmp_path: Path, voice: str | dict[str, str] | None, asked: tuple[str, ...]
) -> None:
    given = installed(tmp_path, "kokoro-ja", "piper-en-joe")
    assert registry.resolve("tts", given, {}, voice=voice) == (*asked, "offline")
    agent = Settings(providers=given, agents={"ann": {"voice": voice}})
    assert select_providers(agent, {})["ann"]["tts"] == (*asked, "offline")


def test_a_model_of_an_engine_that_is_not_there_is_not_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "engine_installed", lambda model: model.engine != "faster_whisper")
    assert registry.resolve("stt", installed(tmp_path, "whisper-base"), {}) == ("offline",)


def test_the_language_that_is_set_reaches_the_choice(tmp_path: Path) -> None:
    providers = installed(tmp_path, "whisper-base", "whisper-tiny-en")
    unset = Settings(providers=providers)
    assert select_providers(unset, {})["default"]["stt"][0] == "faster_whisper:whisper-base"
    english = Settings(providers=providers, server={"language": "en"})
    assert select_providers(english, {})["default"]["stt"][0] == "faster_whisper:whisper-tiny-en"
    agent = Settings(providers=providers, agents={"ann": {"language": "en"}})
    assert select_providers(agent, {})["ann"]["stt"][0] == "faster_whisper:whisper-tiny-en"
