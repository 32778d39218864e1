"""One reply on its way to the device: tools, apologies, speech and the hand-over to play-out.

`pipeline` and `realtime.reply` are its two kinds.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from mimi_mqtt.errors import AudioError, ProviderError
from mimi_mqtt.providers.contract.chat import ChatMessage, ToolCall
from mimi_mqtt.providers.contract.provider import speaks
from mimi_mqtt.providers.contract.tts import SpeechChunk
from mimi_mqtt.voice.answer.context import ReplyState, TurnContext
from mimi_mqtt.voice.answer.dialogue import SpokenSentence
from mimi_mqtt.voice.language.languages import of_sentence
from mimi_mqtt.voice.speech.emotions import emoji_for, leading_emotion
from mimi_mqtt.voice.speech.encoder import ReplyEncoder
from mimi_mqtt.voice.speech.phrases import apologies
from mimi_mqtt.voice.speech.prepared import played
from mimi_mqtt.voice.speech.sentences import Sentence, prepare

_log = logging.getLogger(__name__)

_MAX_SHOWN_CHARS: Final = 300
"""Longest text shown of a reply that can't be spoken, in characters."""


OpenSpeech = Callable[[], AsyncGenerator[SpeechChunk, None]]
"""Opens a recording from its beginning. What it yields raises AudioError where it is broken."""


