"""Text to speech by Kokoro-82M in this process: no key, no internet, many voices.

Its Japanese voices run by onnxruntime (`japanese`), the others by sherpa-onnx, as its model folders are made.
https://huggingface.co/hexgrad/Kokoro-82M
"""

from mimi_mqtt.errors import ProviderNotConfigured
from mimi_mqtt.providers.catalog.requirements import demand
from mimi_mqtt.providers.contract.tts import TtsCapabilities
from mimi_mqtt.providers.runtime.local_model import LoadedModel, cores
from mimi_mqtt.providers.runtime.local_voice import Speaker
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.providers.vendors.kokoro import japanese
from mimi_mqtt.providers.vendors.sherpa.tts import LocalVoiceOptions, SherpaVoice


class KokoroOptions(LocalVoiceOptions):
    """Options of `providers.options.kokoro`."""

    tts_voice: str = ""
    """Voice, such as jf_alpha, where assistant.voice is empty or is not one of this model's. Empty: the
    first for the language."""


class Kokoro(SherpaVoice):
    """The model in a thread of its own; each sentence of the text is passed on when it is made."""

    Options = KokoroOptions
    kind = "kokoro"

    def __init__(self, name: str, options: KokoroOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self._usual_voice = options.tts_voice
        if self._japanese and not options.tts_languages:
            self.capabilities = TtsCapabilities(streaming=True, languages=frozenset({"ja"}))

    @property
    def _japanese(self) -> bool:
        return self._options.tts_model is not None and japanese.is_japanese(self._folder)

    async def _loaded(self) -> LoadedModel[Speaker]:
        if not self._japanese:
            return await super()._loaded()
        demand(self.name, self._options)
        return await self._model.get()

    def _load(self) -> Speaker:
        if not self._japanese:
            return super()._load()
        if self._options.tts_speaker is not None:
            raise ProviderNotConfigured(
                self.name, f"the voices of {self._folder} have names: set tts_voice in place of tts_speaker"
            )
        threads = self._options.tts_threads or min(2, cores())
        return japanese.load(self.name, "offline", self._folder, threads, self.voices, self._usual_voice)
