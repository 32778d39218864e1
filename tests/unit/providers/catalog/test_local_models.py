"""Names of the catalogue of models in place of paths."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from mimi_mqtt.config.voice import ProviderSettings
from mimi_mqtt.errors import ConfigError, ProviderNotConfigured
from mimi_mqtt.models.folder import MANIFEST
from mimi_mqtt.providers.catalog import registry
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
