"""Preemptive reply: an answer begun at a first, short silence and held until the utterance is surely over.

It transcribes the utterance so far and lets the model begin. Its output is held, and its tools wait. If the
speaker goes on it is dropped and nothing of it reaches the device; if not, the answer is already under way.
"""

import asyncio
import logging
from typing import Final

from prometheus_client import Counter

from mimi_mqtt.errors import ProviderError
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.runtime.usage import metering
from mimi_mqtt.voice.answer.context import ReplyOutput, ReplyTools, TurnContext
from mimi_mqtt.voice.answer.pipeline.reply import PipelineReply
from mimi_mqtt.voice.language.words import tokens
from mimi_mqtt.voice.utterance.utterance import UserUtterance

_log = logging.getLogger(__name__)

MAX_PREEMPTIVE_REPLIES: Final = 4
"""Preemptive replies to one utterance; further pauses begin none."""

_replies = Counter(
    "mimi_preemptive_replies_total",
    "Replies begun before the utterance was known to be over, by outcome.",
    ("outcome",),
)


class _HeldContext(TurnContext):
    """Context of a preemptive reply: its own output and tools, held, and its own timings."""

    def __init__(self, turn: TurnContext) -> None:
        output, tools = turn.hold()
        super().__init__(turn.conversation, output, tools, mode=turn.mode, language=turn.language)
        self._of = turn
        self.confirmed_at: float | None = None
        """Time at which it became the turn's reply (loop time, s)."""

    def forget_reply(self, _task: "asyncio.Task[None]") -> None:
        """Lets go of the reply, which refers to this context: called when nothing works on it any more."""
        self.reply = None

    def progress(self) -> None:
        """Counts for the turn only once the reply is the turn's."""
        if self.confirmed_at is not None:
            self._of.progress()

    def hold(self) -> tuple[ReplyOutput, ReplyTools]:
        """As the turn does it."""
        return self._of.hold()

    def adopt(self, held: TurnContext) -> None:
        """As the turn does it."""
        self._of.adopt(held)

    def echoed(self, text: str, began_at: float) -> bool:
        """As the turn judges it."""
        return self._of.echoed(text, began_at)

    def tools_ran(self, began: float) -> None:
        """The time that tools waited for the decision does not count."""
        self.timings.tools_ran(max(began, self.confirmed_at or 0.0), self._loop.time())

    def tool_ran(self, name: str, began: float, failed: bool) -> None:
        """Nor does it for a single one."""
        super().tool_ran(name, max(began, self.confirmed_at or 0.0), failed)


class PreemptiveReply:
    """One reply to `utterance` so far. It runs from the beginning; end it with `confirm` or `drop`."""

    def __init__(self, turn: TurnContext, utterance: UserUtterance) -> None:
        self.turn: Final = turn
        self._context = _HeldContext(turn)
        self._utterance = utterance
        self._transcript: Transcript | None = None
        self._transcribed = asyncio.Event()
        with metering(turn.usage):  # also what is dropped was paid for
            self._task = turn.conversation.spawn(self._run(), "preemptive")
        self._task.add_done_callback(_report)

    async def transcript(self) -> Transcript | None:
        """The transcript, as soon as it is known; None when there is none.

        It is not `final` when it may yet become more.
        """
        await self._transcribed.wait()
        return self._transcript

    def answers(self, text: str, language: str) -> bool:
        """True when it is an answer to `text` in `language`, and has not failed."""
        context = self._context
        if self._transcript is None or context.reply is None or context.reply.failure is not None:
            return False
        return context.language == language and tokens(self._transcript.text) == tokens(text)

    def outdated(self, interim: str) -> bool:
        """True when the recogniser has since understood something else."""
        transcript = self._transcript
        return transcript is not None and not transcript.final and tokens(transcript.text) != tokens(interim)

    async def confirm(self) -> None:
        """Makes it the turn's reply, lets it be heard unless the turn is paused, and waits for its end."""
        _replies.labels("right").inc()
        context = self._context
        context.confirmed_at = asyncio.get_running_loop().time()
        self.turn.adopt(context)
        context.reply = None  # the turn's from now on; it refers to its context
        context.tools.release()
        if not self.turn.paused:
            context.output.release()
        await self._task

    def drop(self) -> None:
        """Drops it as wrong, or not wanted any more. Safe after its end."""
        if self._context.confirmed_at is None and not self._context.output.closed:
            _replies.labels("wrong").inc()
            self._context.output.close()
        self._task.cancel()
        self._task.add_done_callback(self._context.forget_reply)

    async def _run(self) -> None:
        context, conversation = self._context, self.turn.conversation
        try:
            self._transcript = await self._utterance.so_far()
        except ProviderError as error:
            _log.info("no preemptive reply: %s", error)
            return
        finally:
            self._transcribed.set()
        if text := self._transcript.text.strip():
            context.mark("transcript")
            context.language = await conversation.language.of(text, self._transcript.language)
            reply = context.reply = PipelineReply(context)
            await reply.answer(conversation.messages(text, context.language, self._transcript.emotion))


def _report(task: asyncio.Task[None]) -> None:
    # Nobody awaits a dropped reply; one that is confirmed raises in its turn as well.
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("a preemptive reply failed", exc_info=error)
