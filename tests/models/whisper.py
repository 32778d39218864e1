"""A model for faster-whisper that hears "hello world" in whatever it is given."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel
from tokenizers.models import WordLevel

# As in Whisper's vocabularies; Ġ is a space.
_TOKENS = (
    *("hello", "Ġworld", "<unk>", "<|endoftext|>", "<|startoftranscript|>", "<|translate|>"),
    *("<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>", "<|0.00|>"),
)
_WIDTH = 16
# What follows on each position; the prompt has two: startoftranscript and notimestamps.
_NEXT = ("<|notimestamps|>", "hello", "Ġworld", "<|endoftext|>")


def english(folder: Path) -> Path:
    """A model of English only: all its layers do nothing, and its positions know what is said."""
    folder.mkdir(parents=True, exist_ok=True)
    spec = import_module("ctranslate2.specs.whisper_spec").WhisperSpec(1, 1, 1, 1)
    encoder, decoder = spec.encoder, spec.decoder
    encoder.conv1.weight, encoder.conv1.bias = _zeros(_WIDTH, 80, 3), _zeros(_WIDTH)
    encoder.conv2.weight, encoder.conv2.bias = _zeros(_WIDTH, _WIDTH, 3), _zeros(_WIDTH)
    encoder.position_encodings.encodings = _zeros(1500, _WIDTH)
    decoder.embeddings.weight = _zeros(len(_TOKENS), _WIDTH)
    positions, projection = _zeros(448, _WIDTH), _zeros(len(_TOKENS), _WIDTH)
    for position in range(448):
        positions[position, min(position, len(_NEXT) - 1)] = 10.0
    for position, token in enumerate(_NEXT):
        projection[_TOKENS.index(token), position] = 10.0
    decoder.position_encodings.encodings = positions
    decoder.projection.weight = projection
    for norm in (encoder.layer_norm, decoder.layer_norm):
        _norm(norm)
    for layer in (encoder.layer[0], decoder.layer[0]):
        _attention(layer.self_attention, (3 * _WIDTH, _WIDTH))
        _linear(layer.ffn.linear_0, _WIDTH)
        _linear(layer.ffn.linear_1, _WIDTH)
        _norm(layer.ffn.layer_norm)
    _attention(decoder.layer[0].attention, (_WIDTH, 2 * _WIDTH, _WIDTH))
    spec.register_vocabulary([*_TOKENS])
    spec.validate()
    spec.save(str(folder))
    tokenizer = Tokenizer(WordLevel({token: number for number, token in enumerate(_TOKENS)}, "<unk>"))
    tokenizer.decoder = ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def _zeros(*shape: int) -> "np.ndarray[Any, np.dtype[np.float32]]":
    return np.zeros(shape, np.float32)


def _norm(norm: Any) -> None:
    norm.gamma, norm.beta = np.ones(_WIDTH, np.float32), _zeros(_WIDTH)


def _linear(linear: Any, outputs: int) -> None:
    linear.weight, linear.bias = _zeros(outputs, _WIDTH), _zeros(outputs)


def _attention(attention: Any, outputs: tuple[int, ...]) -> None:
    _norm(attention.layer_norm)
    for linear, size in zip(attention.linear, outputs, strict=True):
        _linear(linear, size)
