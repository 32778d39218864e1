"""Who hears, thinks and speaks in a conversation: what `pipeline_engine` and `speech_engine` offer it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mimi_mqtt.providers.contract.chat import ChatMessage
from mimi_mqtt.voice.answer.dialogue import Dialogue
from mimi_mqtt.voice.answer.reply import ReplyContext
from mimi_mqtt.voice.answer.system_prompt import SystemPrompt
from mimi_mqtt.voice.language.spoken import SpokenLanguage
from mimi_mqtt.voice.ports import AudioFormat, Output
from mimi_mqtt.voice.services import Spawn, Tools, VoiceServices
from mimi_mqtt.voice.turn.echo_guard import EchoGuard
from mimi_mqtt.voice.turn.turn import RunningTurn
from mimi_mqtt.voice.utterance.transcription import Utterance
from mimi_mqtt.voice.utterance.utterance import Listening

_log = logging.getLogger(__name__)


class Engine(Protocol):
    """One conversation's. Methods that aren't `async` return at once and don't raise; the others raise no
    ProviderError: a failure is told to the user, and is in `turn.reply`."""

    @property
    def guesses(self) -> bool:
        """Whether an answer may be begun before the utterance is over."""

    def prepare(self) -> None:
        """The device listens: something may soon be said."""

    def hear(self) -> Utterance:
        """Begins an utterance."""

    def begin_guess(self, turn: RunningTurn, listening: Listening) -> None:
        """Begins an answer to what was said so far, unheard."""

    async def understand(self, turn: RunningTurn, listening: Listening) -> None:
        """Answers what was said, once that is over."""

    async def answer(self, turn: RunningTurn) -> None:
        """Answers `turn.heard`."""

    async def say(self, turn: RunningTurn, text: str) -> None:
        """Speaks `text`."""

    def concluded(self, turn: RunningTurn) -> None:
        """`turn` is over, perhaps in the middle of its reply."""

    async def aclose(self) -> None:
        """The end of the conversation."""


@dataclass(slots=True, kw_only=True)
class Surroundings:
    """What an engine knows of its conversation. `progress` is told whenever something moved in a turn,
    `speech_began` of its `tts start`; `spawn` starts a task that the conversation waits for at its end."""

    services: VoiceServices
    tools: Tools
    output: Output
    downlink: AudioFormat
    device_id: str
    language: SpokenLanguage
    dialogue: Dialogue
    prompt: SystemPrompt
    echo_guard: EchoGuard
    progress: Callable[[RunningTurn], None]
    speech_began: Callable[[RunningTurn], None]
    spawn: Spawn

    @property
    def max_utterance_s(self) -> float:
        """How much audio an utterance may have, in seconds."""
        voice = self.services.voice
        return voice.max_utterance_s + voice.preroll_ms / 1000 + 1

    def messages(self, question: str, language: str) -> list[ChatMessage]:
        """What to ask a language model about `question`, now, for an answer in `language`."""
        return self.dialogue.messages(self.prompt.text(language), question)

    def reply_context(self, turn: RunningTurn) -> ReplyContext:
        """What a reply of `turn` needs."""
        return ReplyContext(
            services=self.services,
            tools=turn.tools,
            output=turn.output,
            downlink=self.downlink,
            device_id=self.device_id,
            language=turn.language,
            mark=turn.mark,
            tools_ran=turn.tools_ran,
            progress=lambda: self.progress(turn),
        )

    def take_words(self, turn: RunningTurn, text: str, began_at: float) -> bool:
        """The user's words, of an utterance that began at `began_at` (loop time, s), are there: shows them.

        False when there is nothing to answer: no words, or the assistant's own.
        """
        turn.mark("transcript")
        turn.heard = text.strip()
        if turn.heard and turn.mode != "manual" and self.echo_guard.repeats(turn.heard, began_at):
            _log.info("what was heard is an echo of the last reply: ignored")
            turn.heard = ""
        if not turn.heard:
            return False
        turn.output.show_transcript(turn.heard)
        return True

    async def follow_language(self, turn: RunningTurn, told: str | None) -> None:
        """`turn.heard` is answered in its own language, and the conversation goes on in it; `told` is what
        the recogniser says of it."""
        turn.language = await self.language.of(turn.heard, told)
        self.language.settle(turn.language)

    @staticmethod
    def end_unanswered(turn: RunningTurn) -> None:
        """There was nothing to answer."""
        turn.outcome = "nothing heard"
        if turn.mode == "manual":
            turn.output.begin_speech()  # and the stop that follows: the device may be waiting for a reply
