"""A speech-to-speech service as an engine, with the pipeline as the fallback that answers when it fails.

The connection is made when the device listens, and closed after a while without speech. What the service has
not heard (an answer of the pipeline's, a time without connection) it is told by the dialogue's history.
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
from mimi_mqtt.voice.answer.context import ConversationContext, TurnContext
from mimi_mqtt.voice.answer.engine import Engine
from mimi_mqtt.voice.answer.pipeline.engine import PipelineEngine
from mimi_mqtt.voice.answer.realtime.alignment import USUAL_PACE_MS
from mimi_mqtt.voice.answer.realtime.reply import SpokenReply
from mimi_mqtt.voice.answer.reply import OpenSpeech
from mimi_mqtt.voice.speech.manner import manner
from mimi_mqtt.voice.utterance.transcription import Transcriber
from mimi_mqtt.voice.utterance.utterance import UserUtterance

_log = logging.getLogger(__name__)

_SHARE_OF_PATIENCE: Final = 1 / 3
"""Share of `voice.patience_s` that the service has to begin an answer; the rest is for the pipeline."""
_SHARE_TO_SAY: Final = 1 / 10
"""Share of it when a given text is to be said, which text to speech can do as well."""

_fallbacks = Counter(
    "mimi_speech_to_speech_fallbacks_total", "Answers by the pipeline because the service failed.", ("name",)
)


def choose_engine(conversation: ConversationContext) -> Engine:
    """The engine that the configuration asks for."""
    service = conversation.services.s2s
    return PipelineEngine(conversation) if service is None else RealtimeEngine(service, conversation)


class ServiceTranscriber(Transcriber):
    """Transcriber that streams an utterance to a session with the service."""

    def __init__(self, session: SpeechSession, max_s: float) -> None:
        super().__init__(partial(session.open, max_s=max_s), session.capabilities)
        self.session = session
        """The session that the audio is streamed to."""
        self.closed = False

    def speech(self) -> SpeechUtterance:
        """The whole utterance, as the service was given it. Raises ProviderError if none could be opened."""
        whole = self.whole()
        if not isinstance(whole, SpeechUtterance):
            raise TypeError("a session with a service opens SpeechUtterances")
        whole.end()
        return whole

    async def answer(self) -> AsyncGenerator[S2sEvent, None]:
        """The service's answer to the utterance. Raises ProviderError."""
        async with aclosing(self.session.answer(self.speech())) as events:
            async for event in events:
                yield event

    async def aclose(self) -> None:
        """Closes the utterance; the service drops it from its memory unless it has answered it."""
        self.closed = True
        await super().aclose()


