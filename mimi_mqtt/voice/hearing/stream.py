"""Uplink stream of one session: packets put in order, decoded in the hearing pool, handed on as heard frames.

Packets that come before anybody listens are kept for a moment: UDP may overtake the message that announces
them.
"""

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from prometheus_client import Counter

from mimi_mqtt.audio.echo_labels import EchoLabels
from mimi_mqtt.audio.jitter_buffer import JitterBuffer
from mimi_mqtt.providers.contract.vad import VadStream
from mimi_mqtt.voice.hearing.decoder import EchoPathCache, PlayedPacket, UplinkDecoder, UplinkPacket
from mimi_mqtt.voice.ports import AudioFormat, HeardFrame

_log = logging.getLogger(__name__)

MAX_PENDING_PACKETS: Final = 100
"""Packets of one stream that may wait for an audio thread; the oldest is dropped beyond."""

EARLY_S: Final = 1.0
"""Packets that came at most so long before listening began are a part of it."""

MAX_EARLY_PACKETS: Final = 100
"""Packets kept while nobody listens, the last second of the shortest ones (10 ms); the oldest is dropped
beyond."""

_MAX_PLAYED: Final = 64
"""Downlink packets that wait for the echo canceller; the oldest is dropped beyond."""

_BATCH_PACKETS: Final = 8  # of one stream, so that a burst of one doesn't delay the others

_dropped = Counter("mimi_hearing_dropped_packets_total", "Packets dropped because the threads were too busy.")


@dataclass(slots=True)
class Job:
    """Work of one stream in one batch of the pool."""

    stream: "UplinkStream"
    generation: int
    decoder: UplinkDecoder
    detector: VadStream
    fresh: bool
    packets: list[UplinkPacket | None]
    played: list[PlayedPacket]


class StreamPool(Protocol):
    """The interface of the pool to its streams (`voice.hearing.pool.HearingPool`)."""

    @property
    def cancels_echo(self) -> bool:
        """True when the echo of devices that want it is cancelled here (extra `aec`)."""

    @property
    def echo_paths(self) -> EchoPathCache:
        """Echo paths of devices between their sessions."""

    def take_audio(self, device_id: str, seconds: float, now: float) -> bool:
        """False when a packet of the device is to be dropped: it sends faster than it can record."""

    def new_detector(self) -> VadStream:
        """The voice detector's state for a new utterance."""

    def schedule(self, stream: "UplinkStream") -> None:
        """`stream` has packets waiting: takes them by `take`, and returns the frames to `heard`."""

    def await_gap(self, stream: "UplinkStream", due: float) -> None:
        """Calls `stream.gap_due` at `due` (loop time, s)."""

    def forget(self, stream: "UplinkStream") -> None:
        """`stream` is closed."""


