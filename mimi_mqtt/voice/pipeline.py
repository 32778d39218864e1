"""One reply: what the model says is cut into sentences, spoken and played while it is still being said.

Three tasks joined by bounded queues: the model (and the tools it calls) fills `sentences`, text to speech and
Opus fill `frames`, play-out empties them at the device's pace. Cancelling the reply cancels all three.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import Final

from mimi_mqtt.errors import AudioError, ProviderError
from mimi_mqtt.providers.base import ChatMessage, ChatOptions, SpeechChunk, TextDelta, ToolCall, VoiceOptions
from mimi_mqtt.voice.apologies import apologies
from mimi_mqtt.voice.dialogue import SpokenSentence
from mimi_mqtt.voice.emotions import emoji_for, leading_emotion
from mimi_mqtt.voice.events import AudioFormat
from mimi_mqtt.voice.sentences import Sentence, SentenceCutter, prepare
from mimi_mqtt.voice.services import Tools, VoiceServices
from mimi_mqtt.voice.speech import ReplyEncoder
from mimi_mqtt.voice.timings import Stage
from mimi_mqtt.voice.tool_round import run_calls
from mimi_mqtt.voice.turn_output import TurnOutput

_log = logging.getLogger(__name__)

_MAX_SENTENCES: Final = 64
"""Sentences that wait for text to speech; the model waits beyond."""
_MAX_FRAMES: Final = 32
"""Frames made ahead of the play-out queue, which has room for the next sentence: more would be made in
haste."""
_MAX_SHOWN_CHARS: Final = 300
"""Of a reply that can't be spoken, so much is shown."""


@dataclass(frozen=True, slots=True)
class ReplyContext:
    """What a reply needs of its conversation. `progress` is called whenever something moved, `tools_ran` with
    the beginning (loop time, s) of a round of tool calls at its end."""

    services: VoiceServices
    tools: Tools
    output: TurnOutput
    downlink: AudioFormat
    device_id: str
    language: str
    mark: Callable[[Stage], None]
    tools_ran: Callable[[float], None]
    progress: Callable[[], None]


