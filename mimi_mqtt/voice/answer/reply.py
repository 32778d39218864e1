"""One reply on its way to the device, whoever thought of it: tools, apologies, speech, play-out.

`pipeline` and `spoken_reply` are its two kinds. Sentences and their frames wait in `_frames`; `_play` empties
it at the device's pace.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final

from mimi_mqtt.errors import AudioError, ProviderError
from mimi_mqtt.providers.contract.chat import ChatMessage, ToolCall
from mimi_mqtt.providers.contract.provider import speaks
from mimi_mqtt.providers.contract.tts import VoiceOptions
from mimi_mqtt.voice.answer.dialogue import SpokenSentence
from mimi_mqtt.voice.language.languages import of_sentence
from mimi_mqtt.voice.ports import AudioFormat
from mimi_mqtt.voice.services import Tools, VoiceServices
from mimi_mqtt.voice.speech.emotions import emoji_for, leading_emotion
from mimi_mqtt.voice.speech.encoder import ReplyEncoder
from mimi_mqtt.voice.speech.phrases import apologies
from mimi_mqtt.voice.speech.prepared import played
from mimi_mqtt.voice.speech.sentences import Sentence, prepare
from mimi_mqtt.voice.turn.output import TurnOutput
from mimi_mqtt.voice.turn.timings import Stage
from mimi_mqtt.voice.turn.tool_round import run_calls

_log = logging.getLogger(__name__)

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
    """What both kinds of replies have in common, and what a turn wants to know of its own."""

    def __init__(self, context: ReplyContext) -> None:
        self._context = context
        self._services = context.services
        self._output = context.output
        self._phrases = apologies(context.language)
        self._language = context.language  # of what the model says
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

    @property
    def _done(self) -> bool:
        return self._full or self.winding_down

    def break_off(self) -> None:
        """It is over before its end: words that have come, and whose sound may have been heard, count."""

    def take_over(self, reply: "Reply") -> None:
        """Goes on where `reply`, of which nothing was heard, has got to: what its tools did is done."""
        self.rounds += reply.rounds
        self.tools_called += reply.tools_called

    async def _finish(self) -> None:
        """Waits until all has been played, and shows what could not be."""
        await self._output.finish_speech()
        if self.failure is not None:
            self._alert(f"{self._phrases.failed} {self._unspoken}".strip())

    def _alert(self, message: str) -> None:
        # An alert plays a sound, which cuts the speech of old firmware: at most one, and never in between.
        if not self._alerted and self.failure is not None:
            self._alerted = True
            self._output.show_alert(self._phrases.status, message[:_MAX_SHOWN_CHARS])

    def _blame(self, error: ProviderError) -> None:
        """The reply failed: its face falls, and an apology is to follow."""
        _log.warning("the reply failed: %s", error)
        self.failure = self.failure or error
        if not self._output.begun:
            self._alert(self._phrases.failed)
        self._begin("sad", emoji_for("sad"))
        self._full = False

    # ── words ────────────────────────────────────────────────────────────────────────────────────────────

    def _begin(self, emotion: str, emoji: str) -> None:
        """There will be a reply: the guard gap before its first sound begins while the sound is still being
        made."""
        if emotion != self._mood:
            self._mood = emotion
            self._output.show_emotion(emotion, emoji)
        self._output.begin_speech()

    def _read_mood(self, text: str) -> None:
        """Begins the reply as soon as its first words tell how."""
        if text and not self._mood:
            self._context.mark("first_token")
            self._opening += text
            if mood := leading_emotion(self._opening):
                self._begin(*mood)

    def _accept(self, piece: str) -> Sentence | None:
        """A piece of the reply as a sentence; None when it is nothing to show or speak, or too much."""
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
        self._context.mark("first_sentence")
        return replace(sentence, language=self._spoken_as(sentence))

    def _spoken_as(self, sentence: Sentence) -> str:
        """The language to speak it in: its script may tell another than the reply's."""
        language = of_sentence(sentence.speech, self._language)
        return language if speaks(self._services.tts.capabilities.languages, language) else self._language

    async def _run_tools(self, calls: Sequence[ToolCall]) -> Sequence[ChatMessage]:
        """Calls what the words so far end with; a `tool` message for each."""
        self.rounds.append(ChatMessage("assistant", self.text, tuple(calls)))
        self.text = ""
        self.tools_called += [call.name for call in calls]
        context = self._context
        began = asyncio.get_running_loop().time()
        try:
            results = await run_calls(context.tools, calls, context.progress)
        finally:
            context.tools_ran(began)
        self.rounds += results
        return results

    # ── speech ───────────────────────────────────────────────────────────────────────────────────────────

    async def _synthesize(self, encoder: ReplyEncoder, sentence: Sentence) -> None:
        """Speaks a sentence by text to speech; when that fails the reply is mute from then on."""
        services, language = self._services, sentence.language or self._language
        voice = VoiceOptions(language, services.tts_voice(language), services.agent.speed)
        begin = self.spoken[-1].end if self.spoken else 0
        spoken = SpokenSentence(sentence.piece, begin, begin)
        self.spoken.append(spoken)
        try:
            async with (
                aclosing(services.tts.speak(sentence.speech, voice)) as chunks,
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
            async with aclosing(encoder.sentence(played(speech))) as frames:
                async for frame in frames:
                    self._context.progress()
                    await self._frames.put(frame)
        except AudioError as error:
            _log.warning("the apology can't be played: %s", error)

    async def _end_speech(self, encoder: ReplyEncoder) -> None:
        """Nothing more is spoken: `_play` ends once it has played all."""
        for frame in await encoder.end():
            await self._frames.put(frame)
        await self._frames.put(None)

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
