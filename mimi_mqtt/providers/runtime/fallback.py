"""A chain of providers of one role that is itself a provider: the next one is asked when one fails.

Only a request of which nothing was passed on moves to the next provider, except for speech to text, whose
audio is kept and asked about again; the order is that of `members`.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Generic, TypeVar

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import ProviderNotConfigured
from mimi_mqtt.events import EventBus
from mimi_mqtt.providers.catalog.model_voices import owners
from mimi_mqtt.providers.contract.chat import ChatMessage, ChatOptions, LlmEvent, ToolSpec
from mimi_mqtt.providers.contract.llm import LanguageModel
from mimi_mqtt.providers.contract.provider import Provider, ProviderOptions, speaks
from mimi_mqtt.providers.contract.recording import Recording, Transcript
from mimi_mqtt.providers.contract.stt import SpeechToText, SttCapabilities
from mimi_mqtt.providers.contract.tts import (
    MAX_SPEECH_S,
    SpeechChunk,
    TextToSpeech,
    TtsCapabilities,
    VoiceOptions,
    has_words,
    silence,
)
from mimi_mqtt.providers.runtime.breaker import Breaker
from mimi_mqtt.providers.runtime.members import Members
from mimi_mqtt.providers.runtime.unfinished import UnfinishedAnswer, UnfinishedSentence

P = TypeVar("P", bound=Provider)


class _Chain(Provider, Generic[P]):
    """The common part of all chains; to be named before the role among the bases."""

    def __init__(self, members: Sequence[P], breaker: Breaker | None = None, hedge_s: float = 0.0) -> None:
        self._members = Members(members, breaker, hedge_s)
        super().__init__(self._members.name, ProviderOptions(), members[0].limits)
        self.has_side_effects = any(member.has_side_effects for member in members)

    def observe(self, events: EventBus) -> None:
        """See `Provider`: tells of each member."""
        self._members.observe(events)

    async def start(self) -> None:
        """Starts all providers, but those that stand by (`Provider.standby`) while all that they know is
        known before them. Raises ProviderNotConfigured when none starts."""
        await self._members.start(self._spare)

    def _spare(self, provider: P, before: Sequence[P]) -> bool:
        """True when `provider` need not be started while those `before` it work."""
        return False

    async def aclose(self) -> None:
        """Closes all providers."""
        await self._members.aclose()

    async def check(self) -> str:
        """Sends each provider a real request."""
        return await self._members.check(lambda member: member.check())


class SttChain(_Chain[SpeechToText], SpeechToText):
    """Speech to text by the first of `members` that works; those that know the language are preferred."""

    def __init__(
        self, members: Sequence[SpeechToText], breaker: Breaker | None = None, hedge_s: float = 0.0
    ) -> None:
        super().__init__(members, breaker, hedge_s)
        first = members[0].capabilities
        languages = _union([member.capabilities.languages for member in members])
        self.capabilities = SttCapabilities(first.streaming, languages, first.sample_rate)

    async def check(self, speech: Pcm | None = None) -> str:
        """Sends each provider a real request."""
        return await self._members.check(lambda member: member.check(speech))

    @property
    def busy(self) -> bool:
        """See `SpeechToText`."""
        return any(member.busy for member in self._members.providers)

    def _spare(self, provider: SpeechToText, before: Sequence[SpeechToText]) -> bool:
        return provider.standby and _adds_nothing(provider, before)

    def listen(
        self, recording: Recording, language: str | None, certain: bool = True
    ) -> AsyncGenerator[Transcript, None]:
        """The transcripts of `recording`, which each provider hears from its beginning."""
        return self._members.ask(
            lambda member: member.listen(recording, language, certain),
            supports=lambda member: speaks(member.capabilities.languages, language),
            can_continue=lambda member: True,
            asked_all=recording.until_ended,
            begins=lambda transcript: transcript.final,
        )

    async def _transcribe(self, audio: AsyncIterator[Pcm], language: str | None) -> AsyncIterator[Transcript]:
        recording = Recording(self.capabilities.sample_rate, MAX_SPEECH_S)
        async for pcm in audio:
            recording.push(pcm)
        recording.end()
        async with aclosing(self.listen(recording, language)) as transcripts:
            async for transcript in transcripts:
                yield transcript


class LlmChain(_Chain[LanguageModel], LanguageModel):
    """The first of `members` that begins to answer."""

    @property
    def sees(self) -> bool:
        """True when one of its members does."""
        return any(member.sees for member in self._members.providers)

    @property
    def answering(self) -> str:
        """The first that has something to answer with."""
        return next((told for member in self._members.providers if (told := member.answering)), "")

    async def chat(
        self,
        messages: Sequence[ChatMessage],
        tools: Sequence[ToolSpec] = (),
        options: ChatOptions | None = None,
    ) -> AsyncGenerator[LlmEvent, None]:
        """The answer as it comes; when a model is lost in the middle of it, the next one that can goes on. A
        message with images goes to models that see alone.

        Raises ProviderNotConfigured when none sees, and ProviderError.
        """
        answer = UnfinishedAnswer(messages)
        shown = any(message.images for message in messages)
        if shown and not any(member.available and member.sees for member in self._members.providers):
            raise ProviderNotConfigured(self.name, "no model of it can see pictures")
        events = self._members.ask(
            lambda member: member.chat(answer.messages, tools, options),
            supports=lambda member: member.available and (member.sees or not shown),
            can_continue=lambda member: member.can_continue,
        )
        async with aclosing(events):
            async for event in events:
                answer.add(event)
                yield event

    def _chat(
        self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec], options: ChatOptions
    ) -> AsyncIterator[LlmEvent]:
        return self.chat(messages, tools, options)


class TtsChain(_Chain[TextToSpeech], TextToSpeech):
    """The first of `members` that begins to speak; those that know the language are preferred."""

    def __init__(
        self, members: Sequence[TextToSpeech], breaker: Breaker | None = None, hedge_s: float = 0.0
    ) -> None:
        super().__init__(members, breaker, hedge_s)
        languages = _union([member.capabilities.languages for member in members])
        self.capabilities = TtsCapabilities(members[0].capabilities.streaming, languages)

    def _spare(self, provider: TextToSpeech, before: Sequence[TextToSpeech]) -> bool:
        return provider.standby and _adds_nothing(provider, before)

    def has_voice(self, wish: VoiceOptions) -> bool | None:
        """See `TextToSpeech`: True when one of its members has it, None when one may have it."""
        told = {member.has_voice(wish) for member in self._members.providers}
        return True if True in told else None if None in told else False

    def speak(self, text: str, voice: VoiceOptions | None = None) -> AsyncGenerator[SpeechChunk, None]:
        """The speech of one sentence; when a voice is lost in the middle of it, the next one says the rest.

        The provider that has the wished voice is asked first, else for a name that is none of the catalogue's
        the first service, which may have it. All others are not told the name, and speak with their own for
        the language.
        """
        if not has_words(text):
            return silence()
        wanted = voice or VoiceOptions()
        return self._speak(UnfinishedSentence(text, wanted.speed), wanted)

    async def _speak(
        self, sentence: UnfinishedSentence, voice: VoiceOptions
    ) -> AsyncGenerator[SpeechChunk, None]:
        first = self._wished(voice)

        def speak_by(member: TextToSpeech) -> AsyncGenerator[SpeechChunk, None]:
            return member.speak(sentence.rest, voice if member is first else replace(voice, voice=None))

        chunks = self._members.ask(
            speak_by,
            supports=lambda member: speaks(member.capabilities.languages, voice.language),
            prefers=lambda member: member is first,
            can_continue=lambda member: True,
        )
        async with aclosing(chunks):
            async for chunk in chunks:
                sentence.add(chunk)
                yield chunk

    def _wished(self, wish: VoiceOptions) -> TextToSpeech | None:
        """The member that is to speak because of the wished voice or gender; None where nothing is wished, or
        nobody can."""
        if wish.voice is None and not wish.gender:
            return None
        told = [(member, member.has_voice(wish)) for member in self._members.providers]
        found = next((member for member, has in told if has), None)
        if found is not None or wish.voice is None or owners(wish.voice):
            return found
        return next((member for member, has in told if has is None), None)

    def _synthesize(self, text: str, voice: VoiceOptions) -> AsyncIterator[SpeechChunk]:
        return self.speak(text, voice)


def _adds_nothing(
    provider: SpeechToText | TextToSpeech, before: Sequence[SpeechToText] | Sequence[TextToSpeech]
) -> bool:
    """True when those `before` know all languages of `provider`."""
    if not before:
        return False
    known = _union([other.capabilities.languages for other in before])
    own = provider.capabilities.languages
    return known is None or (own is not None and own <= known)


def _union(sets: Sequence[frozenset[str] | None]) -> frozenset[str] | None:
    """The union of all languages; None (any) when one provider takes any."""
    known: frozenset[str] = frozenset()
    for languages in sets:
        if languages is None:
            return None
        known |= languages
    return known