class RealtimeEngine:
    """See `engine.Engine`."""

    def __init__(self, service: SpeechToSpeech, conversation: ConversationContext) -> None:
        self._service = service
        self._conversation = conversation
        self._pipeline = PipelineEngine(conversation)
        self._loop = asyncio.get_running_loop()
        self._session: SpeechSession | None = None
        self._language = ""  # of the session
        self._transcriber: ServiceTranscriber | None = None
        self._replying = 0
        self._leaving: asyncio.TimerHandle | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._unreachable = False
        self._learning: set[asyncio.Task[None]] = set()
        self._pace_ms = USUAL_PACE_MS
        self._closed = False

    @property
    def answers_early(self) -> bool:
        """True only while the pipeline answers: one of the service would cost as much as an answer."""
        return not self._usable and self._pipeline.answers_early

    @property
    def _usable(self) -> bool:
        return self._service.health.ready and not self._unreachable and not self._closed

    def prepare(self) -> None:
        """Connects to the service, so that the first utterance does not wait for it."""
        if self._service.health.ready and not self._closed:
            self._unreachable = False
            session = self._open()
            if not session.connected and self._connecting is None:
                self._connecting = self._conversation.spawn(self._connect(session), "connect")
                self._connecting.add_done_callback(self._connected)
            self._stay()

    def transcribe(self) -> Transcriber:
        """Streams to the service; while that rests to the pipeline, which then answers too."""
        if not self._usable:
            return self._pipeline.transcribe()
        self._transcriber = ServiceTranscriber(self._open(), self._conversation.max_utterance_s)
        self._stay()
        return self._transcriber

    def speech_paused(self, turn: TurnContext, utterance: UserUtterance) -> None:
        """Begins a preemptive reply to an utterance that the pipeline hears."""
        if not isinstance(utterance.transcriber, ServiceTranscriber):
            self._pipeline.speech_paused(turn, utterance)

    def speech_went_on(self) -> None:
        """Drops the pipeline's preemptive reply, if there is one."""
        self._pipeline.speech_went_on()

    def words_changed(self, turn: TurnContext, utterance: UserUtterance) -> None:
        """See `PipelineEngine`."""
        self._pipeline.words_changed(turn, utterance)

    async def understand(self, turn: TurnContext, utterance: UserUtterance) -> None:
        """Lets the service answer what it has heard, the pipeline everything else."""
        transcriber = utterance.transcriber
        if not isinstance(transcriber, ServiceTranscriber):
            await self._pipeline.understand(turn, utterance)
            if turn.reply is not None:
                self._leave()
            return
        reply = self._reply(turn, transcriber.session)
        async with asyncio.TaskGroup() as tasks:
            # First the words: those of an utterance that has interrupted are known already.
            learning = tasks.create_task(self._learn(turn, utterance), name="reply-learn")
            answering = tasks.create_task(self._converse(reply, transcriber.answer()), name="reply-follow")
            await asyncio.wait([learning, answering], return_when=asyncio.FIRST_COMPLETED)
            if learning.done() and not learning.result():
                answering.cancel()
            await asyncio.wait([answering])
            learning.cancel()
        if answering.cancelled():
            await self._withdraw(turn, reply, transcriber)
        elif reply.silent and turn.mode != "manual":
            # The service holds that nobody has talked to it, or that more is to come: the device listens on.
            turn.end_unanswered()
        elif reply.given_up:
            self._give_way(reply)
            if turn.heard:  # whose language may not have been told any more
                await turn.follow_language(None)
            recording = transcriber.speech().recording
            await self._pipeline.take_over(turn, utterance, recording, reply)
            self._leave()
        else:
            turn.judge()

    async def answer(self, turn: TurnContext) -> None:
        """Asks the service a written question."""
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

    async def say(self, turn: TurnContext, text: str, speech: OpenSpeech | None = None) -> None:
        """Speaks `text` in the service's voice, or plays the recording of it that `speech` opens."""
        if self._usable and speech is None:
            session = self._open()
            reply = self._reply(turn, session)
            await self._converse(reply, session.say(text), words=text)
            if not reply.given_up:
                turn.judge()
                return
            self._give_way(reply)
        await self._pipeline.say(turn, text, speech)
        self._leave()

    def concluded(self, turn: TurnContext) -> None:
        """Tells the service how much of its reply was heard."""
        self._pipeline.concluded(turn)
        reply = turn.reply
        if isinstance(reply, SpokenReply) and (turn.outcome != "answered" or reply.cut):
            self._conversation.spawn(reply.session.interrupted(self._heard_ms(turn)), "interrupted")
        if isinstance(reply, SpokenReply) and not turn.heard and not self._closed:
            self._learn_late(turn)
        self._stay()

    async def aclose(self) -> None:
        """Closes the connection."""
        self._closed = True
        self._pipeline.speech_went_on()
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

    def _reply(self, turn: TurnContext, session: SpeechSession) -> SpokenReply:
        turn.progress()
        reply = turn.reply = SpokenReply(turn, self._service.name, session, self._pace_ms)
        return reply

    async def _converse(
        self, reply: SpokenReply, events: AsyncGenerator[S2sEvent, None], words: str = ""
    ) -> None:
        share = _SHARE_TO_SAY if words else _SHARE_OF_PATIENCE
        within_s = self._conversation.services.voice.patience_s * share
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
        """`events`; calls `begun` at the first of an answer, or raises ProviderTimeout when none came within
        `within_s`."""
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

    async def _learn(self, turn: TurnContext, utterance: UserUtterance) -> bool:
        """Shows the user's words when they come; whether there is something to answer, as far as is known."""
        try:
            transcript = await utterance.transcript()
        except ProviderError as error:
            _log.info("the user's words are not known: %s", error)
            return True
        if not turn.take_words(transcript.text, utterance.began_at):
            return False
        await turn.follow_language(transcript.language)
        return True

    def _learn_late(self, turn: TurnContext) -> None:
        """Waits for words not known by the end of `turn`, for its record and the dialogue."""
        exchange, utterance = turn.exchange, turn.utterance
        if exchange is None or utterance is None:
            return

        async def learn() -> None:
            try:
                turn.heard = exchange.question = (await utterance.transcript()).text.strip()
            except ProviderError as error:
                _log.info("the user's words are not known: %s", error)

        task = turn.learning = self._conversation.spawn(learn(), "learn")
        self._learning.add(task)
        task.add_done_callback(self._learning.discard)

    async def _withdraw(self, turn: TurnContext, reply: SpokenReply, transcriber: ServiceTranscriber) -> None:
        """Takes back an answer to what was no question; the service forgets both."""
        turn.reply = None
        await reply.session.interrupted(self._heard_ms(turn))
        await transcriber.speech().discard()
        turn.end_unanswered()

    def _give_way(self, reply: SpokenReply) -> None:
        if reply.error is None:
            _log.info("%s chose to say nothing: the pipeline answers instead", self._service.name)
            return
        _fallbacks.labels(self._service.name).inc()
        _log.warning("the pipeline answers instead: %s", reply.error)

    def _heard_ms(self, turn: TurnContext) -> int:
        return turn.output.frames_played * self._conversation.downlink.frame_ms

    # ── the connection ───────────────────────────────────────────────────────────────────────────────────

    def _open(self) -> SpeechSession:
        """The session with the service, in the language and voice of now."""
        conversation = self._conversation
        language = conversation.language.current
        if language != self._language and not self._in_use:
            self._leave()
        if self._session is None:
            self._language = language
            voice = conversation.services.voice
            wished = manner(conversation.services.agent, language)
            self._session = self._service.open(
                SpeechSetup(
                    prompt=lambda: conversation.prompt.text(conversation.language.current, speech=True),
                    tools=conversation.tools.specs if voice.max_tool_rounds else tuple,
                    history=conversation.dialogue.history,
                    language=language,
                    voice=wished.voice,
                    speed=wished.speed,
                    device_id=conversation.device_id,
                    end_by_vendor=voice.endpointing == "vendor",
                    max_s=conversation.max_utterance_s,
                )
            )
        return self._session

    @property
    def _in_use(self) -> bool:
        return self._replying > 0 or (self._transcriber is not None and not self._transcriber.closed)

    async def _connect(self, session: SpeechSession) -> None:
        await self._conversation.prompt.complete()
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
        """Restarts the time after which the connection is closed, as somebody has said something."""
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        if self._session is not None and not self._closed:
            idle_s = self._conversation.services.voice.s2s_idle_s
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
            self._conversation.spawn(session.aclose(), "hang-up")