class Reply:
    """One reply; use it once, with `answer`, `say` or `apologize`. A provider's failure is told, not
    raised."""

    def __init__(self, context: ReplyContext) -> None:
        self._context = context
        self._services = context.services
        self._output = context.output
        self._phrases = apologies(context.language)
        self._sentences: asyncio.Queue[Sentence | None] = asyncio.Queue(_MAX_SENTENCES)
        self._frames: asyncio.Queue[Sentence | bytes | None] = asyncio.Queue(_MAX_FRAMES)
        self._opening = ""  # of the reply, until its mood is known
        self._mood = ""
        self._chars = 0
        self._full = False
        self._mute = False
        self._unspoken = ""
        self._alerted = False
        if self._services.spoken_apologies is not None:
            self._services.spoken_apologies.prepare(context.language)
        self.failure: ProviderError | AudioError | None = None
        """The first thing that went wrong."""
        self.rounds: list[ChatMessage] = []
        """Tool calls and their results, for the dialogue."""
        self.tools_called: list[str] = []
        self.text = ""
        """What was said after the last tool call."""
        self.spoken: list[SpokenSentence] = []
        self.winding_down = False
        """Set it to end the reply with the sentence that is being spoken."""

    async def answer(self, messages: Sequence[ChatMessage]) -> None:
        """Asks the model, calls the tools it wants, speaks what it says."""
        await self._run(self._think(messages))

    async def say(self, text: str) -> None:
        """Speaks a given text."""
        await self._run(self._recite(text))

    async def apologize(self, error: ProviderError) -> None:
        """Tells of a failure that came before there was anything to answer."""
        await self._run(self._fail(error))

    async def _run(self, thinking: Coroutine[None, None, None]) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._speak(), name="reply-speak")
            tasks.create_task(self._play(), name="reply-play")
            await thinking
            await self._sentences.put(None)
        await self._output.finish_speech()
        if self.failure is not None:
            self._alert(f"{self._phrases.failed} {self._unspoken}".strip())

    def _alert(self, message: str) -> None:
        # An alert plays a sound, which cuts the speech of old firmware: at most one, and never in between.
        if not self._alerted and self.failure is not None:
            self._alerted = True
            self._output.show_alert(self._phrases.status, message[:_MAX_SHOWN_CHARS])

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

    async def _fail(self, error: ProviderError) -> None:
        _log.warning("the reply failed: %s", error)
        self.failure = self.failure or error
        if not self._output.begun:
            self._alert(self._phrases.failed)
        self._begin("sad", emoji_for("sad"))
        self._full = False
        await self._offer([self._phrases.failed])

    async def _converse(self, messages: list[ChatMessage]) -> None:
        rounds_left = self._services.voice.max_tool_rounds
        while True:
            calls = await self._ask(messages, offer_tools=rounds_left > 0)
            if not calls or rounds_left == 0 or self._done:
                return
            rounds_left -= 1
            begun = len(self.rounds)
            self.rounds.append(ChatMessage("assistant", self.text, tuple(calls)))
            self.text = ""
            self.tools_called += [call.name for call in calls]
            self.rounds += await self._run_tools(calls)
            messages += self.rounds[begun:]

    async def _ask(self, messages: Sequence[ChatMessage], *, offer_tools: bool) -> list[ToolCall]:
        """One request: speaks its text, returns the calls it ends with."""
        context = self._context
        options = ChatOptions(context.language, self._services.timezone, context.device_id)
        specs = context.tools.specs() if offer_tools else ()
        calls: list[ToolCall] = []
        cutter = SentenceCutter()
        async with aclosing(self._services.llm.chat(messages, specs, options)) as events:
            async for event in events:
                context.progress()
                if isinstance(event, TextDelta):
                    await self._utter(cutter, event.text)
                elif isinstance(event, ToolCall):
                    calls.append(event)
                if self._done:
                    return []
        await self._offer(cutter.flush())
        return calls

    async def _run_tools(self, calls: Sequence[ToolCall]) -> Sequence[ChatMessage]:
        context = self._context
        began = asyncio.get_running_loop().time()
        try:
            return await run_calls(context.tools, calls, context.progress)
        finally:
            context.tools_ran(began)

    @property
    def _done(self) -> bool:
        return self._full or self.winding_down

    async def _utter(self, cutter: SentenceCutter, text: str) -> None:
        if text and not self._mood:
            self._context.mark("first_token")
            self._opening += text
            if mood := leading_emotion(self._opening):
                self._begin(*mood)
        await self._offer(cutter.feed(text))

    def _begin(self, emotion: str, emoji: str) -> None:
        """There will be a reply: the guard gap before its first sound begins while the sound is still being
        made."""
        if emotion != self._mood:
            self._mood = emotion
            self._output.show_emotion(emotion, emoji)
        self._output.begin_speech()

    async def _offer(self, pieces: Sequence[str]) -> None:
        for piece in pieces:
            if self._full:
                return
            if self._chars + len(piece) > self._services.voice.max_reply_chars:
                self._full = True
                _log.info("the reply was cut after %d characters (voice.max_reply_chars)", self._chars)
                return
            self.text += piece
            sentence = prepare(piece)
            if sentence.speech or sentence.emotion:
                self._chars += len(piece)
                self._context.mark("first_sentence")
                await self._sentences.put(sentence)

    # ── its speech ───────────────────────────────────────────────────────────────────────────────────────

    async def _speak(self) -> None:
        with closing(self._services.encoders.open(self._context.downlink)) as encoder:
            while (sentence := await self._sentences.get()) is not None:
                if self.winding_down and self.spoken:
                    continue
                if self._mute:
                    self._unspoken += sentence.piece
                    continue
                if sentence.speech:
                    await self._synthesize(encoder, sentence)
                else:
                    await self._frames.put(sentence)
            for frame in await encoder.end():
                await self._frames.put(frame)
        await self._frames.put(None)

    async def _synthesize(self, encoder: ReplyEncoder, sentence: Sentence) -> None:
        assistant = self._services.assistant
        voice = VoiceOptions(self._context.language, assistant.voice, assistant.speed)
        begin = self.spoken[-1].end if self.spoken else 0
        spoken = SpokenSentence(sentence.piece, begin, begin)
        self.spoken.append(spoken)
        try:
            async with (
                aclosing(self._services.tts.speak(sentence.speech, voice)) as chunks,
                aclosing(encoder.sentence(chunks)) as frames,
            ):
                async for frame in frames:
                    if spoken.end == begin:
                        await self._frames.put(sentence)
                    spoken.end += 1
                    self._context.progress()
                    await self._frames.put(frame)
            spoken.complete = True
        except (ProviderError, AudioError) as error:
            _log.warning("the reply can't be spoken: %s", error)
            self.failure = self.failure or error
            self._mute = True
            self._unspoken += sentence.piece
            spoken.break_off(self._context.downlink.frame_ms)
            await self._apologize_aloud(encoder)

    async def _apologize_aloud(self, encoder: ReplyEncoder) -> None:
        """Nobody can speak now: what was made before is heard instead of silence."""
        apologies_made = self._services.spoken_apologies
        speech = apologies_made.speech(self._context.language) if apologies_made is not None else ()
        if not speech or self.winding_down:
            return
        await self._frames.put(
            Sentence(self._phrases.failed, self._phrases.failed, ("sad", emoji_for("sad")))
        )
        try:
            async with aclosing(encoder.sentence(_played(speech))) as frames:
                async for frame in frames:
                    self._context.progress()
                    await self._frames.put(frame)
        except AudioError as error:
            _log.warning("the apology can't be played: %s", error)

    async def _play(self) -> None:
        output = self._output
        dropping = False
        while (item := await self._frames.get()) is not None:
            self._context.progress()
            if isinstance(item, Sentence):
                dropping = self.winding_down
                if item.emotion and item.emotion[0] != self._mood and not dropping:
                    self._mood = item.emotion[0]
                    output.show_emotion(*item.emotion)
                if item.speech and not dropping:
                    await output.play_sentence(item.text)
            elif not dropping:
                output.begin_speech()
                self._context.mark("first_audio")
                await output.play(item)


async def _played(speech: Sequence[SpeechChunk]) -> AsyncIterator[SpeechChunk]:
    """Speech that is there already, as a provider's."""
    for chunk in speech:
        yield chunk
