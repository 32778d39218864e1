"""Text to speech by a model in this process that makes one piece of a text after the other."""

from abc import abstractmethod
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from typing import Protocol

from mimi_mqtt.audio import Pcm
from mimi_mqtt.providers.contract.provider import ProviderOptions
from mimi_mqtt.providers.contract.tts import SpeechChunk, TextToSpeech, VoiceOptions
from mimi_mqtt.providers.runtime.local_model import LoadedModel, LocalModel
from mimi_mqtt.providers.runtime.resilience import Limits


class Speaker(Protocol):
    """A model that is loaded. Blocking; for one thread at a time."""

    @property
    def sample_rate(self) -> int:
        """Hz of all that it says."""

    def pieces(self, text: str, voice: VoiceOptions) -> Sequence[Callable[[], Pcm]]:
        """`text` in the pieces in which it is said, each as what makes its speech; none for what it can't."""


class LocalVoice(TextToSpeech):
    """A `Speaker` in a thread of its own, one for all sessions; each piece is passed on when it is made.

    A caller that stops early ends it after the piece that is being made.
    """

    standby = True

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
