"""Hearing pool: decodes the uplink streams of all sessions and detects voice in them, in common batches.

The loop only sorts packets into streams. While any stream has work, batches over all of them run in a few
threads, where libopus and the detector release the GIL; each batch comes back to the loop as one call.
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
from mimi_mqtt.providers.contract.vad import VadStream, VoiceActivityDetector
from mimi_mqtt.voice.device_shares import DeviceShares
from mimi_mqtt.voice.hearing.decoder import DecodedFrame, EchoPathCache
from mimi_mqtt.voice.hearing.stream import Job, UplinkStream
from mimi_mqtt.voice.ports import AudioFormat, HeardFrame

_log = logging.getLogger(__name__)

SPOKEN: Final = 0.5
"""From this speech probability on the less suppressed signal is passed on: all of the speaker, and a little
more of the echo."""

UNSURE: Final = 0.89
"""Factor of the speech probability while the echo path is not known, so that echo may look like speech: 0.9
counts as 0.8 (measured by `bench turns`)."""

_BATCH_STREAMS: Final = 64
_GATHER_S: Final = 0.004

_frames = Counter("mimi_hearing_frames_total", "Frames heard, concealed ones included.")
_lost = Counter("mimi_hearing_lost_frames_total", "Frames that had to be concealed or were silence.")
_bad = Counter("mimi_hearing_bad_packets_total", "Packets libopus could not decode.")
_vad_failures = Counter("mimi_hearing_detector_failures_total", "Batches the voice detector failed on.")
_batch_seconds = Histogram(
    "mimi_hearing_batch_seconds",
    "Time from a batch's submission to its results on the loop.",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0),
)


@dataclass(slots=True)
class _Results:
    """Result of a batch: the frames of each job, in the jobs' order."""

    frames: list[list[HeardFrame]]
    lost: int
    broken: int


class HearingPool:
    """Hearing of all sessions. `vad` must be started; `threads` is `voice.audio_threads`; `shares` bounds
    what is taken from each device."""

    def __init__(self, vad: VoiceActivityDetector, threads: int, shares: DeviceShares | None = None) -> None:
        self._vad = vad
        self._shares = shares if shares is not None else DeviceShares()
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="hearing")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._streams: set[UplinkStream] = set()
        self._queue: deque[UplinkStream] = deque()
        self._running = 0
        self._gather: asyncio.TimerHandle | None = None
        self._gaps: set[UplinkStream] = set()
        self._gap_timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._vad_failed = False
        self.echo_paths: Final = EchoPathCache()
        """Echo paths of devices between their sessions."""
        self.cancels_echo: Final = available()
        """True when the echo of devices that want it is cancelled here (extra `aec`)."""
        self.longest_batch_s = 0.0
        """The longest time a batch took from submission to its results on the loop."""

    def open(
        self,
        uplink: AudioFormat,
        jitter_ms: int,
        on_frame: Callable[[HeardFrame], None],
        device_id: str = "",
        *,
        unlabelled_echo: bool = False,
    ) -> UplinkStream:
        """The uplink stream of one session. `on_frame` is called on the loop; its faults are logged.

        `jitter_ms` is how long a missing packet is waited for. The echo path of `device_id` is kept for its
        next session, and what it may send is bounded, unless it is empty. `unlabelled_echo`: the device wants
        its echo cancelled, and sends no timestamps. Raises StartupError without libopus.
        """
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        stream = UplinkStream(self, uplink, jitter_ms, on_frame, device_id, unlabelled_echo=unlabelled_echo)
        self._streams.add(stream)
        return stream

    async def aclose(self) -> None:
        """Ends the threads once their running batches are done; nothing is heard any more."""
        self._closed = True
        for timer in (self._gather, self._gap_timer):
            if timer is not None:
                timer.cancel()
        for stream in list(self._streams):
            stream.close()
        self._queue.clear()
        self._gaps.clear()
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    # ── for the streams, on the loop ─────────────────────────────────────────────────────────────────────

    def take_audio(self, device_id: str, seconds: float, now: float) -> bool:
        """False when a packet of the device is to be dropped: it sends faster than it can record."""
        return not device_id or self._shares.take_audio(device_id, seconds, now)

    def new_detector(self) -> VadStream:
        """The voice detector's state for a new utterance."""
        return self._vad.open()

    def schedule(self, stream: UplinkStream) -> None:
        """Puts a stream with waiting packets into the next batch."""
        if self._closed or self._loop is None:
            return
        self._queue.append(stream)
        if self._gather is None and self._running < self._threads:
            self._gather = self._loop.call_later(_GATHER_S, self._dispatch)

    def _dispatch(self) -> None:
        self._gather = None
        queue = self._queue
        while queue and self._running < self._threads and not self._closed:
            jobs: list[Job] = []
            while queue and len(jobs) < _BATCH_STREAMS:
                stream = queue.popleft()
                if stream.pending:
                    jobs.append(stream.take())
                else:
                    stream.unqueue()
            if jobs:
                self._submit(jobs)

    def _submit(self, jobs: list[Job]) -> None:
        loop, submitted = self._loop, time.monotonic()
        if loop is None:
            return
        self._running += 1

        def done(future: Future[_Results]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._finished, jobs, future, submitted)

        self._pool.submit(self._hear, jobs).add_done_callback(done)

    def _finished(self, jobs: list[Job], future: Future[_Results], submitted: float) -> None:
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
            job.stream.heard(job.generation, len(job.packets), heard)
        # While threads work the queue fills by itself; only after a pause is there something to wait for.
        if self._queue:
            if self._gather is not None:
                self._gather.cancel()
            self._dispatch()

    def await_gap(self, stream: UplinkStream, due: float) -> None:
        """Calls `stream.gap_due` at `due` (loop time, s)."""
        if self._loop is None or self._closed:
            return
        self._gaps.add(stream)
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
        for stream in waiting:
            if (due := stream.gap_due(now)) is not None:
                self.await_gap(stream, max(due, now))

    def forget(self, stream: UplinkStream) -> None:
        """Drops a closed stream."""
        self._gaps.discard(stream)
        self._streams.discard(stream)

    # ── in a thread ──────────────────────────────────────────────────────────────────────────────────────

    def _hear(self, jobs: list[Job]) -> _Results:
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
            values = self._probabilities([(jobs[i].detector, decoded[i][round_].quiet) for i in present])
            for index, value in zip(present, values, strict=True):
                frame = decoded[index][round_]
                pcm = frame.whole if value >= SPOKEN else frame.quiet
                heard[index].append(HeardFrame(pcm, value if frame.sure else value * UNSURE, frame.lost))
        return _Results(heard, lost, broken)

    def _probabilities(self, batch: list[tuple[VadStream, Pcm]]) -> list[float]:
        try:
            return self._vad.probabilities(batch)
        except Exception:  # noqa: BLE001 - a broken detector must not take the words from who needs none
            _vad_failures.inc()
            if not self._vad_failed:
                self._vad_failed = True
                _log.exception("voice detection failed; such frames count as silence (logged once)")
            return [0.0] * len(batch)
