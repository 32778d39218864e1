"""Speech to text by faster-whisper in this process: no key, no internet, a model folder of your choice.

Models are installed by `mimi-mqtt models`, or folders such as https://huggingface.co/Systran/faster-whisper-base;
nothing is ever fetched here.
"""

import math
from collections.abc import AsyncGenerator, AsyncIterator
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import ProviderNotConfigured
from mimi_mqtt.providers.catalog.requirements import demand
from mimi_mqtt.providers.contract.provider import ProviderOptions, load_package
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.contract.stt import SpeechToText, SttCapabilities
from mimi_mqtt.providers.languages import primary
from mimi_mqtt.providers.runtime.local_model import LoadedModel, LocalModel, cores
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.providers.vendors.whisper.decoding import Decoder, Heard, Utterance
from mimi_mqtt.providers.vendors.whisper.segments import spoken

# The tokenizer would be fetched from the internet if it weren't there.
_FILES = ("model.bin", "config.json", "tokenizer.json")

_CORES_FOR_TWO_THREADS = 4
"""On two cores, decodings of one thread each are sooner done than those of two (docs/voice.md)."""

_BATCH_CPU = 4
_BATCH_GPU = 16
"""More at once save nothing on a CPU (docs/voice.md), and keep those who wait longer."""

_SURE = 0.5
"""Least probability of a detected language that is reported."""


class FasterWhisperOptions(ProviderOptions):
    """Options of `providers.options.faster_whisper` for hearing."""

    required: ClassVar[tuple[str, ...]] = ("stt_model",)
    model_option: ClassVar[str] = "stt_model"

    stt_model: Path | None = None
    """The model: a name such as whisper-base that `mimi-mqtt models` lists, or
    a folder with model.bin, config.json and tokenizer.json in it."""

    stt_device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device of the computation."""

    stt_compute_type: str = "auto"
    """Precision, such as int8 or float16; auto: the fastest that the device can, default: the model's own."""

    stt_beam_size: int = Field(5, ge=1, le=10)
    """Hypotheses that are followed at the same time: 5 make a third fewer mistakes in noise than 1, and take
    a sixth longer."""

    stt_threads: int = Field(0, ge=0, le=128)
    """Threads of one decoding on the CPU. 0: one on machines with up to three cores, else two."""

    stt_workers: int = Field(0, ge=0, le=64)
    """Decodings at the same time. 0: as many as the cores have threads for."""

    stt_batch: int = Field(0, ge=0, le=64)
    """Utterances of up to 8 s that are decoded in one call when so many wait. 0: four, and sixteen
    where stt_device is cuda."""

    stt_prompt: str = ""
    """Words to expect: names of people, rooms and things."""


class FasterWhisper(SpeechToText):
    """Decodes whole utterances in threads of its own; the library lets go of the interpreter meanwhile."""

    Options = FasterWhisperOptions
    packages = ("faster_whisper",)
    extra = "faster-whisper"
    capabilities = SttCapabilities(streaming=False, detects=None)
    standby = True

    def __init__(self, name: str, options: FasterWhisperOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self._options = options
        self._threads = options.stt_threads or (1 if cores() < _CORES_FOR_TWO_THREADS else 2)
        self._workers = options.stt_workers or max(1, cores() // self._threads)
        self._model: LocalModel[Decoder] = LocalModel(name, self._load, self._workers)

    @property
    def busy(self) -> bool:
        """See `SpeechToText`."""
        return self._model.busy

    async def start(self) -> None:
        """Loads the model. Raises ProviderNotConfigured."""
        await self._loaded()

    async def aclose(self) -> None:
        """Lets go of the model; a decoding that runs ends by itself, unheard."""
        self._model.close()

    async def _loaded(self) -> LoadedModel[Decoder]:
        loaded = await self._model.get()
        if list(loaded.model.languages) == ["en"]:
            self.capabilities = SttCapabilities(streaming=False, languages=frozenset({"en"}))
        return loaded

    def _load(self) -> Decoder:
        demand(self.name, self._options)
        where = f"providers.options.{self.name}.stt_model"
        folder = (self._options.stt_model or Path()).expanduser()
        lacking = [file for file in _FILES if not (folder / file).is_file()]
        if lacking:
            raise ProviderNotConfigured(
                self.name,
                f"{folder} has no {' and no '.join(lacking)}: set {where} to the folder of a model, such as "
                "a copy of huggingface.co/Systran/faster-whisper-base",
            )
        package = load_package("faster_whisper", self.name, self.extra)
        options = self._options
        try:
            model = package.WhisperModel(
                str(folder),
                device=options.stt_device,
                compute_type=options.stt_compute_type,
                cpu_threads=self._threads,
                num_workers=self._workers,
                local_files_only=True,
            )
            return Decoder(model, options.stt_beam_size, options.stt_prompt)
        except Exception as error:
            # The border to native code, which has errors of many kinds for a broken file or a wrong device.
            reason = " ".join(str(error).split())[:200]
            raise ProviderNotConfigured(
                self.name, f"faster-whisper can't use {folder} ({reason}): see {where}"
            ) from error

    def _transcribe(self, audio: AsyncIterator[Pcm], language: str | None) -> AsyncIterator[Transcript]:
        return self._heard(audio, language, None)

    def _detect(self, audio: AsyncIterator[Pcm], language: str) -> AsyncIterator[Transcript]:
        return self._heard(audio, None, language)

    async def _heard(
        self, audio: AsyncIterator[Pcm], language: str | None, expected: str | None
    ) -> AsyncGenerator[Transcript, None]:
        loaded = await self._loaded()
        hints = [primary(hint) if hint else None for hint in (language, expected)]
        async for pcm in audio:
            utterance = Utterance(np.divide(pcm, 32768, dtype=np.float32), *hints)
            yield _transcript(await self._hear(loaded, utterance))

    async def _hear(self, loaded: LoadedModel[Decoder], utterance: Utterance) -> Heard:
        decoder, cost = loaded.model, float(utterance.samples.size)
        if not utterance.context:
            return await loaded.run(partial(decoder.hear_long, utterance), cost)
        guess = await loaded.run_many(
            decoder.guess, utterance, utterance.context, cost=cost, most=self._together
        )
        if guess.doubtful:  # which the others of the call need not wait for
            guess = await loaded.run_many(
                decoder.guess_again, (utterance, guess), "again", cost=cost, most=self._together
            )
        return guess.heard

    @property
    def _together(self) -> int:
        """Utterances that are decoded in one call, where so many wait."""
        return self._options.stt_batch or (_BATCH_GPU if self._options.stt_device == "cuda" else _BATCH_CPU)


def _transcript(heard: Heard) -> Transcript:
    said = spoken(heard.segments)
    text = "".join(segment.text for segment in said).strip()
    sure = math.exp(sum(segment.avg_logprob for segment in said) / len(said)) if said else None
    told = heard.language if said and heard.probability >= _SURE else None
    return Transcript(text, final=True, language=told, confidence=sure)
