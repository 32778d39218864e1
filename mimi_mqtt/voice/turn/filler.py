"""Nobody is left in silence: a word while an answer takes long, and an apology when none will come.

Both are phrases made beforehand, so that they need no provider, and both engines' turns have them.
"""

import asyncio
import logging
from contextlib import aclosing, closing
from typing import Final

from mimi_mqtt.errors import AudioError, PlayoutError
from mimi_mqtt.voice.answer.engine import Surroundings
from mimi_mqtt.voice.speech.emotions import emoji_for
from mimi_mqtt.voice.speech.phrases import Phrase, apologies
from mimi_mqtt.voice.speech.prepared import played
from mimi_mqtt.voice.turn.turn import RunningTurn

_log = logging.getLogger(__name__)

_APOLOGY_S: Final = 20.0
"""Time for what is being said to end, and for the apology."""


async def keep_company(around: Surroundings, turn: RunningTurn) -> None:
    """Says that it takes longer whenever nothing has been heard for `voice.filler_s`, each time after three
    times as long as before. Runs until it is cancelled, at the end of the turn."""
    if around.services.spoken_apologies is not None:
        around.services.spoken_apologies.prepare(turn.language)
    loop = asyncio.get_running_loop()
    patience_s = around.services.voice.filler_s
    since = turn.timings.speech_end
    while patience_s:
        await asyncio.sleep(since + patience_s - loop.time())
        output = turn.output
        if turn.outcome != "running":
            return  # an apology is on its way
        if turn.paused or (output.sounding and output.heard_until <= loop.time()):
            since = loop.time()
        elif output.heard_until > since:
            since = output.heard_until
        else:
            await _say(around, turn, "moment", "thinking")
            since = max(loop.time(), output.heard_until)
            patience_s *= 3


async def apologize(around: Surroundings, turn: RunningTurn) -> None:
    """The turn broke off: tells of it aloud, unless play-out itself is stuck, and on the screen."""
    output = turn.output
    output.release()
    if turn.outcome != "stuck":
        try:
            async with asyncio.timeout(_APOLOGY_S):
                await _say(around, turn, "failed", "sad")
                await output.finish_speech()
        except TimeoutError:
            _log.warning("the apology was not played within %g s", _APOLOGY_S)
        except PlayoutError as error:
            _log.warning("the apology was not played: %s", error)
    output.stop_speech()
    phrases = apologies(turn.language)
    output.show_alert(phrases.status, phrases.failed)


async def _say(around: Surroundings, turn: RunningTurn, phrase: Phrase, emotion: str) -> None:
    ready = around.services.spoken_apologies
    speech = ready.speech(turn.language, phrase) if ready is not None else ()
    if not speech:
        return
    text = apologies(turn.language).text(phrase)
    turn.fillers.append(text)
    try:
        with closing(around.services.encoders.open(around.downlink)) as encoder:
            async with (
                turn.output.aside(text, emotion, emoji_for(emotion)) as play,
                aclosing(encoder.sentence(played(speech))) as frames,
            ):
                async for frame in frames:
                    await play(frame)
                for frame in await encoder.end():
                    await play(frame)
    except (AudioError, PlayoutError) as error:
        _log.warning("what was made beforehand can't be played: %s", error)
