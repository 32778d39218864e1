"""Real speech for tests: espeak-ng in a process of its own, since the library has one global state."""

import subprocess
import sys
from functools import cache

import numpy as np
import soxr

from mimi_mqtt.audio import Pcm

_SAY = """
import ctypes, sys, espeakng_loader
library = ctypes.CDLL(espeakng_loader.get_library_path())
rate = library.espeak_Initialize(2, 0, str(espeakng_loader.get_data_path()).encode(), 0)
@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
def take(samples, count, events):
    if samples and count > 0:
        sys.stdout.buffer.write(ctypes.string_at(samples, 2 * count))
    return 0
library.espeak_SetSynthCallback(take)
library.espeak_SetVoiceByName(b"en")
text = sys.argv[1].encode() + b"\\0"
library.espeak_Synth(text, ctypes.c_size_t(len(text)), 0, 0, 0, 1, None, None)
library.espeak_Synchronize()
sys.stderr.write(str(rate))
"""


@cache
def say(text: str, rate: int = 16_000) -> Pcm:
    """`text` spoken in English, mono at `rate` Hz."""
    done = subprocess.run([sys.executable, "-c", _SAY, text], capture_output=True, check=True)
    spoken = np.frombuffer(done.stdout, np.int16)
    speech: Pcm = soxr.resample(spoken, int(done.stderr), rate).astype(np.int16)
    return speech
