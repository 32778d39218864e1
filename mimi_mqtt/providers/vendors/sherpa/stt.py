"""Speech to text by sherpa-onnx in this process: no key, no internet, a model folder of your choice.

Streaming models understand while the speaker speaks and judge the end of an utterance; all others get the
utterance when it is over. https://k2-fsa.github.io/sherpa/onnx/pretrained_models/
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

import numpy as np
from pydantic import AfterValidator, Field

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import ProviderNotConfigured
from mimi_mqtt.providers.catalog.requirements import demand
from mimi_mqtt.providers.contract.provider import ProviderOptions, load_package
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.contract.stt import SpeechToText, SttCapabilities
from mimi_mqtt.providers.languages import language_named, primary
from mimi_mqtt.providers.runtime.local_model import LoadedModel, LocalModel
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.providers.vendors.sherpa.models import KINDS, Model, ModelError, find, recognizer
from mimi_mqtt.providers.vendors.sherpa.proving import Trial, prove

_RATE = 16_000
# Models want to see some silence before they are sure of the last word, and fail with next to no audio.
_TAIL = np.zeros(int(0.66 * _RATE), np.float32)

_EMOTIONS: Final = {
    "HAPPY": "happy", "SAD": "sad", "ANGRY": "angry", "FEARFUL": "afraid", "DISGUSTED": "disgusted",
    "SURPRISED": "surprised",
}  # fmt: skip
"""SenseVoice's tags, of which neutral and unknown tell nothing:
https://github.com/FunAudioLLM/SenseVoice#speech-emotion-recognition"""


def _known_kind(kind: str) -> str:
    if kind and kind not in KINDS:
        raise ValueError(f"must be one of {', '.join(KINDS)}")
    return kind


class SherpaOnnxOptions(ProviderOptions):
    """Options of `providers.options.sherpa_onnx` for hearing."""

    required: ClassVar[tuple[str, ...]] = ("stt_model",)
    model_option: ClassVar[str] = "stt_model"

    stt_model: Path | None = None
    """The model: a name that `mimi-mqtt models` lists, or the folder of an unpacked one, such as
    /models/sherpa-onnx-streaming-zipformer-en-2023-06-26."""

    stt_kind: Annotated[str, AfterValidator(_known_kind)] = ""
    """Kind of model, such as sense_voice; a wrong one is told with all that there are. Empty: read from the
    folder's name and files."""

    stt_languages: tuple[str, ...] = ()
    """Languages that the model knows, such as [en, de]. Empty: any."""

    stt_language: str = ""
    """Language that is spoken, for Whisper and SenseVoice models. Empty: they find out."""

    stt_threads: int = Field(2, ge=1, le=64)
    """Threads of one decoding."""

    stt_workers: int = Field(1, ge=1, le=32)
    """Utterances that are decoded at the same time."""

    stt_endpointing_ms: int = Field(600, ge=0, le=10_000)
    """Silence after which a streaming model holds the speaker to be done, in ms; 0: it doesn't judge it."""


