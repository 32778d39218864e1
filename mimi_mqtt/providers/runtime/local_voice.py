"""Text to speech by models in this process: the voices that a model has, and speech piece by piece."""

from abc import abstractmethod
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from typing import Protocol

from mimi_mqtt.audio import Pcm
from mimi_mqtt.models.catalog import ModelVoice
from mimi_mqtt.providers.catalog.model_voices import ANY_LANGUAGE, has_voice
from mimi_mqtt.providers.contract.provider import ProviderOptions
from mimi_mqtt.providers.contract.tts import SpeechChunk, TextToSpeech, VoiceOptions
from mimi_mqtt.providers.languages import primary
from mimi_mqtt.providers.runtime.local_model import LoadedModel, LocalModel
from mimi_mqtt.providers.runtime.resilience import Limits


class Speaker(Protocol):
    """A model that is loaded. Blocking; for one thread at a time."""

    @property
    def sample_rate(self) -> int:
        """Hz of all that it says."""

    def pieces(self, text: str, voice: VoiceOptions) -> Sequence[Callable[[], Pcm]]:
        """`text` in the pieces in which it is said, each as what makes its speech; none for what it can't."""


class ModelTextToSpeech(TextToSpeech):
    """Speech of a model of this machine; `voices` are those that the catalogue tells, empty for other models.

    It is loaded at the start only where it adds a language to those of the providers before it.
    """

    standby = True
    voices: Sequence[ModelVoice] = ()

    def has_voice(self, wish: VoiceOptions) -> bool | None:
        """See `TextToSpeech`; None for a model that is not the catalogue's."""
        return has_voice(self.voices, wish) if self.voices else None

    def known_languages(self) -> frozenset[str] | None:
        """The languages of the catalogue's voices; None (any) where one speaks all of its model's, or for a
        model that is not the catalogue's."""
        languages = frozenset(primary(voice.language) for voice in self.voices)
        return None if not languages or ANY_LANGUAGE in languages else languages


class LocalVoice(ModelTextToSpeech):
    """A `Speaker` in a thread of its own, one for all sessions; each piece is passed on when it is made.

    A caller that stops early ends it after the piece that is being made.
    """

    def __init__(self, name: str, options: ProviderOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self._model: LocalModel[Speaker] = LocalModel(name, self._load)

    async def start(self) -> None:
        """Loads the model. Raises ProviderNotConfigured."""
        await self._loaded()

    async def aclose(self) -> None:
        """Ends the thread and forgets the model."""
        self._model.close()

    async def _loaded(self) -> LoadedModel[Speaker]:
        return await self._model.get()

    @abstractmethod
    def _load(self) -> Speaker:
        """The model. Blocks. Raises ProviderNotConfigured."""

    async def _synthesize(self, text: str, voice: VoiceOptions) -> AsyncGenerator[SpeechChunk, None]:
        loaded = await self._loaded()
        speaker = loaded.model
        pieces = await loaded.run(partial(speaker.pieces, text, voice))
        for piece in pieces:
            pcm = await loaded.run(piece, cost=len(text) / len(pieces))
            yield SpeechChunk(pcm, speaker.sample_rate)
