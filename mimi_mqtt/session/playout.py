"""Sends downlink frames on time: one timer serves the absolute clocks of all sessions.

A stream belongs to a session and outlives its replies, so its timestamps never go back. Frames wait in a
bounded queue; marks between them (sentences) come up just before the next frame leaves.
"""

import asyncio
import heapq
import logging
from collections import deque
from typing import Final, Protocol

from prometheus_client import Counter, Histogram

from mimi_mqtt.audio.playout_clock import PlayoutClock
from mimi_mqtt.errors import PlayoutError

_log = logging.getLogger(__name__)

QUEUE_MS: Final = 6_000
"""Speech waiting in a stream, in ms, before `put_frame` waits: a sentence is made while one is played."""

_lateness = Histogram(
    "mimi_playout_late_seconds",
    "How late the play-out timer woke up.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5),
)
_failures = Counter("mimi_playout_failures_total", "Speeches given up because sending them failed.")


class PlayoutSink(Protocol):
    """The receiver of a stream's frames: an output. No method waits; one that raises ends its speech."""

    def send_frame(self, opus: bytes, timestamp: int) -> None:
        """A frame's moment has come; `timestamp` in ms, greater than any before it."""

    def send_sentence(self, text: str) -> None:
        """The next frame begins this sentence."""

    def speech_over(self) -> None:
        """The last frame has been played, and the margin after it is over; or the speech failed."""