class UplinkStream:
    """Uplink of one session. Made by the pool's `open`; used on the loop only.

    `on_frame` is called with each heard frame, in the order of sequences. `jitter_ms` is how long a missing
    packet is waited for. `device_id` names the echo path to use. `unlabelled_echo`: what the device was
    playing is estimated.
    """

    __slots__ = (
        "_busy", "_cancelling", "_closed", "_context", "_decoder", "_detector", "_device_id", "_early",
        "_fresh", "_generation", "_jitter", "_labels", "_on_frame", "_outstanding", "_pending", "_played",
        "_pool", "_queued", "_waiters", "dropped", "frame_ms", "half_duplex",
    )  # fmt: skip

    def __init__(
        self,
        pool: StreamPool,
        uplink: AudioFormat,
        jitter_ms: int,
        on_frame: Callable[[HeardFrame], None],
        device_id: str = "",
        *,
        unlabelled_echo: bool = False,
    ) -> None:
        self._pool = pool
        self._device_id = device_id
        self._on_frame = on_frame
        # Frames come back from threads, which know nothing of the device that they belong to.
        self._context = contextvars.copy_context()
        self._early: deque[tuple[bytes, int, float, int]] = deque(maxlen=MAX_EARLY_PACKETS)
        self._jitter: JitterBuffer[UplinkPacket] = JitterBuffer(jitter_ms / 1000)
        self._decoder = UplinkDecoder(uplink.frame_ms)
        self._played: deque[PlayedPacket] = deque(maxlen=_MAX_PLAYED)
        self._cancelling = False
        self._labels = EchoLabels(uplink.frame_ms) if unlabelled_echo else None
        self._detector = pool.new_detector()
        self._pending: deque[UplinkPacket | None] = deque()
        self._generation = 0
        self._fresh = False
        self._busy = False
        self._queued = False
        self._closed = False
        self._outstanding = 0  # packets released and neither heard nor dropped
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.frame_ms = uplink.frame_ms
        """Length of a frame in ms."""
        self.half_duplex = False
        """True when speech can't be told from the device's own echo while the device speaks."""
        if unlabelled_echo and not pool.cancels_echo:
            self._lack_canceller()
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

    @property
    def pending(self) -> bool:
        """True when packets wait for a thread."""
        return bool(self._pending)

    # ── packets ──────────────────────────────────────────────────────────────────────────────────────────

    def packet(self, opus: bytes, sequence: int, timestamp: int, now: float, *, listening: bool) -> None:
        """Takes a packet; while nobody is `listening` it is kept for `begin`. See `push`.

        What comes faster than it can be recorded is dropped, as if nothing had been sent.
        """
        if not self._pool.take_audio(self._device_id, self.frame_ms / 1000, now):
            self.flush()
            self._jitter.reset()  # no gap to conceal, which would be work, too
            return
        if self._labels is not None and not timestamp:
            timestamp = self._labels.label(sequence, now)
        if timestamp and not self.half_duplex and not self._pool.cancels_echo:
            self._lack_canceller()
        if listening:
            self.push(opus, sequence, now, timestamp)
        else:
            self._early.append((opus, sequence, now, timestamp))

    def push(self, opus: bytes, sequence: int, now: float, timestamp: int = 0) -> None:
        """Takes a packet to be heard; `now` is the loop's clock.

        `timestamp` (ms) is that of the downlink frame that was playing, or 0. Only a device that wants its
        echo cancelled here ever sends one, or has it estimated: from the first on that is done, if the
        package is there.
        """
        if self._closed:
            return
        if timestamp and not self._cancelling:
            self._cancelling = self._pool.cancels_echo
            if self._cancelling:
                self._decoder.echo_path = self._pool.echo_paths.take(self._device_id)
        jitter = self._jitter
        jitter.push(sequence, UplinkPacket(opus, timestamp), now)
        if packets := jitter.pop(now):
            self._enqueue(packets)
        if jitter.due is not None:
            self._pool.await_gap(self, jitter.due)

    def played(self, opus: bytes, timestamp: int, now: float) -> None:
        """Takes a downlink frame that has left for the device at `now`: its echo may come back."""
        if not self._closed:
            self._played.append(PlayedPacket(opus, timestamp))
            if self._labels is not None:
                self._labels.sent(timestamp, now)

    def begin(self, now: float) -> None:
        """Begins listening, with the packets of the last `EARLY_S`."""
        self.reset()
        early = list(self._early)
        self._early.clear()
        for opus, sequence, came_at, timestamp in early:
            if came_at >= now - EARLY_S:
                self.push(opus, sequence, came_at, timestamp)

    def forget(self) -> None:
        """Drops the packets kept while nobody listened: they belonged to something else."""
        self._early.clear()

    def flush(self) -> None:
        """Releases what is held behind a gap, as the utterance ends here; see `drained`."""
        if not self._closed:
            self._enqueue(self._jitter.flush())

    async def drained(self) -> None:
        """Returns when each packet released so far was heard, or the stream was closed or reset."""
        if self._outstanding:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append((self._outstanding, waiter))
            await waiter

    def reset(self) -> None:
        """Drops what is not yet heard, and resets codec and detector for a new listening turn."""
        if self._closed:
            return
        self._jitter.reset()
        self._outstanding -= len(self._pending)
        self._pending.clear()
        self._generation += 1
        self._fresh = True
        self._detector = self._pool.new_detector()
        self._release_waiters()

    def close(self) -> None:
        """Ends the stream and lets go of `on_frame`; safe to call twice."""
        self._closed = True
        self._on_frame = _nothing
        self._early.clear()
        self._outstanding -= len(self._pending)
        self._pending.clear()
        self._generation += 1
        self._pool.forget(self)
        self._release_waiters()
        if not self._busy:
            self._give_back_echo_path()

    # ── for the pool ─────────────────────────────────────────────────────────────────────────────────────

    def gap_due(self, now: float) -> float | None:
        """Gives up missing packets whose time is over; the time of the next one, if any."""
        self._enqueue(self._jitter.pop(now))
        return self._jitter.due

    def take(self) -> Job:
        """The next packets to work on; `heard` must follow."""
        self._queued = False
        self._busy = True
        pending = self._pending
        packets = [pending.popleft() for _ in range(min(len(pending), _BATCH_PACKETS))]
        played: list[PlayedPacket] = []
        if self._cancelling:
            played += self._played
            self._played.clear()
        job = Job(self, self._generation, self._decoder, self._detector, self._fresh, packets, played)
        self._fresh = False
        return job

    def unqueue(self) -> None:
        """The pool found nothing pending."""
        self._queued = False

    def heard(self, generation: int, taken: int, frames: list[HeardFrame]) -> None:
        """Takes the frames of a job of `taken` packets, unless the stream was reset or closed meanwhile."""
        self._busy = False
        if self._closed:
            self._give_back_echo_path()
        for frame in frames:
            if generation != self._generation:  # `on_frame` itself may reset or close the stream
                break
            try:
                self._context.run(self._on_frame, frame)
            except Exception:  # noqa: BLE001 - the border of one stream: the others must go on hearing
                _log.exception("a listener failed on a heard frame")
        self._count_down(taken)
        if self._pending and not self._queued and not self._closed:
            self._queued = True
            self._pool.schedule(self)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────

    def _lack_canceller(self) -> None:
        self.half_duplex = True
        _log.warning(
            "the device wants its echo cancelled by the server, which can't: speech does not interrupt "
            "replies (pip install 'mimi-mqtt[aec]')"
        )

    def _give_back_echo_path(self) -> None:
        path, self._decoder.echo_path = self._decoder.echo_path, None
        if path is not None:
            self._pool.echo_paths.keep(self._device_id, path)

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
            self._pool.schedule(self)

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


def _nothing(frame: HeardFrame) -> None:
    """Stands for the listener of a closed stream."""
