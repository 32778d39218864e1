"""The load of `bench udp`: a process of its own that sends sealed audio as many devices would.

Reads one JSON object (`Load`) from its standard input, says `ready`, waits for a line, sends, and prints one
JSON object (`Sent`). Sends to 127.0.0.1 only.
"""

import json
import os
import random
import socket
import sys
import time
from dataclasses import asdict, dataclass
from typing import BinaryIO

import numpy as np

from mimi_mqtt.audio.opus import OpusEncoder
from mimi_mqtt.wire.audio_packet import AudioCipher, pack_uplink

_SAMPLE_RATE = 16_000


@dataclass(frozen=True, slots=True)
class Load:
    """Task: send `packets` in all, in turns from `sessions` (key and nonce in hex).

    With `window` 0 every session sends a frame each `frame_ms`; else all goes out as fast as the receiver
    grants windows of so many packets, a byte on standard input each; two are granted from the start.
    """

    port: int
    sessions: list[tuple[str, str]]
    packets: int
    window: int
    frame_ms: int
    core: int | None


@dataclass(frozen=True, slots=True)
class Sent:
    """Number of packets sent, and the lateness of the worst one."""

    packets: int
    late_ms: float


class _Device:
    def __init__(self, key: str, nonce: str) -> None:
        self._cipher = AudioCipher(bytes.fromhex(key))
        self._nonce = bytes.fromhex(nonce)
        self.sequence = 0

    def next(self, frames: list[bytes]) -> bytes:
        self.sequence += 1
        opus = frames[self.sequence % len(frames)]
        return self._cipher.encrypt(pack_uplink(self._nonce, 0, self.sequence, len(opus)), opus)


def speechlike(frame_ms: int, seconds: float = 6.0) -> list[bytes]:
    """Opus frames as a device makes them (16 kHz, mono, voip): syllables with pauses, always the same."""
    noise = np.random.default_rng(11)
    at = np.arange(int(_SAMPLE_RATE * seconds)) / _SAMPLE_RATE
    pitch = 120 + 25 * np.sin(2 * np.pi * 0.7 * at)
    phase = 2 * np.pi * np.cumsum(pitch) / _SAMPLE_RATE
    formants = ((1, 0.9), (2, 0.5), (4, 0.6), (5, 0.7), (11, 0.3), (20, 0.2))
    voice = sum((level * np.sin(harmonic * phase) for harmonic, level in formants), np.zeros(len(at)))
    syllables = np.clip(np.sin(2 * np.pi * 3.1 * at) + 0.3, 0, 1) * (np.sin(2 * np.pi * 0.4 * at) > -0.6)
    wave = (5000 * voice * syllables + noise.normal(0, 60, len(at))).clip(-32000, 32000).astype(np.int16)
    samples = _SAMPLE_RATE * frame_ms // 1000
    encoder = OpusEncoder(_SAMPLE_RATE, bitrate=24_000, complexity=5, application="voip")
    return [encoder.encode(wave[start : start + samples]) for start in range(0, len(wave) - samples, samples)]


def _send_granted(load: Load, devices: list[_Device], frames: list[bytes], grants: BinaryIO) -> Sent:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        server, granted = ("127.0.0.1", load.port), 2 * load.window
        for number in range(load.packets):
            if number >= granted:
                if not grants.read(1):
                    return Sent(number, 0.0)
                granted += load.window
            sock.sendto(devices[number % len(devices)].next(frames), server)
    return Sent(load.packets, 0.0)


def _send_in_real_time(load: Load, devices: list[_Device], frames: list[bytes]) -> Sent:
    """Every device at its own phase and from its own socket."""
    period = load.frame_ms / 1000
    phases = sorted(random.random() * period for _ in devices)
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in devices]
    server, sent, late = ("127.0.0.1", load.port), 0, 0.0
    began = time.perf_counter() + 0.05
    for round_ in range(load.packets // len(devices)):
        for phase, device, sock in zip(phases, devices, sockets, strict=True):
            datagram = device.next(frames)
            pause = began + round_ * period + phase - time.perf_counter()
            if pause > 0:
                time.sleep(pause)
            late = max(late, -pause)
            sock.sendto(datagram, server)
            sent += 1
    for sock in sockets:
        sock.close()
    return Sent(sent, round(late * 1000, 1))


def main() -> None:
    """Runs one load."""
    control = sys.stdin.buffer
    load = Load(**json.loads(control.readline()))
    if load.core is not None:
        os.sched_setaffinity(0, {load.core})
    frames = speechlike(load.frame_ms)
    devices = [_Device(key, nonce) for key, nonce in load.sessions]
    print("ready", flush=True)
    control.readline()
    if load.window:
        sent = _send_granted(load, devices, frames, control)
    else:
        sent = _send_in_real_time(load, devices, frames)
    print(json.dumps(asdict(sent)), flush=True)


if __name__ == "__main__":
    main()
