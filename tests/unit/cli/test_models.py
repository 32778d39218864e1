"""`mimi-mqtt models`: what is listed, asked about and refused; downloads are in tests/integration/models."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from mimi_mqtt.cli import main
from mimi_mqtt.cli import models as command
from mimi_mqtt.errors import ModelError
from mimi_mqtt.models.catalog import Model, catalog
from mimi_mqtt.models.folder import MANIFEST, ModelsFolder
from mimi_mqtt.models.installing import Damage


class FakeInstaller:
    """Installs by writing a manifest; `fails` names models that can't be had."""

    asked: ClassVar[list[str]] = []
    fails: frozenset[str] = frozenset()
    damaged: Sequence[Damage] = ()

    def __init__(self, folder: ModelsFolder, progress: object) -> None:
        self._folder = folder

    def install(self, model: Model, *, again: bool = False) -> bool:
        type(self).asked.append(model.name)
        if model.name in self.fails:
            raise ModelError(f"{model.name} can't be installed: no internet")
        (self._folder.path / model.name).mkdir(parents=True, exist_ok=True)
        (self._folder.path / model.name / MANIFEST).write_text("{}")
        return True

    def check(self, model: Model) -> Sequence[Damage]:
        return self.damaged

    def remove(self, model: Model) -> bool:
        return self._folder.has(model)


@pytest.fixture(autouse=True)
def installer(monkeypatch: pytest.MonkeyPatch) -> type[FakeInstaller]:
    for variable in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(variable, raising=False)
    made = type("Installer", (FakeInstaller,), {"asked": []})
    monkeypatch.setattr(command, "Installer", made)
    return made


def run(tmp_path: Path, *arguments: str) -> int:
    return main(["models", arguments[0], "--models-dir", str(tmp_path / "models"), *arguments[1:]])


def test_the_list_tells_size_licence_languages_and_what_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "install", "whisper-tiny-en") == 0
    capsys.readouterr()
    assert run(tmp_path, "list", "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(rows) == list(catalog())
    tiny, base = rows["whisper-tiny-en"], rows["whisper-base"]
    assert (tiny["installed"], tiny["licence"], tiny["languages"]) == (True, "MIT", ["en"])
    assert (base["installed"], base["provider"], base["size"]) == (False, "faster_whisper", "150 MB")
    assert run(tmp_path, "list", "--language", "ja-JP") == 0
    shown = capsys.readouterr().out
    assert "kokoro-ja" in shown
    assert "whisper-base" in shown
    assert "hibari" not in shown


def test_the_set_of_a_language_is_installed(tmp_path: Path, installer: type[FakeInstaller]) -> None:
    assert run(tmp_path, "install", "--language", "ja") == 0
    assert installer.asked == ["whisper-base", "kokoro-ja"]


@pytest.mark.parametrize(
    ("variables", "asked"),
    [
        ({}, ["whisper-base"]),
        ({"LANG": "C.UTF-8"}, ["whisper-base"]),
        ({"LANG": "ja_JP.UTF-8"}, ["whisper-base", "kokoro-ja"]),
        (
            {"LC_ALL": "ru_RU.UTF-8", "LANG": "ja_JP.UTF-8"},
            ["whisper-base", "piper-ru-irina"],
        ),
        ({"MIMI_SERVER__LANGUAGE": "ko", "LANG": "ja_JP.UTF-8"}, ["whisper-base"]),
        ({"LANG": "sw_KE.UTF-8"}, ["whisper-base"]),
    ],
)
def test_the_default_is_english_and_the_language_of_the_house(
    tmp_path: Path,
    installer: type[FakeInstaller],
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    asked: list[str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert run(tmp_path, "install", "--default", "--yes") == 0
    assert installer.asked == asked
    assert run(tmp_path, "install", "--default", "--yes") == 0
    assert installer.asked == asked


def test_the_default_adds_to_the_languages_and_models_that_are_named(
    tmp_path: Path, installer: type[FakeInstaller]
) -> None:
    assert run(tmp_path, "install", "hibari-en-kore", "--default", "--language", "ja", "--yes") == 0
    assert {"hibari-en-kore", "kokoro-ja", "whisper-base"} <= set(installer.asked)


def test_a_download_that_fails_is_told_and_the_others_go_on(
    tmp_path: Path, installer: type[FakeInstaller], capsys: pytest.CaptureFixture[str]
) -> None:
    installer.fails = frozenset({"whisper-tiny-en"})
    assert run(tmp_path, "install", "whisper-tiny-en", "whisper-base") == 1
    assert installer.asked == ["whisper-tiny-en", "whisper-base"]
    assert "no internet" in capsys.readouterr().err


def test_the_default_passes_over_what_must_be_agreed_to_without_a_word(
    tmp_path: Path,
    installer: type[FakeInstaller],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    limited = catalog()["whisper-tiny-en"].model_copy(update={"limits": "community"})
    monkeypatch.setattr(command, "small_set", lambda language: (limited,))
    assert run(tmp_path, "install", "--default", "--yes") == 0
    assert installer.asked == []
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("limits", ["community", "non-commercial"])
def test_a_licence_with_limits_is_agreed_to_first(
    tmp_path: Path,
    installer: type[FakeInstaller],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    limits: str,
) -> None:
    limited = catalog()["whisper-base"].model_copy(update={"limits": limits})
    monkeypatch.setattr(command, "catalog", lambda: {"whisper-base": limited})
    assert run(tmp_path, "install", "whisper-base") == 1
    assert "--accept-licence whisper-base" in capsys.readouterr().err
    assert run(tmp_path, "install", "whisper-base", "--accept-licence", "whisper-base") == 0
    assert installer.asked == ["whisper-base"]


def test_damage_fails_the_check_unless_it_is_repaired(
    tmp_path: Path, installer: type[FakeInstaller], capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, "install", "whisper-base")
    assert run(tmp_path, "check") == 0
    installer.damaged = (Damage("model.bin", "is missing"),)
    assert run(tmp_path, "check") == 1
    assert "--repair" in capsys.readouterr().out
    assert run(tmp_path, "check", "whisper-base", "--repair") == 0
    assert installer.asked == ["whisper-base", "whisper-base"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("install",), ("install", "whisper"), ("install", "--language", "xx"), ("remove", "hibari-en"),
        ("check", "whisper"),
    ],
)  # fmt: skip
def test_wrong_use_is_told_with_exit_code_2(
    tmp_path: Path, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, *arguments) == 2
    assert capsys.readouterr().err


def test_what_is_not_installed_can_not_be_checked_or_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "check", "whisper-base") == 1
    assert run(tmp_path, "remove", "whisper-base") == 0
    assert "is not installed" in capsys.readouterr().out
