"""Interruption of a turn: when a user may speak over it, and how speech is told from noise and echo.

Speech pauses play-out at once. Words decide whether it was something: as soon as the recogniser has some, or
else at the end of the utterance. Noise has none, and an echo has ours; before anything is heard of the reply
there is no echo.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

from prometheus_client import Counter

from mimi_mqtt.config.voice import VoiceSettings
from mimi_mqtt.errors import ProviderError
from mimi_mqtt.voice.hearing.stream import UplinkStream
from mimi_mqtt.voice.language.words import resembles, tokens
from mimi_mqtt.voice.ports import HeardFrame, Spawn
from mimi_mqtt.voice.turn.state import resumes
from mimi_mqtt.voice.utterance.endpointing import EndpointEvent, SpeechBegan, UtteranceEnded
from mimi_mqtt.voice.utterance.utterance import UserUtterance
from mimi_mqtt.wire.messages import ListenMode

_log = logging.getLogger(__name__)

_EARLY_WORDS: Final = 3
"""Interim words, other than ours, that are enough to tell speech from an echo."""

_barge_ins = Counter("mimi_barge_ins_total", "Speech during a reply, by what it turned out to be.", ("what",))


class InterruptionPolicy:
    """Rules for listening during an answer.

    Before anything is heard of the answer the user may be going on with the question: that is listened for in
    auto and in realtime mode. During the reply only realtime mode listens, where barge-in is possible.
    """

    def __init__(self, voice: VoiceSettings, uplink: UplinkStream) -> None:
        self._voice = voice
        self._uplink = uplink

    def while_thinking(self, mode: ListenMode | None, *, extensible: bool) -> bool:
        """True when to listen while an answer is thought about; `extensible`: the question may go on."""
        return self.while_speaking(mode) or (resumes(mode) and extensible)

    def while_speaking(self, mode: ListenMode | None) -> bool:
        """True when speech ends a reply that is being heard."""
        return mode == "realtime" and self._voice.barge_in_ms > 0 and not self._uplink.half_duplex


class InterruptedTurn(Protocol):
    """The interface of a turn to its interruption (`voice.turn.turn.Turn`)."""

    @property
    def audible(self) -> str:
        """Text said aloud, which may come back as an echo; empty while nothing was heard."""

    def progress(self) -> None:
        """A turn that waits for a speaker is not stuck."""

    def pause(self) -> None:
        """Pauses the reply."""

    def resume(self) -> None:
        """Continues the reply."""


class BargeIn:
    """Listens while one turn thinks and speaks; `close` it with the turn.

    `listen` begins an utterance for a listener of its events. `interrupt` is called once, with the utterance
    that ends the turn, which belongs to the callee then.
    """

    def __init__(
        self,
        turn: InterruptedTurn,
        listen: Callable[[Callable[[EndpointEvent], None]], UserUtterance],
        interrupt: Callable[[UserUtterance], None],
        spawn: Spawn,
    ) -> None:
        self._turn = turn
        self._listen = listen
        self._interrupt = interrupt
        self._spawn = spawn
        self._deciding: asyncio.Task[None] | None = None
        self._given = False
        self._utterance: UserUtterance | None = listen(self._heard)

    def hear(self, frame: HeardFrame) -> None:
        """Takes a frame of the uplink, echo taken out."""
        utterance = self._utterance
        if utterance is None:
            return
        utterance.hear(frame)
        if utterance.in_progress:
            self._turn.progress()
            interim = utterance.spoken.text
            audible = self._turn.audible
            if len(tokens(interim)) >= (_EARLY_WORDS if audible else 1) and not resembles(interim, audible):
                self._give(utterance)

    @property
    def someone_speaks(self) -> bool:
        """True when the reply is paused because somebody speaks."""
        return self._utterance is not None and self._utterance.in_progress

    def reply_begins(self) -> None:
        """From now on an echo of the reply may be heard."""
        if self._utterance is not None:
            self._utterance.reply_begins()

    def take(self) -> UserUtterance | None:
        """The utterance of a speaker, if somebody speaks, to be answered whatever it is. Then `close`."""
        utterance = self._utterance
        if utterance is None or not utterance.began:
            return None
        self._given, self._utterance = True, None
        return utterance

    def close(self) -> UserUtterance | None:
        """Ends it with the turn. Returns what is not an utterance yet, for the next one to go on with."""
        utterance, self._utterance = self._utterance, None
        if self._deciding is not None and self._deciding is not asyncio.current_task():
            self._deciding.cancel()
        if utterance is None or not utterance.began:
            return utterance
        if self._deciding is None:
            self._spawn(utterance.aclose(), "unwanted")
        return None

    def _heard(self, event: EndpointEvent) -> None:
        match event:
            case SpeechBegan():
                self._turn.pause()
            case UtteranceEnded() if self._utterance is not None and self._deciding is None:
                self._deciding = self._spawn(self._decide(self._utterance), "barge-in")

    def _give(self, utterance: UserUtterance) -> None:
        _barge_ins.labels("speech").inc()
        self._given, self._utterance = True, None
        self._interrupt(utterance)

    async def _decide(self, utterance: UserUtterance) -> None:
        """Interrupts the turn if `utterance`, which is over, means something; else continues it."""
        try:
            if await self._means_something(utterance) and self._utterance is utterance:
                self._give(utterance)
                return
        finally:
            if not self._given:
                await utterance.aclose()
        if self._utterance is utterance:  # else the turn is over
            self._deciding = None
            self._utterance = self._listen(self._heard)
            self._turn.resume()

    async def _means_something(self, utterance: UserUtterance) -> bool:
        utterance.close()
        try:
            text = (await utterance.transcript()).text.strip()
        except ProviderError as error:
            _log.warning("what was said during the reply can't be understood: %s", error)
            return False
        except Exception:  # noqa: BLE001 - the border of one interruption: the reply must not stay paused
            _log.exception("transcribing an interruption failed; the reply goes on")
            return False
        self._turn.progress()
        if not text:
            _barge_ins.labels("noise").inc()
            return False
        if resembles(text, self._turn.audible):
            _barge_ins.labels("echo").inc()
            return False
        return True
