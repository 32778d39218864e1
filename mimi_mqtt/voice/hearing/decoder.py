"""Uplink decoding of one device: Opus to samples, losses concealed, echo cancelled, echo paths kept.

Runs in the audio threads.
"""

import logging
from typing import Final, NamedTuple

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.echo_canceller import EchoCanceller
from mimi_mqtt.audio.echo_path import EchoPath
from mimi_mqtt.audio.opus import OpusDecoder
from mimi_mqtt.errors import AudioError
from mimi_mqtt.providers.runtime.lru import Lru

_log = logging.getLogger(__name__)

HEARING_RATE: Final = 16_000
"""Sample rate of every heard frame, in Hz; libopus decodes to it whatever the device encoded at."""

MAX_CONCEALED_RUN: Final = 5
"""Losses in a row that are concealed; those after them are silence."""

MAX_ECHO_PATHS: Final = 256
"""Devices whose echo path is kept after their session, at about 60 kB each; the longest unused one goes."""


class UplinkPacket(NamedTuple):
    """A packet of the uplink; `timestamp` (ms) is that of the downlink frame that was playing, or 0."""

    opus: bytes
    timestamp: int


class PlayedPacket(NamedTuple):
    """A packet of the downlink, and its timestamp in ms."""

    opus: bytes
    timestamp: int


class DecodedFrame(NamedTuple):
    """A decoded frame twice: `quiet` for speech detection, `whole` for transcription.

    They differ only while echo is cancelled, and `sure` is true otherwise (`audio.echo_canceller.Cleaned`).
    `lost`: no packet came, or (`broken`) libopus could not decode it.
    """

    quiet: Pcm
    whole: Pcm
    sure: bool
    lost: bool
    broken: bool


class EchoPathCache:
    """Echo paths of devices between their sessions. A path is used by one stream at a time."""

    def __init__(self) -> None:
        self._paths: Lru[EchoPath] = Lru(MAX_ECHO_PATHS)

    def take(self, device_id: str) -> EchoPath:
        """The echo path of a device; a new one when it is unknown or in use."""
        path = self._paths.get(device_id)
        if path is None:
            return EchoPath()
        self._paths.forget(device_id)
        path.restart()
        return path

    def keep(self, device_id: str, path: EchoPath) -> None:
        """Gives a path back for the device's next session; without an id it is dropped."""
        if device_id:
            self._paths.keep(device_id, path)


class UplinkDecoder:
    """Codec and echo state of one uplink stream; used by one audio thread at a time."""

    __slots__ = ("_canceller", "_frame_samples", "_opus", "_played", "_run", "_timestamp", "echo_path")

    def __init__(self, frame_ms: int) -> None:
        self._opus = OpusDecoder(HEARING_RATE)
        self._frame_samples = HEARING_RATE * frame_ms // 1000
        self._run = 0
        self._timestamp = 0
        self._canceller: EchoCanceller | None = None
        self._played: OpusDecoder | None = None
        self.echo_path: EchoPath | None = None
        """The device's echo path, once its echo is cancelled here."""

    def reset(self) -> None:
        """Resets the codec for a new utterance; the echo path stays."""
        self._opus.reset()
        self._run = 0

    def play(self, packets: list[PlayedPacket]) -> None:
        """Takes downlink packets that have left for the device, and cancels their echo from now on."""
        try:
            if self._canceller is None or self._played is None:
                self._canceller, self._played = EchoCanceller(self.echo_path), OpusDecoder(HEARING_RATE)
            for opus, timestamp in packets:
                self._canceller.played(timestamp, self._played.decode(opus))
        except AudioError as error:
            _log.warning("echo is not cancelled: %s", error)

    def decode(self, packet: UplinkPacket | None) -> DecodedFrame:
        """Decodes one packet; None stands for one that never came."""
        pcm, lost, broken = self._decode(packet.opus if packet is not None else None)
        if self._canceller is not None:
            # While frames get lost the device goes on playing.
            timestamp = packet.timestamp if packet is not None else self._timestamp
            self._timestamp = timestamp
            return DecodedFrame(*self._canceller.clean(pcm, timestamp), lost=lost, broken=broken)
        return DecodedFrame(pcm, pcm, sure=True, lost=lost, broken=broken)

    def _decode(self, opus: bytes | None) -> tuple[Pcm, bool, bool]:
        broken = False
        if opus is not None:
            try:
                pcm = self._opus.decode(opus)
            except AudioError:
                broken = True
            else:
                self._run = 0
                return pcm, False, False
        self._run += 1
        if self._run <= MAX_CONCEALED_RUN:
            return self._opus.conceal(self._frame_samples), True, broken
        return np.zeros(self._frame_samples, np.int16), True, broken
