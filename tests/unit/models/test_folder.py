"""The folder of installed models."""

from pathlib import Path

import pytest

from mimi_mqtt.models.catalog import catalog
from mimi_mqtt.models.folder import MANIFEST, ModelsFolder, default_models_dir


def install(folder: Path, name: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / MANIFEST).write_text("{}")


def test_a_model_is_there_once_its_manifest_is(tmp_path: Path) -> None:
    folder = ModelsFolder(tmp_path / "models")
    model = catalog()["whisper-tiny-en"]
    assert not folder.has(model)
    (folder.path / model.name).mkdir(parents=True)
    assert folder.locate(model.name) is None
    (folder.path / model.name / MANIFEST).write_text("{}")
    assert model in folder.installed()
    assert folder.locate(model.name) == folder.path / model.name


def test_a_model_of_one_file_is_located_as_that_file(tmp_path: Path) -> None:
    install(tmp_path, "piper-en-joe")
    assert (
        ModelsFolder(tmp_path).locate("piper-en-joe") == tmp_path / "piper-en-joe" / "en_US-joe-medium.onnx"
    )


def test_an_unknown_name_is_nowhere(tmp_path: Path) -> None:
    install(tmp_path, "other")
    assert ModelsFolder(tmp_path).locate("other") is None


def test_the_default_folder_is_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_models_dir() == tmp_path / "mimi-mqtt" / "models"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert default_models_dir() == Path.home() / ".local" / "share" / "mimi-mqtt" / "models"
