"""Context of an answer: what an engine and its reply know of their conversation and turn, and report."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from mimi_mqtt.errors import AudioError, ProviderError
from mimi_mqtt.providers.contract.chat import ChatMessage, ToolCall, ToolSpec
from mimi_mqtt.providers.runtime.usage import UsageMeter
from mimi_mqtt.voice.answer.dialogue import Dialogue, Exchange, SpokenSentence
from mimi_mqtt.voice.answer.system_prompt import SystemPrompt
from mimi_mqtt.voice.language.spoken import SpokenLanguage
from mimi_mqtt.voice.ports import AudioFormat, Output, Spawn, Tools
from mimi_mqtt.voice.services import VoiceServices
from mimi_mqtt.voice.timings import Stage, TurnTimings
from mimi_mqtt.voice.utterance.utterance import UserUtterance
from mimi_mqtt.wire.messages import ListenMode

_log = logging.getLogger(__name__)

Outcome = Literal[
    "running",
    "answered",
    "nothing heard",
    "continued",
    "stopped",
    "interrupted",
    "aborted",
    "stuck",
    "failed",
    "closed",
]
"""End of a turn. "continued": the user went on speaking; this turn was merged into the next and is not
recorded."""


ToolRan = Callable[[str, float, bool], None]
"""Told of a tool call that is over now: its tool, its beginning (loop time, s), and whether it failed."""


class ReplyOutput(Output, Protocol):
    """The way of one reply to the device (`voice.turn.output.TurnOutput`)."""

    @property
    def begun(self) -> bool:
        """True when the device was put into the speaking state."""

    @property
    def closed(self) -> bool:
        """True when the reply is over, so that nothing reaches the device any more."""

    def release(self) -> None:
        """Lets a held output reach the device."""

    def close(self) -> None:
        """Ends the output; what still comes is dropped."""


class ReplyTools(Protocol):
    """Tools of one reply behind a gate (`voice.turn.tools.ToolGate`)."""

    def specs(self) -> tuple[ToolSpec, ...]:
        """The tools as the model is told of them, now."""

    async def act(self) -> None:
        """Returns when something may be done that can't be taken back; from then on it counts as done."""

    async def run(
        self, calls: Sequence[ToolCall], progress: Callable[[], None], ran: ToolRan
    ) -> tuple[ChatMessage, ...]:
        """One `tool` message for each of `calls`, in their order; `progress` and `ran` are called after
        each."""

    def release(self) -> None:
        """Opens the gate."""


