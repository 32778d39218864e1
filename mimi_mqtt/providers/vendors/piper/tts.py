"""Text to speech by Piper in this process: no internet, a neural voice from a model file."""

from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from mimi_mqtt.errors import ProviderBadAnswer, ProviderNotConfigured
from mimi_mqtt.providers.catalog.model_voices import voices_at
from mimi_mqtt.providers.catalog.requirements import demand
from mimi_mqtt.providers.contract.provider import ProviderOptions, load_package
from mimi_mqtt.providers.contract.tts import SpeechChunk, TtsCapabilities, VoiceOptions
from mimi_mqtt.providers.runtime.local_model import LoadedModel, LocalModel
from mimi_mqtt.providers.runtime.local_voice import ModelTextToSpeech
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.providers.vendors.offline.espeak_words import in_words

if TYPE_CHECKING:
    from piper import PiperVoice

_CURE = (
    "install a voice with `mimi-mqtt models install` and set providers.options.{name}.tts_model to its name, "
    "or to a voice's .onnx file"
)


class PiperOptions(ProviderOptions):
    """Options of `providers.options.piper`."""

    required: ClassVar[tuple[str, ...]] = ("tts_model",)
    model_option: ClassVar[str] = "tts_model"

    tts_model: Path | None = None
    """The voice: a name that `mimi-mqtt models` lists, or an .onnx file with its .onnx.json next to it."""

    tts_speaker: str | None = None
    """Speaker, for models that have several, where assistant.voice is empty."""

    tts_volume: float = Field(1.0, gt=0, le=4)
    """Loudness; 1 is the model's own."""


class Piper(ModelTextToSpeech):
    """A model in a thread of its own; each sentence in the text is passed on when it is made."""

    Options = PiperOptions
    packages = ("piper",)
    extra = "piper"

    def __init__(self, name: str, options: PiperOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self._options = options
        self.voices = voices_at(options.tts_model)
        self.capabilities = TtsCapabilities(streaming=True, languages=self.known_languages())
        self._model: LocalModel[PiperVoice] = LocalModel(name, self._load)

    async def start(self) -> None:
        """Loads the model. Raises ProviderNotConfigured."""
        await self._loaded()

    async def aclose(self) -> None:
        """Ends the thread and forgets the model."""
        self._model.close()

    async def _loaded(self) -> "LoadedModel[PiperVoice]":
        loaded = await self._model.get()
        language = loaded.model.config.espeak_voice
        self.capabilities = TtsCapabilities(True, frozenset({language}) if language else None)
        return loaded

    def _load(self) -> "PiperVoice":
        demand(self.name, self._options)
        model = self._options.tts_model or Path()
        cure = _CURE.format(name=self.name)
        for file in (model, Path(f"{model}.json")):
            if not file.is_file():
                raise ProviderNotConfigured(self.name, f"there is no file {file}: {cure}")
        load_package("piper", self.name, self.extra)
        from onnxruntime.capi import onnxruntime_pybind11_state as onnx
        from piper import PiperVoice

        bad_model = (onnx.Fail, onnx.InvalidArgument, onnx.InvalidGraph, onnx.InvalidProtobuf, onnx.NoModel)
        try:
            return PiperVoice.load(model)
        except (OSError, AttributeError, LookupError, TypeError, ValueError, *bad_model) as error:
            broken = type(error).__name__
        raise ProviderNotConfigured(self.name, f"{model} is no Piper voice ({broken}): {cure}")

    async def _synthesize(self, text: str, voice: VoiceOptions) -> AsyncGenerator[SpeechChunk, None]:
        loaded = await self._loaded()
        sentences = self._sentences(loaded.model, text, voice)
        while (chunk := await loaded.run(lambda: next(sentences, None))) is not None:
            yield chunk

    def _sentences(self, model: "PiperVoice", text: str, voice: VoiceOptions) -> Iterator[SpeechChunk]:
        from piper import SynthesisConfig

        speakers = model.config.speaker_id_map
        names = (voice.voice, self._options.tts_speaker)
        speaker = next((speakers[name] for name in names if name and name in speakers), None)
        config = SynthesisConfig(
            speaker_id=speaker,
            length_scale=model.config.length_scale / voice.speed,
            volume=self._options.tts_volume,
        )
        # `[[ ]]` would be taken for phonemes; espeak-ng, which makes them, reads few times and sums right.
        plain = in_words(text.replace("[[", "[").replace("]]", "]"), voice.language)
        for chunk in model.synthesize(plain, config):
            if chunk.sample_channels != 1:
                raise ProviderBadAnswer(self.name, "the model is not mono")
            yield SpeechChunk(chunk.audio_int16_array, chunk.sample_rate)
