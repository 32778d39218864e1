"""Providers, ears, tools and a device that implement the contracts voice works with, and follow a script.

All of them work on virtual time. An "Opus" packet of the fake uplink is one byte: its speech probability in
percent.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.config.agents import AgentSettings
from mimi_mqtt.config.prompt import PromptTemplate
from mimi_mqtt.config.settings import SessionSettings
from mimi_mqtt.config.voice import VoiceSettings
from mimi_mqtt.errors import ToolError
from mimi_mqtt.providers.contract.chat import ChatMessage, ChatOptions, LlmEvent, TextDelta, ToolSpec
from mimi_mqtt.providers.contract.llm import LanguageModel
from mimi_mqtt.providers.contract.provider import ProviderOptions
from mimi_mqtt.providers.contract.recording import Transcript
from mimi_mqtt.providers.contract.stt import SpeechToText, SttCapabilities
from mimi_mqtt.providers.contract.tts import SpeechChunk, TextToSpeech, TtsCapabilities, VoiceOptions
from mimi_mqtt.providers.contract.vad import VadStream
from mimi_mqtt.providers.runtime.realtime.provider import SpeechToSpeech
from mimi_mqtt.providers.runtime.resilience import Limits
from mimi_mqtt.session.playout import Playout
from mimi_mqtt.store.turn_record import TurnRecord
from mimi_mqtt.voice.device_shares import DeviceShares
from mimi_mqtt.voice.hearing.decoder import EchoPathCache
from mimi_mqtt.voice.hearing.stream import StreamPool, UplinkStream
from mimi_mqtt.voice.language.spoken import TellsLanguages
from mimi_mqtt.voice.ports import AudioFormat, HeardFrame
from mimi_mqtt.voice.services import VoiceServices
from mimi_mqtt.voice.speech.encoder import SpeechEncoders

_LIMITS = Limits(timeout_s=15.0, retries=0)

UPLINK = AudioFormat(16_000, 60)
DOWNLINK = AudioFormat(24_000, 60)
SPEECH = bytes([90])
SILENCE = bytes([5])


class Wait:
    """A step of a script: seconds of virtual time, or until an event is set."""

    def __init__(self, until: float | asyncio.Event) -> None:
        self._until = until

    async def over(self) -> None:
        """Waits."""
        if isinstance(self._until, asyncio.Event):
            await self._until.wait()
        else:
            await asyncio.sleep(self._until)


class ScriptedStt(SpeechToText):
    """Each utterance's transcript, or error, or a wait before the next step; the last one is repeated."""

    def __init__(
        self,
        *script: str | Transcript | BaseException | Wait,
        sample_rate: int = 16_000,
        streaming: bool = True,
        detects: frozenset[str] | None = frozenset(),
    ) -> None:
        super().__init__("scripted-stt", ProviderOptions(), _LIMITS)
        self.capabilities = SttCapabilities(streaming, sample_rate=sample_rate, detects=detects)
        self._script = list(script)
        self.heard_samples: list[int] = []
        self.languages: list[str | None] = []

    async def _transcribe(self, audio: AsyncIterator[Pcm], language: str | None) -> AsyncIterator[Transcript]:
        samples = 0
        async for pcm in audio:
            samples += len(pcm)
        self.heard_samples.append(samples)
        self.languages.append(language)
        while True:
            step = self._script.pop(0) if len(self._script) > 1 else self._script[0]
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, str):
                step = Transcript(step, final=True)
            if isinstance(step, Transcript):
                yield step
                return
            await step.over()


class ScriptedLlm(LanguageModel):
    """For each request a list of texts, tool calls, errors and waits; the last list is repeated."""

    def __init__(self, *answers: Sequence[str | LlmEvent | BaseException | Wait]) -> None:
        super().__init__("scripted-llm", ProviderOptions(), _LIMITS)
        self._answers = list(answers)
        self.requests: list[list[ChatMessage]] = []
        self.offered: list[tuple[str, ...]] = []
        self.languages: list[str] = []
        self.cancelled = 0

    async def _chat(
        self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec], options: ChatOptions
    ) -> AsyncIterator[LlmEvent]:
        self.requests.append(list(messages))
        self.languages.append(options.language)
        self.offered.append(tuple(tool.name for tool in tools))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        try:
            for step in answer:
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, Wait):
                    await step.over()
                else:
                    yield TextDelta(step) if isinstance(step, str) else step
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def check(self) -> str:
        """Not asked in these tests."""
        return ""


