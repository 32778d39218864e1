"""Text to speech by sherpa-onnx in this process: no key, no internet, a voice folder of your choice.

Piper's voices need nothing else here, Piper's own engine neither.
https://k2-fsa.github.io/sherpa/onnx/tts/all/
"""

import asyncio
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from mimi_mqtt.errors import ProviderNotConfigured
from mimi_mqtt.providers.catalog.model_voices import voices_at
from mimi_mqtt.providers.catalog.requirements import demand
from mimi_mqtt.providers.contract.provider import ProviderOptions, load_package
from mimi_mqtt.providers.contract.tts import TtsCapabilities
from mimi_mqtt.providers.languages import primary
from mimi_mqtt.providers.runtime.local_model import LoadedModel, cores
from mimi_mqtt.providers.runtime.local_voice import LocalVoice, Speaker
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.providers.vendors.offline.espeak_engine import EspeakFailure, shared_engine
from mimi_mqtt.providers.vendors.sherpa.models import ModelError
from mimi_mqtt.providers.vendors.sherpa.proving import Trial, prove
from mimi_mqtt.providers.vendors.sherpa.speaking import SherpaSpeaker
from mimi_mqtt.providers.vendors.sherpa.voices import VOICE_KINDS, VoiceModel, find_voice, synthesizer


def _known_kind(kind: str) -> str:
    if kind and kind not in VOICE_KINDS:
        raise ValueError(f"must be one of {', '.join(VOICE_KINDS)}")
    return kind


class LocalVoiceOptions(ProviderOptions):
    """Options of `providers.options` for speaking, of the names that run a voice of sherpa-onnx."""

    required: ClassVar[tuple[str, ...]] = ("tts_model",)
    model_option: ClassVar[str] = "tts_model"

    tts_model: Path | None = None
    """The voice: a name that `mimi-mqtt models` lists, or the folder of an unpacked one, such as
    /models/vits-piper-ru_RU-irina-medium-int8."""

    tts_languages: tuple[str, ...] = ()
    """Languages that it speaks, such as [zh, en]. Empty: what the model tells, else any."""

    tts_speaker: int | None = Field(None, ge=0, le=9_999)
    """Number of the speaker, for models that have several, where assistant.voice is none of this model's."""

    tts_threads: int = Field(0, ge=0, le=64)
    """Threads of one sentence. 0: as many as there are cores, two at most."""


class SupertonicOptions(LocalVoiceOptions):
    """Options of `providers.options.supertonic`."""

    tts_steps: int = Field(5, ge=1, le=50)
    """Steps in which a Supertonic model refines what it says: more sound better and take longer."""


class SherpaVoiceOptions(SupertonicOptions):
    """Options of `providers.options.sherpa_onnx` for speaking."""

    tts_kind: Annotated[str, AfterValidator(_known_kind)] = ""
    """Kind of voice: vits, kokoro, kitten or supertonic. Empty: read from the folder's name and files."""


class SherpaVoice(LocalVoice):
    """A model of the kind `kind`, or of any; the library lets go of the interpreter while it speaks.

    Phonemes are made by espeak-ng, where a model needs them.
    """

    Options: ClassVar[type[ProviderOptions]] = SherpaVoiceOptions
    packages: ClassVar[tuple[str, ...]] = ("sherpa_onnx", "espeakng_loader")
    extra = "sherpa-onnx"
    kind: ClassVar[str] = ""

    def __init__(self, name: str, options: LocalVoiceOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self._options = options
        self.voices = voices_at(options.tts_model)
        self._usual_voice = ""
        self._starting = asyncio.Lock()
        languages = frozenset(map(primary, options.tts_languages))
        self.capabilities = TtsCapabilities(streaming=True, languages=languages or None)

    @property
    def _folder(self) -> Path:
        return (self._options.tts_model or Path()).expanduser()

    def _usual(self) -> int | None:
        """The number of the speaker where none is asked for; None: one for the language."""
        named = (voice.speaker for voice in self.voices if voice.name == self._usual_voice)
        number = next(named, "") or self._options.tts_speaker
        return None if number is None else int(number)

    def _find(self) -> VoiceModel:
        asked = self._options.tts_kind if isinstance(self._options, SherpaVoiceOptions) else self.kind
        try:
            return find_voice(self._folder, asked)
        except ModelError as error:
            raise ProviderNotConfigured(
                self.name, f"{error}; see providers.options.{self.name}.tts_model"
            ) from error

    async def _loaded(self) -> LoadedModel[Speaker]:
        demand(self.name, self._options)
        async with self._starting:
            if not self._model.loaded:
                await asyncio.to_thread(load_package, "sherpa_onnx", self.name, self.extra)
                model = self._find()
                await prove(
                    self.name,
                    Trial("tts", self._folder, model.name, kind_is_chosen=not self.kind),
                    model.files.values(),
                )
            return await self._model.get()

    def _load(self) -> Speaker:
        package = load_package("sherpa_onnx", self.name, self.extra)
        model = self._find()
        try:
            engine = shared_engine(load_package("espeakng_loader", self.name, "offline"))
        except EspeakFailure as error:
            raise ProviderNotConfigured(self.name, f"{error}: reinstall espeakng-loader") from None
        options = self._options
        steps = options.tts_steps if isinstance(options, SupertonicOptions) else 5
        loaded = synthesizer(package, model, options.tts_threads or min(2, cores()))
        speaker = SherpaSpeaker(package, loaded, model, engine, self.voices, self._usual(), steps)
        if self.capabilities.languages is None and model.name == "vits" and speaker.language:
            told = frozenset({primary(speaker.language)})
            self.capabilities = TtsCapabilities(streaming=True, languages=told)
        return speaker


class Kitten(SherpaVoice):
    """KittenTTS: small English voices. https://github.com/KittenML/KittenTTS"""

    Options = LocalVoiceOptions
    kind = "kitten"

    def __init__(self, name: str, options: LocalVoiceOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        if not options.tts_languages:
            self.capabilities = TtsCapabilities(streaming=True, languages=frozenset({"en"}))


class Supertonic(SherpaVoice):
    """Supertonic: ten voices that speak many languages. https://github.com/supertone-inc/supertonic"""

    Options = SupertonicOptions
    kind = "supertonic"
