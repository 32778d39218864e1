"""A speech-to-speech service as an engine, with the pipeline behind it: when the service fails, it answers.

The service is connected to when the device listens, and left when nobody says anything for long. Whatever it
has not heard (an answer of the pipeline's, a time without connection) it learns from the dialogue's history.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, aclosing
from functools import partial
from typing import Final

from prometheus_client import Counter

from mimi_mqtt.errors import ProviderError, ProviderTimeout
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.runtime.realtime.provider import (
    S2sEvent,
    SpeechSession,
    SpeechSetup,
    SpeechToSpeech,
    SpeechUtterance,
)
from mimi_mqtt.voice.answer.engine import Engine, Surroundings
from mimi_mqtt.voice.answer.pipeline_engine import PipelineEngine
from mimi_mqtt.voice.answer.realtime.alignment import USUAL_PACE_MS
from mimi_mqtt.voice.answer.realtime.reply import SpokenReply
from mimi_mqtt.voice.language.languages import voice_for
from mimi_mqtt.voice.turn.turn import RunningTurn
from mimi_mqtt.voice.utterance.transcription import Utterance
from mimi_mqtt.voice.utterance.utterance import Listening

_log = logging.getLogger(__name__)

_SHARE_OF_PATIENCE: Final = 1 / 3
"""For so much of `voice.patience_s` the service may be silent; the rest is for the pipeline."""
_SHARE_TO_SAY: Final = 1 / 10
"""When it is only to say something, which text to speech can do as well."""

_fallbacks = Counter(
    "mimi_speech_to_speech_fallbacks_total", "Answers by the pipeline because the service failed.", ("name",)
)


def choose_engine(around: Surroundings) -> Engine:
    """The engine that the configuration asks for."""
    service = around.services.s2s
    return PipelineEngine(around) if service is None else SpeechEngine(service, around)


class ServiceUtterance(Utterance):
    """An utterance on its way to a session with the service."""

    def __init__(self, session: SpeechSession, max_s: float) -> None:
        super().__init__(partial(session.open, max_s=max_s), session.capabilities)
        self.session = session
        """Who hears it."""
        self.closed = False

    def speech(self) -> SpeechUtterance:
        """All of it, as the service was given it. Raises ProviderError when it could not begin to hear."""
        whole = self.whole()
        if not isinstance(whole, SpeechUtterance):
            raise TypeError("a session with a service opens SpeechUtterances")
        whole.end()
        return whole

    async def answer(self) -> AsyncGenerator[S2sEvent, None]:
        """The service's answer to it. Raises ProviderError."""
        async with aclosing(self.session.answer(self.speech())) as events:
            async for event in events:
                yield event

    async def aclose(self) -> None:
        """The service forgets it unless it has answered it."""
        self.closed = True
        await super().aclose()


