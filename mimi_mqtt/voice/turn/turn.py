"""What is known of one turn while it runs, and what is kept of it: log line, metrics, record, dialogue."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, Literal

from prometheus_client import Counter, Histogram

from mimi_mqtt.store.conversations import TurnRecord
from mimi_mqtt.voice.answer.dialogue import Dialogue, Exchange, heard_part
from mimi_mqtt.voice.answer.preemptive import Guess
from mimi_mqtt.voice.answer.reply import Reply
from mimi_mqtt.voice.services import Spawn
from mimi_mqtt.voice.turn.barge_in import BargeIn
from mimi_mqtt.voice.turn.output import TurnOutput
from mimi_mqtt.voice.turn.timings import Stage, TurnTimings
from mimi_mqtt.voice.turn.tools import TurnTools
from mimi_mqtt.voice.turn.watchdog import Watchdog
from mimi_mqtt.voice.utterance.utterance import Listening
from mimi_mqtt.wire.messages import ListenMode

_log = logging.getLogger(__name__)

Kind = Literal["utterance", "wake word", "greeting", "announcement"]
Outcome = Literal[
    "running",
    "answered",
    "nothing heard",
    "continued",
    "stopped",
    "interrupted",
    "aborted",
    "stuck",
    "failed",
    "closed",
]

_turns: Final = Counter("mimi_turns_total", "Turns in which something was said.", ("kind", "outcome"))
_continued: Final = Counter(
    "mimi_continued_utterances_total",
    "Utterances that were taken for complete, went on before the answer was heard, and were answered whole.",
)
_stages: Final = Histogram(
    "mimi_turn_stage_seconds",
    "From the end of the user's speech to each stage of the turn; for tools how long they took.",
    ("stage",),
    buckets=(0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0),
)


class RunningTurn:
    """One turn. `now` is the loop's clock (s); without progress for `watchdog_s` the turn is stuck.

    With the outcome "continued" it was none: what was said is a part of the next.
    """

    def __init__(
        self,
        number: int,
        kind: Kind,
        mode: ListenMode | None,
        output: TurnOutput,
        tools: TurnTools,
        watchdog_s: float,
        language: str,
    ) -> None:
        self.number = number
        self.kind: Final = kind
        self.mode: Final = mode
        self.output = output
        self.tools: Final = tools
        self.language = language
        """What is said in it is in this language; the user's words may change it."""
        self.outcome: Outcome = "running"
        self.started_at = datetime.now(UTC)
        self._loop = asyncio.get_running_loop()
        self.timings = TurnTimings(self._loop.time())
        self.task: asyncio.Task[None] | None = None
        self.started = False
        """Whether `task` has run: one that is cancelled before never does."""
        self.listening: Listening | None = None
        """The utterance, in a turn that begins with one."""
        self.guess: Guess | None = None
        """An answer to the utterance so far, begun early."""
        self.guesses = 0
        self.paused = False
        """Whether the reply is silent because somebody may be speaking."""
        self.barge_in: BargeIn | None = None
        """What listens while this turn thinks and speaks."""
        self.company: asyncio.Task[None] | None = None
        """What says that the answer takes longer."""
        self.heard = ""
        """The user's words."""
        self.said = ""
        """What the user has heard in reply."""
        self.reply: Reply | None = None
        self.exchange: Exchange | None = None
        """What the dialogue keeps of it, once it is over."""
        self.learning: asyncio.Task[None] | None = None
        """What finds out the user's words, where they were not known by its end; bounded in time."""
        self.fillers: list[str] = []
        """What was said aloud beside the reply, while it was waited for."""
        self.watchdog: Final = Watchdog(watchdog_s, output)
        self._watchdog_s = watchdog_s

    def mark(self, stage: Stage) -> None:
        """`stage` is reached now."""
        self.timings.mark(stage, self._loop.time())

    def tools_ran(self, began: float) -> None:
        """A round of tool calls, begun at `began` (loop time, s), is over now."""
        self.timings.tools_ran(began, self._loop.time())

    def progress(self) -> None:
        """Something moved: the watchdog starts anew."""
        self.watchdog.progress()

    def await_answer(self, patience_s: float) -> None:
        """The user is done: the first sound of the reply is waited for no longer than `patience_s` from the
        end of the speech."""
        self.watchdog.give_up_at(self.timings.speech_end + patience_s)

    def fail(self) -> None:
        """An exception ended it, and is being handled: says why in `outcome` and in the log."""
        self.outcome = "failed"
        if self.watchdog.too_late:
            _log.warning("no answer in time (voice.patience_s), the turn is given up")
        elif self.watchdog.expired:
            self.outcome = "stuck"
            _log.error("nothing moved for %g s, the turn is ended", self._watchdog_s)
        else:
            _log.exception("the turn failed")

    @property
    def aloud(self) -> str:
        """What was said, the reply so far and beside it."""
        reply = self.reply.text if self.reply is not None else ""
        return " ".join([*self.fillers, self.said or reply])

    def drop_guess(self) -> None:
        """The early answer, if there is one, is not wanted."""
        guess, self.guess = self.guess, None
        if guess is not None:
            guess.drop()

    def adopt(self, guess: Guess) -> None:
        """The early answer is this turn's."""
        guess.output.follow(self.output)
        self.reply = guess.reply
        self.output = self.watchdog.output = guess.output
        self.timings.take(guess.timings)
        guess.timings = self.timings

    def judge(self) -> None:
        """The reply is over: whether it went well."""
        self.outcome = "failed" if self.reply is None or self.reply.failure else "answered"

    def pause(self) -> None:
        """Somebody speaks: silence for the time being, also of what has not begun."""
        self.paused = True
        self.watchdog.pause()  # nobody waits in silence
        if not self.output.begun:
            self.tools.hold()
        self.output.pause()

    def resume(self) -> None:
        """It was nothing: goes on from where it stopped."""
        self.paused = False
        self.watchdog.resume()
        self.tools.release()
        self.output.resume()

    @property
    def extensible(self) -> bool:
        """Whether what is said now may belong to the question: nothing has been done or heard in answer."""
        return (
            self.kind == "utterance"
            and self.listening is not None
            and self.listening.room_s > 0
            and not self.tools.acted
            and not self.output.begun
        )

    def continue_with(self, listening: Listening, spawn: Spawn) -> None:
        """`listening` is heard to go on with this turn's utterance, and takes it over."""
        if self.listening is not None:
            _continued.inc()
            listening.follow(self.listening, self.heard, spawn)
            self.listening = None

    def remember(self, dialogue: Dialogue, frame_ms: int) -> None:
        """Keeps in `dialogue` what was asked and how much of the reply was heard."""
        reply = self.reply
        if reply is None or self.outcome == "continued":
            return
        complete = self.outcome == "answered" and reply.failure is None and not reply.winding_down
        if not complete:
            reply.break_off()
        heard = heard_part(reply.spoken, self.output.frames_played, frame_ms)
        self.said = reply.text.strip() if complete else heard
        self.exchange = dialogue.add(self.heard, reply.rounds, self.said, complete)

    def let_go(self) -> None:
        """The turn is over and recorded: drops the parts that refer back to it, so that none of them waits
        for the garbage collector."""
        self.output.let_go()
        self.reply = self.listening = self.guess = self.barge_in = self.company = self.task = None

    @property
    def _eventful(self) -> bool:
        if self.outcome == "continued":
            return False
        return bool(self.heard or self.output.begun or self.outcome in ("stuck", "failed"))

    def keep(self, device_id: str, session_id: str, add: Callable[[TurnRecord], None]) -> None:
        """Has its record added, if there is any: at once, or when the user's words are known or can't be."""
        record = self.record(device_id, session_id)
        if record is None:
            return
        if self.learning is None:
            add(record)
        else:
            self.learning.add_done_callback(lambda _: add(replace(record, heard=self.heard)))

    def record(self, device_id: str, session_id: str) -> TurnRecord | None:
        """The turn for the store, counted and logged; None when nothing happened in it."""
        timings = self.timings.as_ms()
        if not self._eventful:
            _log.debug("turn %d: %s", self.number, self.outcome)
            return None
        _turns.labels(self.kind, self.outcome).inc()
        if self.kind == "utterance":
            for stage, ms in timings.items():
                _stages.labels(stage).observe(max(ms, 0.0) / 1000)
        stages = " ".join(f"{stage}={ms:.0f}" for stage, ms in timings.items())
        _log.info("turn %d, %s: %s; ms after speech: %s", self.number, self.kind, self.outcome, stages)
        return TurnRecord(
            session_id=session_id,
            device_id=device_id,
            number=self.number,
            started_at=self.started_at,
            mode=self.mode or "",
            heard=self.heard,
            reply=self.said,
            outcome=self.outcome,
            timings_ms=timings,
            tools_called=tuple(self.reply.tools_called) if self.reply is not None else (),
            kind=self.kind,
        )
