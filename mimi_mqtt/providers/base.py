"""The contracts of the four provider roles, and all that vendors share.

A vendor subclasses one role and implements its one private method; time-outs, retries, metrics and bounds are
here, once. PCM is mono `int16[n]`; rates are in Hz.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from mimi_mqtt.audio import Pcm

Role = Literal["vad", "stt", "llm", "tts"]


class ProviderOptions(BaseModel):
    """A vendor's typed options, from `providers.options.<name>`; an unknown key is a configuration error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds shared by all providers: seconds to the first result and between two parts, and further tries."""

    timeout_s: float = 15.0
    retries: int = 1


class Provider(ABC):
    """What all roles have in common. `name` is the registry's; `Options` the vendor's option model."""

    role: ClassVar[Role]
    Options: ClassVar[type[ProviderOptions]] = ProviderOptions

    def __init__(self, name: str, options: ProviderOptions, limits: Limits) -> None:
        self.name = name
        self.options = options
        self.limits = limits

    async def start(self) -> None:
        """Loads models or starts children. Raises ProviderNotConfigured with the cure."""

    async def aclose(self) -> None:
        """Frees what `start` took; safe to call twice."""

    async def check(self) -> str:
        """Really asks the provider for something small; a short description for `doctor`. Raises ProviderError."""
        raise NotImplementedError


# ── voice activity ───────────────────────────────────────────────────────────────────────────────────────


class VadStream(ABC):
    """One speaker's detector state; opaque to everyone but its detector."""


class VoiceActivityDetector(Provider):
    """Tells speech from everything else; one instance serves all sessions, in batches."""

    role = "vad"
    sample_rate: ClassVar[int] = 16_000

    @abstractmethod
    def open(self) -> VadStream:
        """A fresh state for one speaker."""

    @abstractmethod
    def probabilities(self, batch: Sequence[tuple[VadStream, Pcm]]) -> list[float]:
        """For each (stream, 16 kHz chunk of any length) the highest speech probability, 0 to 1, in that chunk.

        Blocking; called from the audio threads, never twice at once with the same stream; releases the GIL.
        A chunk that completes no analysis window repeats the stream's last value.
        """


# ── speech to text ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was understood so far, or (`final`) in all. Empty text: nothing was said."""

    text: str
    final: bool
    language: str | None = None
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class SttCapabilities:
    """`streaming`: works while the speaker speaks. `languages` None: any. `sample_rate` it wants, in Hz."""

    streaming: bool
    languages: frozenset[str] | None = None
    sample_rate: int = 16_000


class Transcription(ABC):
    """One utterance on its way to text. Push audio as it comes; then `finish` and await the result."""

    @abstractmethod
    def push(self, pcm: Pcm) -> None:
        """Adds audio at the provider's sample rate; never blocks; audio past the utterance bound is dropped."""

    @abstractmethod
    async def finish(self) -> Transcript:
        """Ends the audio; the final transcript. Raises ProviderError."""

    @property
    @abstractmethod
    def interim(self) -> str:
        """The latest partial text, for endpointing and display."""

    @abstractmethod
    async def aclose(self) -> None:
        """Cancels whatever is still running; safe after `finish`."""


class SpeechToText(Provider):
    """Speech to text. Vendors implement `_transcribe`."""

    role = "stt"
    capabilities: ClassVar[SttCapabilities]

    def open(self, *, language: str | None = None, max_s: float = 30.0) -> Transcription:
        """Begins an utterance of at most `max_s` seconds; `language` is a hint such as `en`."""
        raise NotImplementedError

    @abstractmethod
    def _transcribe(self, audio: AsyncIterator[Pcm], language: str | None) -> AsyncIterator[Transcript]:
        """Yields interim transcripts, if it can, and the final one last."""


# ── language model ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as a model sees it: `name` of letters, digits, `_` and `-`; `parameters` is a JSON schema."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model wants a tool called."""

    id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a dialogue; a `tool` message answers the call `tool_call_id`."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A further piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What a request cost, in tokens."""

    input_tokens: int
    output_tokens: int


LlmEvent = TextDelta | ToolCall | Usage


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """What a request is about besides its messages: the language to answer in, the time zone, the device."""

    language: str = "en"
    timezone: str | None = None
    device_id: str = ""


class LanguageModel(Provider):
    """Text to text, with tools. Vendors implement `_chat`."""

    role = "llm"

    def chat(
        self,
        messages: Sequence[ChatMessage],
        tools: Sequence[ToolSpec] = (),
        options: ChatOptions | None = None,
    ) -> AsyncIterator[LlmEvent]:
        """The answer as it comes. Tool calls are whole, and come after the text of the same answer; the caller
        runs them, appends their results and asks again. Raises ProviderError."""
        raise NotImplementedError

    @abstractmethod
    def _chat(
        self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec], options: ChatOptions
    ) -> AsyncIterator[LlmEvent]:
        """Yields the vendor's answer; raises ProviderError kinds, nothing else."""


# ── text to speech ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class VoiceOptions:
    """How to speak: `voice` None is the provider's default for `language`; `speed` 1.0 is normal."""

    language: str = "en"
    voice: str | None = None
    speed: float = 1.0


@dataclass(frozen=True, slots=True)
class TtsCapabilities:
    """`streaming`: the first chunk comes before the whole sentence is made. `languages` None: any."""

    streaming: bool
    languages: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class SpeechChunk:
    """A piece of speech, mono, with its rate in Hz (constant within one call)."""

    pcm: Pcm
    sample_rate: int


class TextToSpeech(Provider):
    """Text to speech. Vendors implement `_synthesize`."""

    role = "tts"
    capabilities: ClassVar[TtsCapabilities]

    def speak(self, text: str, voice: VoiceOptions | None = None) -> AsyncIterator[SpeechChunk]:
        """The speech of one sentence, chunk by chunk. Raises ProviderError."""
        raise NotImplementedError

    @abstractmethod
    def _synthesize(self, text: str, voice: VoiceOptions) -> AsyncIterator[SpeechChunk]:
        """Yields the vendor's audio; raises ProviderError kinds, nothing else."""
