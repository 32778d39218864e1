"""Speech before a reply is over: play-out pauses at once, and goes on when it was nothing.

Whether it was something is decided by words: as soon as the recogniser has some, or else at the end of the
utterance. Noise has none, and an echo has ours. Before anything is heard of the reply there is no echo.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Final, Protocol

from prometheus_client import Counter

from mimi_mqtt.errors import ProviderError
from mimi_mqtt.voice.hearing.pool import HeardFrame
from mimi_mqtt.voice.turn.echo_guard import resembles, tokens
from mimi_mqtt.voice.utterance.endpointing import EndpointEvent, SpeechBegan
from mimi_mqtt.voice.utterance.utterance import Listening

_log = logging.getLogger(__name__)

_EARLY_WORDS: Final = 3
"""Interim text of so many words, and not ours, is somebody's: enough to be told from an echo."""

_barge_ins = Counter("mimi_barge_ins_total", "Speech during a reply, by what it turned out to be.", ("what",))


class PausableOutput(Protocol):
    """What is paused: `voice.turn_output.TurnOutput`."""

    def pause(self) -> None:
        """Silence for the time being."""

    def resume(self) -> None:
        """Goes on from where it stopped."""


class BargeIn:
    """Attends to one turn while it thinks and speaks; `close` it with the turn.

    `said` is what was heard so far. `interrupt` is called once, with the utterance that ends the turn; it
    belongs to the callee then. `progress` is called while the reply is paused, which is not being stuck.
    """

    def __init__(
        self,
        listen: Callable[[Callable[[EndpointEvent], None]], Listening],
        *,
        output: PausableOutput,
        said: Callable[[], str],
        interrupt: Callable[[Listening], None],
        progress: Callable[[], None],
        spawn: Callable[[Coroutine[None, None, None], str], asyncio.Task[None]],
    ) -> None:
        self._listen = listen
        self._output = output
        self._said = said
        self._interrupt = interrupt
        self._progress = progress
        self._began = asyncio.Event()
        self._given = False
        self._closed = False
        self._listening: Listening | None = listen(self._heard)
        self._task = spawn(self._attend(), "barge-in")

    def hear(self, frame: HeardFrame) -> None:
        """One frame of the uplink, echo taken out."""
        listening = self._listening
        if listening is None:
            return
        listening.hear(frame)
        if listening.began:
            self._progress()
            interim = listening.spoken.text
            said = self._said()
            if len(tokens(interim)) >= (_EARLY_WORDS if said else 1) and not resembles(interim, said):
                self._give(listening)

    @property
    def someone_speaks(self) -> bool:
        """Whether the reply is paused because somebody speaks."""
        return self._listening is not None and self._listening.began

    def reply_begins(self) -> None:
        """From now on there may be an echo."""
        if self._listening is not None:
            self._listening.reply_begins()

    def take(self) -> Listening | None:
        """What is being said, if somebody speaks: it is wanted, whatever it is. Then `close`."""
        listening = self._listening
        if listening is None or not self._began.is_set():
            return None
        self._given, self._listening = True, None
        return listening

    def close(self) -> Listening | None:
        """The turn is over. Returns what is not an utterance yet: whoever listens next goes on with it."""
        self._closed = True
        listening, self._listening = self._listening, None
        if self._task is not asyncio.current_task():
            self._task.cancel()
        return listening if listening is not None and not self._began.is_set() else None

    def _heard(self, event: EndpointEvent) -> None:
        if isinstance(event, SpeechBegan):
            self._output.pause()
            self._began.set()

    def _give(self, listening: Listening) -> None:
        _barge_ins.labels("speech").inc()
        self._given, self._listening = True, None
        self._interrupt(listening)

    async def _attend(self) -> None:
        while not self._closed:  # which a resumed reply may bring about
            await self._began.wait()
            listening = self._listening
            if listening is None:
                return
            try:
                await listening.until_over()
                if await self._means_something(listening):
                    self._give(listening)
                    return
            finally:
                if not self._given:
                    await listening.aclose()
            self._began.clear()
            self._listening = self._listen(self._heard)
            self._output.resume()

    async def _means_something(self, listening: Listening) -> bool:
        listening.close()
        try:
            text = (await listening.transcript()).text.strip()
        except ProviderError as error:
            _log.warning("what was said during the reply can't be understood: %s", error)
            return False
        self._progress()
        if not text:
            _barge_ins.labels("noise").inc()
            return False
        if resembles(text, self._said()):
            _barge_ins.labels("echo").inc()
            return False
        return True
