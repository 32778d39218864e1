"""The way from a mouth to a recogniser: noise, Opus in frames of 60 ms, losses and their concealment.

Encoder and decoder are the simulated device's and the server's own. All audio is mono int16 at 16 kHz.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.jitter_buffer import JitterBuffer
from mimi_mqtt.audio.opus import OpusEncoder
from mimi_mqtt.cli.bench._corpus import FRAME, FRAME_MS, LEVEL, RATE, at_level, to_pcm
from mimi_mqtt.config.voice import VoiceSettings
from mimi_mqtt.voice.hearing.decoder import UplinkDecoder, UplinkPacket

LEAD_S: Final = 0.3
"""Room before the speech, in seconds: what the server keeps of it is about as long."""
TAIL_S: Final = 0.5
"""Room after it, in seconds: about what passes until the end of the speech is known."""
_QUIET: Final = 5.0
"""Root mean square of a quiet room's noise."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Conditions of a microphone and a network: white noise at `snr_db` (None: a quiet room), and
    `loss_percent` of the packets lost."""

    name: str
    snr_db: float | None = None
    loss_percent: float = 0.0


CLEAN: Final = Condition("clean")
CONDITIONS: Final = (
    CLEAN,
    Condition("20 dB", snr_db=20.0),
    Condition("10 dB", snr_db=10.0),
    Condition("5 % lost", loss_percent=5.0),
)


def through(speech: NDArray[np.float64], condition: Condition, seed: int) -> Pcm:
    """Audio that the server's recogniser is given of `speech`; one `seed` makes the same noise and losses."""
    random = np.random.default_rng(seed)
    lead, tail = np.zeros(int(LEAD_S * RATE)), np.zeros(int(TAIL_S * RATE))
    room = np.concatenate((lead, at_level(speech, LEVEL), tail))
    noise = _QUIET if condition.snr_db is None else LEVEL / 10 ** (condition.snr_db / 20)
    pcm = to_pcm(room + random.normal(0, noise, len(room)))
    pcm = np.pad(pcm, (0, -len(pcm) % FRAME))
    encoder = OpusEncoder(RATE, application="voip")
    decoder = UplinkDecoder(FRAME_MS)
    jitter: JitterBuffer[UplinkPacket] = JitterBuffer(VoiceSettings().jitter_ms / 1000)
    heard: list[UplinkPacket | None] = []
    for number in range(len(pcm) // FRAME):
        now = number * FRAME_MS / 1000
        packet = UplinkPacket(encoder.encode(pcm[number * FRAME : (number + 1) * FRAME]), 0)
        if random.random() * 100 >= condition.loss_percent:
            jitter.push(number + 1, packet, now)
        heard += jitter.pop(now)
    heard += jitter.flush()
    return np.concatenate([decoder.decode(packet).whole for packet in heard])
