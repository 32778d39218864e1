"""How a folder shows which model it holds; names and files are those of published models."""

from pathlib import Path

import pytest

from mimi_mqtt.providers.vendors.sherpa.models import KINDS, ModelError, find

_TRANSDUCER = "encoder-epoch-99-avg-1.onnx decoder-epoch-99-avg-1.onnx joiner-epoch-99-avg-1.onnx"
_MOONSHINE = "preprocess.onnx encode.int8.onnx uncached_decode.int8.onnx cached_decode.int8.onnx"


def unpack(parent: Path, name: str, files: str) -> Path:
    folder = parent / name
    folder.mkdir()
    for file in [*files.split(), "tokens.txt"]:
        (folder / file).touch()
    return folder


@pytest.mark.parametrize(
    ("name", "files", "kind"),
    [
        ("sherpa-onnx-streaming-zipformer-en-2023-06-26", _TRANSDUCER, "streaming_transducer"),
        ("sherpa-onnx-zipformer-ru-2024-09-18", _TRANSDUCER, "transducer"),
        (
            "sherpa-onnx-nemo-parakeet-tdt-0.6b-v3-int8",
            "encoder.int8.onnx decoder.int8.onnx joiner.int8.onnx",
            "nemo_transducer",
        ),
        (
            "sherpa-onnx-streaming-paraformer-bilingual-zh-en",
            "encoder.int8.onnx decoder.int8.onnx",
            "streaming_paraformer",
        ),
        ("sherpa-onnx-whisper-base", "base-encoder.int8.onnx base-decoder.int8.onnx", "whisper"),
        ("sherpa-onnx-moonshine-base-en-int8", _MOONSHINE, "moonshine"),
        ("sherpa-onnx-sense-voice-zh-en-ja-ko-yue-2024-07-17", "model.int8.onnx", "sense_voice"),
        ("sherpa-onnx-paraformer-zh-2024-03-09", "model.int8.onnx", "paraformer"),
        ("sherpa-onnx-dolphin-base-ctc-multi-lang-int8-2025-04-02", "model.int8.onnx", "dolphin_ctc"),
        (
            "sherpa-onnx-nemo-streaming-fast-conformer-ctc-en-80ms",
            "model.onnx",
            "streaming_nemo_ctc",
        ),
        ("sherpa-onnx-nemo-ctc-giga-am-v2-russian-2025-04-19", "model.int8.onnx", "nemo_ctc"),
        (
            "sherpa-onnx-streaming-zipformer-ctc-small-2024-03-18",
            "ctc-epoch-30-avg-3-chunk-16-left-128.int8.onnx",
            "streaming_zipformer_ctc",
        ),
        ("sherpa-onnx-zipformer-ctc-zh-int8-2025-07-03", "model.int8.onnx", "zipformer_ctc"),
        (
            "sherpa-onnx-moonshine-base-en-quantized-2026-02-27",
            "encoder_model.ort decoder_model_merged.ort",
            "moonshine_v2",
        ),
        (
            "sherpa-onnx-nemo-canary-180m-flash-en-es-de-fr-int8",
            "encoder.int8.onnx decoder.int8.onnx",
            "canary",
        ),
        (
            "sherpa-onnx-fire-red-asr-large-zh_en-2025-02-16",
            "encoder.int8.onnx decoder.int8.onnx",
            "fire_red_asr",
        ),
        ("sherpa-onnx-fire-red-asr2-ctc-zh_en-int8-2026-02-25", "model.int8.onnx", "fire_red_asr_ctc"),
        ("sherpa-onnx-omnilingual-asr-1600-languages-300M-ctc", "model.int8.onnx", "omnilingual_ctc"),
        ("sherpa-onnx-streaming-t-one-russian-2025-09-08", "model.onnx", "streaming_t_one_ctc"),
    ],
)
def test_published_models_are_known_by_their_names(tmp_path: Path, name: str, files: str, kind: str) -> None:
    model = find(unpack(tmp_path, name, files))
    assert model.kind is KINDS[kind]
    assert {Path(file).name for file in model.files.values()} == {*files.split(), "tokens.txt"}


def test_the_quantised_file_is_preferred(tmp_path: Path) -> None:
    model = find(unpack(tmp_path, "sense-voice", "model.onnx model.int8.onnx"))
    assert Path(model.files["model"]).name == "model.int8.onnx"


def test_tokens_of_whisper_have_its_size_in_their_name(tmp_path: Path) -> None:
    folder = unpack(tmp_path, "whisper", "base-encoder.onnx base-decoder.onnx")
    (folder / "tokens.txt").rename(folder / "base-tokens.txt")
    assert Path(find(folder).files["tokens"]).name == "base-tokens.txt"


@pytest.mark.parametrize(
    ("name", "files", "kind", "complaint"),
    [
        ("my-model", "model.onnx", "", "set stt_kind"),
        ("my-model", "encoder.onnx decoder.onnx", "", "set stt_kind"),
        ("my-model", "", "nemo_ctc", "no model file"),
        ("my-model", "encoder.onnx decoder.onnx", "transducer", "no joiner file"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, name: str, files: str, kind: str, complaint: str) -> None:
    with pytest.raises(ModelError, match=complaint):
        find(unpack(tmp_path, name, files), kind)


def test_a_folder_without_tokens_is_no_model(tmp_path: Path) -> None:
    folder = unpack(tmp_path, "sense-voice", "model.onnx")
    (folder / "tokens.txt").unlink()
    with pytest.raises(ModelError, match="tokens"):
        find(folder)


def test_a_tokenizer_in_a_folder_is_found(tmp_path: Path) -> None:
    files = "conv_frontend.onnx encoder.int8.onnx decoder.int8.onnx"
    folder = unpack(tmp_path, "sherpa-onnx-qwen3-asr-0.6B-int8-2026-03-25", files)
    with pytest.raises(ModelError, match="has no folder tokenizer"):
        find(folder)
    (folder / "tokenizer").mkdir()
    model = find(folder)
    assert model.kind is KINDS["qwen3_asr"]
    assert model.files["tokenizer"] == str(folder / "tokenizer")
    assert "tokens" not in model.files
