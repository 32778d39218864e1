"""Replay of a recorded turn: what the user said goes through the pipeline of an agent once more, without a
device and without tools."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.opus import OpusDecoder
from mimi_mqtt.config.prompt import DeviceFacts, UserFacts
from mimi_mqtt.errors import AudioError, ProviderError, ToolError
from mimi_mqtt.providers.contract.chat import ChatMessage, ToolCall, ToolSpec
from mimi_mqtt.providers.contract.provider import Role
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.runtime.usage import metering
from mimi_mqtt.store.turn_record import ProviderUse
from mimi_mqtt.voice.answer.context import ConversationContext, ToolRan, TurnContext
from mimi_mqtt.voice.answer.dialogue import Dialogue
from mimi_mqtt.voice.answer.pipeline.engine import PipelineEngine
from mimi_mqtt.voice.answer.system_prompt import SystemPrompt
from mimi_mqtt.voice.hearing.decoder import HEARING_RATE
from mimi_mqtt.voice.ports import AudioFormat
from mimi_mqtt.voice.services import VoiceServices
from mimi_mqtt.voice.turn.failures import failure_kind
from mimi_mqtt.wire.messages import ListenMode

DOWNLINK: Final = AudioFormat(24_000, 60)
"""The form of the reply's sound."""
MAX_SPOKEN_S: Final = 180.0
"""Longest sound of a reply that is kept, in seconds."""
_DEVICE: Final = "replay"
"""Name under which providers and shares know who asks: no device's."""
_FRAME: Final = HEARING_RATE * 60 // 1000
_LOUDEST_SHARE: Final = 0.05
"""A frame below this part of the loud ones is silence."""
_MARGIN_FRAMES: Final = 5
"""Frames of silence that are kept before and after the words."""


@dataclass(frozen=True, slots=True)
class Question:
    """A recorded turn that is asked again.

    `audio` is what the user said (16 kHz, mono), None where only the words `heard` are known. `earlier` has
    what was said before: words, reply, and whether that was heard to its end. `stages_ms` is the recorded
    turn's: the decision that the utterance is over is taken as then.
    """

    heard: str
    audio: Pcm | None = field(repr=False)
    mode: ListenMode | None
    language: str
    device: DeviceFacts
    user: UserFacts
    stages_ms: Mapping[str, float]
    earlier: Sequence[tuple[str, str, bool]] = ()


