"""From Opus packets to heard frames: order, decode, conceal, detect voice; all sessions in common batches.

The loop only sorts packets into ears. While any ear has work, batches over all of them run in a few threads,
where libopus and the detector release the GIL; each batch comes back to the loop as one call.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from prometheus_client import Counter, Histogram

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.echo_canceller import available
from mimi_mqtt.audio.jitter_buffer import JitterBuffer
from mimi_mqtt.providers.contract.vad import VadStream, VoiceActivityDetector
from mimi_mqtt.voice.hearing.decoder import HEARING_RATE as HEARING_RATE
from mimi_mqtt.voice.hearing.decoder import MAX_CONCEALED_RUN as MAX_CONCEALED_RUN
from mimi_mqtt.voice.hearing.decoder import DecodedFrame, PlayedPacket, UplinkDecoder, UplinkPacket
from mimi_mqtt.voice.hearing.echo_paths import Rooms
from mimi_mqtt.voice.ports import AudioFormat

_log = logging.getLogger(__name__)

MAX_PENDING_PACKETS: Final = 100
"""Packets of one ear that may wait for a thread; the oldest is dropped beyond."""

_MAX_PLAYED: Final = 64
"""Downlink packets that wait to be known to the canceller; the oldest is forgotten beyond."""

SPOKEN: Final = 0.5
"""Voice probability from which all of the speaker is worth a little more of the echo."""

UNSURE: Final = 0.89
"""What a voice probability is worth while an echo might be taken for a speaker: of 0.9 that of 0.8 (measured
by `bench turns`)."""

_BATCH_EARS: Final = 64
_BATCH_PACKETS: Final = 8  # of one ear, so that a burst of one doesn't delay the others
_GATHER_S: Final = 0.004

_frames = Counter("mimi_hearing_frames_total", "Frames heard, concealed ones included.")
_lost = Counter("mimi_hearing_lost_frames_total", "Frames that had to be concealed or were silence.")
_bad = Counter("mimi_hearing_bad_packets_total", "Packets libopus could not decode.")
_dropped = Counter("mimi_hearing_dropped_packets_total", "Packets dropped because the threads were too busy.")
_vad_failures = Counter("mimi_hearing_detector_failures_total", "Batches the voice detector failed on.")
_batch_seconds = Histogram(
    "mimi_hearing_batch_seconds",
    "Time from a batch's submission to its results on the loop.",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0),
)


@dataclass(frozen=True, slots=True)
class HeardFrame:
    """One frame, 16 kHz mono. `lost`: its packet never came or was broken; `pcm` is a guess or silence."""

    pcm: Pcm
    speech_probability: float
    lost: bool


class Ear:
    """One session's uplink. Made by `Hearing.open`; all methods are called on the loop."""

    __slots__ = (
        "_busy",
        "_cancelling",
        "_closed",
        "_decoder",
        "_device_id",
        "_fresh",
        "_generation",
        "_hearing",
        "_jitter",
        "_on_frame",
        "_outstanding",
        "_pending",
        "_played",
        "_queued",
        "_stream",
        "_waiters",
        "dropped",
    )

    def __init__(
        self,
        hearing: "Hearing",
        uplink: AudioFormat,
        jitter_ms: int,
        on_frame: Callable[[HeardFrame], None],
        device_id: str,
    ) -> None:
        self._hearing = hearing
        self._device_id = device_id
        self._on_frame = on_frame
        self._jitter: JitterBuffer[UplinkPacket] = JitterBuffer(jitter_ms / 1000)
        self._decoder = UplinkDecoder(uplink.frame_ms)
        self._played: deque[PlayedPacket] = deque(maxlen=_MAX_PLAYED)
        self._cancelling = False
        self._stream: VadStream = hearing.vad.open()
        self._pending: deque[UplinkPacket | None] = deque()
        self._generation = 0
        self._fresh = False
        self._busy = False
        self._queued = False
        self._closed = False
        self._outstanding = 0  # packets released and neither heard nor dropped
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.dropped = 0
        """Packets dropped because the threads were too busy, in all."""

    @property
    def lost(self) -> int:
        """Packets given up by the jitter buffer, in all."""
        return self._jitter.lost

    @property
    def late(self) -> int:
        """Packets that came after they were given up, in all."""
        return self._jitter.late

    def push(self, opus: bytes, sequence: int, now: float, timestamp: int = 0) -> None:
        """Takes a packet; `now` is the loop's clock. Frames come to `on_frame` in the order of sequences.

        `timestamp` is 0 or that of the downlink frame which was playing (ms). Only a device that wants its
        echo cancelled here ever sends one: from the first on that is done, if the package is there.
        """
        if self._closed:
            return
        if timestamp and not self._cancelling:
            self._cancelling = self._hearing.cancels_echo
            if self._cancelling:
                self._decoder.room = self._hearing.rooms.take(self._device_id)
        jitter = self._jitter
        jitter.push(sequence, UplinkPacket(opus, timestamp), now)
        if packets := jitter.pop(now):
            self._enqueue(packets)
        if jitter.due is not None:
            self._hearing._await_gap(self, jitter.due)

    def played(self, opus: bytes, timestamp: int) -> None:
        """Takes note of a downlink frame that has left for the device."""
        if not self._closed:
            self._played.append(PlayedPacket(opus, timestamp))

    def flush(self) -> None:
        """Releases what is held behind a gap: the utterance ends here. `drained` tells when it was heard."""
        if not self._closed:
            self._enqueue(self._jitter.flush())

    async def drained(self) -> None:
        """Returns when every packet released so far has reached `on_frame`, or the ear is closed or reset."""
        if self._outstanding:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append((self._outstanding, waiter))
            await waiter

    def reset(self) -> None:
        """Forgets what is not yet heard, and the codec's and detector's past: a new listening turn begins."""
        if self._closed:
            return
        self._jitter.reset()
        self._outstanding -= len(self._pending)
        self._pending.clear()
        self._generation += 1
        self._fresh = True
        self._stream = self._hearing.vad.open()
        self._release_waiters()

    def close(self) -> None:
        """Ends the ear; no frame comes any more. Safe to call twice."""
        self._closed = True
        self._outstanding -= len(self._pending)
        self._pending.clear()
        self._generation += 1
        self._hearing._forget(self)
        self._release_waiters()
        if not self._busy:
            self._leave()

    def _leave(self) -> None:
        """Nothing works for this ear any more: another of the same device may know the room."""
        room, self._decoder.room = self._decoder.room, None
        if room is not None:
            self._hearing.rooms.keep(self._device_id, room)

    def _enqueue(self, packets: list[UplinkPacket | None]) -> None:
        if not packets:
            return
        pending = self._pending
        pending.extend(packets)
        self._outstanding += len(packets)
        if len(pending) > MAX_PENDING_PACKETS:
            excess = len(pending) - MAX_PENDING_PACKETS
            for _ in range(excess):
                pending.popleft()
            _dropped.inc(excess)
            if not self.dropped:
                _log.warning("the audio threads can't keep up: packets are dropped (see voice.audio_threads)")
            self.dropped += excess
            self._count_down(excess)
        if not self._queued and not self._busy:
            self._queued = True
            self._hearing._schedule(self)

    def _gap_due(self, now: float) -> float | None:
        self._enqueue(self._jitter.pop(now))
        return self._jitter.due

    def _take(self) -> "_Job":
        self._queued = False
        self._busy = True
        pending = self._pending
        packets = [pending.popleft() for _ in range(min(len(pending), _BATCH_PACKETS))]
        played: list[PlayedPacket] = []
        if self._cancelling:
            played += self._played
            self._played.clear()
        job = _Job(self, self._generation, self._decoder, self._stream, self._fresh, packets, played)
        self._fresh = False
        return job

    def _heard(self, generation: int, taken: int, frames: list[HeardFrame]) -> None:
        self._busy = False
        if self._closed:
            self._leave()
        on_frame = self._on_frame
        for frame in frames:
            if generation != self._generation:  # `on_frame` itself may reset or close the ear
                break
            try:
                on_frame(frame)
            except Exception:  # noqa: BLE001 - the border of one ear: the others must go on hearing
                _log.exception("a listener failed on a heard frame")
        self._count_down(taken)
        if self._pending and not self._queued and not self._closed:
            self._queued = True
            self._hearing._schedule(self)

    def _release_waiters(self) -> None:
        while self._waiters:
            _, waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def _count_down(self, packets: int) -> None:
        self._outstanding -= packets
        for index, (left, waiter) in enumerate(self._waiters):
            self._waiters[index] = (left - packets, waiter)
        while self._waiters and self._waiters[0][0] <= 0:
            _, waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)


