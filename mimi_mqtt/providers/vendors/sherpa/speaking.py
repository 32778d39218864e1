"""A loaded voice of sherpa-onnx: texts cut into sentences, phonemes where it needs them, and speech."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import Any, Final
from unicodedata import normalize

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.models.catalog import ModelVoice
from mimi_mqtt.providers.catalog.model_voices import fitting
from mimi_mqtt.providers.contract.tts import VoiceOptions
from mimi_mqtt.providers.languages import normalized, primary
from mimi_mqtt.providers.vendors.offline.espeak_engine import Engine
from mimi_mqtt.providers.vendors.offline.espeak_text import pieces, readable
from mimi_mqtt.providers.vendors.offline.espeak_words import in_words
from mimi_mqtt.providers.vendors.offline.phonemes import phonemes
from mimi_mqtt.providers.vendors.sherpa.voices import VoiceModel

SLOWEST, FASTEST = 0.5, 2.0
"""The range of speed that is asked of a model."""

_SENTENCE: Final = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])\s*|\n+")

_TIE: Final = "^"
_KOKORO_SOUNDS: Final = (
    ("e^ɪ", "A"), ("a^ɪ", "I"), ("a^ʊ", "W"), ("o^ʊ", "O"), ("ə^ʊ", "Q"), ("ɔ^ɪ", "Y"),
    ("d^ʒ", "ʤ"), ("t^ʃ", "ʧ"), ("d^z", "ʣ"), ("t^s", "ʦ"), (_TIE, ""), ("-", ""),
)  # fmt: skip
_KOKORO_ENGLISH: Final = (
    ("ɜːɹ", "ɜɹ"), ("ɜː", "ɜɹ"), ("ɚ", "əɹ"), ("ɐ", "ə"), ("ᵻ", "ɪ"), ("ɾ", "T"), ("e", "ɛ"), ("r", "ɹ"),
    ("ː", ""),
)  # fmt: skip
"""Sounds of espeak-ng as Kokoro was taught to write them, of all languages and of English:
https://github.com/hexgrad/misaki/blob/main/EN_PHONES.md"""


class SherpaSpeaker:
    """`loaded` is the library's synthesizer of `model`, `engine` makes phonemes, `voices` are its speakers.

    A voice's `speaker` is its number. `usual` is the speaker where none is asked for, `steps` how often
    Supertonic refines what it says.
    """

    def __init__(
        self,
        package: ModuleType,
        loaded: Any,
        model: VoiceModel,
        engine: Engine,
        voices: Sequence[ModelVoice] = (),
        usual: int | None = None,
        steps: int = 5,
    ) -> None:
        self._package = package
        self._loaded = loaded
        self._model = model
        self._engine = engine
        self._voices = voices
        self._usual = usual
        self._steps = steps

    @property
    def sample_rate(self) -> int:
        """Hz of all that it says."""
        return int(self._loaded.sample_rate)

    @property
    def language(self) -> str:
        """The language of the phonemes that the model was taught; empty where it doesn't tell."""
        return str(self._loaded.lang)

    def pieces(self, text: str, voice: VoiceOptions) -> Sequence[Callable[[], Pcm]]:
        """`text` by sentences. See `Speaker`."""
        speaker = self._speaker(voice)
        speed = min(max(voice.speed, SLOWEST), FASTEST)
        made: list[Callable[[], Pcm]] = []
        clean = readable(text)
        if self._model.name != "supertonic":  # which writes numbers out itself
            clean = in_words(clean, voice.language)
        for sentence in filter(None, _SENTENCE.split(clean)):
            for piece in pieces(sentence):
                written, sounds = self._written(piece, voice.language, speaker)
                if written or sounds:
                    config = self._config(speaker, speed, voice.language, sounds)
                    made.append(partial(self._speak, written, config))
        return made

    def _speaker(self, voice: VoiceOptions) -> ModelVoice:
        """The speaker that `voice` names (by a number where speakers have no names), or that fits it."""
        speakers = int(self._loaded.num_speakers)
        numbered = not self._voices and voice.voice is not None and voice.voice.isdecimal()
        if voice.voice and numbered and int(voice.voice) < speakers:
            return ModelVoice(name=voice.voice, language=voice.language, speaker=voice.voice)
        named = any(known.name == voice.voice for known in self._voices)
        if self._usual is not None and self._usual < speakers and not named and not voice.gender:
            return ModelVoice(name="", language=voice.language, speaker=str(self._usual))
        found = fitting(self._voices, voice)
        return found or ModelVoice(name="", language=voice.language, speaker="0")

    def _written(self, text: str, language: str, speaker: ModelVoice) -> tuple[str, str]:
        """`text` as the model takes it: as letters, or as phonemes."""
        model = self._model
        if model.name == "supertonic":
            return text, ""
        if model.name == "kokoro":
            if primary(language) == "zh" and model.lexicons:
                return text, ""
            return "", self._for_kokoro(text, language, speaker)
        if model.lexicons:
            return text, ""
        # Such models know a letter and its accent apart.
        return "", normalize("NFD", phonemes(self._engine, text, self.language or language))

    def _for_kokoro(self, text: str, language: str, speaker: ModelVoice) -> str:
        spoken = language
        if primary(language) == "en":
            spoken = "en-gb" if normalized(speaker.language) == "en-gb" else "en-us"
        return for_kokoro(phonemes(self._engine, text, spoken, _TIE), english=spoken.startswith("en"))

    def _config(self, speaker: ModelVoice, speed: float, language: str, sounds: str) -> Any:
        config = self._package.GenerationConfig()
        config.sid = int(speaker.speaker or 0)
        config.speed = speed
        if sounds:
            config.phoneme_codepoints = [[ord(sound) for sound in sounds]]
        if self._model.name == "supertonic":
            config.num_steps = self._steps
            config.extra = {"lang": primary(language)}
        return config

    def _speak(self, text: str, config: Any) -> Pcm:
        parts: list[np.ndarray[Any, np.dtype[np.float32]]] = []

        def take(samples: "np.ndarray[Any, np.dtype[np.float32]]", _progress: float) -> int:
            parts.append(np.array(samples, np.float32))
            return 1

        made = self._loaded.generate(text, config, take)
        # Without parts it is a model that says all at once; as a list its samples cost more.
        audio = np.concatenate(parts) if parts else np.array(made.samples, np.float32)
        if not np.isfinite(audio).all():  # as quantised models may make of a very short text
            return np.zeros(0, np.int16)
        pcm: Pcm = np.round(np.clip(audio, -1.0, 1.0) * 32767).astype(np.int16)
        return pcm


def for_kokoro(sounds: str, *, english: bool) -> str:
    """Phonemes of espeak-ng, its diphthongs and affricates tied by `^`, as Kokoro knows them."""
    for espeak, kokoro in (*_KOKORO_SOUNDS, *(_KOKORO_ENGLISH if english else ())):
        sounds = sounds.replace(espeak, kokoro)
    return sounds
