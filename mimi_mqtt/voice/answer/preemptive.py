"""An answer begun on a guess: at a first, short silence, unheard and without effects until it is confirmed.

The guess listens to the utterance so far and lets the model begin. Its output is held, and its tools wait. If
the speaker goes on it is dropped and nobody has heard of it; if not, the answer is already under way.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from prometheus_client import Counter

from mimi_mqtt.errors import ProviderError
from mimi_mqtt.providers.contract.chat import ChatMessage, ToolSpec
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.voice.answer.pipeline import PipelineReply
from mimi_mqtt.voice.language.spoken import SpokenLanguage
from mimi_mqtt.voice.services import Tools
from mimi_mqtt.voice.turn.echo_guard import tokens
from mimi_mqtt.voice.turn.output import TurnOutput
from mimi_mqtt.voice.turn.timings import Stage, TurnTimings
from mimi_mqtt.voice.utterance.utterance import Listening

_log = logging.getLogger(__name__)

MAX_GUESSES: Final = 4
"""Guesses in one utterance: whoever pauses more often is answered at the end only."""

_guesses = Counter("mimi_eager_guesses_total", "Answers begun before the decision, by outcome.", ("outcome",))


class HeldTools:
    """Tools whose calls wait for `release`: so far nobody knows whether the guess was right."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._released = asyncio.Event()

    def specs(self) -> tuple[ToolSpec, ...]:
        """As ever: being told of a tool has no effect."""
        return self._tools.specs()

    async def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Waits for the decision, then calls. Raises ToolError."""
        await self._released.wait()
        return await self._tools.call(name, arguments)

    def release(self) -> None:
        """The guess was right."""
        self._released.set()


class Guess:
    """One answer begun on a guess. It runs from the beginning; end it with `confirm` or `drop`."""

    def __init__(
        self,
        listening: Listening,
        *,
        output: TurnOutput,
        tools: Tools,
        reply: Callable[["Guess"], PipelineReply],
        messages: Callable[[str, str], list[ChatMessage]],
        language: SpokenLanguage,
        progress: Callable[[], None],
        spawn: Callable[[Coroutine[None, None, None], str], asyncio.Task[None]],
    ) -> None:
        self.output = output
        """Held until the guess is confirmed."""
        self.tools = HeldTools(tools)
        self._listening = listening
        self._new_reply = reply
        self._messages = messages
        self._spoken = language
        self.language = language.current
        """Of what was understood, and of the answer."""
        self._progress = progress
        self._loop = asyncio.get_running_loop()
        self.timings = TurnTimings(self._loop.time())
        """When its own stages were reached."""
        self.reply: PipelineReply | None = None
        """The answer, once there is something to answer."""
        self.transcript: Transcript | None = None
        """What was understood; not `final` when it may yet become more."""
        self._understood = asyncio.Event()
        self._confirmed = False
        self._confirmed_at = 0.0
        self._task = spawn(self._run(), "guess")
        self._task.add_done_callback(_report)

    def mark(self, stage: Stage) -> None:
        """A stage of the answer was reached."""
        self.timings.mark(stage, self._loop.time())

    def tools_ran(self, began: float) -> None:
        """A round of tool calls is over; what they waited for the decision does not count."""
        self.timings.tools_ran(max(began, self._confirmed_at), self._loop.time())

    def progress(self) -> None:
        """Something moved; the turn's watchdog cares only once the guess is the turn's answer."""
        if self._confirmed:
            self._progress()

    async def understood(self) -> Transcript | None:
        """What was understood, as soon as that is known; None when it could not be."""
        await self._understood.wait()
        return self.transcript

    def answers(self, text: str, language: str) -> bool:
        """Whether it is an answer to `text` in `language`, and still a good one."""
        if self.transcript is None or self.reply is None or self.reply.failure is not None:
            return False
        if self.language != language:
            return False
        return tokens(self.transcript.text) == tokens(text)

    def stale(self, interim: str) -> bool:
        """Whether the recogniser has since understood something else."""
        transcript = self.transcript
        return transcript is not None and not transcript.final and tokens(transcript.text) != tokens(interim)

    async def confirm(self, *, quiet: bool = False) -> None:
        """It was right: lets it be heard, unless `quiet`, and waits for its end."""
        _guesses.labels("right").inc()
        self._confirmed = True
        self._confirmed_at = self._loop.time()
        self.tools.release()
        if not quiet:
            self.output.release()
        await self._task

    def drop(self) -> None:
        """It was wrong, or is not wanted any more. Safe after its end."""
        if not self._confirmed and not self.output.closed:
            _guesses.labels("wrong").inc()
            self.output.close()
        self._task.cancel()

    async def _run(self) -> None:
        try:
            self.transcript = await self._listening.guess()
        except ProviderError as error:
            _log.info("no eager answer: %s", error)
            return
        finally:
            self._understood.set()
        if text := self.transcript.text.strip():
            self.mark("transcript")
            self.language = await self._spoken.of(text, self.transcript.language)
            self.reply = self._new_reply(self)
            await self.reply.answer(self._messages(text, self.language))


def _report(task: asyncio.Task[None]) -> None:
    # Nobody awaits a dropped guess; one that is confirmed raises in its turn as well.
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("an eager answer failed", exc_info=error)