class ToneTts(TextToSpeech):
    """Speaks each text as a tone of `ms_per_char`, after `delay_s`; raises `error` for texts that contain
    `fails_on`."""

    def __init__(
        self,
        *,
        ms_per_char: int = 60,
        sample_rate: int = 22_050,
        delay_s: float = 0.0,
        error: BaseException | None = None,
        fails_on: str = "",
        languages: frozenset[str] | None = None,
    ) -> None:
        super().__init__("tone-tts", ProviderOptions(), _LIMITS)
        self.capabilities = TtsCapabilities(True, languages)
        self._ms_per_char = ms_per_char
        self._sample_rate = sample_rate
        self._delay_s = delay_s
        self._error = error
        self._fails_on = fails_on
        self.texts: list[str] = []
        self.voices: list[tuple[str, str | None]] = []

    async def _synthesize(self, text: str, voice: VoiceOptions) -> AsyncIterator[SpeechChunk]:
        self.texts.append(text)
        self.voices.append((voice.language, voice.voice))
        if self._delay_s:
            await asyncio.sleep(self._delay_s)
        if self._error is not None and self._fails_on in text:
            raise self._error
        samples = self._sample_rate * self._ms_per_char * len(text) // 1000
        tone = 8000 * np.sin(np.arange(samples) * (2 * np.pi * 440 / self._sample_rate))
        for part in np.array_split(tone.astype(np.int16), 3):
            yield SpeechChunk(part, self._sample_rate)

    async def check(self) -> str:
        """Not asked in these tests."""
        return ""


class FakeDetector(VadStream):
    """Remembers nothing: a fake packet says how probable speech is in it."""


class WatchedStream(UplinkStream):
    """The real uplink stream, which writes down what was asked of it."""

    def __init__(
        self,
        pool: StreamPool,
        uplink: AudioFormat,
        jitter_ms: int,
        on_frame: Callable[[HeardFrame], None],
        device_id: str,
        *,
        unlabelled_echo: bool,
    ) -> None:
        self.sequences: list[int] = []
        self.timestamps: list[int] = []
        self.resets = 0
        self.flushed = 0
        self.closed = False
        super().__init__(pool, uplink, jitter_ms, on_frame, device_id, unlabelled_echo=unlabelled_echo)

    def push(self, opus: bytes, sequence: int, now: float, timestamp: int = 0) -> None:
        """Takes a packet."""
        self.sequences.append(sequence)
        super().push(opus, sequence, now, timestamp)

    def played(self, opus: bytes, timestamp: int, now: float) -> None:
        """Takes what the device was sent."""
        self.timestamps.append(timestamp)
        super().played(opus, timestamp, now)

    def flush(self) -> None:
        """Releases what is held."""
        self.flushed += 1
        super().flush()

    def reset(self) -> None:
        """Drops what is not heard yet."""
        self.resets += 1
        super().reset()

    def close(self) -> None:
        """Ends it."""
        self.closed = True
        super().close()