class ReplyState(Protocol):
    """The interface of a reply to its turn (`voice.answer.reply.Reply`)."""

    failure: ProviderError | AudioError | None
    failed_role: str
    rounds: list[ChatMessage]
    tools_called: list[str]
    text: str
    spoken: list[SpokenSentence]
    winding_down: bool

    def break_off(self) -> None:
        """The reply is over before its end: words whose sound may have been heard count as said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationContext:
    """Context shared by all turns of a conversation.

    `spawn` starts a task that the conversation waits for at its end.
    """

    services: VoiceServices
    tools: Tools
    output: Output
    downlink: AudioFormat
    device_id: str
    session_id: str
    language: SpokenLanguage
    dialogue: Dialogue
    prompt: SystemPrompt
    spawn: Spawn
    owner_id: str = ""
    """See `ConversationSetup`."""

    @property
    def max_utterance_s(self) -> float:
        """Longest audio of an utterance, in seconds."""
        voice = self.services.voice
        return voice.max_utterance_s + voice.preroll_ms / 1000 + 1

    def messages(self, question: str, language: str, emotion: str) -> list[ChatMessage]:
        """Messages that ask a language model `question`, now, for an answer in `language`; `emotion` is how
        it sounded (`Transcript.emotion`)."""
        return self.dialogue.messages(self.prompt.text(language, emotion=emotion), question)


class TurnContext(ABC):
    """One turn, as what answers it sees it; `voice.turn.turn.Turn` provides it.

    A preemptive reply has a context of its own until it is adopted, whose `output` and `tools` are held.
    """

    def __init__(
        self,
        conversation: ConversationContext,
        output: ReplyOutput,
        tools: ReplyTools,
        *,
        mode: ListenMode | None,
        language: str,
    ) -> None:
        self.conversation = conversation
        self.services = conversation.services
        self.output: ReplyOutput = output
        self.tools: ReplyTools = tools
        self.mode = mode
        self.language = language
        """Language of the reply, a tag; the user's words may change it."""
        self.outcome: Outcome = "running"
        self.heard = ""
        """The user's words."""
        self.emotion = ""
        """The emotion in them (`Transcript.emotion`)."""
        self.utterance: UserUtterance | None = None
        """The utterance to answer, in a turn that begins with one."""
        self.reply: ReplyState | None = None
        self.paused = False
        """True when the reply is silent because somebody may be speaking."""
        self.misheard: ProviderError | None = None
        """The failure of speech to text."""
        self.usage = UsageMeter()
        """The use of providers by the answer; that of its transcription is the utterance's."""
        self.exchange: Exchange | None = None
        """The turn as the dialogue keeps it, once it is over."""
        self.learning: asyncio.Task[None] | None = None
        """Finds out the user's words when they were not known by the end of the turn; bounded in time."""
        self._loop = asyncio.get_running_loop()
        self.timings = TurnTimings(self._loop.time())

    def mark(self, stage: Stage) -> None:
        """`stage` is reached now."""
        self.timings.mark(stage, self._loop.time())

    def tools_ran(self, began: float) -> None:
        """A round of tool calls that began at `began` (loop time, s) is over now."""
        self.timings.tools_ran(began, self._loop.time())

    def tool_ran(self, name: str, began: float, failed: bool) -> None:
        """One call of a tool that began at `began` (loop time, s) is over now."""
        self.timings.tool_ran(name, began, self._loop.time(), failed=failed)

    @abstractmethod
    def progress(self) -> None:
        """Something moved."""

    @abstractmethod
    def hold(self) -> tuple[ReplyOutput, ReplyTools]:
        """A held output and held tools for a preemptive reply."""

    @abstractmethod
    def adopt(self, held: "TurnContext") -> None:
        """Makes a preemptive reply this turn's."""

    @abstractmethod
    def echoed(self, text: str, began_at: float) -> bool:
        """True when `text`, spoken from `began_at` (loop time, s), is an echo of the last reply."""

    def take_words(self, text: str, began_at: float) -> bool:
        """Takes and shows the user's words, of an utterance that began at `began_at` (loop time, s).

        False when there is nothing to answer: no words, or the assistant's own.
        """
        self.mark("transcript")
        self.heard = text.strip()
        if self.heard and self.mode != "manual" and self.echoed(self.heard, began_at):
            _log.info("what was heard is an echo of the last reply: ignored")
            self.heard = ""
        if not self.heard:
            return False
        self.output.show_transcript(self.heard)
        return True

    async def follow_language(self, told: str | None) -> None:
        """Sets the language of the reply, and of the conversation, to that of the user's words.

        `told` is what the recogniser says of it.
        """
        spoken = self.conversation.language
        self.language = await spoken.of(self.heard, told)
        spoken.settle(self.language)

    def judge(self) -> None:
        """The reply is over: "answered" or "failed"."""
        self.outcome = "failed" if self.reply is None or self.reply.failure else "answered"

    def not_understood(self, error: ProviderError) -> None:
        """Speech to text failed by `error`."""
        self.outcome = "failed"
        self.misheard = error

    def end_unanswered(self) -> None:
        """There was nothing to answer."""
        self.outcome = "nothing heard"
        if self.mode == "manual":
            self.output.begin_speech()  # and the stop that follows: the device may be waiting for a reply
