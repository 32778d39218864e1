"""The contract of text-to-speech providers."""

from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import ProviderBadAnswer
from mimi_mqtt.providers.contract.provider import Provider
from mimi_mqtt.providers.runtime.resilience import closing_parts, resilient
from mimi_mqtt.providers.runtime.usage import count_characters

MS_PER_CHARACTER: Final = 65
"""About how long a character takes to say at speed 1, in ms."""

MAX_SPEECH_S = 600.0
"""Longest speech taken for one sentence, in seconds; more is a broken answer."""


Gender = Literal["female", "male", ""]
GENDERS: Final[Mapping[str, Gender]] = {"female": "female", "male": "male"}
"""The genders that a voice may be wished by in place of its name."""


@dataclass(frozen=True, slots=True)
class VoiceOptions:
    """Manner of speaking: `voice` None is the provider's default for `language`; `speed` 1.0 is normal.

    `gender` is what is wished where no voice is named; services, whose voices are named, ignore it.
    """

    language: str = "en"
    voice: str | None = None
    speed: float = 1.0
    gender: Gender = ""


@dataclass(frozen=True, slots=True)
class TtsCapabilities:
    """`streaming`: the first chunk comes before the whole sentence is made. `languages` None: any."""

    streaming: bool
    languages: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class SpeechChunk:
    """A piece of speech, mono, with its rate in Hz (constant within one call).

    `phrase` identifies a whole phrase that is kept: its speech is the same each time, and all there. It is
    empty for speech that is made for one request.
    """

    pcm: Pcm
    sample_rate: int
    phrase: str = ""


class TextToSpeech(Provider):
    """Text to speech. Vendors implement `_synthesize`."""

    role = "tts"
    capabilities: TtsCapabilities

    def has_voice(self, wish: VoiceOptions) -> bool | None:
        """True when it has the voice that `wish` names for its language, or one of its gender.

        None where only its service knows its voices.
        """
        return None

    def speak(self, text: str, voice: VoiceOptions | None = None) -> AsyncGenerator[SpeechChunk, None]:
        """The speech of one sentence, chunk by chunk; none for a text without a letter or digit.

        Raises ProviderError, also for no speech at all. A caller that stops early closes the iterator
        (`contextlib.aclosing`).
        """
        if not has_words(text):
            return silence()
        return resilient(
            partial(self._one_speak, text.strip(), voice or VoiceOptions()),
            role=self.role,
            name=self.name,
            limits=self.limits,
        )

    async def _one_speak(self, text: str, voice: VoiceOptions) -> AsyncIterator[SpeechChunk]:
        seconds = 0.0
        async with closing_parts(self._synthesize(text, voice)) as chunks:
            async for chunk in chunks:
                if chunk.pcm.size == 0:
                    continue
                if not seconds:
                    count_characters(self.name, len(text), self.price)
                seconds += chunk.pcm.size / chunk.sample_rate
                if seconds > MAX_SPEECH_S:
                    raise ProviderBadAnswer(self.name, "the speech does not end")
                yield chunk
        if not seconds:
            raise ProviderBadAnswer(self.name, "made no speech")

    @abstractmethod
    def _synthesize(self, text: str, voice: VoiceOptions) -> AsyncIterator[SpeechChunk]:
        """Yields the vendor's audio; raises ProviderError kinds, nothing else."""

    async def check(self) -> str:
        """Says one word."""
        seconds, rate = 0.0, 0
        async with aclosing(self.speak("test")) as chunks:
            async for chunk in chunks:
                rate = chunk.sample_rate
                seconds += chunk.pcm.size / rate
        return f"{seconds:.1f} s of speech at {rate} Hz"


def has_words(text: str) -> bool:
    """True when there is anything to say in `text`: punctuation and emoji alone are silent."""
    return any(character.isalnum() for character in text)


async def silence() -> AsyncGenerator[SpeechChunk, None]:
    """The speech of a text without words: no chunk at all."""
    nothing: tuple[SpeechChunk, ...] = ()
    for chunk in nothing:
        yield chunk
