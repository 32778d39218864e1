"""The pipeline as an engine: speech to text, language model, text to speech, each by its own provider."""

import asyncio
import logging
from collections.abc import Awaitable
from contextlib import AbstractContextManager, aclosing
from functools import partial

from mimi_mqtt.errors import ProviderError
from mimi_mqtt.providers.contract.recording import Recording, Transcript
from mimi_mqtt.voice.answer.context import ConversationContext, ReplyState, TurnContext
from mimi_mqtt.voice.answer.pipeline.preemptive import MAX_PREEMPTIVE_REPLIES, PreemptiveReply
from mimi_mqtt.voice.answer.pipeline.reply import PipelineReply
from mimi_mqtt.voice.answer.reply import OpenSpeech
from mimi_mqtt.voice.utterance.transcription import Transcriber
from mimi_mqtt.voice.utterance.utterance import UserUtterance

_log = logging.getLogger(__name__)


class PipelineEngine:
    """See `engine.Engine`."""

    def __init__(self, conversation: ConversationContext) -> None:
        self._conversation = conversation
        self._services = conversation.services
        self._preemptive: PreemptiveReply | None = None
        self._begun_for: UserUtterance | None = None
        self._begun = 0  # for that utterance

    @property
    def answers_early(self) -> bool:
        """False when asking the model may itself have side effects."""
        return not self._services.llm.has_side_effects

    def prepare(self) -> None:
        """Does nothing: each provider is asked when it is needed."""

    def transcribe(self) -> Transcriber:
        """Transcribes by speech to text."""
        conversation, stt = self._conversation, self._services.stt
        language, certain = conversation.language.current, conversation.language.certain
        return Transcriber(
            partial(stt.open, language=language, certain=certain, max_s=conversation.max_utterance_s),
            stt.capabilities,
            partial(stt.listen, language=language, certain=certain),
            self._unheard,
        )

    def _unheard(self, seconds: float) -> AbstractContextManager[None]:
        now = asyncio.get_running_loop().time()
        return self._services.shares.unheard(self._conversation.device_id, seconds, now)

    def speech_paused(self, turn: TurnContext, utterance: UserUtterance) -> None:
        """Begins a preemptive reply to what was said so far."""
        if utterance is not self._begun_for:
            self._begun_for, self._begun = utterance, 0
        if self._begun < MAX_PREEMPTIVE_REPLIES:
            self._begun += 1
            self._preemptive = PreemptiveReply(turn, utterance)

    def speech_went_on(self) -> None:
        """Drops the preemptive reply, if there is one."""
        preemptive, self._preemptive = self._preemptive, None
        if preemptive is not None:
            preemptive.drop()

    def words_changed(self, turn: TurnContext, utterance: UserUtterance) -> None:
        """Begins the preemptive reply anew if it answers other words than are known by now."""
        if self._preemptive is not None and self._preemptive.outdated(utterance.spoken.text):
            self.speech_went_on()
            self.speech_paused(turn, utterance)

    async def understand(self, turn: TurnContext, utterance: UserUtterance) -> None:
        """Transcribes an utterance that is over, and answers it."""
        await self._understand(turn, self._transcript(utterance), utterance.began_at)

    async def take_over(
        self, turn: TurnContext, utterance: UserUtterance, recording: Recording, reply: ReplyState
    ) -> None:
        """Continues where `reply` to `utterance` has failed before it was heard; its tool calls stay made.

        The last part of the utterance is in `recording`.
        """
        if turn.heard:
            await self.answer(turn, instead_of=reply)
        else:
            transcribing = self._transcribe(utterance, recording)
            await self._understand(turn, transcribing, utterance.began_at, instead_of=reply)

    async def _understand(
        self,
        turn: TurnContext,
        transcribing: Awaitable[Transcript],
        began_at: float,
        instead_of: ReplyState | None = None,
    ) -> None:
        try:
            transcript = await transcribing
        except ProviderError as error:
            turn.not_understood(error)
            await PipelineReply(turn).apologize(error)
            return
        if turn.take_words(transcript.text, began_at):
            turn.emotion = transcript.emotion
            await turn.follow_language(transcript.language)
            await self.answer(turn, instead_of)
        else:
            turn.end_unanswered()

    async def _transcribe(self, utterance: UserUtterance, recording: Recording) -> Transcript:
        transcript = Transcript("", final=True)
        if not recording.empty:
            stt, language = self._services.stt, self._conversation.language
            async with aclosing(stt.listen(recording, language.current, language.certain)) as transcripts:
                async for part in transcripts:
                    transcript = part
        return await utterance.whole(transcript)

    async def _transcript(self, utterance: UserUtterance) -> Transcript:
        """The final transcript; the preemptive reply's where only silence came since."""
        if self._preemptive is not None and not self._services.stt.capabilities.streaming:
            transcript = await self._preemptive.transcript()
            if transcript is not None and transcript.final:
                return transcript
        return await utterance.transcript()

    async def answer(self, turn: TurnContext, instead_of: ReplyState | None = None) -> None:
        """Answers `turn.heard`, by the preemptive reply if that answers these words.

        Tools that `instead_of` has called are not called again.
        """
        turn.progress()
        preemptive = self._preemptive
        if preemptive is not None and preemptive.answers(turn.heard, turn.language):
            self._preemptive = None
            await preemptive.confirm()
        else:
            self.speech_went_on()
            reply = turn.reply = PipelineReply(turn)
            await self._conversation.prompt.complete()
            if self._services.llm.has_side_effects:
                await turn.tools.act()
            if instead_of is not None:
                reply.take_over(instead_of)
            messages = self._conversation.messages(turn.heard, turn.language, turn.emotion)
            await reply.answer([*messages, *reply.rounds])
        turn.judge()

    async def say(self, turn: TurnContext, text: str, speech: OpenSpeech | None = None) -> None:
        """Speaks `text`, or plays the recording of it that `speech` opens."""
        turn.progress()
        reply = turn.reply = PipelineReply(turn)
        await reply.say(text, speech)
        turn.judge()

    def concluded(self, turn: TurnContext) -> None:
        """Drops a preemptive reply that the turn has not taken."""
        self._begun_for = None
        if self._preemptive is not None and self._preemptive.turn is turn:
            self.speech_went_on()

    async def aclose(self) -> None:
        """Drops the preemptive reply, if there is one."""
        self.speech_went_on()
