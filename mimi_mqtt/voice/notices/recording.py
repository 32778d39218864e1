"""A mono Ogg Opus stream that any number of devices read, while it is made and afterwards."""

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from mimi_mqtt.errors import AudioError, MimiError
from mimi_mqtt.supervision import forget_cancellation
from mimi_mqtt.voice.speech.sentences import spoken_weight
from mimi_mqtt.wire.messages import Subtitle
from mimi_mqtt.wire.ogg import GRANULE_RATE, LIBOPUS_PRE_SKIP, OggOpusWriter, OpusPacket

_log = logging.getLogger(__name__)

MAX_RECORDING_S: Final = 300.0
"""Longest recording, in seconds: what is beyond is not played."""
MAX_RECORDING_BYTES: Final = 4 << 20
"""Largest recording, in bytes: its packets come from a file, and may be of any bit rate."""

_BATCH: Final = 8
"""Packets that leave in one page, after the first ones, which leave at once."""
_AT_ONCE: Final = 3
_MS: Final = GRANULE_RATE // 1000


class TooLong(AudioError):
    """The recording has reached its longest length, or its largest size."""


@dataclass(frozen=True, slots=True)
class Page:
    """Pages of the stream, and the time of its sound, in ms, at which they begin."""

    data: bytes = field(repr=False)
    begin_ms: int


@dataclass(slots=True)
class _Sentence:
    text: str
    start_ms: int | None = None  # None: not made yet


