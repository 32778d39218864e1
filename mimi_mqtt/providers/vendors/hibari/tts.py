"""Text to speech by Hibari in this process: English, no key, no internet; one voice is in its package."""

from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import ProviderNotConfigured
from mimi_mqtt.providers.catalog.model_voices import voices_at
from mimi_mqtt.providers.catalog.requirements import demand
from mimi_mqtt.providers.contract.provider import ProviderOptions, load_package
from mimi_mqtt.providers.contract.tts import SpeechChunk, TtsCapabilities, VoiceOptions
from mimi_mqtt.providers.runtime.local_model import LoadedModel, LocalModel
from mimi_mqtt.providers.runtime.local_voice import ModelTextToSpeech
from mimi_mqtt.providers.runtime.resilience import Limits

_SLOWEST: Final = 0.5
_FASTEST: Final = 2.0
_DEFAULT: Final = "heart"


class HibariOptions(ProviderOptions):
    """Options of `providers.options.hibari`."""

    model_option: ClassVar[str] = "tts_model"

    tts_model: Path | None = None
    """The voice: a name that `mimi-mqtt models` lists, or one of Hibari's .onnx files. Empty: the voice in
    its package, a female American one."""


class Hibari(ModelTextToSpeech):
    """A model in a thread of its own; each sentence of the text is passed on when it is made.

    It writes out numbers, times, amounts and abbreviations itself.
    """

    Options = HibariOptions
    packages = ("hibari",)
    extra = "hibari"
    capabilities = TtsCapabilities(streaming=True, languages=frozenset({"en"}))

    def __init__(self, name: str, options: HibariOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self._options = options
        self.voices = voices_at(options.tts_model, "hibari")
        self._model: LocalModel[Any] = LocalModel(name, self._load)

    async def start(self) -> None:
        """Loads the model. Raises ProviderNotConfigured."""
        await self._loaded()

    async def aclose(self) -> None:
        """Ends the thread and forgets the model."""
        self._model.close()

    async def _loaded(self) -> LoadedModel[Any]:
        return await self._model.get()

    def _load(self) -> Any:
        demand(self.name, self._options)
        package = load_package("hibari", self.name, self.extra)
        path = self._options.tts_model
        if path is None:
            return package.Hibari()
        path = path.expanduser()
        if not path.is_file():
            raise ProviderNotConfigured(
                self.name, f"there is no file {path}: see providers.options.{self.name}.tts_model"
            )
        voices: dict[str, dict[str, Any]] = package.voices.VOICES
        # The voice decides how a text is pronounced, too: its name is in the file's.
        voice = next((name for name, about in voices.items() if about["kokoro"] in path.name), _DEFAULT)
        from onnxruntime.capi import onnxruntime_pybind11_state as onnx

        try:
            return package.Hibari(voice=voice, model=str(path))
        except (
            onnx.Fail,
            onnx.InvalidArgument,
            onnx.InvalidGraph,
            onnx.InvalidProtobuf,
            onnx.NoModel,
        ) as error:
            raise ProviderNotConfigured(
                self.name, f"{path} is no voice of Hibari ({type(error).__name__}): install it again"
            ) from error

    async def _synthesize(self, text: str, voice: VoiceOptions) -> AsyncGenerator[SpeechChunk, None]:
        loaded = await self._loaded()
        sentences = _sentences(loaded.model, text, min(max(voice.speed, _SLOWEST), _FASTEST))
        while (chunk := await loaded.run(lambda: next(sentences, None), cost=len(text))) is not None:
            yield chunk


def _sentences(model: Any, text: str, speed: float) -> Iterator[SpeechChunk]:
    for audio in model.stream(text, speed=speed):
        yield SpeechChunk(_samples(audio), model.sample_rate)


def _samples(audio: "np.ndarray[Any, np.dtype[np.float32]]") -> Pcm:
    pcm: Pcm = np.round(np.clip(audio, -1.0, 1.0) * 32767).astype(np.int16)
    return pcm
