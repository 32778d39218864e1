"""The kinds of models that sherpa-onnx runs, their recognition from a folder's files, and loading."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Final


class ModelError(Exception):
    """The folder holds no model that can be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One of the library's ways to make a recogniser.

    `files` are its arguments and the words by which their files are known, with one of `suffixes`;
    `languages` its arguments that name what is spoken, told when it is loaded; `folders` those that name a
    folder inside the model's; `tokens`: there is a list of tokens. `fixed` are further arguments.
    """

    streaming: bool
    method: str
    files: Mapping[str, str]
    languages: Sequence[str] = ()
    model_type: str = ""
    suffixes: Sequence[str] = (".onnx",)
    folders: Sequence[str] = ()
    tokens: bool = True
    fixed: Mapping[str, object] = field(default_factory=dict)

    @property
    def finds_language(self) -> bool:
        """True when it finds the language out with each utterance, unless it is told one."""
        return tuple(self.languages) == ("language",)


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
    "streaming_t_one_ctc": Kind(True, "from_t_one_ctc", {"model": ""}),
    "transducer": Kind(False, "from_transducer", _TRANSDUCER),
    "nemo_transducer": Kind(False, "from_transducer", _TRANSDUCER, model_type="nemo_transducer"),
    "paraformer": Kind(False, "from_paraformer", {"paraformer": ""}),
    # Its inverse text normalisation also writes punctuation and digits.
    "sense_voice": Kind(
        False, "from_sense_voice", {"model": ""}, languages=("language",), fixed={"use_itn": True}
    ),
    "whisper": Kind(False, "from_whisper", _PARTS, languages=("language",)),
    "moonshine": Kind(False, "from_moonshine", _MOONSHINE),
    "moonshine_v2": Kind(False, "from_moonshine_v2", _PARTS, suffixes=(".ort", ".onnx")),
    "canary": Kind(False, "from_nemo_canary", _PARTS, languages=("src_lang", "tgt_lang")),
    "fire_red_asr": Kind(False, "from_fire_red_asr", _PARTS),
    "fire_red_asr_ctc": Kind(False, "from_fire_red_asr_ctc", {"model": ""}),
    "omnilingual_ctc": Kind(False, "from_omnilingual_asr_ctc", {"model": ""}),
    "qwen3_asr": Kind(
        False, "from_qwen3_asr", {"conv_frontend": "conv", **_PARTS}, folders=("tokenizer",), tokens=False
    ),
    "zipformer_ctc": Kind(False, "from_zipformer_ctc", {"model": ""}),
    "nemo_ctc": Kind(False, "from_nemo_ctc", {"model": ""}),
    "dolphin_ctc": Kind(False, "from_dolphin_ctc", {"model": ""}),
}
"""By the names of the option `stt_kind`."""

# Words of the published models' folder names, the most telling first.
_SINGLE: Sequence[tuple[str, str]] = (
    ("sense-voice", "sense_voice"),
    ("fire-red", "fire_red_asr_ctc"),
    ("omnilingual", "omnilingual_ctc"),
    ("t-one", "t_one_ctc"),
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
    try:
        return _found(folder, kind)
    except OSError as error:
        raise ModelError(f"{folder} can't be read ({error.strerror})") from error


def _found(folder: Path, kind: str) -> Model:
    if not folder.is_dir():
        raise ModelError(f"{folder} is not a folder: unpack a model of sherpa-onnx there")
    found = KINDS[kind or _guess(folder)]
    files = {argument: model_file(folder, word, found.suffixes) for argument, word in found.files.items()}
    if found.tokens:
        files["tokens"] = model_file(folder, "tokens", (".txt",))
    for argument in found.folders:
        if not (folder / argument).is_dir():
            raise ModelError(f"{folder} has no folder {argument}")
        files[argument] = str(folder / argument)
    return Model(found, files)


def _guess(folder: Path) -> str:
    name = folder.resolve().name.lower().replace("_", "-")
    files = " ".join(path.name for path in folder.iterdir() if path.suffix in (".onnx", ".ort"))
    streaming = "streaming" in name or "online" in name
    if "joiner" in files:
        if streaming:
            return "streaming_transducer"
        return "nemo_transducer" if "nemo" in name or "parakeet" in name else "transducer"
    if "preprocess" in files:
        return "moonshine"
    if "conv" in files and "qwen3" in name:
        return "qwen3_asr"
    if "encoder" in files and "decoder" in files:
        if "moonshine" in name:
            return "moonshine_v2"
        if "canary" in name:
            return "canary"
        if "fire-red" in name:
            return "fire_red_asr"
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


def model_file(folder: Path, word: str, suffixes: Sequence[str]) -> str:
    """The file with `word` in its name; of several the quantised one, which is the faster."""
    paths = sorted(path for path in folder.iterdir() if path.suffix in suffixes and word in path.name)
    if word == "cached_decode":
        paths = [path for path in paths if "uncached" not in path.name]
    if not paths:
        raise ModelError(f"{folder} has no {word or 'model'} file ({' or '.join(suffixes)})")
    return str(next((path for path in paths if "int8" in path.name), paths[0]))


def recognizer(package: ModuleType, model: Model, threads: int, language: str, endpointing_ms: int) -> Any:
    """The library's recogniser. Blocks while it loads.

    Raises RuntimeError or ValueError for a file that is no model; for a model of another kind the library
    ends the process, so that a first attempt belongs into another one (`probe`).
    """
    arguments: dict[str, object] = {**model.files, **model.kind.fixed, "num_threads": threads}
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
    if language or model.kind.finds_language:  # an empty one there means: find out
        arguments |= dict.fromkeys(model.kind.languages, language)
    maker = package.OnlineRecognizer if model.kind.streaming else package.OfflineRecognizer
    return getattr(maker, model.kind.method)(**arguments)
