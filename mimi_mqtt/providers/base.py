"""The contracts of four of the five provider roles; `speech_to_speech` has the fifth.

A vendor subclasses one role and implements its one private method; time-outs, retries and metrics
(`resilience`), the audio of an utterance (`transcription`), the messages of a dialogue (`chat`) and bounds
are here, once. PCM is mono `int16[n]`; rates are in Hz.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from mimi_mqtt.audio import Pcm
from mimi_mqtt.config.settings import PriceSettings
from mimi_mqtt.errors import ProviderBadAnswer, ProviderNotConfigured
from mimi_mqtt.providers.chat import ChatMessage as ChatMessage
from mimi_mqtt.providers.chat import ChatOptions as ChatOptions
from mimi_mqtt.providers.chat import LlmEvent as LlmEvent
from mimi_mqtt.providers.chat import TextDelta as TextDelta
from mimi_mqtt.providers.chat import ToolCall as ToolCall
from mimi_mqtt.providers.chat import ToolSpec as ToolSpec
from mimi_mqtt.providers.chat import Usage as Usage
from mimi_mqtt.providers.languages import primary
from mimi_mqtt.providers.resilience import Limits as Limits
from mimi_mqtt.providers.resilience import closing_parts, resilient
from mimi_mqtt.providers.transcription import RecordedTranscription, Recording, TranscriptionWait
from mimi_mqtt.providers.transcription import Transcript as Transcript
from mimi_mqtt.providers.transcription import Transcription as Transcription
from mimi_mqtt.providers.usage import count_audio, count_characters, count_tokens

Role = Literal["vad", "stt", "llm", "tts", "s2s"]

MAX_SPEECH_S = 600.0
"""Longest speech taken for one sentence, in seconds; more is a broken answer."""

MAX_ANSWER_CHARS = 100_000
"""Longest answer of a language model, arguments of tool calls excluded; more is a broken answer."""

MAX_TOOL_CALLS = 32
"""Most tool calls in one answer; more is a broken answer."""


class ProviderOptions(BaseModel):
    """A vendor's typed options, from `providers.options.<name>`; an unknown key is a configuration error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    environment: ClassVar[Mapping[str, str | tuple[str, ...]]] = {}
    """Options whose value comes from an environment variable where the configuration has none.

    Of several variables the first that is set counts.
    """

    required: ClassVar[tuple[str, ...]] = ()
    """Options without which the provider can't be used; `requirements` tells which are missing."""

    instead: ClassVar[Mapping[str, str]] = {}
    """For a required option, another one that makes it needless, as an address does a region."""

    by_preset: ClassVar[bool] = False
    """Whether `presets` says all this for each name, as these options are many services'."""


class Provider(ABC):
    """What all roles have in common. `name` is the registry's; `Options` the vendor's option model."""

    role: ClassVar[Role]
    Options: ClassVar[type[ProviderOptions]] = ProviderOptions

    packages: ClassVar[tuple[str, ...]] = ()
    """Python packages (their import names) that it can't do without, beyond those always installed."""

    extra: ClassVar[str] = ""
    """What installs `packages`: pip install 'mimi-mqtt[<extra>]'."""

    acts: bool = False
    """Whether asking may by itself have effects, as with a service that switches lights; never on a guess."""

    price: PriceSettings | None = None
    """What it costs, if somebody said so; what was used is counted in any case."""

    def __init__(self, name: str, options: ProviderOptions, limits: Limits) -> None:
        self.name = name
        self.options = options
        self.limits = limits

    async def start(self) -> None:  # noqa: B027 - not every vendor has something to start
        """Loads models or starts children. Raises ProviderNotConfigured with the cure."""

    async def aclose(self) -> None:  # noqa: B027 - nor to free
        """Frees what `start` took; safe to call twice."""

    @abstractmethod
    async def check(self) -> str:
        """Really asks the started provider for something small; a short description for `doctor`.

        Raises ProviderError.
        """


