"""Conversation of one session: what the device does and what the server does for it, turn after turn.

What the device says arrives as calls that only change the state and start or end turns; each answer runs as
one task of its turn, whose end, however it comes, decides what the device does next.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Final

from mimi_mqtt.voice.answer.context import ConversationContext, Outcome
from mimi_mqtt.voice.answer.dialogue import Dialogue
from mimi_mqtt.voice.answer.realtime.engine import choose_engine
from mimi_mqtt.voice.answer.system_prompt import introduce
from mimi_mqtt.voice.ports import Announcement, ConversationSetup, HeardFrame
from mimi_mqtt.voice.services import Renewal, VoiceServices
from mimi_mqtt.voice.speech.phrases import greeting
from mimi_mqtt.voice.turn.admission import admit_turn
from mimi_mqtt.voice.turn.echo_guard import EchoGuard
from mimi_mqtt.voice.turn.interruption import BargeIn, InterruptionPolicy
from mimi_mqtt.voice.turn.record import Kind
from mimi_mqtt.voice.turn.state import TurnEvent, TurnState, next_state, refusal, resumes
from mimi_mqtt.voice.turn.tasks import ConversationTasks
from mimi_mqtt.voice.turn.turn import Turn
from mimi_mqtt.voice.utterance.endpointing import (
    EndpointEvent,
    SpeechBegan,
    SpeechPaused,
    SpeechWentOn,
    UtteranceEnded,
)
from mimi_mqtt.voice.utterance.habits import SpeakerHabits
from mimi_mqtt.voice.utterance.utterance import UserUtterance
from mimi_mqtt.wire.messages import ListenMode

_log = logging.getLogger(__name__)

_STOP_LISTENING: Final = "stop_listening"
"""The reason of an `abort` with which applications of Espressif's component give up what was said (device
contract, section 8)."""
_CROSSING_S: Final = 2.0
"""After `detect`, and after `tts stop` in auto mode, the device says `listen start` by itself."""
_MAX_ANNOUNCEMENTS: Final = 16
_CLOSE_S: Final = 5.0
"""Time for a provider to let go of a cancelled turn."""


class Conversation:
    """Drives the turns of one session. All methods but the `async` ones return at once and never raise.

    Make it on the running loop, which is the only thread it may be used from. After `aclose` no reference
    leads back to it from what it has made.
    """

    def __init__(
        self, setup: ConversationSetup, services: VoiceServices, renewal: Renewal | None = None
    ) -> None:
        """`renewal` brings newer services when the configuration changes; without it they stay."""
        self._setup = setup
        self._services = services
        self._renewal = renewal
        self._loop = asyncio.get_running_loop()
        self._tasks = ConversationTasks(setup.session_id)
        self.last_activity = self._loop.time()
        """Last activity of user or assistant (loop time, s). Silence sent as audio does not count."""
        self._state = TurnState.IDLE
        self._mode: ListenMode | None = None
        self._turn: Turn | None = None
        self._turns = 0
        self._closed = False
        self._last_turn = False  # the session ends after it
        self._announcements: deque[Announcement] = deque()
        self._listen_expected_until = 0.0
        self._echo_guard = EchoGuard()
        self._overheard: UserUtterance | None = None  # speech that began as a turn ended
        self._uplink = services.hearing.open(
            setup.uplink,
            services.voice.jitter_ms,
            self._heard,
            setup.device.id,
            unlabelled_echo=setup.unlabelled_echo,
        )
        # The agent may have been changed since the session began.
        language = services.agent.language or setup.language
        self._context = self._new_context(language, Dialogue(services.voice.history_turns))
        self._engine = choose_engine(self._context)
        self._habits = self._habits_of_speaker()
        self._habits_kept = False
        self._interruption = InterruptionPolicy(services.voice, self._uplink)
        if renewal is not None:
            renewal.on_change = self._services_changed

    @property
    def state(self) -> TurnState:
        """The state of the conversation."""
        return self._state

    @property
    def busy(self) -> bool:
        """True when a turn is thinking or speaking, or a user is in the middle of an utterance."""
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
        if turn is None or turn.utterance is None or self._state is not TurnState.LISTENING:
            self._ignore(TurnEvent.STOP_LISTENING)
            return
        self.last_activity = self._loop.time()
        if self._mode != "manual":
            self._mode = None
            if not self._someone_speaks:
                self._stop()
                return
        self._uplink.flush()
        utterance = turn.utterance
        if utterance.stop():
            if not admit_turn(self._context):
                self._stop()
                return
            turn.start(lambda: self._answer_stopped(turn, utterance))

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
        elif admit_turn(self._context) and self._fire(TurnEvent.WAKE_WORD):
            self._end_turn("interrupted")
            self._renew()
            turn = self._new_turn("greeting" if choice == "greet" else "wake word")
            turn.heard = text
            turn.speech.show_transcript(text)
            if choice == "greet":
                turn.start(lambda: self._engine.say(turn, greeting(agent, turn.language)))
            else:
                turn.await_answer()
                turn.start(lambda: self._engine.answer(turn))
        self._listen_expected_until = now + _CROSSING_S

    def typed(self, text: str) -> None:
        """The user typed a question, which interrupts whatever runs. Its language is followed."""
        text = text.strip()
        if self._closed or not text:
            return
        self.last_activity = self._loop.time()
        if self._turn is None:
            self._renew()
        if admit_turn(self._context) and self._fire(TurnEvent.WAKE_WORD):
            self._end_turn("interrupted")
            self._renew()
            turn = self._new_turn("typed")
            turn.heard = text
            turn.mark("transcript")
            turn.speech.show_transcript(text)
            turn.await_answer()
            turn.start(lambda: self._answer_typed(turn))

    async def _answer_typed(self, turn: Turn) -> None:
        await turn.follow_language(None)
        await self._engine.answer(turn)

    def audio(self, opus: bytes, sequence: int, timestamp: int, now: float) -> None:
        """One believed uplink packet; `timestamp` is 0 or the downlink frame's it was recorded with (ms)."""
        if self._closed:
            return
        listening = self._state is TurnState.LISTENING or (
            self._turn is not None and self._turn.barge_in is not None
        )
        self._uplink.packet(opus, sequence, timestamp, now, listening=listening)

    def played(self, opus: bytes, timestamp: int) -> None:
        """A downlink frame has left; in realtime mode its echo may come back."""
        if self._mode == "realtime" and not self._closed:
            self._uplink.played(opus, timestamp, self._loop.time())

    def abort(self, reason: str) -> bool:
        """The device wants silence now (`abort`). While it listens, only one that stops listening is meant:
        what it said so far is dropped, and True returned."""
        if reason == _STOP_LISTENING and self._state is TurnState.LISTENING:
            self._mode = None
            self._stop()
            return True
        if not self._fire(TurnEvent.ABORT):
            return False
        self.last_activity = self._loop.time()
        self._last_turn = False
        self._end_turn("aborted")
        if resumes(self._mode):
            self._resume()
        else:
            self._go_on()
        return False

    @property
    def language(self) -> str:
        """The language that is spoken at present, a tag."""
        return self._context.language.current

    def announce(self, announced: str | Announcement) -> None:
        """Speaks a text as a turn of its own, after whatever turn is running, within the device's share."""
        announcement = Announcement(announced) if isinstance(announced, str) else announced
        if self._closed or not (announcement.text.strip() or announcement.speech):
            announcement.concluded(False)
            return
        if len(self._announcements) >= _MAX_ANNOUNCEMENTS:
            _log.warning("an announcement was dropped: %d are waiting already", _MAX_ANNOUNCEMENTS)
            announcement.concluded(False)
            return
        if not admit_turn(self._context):
            announcement.concluded(False)
            return
        if announcement.urgent:
            before = sum(waiting.urgent for waiting in self._announcements)
            self._announcements.insert(before, announcement)
        else:
            self._announcements.append(announcement)
        if self._state is TurnState.IDLE or (self._state is TurnState.LISTENING and not self._someone_speaks):
            self._end_turn("interrupted")
            self._go_on()

    def end_after_turn(self) -> None:
        """Makes the running turn the last: the session ends when it was heard to its end, and goes on when a
        user interrupts it."""
        self._last_turn = True

    async def drain(self, within_s: float) -> None:
        """Lets the sentence being spoken end, for at most `within_s`; no new turn begins any more."""
        self._closed = True
        turn = self._turn
        if turn is None or self._state is not TurnState.SPEAKING:
            return
        turn.wind_down()
        await turn.wait(within_s)

    async def aclose(self) -> None:
        """Ends the running turn and everything it started; safe to call twice."""
        self._closed = True
        self._end_turn("closed")
        self._state = TurnState.IDLE
        unspoken, self._announcements = self._announcements, deque()
        for announcement in unspoken:
            announcement.concluded(False)
        self._drop_overheard()
        self._uplink.close()
        if not self._habits_kept:
            self._habits_kept = True
            self._services.habits.keep(self._setup.device.id, self._habits)
        self._tasks.spawn(self._engine.aclose(), "engine")
        # A tool of the running turn may be what ends the session.
        try:
            await self._tasks.wait(_CLOSE_S)
        finally:
            if self._renewal is not None:
                self._renewal.release()

    # ── services ─────────────────────────────────────────────────────────────────────────────────────────

    def _new_context(self, language: str, dialogue: Dialogue) -> ConversationContext:
        setup, services, spawn = self._setup, self._services, self._tasks.spawn
        return ConversationContext(
            services=services,
            tools=setup.tools,
            output=setup.output,
            downlink=setup.downlink,
            device_id=setup.device.id,
            session_id=setup.session_id,
            owner_id=setup.owner_id,
            language=services.spoken_language(language),
            dialogue=dialogue,
            prompt=introduce(services, setup.device, setup.user, setup.session_id, spawn),
            spawn=spawn,
        )

    def _habits_of_speaker(self) -> SpeakerHabits:
        spoken = self._context.language
        return self._services.habits.take(self._setup.device.id, self._services.voice, lambda: spoken.current)

    def _services_changed(self) -> None:
        """Newer services are there: a device that listens, and has heard nobody yet, is answered by them."""
        quiet = self._state is TurnState.LISTENING and not self._someone_speaks
        if quiet and resumes(self._mode) and not self._closed:
            self._end_turn("interrupted")
            self._go_on()

    def _renew(self) -> None:
        """Takes over newer services for the turn that begins; what was said before stays known."""
        if self._renewal is None or self._closed:
            return
        services = self._renewal.current()
        before, self._services = self._services, services
        if services is before:
            return
        language = self._context.language.current
        if services.agent.language != before.agent.language:
            language = services.agent.language or self._setup.user.language
        self._context = self._new_context(language, self._context.dialogue)
        self._tasks.spawn(self._engine.aclose(), "engine")
        self._engine = choose_engine(self._context)
        self._habits = self._habits_of_speaker()
        self._interruption = InterruptionPolicy(services.voice, self._uplink)

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
        return turn.utterance is not None and turn.utterance.in_progress

    def _new_turn(self, kind: Kind) -> Turn:
        self._turns += 1
        self._last_turn = self._last_turn and kind == "announcement"
        turn = self._turn = Turn(self._context, self, self._turns, kind, self._mode, self._echo_guard)
        return turn

    def _end_turn(self, outcome: Outcome) -> None:
        """Takes the device from the running turn, at once; its task may still be cleaning up afterwards."""
        turn, self._turn = self._turn, None
        if turn is not None:
            self._concluded(turn, turn.cancel(outcome))

    def _stop(self) -> None:
        """Ends the listening turn unanswered."""
        self._fire(TurnEvent.STOP_LISTENING)
        self._end_turn("stopped")
        self._go_on()

    def _concluded(self, turn: Turn, overheard: UserUtterance | None) -> None:
        """`turn` was concluded; `overheard` was heard over it and is not an utterance yet."""
        announcement, turn.announcement = turn.announcement, None
        if announcement is not None:
            announcement.concluded(turn.speech.begun)
        self._drop_overheard()
        unanswered = self._mode == "auto" and turn.outcome == "nothing heard"
        if overheard is not None and (unanswered or self._mode == "realtime") and not self._closed:
            self._overheard = overheard
        elif overheard is not None:
            overheard.close()
        self._engine.concluded(turn)
        if turn.speech.begun and self._mode != "manual":
            self._listen_expected_until = self._loop.time() + _CROSSING_S
            # A device that was not listened to while it spoke has sent its own echo.
            if self._mode != "realtime" or self._uplink.half_duplex:
                self._uplink.forget()

    def _drop_overheard(self) -> None:
        overheard, self._overheard = self._overheard, None
        if overheard is not None:
            overheard.close()

    def _go_on(self) -> None:
        """Begins what comes after a turn: what waits to be said, or listening, or nothing."""
        if self._closed:
            self._state = TurnState.IDLE
        elif self._announcements:
            if self._fire(TurnEvent.ANNOUNCE):
                self._renew()
                turn = self._new_turn("announcement")
                announcement = turn.announcement = self._announcements.popleft()
                turn.start(lambda: self._engine.say(turn, announcement.text, announcement.speech))
        elif self._last_turn:
            self._context.output.end_session("the assistant said goodbye")
        elif resumes(self._mode):
            self._resume()

    def _resume(self) -> None:
        if not self._closed and self._fire(TurnEvent.LISTEN):
            self._begin_listening()

    # ── what a turn says: see `TurnHost` ─────────────────────────────────────────────────────────────────

    def turn_progressed(self) -> None:
        """The user or the assistant did something."""
        self.last_activity = self._loop.time()

    def turn_spoke(self, turn: Turn) -> None:
        """`tts start` went out."""
        if turn is not self._turn:
            return
        self._fire(TurnEvent.SPEECH)
        if not self._interruption.while_speaking(self._mode):
            if turn.barge_in is not None:
                unwanted = turn.barge_in.close()
                turn.barge_in = None
                if unwanted is not None:
                    unwanted.close()
        elif turn.barge_in is None:
            self._listen_over(turn)
        else:
            turn.barge_in.reply_begins()

    def turn_finished(self, turn: Turn, *, cancelled: bool) -> None:
        """The turn's work is over: concludes it, and begins what follows."""
        if turn is not self._turn:
            return
        self._turn = None
        nothing = turn.outcome == "nothing heard" and not turn.speech.begun
        go_on = not cancelled and not self._closed
        spoken = turn.barge_in.take() if nothing and go_on and turn.barge_in is not None else None
        self._concluded(turn, turn.conclude())
        self._fire(TurnEvent.NOTHING_HEARD if nothing else TurnEvent.DONE)
        if spoken is not None:
            self._fire(TurnEvent.LISTEN)
            self._go_on_listening(spoken)
        elif not cancelled:
            self._go_on()

    # ── listening ────────────────────────────────────────────────────────────────────────────────────────

    def _begin_listening(self) -> None:
        overheard, self._overheard = self._overheard, None
        if overheard is None:
            self._renew()
        self._engine.prepare()
        if overheard is not None and self._mode != "manual":
            self._uplink.forget()
            self._go_on_listening(overheard)
            return
        if overheard is not None:
            overheard.close()
        turn = self._new_turn("utterance")
        turn.utterance = self._listen(lambda event: self._listened(turn, event))
        self._uplink.begin(self._loop.time())

    def _go_on_listening(self, utterance: UserUtterance, since: datetime | None = None) -> None:
        """Begins a turn with an utterance that is being heard, or was."""
        turn = self._new_turn("utterance")
        turn.started_at = since or turn.started_at
        turn.utterance = utterance
        utterance.reply_is_over()
        utterance.attach(lambda event: self._listened(turn, event))

    def _listen(self, on_event: Callable[[EndpointEvent], None], max_s: float | None = None) -> UserUtterance:
        return UserUtterance(
            self._engine.transcribe,
            self._services.voice,
            self._habits,
            frame_ms=self._uplink.frame_ms,
            answers_early=self._engine.answers_early,
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
        elif turn.utterance is not None:
            turn.utterance.hear(frame)
            if turn is self._turn and not turn.started:
                self._engine.words_changed(turn, turn.utterance)

    def _listened(self, turn: Turn, event: EndpointEvent) -> None:
        utterance = turn.utterance
        if utterance is None or turn is not self._turn:
            return
        match event:
            case SpeechBegan():
                self.last_activity = self._loop.time()
            case SpeechPaused():
                self._engine.speech_paused(turn, utterance)
            case SpeechWentOn():
                self._engine.speech_went_on()
            case UtteranceEnded():
                self.last_activity = self._loop.time()
                if not admit_turn(self._context):
                    self._stop()
                    return
                self._utterance_over(turn, utterance)
                turn.start(lambda: self._answer(turn, utterance))

    def _utterance_over(self, turn: Turn, utterance: UserUtterance) -> None:
        turn.timings.speech_end = utterance.speech_end
        turn.mark("endpoint")
        turn.await_answer()
        # At once: what is still on its way is not a part of this utterance.
        if self._fire(TurnEvent.UTTERANCE) and self._interruption.while_thinking(
            self._mode, extensible=turn.extensible
        ):
            self._listen_over(turn)

    async def _answer_stopped(self, turn: Turn, utterance: UserUtterance) -> None:
        """Answers an utterance that the device has ended, once its last frames were heard."""
        await self._uplink.drained()
        self._engine.speech_went_on()
        self._utterance_over(turn, utterance)
        await self._answer(turn, utterance)

    async def _answer(self, turn: Turn, utterance: UserUtterance) -> None:
        turn.progress()
        utterance.close()
        await self._engine.understand(turn, utterance)

    # ── interruption ─────────────────────────────────────────────────────────────────────────────────────

    def _listen_over(self, turn: Turn) -> None:
        """Listens while `turn` thinks and speaks."""
        turn.barge_in = BargeIn(
            turn,
            lambda on_event: self._overhear(turn, on_event),
            lambda utterance: self._interrupted(turn, utterance),
            self._tasks.spawn,
        )

    def _overhear(self, turn: Turn, on_event: Callable[[EndpointEvent], None]) -> UserUtterance:
        room_s = turn.utterance.room_s if turn.utterance is not None and turn.extensible else None
        utterance = self._listen(on_event, room_s)
        if turn.speech.begun:
            utterance.reply_begins()
        return utterance

    def _interrupted(self, turn: Turn, utterance: UserUtterance) -> None:
        """A user said something over `turn`: that is the next utterance, or the rest of this one."""
        if turn is self._turn and self._fire(TurnEvent.LISTEN):
            since = turn.started_at if turn.extensible else None
            if since is not None:
                turn.continue_with(utterance)
            self._end_turn("interrupted" if since is None else "continued")
            self._go_on_listening(utterance, since)
        else:
            self._tasks.spawn(utterance.aclose(), "unwanted")