class SherpaOnnx(SpeechToText):
    """Decodes in threads of its own; the library lets go of the interpreter while it does."""

    Options = SherpaOnnxOptions
    packages = ("sherpa_onnx",)
    extra = "sherpa-onnx"
    standby = True

    def __init__(self, name: str, options: SherpaOnnxOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self._options = options
        self._model: LocalModel[Any] = LocalModel(name, self._load, options.stt_workers)
        self._starting = asyncio.Lock()
        languages = frozenset(options.stt_languages) or None
        try:
            kind = self._find(options.stt_model).kind if options.stt_model is not None else None
        except ProviderNotConfigured:  # which `start` says again
            kind = None
        finds_out = kind is not None and kind.finds_language and not options.stt_language
        self.capabilities = SttCapabilities(
            kind is not None and kind.streaming, languages, _RATE, None if finds_out else frozenset()
        )

    @property
    def busy(self) -> bool:
        """See `SpeechToText`."""
        return self._model.busy

    async def start(self) -> None:
        """Loads the model, in another process first. Raises ProviderNotConfigured."""
        await self._loaded()

    async def aclose(self) -> None:
        """Lets go of the model; a decoding that runs ends by itself, unheard."""
        self._model.close()

    async def _loaded(self) -> LoadedModel[Any]:
        demand(self.name, self._options)
        async with self._starting:
            if not self._model.loaded:
                await asyncio.to_thread(load_package, "sherpa_onnx", self.name, self.extra)
                model = self._find(self._folder)
                await prove(
                    self.name,
                    Trial("stt", self._folder, self._options.stt_kind, self._options.stt_language),
                    model.files.values(),
                )
            return await self._model.get()

    @property
    def _folder(self) -> Path:
        return self._options.stt_model or Path()

    def _find(self, folder: Path) -> Model:
        try:
            return find(folder.expanduser(), self._options.stt_kind)
        except ModelError as error:
            raise ProviderNotConfigured(
                self.name, f"{error}; see providers.options.{self.name}.stt_model"
            ) from error

    def _load(self) -> Any:
        options = self._options
        package = load_package("sherpa_onnx", self.name, self.extra)
        model = self._find(self._folder)
        return recognizer(
            package, model, options.stt_threads, options.stt_language, options.stt_endpointing_ms
        )

    async def _transcribe(
        self, audio: AsyncIterator[Pcm], language: str | None
    ) -> AsyncGenerator[Transcript, None]:
        loaded = await self._loaded()
        known = self._options.stt_languages
        only = known[0] if len(known) == 1 else self._options.stt_language
        spoken = primary(only) if only else None
        stream = await loaded.run(loaded.model.create_stream)
        if not self.capabilities.streaming:
            async for pcm in audio:
                decode = partial(_decode_whole, loaded.model, stream, pcm)
                heard = await loaded.run(decode, cost=pcm.size)
                yield replace(heard, language=heard.language or spoken)
            return
        shown = Transcript("", final=False)
        async for transcript in _decoded(loaded, stream, audio):
            if transcript != shown:
                shown = transcript
                yield shown
        yield Transcript(shown.text, final=True, language=spoken)


async def _decoded(
    loaded: LoadedModel[Any], stream: Any, audio: AsyncIterator[Pcm]
) -> AsyncGenerator[Transcript, None]:
    """The transcript of a streaming model after each of its steps."""
    step = partial(_step, loaded.model, stream)
    async for pcm in audio:
        stream.accept_waveform(_RATE, _floats(pcm))
        while (transcript := await loaded.run(step)) is not None:
            yield transcript
    stream.accept_waveform(_RATE, _TAIL)
    stream.input_finished()
    while (transcript := await loaded.run(step)) is not None:
        yield transcript


def _step(recognizer: Any, stream: Any) -> Transcript | None:
    """Decodes once, if there is audio enough for it."""
    if not recognizer.is_ready(stream):
        return None
    recognizer.decode_stream(stream)
    text = str(recognizer.get_result(stream)).strip()
    return Transcript(text, final=False, endpoint=bool(text) and bool(recognizer.is_endpoint(stream)))


def _decode_whole(recognizer: Any, stream: Any, pcm: Pcm) -> Transcript:
    """The text, with the language (`<|en|>`) and the emotion (`<|HAPPY|>`) where the model tells them."""
    stream.accept_waveform(_RATE, np.concatenate([_floats(pcm), _TAIL]))
    recognizer.decode_stream(stream)
    result = stream.result
    return Transcript(
        str(result.text).strip(),
        final=True,
        language=language_named(str(result.lang).strip("<|>")),
        emotion=_EMOTIONS.get(str(result.emotion).strip("<|>").upper(), ""),
    )


def _floats(pcm: Pcm) -> "np.ndarray[Any, np.dtype[np.float32]]":
    return np.divide(pcm, 32768, dtype=np.float32)
