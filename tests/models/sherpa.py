"""Models for sherpa-onnx that hear "hello world" in whatever they are given."""

from pathlib import Path

import numpy as np

from tests.models.onnx_file import Graph

_TOKENS = ("▁hello", "▁world", "<blk>")
_BLANK = 2
_FRAMES = 10_000


def _tokens(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{token} {number}\n" for number, token in enumerate(_TOKENS))
    (folder / "tokens.txt").write_text(text, encoding="utf-8")


def offline(folder: Path) -> Path:
    """A model in the form of NeMo's CTC models: a word at each of two moments, silence elsewhere."""
    _tokens(folder)
    spoken = np.full((1, _FRAMES, len(_TOKENS)), -9.0)
    spoken[0, :, _BLANK] = 0.0
    for frame, token in ((2, 0), (6, 1)):
        spoken[0, frame] = -9.0
        spoken[0, frame, token] = 0.0
    graph = Graph(
        inputs=[("audio_signal", "float", ["N", 80, "T"]), ("length", "int64", ["N"])],
        outputs=[("logprobs", "float", ["N", "T", len(_TOKENS)])],
        constants={
            "spoken": spoken,
            "zero": np.array([0]),
            "one": np.array([1]),
            "two": np.array([2]),
        },
    )
    graph.add("Shape", ["audio_signal"], "shape")
    graph.add("Gather", ["shape", "two"], "frames", axis=0)
    graph.add("Slice", ["spoken", "zero", "frames", "one"], "logprobs")
    metadata: dict[str, str | int] = {
        "vocab_size": len(_TOKENS),
        "subsampling_factor": 1,
        "normalize_type": "per_feature",
        "is_giga_am": 0,
        "model_type": "EncDecCTCModelBPE",
    }
    (folder / "model.onnx").write_bytes(graph.file(metadata))
    return folder


def sense_voice(folder: Path, language: str, emotion: str) -> Path:
    """A model in the form of SenseVoice: tags of language, emotion and event, then two words."""
    folder.mkdir(parents=True, exist_ok=True)
    tokens = ("<blank>", f"<|{language}|>", f"<|{emotion}|>", "<|Speech|>", "<|withitn|>", "▁hello", "▁world")
    text = "".join(f"{token} {number}\n" for number, token in enumerate(tokens))
    (folder / "tokens.txt").write_text(text, encoding="utf-8")
    spoken = np.full((1, _FRAMES, len(tokens)), -9.0)
    spoken[0, :, 0] = 0.0
    for frame, token in enumerate((1, 2, 3, 4, 0, 5, 0, 6)):
        spoken[0, frame] = -9.0
        spoken[0, frame, token] = 0.0
    graph = Graph(
        inputs=[
            ("x", "float", ["N", "T", 560]),
            *((name, "int32", ["N"]) for name in ("x_length", "language", "text_norm")),
        ],
        outputs=[("logits", "float", ["N", "T", len(tokens)])],
        constants={"spoken": spoken, "zero": np.array([0]), "one": np.array([1]), "four": np.array([4])},
    )
    graph.add("Shape", ["x"], "shape")
    graph.add("Gather", ["shape", "one"], "frames", axis=0)
    graph.add("Add", ["frames", "four"], "tagged")
    graph.add("Slice", ["spoken", "zero", "tagged", "one"], "logits")
    metadata: dict[str, str | int] = {
        "model_type": "sense_voice_ctc", "vocab_size": len(tokens), "normalize_samples": 0,
        "lfr_window_size": 7, "lfr_window_shift": 6, "with_itn": 14, "without_itn": 15,
        "lang_auto": 0, "lang_zh": 3, "lang_en": 4, "lang_yue": 7, "lang_ja": 11, "lang_ko": 12,
        "neg_mean": ",".join(["0"] * 560), "inv_stddev": ",".join(["1"] * 560),
    }  # fmt: skip
    (folder / "model.onnx").write_bytes(graph.file(metadata))
    return folder


def streaming(folder: Path) -> Path:
    """A model in the form of NeMo's streaming CTC models: a word in each of the first two windows."""
    _tokens(folder)
    spoken = np.full((3, 1, len(_TOKENS)), -9.0)
    for window, token in enumerate((0, 1, _BLANK)):
        spoken[window, 0, token] = 0.0
    cache: list[int | str] = ["N", 1, 1, 1]
    graph = Graph(
        inputs=[
            ("audio_signal", "float", ["N", 80, "T"]),
            ("length", "int64", ["N"]),
            ("cache_last_channel", "float", cache),
            ("cache_last_time", "float", cache),
            ("cache_last_channel_len", "int64", ["N"]),
        ],
        outputs=[
            ("logprobs", "float", ["N", 1, len(_TOKENS)]),
            ("encoded_lengths", "int64", ["N"]),
            ("cache_last_channel_next", "float", cache),
            ("cache_last_time_next", "float", cache),
            ("cache_last_channel_next_len", "int64", ["N"]),
        ],
        constants={"spoken": spoken, "one": np.array([1]), "last": np.array([2])},
    )
    graph.add("Min", ["cache_last_channel_len", "last"], "window")
    graph.add("Gather", ["spoken", "window"], "logprobs", axis=0)
    graph.add("Identity", ["one"], "encoded_lengths")
    graph.add("Identity", ["cache_last_channel"], "cache_last_channel_next")
    graph.add("Identity", ["cache_last_time"], "cache_last_time_next")
    graph.add("Add", ["cache_last_channel_len", "one"], "cache_last_channel_next_len")
    sizes = {f"cache_last_{kind}_dim{n}": 1 for kind in ("channel", "time") for n in (1, 2, 3)}
    metadata: dict[str, str | int] = {
        "vocab_size": len(_TOKENS),
        "window_size": 10,
        "chunk_shift": 10,
        "subsampling_factor": 10,
        "normalize_type": "",
        "model_type": "EncDecHybridRNNTCTCBPEModel",
        **sizes,
    }
    (folder / "model.onnx").write_bytes(graph.file(metadata))
    return folder
