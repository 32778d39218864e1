"""Text to speech by Kokoro-82M in this process, with its Japanese voices: no key, no internet.

https://huggingface.co/hexgrad/Kokoro-82M; a sentence takes about a third of its own length on two cores.
"""

import json
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from pydantic import Field

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import ProviderNotConfigured
from mimi_mqtt.providers.catalog.requirements import demand
from mimi_mqtt.providers.contract.provider import ProviderOptions, load_package
from mimi_mqtt.providers.contract.tts import SpeechChunk, TextToSpeech, TtsCapabilities, VoiceOptions
from mimi_mqtt.providers.runtime.local_model import LoadedModel, LocalModel, cores
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.providers.vendors.kokoro.kana import phonemes
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


class KokoroOptions(ProviderOptions):
    """Options of `providers.options.kokoro`."""

    required: ClassVar[tuple[str, ...]] = ("tts_model",)
    model_option: ClassVar[str] = "tts_model"

    tts_model: Path | None = None
    """The model: a name such as kokoro-ja that `mimi-mqtt models` lists, or a folder with model.onnx,
    voices.npz and vocab.json in it."""

    tts_voice: str = "jf_alpha"
    """Voice, where assistant.voice is empty or is not one of this model's."""

    tts_threads: int = Field(0, ge=0, le=64)
    """Threads of one sentence. 0: as many as there are cores, two at most."""


@dataclass(frozen=True, slots=True)
class _Kokoro:
    session: Any
    tokens: Mapping[str, int]
    voices: Mapping[str, "np.ndarray[Any, np.dtype[np.float32]]"]
    reader: JapaneseReader


class Kokoro(TextToSpeech):
    """The model in a thread of its own; each sentence of the text is passed on when it is made."""

    Options = KokoroOptions
    packages = ("onnxruntime", "sudachipy")
    extra = "offline"
    capabilities = TtsCapabilities(streaming=True, languages=frozenset({"ja"}))

    def __init__(self, name: str, options: KokoroOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self._options = options
        self._model: LocalModel[_Kokoro] = LocalModel(name, self._load)

    async def start(self) -> None:
        """Loads the model. Raises ProviderNotConfigured."""
        await self._loaded()

    async def aclose(self) -> None:
        """Ends the thread and forgets the model."""
        self._model.close()

    async def _loaded(self) -> LoadedModel[_Kokoro]:
        return await self._model.get()

    def _load(self) -> _Kokoro:
        demand(self.name, self._options)
        runtime = load_package("onnxruntime", self.name, self.extra)
        folder = (self._options.tts_model or Path()).expanduser()
        where = f"see providers.options.{self.name}.tts_model"
        lacking = [file for file in _FILES if not (folder / file).is_file()]
        if lacking:
            raise ProviderNotConfigured(self.name, f"{folder} has no {' and no '.join(lacking)}: {where}")
        settings = runtime.SessionOptions()
        settings.intra_op_num_threads = self._options.tts_threads or min(2, cores())
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
            raise ProviderNotConfigured(self.name, f"{folder} holds no Kokoro ({reason}): {where}") from error
        if not voices or not all(isinstance(number, int) for number in tokens.values()):
            raise ProviderNotConfigured(self.name, f"{folder} holds no Kokoro (no voices): {where}")
        return _Kokoro(session, tokens, voices, JapaneseReader(self.name, self.extra))

    async def _synthesize(self, text: str, voice: VoiceOptions) -> AsyncGenerator[SpeechChunk, None]:
        loaded = await self._loaded()
        model = loaded.model
        wished = (voice.voice, self._options.tts_voice, next(iter(model.voices)))
        name = next(name for name in wished if name and name in model.voices)
        for sentence in filter(str.strip, _SENTENCE.split(text)):
            for piece in await loaded.run(partial(_pieces, model, sentence), cost=len(sentence)):
                make = partial(_speak, model, piece, model.voices[name], voice.speed)
                yield SpeechChunk(await loaded.run(make, cost=len(piece)), SAMPLE_RATE)


def _pieces(model: _Kokoro, sentence: str) -> Sequence[Sequence[int]]:
    """The sentence in pieces of at most MAX_TOKENS phonemes, as the model's numbers."""
    pieces: list[list[int]] = []
    for clause in filter(None, _CLAUSE.split(phonemes(model.reader.reading(sentence)))):
        numbers = [model.tokens[letter] for letter in clause if letter in model.tokens]
        if pieces and len(pieces[-1]) + len(numbers) <= MAX_TOKENS:
            pieces[-1] += numbers
        else:
            pieces += [numbers[at : at + MAX_TOKENS] for at in range(0, len(numbers), MAX_TOKENS)]
    return pieces


def _speak(
    model: _Kokoro, numbers: Sequence[int], style: "np.ndarray[Any, np.dtype[np.float32]]", speed: float
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