class Recording:
    """One stream, filled by a task (`make`) and read by any number of readers.

    Each user of it holds it: without a holder an unfinished one is given up. Belongs to the running
    loop's thread.
    """

    def __init__(self) -> None:
        self._writer: OggOpusWriter | None = None
        self._waiting: list[OpusPacket] = []
        self._pages: list[Page] = []
        self._sentences: list[_Sentence] = []
        self._grown = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._holders = 0
        self._given_up = False
        self._samples = 0
        self._taken = 0
        self._paged_ms = 0
        self.size = 0
        """Bytes of the stream so far."""
        self.over = False
        """True when nothing more comes."""
        self.failure: MimiError | None = None
        """The reason why the stream is not whole; None while it is made, and when it is."""
        self.on_over: Callable[[], None] | None = None
        """Called once when nothing more comes."""

    @property
    def duration_ms(self) -> int:
        """Length of the sound made so far, in ms."""
        return self._samples // _MS

    @property
    def whole(self) -> bool:
        """True when it was made to its end."""
        return self.over and self.failure is None

    @property
    def usable(self) -> bool:
        """False when it failed, or was given up and is about to end: another one has to be made."""
        return self.failure is None and not self._given_up

    @property
    def stream(self) -> bytes:
        """All bytes so far."""
        return b"".join(page.data for page in self._pages)

    # ── making ───────────────────────────────────────────────────────────────────────────────────────────

    def make(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Runs `work`, which calls `add` and `sentence`; the stream ends with it.

        `work` may raise MimiError: the stream then ends where it is, and is not whole.
        """
        task = self._task = asyncio.get_running_loop().create_task(self._make(work), name=name)

        def ended(_: object) -> None:
            work.close()  # where the task was cancelled before it began
            self._end(AudioError("the recording was given up"))
            forget_cancellation(task)

        task.add_done_callback(ended)

    async def _make(self, work: Coroutine[Any, Any, None]) -> None:
        failure: MimiError | None = None
        try:
            await work
        except TooLong as error:
            _log.info("a recording was cut: %s", error)  # what is there is played
        except MimiError as error:
            failure = error
        except Exception:  # noqa: BLE001 - the border of one recording: its readers must be told
            _log.exception("a recording failed")
            failure = AudioError("something went wrong on the server; its log says what")
        self._end(failure)

    def plan(self, texts: Sequence[str]) -> None:
        """Tells the sentences to come, for subtitles."""
        self._sentences = [_Sentence(text) for text in texts]

    def sentence(self, index: int) -> None:
        """The planned sentence `index` begins with the next packet."""
        self._flush()
        self._sentences[index].start_ms = max(0, self.duration_ms)

    def begin(self, *, pre_skip: int = LIBOPUS_PRE_SKIP, input_rate: int = 24_000) -> None:
        """Sets the stream's header; without it the first packet does, for this project's own encoder."""
        writer = self._writer = OggOpusWriter(secrets.randbits(32), pre_skip=pre_skip, input_rate=input_rate)
        self._append(writer.begin())

    def add(self, packets: Sequence[OpusPacket]) -> None:
        """Adds packets. Raises TooLong, and OggError for what is no packet."""
        if self._writer is None:
            self.begin()
        first = self._taken < _AT_ONCE
        self._waiting += packets
        self._taken += len(packets)
        self._samples += sum(packet.samples for packet in packets)
        if first or len(self._waiting) >= _BATCH:
            self._flush()
        if self._samples > MAX_RECORDING_S * GRANULE_RATE or self.size > MAX_RECORDING_BYTES:
            raise TooLong(f"a recording has at most {MAX_RECORDING_S:g} s and {MAX_RECORDING_BYTES} bytes")

    def cut(self, samples: int) -> None:
        """Ends the sound after `samples` at 48 kHz, which is within the last packet."""
        self._flush()
        if self._writer is not None and not self.over:
            self._append(self._writer.end(samples))
            self._writer = None

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting and self._writer is not None:
            self._append(self._writer.write(waiting))

    def _append(self, data: bytes) -> None:
        if data:
            self._pages.append(Page(data, self._paged_ms))
            self.size += len(data)
        if self._writer is not None:
            self._paged_ms = self._writer.written // _MS
        self._wake()

    def _end(self, failure: MimiError | None) -> None:
        if self.over:
            return
        self._flush()
        writer, self._writer = self._writer, None
        if writer is not None:
            self._append(writer.end())
        self.over = True
        self.failure = failure
        self._wake()
        ended, self.on_over = self.on_over, None
        if ended is not None:
            ended()

    def _wake(self) -> None:
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()

    # ── holding and reading ─────────────────────────────────────────────────────────────────────────────────

    def hold(self) -> None:
        """Keeps it being made until `release`."""
        self._holders += 1

    def release(self) -> None:
        """Ends a hold: without any, what is not finished is given up."""
        self._holders -= 1
        if self._holders <= 0 and self._task is not None and not self.over:
            self._given_up = True
            self._task.cancel()

    async def ended(self) -> None:
        """Returns when nothing more comes."""
        while not self.over:
            await self._grown.wait()

    async def begun(self, sentences: int = 1) -> None:
        """Returns when the first `sentences` are made, or nothing more comes."""
        while not self.over and (
            len(self._sentences) <= sentences or self._sentences[sentences].start_ms is None
        ):
            await self._grown.wait()

    async def sounds(self) -> None:
        """Returns when there is something to hear, or nothing more comes."""
        while not self.over and len(self._pages) < 2:
            await self._grown.wait()

    async def read(self) -> AsyncGenerator[Page, None]:
        """All pages, those made already at once."""
        at = 0
        while at < len(self._pages) or not self.over:
            if at < len(self._pages):
                yield self._pages[at]
                at += 1
            else:
                await self._grown.wait()

    def subtitles(self) -> tuple[Subtitle, ...]:
        """The sentences with their times: exact for those made, for those to come by the pace so far."""
        known = [sentence for sentence in self._sentences if sentence.start_ms is not None]
        weights = [spoken_weight(sentence.text) for sentence in self._sentences]
        finished = sum(weights[: len(known) - 1]) if not self.over else sum(weights)
        begun_ms = known[-1].start_ms if known and not self.over else self.duration_ms
        pace = (begun_ms or 0) / finished if finished else _USUAL_PACE_MS
        at, lines = 0.0, []
        for index, sentence in enumerate(self._sentences):
            at = at if sentence.start_ms is None else sentence.start_ms
            lines.append(Subtitle(round(at), sentence.text))
            at += weights[index] * pace
        return tuple(lines)


_USUAL_PACE_MS: Final = 65.0
"""Time for a character until the first sentence tells the voice's own, in ms."""
