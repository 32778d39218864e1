"""One session's conversation: who is listening, thinking or speaking, turn after turn.

What the device says arrives as calls that only change the state and start or end turns; each turn runs as one
task, whose end, however it comes, decides what the device does next.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from datetime import datetime
from typing import Final

from mimi_mqtt.config.prompt import DeviceFacts, UserFacts
from mimi_mqtt.log import log_context
from mimi_mqtt.voice.answer.dialogue import Dialogue
from mimi_mqtt.voice.answer.engine import Surroundings
from mimi_mqtt.voice.answer.realtime.engine import choose_engine
from mimi_mqtt.voice.hearing.pool import HeardFrame
from mimi_mqtt.voice.hearing.stream import Uplink
from mimi_mqtt.voice.ports import AudioFormat, Output
from mimi_mqtt.voice.services import Renewal, Tools, VoiceServices
from mimi_mqtt.voice.speech.greetings import greeting
from mimi_mqtt.voice.turn.echo_guard import EchoGuard
from mimi_mqtt.voice.turn.filler import apologize, keep_company
from mimi_mqtt.voice.turn.interruption import Attention
from mimi_mqtt.voice.turn.output import TurnOutput
from mimi_mqtt.voice.turn.state import TurnEvent, TurnState, next_state, refusal, resumes
from mimi_mqtt.voice.turn.tools import TurnTools
from mimi_mqtt.voice.turn.turn import Kind, Outcome, RunningTurn
from mimi_mqtt.voice.utterance.endpointing import (
    End,
    EndpointEvent,
    SpeechBegan,
    SpeechPaused,
    SpeechWentOn,
    UtteranceEnded,
    endpointing,
)
from mimi_mqtt.voice.utterance.utterance import Listening
from mimi_mqtt.wire.messages import ListenMode

_log = logging.getLogger(__name__)

_CROSSING_S: Final = 2.0
"""After `detect`, and after `tts stop` in auto mode, the device says `listen start` by itself."""
_MAX_ANNOUNCEMENTS: Final = 16
_CLOSE_S: Final = 5.0
"""Time for a provider to let go of a cancelled turn."""
_PARTS: Final = ("_around", "_engine", "_uplink", "_attention", "_endpointing", "_carried")
"""The attributes of a conversation that refer back to it."""


class Conversation:
    """Drives the turns of one session. All methods but the `async` ones return at once and never raise.

    Make it on the running loop, which is the only thread it may be used from.
    """

    def __init__(
        self,
        *,
        device: DeviceFacts,
        user: UserFacts,
        session_id: str,
        uplink: AudioFormat,
        downlink: AudioFormat,
        output: Output,
        tools: Tools,
        services: VoiceServices,
        language: str,
        renewal: Renewal | None = None,
    ) -> None:
        """`renewal` brings newer services when the configuration changes; without it they stay."""
        self._device_id = device.id
        self._session_id = session_id
        self._downlink = downlink
        self._services = services
        self._renewal = renewal
        self._user = user
        self._device = device
        # The agent may have been changed since the session began.
        self._language = services.spoken_language(services.agent.language or language)
        self._loop = asyncio.get_running_loop()
        self.last_activity = self._loop.time()
        """When the user or the assistant last did something (loop time, s). Silence sent as audio is
        nothing."""
        self._state = TurnState.IDLE
        self._mode: ListenMode | None = None
        self._turn: RunningTurn | None = None
        self._turns = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._over = False
        """Whether `aclose` has waited for the tasks: those that are left are the last users of the parts."""
        self._farewell = False
        self._announcements: deque[str] = deque()
        self._listen_expected_until = 0.0
        voice = services.voice
        spoken = self._language
        self._endpointing = endpointing(voice, lambda: spoken.current)
        self._around = Surroundings(
            services=services,
            tools=tools,
            output=output,
            downlink=downlink,
            device_id=device.id,
            language=self._language,
            dialogue=Dialogue(voice.history_turns),
            prompt=services.introduce(device, user, session_id, self._spawn),
            echo_guard=EchoGuard(),
            progress=self._progress,
            speech_began=self._speech_began,
            spawn=self._spawn,
        )
        self._engine = choose_engine(self._around)
        self._carried: Listening | None = None
        self._uplink = Uplink(services.hearing, uplink, voice.jitter_ms, self._heard, device.id)
        self._attention = self._interruption_policy()
        if renewal is not None:
            renewal.on_change = self._services_changed

    @property
    def state(self) -> TurnState:
        """What the server is doing for the device."""
        return self._state

    @property
    def busy(self) -> bool:
        """Whether a turn is thinking or speaking, or a user is in the middle of an utterance."""
        return self._state in (TurnState.THINKING, TurnState.SPEAKING) or self._someone_speaks

    # ── what the device says ─────────────────────────────────────────────────────────────────────────────

    def listen(self, mode: ListenMode) -> None:
        """The device started to listen (`listen start`): during a reply that is an interruption."""
        now = self._loop.time()
        expected, self._listen_expected_until = now < self._listen_expected_until, 0.0
        if self._closed:
            return
        same = mode == self._mode
        self._mode = mode
        self.last_activity = now
        if self._state is TurnState.LISTENING:
            if same and (expected or not self._someone_speaks):
                return  # we listen already, and may have heard something
        elif expected and mode != "manual" and self._turn is not None:
            return  # it follows from `detect` or our own `tts stop`, and crossed this turn's beginning
        if self._fire(TurnEvent.LISTEN):
            self._end_turn("interrupted")
            self._begin_listening()

    def stop_listening(self) -> None:
        """The device stopped listening (`listen stop`): what was said until now is the utterance."""
        turn = self._turn
        if turn is None or turn.listening is None or self._state is not TurnState.LISTENING:
            self._ignore(TurnEvent.STOP_LISTENING)
            return
        self.last_activity = self._loop.time()
        if self._mode != "manual":
            self._mode = None
            if not self._someone_speaks:
                self._fire(TurnEvent.STOP_LISTENING)
                self._end_turn("stopped")
                self._go_on()
                return
        self._uplink.flush()
        turn.listening.stop()

    def wake_word(self, text: str) -> None:
        """The device heard its wake word (`listen detect`); what follows is the agent's `wake_word`."""
        if self._closed:
            return
        now = self._loop.time()
        self.last_activity = now
        self._uplink.forget()  # it was the wake word
        if self._turn is None:
            self._renew()
        agent = self._services.agent
        choice = agent.wake_word
        if choice == "listen" or (choice == "greet" and not agent.greeting.strip()):
            if self._state in (TurnState.THINKING, TurnState.SPEAKING):
                self.abort("wake word")
        elif self._fire(TurnEvent.WAKE_WORD):
            self._end_turn("interrupted")
            self._renew()
            turn = self._new_turn("greeting" if choice == "greet" else "wake word")
            turn.heard = text
            turn.output.show_transcript(text)
            if choice == "greet":
                self._start(turn, lambda: self._engine.say(turn, greeting(agent, turn.language)))
            else:
                self._await_answer(turn)
                self._start(turn, lambda: self._engine.answer(turn))
        self._listen_expected_until = now + _CROSSING_S

    def audio(self, opus: bytes, sequence: int, timestamp: int, now: float) -> None:
        """One believed uplink packet; `timestamp` is 0 or the downlink frame's it was recorded with (ms)."""
        if self._closed:
            return
        attended = self._turn is not None and self._turn.barge_in is not None
        listening = self._state is TurnState.LISTENING or attended
        self._uplink.packet(opus, sequence, timestamp, now, listening=listening)

    def played(self, opus: bytes, timestamp: int) -> None:
        """A downlink frame has left; in realtime mode its echo may come back."""
        if self._mode == "realtime" and not self._closed:
            self._uplink.played(opus, timestamp)

    def abort(self, reason: str) -> None:
        """The device wants silence now (`abort`)."""
        if not self._fire(TurnEvent.ABORT):
            return
        self.last_activity = self._loop.time()
        self._farewell = False
        self._end_turn("aborted")
        if resumes(self._mode):
            self._resume()
        else:
            self._go_on()

    def announce(self, text: str) -> None:
        """Speaks `text` as a turn of its own, after whatever turn is running."""
        if self._closed or not text.strip():
            return
        if len(self._announcements) >= _MAX_ANNOUNCEMENTS:
            _log.warning("an announcement was dropped: %d are waiting already", _MAX_ANNOUNCEMENTS)
            return
        self._announcements.append(text)
        if self._state is TurnState.IDLE or (self._state is TurnState.LISTENING and not self._someone_speaks):
            self._end_turn("interrupted")
            self._go_on()

    def end_after_turn(self) -> None:
        """The running turn is to be the last: when it was heard to its end, the session ends. Whoever
        interrupts it wants to go on."""
        self._farewell = True

    async def drain(self, within_s: float) -> None:
        """Lets the sentence being spoken end, for at most `within_s`; no new turn begins any more."""
        self._closed = True
        turn = self._turn
        if turn is None or turn.task is None or self._state is not TurnState.SPEAKING:
            return
        if turn.reply is not None:
            turn.reply.winding_down = True
        await asyncio.wait({turn.task}, timeout=within_s)

    async def aclose(self) -> None:
        """Ends the running turn and everything it started; safe to call twice."""
        if self._over:
            return
        self._closed = True
        self._end_turn("closed")
        self._state = TurnState.IDLE
        self._announcements.clear()
        self._uplink.close()
        self._spawn(self._engine.aclose(), "engine")
        # A tool of the running turn may be what ends the session.
        try:
            await asyncio.wait(self._tasks - {asyncio.current_task()}, timeout=_CLOSE_S)
        finally:
            if self._renewal is not None:
                self._renewal.release()
        self._let_go()

    def _let_go(self) -> None:
        """Drops the parts, which all refer to the conversation, once no task needs them: what is left of an
        ended conversation must not wait for the garbage collector."""
        self._over = True
        if not self._tasks:
            for part in _PARTS:
                self.__dict__.pop(part, None)

    # ── the services change ──────────────────────────────────────────────────────────────────────────────

    def _services_changed(self) -> None:
        """A device that listens, and has heard nobody yet, is answered with the newer services already."""
        quiet = self._state is TurnState.LISTENING and not self._someone_speaks
        if quiet and resumes(self._mode) and not self._closed:
            self._end_turn("interrupted")
            self._go_on()

    def _renew(self) -> None:
        """Takes over newer services for the turn that begins; what was said before stays known."""
        services = self._renewal.current() if self._renewal is not None else self._services
        before, self._services = self._services, services
        if services is before:
            return
        language = self._language.current
        if services.agent.language != before.agent.language:
            language = services.agent.language or self._user.language
        self._language = services.spoken_language(language)
        prompt = services.introduce(self._device, self._user, self._session_id, self._spawn)
        self._around = replace(self._around, services=services, language=self._language, prompt=prompt)
        self._spawn(self._engine.aclose(), "engine")
        self._engine = choose_engine(self._around)
        self._endpointing = endpointing(services.voice, lambda: self._language.current)
        self._attention = self._interruption_policy()

    def _interruption_policy(self) -> Attention:
        return Attention(
            self._services.voice,
            self._uplink,
            self._listening,
            interrupt=self._interrupted,
            progress=self._progress,
            spawn=self._spawn,
        )

    # ── turns begin and end ──────────────────────────────────────────────────────────────────────────────

    def _fire(self, event: TurnEvent) -> bool:
        state = next_state(self._state, event)
        if state is None:
            self._ignore(event)
            return False
        self._state = state
        return True

    def _ignore(self, event: TurnEvent) -> None:
        _log.debug("ignored: %s", refusal(self._state, event))

    @property
    def _someone_speaks(self) -> bool:
        turn = self._turn
        if turn is None:
            return False
        if turn.barge_in is not None and turn.barge_in.someone_speaks:
            return True
        return turn.listening is not None and turn.listening.began

    def _new_turn(self, kind: Kind) -> RunningTurn:
        self._turns += 1
        self._farewell = self._farewell and kind == "announcement"
        output = TurnOutput(self._around.output, lambda: self._speech_began(turn), self._downlink.frame_ms)
        watchdog_s, language = self._services.session.watchdog_s, self._language.current
        tools = TurnTools(self._around.tools)
        turn = RunningTurn(self._turns, kind, self._mode, output, tools, watchdog_s, language)
        self._turn = turn
        return turn

    def _start(self, turn: RunningTurn, body: Callable[[], Awaitable[None]]) -> None:
        turn.task = self._spawn(self._run(turn, body), str(turn.number))

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        task = self._loop.create_task(work, name=f"turn-{self._session_id}-{name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            # Asking for it takes the exception out of the task: its frames hold the turn, and that the task.
            with contextlib.suppress(asyncio.CancelledError):
                task.exception()
        if self._over:
            self._let_go()

    def _await_answer(self, turn: RunningTurn) -> None:
        turn.await_answer(self._services.voice.patience_s)
        turn.company = self._spawn(keep_company(self._around, turn), "company")

    def _end_turn(self, outcome: Outcome) -> None:
        """Takes the device from the running turn, at once; its task may still be cleaning up afterwards."""
        turn, self._turn = self._turn, None
        if turn is None:
            return
        turn.outcome = outcome
        self._conclude(turn)
        if turn.task is not None and turn.started:  # else it has nothing to do but to clean up
            turn.task.cancel()

    def _conclude(self, turn: RunningTurn) -> None:
        turn.mark("stop")
        turn.drop_guess()
        if turn.company is not None:
            turn.company.cancel()
        if turn.barge_in is not None:
            carried = turn.barge_in.close()
            unanswered = self._mode == "auto" and turn.outcome == "nothing heard"
            self._carried = carried if unanswered or self._mode == "realtime" else None
        turn.output.close()
        turn.remember(self._around.dialogue, self._downlink.frame_ms)
        self._engine.concluded(turn)
        if turn.output.begun:
            self._around.echo_guard.said(turn.aloud, self._loop.time())
        if turn.output.begun and self._mode != "manual":
            self._listen_expected_until = self._loop.time() + _CROSSING_S
            if self._mode != "realtime":
                self._uplink.forget()

    def _go_on(self) -> None:
        """What comes after a turn: what waits to be said, or listening, or nothing."""
        if self._closed:
            self._state = TurnState.IDLE
        elif self._announcements:
            if self._fire(TurnEvent.ANNOUNCE):
                self._renew()
                turn = self._new_turn("announcement")
                text = self._announcements.popleft()
                self._start(turn, lambda: self._engine.say(turn, text))
        elif self._farewell:
            self._around.output.end_session("the assistant said goodbye")
        elif resumes(self._mode):
            self._resume()

    def _resume(self) -> None:
        if not self._closed and self._fire(TurnEvent.LISTEN):
            self._begin_listening()

    def _progress(self, turn: RunningTurn) -> None:
        self.last_activity = self._loop.time()
        turn.progress()

    def _speech_began(self, turn: RunningTurn) -> None:
        turn.mark("speech")
        if turn is self._turn:
            self._fire(TurnEvent.SPEECH)
            self._attention.speech_began(turn, self._mode)

    async def _run(self, turn: RunningTurn, body: Callable[[], Awaitable[None]]) -> None:
        """The border of one turn: whatever happens inside ends this turn, and only this."""
        with log_context(turn=str(turn.number)):
            cancelled = False
            turn.started = True
            try:
                try:
                    if turn.outcome == "running":
                        async with turn.watchdog:
                            await body()
                finally:
                    await self._clean_up(turn)
            except asyncio.CancelledError:
                cancelled = True
                raise
            except Exception:  # noqa: BLE001 - the border named above
                if turn is self._turn:
                    turn.fail()
                    await apologize(self._around, turn)
                else:  # it was over before: its outcome stands, and nobody would hear an apology
                    _log.exception("a turn that was %s failed afterwards", turn.outcome)
            finally:
                if turn is self._turn:
                    self._turn = None
                    nothing = turn.outcome == "nothing heard" and not turn.output.begun
                    go_on = not cancelled and not self._closed
                    spoken = turn.barge_in.take() if nothing and go_on and turn.barge_in else None
                    self._conclude(turn)
                    self._fire(TurnEvent.NOTHING_HEARD if nothing else TurnEvent.DONE)
                    if spoken is not None:
                        self._fire(TurnEvent.LISTEN)
                        self._go_on_listening(spoken)
                    elif not cancelled:
                        self._go_on()
                turn.keep(self._device_id, self._session_id, self._services.log.add_turn)
                turn.let_go()

    @staticmethod
    async def _clean_up(turn: RunningTurn) -> None:
        """Ends the turn's transcription. A fault in it is logged and does not change how the turn ended."""
        if turn.listening is None:
            return
        try:
            await turn.listening.aclose()
        except Exception:  # noqa: BLE001 - the border named above
            _log.exception("the transcription of a turn could not be closed")

    # ── listening ────────────────────────────────────────────────────────────────────────────────────────

    def _begin_listening(self) -> None:
        carried, self._carried = self._carried, None
        if carried is None:
            self._renew()
        self._engine.prepare()
        if carried is not None and self._mode != "manual":
            self._uplink.forget()
            self._go_on_listening(carried)
            return
        turn = self._new_turn("utterance")
        listening = turn.listening = self._listening(lambda event: self._listened(turn, event))
        self._start(turn, lambda: self._hear(turn, listening))
        self._uplink.begin(self._loop.time())

    def _go_on_listening(self, listening: Listening, since: datetime | None = None) -> None:
        """A turn out of what was being heard already."""
        turn = self._new_turn("utterance")
        turn.started_at = since or turn.started_at
        turn.listening = listening
        listening.on_event = lambda event: self._listened(turn, event)
        listening.reply_is_over()
        if listening.over.done():
            self._utterance_over(turn, listening)
        self._start(turn, lambda: self._hear(turn, listening))

    def _listening(self, on_event: Callable[[EndpointEvent], None], max_s: float | None = None) -> Listening:
        services = self._services
        return Listening(
            self._engine.hear,
            services.voice,
            self._endpointing,
            frame_ms=self._uplink.frame_ms,
            eager=self._engine.guesses,
            manual=self._mode == "manual",
            max_s=max_s,
            on_event=on_event,
        )

    def _heard(self, frame: HeardFrame) -> None:
        turn = self._turn
        if turn is None:
            return
        if self._state is not TurnState.LISTENING and turn.barge_in is not None:
            turn.barge_in.hear(frame)
        elif turn.listening is not None:
            turn.listening.hear(frame)
            if turn.guess is not None and turn.guess.stale(turn.listening.spoken.text):
                turn.drop_guess()
                self._engine.begin_guess(turn, turn.listening)

    def _listened(self, turn: RunningTurn, event: EndpointEvent) -> None:
        listening = turn.listening
        if listening is None:
            return
        match event:
            case SpeechBegan():
                self.last_activity = self._loop.time()
            case SpeechPaused():
                self._engine.begin_guess(turn, listening)
            case SpeechWentOn():
                turn.drop_guess()
            case UtteranceEnded():
                self.last_activity = self._loop.time()
                self._utterance_over(turn, listening)

    def _utterance_over(self, turn: RunningTurn, listening: Listening) -> None:
        turn.timings.speech_end = listening.speech_end
        turn.mark("endpoint")
        self._await_answer(turn)
        # At once: what is still on its way is not a part of this utterance.
        if self._fire(TurnEvent.UTTERANCE):
            self._attention.thinking(turn, self._mode)

    async def _hear(self, turn: RunningTurn, listening: Listening) -> None:
        """Listens until the utterance is over, then answers it."""
        if await listening.until_over() is End.STOPPED:
            await self._uplink.drained()
            turn.drop_guess()
            self._utterance_over(turn, listening)
        turn.progress()
        listening.close()
        await self._engine.understand(turn, listening)

    def _interrupted(self, turn: RunningTurn, listening: Listening) -> None:
        """Somebody said something during `turn`: that is the next utterance, or the rest of this one."""
        if turn is self._turn and self._fire(TurnEvent.LISTEN):
            since = turn.started_at if turn.extensible else None
            if since is not None:
                turn.continue_with(listening, self._spawn)
            self._end_turn("interrupted" if since is None else "continued")
            self._carried = None
            self._go_on_listening(listening, since)
        else:
            self._spawn(listening.aclose(), "unwanted")
