"""A reply by the pipeline: what the model says is cut into sentences, spoken and played while it is said.

Two tasks joined by a bounded queue of sentences: the model, and the tools it calls, fills it; text to speech
and Opus empty it into the play-out queue, at the device's pace. Cancelling the reply cancels both.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import aclosing, closing
from typing import Final

from mimi_mqtt.errors import ProviderError
from mimi_mqtt.providers.contract.chat import ChatMessage, ChatOptions, TextDelta, ToolCall
from mimi_mqtt.tools.builtin.end_conversation import END_CONVERSATION
from mimi_mqtt.voice.answer.context import TurnContext
from mimi_mqtt.voice.answer.reply import OpenSpeech, Reply
from mimi_mqtt.voice.speech.emotions import NEUTRAL, emoji_for
from mimi_mqtt.voice.speech.sentences import Sentence, SentenceCutter

_MAX_SENTENCES: Final = 64
"""Sentences that may wait for text to speech; beyond, the model waits."""


_UNSPOKEN: Final = "…"
"""In place of the words of a recording without a text."""


class PipelineReply(Reply):
    """One reply; use it once, with `answer`, `say` or `apologize`.

    A provider's failure is told to the user, not raised.
    """

    def __init__(self, turn: TurnContext) -> None:
        super().__init__(turn)
        self._sentences: asyncio.Queue[Sentence | None] = asyncio.Queue(_MAX_SENTENCES)

    async def answer(self, messages: Sequence[ChatMessage]) -> None:
        """Asks the model, calls the tools it wants, speaks what it says."""
        await self._run(self._think(messages))

    async def say(self, text: str, speech: OpenSpeech | None = None) -> None:
        """Speaks a given text, or plays the recording of it that `speech` opens."""
        if speech is None:
            await self._run(self._recite(text))
        else:
            self._recorded = speech
            await self._run(self._present(text))

    async def apologize(self, error: ProviderError) -> None:
        """Apologizes for a failure that came before there was anything to answer."""
        await self._run(self._fail(error))

    async def _run(self, thinking: Coroutine[None, None, None]) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._speak(), name="reply-speak")
            await thinking
            await self._sentences.put(None)
        await self._finish()

    # ── the model's words ────────────────────────────────────────────────────────────────────────────────

    async def _think(self, messages: Sequence[ChatMessage]) -> None:
        try:
            await self._converse(list(messages))
        except ProviderError as error:
            await self._fail(error)
        else:
            if not self._chars and not self.winding_down:
                await self._recite(self._phrases.no_answer)

    async def _recite(self, text: str) -> None:
        cutter = SentenceCutter()
        await self._utter(cutter, text)
        await self._offer(cutter.flush())

    async def _present(self, text: str) -> None:
        """Queues the text of a recording whole: it is shown, and need not be speakable, nor be there."""
        self.text = text
        self._chars = len(text)
        self._begin(NEUTRAL, emoji_for(NEUTRAL))
        await self._sentences.put(Sentence(text, text or _UNSPOKEN))

    async def _fail(self, error: ProviderError) -> None:
        self._blame(error)
        await self._offer([self._phrases.failed])

    async def _converse(self, messages: list[ChatMessage]) -> None:
        rounds_left = self._services.voice.max_tool_rounds
        while True:
            calls = await self._ask(messages, offer_tools=rounds_left > 0)
            if not calls or rounds_left == 0 or self._done:
                return
            rounds_left -= 1
            begun = len(self.rounds)
            await self._run_tools(calls)
            if self._chars and {call.name for call in calls} == {END_CONVERSATION}:
                return  # goodbye was said before: a model that is asked for more repeats it, or says nothing
            messages += self.rounds[begun:]

    async def _ask(self, messages: Sequence[ChatMessage], *, offer_tools: bool) -> list[ToolCall]:
        """One request: speaks its text, returns the calls it ends with."""
        turn = self._turn
        options = ChatOptions(turn.language, self._services.timezone, turn.conversation.device_id)
        specs = turn.tools.specs() if offer_tools else ()
        calls: list[ToolCall] = []
        cutter = SentenceCutter()
        async with aclosing(self._services.llm.chat(messages, specs, options)) as events:
            async for event in events:
                turn.progress()
                if isinstance(event, TextDelta):
                    self._language = event.language or turn.language
                    await self._utter(cutter, event.text)
                elif isinstance(event, ToolCall):
                    calls.append(event)
                if self._done:
                    return []
        await self._offer(cutter.flush())
        return calls

    async def _utter(self, cutter: SentenceCutter, text: str) -> None:
        self._read_mood(text)
        await self._offer(cutter.feed(text))

    async def _offer(self, pieces: Sequence[str]) -> None:
        for piece in pieces:
            if (sentence := self._accept(piece)) is not None:
                await self._sentences.put(sentence)

    # ── its speech ───────────────────────────────────────────────────────────────────────────────────────

    async def _speak(self) -> None:
        with closing(self._services.encoders.open(self._downlink)) as encoder:
            while (sentence := await self._sentences.get()) is not None:
                if self.winding_down and self.spoken:
                    continue
                if self._mute:
                    self._not_spoken += sentence.piece
                elif sentence.speech:
                    await self._synthesize(encoder, sentence)
                else:
                    await self._play_sentence(sentence)
            await self._end_speech(encoder)
