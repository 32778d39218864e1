"""Fillers while an answer is late, and the apology when a turn fails.

Both are phrases made beforehand, so that they need no provider.
"""

import asyncio
import logging
from contextlib import aclosing, closing
from typing import Final, Protocol

from mimi_mqtt.errors import AudioError, PlayoutError
from mimi_mqtt.voice.answer.context import ConversationContext
from mimi_mqtt.voice.speech.emotions import emoji_for
from mimi_mqtt.voice.speech.phrases import Phrase, apologies
from mimi_mqtt.voice.speech.prepared import played
from mimi_mqtt.voice.turn.output import TurnOutput

_log = logging.getLogger(__name__)

_APOLOGY_S: Final = 20.0
"""Time for what is being said to end, and for the apology."""
_LOOKS_AGAIN_S: Final = 0.25
"""Seconds between two looks whether there are words yet."""
_PATIENCE_GROWS: Final = 3
"""Factor by which the next filler waits longer than the last."""


class FilledTurn(Protocol):
    """The interface of a turn to its fillers and apologies (`voice.turn.turn.Turn`)."""

    @property
    def conversation(self) -> ConversationContext:
        """The conversation that the turn belongs to."""

    @property
    def speech(self) -> TurnOutput:
        """The turn's output, now."""

    @property
    def language(self) -> str:
        """The language of the reply, now."""

    @property
    def paused(self) -> bool:
        """True when the reply is held back because somebody may be speaking."""

    @property
    def asked(self) -> bool:
        """True when somebody surely asked something: see `Turn.asked`."""

    @property
    def fillers(self) -> list[str]:
        """Texts said aloud beside the reply."""


class Filler:
    """Fillers of one turn: one whenever nothing has been heard for `voice.filler_s`, the next after three
    times as long, and so on, from `since` (loop time, s). None before it is known that somebody asked
    something: of noise, too, it is only known in the end that it has no words.

    A timer, as few turns need any.
    """

    def __init__(self, turn: FilledTurn, since: float) -> None:
        self._turn = turn
        self._loop = asyncio.get_running_loop()
        self._since = since
        services = turn.conversation.services
        self._patience_s = services.voice.filler_s
        self._ended = False
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        if services.spoken_apologies is not None:
            services.spoken_apologies.prepare(turn.language)
        self._wait()

    def end(self) -> None:
        """Begins no further filler; one being said is said to its end."""
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def cancel(self) -> None:
        """Ends the fillers; one being said is broken off."""
        self.end()
        if self._task is not None:
            self._task.cancel()

    def _wait(self) -> None:
        if self._patience_s and not self._ended:
            self._timer = self._loop.call_at(self._since + self._patience_s, self._due)

    def _due(self) -> None:
        self._timer = None
        now, output = self._loop.time(), self._turn.speech
        if output.complete:
            return  # what is left was handed over, and only its end is waited for
        if self._turn.paused or (output.sounding and output.heard_until <= now):
            self._since = now
        elif output.heard_until > self._since:
            self._since = output.heard_until
        elif not self._turn.asked:
            self._timer = self._loop.call_later(_LOOKS_AGAIN_S, self._due)
            return
        else:
            self._task = self._turn.conversation.spawn(self._say(), "filler")
            return
        self._wait()

    async def _say(self) -> None:
        if self._turn.speech.complete:
            return  # the rest of the reply came before this task began
        await _say_prepared(self._turn, "moment", "thinking")
        self._since = max(self._loop.time(), self._turn.speech.heard_until)
        self._patience_s *= _PATIENCE_GROWS
        self._wait()


async def apologize(turn: FilledTurn, *, aloud: bool) -> None:
    """Tells the user that the turn failed: on the screen, and `aloud` unless play-out itself is stuck."""
    output = turn.speech
    output.release()
    if aloud:
        try:
            async with asyncio.timeout(_APOLOGY_S):
                await _say_prepared(turn, "failed", "sad")
                await output.finish_speech()
        except TimeoutError:
            _log.warning("the apology was not played within %g s", _APOLOGY_S)
        except PlayoutError as error:
            _log.warning("the apology was not played: %s", error)
    output.stop_speech()
    phrases = apologies(turn.language)
    output.show_alert(phrases.status, phrases.failed)


async def _say_prepared(turn: FilledTurn, phrase: Phrase, emotion: str) -> None:
    """Says a phrase made beforehand, if it is there."""
    conversation = turn.conversation
    prepared = conversation.services.spoken_apologies
    speech = prepared.speech(turn.language, phrase) if prepared is not None else ()
    if not speech:
        return
    text = apologies(turn.language).text(phrase)
    turn.fillers.append(text)
    try:
        with closing(conversation.services.encoders.open(conversation.downlink)) as encoder:
            async with (
                turn.speech.filler(text, emotion, emoji_for(emotion)) as play,
                aclosing(encoder.sentence(played(speech))) as frames,
            ):
                async for frame in frames:
                    await play(frame)
                for frame in await encoder.end():
                    await play(frame)
    except (AudioError, PlayoutError) as error:
        _log.warning("a phrase made beforehand can't be played: %s", error)
