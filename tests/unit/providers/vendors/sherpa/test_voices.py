"""How a folder shows which voice it holds; names and files are those of published voices."""

from importlib import import_module
from pathlib import Path

import pytest

from mimi_mqtt.providers.vendors.sherpa.models import ModelError
from mimi_mqtt.providers.vendors.sherpa.voices import VOICE_KINDS, find_voice

_SUPERTONIC = (
    "duration_predictor.int8.onnx text_encoder.int8.onnx vector_estimator.int8.onnx vocoder.int8.onnx "
    "tts.json unicode_indexer.bin voice.bin"
)


def unpack(parent: Path, name: str, files: str) -> Path:
    folder = parent / name
    folder.mkdir()
    for file in files.split():
        (folder / file).touch()
    return folder


@pytest.mark.parametrize(
    ("name", "files", "kind"),
    [
        ("vits-piper-ru_RU-irina-medium-int8", "ru_RU-irina-medium.onnx tokens.txt", "vits"),
        ("kokoro-int8-multi-lang-v1_0", "model.int8.onnx voices.bin tokens.txt", "kokoro"),
        ("kitten-nano-en-v0_2-fp16", "model.fp16.onnx voices.bin tokens.txt", "kitten"),
        ("sherpa-onnx-supertonic-3-tts-int8-2026-05-11", _SUPERTONIC, "supertonic"),
    ],
)
def test_published_voices_are_known(tmp_path: Path, name: str, files: str, kind: str) -> None:
    model = find_voice(unpack(tmp_path, name, files))
    assert model.name == kind
    assert {Path(file).name for file in model.files.values()} == {*files.split()}


def test_lexicons_and_their_rules_are_found_in_their_order(tmp_path: Path) -> None:
    files = "model.onnx voices.bin tokens.txt lexicon-us-en.txt lexicon-gb-en.txt lexicon-zh.txt"
    model = find_voice(unpack(tmp_path, "kokoro", f"{files} number-zh.fst date-zh.fst phone-zh.fst"))
    assert [Path(path).name for path in model.lexicons] == ["lexicon-us-en.txt", "lexicon-zh.txt"]
    assert [Path(path).name for path in model.rules] == ["phone-zh.fst", "date-zh.fst", "number-zh.fst"]


def test_without_a_lexicon_there_are_no_rules(tmp_path: Path) -> None:
    assert not find_voice(unpack(tmp_path, "vits", "a.onnx tokens.txt number.fst")).rules


@pytest.mark.parametrize(
    ("files", "kind", "complaint"),
    [
        ("readme.txt", "", "set tts_kind"),
        ("model.onnx tokens.txt", "kokoro", "no voices file"),
        ("voices.bin tokens.txt", "kitten", "no model file"),
        ("tts.json", "", "no duration_predictor file"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, files: str, kind: str, complaint: str) -> None:
    with pytest.raises(ModelError, match=complaint):
        find_voice(unpack(tmp_path, "mine", files), kind)


def test_a_folder_is_needed(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a folder"):
        find_voice(tmp_path / "nowhere")


@pytest.mark.parametrize("name", VOICE_KINDS)
def test_the_library_has_every_kind(name: str) -> None:
    kind = VOICE_KINDS[name]
    made = getattr(import_module("sherpa_onnx"), f"OfflineTts{kind.config}ModelConfig")
    config = made(**dict.fromkeys(kind.files, "x"), **({"lexicon": "y"} if kind.lexicon else {}))
    assert {getattr(config, argument) for argument in kind.files} == {"x"}
