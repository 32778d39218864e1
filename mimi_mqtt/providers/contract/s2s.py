"""The contract of speech-to-speech services: the caller's side and the vendor's."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from mimi_mqtt.audio import Pcm
from mimi_mqtt.errors import ProviderError
from mimi_mqtt.providers.contract.chat import ChatMessage, TextDelta, ToolCall, ToolSpec, Usage
from mimi_mqtt.providers.contract.recording import Recording, Transcript, Transcription
from mimi_mqtt.providers.contract.stt import SttCapabilities
from mimi_mqtt.providers.contract.tts import SpeechChunk

S2sEvent = Transcript | SpeechChunk | TextDelta | ToolCall | Usage
"""The parts of an answer; a Transcript is final and holds the user's words, TextDelta those spoken."""


@dataclass(frozen=True, slots=True)
class S2sCapabilities:
    """`input_rate` of the audio that the service wants, in Hz. `endpoints`: it can mark the end of an
    utterance by itself. `languages` None: any."""

    input_rate: int
    endpoints: bool
    languages: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class SpeechSetup:
    """The subject of a session. The functions are called anew for each connection and each answer.

    `history`: what was said before the question that is being answered now, without a system message; it is
    given again after a reconnect. `end_by_vendor`: the service marks the ends of utterances (`endpoint`); it
    never answers by itself. `voice` None: the service's own. `speed` 1.0 is normal. `max_s`: longest
    utterance, in seconds.
    """

    prompt: Callable[[], str]
    tools: Callable[[], Sequence[ToolSpec]] = tuple
    history: Callable[[], Sequence[ChatMessage]] = tuple
    language: str = "en"
    voice: str | None = None
    speed: float = 1.0
    device_id: str = ""
    end_by_vendor: bool = False
    max_s: float = 30.0


# ── for callers ──────────────────────────────────────────────────────────────────────────────────────────


class SpeechUtterance(Transcription):
    """An utterance on its way to the service; made by `SpeechSession.open`, kept in `recording`.

    `finish` ends the audio and waits for the service's own text of it; it may be called again, also during
    and after the answer. `aclose` of an utterance that was not answered deletes it from the service's memory:
    noise leaves no trace.
    """

    recording: Recording

    @abstractmethod
    def end(self) -> None:
        """Ends the audio without waiting for the text. Idempotent; `answer` does it too."""

    @abstractmethod
    async def discard(self) -> None:
        """Closes it and has the service forget it although it was answered: its words were none, or an echo.

        Its answer is `interrupted` before that.
        """


class SpeechSession(ABC):
    """One conversation with the service. One request at a time: a new one ends the one before it.

    `open` and `capabilities` are as a speech-to-text provider's.
    """

    @property
    @abstractmethod
    def capabilities(self) -> SttCapabilities:
        """The format and languages of its audio input: always streaming, at the service's rate."""

    @property
    @abstractmethod
    def connected(self) -> bool:
        """True when there is a live connection now."""

    @abstractmethod
    async def connect(self) -> None:
        """Connects if need be, so that the first utterance doesn't wait for it. Raises ProviderError."""

    @abstractmethod
    def open(self, *, language: str | None = None, max_s: float | None = None) -> SpeechUtterance:
        """Begins an utterance of at most `max_s` seconds (None: the setup's); the first audio connects.

        `language` is only what the transcript is labelled with: the service has its hint from the setup.
        The caller closes it.
        """

    @abstractmethod
    def answer(self, utterance: SpeechUtterance) -> AsyncGenerator[S2sEvent, None]:
        """Ends the audio of `utterance` and asks for the answer to it, without waiting for its text.

        Repeated with the same audio on a new connection when the first one fails before anything was said.
        Without speech, words or calls the service chose to say nothing; any other answer of nothing is bad.
        Raises ProviderError. A caller that stops early closes the iterator (`contextlib.aclosing`), which
        stops the answer, and calls `interrupted` once it is known how much was heard.
        """

    @abstractmethod
    def ask(self, text: str) -> AsyncGenerator[S2sEvent, None]:
        """The answer to a written question, as by `answer`."""

    @abstractmethod
    def say(self, text: str) -> AsyncGenerator[S2sEvent, None]:
        """`text` spoken as it is, in the same voice; the service remembers that it has said it."""

    @abstractmethod
    def tool_results(self, results: Sequence[ChatMessage]) -> AsyncGenerator[S2sEvent, None]:
        """The continuation of the answer, given a `tool` message for each ToolCall of its last part."""

    @abstractmethod
    async def interrupted(self, heard_ms: int) -> None:
        """Stops the last answer, of all of whose speech (tool rounds included) `heard_ms` were heard.

        The rest is cut from the service's memory. Never waits for the service and never raises.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Hangs up and ends all that still runs; safe to call twice."""