@dataclass(frozen=True, slots=True)
class Replayed:
    """How the turn went this time. `packets` are Opus in the form of DOWNLINK."""

    heard: str
    reply: str
    outcome: str
    error: str
    error_role: str
    problem: str
    """The failure, for a person who may see the server's errors; empty: nothing."""
    stages_ms: Mapping[str, float]
    as_recorded: tuple[str, ...]
    """Stages that are the recorded turn's."""
    uses: tuple[ProviderUse, ...]
    heard_s: float
    spoken_s: float
    packets: Sequence[bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReplayWish:
    """Differences of a turn that is asked again; what is empty is as it was: the agent by which the turn
    was answered, as it is now, and the providers of that agent."""

    agent: str = ""
    stt: str = ""
    llm: str = ""
    tts: str = ""

    def providers(self) -> dict[Role, str]:
        """The providers that are named, by role."""
        named: dict[Role, str] = {"stt": self.stt, "llm": self.llm, "tts": self.tts}
        return {role: name for role, name in named.items() if name}


@dataclass(frozen=True, slots=True)
class ReplayOfTurn:
    """A replay with the agent that was asked, its providers by role, and the sound as Ogg Opus (empty when
    nothing was said)."""

    agent: str
    providers: Mapping[str, str]
    replayed: Replayed
    audio: bytes = field(repr=False)

    @property
    def cost(self) -> float | None:
        """By the price table; None when nothing that was used has a price."""
        costs = [use.cost for use in self.replayed.uses if use.cost is not None]
        return sum(costs) if costs else None


def decoded(packets: Sequence[bytes]) -> Pcm:
    """The sound of Opus packets, 16 kHz, without the broken ones; blocks."""
    decoder = OpusDecoder(HEARING_RATE)
    parts = []
    for packet in packets:
        try:
            parts.append(decoder.decode(packet))
        except AudioError:
            continue
    return np.concatenate(parts) if parts else np.zeros(0, np.int16)


def trimmed(pcm: Pcm) -> Pcm:
    """`pcm` from shortly before the first to shortly after the last loud frame: a recording goes on while the
    answer is waited for. All of it where nothing stands out."""
    frames = pcm[: pcm.size // _FRAME * _FRAME].reshape(-1, _FRAME).astype(np.float64)
    if not len(frames):
        return pcm
    levels = np.sqrt((frames**2).mean(axis=1))
    loud = np.flatnonzero(levels > np.quantile(levels, 0.95) * _LOUDEST_SHARE)
    if not loud.size:
        return pcm
    first = max(int(loud[0]) - _MARGIN_FRAMES, 0)
    return pcm[first * _FRAME : (int(loud[-1]) + 1 + _MARGIN_FRAMES) * _FRAME]


async def replay(services: VoiceServices, question: Question) -> Replayed:
    """Asks `question` again. The caller bounds the time."""
    async with asyncio.TaskGroup() as tasks:

        def spawn(work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
            return tasks.create_task(work, name=f"replay-{name}")

        turn = _ReplayTurn(_context(services, question, spawn), question)
        try:
            with metering(turn.usage):
                await _run(turn, question)
        finally:
            turn.collected.close()
        return _result(turn, question)


def _context(
    services: VoiceServices,
    question: Question,
    spawn: Callable[[Coroutine[None, None, None], str], asyncio.Task[None]],
) -> ConversationContext:
    dialogue = Dialogue(services.voice.history_turns)
    for heard, reply, complete in question.earlier:
        dialogue.add(heard, (), reply, complete)
    return ConversationContext(
        services=services,
        tools=_NoTools(),
        output=_Collected(),
        downlink=DOWNLINK,
        device_id=_DEVICE,
        session_id=_DEVICE,
        language=services.spoken_language(services.agent.language or question.language),
        dialogue=dialogue,
        # Without the memory of earlier conversations: the device may have been another person's since.
        prompt=SystemPrompt(
            services.prompt,
            agent=services.agent.name,
            device=question.device,
            user=question.user,
            timezone=services.timezone,
        ),
        spawn=spawn,
    )


async def _run(turn: "_ReplayTurn", question: Question) -> None:
    engine = PipelineEngine(turn.conversation)
    if question.audio is None:
        turn.begin_at(turn.as_recorded("transcript", "endpoint"))
        turn.heard = question.heard
        await turn.follow_language(None)
    else:
        try:
            transcript = await _heard(engine, turn, question.audio)
        except ProviderError as error:
            turn.not_understood(error)
            return
        if not turn.take_words(transcript.text, 0.0):
            turn.outcome = "nothing heard"
            return
        turn.emotion = transcript.emotion
        await turn.follow_language(transcript.language)
    async with aclosing(engine):
        await engine.answer(turn)


async def _heard(engine: PipelineEngine, turn: "_ReplayTurn", audio: Pcm) -> Transcript:
    """The transcript; a recogniser that streams hears the audio at the pace at which it was spoken."""
    transcriber = engine.transcribe()
    loop = asyncio.get_running_loop()
    try:
        began = loop.time()
        for start in range(0, audio.size, _FRAME):
            transcriber.push(audio[start : start + _FRAME])
            if turn.services.stt.capabilities.streaming:
                await asyncio.sleep(began + (start + _FRAME) / HEARING_RATE - loop.time())
        turn.begin_at(turn.as_recorded("endpoint"))
        return await transcriber.finish()
    finally:
        await transcriber.aclose()


def _result(turn: "_ReplayTurn", question: Question) -> Replayed:
    error, role, problem = "", "", ""
    failure = turn.misheard or (turn.reply.failure if turn.reply is not None else None)
    if failure is not None:
        error, problem = failure_kind(failure), str(failure)
        role = "stt" if turn.misheard is not None or turn.reply is None else turn.reply.failed_role
    collected = turn.collected
    stages = turn.timings.as_ms()
    return Replayed(
        heard=turn.heard,
        reply=turn.reply.text.strip() if turn.reply is not None else "",
        outcome=turn.outcome,
        error=error,
        error_role=role,
        problem=problem,
        stages_ms=stages,
        as_recorded=turn.taken,
        uses=turn.usage.uses,
        heard_s=0.0 if question.audio is None else question.audio.size / HEARING_RATE,
        spoken_s=collected.frames_played * DOWNLINK.frame_ms / 1000,
        packets=collected.packets,
    )


class _ReplayTurn(TurnContext):
    """The turn, with the recorded one's first stages."""

    def __init__(self, conversation: ConversationContext, question: Question) -> None:
        self.collected = _Collected()
        tools = _NoTools()
        super().__init__(
            conversation, self.collected, tools, mode=question.mode, language=conversation.language.current
        )
        self.collected.marks = lambda at: self.timings.mark("stop", at)
        self.collected.begins = lambda: self.mark("speech")
        self._recorded = question.stages_ms
        self.taken: tuple[str, ...] = ()

    def as_recorded(self, *stages: str) -> Mapping[str, float]:
        """The recorded times of these stages, in ms, as far as they are known."""
        return {stage: self._recorded[stage] for stage in stages if stage in self._recorded}

    def begin_at(self, known: Mapping[str, float]) -> None:
        """From now on the turn is timed: the stages in `known` are over."""
        now = self._loop.time()
        self.timings.speech_end = now - max(known.values(), default=0.0) / 1000
        for stage in ("endpoint", "transcript"):
            if stage in known:
                self.timings.mark(stage, self.timings.speech_end + known[stage] / 1000)
        self.taken = tuple(known)

    def progress(self) -> None:
        """Does nothing: the caller bounds the time."""

    def hold(self) -> NoReturn:
        """There are no preemptive replies: all of the words are known."""
        raise NotImplementedError

    def adopt(self, held: TurnContext) -> NoReturn:
        """There are none."""
        raise NotImplementedError

    def echoed(self, text: str, began_at: float) -> bool:
        """False: the recorded words were answered, so they are no echo."""
        del text, began_at
        return False


class _Collected:
    """The reply's sound as a device would play it, without waiting for it. A `ReplyOutput`."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self.begun = self.closed = False
        self.frames_played = 0
        self.begins: Callable[[], None] = lambda: None
        self.marks: Callable[[float], None] = lambda at: None
        self._clock = asyncio.get_running_loop().time
        self._ends_at = 0.0

    def begin_speech(self) -> None:
        """The first sound is about to come."""
        if not self.begun:
            self.begun = True
            self.begins()

    async def play(self, opus: bytes) -> None:
        """Keeps a frame; it is over a frame after the one before, or after it came."""
        if self.closed:
            return
        self.frames_played += 1
        self._ends_at = max(self._ends_at, self._clock()) + DOWNLINK.frame_ms / 1000
        if self.frames_played * DOWNLINK.frame_ms <= MAX_SPOKEN_S * 1000:
            self.packets.append(opus)

    async def finish_speech(self) -> None:
        """Notes when the device would have been done."""
        self.marks(self._ends_at or self._clock())

    async def play_sentence(self, text: str) -> None:
        """There is no screen."""

    def show_transcript(self, text: str) -> None:
        """There is no screen."""

    def show_emotion(self, emotion: str, emoji: str = "") -> None:
        """There is no face."""

    def show_alert(self, status: str, message: str, emotion: str = "sad") -> None:
        """The result has the error."""

    def stop_speech(self) -> None:
        """Does nothing: a replay is not interrupted."""

    def pause_speech(self) -> None:
        """Does nothing: a replay is not interrupted."""

    def resume_speech(self) -> None:
        """Does nothing: a replay is not interrupted."""

    def end_session(self, reason: str) -> None:
        """There is no session."""

    def release(self) -> None:
        """It is never held."""

    def close(self) -> None:
        """Takes nothing more."""
        self.closed = True


class _NoTools:
    """No tools: what a turn did is not done again. A `ReplyTools`, and the `Tools` of a conversation."""

    def specs(self) -> tuple[ToolSpec, ...]:
        """None."""
        return ()

    async def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Refuses."""
        del arguments
        raise ToolError(f"{name} is not available: a turn is asked again without tools")

    async def run(
        self, calls: Sequence[ToolCall], progress: Callable[[], None], ran: ToolRan
    ) -> tuple[ChatMessage, ...]:
        """Refuses calls that a model makes of tools that it was not told of."""
        del ran
        progress()
        told = "error: not available"
        return tuple(ChatMessage("tool", told, tool_call_id=call.id) for call in calls)

    async def act(self) -> None:
        """Nothing is held."""

    def release(self) -> None:
        """Nothing is held."""
