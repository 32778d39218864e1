"""One turn as a handle: start, wait, pause, resume, cancel. Only the turn itself changes its state."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, Protocol

from prometheus_client import Counter

from mimi_mqtt.events import TurnStage
from mimi_mqtt.log import log_context
from mimi_mqtt.providers.runtime.usage import metering
from mimi_mqtt.voice.answer.context import ConversationContext, Outcome, ReplyOutput, ReplyTools, TurnContext
from mimi_mqtt.voice.answer.dialogue import heard_part
from mimi_mqtt.voice.ports import Announcement
from mimi_mqtt.voice.timings import Stage
from mimi_mqtt.voice.turn import failures
from mimi_mqtt.voice.turn.echo_guard import EchoGuard
from mimi_mqtt.voice.turn.filler import Filler, apologize
from mimi_mqtt.voice.turn.interruption import BargeIn
from mimi_mqtt.voice.turn.output import TurnOutput
from mimi_mqtt.voice.turn.record import Kind, record
from mimi_mqtt.voice.turn.tools import ToolGate
from mimi_mqtt.voice.turn.watchdog import Watchdog
from mimi_mqtt.voice.utterance.utterance import UserUtterance
from mimi_mqtt.wire.messages import ListenMode

_log = logging.getLogger(__name__)

_continued: Final = Counter(
    "mimi_continued_utterances_total",
    "Utterances that were taken for complete, went on before the answer was heard, and were answered whole.",
)


class TurnHost(Protocol):
    """The interface of a turn to its conversation."""

    def turn_progressed(self) -> None:
        """The user or the assistant did something."""

    def turn_spoke(self, turn: "Turn") -> None:
        """`tts start` went out."""

    def turn_finished(self, turn: "Turn", *, cancelled: bool) -> None:
        """The turn's work is over without `cancel`: ends it by `conclude`, and what follows begins.

        `cancelled`: its task was cancelled from outside, so that nothing follows.
        """


class Turn(TurnContext):
    """One turn of a conversation. Its work runs in a task from `start` to its end, or to `cancel`."""

    def __init__(
        self,
        conversation: ConversationContext,
        host: TurnHost,
        number: int,
        kind: Kind,
        mode: ListenMode | None,
        echo_guard: EchoGuard,
    ) -> None:
        self._host: TurnHost | None = host
        self._frame_ms = conversation.downlink.frame_ms
        self.speech = TurnOutput(conversation.output, self._began_to_speak, self._frame_ms)
        """The turn's output, as `output` is for its answer."""
        self._gate = ToolGate(conversation.tools)
        language = conversation.language.current
        super().__init__(conversation, self.speech, self._gate, mode=mode, language=language)
        self.number = number
        self.timings.reached = self._tell_stage
        self.kind: Kind = kind
        self.started_at = datetime.now(UTC)
        self.barge_in: BargeIn | None = None
        """Listens while this turn thinks and speaks."""
        self.fillers: list[str] = []
        """Texts said aloud beside the reply."""
        self.said = ""
        """The part of the reply that the user has heard, once the turn is over."""
        self.announcement: Announcement | None = None
        """The announcement that the turn is for."""
        self.over = False
        """True when `conclude` was called."""
        self.error = ""
        """Kind of a failure that no provider is to blame for (`voice.turn.failures`)."""
        self._echo_guard = echo_guard
        self._watchdog = Watchdog(conversation.services.session.watchdog_s, self.speech)
        self._filler: Filler | None = None
        self._task: asyncio.Task[None] | None = None
        self._running = False  # a task that is cancelled before never does

    # ── the handle ───────────────────────────────────────────────────────────────────────────────────────

    def start(self, work: Callable[[], Awaitable[None]]) -> None:
        """Runs `work` to its end; whatever happens inside ends this turn, and only this."""
        self._task = self.conversation.spawn(self._run(work), str(self.number))

    @property
    def started(self) -> bool:
        """True when `start` was called."""
        return self._task is not None

    async def wait(self, within_s: float | None = None) -> None:
        """Returns when the turn and its clean-up are over, or after `within_s`."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=within_s)

    def cancel(self, outcome: Outcome) -> UserUtterance | None:
        """Concludes the turn with `outcome`, at once; its task may still be cleaning up afterwards.

        Returns what was heard over it and is not an utterance yet.
        """
        self.outcome = outcome
        overheard = self.conclude()
        if self._task is None:
            if self.utterance is not None:
                self.conversation.spawn(self.utterance.aclose(), "close")
            self._let_go()
        elif self._running:  # else it has nothing to do but to clean up
            self._task.cancel()
        return overheard

    def conclude(self) -> UserUtterance | None:
        """Ends the turn for the device and the dialogue; see `cancel` for what it returns."""
        self.over = True
        self._host = None
        self.mark("stop")
        if self._filler is not None:
            self._filler.cancel()
        overheard = self.barge_in.close() if self.barge_in is not None else None
        self.speech.close()
        self._remember()
        if self.speech.begun:
            self._echo_guard.said(self._aloud, self._loop.time())
        return overheard

    def pause(self) -> None:
        """Pauses the reply, also one that has not begun: a user may be speaking."""
        self.paused = True
        self._watchdog.pause()
        if not self.speech.begun:
            self._gate.hold()
        self.speech.pause_speech()

    def resume(self) -> None:
        """Continues the reply after `pause`."""
        self.paused = False
        self._watchdog.resume()
        self._gate.release()
        self.speech.resume_speech()

    def wind_down(self) -> None:
        """Ends the reply with the sentence that is being spoken."""
        if self.reply is not None:
            self.reply.winding_down = True

    # ── for the conversation ─────────────────────────────────────────────────────────────────────────────

    def await_answer(self) -> None:
        """The user is done: the first sound of the reply is waited for no longer than `voice.patience_s` from
        the end of the speech, and fillers begin."""
        ended_at = self.timings.speech_end
        self._watchdog.give_up_at(ended_at + self.services.voice.patience_s)
        self._filler = Filler(self, ended_at)

    @property
    def asked(self) -> bool:
        """True when somebody surely asked something: words are known, or a button was held; or when that
        can't be known yet because speech to text has others before it."""
        if self.heard or self.mode == "manual" or self.kind != "utterance" or self.utterance is None:
            return True
        return bool(self.utterance.spoken.text) or self.services.stt.busy

    @property
    def extensible(self) -> bool:
        """True when what is said now may belong to the question: nothing has been done or heard in answer."""
        return (
            self.kind == "utterance"
            and self.utterance is not None
            and self.utterance.room_s > 0
            and not self._gate.acted
            and not self.speech.begun
        )

    def continue_with(self, utterance: UserUtterance) -> None:
        """Makes this turn's utterance the earlier part of `utterance`."""
        if self.utterance is not None:
            _continued.inc()
            utterance.follow(self.utterance, self.heard, self.conversation.spawn)
            utterance.usage.take(self.utterance.usage)
            utterance.usage.take(self.usage)
            self.utterance = None

    @property
    def audible(self) -> str:
        """Text said aloud, which may come back as an echo; empty while nothing was heard."""
        return self._aloud if self.speech.begun else ""

    # ── for its answer ───────────────────────────────────────────────────────────────────────────────────

    def progress(self) -> None:
        """Something moved: the watchdog starts anew."""
        if self._host is not None:
            self._host.turn_progressed()
        self._watchdog.progress()

    def hold(self) -> tuple[ReplyOutput, ReplyTools]:
        """A held output and held tools for a preemptive reply."""
        output = TurnOutput(self.conversation.output, self._began_to_speak, self._frame_ms, held=True)
        return output, ToolGate(self._gate, held=True)

    def adopt(self, held: TurnContext) -> None:
        """Makes a preemptive reply this turn's."""
        output = held.output
        if not isinstance(output, TurnOutput):
            raise TypeError("a held output is a TurnOutput")
        output.follow(self.speech)
        self.output = self.speech = self._watchdog.output = output
        self.reply = held.reply
        self.timings.take(held.timings)
        held.timings = self.timings

    def echoed(self, text: str, began_at: float) -> bool:
        """True when `text`, spoken from `began_at` (loop time, s), is an echo of the last reply."""
        return self._echo_guard.repeats(text, began_at)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _aloud(self) -> str:
        reply = self.reply.text if self.reply is not None else ""
        return " ".join([*self.fillers, self.said or reply])

    def _tell_stage(self, stage: Stage, ms: float) -> None:
        conversation, events = self.conversation, self.services.events
        if not events.wanted(TurnStage):
            return
        events.publish(
            TurnStage(
                device_id=conversation.device_id,
                session_id=conversation.session_id,
                number=self.number,
                stage=stage,
                ms=ms,
            )
        )

    def _began_to_speak(self) -> None:
        self.mark("speech")
        if self._host is not None:
            self._host.turn_spoke(self)

    async def _run(self, work: Callable[[], Awaitable[None]]) -> None:
        with log_context(turn=str(self.number)), metering(self.usage):
            cancelled = False
            self._running = True
            try:
                try:
                    if not self.over:
                        async with self._watchdog:
                            await work()
                finally:
                    await self._close_utterance()
            except asyncio.CancelledError:
                cancelled = True
                raise
            except Exception:  # noqa: BLE001 - the border of one turn
                if self.over:  # its outcome stands, and nobody would hear an apology
                    _log.exception("a turn that was %s failed afterwards", self.outcome)
                else:
                    self._fail()
                    await apologize(self, aloud=self.outcome != "stuck")
            finally:
                if self._host is not None:
                    self._host.turn_finished(self, cancelled=cancelled)
                self._keep()
                self._let_go()

    async def _close_utterance(self) -> None:
        """Ends the transcription. A fault in it is logged and does not change how the turn ended."""
        if self.utterance is None:
            return
        try:
            await self.utterance.aclose()
        except Exception:  # noqa: BLE001 - the border of one turn
            _log.exception("the transcription of a turn could not be closed")

    def _fail(self) -> None:
        """An exception is being handled: says why in `outcome` and in the log."""
        self.outcome = "failed"
        if self._filler is not None:
            self._filler.end()
        self.error = failures.INTERNAL
        if self._watchdog.too_late:
            self.error = failures.TOO_LATE
            _log.warning("no answer in time (voice.patience_s), the turn is given up")
        elif self._watchdog.expired:
            self.outcome, self.error = "stuck", failures.STUCK
            _log.error("nothing moved for %g s, the turn is ended", self.services.session.watchdog_s)
        else:
            _log.exception("the turn failed")

    def _remember(self) -> None:
        """Keeps in the dialogue what was asked and how much of the reply was heard."""
        reply = self.reply
        if reply is None or self.outcome == "continued":
            return
        complete = self.outcome == "answered" and reply.failure is None and not reply.winding_down
        if not complete:
            reply.break_off()
        heard = heard_part(reply.spoken, self.speech.frames_played, self._frame_ms)
        self.said = reply.text.strip() if complete else heard
        self.exchange = self.conversation.dialogue.add(self.heard, reply.rounds, self.said, complete)

    def _keep(self) -> None:
        """Has the turn's record stored: at once, or when the user's words are known or can't be."""
        kept = record(
            self,
            number=self.number,
            kind=self.kind,
            started_at=self.started_at,
            said=self.said,
            spoke=self.speech.begun,
            error=self.error,
            spoken_s=self.speech.frames_played * self._frame_ms / 1000,
        )
        add = self.services.log.add_turn
        if kept is not None and self.learning is None:
            add(kept)
        elif kept is not None and self.learning is not None:
            self.learning.add_done_callback(lambda _: add(replace(kept, heard=self.heard)))

    def _let_go(self) -> None:
        """Drops what refers back to the turn, so that no cycle of references is left for the collector."""
        self.reply = self.utterance = self.barge_in = self._filler = None
        self.timings.reached = None