class Reply:
    """Base of both kinds of replies; a `ReplyState` for its turn. Use it once."""

    _thinking_role = "llm"

    def __init__(self, turn: TurnContext) -> None:
        self._turn = turn
        self._services = turn.services
        self._downlink = turn.conversation.downlink
        self._output = turn.output
        self._phrases = apologies(turn.language)
        self._language = turn.language  # of what the model says
        self._opening = ""  # of the reply, until its mood is known
        self._mood = ""
        self._chars = 0
        self._full = False
        self._mute = False
        self._not_spoken = ""
        self._alerted = False
        self._dropping = False  # sentences after the last one wanted
        self._recorded: OpenSpeech | None = None  # plays in place of what is said
        if self._services.spoken_apologies is not None:
            self._services.spoken_apologies.prepare(turn.language)
        self.failure: ProviderError | AudioError | None = None
        """The first failure."""
        self.failed_role = ""
        """The role of the provider that failed first."""
        self.rounds: list[ChatMessage] = []
        """Tool calls and their results, for the dialogue."""
        self.tools_called: list[str] = []
        self.text = ""
        """Text said after the last tool call."""
        self.spoken: list[SpokenSentence] = []
        self.winding_down = False
        """Set it to end the reply with the sentence that is being spoken."""

    @property
    def _done(self) -> bool:
        return self._full or self.winding_down

    def break_off(self) -> None:
        """The reply is over before its end: words whose sound may have been heard count as said."""

    def take_over(self, reply: ReplyState) -> None:
        """Continues for `reply`, of which nothing was heard; its tool calls stay made."""
        self.rounds += reply.rounds
        self.tools_called += reply.tools_called

    async def _finish(self) -> None:
        """Waits until all has been played, and shows what could not be."""
        await self._output.finish_speech()
        if self.failure is not None:
            self._alert(f"{self._phrases.failed} {self._not_spoken}".strip())

    def _alert(self, message: str) -> None:
        # An alert plays a sound, which cuts the speech of old firmware: at most one, and never in between.
        if not self._alerted and self.failure is not None:
            self._alerted = True
            self._output.show_alert(self._phrases.status, message[:_MAX_SHOWN_CHARS])

    def _failed(self, role: str, error: ProviderError | AudioError) -> None:
        if self.failure is None:
            self.failure, self.failed_role = error, role

    def _blame(self, error: ProviderError) -> None:
        """Marks the reply as failed and shows a sad face; an apology is to follow."""
        _log.warning("the reply failed: %s", error)
        self._failed(self._thinking_role, error)
        if not self._output.begun:
            self._alert(self._phrases.failed)
        self._begin("sad", emoji_for("sad"))
        self._full = False

    # ── words ────────────────────────────────────────────────────────────────────────────────────────────

    def _begin(self, emotion: str, emoji: str) -> None:
        """Begins to speak: the guard gap before the first sound runs while the sound is still being made."""
        if emotion != self._mood:
            self._mood = emotion
            self._output.show_emotion(emotion, emoji)
        self._output.begin_speech()

    def _read_mood(self, text: str) -> None:
        """Begins the reply as soon as its first words tell its mood."""
        if text and not self._mood:
            self._turn.mark("first_token")
            self._opening += text
            if mood := leading_emotion(self._opening):
                self._begin(*mood)

    def _accept(self, piece: str) -> Sentence | None:
        """A piece of the reply as a sentence; None when there is nothing to show or speak, or too much."""
        if self._full:
            return None
        if self._chars + len(piece) > self._services.voice.max_reply_chars:
            self._full = True
            _log.info("the reply was cut after %d characters (voice.max_reply_chars)", self._chars)
            return None
        self.text += piece
        sentence = prepare(piece)
        if not sentence.speech and not sentence.emotion:
            return None
        self._chars += len(piece)
        self._turn.mark("first_sentence")
        return replace(sentence, language=self._spoken_as(sentence))

    def _spoken_as(self, sentence: Sentence) -> str:
        """The language to speak a sentence in: its script may tell another than the reply's."""
        language = of_sentence(sentence.speech, self._language)
        return language if speaks(self._services.tts.capabilities.languages, language) else self._language

    async def _run_tools(self, calls: Sequence[ToolCall]) -> Sequence[ChatMessage]:
        """Calls the tools that the words so far end with; a `tool` message for each."""
        self.rounds.append(ChatMessage("assistant", self.text, tuple(calls)))
        self.text = ""
        self.tools_called += [call.name for call in calls]
        began = asyncio.get_running_loop().time()
        try:
            results = await self._turn.tools.run(calls, self._turn.progress, self._turn.tool_ran)
        finally:
            self._turn.tools_ran(began)
        self.rounds += results
        return results

    # ── speech ───────────────────────────────────────────────────────────────────────────────────────────

    async def _synthesize(self, encoder: ReplyEncoder, sentence: Sentence) -> None:
        """Speaks a sentence by text to speech; when that fails the reply is mute from then on."""
        services, language = self._services, sentence.language or self._language
        voice = services.manner(language)
        begin = self.spoken[-1].end if self.spoken else 0
        spoken = SpokenSentence(sentence.piece, begin, begin)
        self.spoken.append(spoken)
        try:
            async with (
                aclosing(
                    services.tts.speak(sentence.speech, voice) if self._recorded is None else self._recorded()
                ) as chunks,
                aclosing(encoder.sentence(chunks)) as frames,
            ):
                async for frame in frames:
                    if spoken.end == begin:
                        await self._play_sentence(sentence)
                    spoken.end += 1
                    await self._play(frame)
            spoken.complete = True
        except (ProviderError, AudioError) as error:
            _log.warning("the reply can't be spoken: %s", error)
            self._failed("tts", error)
            self._mute = True
            self._not_spoken += sentence.piece
            spoken.break_off(self._downlink.frame_ms)
            await self._apologize_aloud(encoder)

    async def _apologize_aloud(self, encoder: ReplyEncoder) -> None:
        """Plays the apology made beforehand, as text to speech doesn't work."""
        prepared = self._services.spoken_apologies
        speech = prepared.speech(self._turn.language) if prepared is not None else ()
        if not speech or self.winding_down:
            return
        failed = self._phrases.failed
        await self._play_sentence(Sentence(failed, failed, ("sad", emoji_for("sad"))))
        try:
            async with aclosing(encoder.sentence(played(speech))) as frames:
                async for frame in frames:
                    await self._play(frame)
        except AudioError as error:
            _log.warning("the apology can't be played: %s", error)

    async def _end_speech(self, encoder: ReplyEncoder) -> None:
        """Plays what the encoder still holds back."""
        for frame in await encoder.end():
            await self._play(frame)

    async def _play_sentence(self, sentence: Sentence) -> None:
        """Hands a sentence's mood and text to play-out, unless the reply winds down."""
        self._turn.progress()
        self._dropping = self.winding_down
        if self._dropping:
            return
        if sentence.emotion and sentence.emotion[0] != self._mood:
            self._mood = sentence.emotion[0]
            self._output.show_emotion(*sentence.emotion)
        if sentence.speech and sentence.text:
            await self._output.play_sentence(sentence.text)

    async def _play(self, frame: bytes) -> None:
        """Hands a frame to play-out; waits while that is full."""
        self._turn.progress()
        if not self._dropping:
            self._output.begin_speech()
            self._turn.mark("first_audio")
            await self._output.play(frame)
