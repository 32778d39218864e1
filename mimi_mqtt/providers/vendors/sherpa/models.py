"""The kinds of models that sherpa-onnx runs, their recognition from a folder's files, and loading."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final


class ModelError(Exception):
    """The folder holds no model that can be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One of the library's ways to make a recogniser.

    `files` are its arguments and the words by which their files are known; `takes_language`: of what is
    spoken, told when it is loaded.
    """

    streaming: bool
    method: str
    files: Mapping[str, str]
    takes_language: bool = False
    model_type: str = ""


_PARTS = {"encoder": "encoder", "decoder": "decoder"}
_TRANSDUCER = {**_PARTS, "joiner": "joiner"}
_MOONSHINE = {
    "preprocessor": "preprocess",
    "encoder": "encode",
    "uncached_decoder": "uncached_decode",
    "cached_decoder": "cached_decode",
}

KINDS: Final[Mapping[str, Kind]] = {
    "streaming_transducer": Kind(True, "from_transducer", _TRANSDUCER),
    "streaming_paraformer": Kind(True, "from_paraformer", _PARTS),
    "streaming_zipformer_ctc": Kind(True, "from_zipformer2_ctc", {"model": ""}),
    "streaming_nemo_ctc": Kind(True, "from_nemo_ctc", {"model": ""}),
    "transducer": Kind(False, "from_transducer", _TRANSDUCER),
    "nemo_transducer": Kind(False, "from_transducer", _TRANSDUCER, model_type="nemo_transducer"),
    "paraformer": Kind(False, "from_paraformer", {"paraformer": ""}),
    "sense_voice": Kind(False, "from_sense_voice", {"model": ""}, takes_language=True),
    "whisper": Kind(False, "from_whisper", _PARTS, takes_language=True),
    "moonshine": Kind(False, "from_moonshine", _MOONSHINE),
    "zipformer_ctc": Kind(False, "from_zipformer_ctc", {"model": ""}),
    "nemo_ctc": Kind(False, "from_nemo_ctc", {"model": ""}),
    "dolphin_ctc": Kind(False, "from_dolphin_ctc", {"model": ""}),
}
"""By the names of the option `stt_kind`."""

# Words of the published models' folder names, the most telling first.
_SINGLE: Sequence[tuple[str, str]] = (
    ("sense-voice", "sense_voice"),
    ("dolphin", "dolphin_ctc"),
    ("paraformer", "paraformer"),
    ("nemo", "nemo_ctc"),
    ("parakeet", "nemo_ctc"),
    ("giga-am", "nemo_ctc"),
    ("ctc", "zipformer_ctc"),
)


@dataclass(frozen=True, slots=True)
class Model:
    """A model that was found: its kind, and the file of each argument."""

    kind: Kind
    files: Mapping[str, str]


def find(folder: Path, kind: str = "") -> Model:
    """The model in `folder`; an empty `kind` is read from the folder's name and files. Raises ModelError."""
    if not folder.is_dir():
        raise ModelError(f"{folder} is not a folder: unpack a model of sherpa-onnx there")
    found = KINDS[kind or _guess(folder)]
    files = {argument: _file(folder, word) for argument, word in found.files.items()}
    return Model(found, {**files, "tokens": _file(folder, "tokens", ".txt")})


def _guess(folder: Path) -> str:
    name = folder.resolve().name.lower().replace("_", "-")
    files = " ".join(path.name for path in folder.glob("*.onnx"))
    streaming = "streaming" in name or "online" in name
    if "joiner" in files:
        if streaming:
            return "streaming_transducer"
        return "nemo_transducer" if "nemo" in name or "parakeet" in name else "transducer"
    if "preprocess" in files:
        return "moonshine"
    if "encoder" in files and "decoder" in files:
        if "paraformer" in name:
            return "streaming_paraformer"
        if "whisper" in name:
            return "whisper"
    else:
        for word, kind in _SINGLE:
            if word in name:
                return f"streaming_{kind}" if f"streaming_{kind}" in KINDS and streaming else kind
    raise ModelError(
        f"can't tell what kind of model {folder} holds: set stt_kind to one of {', '.join(KINDS)}"
    )


def _file(folder: Path, word: str, suffix: str = ".onnx") -> str:
    """The file with `word` in its name; of several the quantised one, which is the faster."""
    paths = sorted(path for path in folder.glob(f"*{suffix}") if word in path.name)
    if word == "cached_decode":
        paths = [path for path in paths if "uncached" not in path.name]
    if not paths:
        raise ModelError(f"{folder} has no {word or 'model'} file ({suffix})")
    return str(next((path for path in paths if "int8" in path.name), paths[0]))


def recognizer(package: ModuleType, model: Model, threads: int, language: str, endpointing_ms: int) -> Any:
    """The library's recogniser. Blocks while it loads.

    Raises RuntimeError or ValueError for a file that is no model; for a model of another kind the library
    ends the process, so that a first attempt belongs into another one (`probe`).
    """
    arguments: dict[str, object] = {**model.files, "num_threads": threads}
    if model.kind.streaming:
        # An utterance that isn't reset at its end never gets too long for us.
        arguments |= {
            "enable_endpoint_detection": endpointing_ms > 0,
            "rule1_min_trailing_silence": 1e6,
            "rule2_min_trailing_silence": endpointing_ms / 1000,
            "rule3_min_utterance_length": 1e6,
        }
    if model.kind.model_type:
        arguments["model_type"] = model.kind.model_type
    if model.kind.takes_language:
        arguments["language"] = language
    maker = package.OnlineRecognizer if model.kind.streaming else package.OfflineRecognizer
    return getattr(maker, model.kind.method)(**arguments)