@dataclass(slots=True)
class _Job:
    """What a thread does for one ear in one batch."""

    ear: Ear
    generation: int
    decoder: UplinkDecoder
    stream: VadStream
    fresh: bool
    packets: list[UplinkPacket | None]
    played: list[PlayedPacket]


@dataclass(slots=True)
class _Results:
    """What comes back from a batch: the frames of each job, in the jobs' order."""

    frames: list[list[HeardFrame]]
    lost: int
    broken: int


class Hearing:
    """Hears for all sessions. `vad` must be started; `threads` is the pool's size (`voice.audio_threads`)."""

    def __init__(self, vad: VoiceActivityDetector, threads: int) -> None:
        self.vad = vad
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="hearing")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ears: set[Ear] = set()
        self._queue: deque[Ear] = deque()
        self._running = 0
        self._gather: asyncio.TimerHandle | None = None
        self._gaps: set[Ear] = set()
        self._gap_timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._vad_failed = False
        self.rooms = Rooms()
        """Where devices stand whose echo is cancelled here."""
        self.cancels_echo = available()
        """Whether the echo of devices that want it can be cancelled here (extra `aec`)."""
        self.longest_batch_s = 0.0
        """The longest time a batch took from submission to its results on the loop."""

    def open(
        self,
        uplink: AudioFormat,
        jitter_ms: int,
        on_frame: Callable[[HeardFrame], None],
        device_id: str = "",
    ) -> Ear:
        """An ear for one session. `on_frame` is called on the loop, in order; what it raises is only logged.

        `jitter_ms` is how long a missing packet is waited for. What is learnt of the room of `device_id` is
        there for its next session. Raises StartupError without libopus.
        """
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        ear = Ear(self, uplink, jitter_ms, on_frame, device_id)
        self._ears.add(ear)
        return ear

    async def aclose(self) -> None:
        """Ends the threads once their running batches are done; nothing is heard any more."""
        self._closed = True
        for timer in (self._gather, self._gap_timer):
            if timer is not None:
                timer.cancel()
        for ear in list(self._ears):
            ear.close()
        self._queue.clear()
        self._gaps.clear()
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    # ── on the loop ──────────────────────────────────────────────────────────────────────────────────────

    def _schedule(self, ear: Ear) -> None:
        if self._closed or self._loop is None:
            return
        self._queue.append(ear)
        if self._gather is None and self._running < self._threads:
            self._gather = self._loop.call_later(_GATHER_S, self._dispatch)

    def _dispatch(self) -> None:
        self._gather = None
        queue = self._queue
        while queue and self._running < self._threads and not self._closed:
            jobs: list[_Job] = []
            while queue and len(jobs) < _BATCH_EARS:
                ear = queue.popleft()
                if ear._pending:
                    jobs.append(ear._take())
                else:
                    ear._queued = False
            if jobs:
                self._submit(jobs)

    def _submit(self, jobs: list[_Job]) -> None:
        loop, submitted = self._loop, time.monotonic()
        if loop is None:
            return
        self._running += 1

        def done(future: Future[_Results]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._finished, jobs, future, submitted)

        self._pool.submit(self._hear, jobs).add_done_callback(done)

    def _finished(self, jobs: list[_Job], future: Future[_Results], submitted: float) -> None:
        self._running -= 1
        took = time.monotonic() - submitted
        self.longest_batch_s = max(self.longest_batch_s, took)
        _batch_seconds.observe(took)
        if future.cancelled():
            frames: list[list[HeardFrame]] = [[] for _ in jobs]
        elif (error := future.exception()) is not None:
            _log.error("a hearing batch failed, its packets are lost", exc_info=error)
            frames = [[] for _ in jobs]
        else:
            results = future.result()
            frames = results.frames
            _frames.inc(sum(map(len, frames)))
            if results.lost:
                _lost.inc(results.lost)
            if results.broken:
                _bad.inc(results.broken)
        for job, heard in zip(jobs, frames, strict=True):
            job.ear._heard(job.generation, len(job.packets), heard)
        # While threads work the queue fills by itself; only after a pause is there something to wait for.
        if self._queue:
            if self._gather is not None:
                self._gather.cancel()
            self._dispatch()

    def _await_gap(self, ear: Ear, due: float) -> None:
        if self._loop is None or self._closed:
            return
        self._gaps.add(ear)
        if self._gap_timer is None or due < self._gap_timer.when():
            if self._gap_timer is not None:
                self._gap_timer.cancel()
            self._gap_timer = self._loop.call_at(due, self._gaps_due)

    def _gaps_due(self) -> None:
        self._gap_timer = None
        if self._loop is None:
            return
        now = self._loop.time()
        waiting, self._gaps = self._gaps, set()
        for ear in waiting:
            if (due := ear._gap_due(now)) is not None:
                self._await_gap(ear, max(due, now))

    def _forget(self, ear: Ear) -> None:
        self._gaps.discard(ear)
        self._ears.discard(ear)

    # ── in a thread ──────────────────────────────────────────────────────────────────────────────────────

    def _hear(self, jobs: list[_Job]) -> _Results:
        lost = broken = 0
        decoded: list[list[DecodedFrame]] = []
        for job in jobs:
            if job.fresh:
                job.decoder.reset()
            if job.played:
                job.decoder.play(job.played)
            frames = [job.decoder.decode(packet) for packet in job.packets]
            lost += sum(frame.lost for frame in frames)
            broken += sum(frame.broken for frame in frames)
            decoded.append(frames)
        heard: list[list[HeardFrame]] = [[] for _ in jobs]
        for round_ in range(max(map(len, decoded))):
            present = [index for index, frames in enumerate(decoded) if round_ < len(frames)]
            values = self._probabilities([(jobs[i].stream, decoded[i][round_].quiet) for i in present])
            for index, value in zip(present, values, strict=True):
                frame = decoded[index][round_]
                pcm = frame.whole if value >= SPOKEN else frame.quiet
                heard[index].append(HeardFrame(pcm, value if frame.sure else value * UNSURE, frame.lost))
        return _Results(heard, lost, broken)

    def _probabilities(self, batch: list[tuple[VadStream, Pcm]]) -> list[float]:
        try:
            return self.vad.probabilities(batch)
        except Exception:  # noqa: BLE001 - a broken detector must not take the words from who needs none
            _vad_failures.inc()
            if not self._vad_failed:
                self._vad_failed = True
                _log.exception("voice detection failed; such frames count as silence (logged once)")
            return [0.0] * len(batch)
