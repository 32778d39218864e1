"""What a turn does once something was said: understand it, answer it, perhaps begin to before it is over."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace

from mimi_mqtt.errors import ProviderError
from mimi_mqtt.providers.base import Transcript
from mimi_mqtt.voice.dialogue import Dialogue
from mimi_mqtt.voice.eager import MAX_GUESSES, Guess
from mimi_mqtt.voice.echo_guard import EchoGuard
from mimi_mqtt.voice.events import AudioFormat, Output
from mimi_mqtt.voice.listening import Listening
from mimi_mqtt.voice.pipeline import Reply, ReplyContext
from mimi_mqtt.voice.running_turn import RunningTurn
from mimi_mqtt.voice.services import Tools, VoiceServices
from mimi_mqtt.voice.turn_output import TurnOutput

_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Answering:
    """One conversation's answers. `progress` is told whenever something moved in a turn, `speech_began` of
    its `tts start`; `spawn` starts a task that the conversation waits for at its end."""

    services: VoiceServices
    tools: Tools
    output: Output
    downlink: AudioFormat
    device_id: str
    language: str
    dialogue: Dialogue
    echo_guard: EchoGuard
    progress: Callable[[RunningTurn], None]
    speech_began: Callable[[RunningTurn], None]
    spawn: Callable[[Coroutine[None, None, None], str], asyncio.Task[None]]

    async def understand(self, turn: RunningTurn, listening: Listening) -> None:
        """Answers what was said, once that is over."""
        try:
            transcript = await self._transcript(listening, turn.guess)
        except ProviderError as error:
            turn.outcome = "failed"
            await Reply(self._context(turn)).apologize(error)
            return
        turn.mark("transcript")
        turn.heard = transcript.text.strip()
        if turn.heard and turn.mode != "manual" and self.echo_guard.repeats(turn.heard, listening.began_at):
            _log.info("what was heard is an echo of the last reply: ignored")
            turn.heard = ""
        if turn.heard:
            turn.output.show_transcript(turn.heard)
            await self.answer(turn)
        else:
            turn.outcome = "nothing heard"
            if turn.mode == "manual":
                turn.output.begin_speech()  # and the stop that follows: the device may be waiting for a reply

    async def _transcript(self, listening: Listening, guess: Guess | None) -> Transcript:
        """What was said: a whole guess has heard all of it already, as only silence has come since."""
        if guess is not None and not self.services.stt.capabilities.streaming:
            guessed = await guess.understood()
            if guessed is not None and guessed.final:
                return guessed
        return await listening.transcript()

    async def answer(self, turn: RunningTurn) -> None:
        """Answers `turn.heard`, with the guess if it was right."""
        self.progress(turn)
        guess, turn.guess = turn.guess, None
        if guess is not None and guess.answers(turn.heard):
            turn.adopt(guess)
            await guess.confirm(quiet=turn.paused)
        else:
            if guess is not None:
                guess.drop()
            turn.reply = Reply(self._context(turn))
            await turn.reply.answer(self.dialogue.messages(turn.heard))
        self._judge(turn)

    async def say(self, turn: RunningTurn, text: str) -> None:
        """Speaks `text`."""
        self.progress(turn)
        turn.reply = Reply(self._context(turn))
        await turn.reply.say(text)
        self._judge(turn)

    def begin_guess(self, turn: RunningTurn, listening: Listening) -> None:
        """Begins an answer to what was said so far, unheard."""
        if turn.guesses >= MAX_GUESSES:
            return
        turn.guesses += 1
        context = self._context(turn)
        turn.guess = Guess(
            listening,
            output=TurnOutput(self.output, lambda: self.speech_began(turn), held=True),
            tools=self.tools,
            reply=lambda guess: Reply(
                replace(
                    context,
                    output=guess.output,
                    tools=guess.tools,
                    mark=guess.mark,
                    tools_ran=guess.tools_ran,
                    progress=guess.progress,
                )
            ),
            messages=self.dialogue.messages,
            progress=lambda: self.progress(turn),
            spawn=self.spawn,
        )

    @staticmethod
    def _judge(turn: RunningTurn) -> None:
        turn.outcome = "failed" if turn.reply is None or turn.reply.failure else "answered"

    def _context(self, turn: RunningTurn) -> ReplyContext:
        return ReplyContext(
            services=self.services,
            tools=self.tools,
            output=turn.output,
            downlink=self.downlink,
            device_id=self.device_id,
            language=self.language,
            mark=turn.mark,
            tools_ran=turn.tools_ran,
            progress=lambda: self.progress(turn),
        )
