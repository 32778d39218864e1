"""The pipeline as an engine: speech to text, language model, text to speech, each by its own provider.

It understands what was said and answers it, perhaps begins to before it is over.
"""

import logging
from collections.abc import Awaitable
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial

from mimi_mqtt.errors import ProviderError
from mimi_mqtt.providers.contract.recording import Recording, Transcript
from mimi_mqtt.voice.answer.engine import Surroundings
from mimi_mqtt.voice.answer.pipeline import PipelineReply
from mimi_mqtt.voice.answer.preemptive import MAX_GUESSES, Guess
from mimi_mqtt.voice.answer.reply import Reply
from mimi_mqtt.voice.turn.output import TurnOutput
from mimi_mqtt.voice.turn.turn import RunningTurn
from mimi_mqtt.voice.utterance.transcription import Utterance
from mimi_mqtt.voice.utterance.utterance import Listening

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PipelineEngine:
    """See `engine.Engine`."""

    around: Surroundings

    @property
    def guesses(self) -> bool:
        """Not with a model that acts."""
        return not self.around.services.llm.has_side_effects

    def prepare(self) -> None:
        """Nothing: each provider is asked when it is needed."""

    def hear(self) -> Utterance:
        """By speech to text."""
        around = self.around
        stt, now, certain = around.services.stt, around.language.current, around.language.certain
        begin = partial(stt.open, language=now, certain=certain, max_s=around.max_utterance_s)
        return Utterance(
            begin, stt.capabilities, lambda so_far: stt.listen(so_far, language=now, certain=certain)
        )

    async def understand(self, turn: RunningTurn, listening: Listening) -> None:
        """Answers what was said, once that is over."""
        await self._understand(turn, self._transcript(listening, turn.guess), listening.began_at)

    async def take_over(
        self, turn: RunningTurn, listening: Listening, recording: Recording, reply: Reply
    ) -> None:
        """Goes on where `reply` to what `listening` has heard has failed unheard; its tool calls stay made.

        The last part of what was heard is in `recording`.
        """
        if turn.heard:
            await self.answer(turn, instead_of=reply)
        else:
            transcribing = self._transcribe(listening, recording)
            await self._understand(turn, transcribing, listening.began_at, instead_of=reply)

    async def _understand(
        self,
        turn: RunningTurn,
        transcribing: Awaitable[Transcript],
        began_at: float,
        instead_of: Reply | None = None,
    ) -> None:
        around = self.around
        try:
            transcript = await transcribing
        except ProviderError as error:
            turn.outcome = "failed"
            await PipelineReply(around.reply_context(turn)).apologize(error)
            return
        if around.take_words(turn, transcript.text, began_at):
            await around.follow_language(turn, transcript.language)
            await self.answer(turn, instead_of)
        else:
            around.end_unanswered(turn)

    async def _transcribe(self, listening: Listening, recording: Recording) -> Transcript:
        transcript = Transcript("", final=True)
        if not recording.empty:
            stt, language = self.around.services.stt, self.around.language
            async with aclosing(stt.listen(recording, language.current, language.certain)) as transcripts:
                async for part in transcripts:
                    transcript = part
        return await listening.whole(transcript)

    async def _transcript(self, listening: Listening, guess: Guess | None) -> Transcript:
        """What was said: a whole guess has heard all of it already, as only silence has come since."""
        if guess is not None and not self.around.services.stt.capabilities.streaming:
            guessed = await guess.understood()
            if guessed is not None and guessed.final:
                return guessed
        return await listening.transcript()

    async def answer(self, turn: RunningTurn, instead_of: Reply | None = None) -> None:
        """Answers `turn.heard`, with the guess if it was right; the tools that another reply has called are
        not called again."""
        around = self.around
        around.progress(turn)
        guess, turn.guess = turn.guess, None
        if guess is not None and guess.answers(turn.heard, turn.language):
            turn.adopt(guess)
            await guess.confirm(quiet=turn.paused)
        else:
            if guess is not None:
                guess.drop()
            reply = turn.reply = PipelineReply(around.reply_context(turn))
            await around.prompt.complete()
            if around.services.llm.has_side_effects:
                await turn.tools.act()
            if instead_of is not None:
                reply.take_over(instead_of)
            await reply.answer([*around.messages(turn.heard, turn.language), *reply.rounds])
        turn.judge()

    async def say(self, turn: RunningTurn, text: str) -> None:
        """Speaks `text`."""
        self.around.progress(turn)
        reply = turn.reply = PipelineReply(self.around.reply_context(turn))
        await reply.say(text)
        turn.judge()

    def begin_guess(self, turn: RunningTurn, listening: Listening) -> None:
        """Begins an answer to what was said so far, unheard."""
        if turn.guesses >= MAX_GUESSES:
            return
        turn.guesses += 1
        around = self.around
        context = around.reply_context(turn)
        turn.guess = Guess(
            listening,
            output=TurnOutput(
                around.output, lambda: around.speech_began(turn), around.downlink.frame_ms, held=True
            ),
            tools=turn.tools,
            reply=lambda guess: PipelineReply(
                replace(
                    context,
                    language=guess.language,
                    output=guess.output,
                    tools=guess.tools,
                    mark=guess.mark,
                    tools_ran=guess.tools_ran,
                    progress=guess.progress,
                )
            ),
            messages=around.messages,
            language=around.language,
            progress=lambda: around.progress(turn),
            spawn=around.spawn,
        )

    def concluded(self, turn: RunningTurn) -> None:
        """Nothing: nobody else remembers the turn."""

    async def aclose(self) -> None:
        """Nothing is kept."""
