"""English spoken by espeak-ng and sent through Opus, as a device would: 16 kHz, 60 ms, 24 kb/s."""

import random
import subprocess
import sys
from functools import lru_cache

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.opus import OpusDecoder, OpusEncoder
from mimi_mqtt.audio.resample import Resampler

RATE = 16_000
FRAME = 960

_SPEAK = """
import sys
import espeakng_loader
from mimi_mqtt.providers.vendors.offline.espeak_engine import Speech, shared_engine

engine = shared_engine(espeakng_loader)
sys.stdout.buffer.write(engine.sample_rate.to_bytes(4, "big"))
sys.stdout.buffer.write(engine.speak(sys.argv[1], Speech(sys.argv[2], 165, 50)).tobytes())
"""


@lru_cache
def said(text: str, voice: str = "gmw/en") -> Pcm:
    """`text` at 16 kHz, with a peak around a third of full scale, without silence around it.

    Spoken by a process of its own: how espeak-ng says it depends on what it has said before.
    """
    spoken = subprocess.run([sys.executable, "-c", _SPEAK, text, voice], check=True, stdout=subprocess.PIPE)
    made = np.frombuffer(spoken.stdout[4:], np.int16)
    rate = int.from_bytes(spoken.stdout[:4], "big")
    pcm = Resampler(rate, RATE).process(made, last=True).astype(np.float64)
    levelled: Pcm = np.round(pcm * (12_000 / np.abs(pcm).max())).astype(np.int16)
    return levelled


def silence(ms: int) -> Pcm:
    return np.zeros(RATE * ms // 1000, np.int16)


def noise(ms: int, level: float, seed: int = 1) -> Pcm:
    return np.random.default_rng(seed).normal(0, level, RATE * ms // 1000).astype(np.int16)


def with_noise(pcm: Pcm, snr_db: float, seed: int = 1) -> Pcm:
    """`pcm` with white noise so many dB below its loud parts."""
    loud = np.abs(pcm)[np.abs(pcm) > 300].astype(np.float64)
    level = float(np.sqrt((loud**2).mean())) * 10 ** (-snr_db / 20)
    noisy = pcm + np.random.default_rng(seed).normal(0, level, pcm.size)
    return np.clip(noisy, -32768, 32767).astype(np.int16)


def through_opus(pcm: Pcm, loss: float = 0.0, seed: int = 1) -> Pcm:
    """`pcm` coded and decoded, a share of the packets lost and concealed."""
    chance = random.Random(seed)
    encoder, decoder = OpusEncoder(RATE, 24_000, 5, "voip"), OpusDecoder(RATE)
    padded = np.concatenate([pcm, np.zeros(-pcm.size % FRAME, np.int16)])
    frames = []
    for start in range(0, padded.size, FRAME):
        packet = encoder.encode(padded[start : start + FRAME])
        lost = chance.random() < loss
        frames.append((decoder.conceal(FRAME) if lost else decoder.decode(packet)).copy())
    return np.concatenate(frames)


def utterance(text: str, *, lead_ms: int = 300, tail_ms: int = 700, voice: str = "gmw/en") -> Pcm:
    """`text` with the silence around it that a device sends."""
    return np.concatenate([silence(lead_ms), said(text, voice), silence(tail_ms)])
