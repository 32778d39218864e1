"""Who listens while an answer is thought about and spoken, and what for.

Before anything is heard of the answer, whoever goes on speaking may be going on with the question: that is
heard in auto and in realtime mode. During the reply only realtime mode hears, where barge-in is possible.
"""

from collections.abc import Callable

from mimi_mqtt.config.settings import VoiceSettings
from mimi_mqtt.voice.hearing.stream import Uplink
from mimi_mqtt.voice.services import Spawn
from mimi_mqtt.voice.turn.barge_in import BargeIn
from mimi_mqtt.voice.turn.state import resumes
from mimi_mqtt.voice.turn.turn import RunningTurn
from mimi_mqtt.voice.utterance.endpointing import EndpointEvent
from mimi_mqtt.voice.utterance.utterance import Listening
from mimi_mqtt.wire.messages import ListenMode

Listen = Callable[[Callable[[EndpointEvent], None], float | None], Listening]
"""Begins to listen for whoever speaks; the float bounds what is heard, in seconds."""


class Attention:
    """One conversation's. `interrupt` is told which turn is over and what was said instead, or in addition;
    `progress` that a turn only waits for somebody to finish."""

    def __init__(
        self,
        voice: VoiceSettings,
        uplink: Uplink,
        listen: Listen,
        *,
        interrupt: Callable[[RunningTurn, Listening], None],
        progress: Callable[[RunningTurn], None],
        spawn: Spawn,
    ) -> None:
        self._voice = voice
        self._uplink = uplink
        self._listen = listen
        self._interrupt = interrupt
        self._progress = progress
        self._spawn = spawn

    def thinking(self, turn: RunningTurn, mode: ListenMode | None) -> None:
        """The utterance of `turn` seems to be over, and is going to be answered."""
        if self._interruptible(mode) or (resumes(mode) and turn.extensible):
            self._attend(turn)

    def speech_began(self, turn: RunningTurn, mode: ListenMode | None) -> None:
        """`turn` begins to be heard."""
        if not self._interruptible(mode):
            if turn.barge_in is not None:
                turn.barge_in.close()
                turn.barge_in = None
        elif turn.barge_in is None:
            self._attend(turn)
        else:
            turn.barge_in.reply_begins()

    def _interruptible(self, mode: ListenMode | None) -> bool:
        """Whether speech ends a reply that is being heard."""
        return mode == "realtime" and self._voice.barge_in_ms > 0 and not self._uplink.deaf

    def _attend(self, turn: RunningTurn) -> None:
        turn.barge_in = BargeIn(
            lambda on_event: self._overhear(turn, on_event),
            output=turn,
            said=lambda: turn.aloud if turn.output.begun else "",
            interrupt=lambda listening: self._interrupt(turn, listening),
            progress=lambda: self._progress(turn),
            spawn=self._spawn,
        )

    def _overhear(self, turn: RunningTurn, on_event: Callable[[EndpointEvent], None]) -> Listening:
        earlier = turn.listening
        listening = self._listen(on_event, earlier.room_s if earlier and turn.extensible else None)
        if turn.output.begun:
            listening.reply_begins()
        return listening
