"""One device's Opus on its way to samples: decoded, losses concealed, echo taken out."""

import logging
from typing import Final, NamedTuple

import numpy as np

from mimi_mqtt.audio import Pcm
from mimi_mqtt.audio.echo_canceller import EchoCanceller
from mimi_mqtt.audio.echo_path import EchoPath
from mimi_mqtt.audio.opus import OpusDecoder
from mimi_mqtt.errors import AudioError

_log = logging.getLogger(__name__)

HEARING_RATE: Final = 16_000
"""Sample rate of every heard frame, in Hz; libopus decodes to it whatever the device encoded at."""

MAX_CONCEALED_RUN: Final = 5
"""Losses in a row that are concealed; those after them are silence."""


class UplinkPacket(NamedTuple):
    """A packet of the uplink; `timestamp` is 0 or that of the downlink frame which was playing (ms)."""

    opus: bytes
    timestamp: int


class PlayedPacket(NamedTuple):
    """A packet of the downlink, and its timestamp in ms."""

    opus: bytes
    timestamp: int


class DecodedFrame(NamedTuple):
    """A frame to detect speech in, and the same to understand it: one, unless there is an echo to take out
    (`audio.echo_canceller.Cleaned`). `lost`: there was no packet, or (`broken`) no good one."""

    quiet: Pcm
    whole: Pcm
    sure: bool
    lost: bool
    broken: bool


class UplinkDecoder:
    """One ear's codec and echo state; touched by one audio thread at a time."""

    __slots__ = ("_canceller", "_frame_samples", "_opus", "_played", "_run", "_timestamp", "room")

    def __init__(self, frame_ms: int) -> None:
        self._opus = OpusDecoder(HEARING_RATE)
        self._frame_samples = HEARING_RATE * frame_ms // 1000
        self._run = 0
        self._timestamp = 0
        self._canceller: EchoCanceller | None = None
        self._played: OpusDecoder | None = None
        self.room: EchoPath | None = None
        """Where the device stands, once its echo is to be cancelled."""

    def reset(self) -> None:
        """A new utterance: the codec forgets, what is known of the room stays."""
        self._opus.reset()
        self._run = 0

    def play(self, packets: list[PlayedPacket]) -> None:
        """What the device was sent: from now on its echo is cancelled, as well as that can be done here."""
        try:
            if self._canceller is None or self._played is None:
                self._canceller, self._played = EchoCanceller(self.room), OpusDecoder(HEARING_RATE)
            for opus, timestamp in packets:
                self._canceller.played(timestamp, self._played.decode(opus))
        except AudioError as error:
            _log.warning("echo is not cancelled: %s", error)

    def decode(self, packet: UplinkPacket | None) -> DecodedFrame:
        """The frame; None: its packet never came."""
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