def load_package(module: str, provider: str, extra: str) -> ModuleType:
    """Imports a vendor's package on first use. Raises ProviderNotConfigured that names the extra to install.

    Blocks for as long as the import takes: call it from a thread where that is more than a few milliseconds.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ProviderNotConfigured(
            provider,
            f"the Python package {package} can't be loaded ({error}): pip install 'mimi-mqtt[{extra}]'",
        ) from error


def speaks(languages: frozenset[str] | None, language: str | None) -> bool:
    """Whether `language` (such as `pt-BR`) is among `languages` by its primary subtag; None is any."""
    if languages is None or language is None:
        return True
    spoken = primary(language)
    return any(primary(known) == spoken for known in languages)


# ── voice activity ───────────────────────────────────────────────────────────────────────────────────────


class VadStream:
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
        """For each (stream, 16 kHz chunk of any length) its highest speech probability, 0 to 1.

        Blocking; called from the audio threads, never twice at once with the same stream; releases the GIL.
        A chunk that completes no analysis window repeats the stream's last value.
        """

    async def check(self) -> str:
        """Judges half a second of silence."""
        silence = np.zeros(self.sample_rate // 2, np.int16)
        (probability,) = await asyncio.to_thread(self.probabilities, [(self.open(), silence)])
        if not 0.0 <= probability <= 1.0:
            raise ProviderBadAnswer(self.name, f"the speech probability of silence is {probability}")
        return f"speech probability of silence: {probability:.2f}"


# ── speech to text ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class SttCapabilities:
    """`streaming`: works while the speaker speaks. `languages` None: any. `sample_rate` it wants, in Hz.

    `detects`: among these languages it finds out which is spoken; None: among all that it knows.
    """

    streaming: bool
    languages: frozenset[str] | None = None
    sample_rate: int = 16_000
    detects: frozenset[str] | None = frozenset()


class SpeechToText(Provider):
    """Speech to text. Vendors implement `_transcribe`."""

    role = "stt"
    capabilities: SttCapabilities

    def open(
        self, *, language: str | None = None, certain: bool = True, max_s: float = 30.0
    ) -> Transcription:
        """Begins an utterance of at most `max_s` seconds; `language` is a hint such as `en`.

        Not `certain`: another may be spoken, and who can finds that out. Nothing is asked of the vendor
        before the first audio. Whoever opens it closes it.
        """
        recording = Recording(self.capabilities.sample_rate, max_s)
        return RecordedTranscription(self.name, recording, partial(self.listen, recording, language, certain))

    async def listen(
        self, recording: Recording, language: str | None, certain: bool = True
    ) -> AsyncGenerator[Transcript, None]:
        """The transcripts of `recording`, which may still grow; the final one is last. Raises ProviderError.

        A failed request is repeated with the same audio; time-outs count from the end of the audio.
        """
        attempts = resilient(
            partial(self._one_listen, recording, language, certain),
            role=self.role,
            name=self.name,
            limits=self.limits,
            wait=partial(TranscriptionWait, recording),
            repeatable=True,
        )
        async with aclosing(attempts) as transcripts:
            async for transcript in transcripts:
                yield transcript

    async def _one_listen(
        self, recording: Recording, language: str | None, certain: bool
    ) -> AsyncIterator[Transcript]:
        audio = recording.play(self.capabilities.sample_rate, whole=not self.capabilities.streaming)
        if language is None or certain or not speaks(self.capabilities.detects, language):
            heard = self._transcribe(audio, language)
        else:
            heard = self._detect(audio, language)
        async with closing_parts(heard) as transcripts:
            async for transcript in transcripts:
                if transcript.final:
                    count_audio(self.name, recording.seconds, self.price)
                yield transcript
                if transcript.final:
                    return
        raise ProviderBadAnswer(self.name, "ended without a final transcript")

    @abstractmethod
    def _transcribe(self, audio: AsyncIterator[Pcm], language: str | None) -> AsyncIterator[Transcript]:
        """Yields interim transcripts, if it can, and the final one last.

        `audio` comes as it is spoken when the capabilities say `streaming`, else in one piece after the end;
        it is never empty. Raises ProviderError kinds; anything else is a bug that ends the request.

        The transcript's language is what the vendor says, or was made to listen for; None where neither is
        known.
        """

    def _detect(self, audio: AsyncIterator[Pcm], likely: str) -> AsyncIterator[Transcript]:
        """As `_transcribe`, finding out the language, which is most likely `likely`: for vendors that take a
        hint that doesn't bind them."""
        return self._transcribe(audio, None)

    async def check(self) -> str:
        """Transcribes half a second of a quiet tone."""
        rate = self.capabilities.sample_rate
        tone = (1000 * np.sin(2 * np.pi * 220 * np.arange(rate // 2) / rate)).astype(np.int16)
        transcription = self.open(max_s=1.0)
        try:
            transcription.push(tone)
            await transcription.finish()
        finally:
            await transcription.aclose()
        return "half a second of audio understood"


# ── language model ───────────────────────────────────────────────────────────────────────────────────────


class LanguageModel(Provider):
    """Text to text, with tools. Vendors implement `_chat`."""

    role = "llm"

    goes_on: ClassVar[bool] = True
    """Whether it can go on with an answer that another model began."""

    def chat(
        self,
        messages: Sequence[ChatMessage],
        tools: Sequence[ToolSpec] = (),
        options: ChatOptions | None = None,
    ) -> AsyncGenerator[LlmEvent, None]:
        """The answer as it comes.

        Tool calls are whole, and come after the text of the same answer; the caller runs them, appends their
        results and asks again. Raises ProviderError, also for an answer of nothing. Whoever stops reading
        early closes the iterator (`contextlib.aclosing`).
        """
        return resilient(
            partial(self._one_chat, messages, tools, options or ChatOptions()),
            role=self.role,
            name=self.name,
            limits=self.limits,
            acts=self.acts,
        )

    async def _one_chat(
        self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec], options: ChatOptions
    ) -> AsyncIterator[LlmEvent]:
        chars = 0
        calls: list[ToolCall] = []
        usage: Usage | None = None
        async with closing_parts(self._chat(messages, tools, options)) as events:
            async for event in events:
                match event:
                    case TextDelta(text):
                        chars += len(text)
                        if chars > MAX_ANSWER_CHARS:
                            raise ProviderBadAnswer(self.name, "the answer does not end")
                        if text:
                            yield event
                    case ToolCall():
                        calls.append(event)
                        if len(calls) > MAX_TOOL_CALLS:
                            raise ProviderBadAnswer(self.name, f"wants more than {MAX_TOOL_CALLS} tool calls")
                    case Usage():
                        usage = event
        if not chars and not calls:
            raise ProviderBadAnswer(self.name, "answered with nothing")
        for call in calls:
            yield call
        if usage is not None:
            count_tokens(self.name, usage.input_tokens, usage.output_tokens, self.price)
            yield usage

    @abstractmethod
    def _chat(
        self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec], options: ChatOptions
    ) -> AsyncIterator[LlmEvent]:
        """Yields the vendor's answer; raises ProviderError kinds, nothing else."""

    async def check(self) -> str:
        """Asks for one word."""
        ping = ChatMessage("user", "This is a test. Answer with the one word: pong")
        text = ""
        async with aclosing(self.chat([ping])) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    text += event.text
        return f"answered {text.strip()[:40]!r}"


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
    capabilities: TtsCapabilities

    def speak(self, text: str, voice: VoiceOptions | None = None) -> AsyncGenerator[SpeechChunk, None]:
        """The speech of one sentence, chunk by chunk; none for a text without a letter or digit.

        Raises ProviderError, also for no speech at all. Whoever stops reading early closes the iterator
        (`contextlib.aclosing`).
        """
        if not speakable(text):
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


def speakable(text: str) -> bool:
    """Whether there is anything to say in `text`: punctuation and emoji alone are silent."""
    return any(character.isalnum() for character in text)


async def silence() -> AsyncGenerator[SpeechChunk, None]:
    """The speech of a text without words: no chunk at all."""
    nothing: tuple[SpeechChunk, ...] = ()
    for chunk in nothing:
        yield chunk
