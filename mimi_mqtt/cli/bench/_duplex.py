"""Replies in a room for the bench of turn-taking: a loudspeaker's echo, perhaps a speaker over it. Seeded.

The device stands where it stood: an earlier reply has been heard there, so that a canceller may know the room
or, begun after it, not. Labels are those of the stock build with server-side echo cancellation: a frame's
timestamp enters a queue once the frame was written to the I2S driver, each uplink frame takes the oldest, 0
when there is none; more than three waiting are thinned out. Nothing is played between the replies.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mimi_mqtt.audio import Pcm
from mimi_mqtt.cli.bench._corpus import FRAME, FRAME_MS, LEVEL, RATE, Corpus, at_level, noise, to_pcm
from mimi_mqtt.cli.bench._sentences import Material

_EARLIER_S: Final = 8
_GAP_S: Final = 0.24
_SPEAKER: Final = LEVEL / 2
_ECHO_DB: Final = (-6.0, 0.0, 6.0)  # over the speaker
_NOISE_DB: Final = -30.0  # under the speaker
_CLATTER: Final = 6_000.0
_OUTPUT_MS: Final = (40, 90)  # in the I2S driver's buffers, and the air
_INPUT_MS: Final = (10, 40)  # in the microphone's
_JITTER_MS: Final = 12.0  # of the device's tasks
_MOST_LABELS: Final = 3


class Over(Enum):
    """Kind of sound over a reply."""

    NOTHING = "nothing"
    SPEECH = "speech"
    NOISE = "noise"


@dataclass(frozen=True, slots=True)
class Duplex:
    """`played` is what the device was sent; `heard` what its microphone recorded, of which `near` was not its
    own. Per frame `sent` is the timestamp it was sent under (0: none was), and `labels` what the device says
    was playing (ms). Times are in s; the reply begins at a frame's end."""

    played: Pcm
    heard: Pcm
    near: NDArray[np.float64]
    sent: tuple[int, ...]
    labels: tuple[int, ...]
    reply_at_s: float
    over: Over
    over_at_s: float
    over_end_s: float


async def duplexes(corpus: Corpus, material: Material, count: int, seed: int) -> list[Duplex]:
    """A third each: the assistant alone, a speaker over it, the noise of something falling down."""
    return [await _duplex(corpus, material, number, seed) for number in range(count)]


async def _duplex(corpus: Corpus, material: Material, number: int, seed: int) -> Duplex:
    random = np.random.default_rng((seed, number))
    texts = material.replies
    reply = await corpus.say(texts[number % len(texts)], "en", material.voice)
    earlier = (await corpus.say(texts[(number + 1) % len(texts)], "en", material.voice))[: _EARLIER_S * RATE]
    before = -(-len(earlier) // FRAME) * FRAME + round(_GAP_S * RATE)
    played = np.zeros((before + len(reply)) // FRAME * FRAME)
    played[: len(earlier)] = earlier
    played[before:] = reply[: len(played) - before]
    played = at_level(played, LEVEL)
    output_ms, input_ms = float(random.uniform(*_OUTPUT_MS)), float(random.uniform(*_INPUT_MS))
    early_ms = float(random.uniform(0, FRAME_MS))  # a frame is written so long before an uplink frame begins
    level = _SPEAKER * 10 ** (float(random.choice(_ECHO_DB)) / 20)
    echo = _room(random, played, level, output_ms + input_ms - early_ms)
    near = np.zeros(len(played))
    over = list(Over)[number % len(Over)]
    at = float(random.uniform(2.0, 5.0)) + before / RATE
    end = at
    if over is Over.SPEECH:
        variants, said = material.variants, material.interrupts
        turn = number // len(Over)
        voice = f"en+{variants[turn % len(variants)]}"
        spoken = at_level(await corpus.say(said[turn % len(said)], "en", voice), _SPEAKER)
        _add(near, spoken, at)
        end = at + len(spoken) / RATE
    elif over is Over.NOISE:
        decay = np.exp(-np.arange(RATE // 2) / (RATE * 0.06))
        _add(near, random.normal(0, _CLATTER, RATE // 2) * decay, at)
    heard = echo + near + noise(random, len(near), _SPEAKER * 10 ** (_NOISE_DB / 20))
    sent = _sent(len(played) // FRAME, -(-len(earlier) // FRAME), before // FRAME)
    labels = _labels(random, sent, early_ms, input_ms)
    return Duplex(to_pcm(played), to_pcm(heard), near, sent, labels, before / RATE, over, at, end)


def _sent(frames: int, earlier: int, reply: int) -> tuple[int, ...]:
    """Timestamps of two replies: one ends before the frame `earlier`, the other begins at `reply`."""
    gap = reply - earlier
    return tuple(
        (number + 1) * FRAME_MS
        if number < earlier
        else (number + 1 - gap) * FRAME_MS
        if number >= reply
        else 0
        for number in range(frames)
    )


def _labels(
    random: np.random.Generator, sent: Sequence[int], early_ms: float, input_ms: float
) -> tuple[int, ...]:
    """Labels that the stock build gives its uplink frames."""
    jitter = random.uniform(0, _JITTER_MS, (2, len(sent)))
    written = deque(
        ((number + 1) * FRAME_MS - early_ms + jitter[0, number], timestamp)
        for number, timestamp in enumerate(sent)
        if timestamp
    )
    waiting: deque[int] = deque()
    labels: list[int] = []
    for number in range(len(sent)):
        now = (number + 1) * FRAME_MS + input_ms + jitter[1, number]
        while written and written[0][0] <= now:
            waiting.append(written.popleft()[1])
        label = 0
        if waiting:
            crowded, oldest = len(waiting) > _MOST_LABELS, waiting.popleft()
            label = 0 if crowded else oldest
        labels.append(label)
    return tuple(labels)


def _room(
    random: np.random.Generator, played: NDArray[np.float64], level: float, delay_ms: float
) -> NDArray[np.float64]:
    """The echo of a small loudspeaker, driven a little too hard, in a living room."""
    driven = np.tanh(played / 16_000) * 16_000
    taps = np.zeros(RATE // 4)
    taps[16] = 1.0
    tail = np.arange(len(taps) - 80)
    taps[80:] = random.normal(0, 0.06, len(tail)) * np.exp(-tail / (RATE * 0.05))
    size = 1 << (len(driven) + len(taps)).bit_length()
    echo = np.fft.irfft(np.fft.rfft(driven, size) * np.fft.rfft(taps, size), size)[: len(driven)]
    shift = round(delay_ms * RATE / 1000)
    shifted = np.zeros(len(driven))
    if shift >= 0:
        shifted[shift:] = echo[: len(echo) - shift]
    else:
        shifted[:shift] = echo[-shift:]
    return at_level(shifted, level)


def _add(room: NDArray[np.float64], sound: NDArray[np.float64], at_s: float) -> None:
    begin = int(at_s * RATE)
    fitting = sound[: len(room) - begin]
    room[begin : begin + len(fitting)] += fitting