class Playout:
    """The timer of all streams. Everything happens on the loop it was made on."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due: list[tuple[float, int, PlayoutStream]] = []
        self._ticket = 0
        self._timer: asyncio.TimerHandle | None = None
        self._awake = False

    def open(self, sink: PlayoutSink, frame_ms: int, ahead_frames: int) -> "PlayoutStream":
        """A silent stream; `hold` or `begin` gives it voice."""
        return PlayoutStream(self, sink, PlayoutClock(frame_ms, ahead_frames), QUEUE_MS // frame_ms)

    def now(self) -> float:
        """The loop's clock, in s."""
        return self._loop.time()

    def wake_at(self, due: float, stream: "PlayoutStream") -> int:
        """Calls `stream.service` at `due`; the ticket tells the stream whether that call is still wanted."""
        self._ticket += 1
        heapq.heappush(self._due, (due, self._ticket, stream))
        if not self._awake and (self._timer is None or due < self._timer.when()):
            self._arm(due)
        return self._ticket

    def close(self) -> None:
        """Stops the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due.clear()

    def _arm(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._wake, due)

    def _wake(self, due: float) -> None:
        self._timer = None
        self._awake = True
        now = max(self._loop.time(), due)  # a loop may call a rounding error too early
        _lateness.observe(now - due)
        while self._due and self._due[0][0] <= now:
            _, ticket, stream = heapq.heappop(self._due)
            try:
                stream.service(ticket, now)
            except Exception as error:  # noqa: BLE001 - the border: the other streams go on
                self._give_up(stream, error)
        self._awake = False
        if self._due:
            self._arm(self._due[0][0])

    @staticmethod
    def _give_up(stream: "PlayoutStream", error: Exception) -> None:
        _failures.inc()
        _log.exception("play-out failed; this speech is given up")
        try:
            stream.fail(error)
        except Exception:  # noqa: BLE001 - the same border: the device can't be told either
            _log.exception("the device could not be told that its speech was given up")


class PlayoutStream:
    """One session's downlink. Silent until `hold` or `begin`, and again after `flush` or its end."""

    __slots__ = (
        "_clock", "_failure", "_finished", "_frames", "_margin_s", "_max_frames", "_open", "_paused",
        "_playout", "_queue", "_running", "_sealed", "_sink", "_speech", "_ticket", "_waiting",
        "_winding_down",
    )  # fmt: skip

    def __init__(self, playout: Playout, sink: PlayoutSink, clock: PlayoutClock, max_frames: int) -> None:
        self._playout = playout
        self._sink = sink
        self._clock = clock
        self._max_frames = max_frames
        self._queue: deque[bytes | str] = deque()  # frames, and sentences before their first frame
        self._frames = 0  # of them frames
        self._open = False  # takes frames
        self._running = False  # the clock has begun
        self._paused = False
        self._winding_down = False  # the sentence being queued is the last one
        self._sealed = False  # and it is complete
        self._speech = 0  # counts speeches, so that a call that waited knows whether it still has one
        self._ticket = 0
        self._margin_s = 0.0
        self._failure: Exception | None = None  # what ended the last speech
        self._finished: asyncio.Future[None] | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def frames_sent(self) -> int:
        """Frames of this speech, or the last one, that have left."""
        return self._clock.frames_sent

    @property
    def failed(self) -> bool:
        """True when sending the last speech failed, and no other was begun since."""
        return self._failure is not None

    def hold(self) -> None:
        """Opens a speech: frames and sentences are taken and kept until `begin`."""
        self.flush()
        self._speech += 1
        self._failure = None
        self._clock.begin(self._playout.now())
        self._open = True
        self._winding_down = self._sealed = False

    def begin(self, at: float) -> None:
        """Starts the clock: the first frame leaves at `at` (loop time, s)."""
        if not self._open:
            self.hold()
        self._clock.begin(at)
        self._running = True
        self._schedule()

    def pause(self) -> None:
        """Sends nothing until `resume`; what has left already is played. Nothing when no speech is open."""
        if self._open:
            self._paused = True
            self._ticket = 0

    def resume(self) -> None:
        """Goes on after `pause` with the next frame, or with the end."""
        if self._paused:
            self._paused = False
            if self._running:
                self._schedule()

    def put_sentence(self, text: str) -> None:
        """The next frame begins a sentence. Dropped when no speech is open."""
        self._sealed = self._sealed or self._winding_down
        if self._open and not self._sealed:
            self._queue.append(text)

    async def put_frame(self, opus: bytes) -> None:
        """Queues a frame; waits while the queue is full. Dropped when its speech is over. Raises PlayoutError
        when its speech failed."""
        self._raise_failure()
        if self._closed_to_frames():
            return
        speech = self._speech
        while self._frames >= self._max_frames:
            room = asyncio.get_running_loop().create_future()
            self._waiting.append(room)
            await room
            if self._speech != speech:
                return
            self._raise_failure()
            if self._closed_to_frames():
                return
        self._queue.append(opus)
        self._frames += 1
        if self._frames == 1 and self._running:
            self._schedule()

    def end_after_sentence(self) -> None:
        """Drops all that comes after the sentence being played, queued already or not."""
        self._winding_down = True
        begun = self._clock.frames_sent > 0
        kept: deque[bytes | str] = deque()
        for item in self._queue:
            if isinstance(item, str):
                if begun:
                    self._sealed = True
                    break
                begun = True
            kept.append(item)
        self._queue = kept
        self._frames = sum(1 for item in kept if isinstance(item, bytes))
        while self._waiting and self._sealed:
            self._let_in(self._waiting.popleft())

    async def finish(self, margin_s: float) -> None:
        """Returns `margin_s` after the last queued frame has been played, or when the speech is flushed.
        Raises PlayoutError when the speech failed."""
        self._raise_failure()
        if not self._open:
            return
        if self._finished is None:
            self._finished = asyncio.get_running_loop().create_future()
        self._margin_s = margin_s
        if self._running and not self._frames:
            self._schedule()
        speech = self._speech
        await asyncio.shield(self._finished)
        if self._speech == speech:
            self._raise_failure()

    def flush(self) -> None:
        """Ends the speech without playing what is queued; all calls that wait return."""
        self._queue.clear()
        self._frames = 0
        self._end()

    def fail(self, error: Exception) -> None:
        """Ends the speech because of `error`: calls that wait, and those to come, raise PlayoutError."""
        self._failure = error
        self.flush()
        self._sink.speech_over()

    def _closed_to_frames(self) -> bool:
        return not self._open or self._sealed

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise PlayoutError(
                f"the reply could not be sent to the device: {self._failure}"
            ) from self._failure

    def service(self, ticket: int, now: float) -> None:
        """The timer's call: sends what is due."""
        if ticket != self._ticket or not self._running:
            return
        clock = self._clock
        while self._frames and clock.may_send(now):
            item = self._queue.popleft()
            if isinstance(item, str):
                self._sink.send_sentence(item)
            else:
                self._frames -= 1
                self._sink.send_frame(item, clock.sent(now))
        if not self._frames and self._finished is not None:
            while self._queue:  # sentences that could not be made to sound are shown all the same
                self._sink.send_sentence(str(self._queue.popleft()))
            if now >= clock.played_at + self._margin_s:
                self._end()
                self._sink.speech_over()
                return
        for _ in range(min(self._max_frames - self._frames, len(self._waiting))):
            self._let_in(self._waiting.popleft())
        self._schedule()

    def _schedule(self) -> None:
        """Asks the timer for the next thing to do."""
        if self._paused:
            self._ticket = 0
            return
        if self._frames:
            due = self._clock.next_send_at
        elif self._finished is not None:
            due = self._clock.played_at + self._margin_s
        else:
            self._ticket = 0
            return
        self._ticket = self._playout.wake_at(due, self)

    def _end(self) -> None:
        self._open = self._running = self._paused = False
        self._ticket = 0
        while self._waiting:
            self._let_in(self._waiting.popleft())
        if self._finished is not None:
            if not self._finished.done():
                self._finished.set_result(None)
            self._finished = None

    @staticmethod
    def _let_in(waiting: "asyncio.Future[None]") -> None:
        if not waiting.done():
            waiting.set_result(None)
