"""A Piper voice of a few hundred bytes: a real ONNX model with Piper's inputs and output, and its config.

Instead of speech it makes a step of 64 samples for each phoneme, scaled by the length scale; speaker n speaks
n + 1 times as long. The ONNX file is written field by field (onnx.proto3), as its package is not needed
otherwise.
"""

import json
import struct
from pathlib import Path

STEP_SAMPLES = 64
SAMPLE_RATE = 16_000

_FLOAT, _INT64 = 1, 7
_INT_ATTRIBUTE = 2
_LETTERS = "abcdefghijklmnopqrstuvwxyzəɛɪʊʌɔæɜɹðθʃŋˈˌː .!?"


def write_voice(folder: Path, *, speakers: int = 1, language: str = "en-us") -> Path:
    """Writes the model and its config; the model's path."""
    path = folder / "voice.onnx"
    path.write_bytes(_model(speakers))
    ids = {"_": [0], "^": [1], "$": [2], **{letter: [3 + at] for at, letter in enumerate(_LETTERS)}}
    config = {
        "audio": {"sample_rate": SAMPLE_RATE},
        "espeak": {"voice": language},
        "phoneme_type": "espeak",
        "num_symbols": len(ids),
        "num_speakers": speakers,
        "inference": {"noise_scale": 0.667, "length_scale": 1, "noise_w": 0.8},
        "phoneme_id_map": ids,
        "speaker_id_map": {f"speaker{number}": number for number in range(speakers)} if speakers > 1 else {},
    }
    Path(f"{path}.json").write_text(json.dumps(config))
    return path


def _model(speakers: int) -> bytes:
    several = speakers > 1
    nodes = [
        _node("Cast", ["input"], "ids", to=_FLOAT),
        _node("Unsqueeze", ["ids", "two"], "columns"),
        _node("Gather", ["scales", "one"], "length_scale"),
        _node("Mul", ["length_scale", "step"], "scaled"),
        _node("Cast", ["scaled"], "samples_each", to=_INT64),
        _node("Mul", ["samples_each", "times"], "longer"),
        _node("Concat", ["one", "one", "longer"], "repeats", axis=0),
        _node("Tile", ["columns", "repeats"], "rows"),
        _node("Reshape", ["rows", "flat"], "output"),
    ]
    if several:
        nodes.insert(0, _node("Add", ["sid", "one"], "times"))
    constants = [
        _tensor("one", _INT64, [1], struct.pack("<q", 1)),
        _tensor("two", _INT64, [1], struct.pack("<q", 2)),
        _tensor("step", _FLOAT, [1], struct.pack("<f", STEP_SAMPLES)),
        _tensor("flat", _INT64, [3], struct.pack("<3q", 1, 1, -1)),
    ]
    if not several:
        constants.append(_tensor("times", _INT64, [1], struct.pack("<q", 1)))
    inputs = [_value("input", _INT64, 2), _value("input_lengths", _INT64, 1), _value("scales", _FLOAT, 1)]
    if several:
        inputs.append(_value("sid", _INT64, 1))
    graph = b"".join(
        [
            *(_bytes(1, node) for node in nodes),
            _bytes(2, b"voice"),
            *(_bytes(5, constant) for constant in constants),
            *(_bytes(11, value) for value in inputs),
            _bytes(12, _value("output", _FLOAT, 3)),
        ]
    )
    return _number(1, 8) + _bytes(7, graph) + _bytes(8, _bytes(1, b"") + _number(2, 13))


def _node(kind: str, inputs: list[str], output: str, **attributes: int) -> bytes:
    parts = [_bytes(1, name.encode()) for name in inputs] + [_bytes(2, output.encode())]
    parts.append(_bytes(4, kind.encode()))
    for name, value in attributes.items():
        parts.append(_bytes(5, _bytes(1, name.encode()) + _number(3, value) + _number(20, _INT_ATTRIBUTE)))
    return b"".join(parts)


def _tensor(name: str, kind: int, shape: list[int], raw: bytes) -> bytes:
    dims = b"".join(_number(1, size) for size in shape)
    return dims + _number(2, kind) + _bytes(8, name.encode()) + _bytes(9, raw)


def _value(name: str, kind: int, dimensions: int) -> bytes:
    shape = b"".join(_bytes(1, _bytes(2, f"{name}{at}".encode())) for at in range(dimensions))
    tensor = _number(1, kind) + _bytes(2, shape)
    return _bytes(1, name.encode()) + _bytes(2, _bytes(1, tensor))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    encoded = b""
    while value > 0x7F:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])