class SpeechEngine:
    """See `engine.Engine`."""

    def __init__(self, service: SpeechToSpeech, around: Surroundings) -> None:
        self._service = service
        self._around = around
        self._pipeline = PipelineEngine(around)
        self._loop = asyncio.get_running_loop()
        self._session: SpeechSession | None = None
        self._language = ""  # of the session
        self._utterance: ServiceUtterance | None = None
        self._replying = 0
        self._leaving: asyncio.TimerHandle | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._unreachable = False
        self._learning: set[asyncio.Task[None]] = set()
        self._pace_ms = USUAL_PACE_MS
        self._closed = False

    @property
    def guesses(self) -> bool:
        """Only while the pipeline answers: a guess at the service would cost as much as an answer."""
        return not self._usable and self._pipeline.guesses

    @property
    def _usable(self) -> bool:
        return self._service.health.ready and not self._unreachable and not self._closed

    def prepare(self) -> None:
        """Connects, so that the first utterance does not wait for it."""
        if self._service.health.ready and not self._closed:
            self._unreachable = False
            session = self._open()
            if not session.connected and self._connecting is None:
                self._connecting = self._around.spawn(self._connect(session), "connect")
                self._connecting.add_done_callback(self._connected)
            self._stay()

    def hear(self) -> Utterance:
        """By the service, or while that rests by the pipeline, which then answers too."""
        if not self._usable:
            return self._pipeline.hear()
        around = self._around
        self._utterance = ServiceUtterance(self._open(), around.max_utterance_s)
        self._stay()
        return self._utterance

    def begin_guess(self, turn: RunningTurn, listening: Listening) -> None:
        """Only of what the pipeline hears."""
        if not isinstance(listening.utterance, ServiceUtterance):
            self._pipeline.begin_guess(turn, listening)

    async def understand(self, turn: RunningTurn, listening: Listening) -> None:
        """Who has heard it answers."""
        utterance = listening.utterance
        if not isinstance(utterance, ServiceUtterance):
            await self._pipeline.understand(turn, listening)
            if turn.reply is not None:
                self._leave()
            return
        reply = self._reply(turn, utterance.session)
        async with asyncio.TaskGroup() as tasks:
            # First the words: those of an utterance that has interrupted are known already.
            learning = tasks.create_task(self._learn(turn, listening), name="reply-learn")
            answering = tasks.create_task(self._converse(reply, utterance.answer()), name="reply-follow")
            await asyncio.wait([learning, answering], return_when=asyncio.FIRST_COMPLETED)
            if learning.done() and not learning.result():
                answering.cancel()
            await asyncio.wait([answering])
            learning.cancel()
        if answering.cancelled():
            await self._withdraw(turn, reply, utterance)
        elif reply.silent and turn.mode != "manual":
            # It holds that nobody has talked to it, or that more is to come: so the device goes on listening.
            self._around.end_unanswered(turn)
        elif reply.given_up:
            self._give_way(reply)
            if turn.heard:  # whose language may not have been told any more
                await self._around.follow_language(turn, None)
            recording = utterance.speech().recording
            await self._pipeline.take_over(turn, listening, recording, reply)
            self._leave()
        else:
            turn.judge()

    async def answer(self, turn: RunningTurn) -> None:
        """A written question."""
        if self._usable:
            session = self._open()
            reply = self._reply(turn, session)
            await self._converse(reply, session.ask(turn.heard))
            if not reply.given_up:
                turn.judge()
                return
            self._give_way(reply)
            await self._pipeline.answer(turn, instead_of=reply)
        else:
            await self._pipeline.answer(turn)
        self._leave()

    async def say(self, turn: RunningTurn, text: str) -> None:
        """In the service's voice."""
        if self._usable:
            session = self._open()
            reply = self._reply(turn, session)
            await self._converse(reply, session.say(text), words=text)
            if not reply.given_up:
                turn.judge()
                return
            self._give_way(reply)
        await self._pipeline.say(turn, text)
        self._leave()

    def concluded(self, turn: RunningTurn) -> None:
        """The service remembers of its reply what was heard."""
        reply = turn.reply
        if isinstance(reply, SpokenReply) and (turn.outcome != "answered" or reply.cut):
            self._around.spawn(reply.session.interrupted(self._heard_ms(turn)), "interrupted")
        if isinstance(reply, SpokenReply) and not turn.heard and not self._closed:
            self._learn_late(turn)
        self._stay()

    async def aclose(self) -> None:
        """Hangs up."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
        if self._leaving is not None:
            self._leaving.cancel()
        for task in self._learning:
            task.cancel()
        session, self._session = self._session, None
        if session is not None:
            await session.aclose()

    # ── a reply ──────────────────────────────────────────────────────────────────────────────────────────

    def _reply(self, turn: RunningTurn, session: SpeechSession) -> SpokenReply:
        self._around.progress(turn)
        context = self._around.reply_context(turn)
        reply = turn.reply = SpokenReply(context, self._service.name, session, self._pace_ms)
        return reply

    async def _converse(
        self, reply: SpokenReply, events: AsyncGenerator[S2sEvent, None], words: str = ""
    ) -> None:
        share = _SHARE_TO_SAY if words else _SHARE_OF_PATIENCE
        within_s = self._around.services.voice.patience_s * share
        self._replying += 1
        try:
            with ExitStack() as trial:
                trial.enter_context(self._service.health.trying())
                await reply.answer(self._in_time(events, within_s, trial.close), words)
        except asyncio.CancelledError:
            if reply.began_at is not None:
                self._worked()
            raise
        finally:
            self._replying -= 1
            self._pace_ms = reply.pace_ms
        if reply.error is None:
            self._worked()
        else:
            self._failed(reply.session, reply.error)

    async def _in_time(
        self, events: AsyncGenerator[S2sEvent, None], within_s: float, begun: Callable[[], None]
    ) -> AsyncGenerator[S2sEvent, None]:
        """`events`; tells when an answer has `begun`, or raises ProviderTimeout when there is only time for
        another one left."""
        until: float | None = self._loop.time() + within_s
        async with aclosing(events):
            while True:
                try:
                    async with asyncio.timeout_at(until):
                        event = await anext(events)
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    raise ProviderTimeout(
                        self._service.name, f"no answer began within {within_s:g} s"
                    ) from None
                if until is not None and not isinstance(event, Transcript):
                    until = None
                    begun()
                yield event

    async def _learn(self, turn: RunningTurn, listening: Listening) -> bool:
        """Shows the user's words when they come; whether there is something to answer, as far as is known."""
        try:
            transcript = await listening.transcript()
        except ProviderError as error:
            _log.info("the user's words are not known: %s", error)
            return True
        if not self._around.take_words(turn, transcript.text, listening.began_at):
            return False
        await self._around.follow_language(turn, transcript.language)
        return True

    def _learn_late(self, turn: RunningTurn) -> None:
        """The words were not known by the end of `turn`: its record and the dialogue are to have them too."""
        exchange, listening = turn.exchange, turn.listening
        if exchange is None or listening is None:
            return

        async def learn() -> None:
            try:
                turn.heard = exchange.question = (await listening.transcript()).text.strip()
            except ProviderError as error:
                _log.info("the user's words are not known: %s", error)

        task = turn.learning = self._around.spawn(learn(), "learn")
        self._learning.add(task)
        task.add_done_callback(self._learning.discard)

    async def _withdraw(self, turn: RunningTurn, reply: SpokenReply, utterance: ServiceUtterance) -> None:
        """What was answered was no question: nothing is to be left of either."""
        turn.reply = None
        await reply.session.interrupted(self._heard_ms(turn))
        await utterance.speech().discard()
        self._around.end_unanswered(turn)

    def _give_way(self, reply: SpokenReply) -> None:
        if reply.error is None:
            _log.info("%s chose to say nothing: the pipeline answers instead", self._service.name)
            return
        _fallbacks.labels(self._service.name).inc()
        _log.warning("the pipeline answers instead: %s", reply.error)

    def _heard_ms(self, turn: RunningTurn) -> int:
        return turn.output.frames_played * self._around.downlink.frame_ms

    # ── the connection ───────────────────────────────────────────────────────────────────────────────────

    def _open(self) -> SpeechSession:
        """The session with the service, in the language and voice of now."""
        around = self._around
        language = around.language.current
        if language != self._language and not self._in_use:
            self._leave()
        if self._session is None:
            self._language = language
            voice, agent = around.services.voice, around.services.agent
            self._session = self._service.open(
                SpeechSetup(
                    prompt=lambda: around.prompt.text(around.language.current, speech=True),
                    tools=around.tools.specs if voice.max_tool_rounds else tuple,
                    history=around.dialogue.history,
                    language=language,
                    voice=voice_for(agent.voice_for(language), language),
                    speed=agent.speed,
                    device_id=around.device_id,
                    end_by_vendor=voice.endpointing == "vendor",
                    max_s=around.max_utterance_s,
                )
            )
        return self._session

    @property
    def _in_use(self) -> bool:
        return self._replying > 0 or (self._utterance is not None and not self._utterance.closed)

    async def _connect(self, session: SpeechSession) -> None:
        await self._around.prompt.complete()
        try:
            with self._service.health.trying():
                await session.connect()
        except ProviderError as error:
            if session is self._session:  # else it was given up meanwhile, which is no failure
                self._unreachable = True
                self._failed(session, error)

    def _connected(self, task: asyncio.Task[None]) -> None:
        self._connecting = None

    def _worked(self) -> None:
        if self._service.health.worked():
            _log.info("speech to speech works again: %s", self._service.name)

    def _failed(self, session: SpeechSession, error: ProviderError) -> None:
        if session is self._session:
            self._leave()
        if rest_s := self._service.health.failed(error):
            _log.warning("speech to speech rests for %.0f s, the pipeline answers: %s", rest_s, error)

    def _stay(self) -> None:
        """Somebody has said something: leaves the service only so much later."""
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        if self._session is not None and not self._closed:
            idle_s = self._around.services.voice.s2s_idle_s
            self._leaving = self._loop.call_later(idle_s, self._leave_if_idle)

    def _leave_if_idle(self) -> None:
        self._leaving = None
        if self._in_use:
            self._stay()
        else:
            self._leave()

    def _leave(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            _log.debug("the connection to %s is closed", self._service.name)
            self._around.spawn(session.aclose(), "hang-up")