class FakeHearing:
    """Real uplink streams over a pool that reads the speech probability from each fake packet.

    `cancels_echo`: as the device needs it. Frames are heard in batches, as from threads: with the loop's next
    turn, or `late_s` later.
    """

    def __init__(self, *, cancels_echo: bool = True, late_s: float = 0.0) -> None:
        self.ears: list[WatchedStream] = []
        self.cancels_echo = cancels_echo
        self.echo_paths = EchoPathCache()
        self._late_s = late_s
        self._samples = 0

    def open(
        self,
        uplink: AudioFormat,
        jitter_ms: int,
        on_frame: Callable[[HeardFrame], None],
        device_id: str = "",
        *,
        unlabelled_echo: bool = False,
    ) -> WatchedStream:
        """A stream."""
        self._samples = 16 * uplink.frame_ms
        self.ears.append(
            WatchedStream(self, uplink, jitter_ms, on_frame, device_id, unlabelled_echo=unlabelled_echo)
        )
        return self.ears[-1]

    def take_audio(self, device_id: str, seconds: float, now: float) -> bool:
        """Takes everything."""
        return True

    def new_detector(self) -> VadStream:
        """A detector's state."""
        return FakeDetector()

    def schedule(self, stream: UplinkStream) -> None:
        """Hears what is pending a little later."""
        asyncio.get_running_loop().call_later(self._late_s, self._work, stream)

    def _work(self, stream: UplinkStream) -> None:
        if not stream.pending:
            stream.unqueue()
            return
        job = stream.take()
        job.played.clear()
        silence = np.zeros(self._samples, np.int16)
        frames = [
            HeardFrame(silence, packet.opus[0] / 100 if packet is not None else 0.0, packet is None)
            for packet in job.packets
        ]
        stream.heard(job.generation, len(job.packets), frames)

    def await_gap(self, stream: UplinkStream, due: float) -> None:
        """Waits for a missing packet."""
        loop = asyncio.get_running_loop()
        loop.call_at(due, lambda: stream.gap_due(loop.time()))

    def forget(self, stream: UplinkStream) -> None:
        """Nothing is kept."""


class FakeTools:
    """Tools by name: an answer, or a ToolError to raise. Those in `read_only` say so."""

    def __init__(self, **answers: str | ToolError) -> None:
        self._answers = answers
        self.read_only: frozenset[str] = frozenset()
        self.calls: list[tuple[str, Mapping[str, Any]]] = []

    def specs(self) -> tuple[ToolSpec, ...]:
        """All of them, without parameters."""
        return tuple(
            ToolSpec(name, f"does {name}", {"type": "object"}, read_only=name in self.read_only)
            for name in self._answers
        )

    async def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """The prepared answer."""
        self.calls.append((name, arguments))
        answer = self._answers.get(name, ToolError(f"there is no tool {name}"))
        if isinstance(answer, ToolError):
            raise answer
        return answer


class MemoryLog:
    """Keeps finished turns."""

    def __init__(self) -> None:
        self.records: list[TurnRecord] = []

    def add_turn(self, record: TurnRecord) -> None:
        """Keeps one."""
        self.records.append(record)


