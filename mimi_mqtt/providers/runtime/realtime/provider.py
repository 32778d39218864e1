"""The base of speech-to-speech providers, and how a conversation with one goes.

    provider.open(setup) -> session             at once; connects on first need, or with `connect`
    utterance = session.open(max_s=30)          a Transcription: push, interim, endpoint, finish, aclose
    session.answer(utterance) -> events         Transcript | SpeechChunk | TextDelta | ToolCall | Usage
    session.tool_results(messages) -> events    goes on after the ToolCalls of the last answer
    session.ask(text), session.say(text)        a written question; words to be spoken as they are
    await session.interrupted(heard_ms)         the service forgets the speech that was not heard
    await utterance.discard()                   the service forgets an utterance that was no question
    await session.aclose()

Each stream of events is one request: it ends when the service has said all of it, and raises ProviderError.
Speech comes faster than it is played, so an answer can be interrupted after its stream has ended. A ToolCall
is whole; when a stream had any, run them all and go on with `tool_results`. The user's words come in the
stream of their answer when the service has them by its end, and from `finish` at any time: it waits for them.

For a fallback to other providers the audio is in `utterance.recording`, playable at any rate. After a failed
answer the connection is given up: the next one begins with `SpeechSetup.history`.

A vendor implements `SpeechToSpeech._connect` and the `SpeechDuplex` that it returns. Time-outs, retries,
reconnecting with the history, bounds and metrics are in `session`, once.
"""

from abc import abstractmethod
from contextlib import aclosing

from mimi_mqtt.errors import ProviderBadAnswer
from mimi_mqtt.events import EventBus
from mimi_mqtt.providers.contract.provider import Provider, ProviderOptions
from mimi_mqtt.providers.contract.s2s import AnswerDone as AnswerDone
from mimi_mqtt.providers.contract.s2s import AnswerPart as AnswerPart
from mimi_mqtt.providers.contract.s2s import DuplexEvent as DuplexEvent
from mimi_mqtt.providers.contract.s2s import Opening as Opening
from mimi_mqtt.providers.contract.s2s import S2sCapabilities as S2sCapabilities
from mimi_mqtt.providers.contract.s2s import S2sEvent as S2sEvent
from mimi_mqtt.providers.contract.s2s import SpeechDuplex as SpeechDuplex
from mimi_mqtt.providers.contract.s2s import SpeechSession as SpeechSession
from mimi_mqtt.providers.contract.s2s import SpeechSetup as SpeechSetup
from mimi_mqtt.providers.contract.s2s import SpeechUtterance as SpeechUtterance
from mimi_mqtt.providers.contract.s2s import UserWords as UserWords
from mimi_mqtt.providers.contract.s2s import WordsFailed as WordsFailed
from mimi_mqtt.providers.contract.tts import SpeechChunk
from mimi_mqtt.providers.runtime.breaker import Breaker, Health
from mimi_mqtt.providers.runtime.realtime.session import DuplexSession
from mimi_mqtt.providers.runtime.resilience import Limits


class SpeechToSpeech(Provider):
    """Speech to speech. Vendors implement `_connect`."""

    role = "s2s"
    capabilities: S2sCapabilities

    def __init__(self, name: str, options: ProviderOptions, limits: Limits) -> None:
        super().__init__(name, options, limits)
        self.health = Health(self.role, name, Breaker())
        """The breaker of the service, shared by its conversations; updated by the caller."""

    def observe(self, events: EventBus) -> None:
        """See `Provider`."""
        self.health.events = events

    def open(self, setup: SpeechSetup) -> SpeechSession:
        """A conversation, at once; nothing is asked of the service yet. The caller closes it."""
        return DuplexSession(self.name, self.limits, self.capabilities, self.price, setup, self._connect)

    @abstractmethod
    async def _connect(self, opening: Opening) -> SpeechDuplex:
        """A connection on which everything in `opening` is set and which has said nothing yet.

        Bounded in time by the caller. Raises ProviderError kinds; frees what it has opened when it fails.
        """

    async def check(self) -> str:
        """Connects and asks for one spoken word."""
        session = self.open(SpeechSetup(prompt=lambda: "This is a test."))
        seconds, rate = 0.0, 0
        try:
            async with aclosing(session.ask("Say the one word: pong")) as parts:
                async for part in parts:
                    if isinstance(part, SpeechChunk):
                        rate = part.sample_rate
                        seconds += part.pcm.size / rate
        finally:
            await session.aclose()
        if not seconds:
            raise ProviderBadAnswer(self.name, "made no speech")
        return f"{seconds:.1f} s of speech at {rate} Hz"