# ── for vendors ──────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Opening:
    """The initial state of a connection: a `SpeechSetup` as it is at that moment."""

    prompt: str
    tools: tuple[ToolSpec, ...]
    history: tuple[ChatMessage, ...]
    language: str
    voice: str | None
    speed: float
    device_id: str
    end_by_vendor: bool


@dataclass(frozen=True, slots=True)
class UserWords:
    """The service's text of `utterance` so far, all of it each time."""

    utterance: str
    transcript: Transcript


@dataclass(frozen=True, slots=True)
class WordsFailed:
    """The service has no text of `utterance`; its answer is not touched by that."""

    utterance: str
    error: ProviderError


@dataclass(frozen=True, slots=True)
class AnswerPart:
    """A further part of `answer`. Tool calls are whole; `Usage` is what this one request cost."""

    answer: str
    part: SpeechChunk | TextDelta | ToolCall | Usage


@dataclass(frozen=True, slots=True)
class AnswerDone:
    """`answer` is over; `error` when it is not complete. One that was cancelled may end without this.

    `silent`: the service chose to say nothing, as it may when it was not talked to; that is no failure.
    """

    answer: str
    error: ProviderError | None = None
    silent: bool = False


DuplexEvent = UserWords | WordsFailed | AnswerPart | AnswerDone


class SpeechDuplex(ABC):
    """One open connection to a service. All `send_` methods are called one at a time, in order.

    Utterances and answers have names that the caller gives; the vendor maps them to the service's own, drops
    what belongs to no known answer, and never has the service answer unasked. Where a method returns a bool,
    False says that the service can't do it: the caller then hangs up, and the next connection begins with a
    history in which it is done. All raise ProviderError; after one the connection is given up.
    """

    @abstractmethod
    async def send_audio(self, utterance: str, pcm: Pcm) -> None:
        """Further audio of `utterance`, at the capabilities' `input_rate`; never of two at once."""

    @abstractmethod
    async def send_end(self, utterance: str) -> None:
        """The audio of `utterance` is whole: it is in the service's memory now, and its text may come.

        Not yet to be answered: `send_request` does that.
        """

    @abstractmethod
    async def send_discard(self, utterance: str) -> bool:
        """Makes the service forget `utterance`, ended or not."""

    @abstractmethod
    async def send_messages(self, messages: Sequence[ChatMessage]) -> None:
        """Adds to the service's memory: a question, results of tools, or what both have said before.

        Results of tools follow a message with their calls where this connection has not made them itself.
        """

    @abstractmethod
    async def send_request(self, answer: str) -> None:
        """Asks for `answer` to what is in memory; waits until an earlier one that was cancelled is over."""

    @abstractmethod
    async def send_recital(self, answer: str, text: str) -> None:
        """Asks for `text` to be spoken as it is; not to be remembered as a question."""

    @abstractmethod
    async def send_cancel(self, answer: str) -> None:
        """Stops `answer`; no parts of it come any more but its Usage. Nothing if it is over."""

    @abstractmethod
    async def send_truncate(self, answer: str, heard_ms: int) -> bool:
        """Cuts the speech of `answer` in the service's memory after `heard_ms`; less than it had."""

    @abstractmethod
    async def send_changes(self, opening: Opening) -> bool:
        """The prompt or tools have changed; the history in `opening` is known already."""

    @abstractmethod
    def receive(self) -> AsyncIterator[DuplexEvent]:
        """All events until the connection ends; called once. Raises ProviderError when it is lost."""

    @abstractmethod
    async def aclose(self) -> None:
        """Hangs up without waiting for the service; safe to call twice."""
