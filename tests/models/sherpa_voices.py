"""Voices for sherpa-onnx: tiny ones that make a step of samples for each phoneme, and real ones."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.models.onnx_file import Graph, metadata

STEP_SAMPLES = 64
SAMPLE_RATE = 16_000
_LETTERS = "_^$abcdefghijklmnopqrstuvwxyzəɛɪʊʌɔæɜɹðθʃŋʧʤɡAIOWQTˈˌː .!?,;:"


def vits(folder: Path, *, language: str = "en-us", speakers: int = 1) -> Path:
    """A voice in the form of Piper's; speaker n speaks n + 1 times as long."""
    several = speakers > 1
    graph = Graph(
        inputs=[
            ("input", "int64", ["N", "L"]),
            ("input_lengths", "int64", ["N"]),
            ("scales", "float", [3]),
            *([("sid", "int64", ["N"])] if several else []),
        ],
        outputs=[("output", "float", [1, 1, "T"])],
        constants=_constants(),
    )
    graph.add("Cast", ["input"], "ids", to=1)
    graph.add("Unsqueeze", ["ids", "two"], "columns")
    graph.add("Gather", ["scales", "one"], "length_scale")
    graph.add("Mul", ["length_scale", "step"], "scaled")
    graph.add("Cast", ["scaled"], "each", to=7)
    if several:
        graph.add("Add", ["sid", "one"], "times")
        graph.add("Mul", ["each", "times"], "longer")
    else:
        graph.add("Mul", ["each", "one"], "longer")
    _tiled(graph, "output")
    about: dict[str, str | int] = {
        "model_type": "vits", "comment": "piper", "language": "English", "voice": language,
        "has_espeak": 1, "n_speakers": speakers, "sample_rate": SAMPLE_RATE,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "voice.onnx").write_bytes(graph.file(about))
    _tokens(folder)
    return folder


def styled(folder: Path, kind: str, *, speakers: int = 2) -> Path:
    """A voice in the form of Kokoro's or KittenTTS's; speaker n is n + 1 times as loud."""
    graph = Graph(
        inputs=[
            ("tokens" if kind == "kokoro" else "input_ids", "int64", [1, "L"]),
            ("style", "float", [1, 4]),
            ("speed", "float", [1]),
        ],
        outputs=[("waveform", "float", ["T"])],
        constants=_constants(),
    )
    graph.add("Cast", [graph.inputs[0][0]], "ids", to=1)
    graph.add("Gather", ["style", "zero"], "row")
    graph.add("ReduceMax", ["row"], "loud", keepdims=0)
    graph.add("Clip", ["ids", "nothing", "loud"], "levelled")
    graph.add("Unsqueeze", ["levelled", "two"], "columns")
    graph.add("Div", ["step", "speed"], "scaled")
    graph.add("Cast", ["scaled"], "longer", to=7)
    _tiled(graph, "waveform")
    names = [f"voice{number}" for number in range(speakers)]
    about: dict[str, str | int] = {
        "model_type": "kokoro" if kind == "kokoro" else "kitten-tts", "language": "English", "version": 1,
        "has_espeak": 1, "voice": "en-us",
        "sample_rate": SAMPLE_RATE, "n_speakers": speakers, "speaker_names": ",".join(names),
        "speaker2id": ",".join(f"{name}->{at}" for at, name in enumerate(names)),
        "style_dim": "510,1,4" if kind == "kokoro" else "1,4",
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(graph.file(about))
    rows = 510 if kind == "kokoro" else 1
    styles = [np.full((rows, 4), 0.2 * (number + 1), np.float32) for number in range(speakers)]
    (folder / "voices.bin").write_bytes(np.concatenate(styles).tobytes())
    _tokens(folder)
    return folder


def piper_voice(model: Path, folder: Path) -> Path:
    """The voice of Piper at `model` in the form in which sherpa-onnx takes it."""
    about = json.loads(Path(f"{model}.json").read_text(encoding="utf-8"))
    folder.mkdir(parents=True)
    tokens = "".join(f"{letter} {numbers[0]}\n" for letter, numbers in about["phoneme_id_map"].items())
    (folder / "tokens.txt").write_text(tokens, encoding="utf-8")
    told: dict[str, str | int] = {
        "model_type": "vits", "comment": "piper", "language": "English", "voice": about["espeak"]["voice"],
        "has_espeak": 1, "n_speakers": 1, "sample_rate": about["audio"]["sample_rate"],
    }  # fmt: skip
    (folder / model.name).write_bytes(model.read_bytes() + metadata(told))
    return folder


def kokoro(japanese: Path, folder: Path) -> Path:
    """Kokoro with its Japanese voices in the form in which sherpa-onnx takes it."""
    folder.mkdir(parents=True)
    vocabulary = json.loads((japanese / "vocab.json").read_text(encoding="utf-8"))["vocab"]
    tokens = {"$": 0, **vocabulary}
    (folder / "tokens.txt").write_text("".join(f"{t} {n}\n" for t, n in tokens.items()), encoding="utf-8")
    with np.load(japanese / "voices.npz") as styles:
        names = styles.files
        rows = [styles[name].reshape(-1, 256).astype(np.float32) for name in names]
    (folder / "voices.bin").write_bytes(np.concatenate(rows).tobytes())
    told: dict[str, str | int] = {
        "model_type": "kokoro", "language": "English", "has_espeak": 1, "voice": "en-us", "version": 1,
        "sample_rate": 24_000, "n_speakers": len(names), "speaker_names": ",".join(names),
        "speaker2id": ",".join(f"{name}->{at}" for at, name in enumerate(names)),
        "style_dim": f"{len(rows[0])},1,256",
    }  # fmt: skip
    (folder / "model.onnx").write_bytes((japanese / "model.onnx").read_bytes() + metadata(told))
    return folder


def _constants() -> dict[str, npt.NDArray[Any]]:
    return {
        "zero": np.array([0]), "one": np.array([1]), "two": np.array([2]),
        "step": np.array([float(STEP_SAMPLES)]), "nothing": np.array(0.0), "flat": np.array([1, 1, -1]),
        "line": np.array([-1]),
    }  # fmt: skip


def _tiled(graph: Graph, output: str) -> None:
    """`columns`, each repeated `longer` times, as one line of samples."""
    graph.add("Concat", ["one", "one", "longer"], "repeats", axis=0)
    graph.add("Tile", ["columns", "repeats"], "rows")
    graph.add("Reshape", ["rows", "flat" if output == "output" else "line"], output)


def _tokens(folder: Path) -> None:
    text = "".join(f"{letter} {number}\n" for number, letter in enumerate(_LETTERS))
    (folder / "tokens.txt").write_text(text, encoding="utf-8")
