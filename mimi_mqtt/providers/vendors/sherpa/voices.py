"""The kinds of voices that sherpa-onnx runs, their recognition from a folder's files, and loading.

Since its version 2 the library leaves phonemes to its caller: `speaking` makes them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from mimi_mqtt.providers.vendors.sherpa.models import ModelError, model_file


@dataclass(frozen=True, slots=True)
class VoiceKind:
    """One of the library's kinds of voices, by the names of its classes.

    `files` are the arguments of its configuration: the word by which each file is known, and its ending.
    `lexicon`: it may read the words that a lexicon in its folder has, as Chinese is read.
    """

    config: str
    files: Mapping[str, tuple[str, str]]
    lexicon: bool = False


_TOKENS: Final = {"tokens": ("tokens", ".txt")}
_STYLED: Final = {"model": ("", ".onnx"), "voices": ("voices", ".bin"), **_TOKENS}

VOICE_KINDS: Final[Mapping[str, VoiceKind]] = {
    "vits": VoiceKind("Vits", {"model": ("", ".onnx"), **_TOKENS}, lexicon=True),
    "kokoro": VoiceKind("Kokoro", _STYLED, lexicon=True),
    "kitten": VoiceKind("Kitten", _STYLED),
    "supertonic": VoiceKind(
        "Supertonic",
        {
            "duration_predictor": ("duration_predictor", ".onnx"),
            "text_encoder": ("text_encoder", ".onnx"),
            "vector_estimator": ("vector_estimator", ".onnx"),
            "vocoder": ("vocoder", ".onnx"),
            "tts_json": ("tts", ".json"),
            "unicode_indexer": ("unicode_indexer", ".bin"),
            "voice_style": ("voice", ".bin"),
        },
    ),
}
"""By the names of the option `tts_kind`. `vits` are Piper's and other voices of that architecture."""

_RULES: Final = ("phone*.fst", "date*.fst", "number*.fst", "new_heteronym*.fst")
"""The rules that turn numbers into words for a lexicon, in the order in which they are applied."""


@dataclass(frozen=True, slots=True)
class VoiceModel:
    """A model that was found: its kind, the file of each argument, its lexicons and its rules for numbers."""

    name: str
    files: Mapping[str, str]
    lexicons: Sequence[str] = ()
    rules: Sequence[str] = ()

    @property
    def kind(self) -> VoiceKind:
        """The voice of this name."""
        return VOICE_KINDS[self.name]


def find_voice(folder: Path, kind: str = "") -> VoiceModel:
    """The voice in `folder`; an empty `kind` is read from the folder's name and files. Raises ModelError."""
    if not folder.is_dir():
        raise ModelError(f"{folder} is not a folder: unpack a voice for sherpa-onnx there")
    name = kind or _guess(folder)
    found = VOICE_KINDS[name]
    files = {argument: model_file(folder, word, (end,)) for argument, (word, end) in found.files.items()}
    lexicons = sorted(map(str, folder.glob("lexicon*.txt"))) if found.lexicon else []
    if name == "kokoro":  # one lexicon of English is enough: both accents have the same words
        lexicons = [path for path in lexicons if not path.endswith("lexicon-gb-en.txt")]
    rules = [str(path) for pattern in _RULES for path in sorted(folder.glob(pattern))] if lexicons else []
    return VoiceModel(name, files, lexicons, rules)


def _guess(folder: Path) -> str:
    names = {path.name for path in folder.iterdir()}
    if "tts.json" in names:
        return "supertonic"
    if "voices.bin" in names:
        return "kitten" if "kitten" in folder.resolve().name.lower() else "kokoro"
    if "tokens.txt" in names and any(name.endswith(".onnx") for name in names):
        return "vits"
    raise ModelError(
        f"can't tell what kind of voice {folder} holds: set tts_kind to one of {', '.join(VOICE_KINDS)}"
    )


def synthesizer(package: ModuleType, model: VoiceModel, threads: int) -> Any:
    """The library's synthesizer. Blocks while it loads.

    Raises RuntimeError or ValueError for a file that is no model; for a model of another kind the library
    ends the process, so that a first attempt belongs into another one (`probe`).
    """
    arguments: dict[str, object] = {**model.files}
    if model.lexicons:
        arguments["lexicon"] = ",".join(model.lexicons)
    config = getattr(package, f"OfflineTts{model.kind.config}ModelConfig")(**arguments)
    voice = package.OfflineTtsModelConfig(**{model.name: config}, num_threads=threads, provider="cpu")
    return package.OfflineTts(
        package.OfflineTtsConfig(model=voice, rule_fsts=",".join(model.rules), max_num_sentences=1)
    )