class FakeDevice:
    """An `Output` over the real play-out queue, in virtual time, that records what reached the device.

    It keeps the contract that `tests/unit/session/test_output_contract.py` holds it and the real output to,
    but for the frames sent ahead: each leaves when it is due, so that what has left was heard.
    `events` are (time, what, text): stt, llm, start, sentence, audio, stop, alert, goodbye. `speaking` is the
    device's state. `stuck` set: frames are never accepted. `on_played` is called with each frame that leaves,
    as a session calls its conversation; `accepted` counts the frames taken, `stray` those outside of speech.
    """

    def __init__(self, *, gap_s: float = 0.1, frame_ms: int = 60, margin_s: float = 0.12) -> None:
        self._loop = asyncio.get_running_loop()
        self._gap_s = gap_s
        self._margin_s = margin_s
        self._broken: OSError | None = None
        self._ended = False
        self.stray = 0
        self._stream = Playout().open(self, frame_ms, ahead_frames=0)
        self._changed = asyncio.Event()
        self.on_played: Callable[[bytes, int], None] = lambda opus, timestamp: None
        self.events: list[tuple[float, str, str]] = []
        self.packets: list[bytes] = []
        self.accepted = 0
        self.speaking = False
        self.stuck = False
        self._paused = False

    def _note(self, what: str, text: str = "") -> None:
        if self._ended:
            return
        self.events.append((self._loop.time(), what, text))
        self._changed.set()

    def show_transcript(self, text: str) -> None:
        """stt."""
        self._note("stt", text)

    def show_emotion(self, emotion: str, emoji: str = "") -> None:
        """llm."""
        self._note("llm", emotion)

    def begin_speech(self) -> None:
        """tts start."""
        if not self.speaking and not self._ended:
            self.speaking = True
            self._note("start")
            self._stream.hold()
            self._stream.begin(self._loop.time() + self._gap_s)

    async def play_sentence(self, text: str) -> None:
        """Queues a mark."""
        if self.speaking:
            self._stream.put_sentence(text)

    async def play(self, opus: bytes) -> None:
        """One frame; waits while the queue is full."""
        if self.stuck:
            await asyncio.Event().wait()
        if not self.speaking and not self._stream.failed:
            self.stray += 1
            return
        self.accepted += 1
        await self._stream.put_frame(opus)

    def send_frame(self, opus: bytes, timestamp: int) -> None:
        """The play-out clock: a frame leaves."""
        broken, self._broken = self._broken, None
        if broken is not None:
            raise broken
        self.packets.append(opus)
        self._note("audio")
        self.on_played(opus, timestamp)

    def send_sentence(self, text: str) -> None:
        """The play-out clock: tts sentence_start."""
        self._note("sentence", text)

    def speech_over(self) -> None:
        """The play-out clock: all was played."""
        self._stop()

    @property
    def frames_played(self) -> int:
        """Frames that have left."""
        return self._stream.frames_sent

    async def finish_speech(self) -> None:
        """Plays to the end, then tts stop."""
        if self.speaking or self._stream.failed:
            await self._stream.finish(self._margin_s)

    def end_after_sentence(self) -> None:
        """Drops what is queued behind the sentence being played."""
        self._stream.end_after_sentence()

    def stop_speech(self) -> None:
        """tts stop now."""
        if self.speaking:
            self._stop()
            self._stream.flush()

    def _stop(self) -> None:
        self._paused = False
        if self.speaking:
            self.speaking = False
            self._note("stop")

    def pause_speech(self) -> None:
        """Pauses play-out."""
        if self.speaking and not self._paused:
            self._paused = True
            self._stream.pause()
            self._note("pause")

    def resume_speech(self) -> None:
        """Continues play-out."""
        if self._paused:
            self._paused = False
            self._stream.resume()
            self._note("resume")

    def show_alert(self, status: str, message: str, emotion: str = "sad") -> None:
        """alert."""
        self._note("alert", message)

    def end_session(self, reason: str) -> None:
        """goodbye: nothing reaches the device any more."""
        self.stop_speech()
        self._note("goodbye", reason)
        self._ended = True

    def break_stream(self) -> None:
        """Sending the next frame fails, as with a socket that is gone."""
        self._broken = OSError("the network is down")

    # ── for tests ────────────────────────────────────────────────────────────────────────────────────────

    def said(self, *, audio: bool = False) -> list[str]:
        """The order of what reached the device; consecutive audio frames count once, or not at all."""
        order: list[str] = []
        for _, what, _ in self.events:
            if what != "audio" or (audio and (not order or order[-1] != "audio")):
                order.append(what)
        return order

    def texts(self, what: str) -> list[str]:
        """The texts of all events of one kind."""
        return [text for _, kind, text in self.events if kind == what]

    def count(self, what: str) -> int:
        """How many events of one kind there were."""
        return len(self.texts(what))

    async def until(self, what: str, times: int = 1) -> None:
        """Waits for an event to have happened `times` times."""
        while self.count(what) < times:
            self._changed.clear()
            await self._changed.wait()


def services(
    *,
    stt: SpeechToText | None = None,
    llm: LanguageModel | None = None,
    tts: TextToSpeech | None = None,
    voice: VoiceSettings | None = None,
    agent: AgentSettings | None = None,
    session: SessionSettings | None = None,
    languages: TellsLanguages | None = None,
    s2s: SpeechToSpeech | None = None,
    shares: DeviceShares | None = None,
) -> VoiceServices:
    """Services of fakes; `hearing` is a FakeHearing and `log` a MemoryLog. Close `encoders` afterwards."""
    agent = agent or AgentSettings()
    return VoiceServices(
        stt=stt or ScriptedStt("hello"),
        llm=llm or ScriptedLlm(["Hi there."]),
        tts=tts or ToneTts(),
        hearing=FakeHearing(),
        encoders=SpeechEncoders(24_000, 0, 1),
        log=MemoryLog(),
        voice=voice or VoiceSettings(),
        agent=agent,
        prompt=PromptTemplate(agent.prompt),
        session=session or SessionSettings(),
        languages=languages,
        s2s=s2s,
        shares=shares or DeviceShares(),
    )
