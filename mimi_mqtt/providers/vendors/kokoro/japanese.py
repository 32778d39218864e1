"""Kokoro-82M with its Japanese voices, by onnxruntime and this project's own readings.

Its folder has model.onnx, voices.npz and vocab.json; a sentence takes about a third of its own length on two
cores.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import ProviderNotConfigured
from mimi_mqtt.models.catalog import ModelVoice
from mimi_mqtt.providers.catalog.model_voices import fitting
from mimi_mqtt.providers.contract.provider import load_package
from mimi_mqtt.providers.contract.tts import VoiceOptions
from mimi_mqtt.providers.vendors.kokoro.kana import phonemes
from mimi_mqtt.providers.vendors.offline.espeak_words import in_words
from mimi_mqtt.providers.vendors.offline.japanese import JapaneseReader

SAMPLE_RATE: Final = 24_000
MAX_TOKENS: Final = 400
"""Phonemes that are spoken at once; the model knows 510."""

_FILES: Final = ("model.onnx", "voices.npz", "vocab.json")
_CLAUSE: Final = re.compile(r"(?<=[.,!?…:;])\s*")
_SENTENCE: Final = re.compile(r"(?<=[。！？!?\n])")
_AUDIBLE: Final = 0.01
_LEAD: Final = SAMPLE_RATE * 20 // 1000
_TAIL: Final = SAMPLE_RATE * 120 // 1000


@dataclass(frozen=True, slots=True)
class JapaneseKokoro:
    """The model in its own files; see `Speaker`. `usual` is the voice where no other is asked for."""

    session: Any
    tokens: Mapping[str, int]
    voices: Mapping[str, "np.ndarray[Any, np.dtype[np.float32]]"]
    reader: JapaneseReader
    known: Sequence[ModelVoice]
    usual: str

    @property
    def sample_rate(self) -> int:
        """Hz of all that it says."""
        return SAMPLE_RATE

    def pieces(self, text: str, voice: VoiceOptions) -> Sequence[Callable[[], Pcm]]:
        """`text` by sentences and clauses. See `Speaker`."""
        style = self.voices[self._voice(voice)]
        return [
            partial(_speak, self, piece, style, voice.speed)
            for sentence in filter(str.strip, _SENTENCE.split(text))
            for piece in _pieces(self, sentence)
        ]

    def _voice(self, voice: VoiceOptions) -> str:
        """The voice that is named, one of the gender that is wished, or the usual one."""
        wished = fitting(self.known, voice) if voice.gender else None
        names = (voice.voice, wished.speaker if wished else "", self.usual, next(iter(self.voices)))
        return next(name for name in names if name and name in self.voices)


def is_japanese(folder: Path) -> bool:
    """True when `folder` holds some of these files, and not those of sherpa-onnx's Kokoro."""
    return any((folder / file).is_file() for file in ("voices.npz", "vocab.json"))


def load(
    provider: str, extra: str, folder: Path, threads: int, known: Sequence[ModelVoice], usual: str
) -> JapaneseKokoro:
    """The model in `folder`. Blocks. Raises ProviderNotConfigured."""
    runtime = load_package("onnxruntime", provider, extra)
    where = f"see providers.options.{provider}.tts_model"
    lacking = [file for file in _FILES if not (folder / file).is_file()]
    if lacking:
        raise ProviderNotConfigured(provider, f"{folder} has no {' and no '.join(lacking)}: {where}")
    settings = runtime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    try:
        session = runtime.InferenceSession(
            str(folder / "model.onnx"), settings, providers=["CPUExecutionProvider"]
        )
        about: object = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
        tokens = about["vocab"] if isinstance(about, dict) else {}
        with np.load(folder / "voices.npz", allow_pickle=False) as styles:
            voices = {name: styles[name].reshape(-1, 256).astype(np.float32) for name in styles.files}
    except Exception as error:
        # The border to native code and to files of anybody's making.
        reason = " ".join(str(error).split())[:200]
        raise ProviderNotConfigured(provider, f"{folder} holds no Kokoro ({reason}): {where}") from error
    if not voices or not all(isinstance(number, int) for number in tokens.values()):
        raise ProviderNotConfigured(provider, f"{folder} holds no Kokoro (no voices): {where}")
    return JapaneseKokoro(session, tokens, voices, JapaneseReader(provider, extra), known, usual)


def _pieces(model: JapaneseKokoro, sentence: str) -> Sequence[Sequence[int]]:
    """The sentence in pieces of at most MAX_TOKENS phonemes, as the model's numbers."""
    pieces: list[list[int]] = []
    for clause in filter(None, _CLAUSE.split(phonemes(model.reader.reading(in_words(sentence, "ja"))))):
        numbers = [model.tokens[letter] for letter in clause if letter in model.tokens]
        if pieces and len(pieces[-1]) + len(numbers) <= MAX_TOKENS:
            pieces[-1] += numbers
        else:
            pieces += [numbers[at : at + MAX_TOKENS] for at in range(0, len(numbers), MAX_TOKENS)]
    return pieces


def _speak(
    model: JapaneseKokoro,
    numbers: Sequence[int],
    style: "np.ndarray[Any, np.dtype[np.float32]]",
    speed: float,
) -> Pcm:
    (audio,) = model.session.run(
        None,
        {
            "tokens": np.array([[0, *numbers, 0]], np.int64),
            # The style depends on the length of what is said.
            "style": style[min(len(numbers), len(style)) - 1][None],
            "speed": np.array([speed], np.float32),
        },
    )
    audio = np.asarray(audio, np.float32).ravel()
    loud = np.flatnonzero(np.abs(audio) > _AUDIBLE)
    if loud.size:
        audio = audio[max(0, loud[0] - _LEAD) : loud[-1] + _TAIL]
    pcm: Pcm = np.round(np.clip(audio, -1.0, 1.0) * 32767).astype(np.int16)
    return pcm
