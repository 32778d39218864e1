"""A reply by a speech-to-speech service: what it says is played as it comes, its tools are called here.

Frames are made as fast as the service speaks, which is faster than they are played; `_hand_over` lets them go
a moment before their time, so that by then the words that belong to them are known.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, closing, suppress
from typing import Final

from mimi_mqtt.errors import AudioError, ProviderBadAnswer, ProviderError
from mimi_mqtt.providers.contract.chat import ChatMessage, TextDelta, ToolCall, Usage
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.contract.tts import SpeechChunk
from mimi_mqtt.providers.runtime.realtime.provider import S2sEvent, SpeechSession
from mimi_mqtt.voice.answer.context import TurnContext
from mimi_mqtt.voice.answer.dialogue import SpokenSentence
from mimi_mqtt.voice.answer.realtime.alignment import SentenceTrack
from mimi_mqtt.voice.answer.reply import Reply
from mimi_mqtt.voice.speech.emotions import NEUTRAL, emoji_for
from mimi_mqtt.voice.speech.encoder import ReplyEncoder
from mimi_mqtt.voice.speech.sentences import Sentence, SentenceCutter, prepare

_MAX_MADE: Final = 1_000
"""Frames that may wait for their time, a minute of speech; beyond, the service waits."""
_AHEAD_S: Final = 0.6
"""Frames go to play-out so long before their time, while the words that belong to them may still come."""
_NO_MORE_TOOLS: Final = "error: too many calls for one answer; answer now, with what is known"


class SpokenReply(Reply):
    """One reply; use it once, with `answer`.

    A failure is told to the user, unless nothing was heard of the reply yet: then the pipeline may answer
    (`given_up`).
    """

    _thinking_role = "s2s"

    def __init__(self, turn: TurnContext, name: str, session: SpeechSession, pace_ms: float) -> None:
        super().__init__(turn)
        self.session = session
        """The session that replies."""
        self.error: ProviderError | None = None
        """The service's failure."""
        self.silent = False
        """True when the service chose to say nothing, which is no failure."""
        self.began_at: float | None = None
        """Time at which the service began to say something (loop time, s)."""
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._frame_s = self._downlink.frame_ms / 1000
        self._track = SentenceTrack(self._downlink.frame_ms, pace_ms)
        self._made: asyncio.Queue[bytes | None] = asyncio.Queue(_MAX_MADE)
        self._cutter = SentenceCutter()
        self._changed = asyncio.Event()
        self._handed = 0

    @property
    def pace_ms(self) -> float:
        """The service's pace as measured; see `SentenceTrack`."""
        return self._track.pace_ms

    @property
    def given_up(self) -> bool:
        """True when it failed or chose to be silent before anything was heard; the user is not told."""
        return (self.error is not None or self.silent) and not self._handed

    @property
    def cut(self) -> bool:
        """True when the service has said more than is played."""
        return self._done

    async def answer(self, events: AsyncGenerator[S2sEvent, None], words: str = "") -> None:
        """Plays what comes by `events`, and what follows from the tools called. `words`: the text, if known
        before."""
        with closing(self._services.encoders.open(self._downlink)) as encoder:
            async with asyncio.TaskGroup() as tasks:
                handing = tasks.create_task(self._hand_over(), name="reply-hand-over")
                await self._speak(encoder, events, words)
                if self.given_up:
                    handing.cancel()
                    return
                await self._made.put(None)
                await asyncio.wait([handing])
                if self.error is not None:
                    self._blame(self.error)
                    if not self.winding_down:  # by text to speech, as the service can't
                        await self._synthesize(encoder, prepare(self._phrases.failed))
                await self._end_speech(encoder)
        await self._finish()

    def break_off(self) -> None:
        """Counts the sentence that the service is in the middle of as begun."""
        self._say(self._cutter.flush())
        for sentence, begin in self._track.take(self._handed):
            self._note(sentence, begin)

    # ── what the service says ────────────────────────────────────────────────────────────────────────────

    async def _speak(self, encoder: ReplyEncoder, events: AsyncGenerator[S2sEvent, None], words: str) -> None:
        """Follows the answer to its end, tools included, or to its failure."""
        try:
            await self._converse(encoder, events)
            if not self._track.frames and not self.winding_down:
                self.silent = self.began_at is None
                if not self.silent:
                    raise ProviderBadAnswer(self._name, "said nothing")
        except ProviderError as error:
            self.error = error
        except AudioError as error:
            self.error = ProviderBadAnswer(self._name, f"speech that can't be played: {error}")
        if words and not self.text and self.error is None:
            self._say([words])
        self._settle(whole=self.error is None and not self._done)

    async def _converse(self, encoder: ReplyEncoder, events: AsyncGenerator[S2sEvent, None]) -> None:
        most = self._services.voice.max_tool_rounds
        rounds = 0
        while calls := await self._follow(encoder, events):
            rounds += 1
            if self._done or rounds > most + 1:
                return
            results = await self._run_tools(calls) if rounds <= most else self._refuse(calls)
            events = self.session.tool_results(results)

    def _refuse(self, calls: Sequence[ToolCall]) -> Sequence[ChatMessage]:
        """Refuses further calls, which the service can only be told by their results."""
        results = [ChatMessage("tool", _NO_MORE_TOOLS, tool_call_id=call.id) for call in calls]
        self.rounds += [ChatMessage("assistant", self.text, tuple(calls)), *results]
        self.text = ""
        return results

    async def _follow(self, encoder: ReplyEncoder, events: AsyncGenerator[S2sEvent, None]) -> list[ToolCall]:
        """One stream to its end; the calls it ends with."""
        calls: list[ToolCall] = []
        try:
            async with (
                aclosing(events),
                aclosing(self._speech(events, calls)) as speech,
                aclosing(encoder.sentence(speech)) as frames,
            ):
                async for frame in frames:
                    self._track.made()
                    await self._made.put(frame)
        finally:
            self._say(self._cutter.flush())
        if calls:
            self._settle(whole=not self._done)
        return calls

    async def _speech(
        self, events: AsyncIterator[S2sEvent], calls: list[ToolCall]
    ) -> AsyncGenerator[SpeechChunk, None]:
        """The sound among `events`; takes note of everything else."""
        async for event in events:
            self._turn.progress()
            if isinstance(event, Transcript | Usage):
                continue  # the engine asks for the user's words, the provider counts what was used
            if self.began_at is None:
                self.began_at = self._loop.time()
            match event:
                case SpeechChunk():
                    if not self._mood:
                        self._turn.mark("first_token")
                        self._begin(NEUTRAL, emoji_for(NEUTRAL))
                    yield event
                case TextDelta(text):
                    self._read_mood(text)
                    self._say(self._cutter.feed(text))
                case ToolCall():
                    calls.append(event)
            if self._done:
                return

    def _say(self, pieces: Sequence[str]) -> None:
        for piece in pieces:
            if (sentence := self._accept(piece)) is not None:
                self._track.add(sentence)
                self._changed.set()
        if self._full:
            self._track.end()

    def _settle(self, *, whole: bool) -> None:
        self._track.settle(whole=whole)
        self._changed.set()

    # ── to the device ────────────────────────────────────────────────────────────────────────────────────

    async def _hand_over(self) -> None:
        frame = await self._made.get()
        await self._until_words()
        while frame is not None:
            await self._until_soon()
            for sentence, begin in self._track.take(self._handed):
                await self._mark(sentence, begin)
            if not self._track.over(self._handed):
                self._handed += 1
                if self.spoken:
                    self.spoken[-1].end = self._handed
                await self._play(frame)
            frame = await self._made.get()
        for sentence in self._track.take_rest():
            await self._mark(sentence, self._handed)
        for spoken in self.spoken:
            spoken.complete = True

    async def _mark(self, sentence: Sentence, begin: int) -> None:
        """Plays the mark of `sentence`, which begins now."""
        self._note(sentence, begin)
        await self._play_sentence(sentence)

    def _note(self, sentence: Sentence, begin: int) -> None:
        """Notes that `sentence` began at the frame `begin`; its words may have come after its sound."""
        if self.spoken:
            last = self.spoken[-1]
            begin = max(begin, last.begin)
            last.end, last.complete = begin, True
        self.spoken.append(SpokenSentence(sentence.piece, begin, self._handed))

    async def _until_words(self) -> None:
        """Waits for the first sentence, while the guard gap keeps the first frame waiting anyway."""
        if self.began_at is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self.began_at + self._services.session.guard_gap_ms / 1000):
                while not self._track.expects and not self._track.settled:
                    await self._change()

    async def _until_soon(self) -> None:
        """Waits until the next frame is due, unless the beginnings of all sentences are certain."""
        while not self._track.settled and not self.winding_down:
            early_s = (self._handed - self._output.frames_played) * self._frame_s - _AHEAD_S
            if early_s < 0:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(early_s + self._frame_s):
                    await self._change()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
