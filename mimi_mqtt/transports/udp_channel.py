"""Trust in the datagrams that claim to belong to a UDP session, and the headers of those it sends; pure.

Nothing authenticates a datagram: one header is enough to forge others, and about one random payload in ninety
happens to read as Opus. So a datagram changes nothing until its sequence is believable and its decrypted
payload is a packet of the session's own form; and what a single lucky forgery could win, another source
address or a sequence far ahead, must be won by several good packets in a row. Until then they are held.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from mimi_mqtt.audio.opus import PacketCheck
from mimi_mqtt.limits import TokenBucket
from mimi_mqtt.session.link import AudioSink, AudioStats
from mimi_mqtt.wire.audio_packet import (
    MAX_PAYLOAD_BYTES,
    UPLINK_FLAGS,
    AudioCipher,
    AudioHeader,
    pack_downlink,
)
from mimi_mqtt.wire.replay_window import ReplayWindow, Verdict

_log = logging.getLogger(__name__)

Address: TypeAlias = tuple[str, int]

_WINDOW: Final = 256  # packets; wider than the largest jump, so that no jump makes what it skipped too old
_MAX_CANDIDATES: Final = 4
_CANDIDATE_STEP: Final = 16  # packets a candidate may skip and still count as a row
_PACE_SLACK: Final = 1.5  # how much faster than real time a device's count may run while nothing is heard
_PAUSE_MS: Final = 1_000.0  # a larger change in transit time is a pause in talking, not jitter
_QUIET_S: Final = 60.0  # between two log entries about changes of the source address
_LAST_SEQUENCE: Final = 0xFFFFFFFF - (
    MAX_PAYLOAD_BYTES // 16 + 1
)  # its blocks don't carry into the timestamp


@dataclass(slots=True)
class UplinkLimits:
    """Bounds of one session's uplink; see `config.settings.UdpSettings`."""

    max_sequence_jump: int
    max_datagrams_per_s: float
    path_proof_packets: int


@dataclass(slots=True)
class _Candidate:
    """Good packets in a row, of one Opus configuration (RFC 6716, 3.1), not followed by the session yet."""

    address: Address
    config: int
    highest: int
    held: list[tuple[bytes, int, int, float]] = field(default_factory=list)


class Uplink:
    """One session's incoming side: verdict, decryption, plausibility, address; delivers to `sink`.

    Times are seconds of one steady clock; `opened` is when the session began; `ids` are for log lines.
    Only good packets count against the rate of datagrams: a flood of garbage takes nothing from the device.
    """

    __slots__ = (
        "_bucket",
        "_candidates",
        "_check",
        "_cipher",
        "_frame_ms",
        "_ids",
        "_last_good",
        "_last_transit_ms",
        "_limits",
        "_moves_told_at",
        "_moves_untold",
        "_offset",
        "_proof",
        "_sink",
        "_window",
        "address",
        "stats",
    )

    def __init__(
        self,
        cipher: AudioCipher,
        check: PacketCheck,
        sink: AudioSink,
        limits: UplinkLimits,
        frame_ms: int,
        opened: float,
        ids: Mapping[str, str],
    ) -> None:
        self._ids = ids
        self._cipher = cipher
        self._check = check
        self._sink = sink
        self._limits = limits
        self._frame_ms = frame_ms
        self._window = ReplayWindow(max(_WINDOW, limits.max_sequence_jump + 1), limits.max_sequence_jump)
        rate = limits.max_datagrams_per_s
        self._bucket = TokenBucket(rate, max(1.0, rate / 2), opened)
        self._last_good = opened
        self._last_transit_ms: float | None = None
        self._offset = 0  # from the device's sequence to one that counts from 1
        self._moves_untold = 0
        self._moves_told_at = -_QUIET_S
        self._proof = 0  # good packets in a row from `address`; it is tentative until there were enough
        self._candidates: list[_Candidate] = []
        self.address: Address | None = None
        """Address of the downlink; None until the device was heard."""
        self.stats = AudioStats()

    def receive(self, datagram: bytes, header: AudioHeader, address: Address, now: float) -> None:
        """Takes a datagram whose `header` was parsed and names this session."""
        if (
            header.flags != UPLINK_FLAGS
        ):  # above all our own downlink, sent back: it would decrypt to good Opus
            self.stats.forged += 1
            return
        sequence = header.sequence
        verdict = self._window.check(sequence)
        if verdict is Verdict.DUPLICATE:
            self.stats.duplicate += 1
            return
        if verdict is Verdict.TOO_OLD:
            self.stats.late += 1
            return
        in_line = verdict is not Verdict.TOO_FAR and (address == self.address or self.address is None)
        if not in_line and not self._may_become_a_candidate(verdict, sequence, now):
            return
        opus = self._cipher.decrypt(datagram)
        if not self._check(opus):
            self.stats.forged += 1
            if self.stats.forged == 1:
                _log.warning("audio that is not this device's is ignored (logged once)", extra=self._ids)
            self._distrust(address)
        elif in_line:
            self._in_line(opus, header, address, verdict, now)
        else:
            self._out_of_line(opus, header, address, now)

    @property
    def proven(self) -> bool:
        """True once enough good packets in a row came from `address`."""
        return self._proof >= self._limits.path_proof_packets

    # ── the path the session follows ─────────────────────────────────────────────────────────────────────

    def _in_line(
        self, opus: bytes, header: AudioHeader, address: Address, verdict: Verdict, now: float
    ) -> None:
        if not self._believe(opus, header.sequence, header.timestamp, now):
            return
        self.address = address
        if self._candidates and not self.proven and self._is_held(header.sequence, address):
            return  # a packet that came from elsewhere before: repeating it proves nothing
        self._proof += 1
        if self._candidates and verdict is Verdict.NEW:
            # The device goes on talking from here: rows that it overtook, or that are far ahead, are not its.
            sequence, far = header.sequence, header.sequence + self._limits.max_sequence_jump
            self._candidates = [row for row in self._candidates if sequence < row.highest <= far]

    def _believe(self, opus: bytes, sequence: int, timestamp: int, arrived: float) -> bool:
        """Counts and delivers a good packet; False when it exceeds the session's rate."""
        stats, window = self.stats, self._window
        if not self._bucket.take(arrived):
            stats.limited += 1
            if stats.limited == 1:
                _log.warning("audio beyond udp.max_datagrams_per_s is dropped (logged once)", extra=self._ids)
            return False
        ahead = sequence - window.highest
        if ahead > 0:
            stats.lost += ahead - 1
            self._last_good = arrived
            self._measure_jitter(sequence, arrived)
        elif ahead == 0:  # not a duplicate: the first packet of a stream that begins at 0
            self._offset = 1
            self._last_good = arrived
        else:
            stats.late += 1
            if sequence:  # without 0 nothing is missing: most streams begin at 1
                stats.lost -= 1
        window.accept(sequence)
        stats.received += 1
        self._sink.audio_received(opus, sequence + self._offset, timestamp, arrived)
        return True

    def _measure_jitter(self, sequence: int, arrived: float) -> None:
        """Measures jitter by RFC 3550, 6.4.1; the sequence stands for the time of sending."""
        transit = arrived * 1000 - sequence * self._frame_ms
        if self._last_transit_ms is not None:
            difference = abs(transit - self._last_transit_ms)
            if difference < _PAUSE_MS:
                self.stats.jitter_ms += (difference - self.stats.jitter_ms) / 16
        self._last_transit_ms = transit

    # ── other addresses, and sequences far ahead ─────────────────────────────────────────────────────────

    def _may_become_a_candidate(self, verdict: Verdict, sequence: int, now: float) -> bool:
        if verdict is Verdict.LATE and self.proven:
            self.stats.late += 1
            return False
        if verdict is Verdict.TOO_FAR:
            # A device counts what it sends, in real time: it can't be further than the time since allows.
            sent = (now - self._last_good) * 1000 / self._frame_ms * _PACE_SLACK
            if sequence - self._window.highest > sent + self._limits.max_sequence_jump:
                self.stats.forged += 1
                return False
        return True

    def _is_held(self, sequence: int, address: Address) -> bool:
        """True when this packet came already from another address, which may be the device's."""
        return any(
            row.address != address and any(held[1] == sequence for held in row.held)
            for row in self._candidates
        )

    def _out_of_line(self, opus: bytes, header: AudioHeader, address: Address, now: float) -> None:
        sequence, config = header.sequence, opus[0] >> 3
        for row in self._candidates:
            in_a_row = row.highest < sequence <= row.highest + _CANDIDATE_STEP
            if in_a_row and row.address == address and row.config == config:
                break
        else:
            if len(self._candidates) >= _MAX_CANDIDATES:
                # min takes the first, hence the oldest, of the rows with the fewest packets
                self._candidates.remove(min(self._candidates, key=lambda row: len(row.held)))
            row = _Candidate(address, config, sequence)
            self._candidates.append(row)
        row.highest = sequence
        row.held.append((opus, sequence, header.timestamp, now))
        if len(row.held) >= self._limits.path_proof_packets:
            self._follow(row)

    def _follow(self, row: _Candidate) -> None:
        if not self.proven and self.address is not None and row.held[0][1] <= self._window.highest:
            # What was believed of a tentative address was perhaps a forger's: begin again with this one.
            self._window = ReplayWindow(
                max(_WINDOW, self._limits.max_sequence_jump + 1), self._window.max_jump
            )
            self.stats.lost = 0
        if self.address is not None and row.address != self.address:
            self.stats.address_changes += 1
            self._tell_of_a_move(row.held[-1][3])
        self.address = row.address
        self._proof = self._limits.path_proof_packets
        self._candidates.clear()
        for opus, sequence, timestamp, arrived in row.held:
            if self._window.check(sequence) not in (Verdict.DUPLICATE, Verdict.TOO_OLD):
                self._believe(opus, sequence, timestamp, arrived)

    def _tell_of_a_move(self, now: float) -> None:
        """Logs a new source address, at most once a minute: some NATs change it every few seconds."""
        self._moves_untold += 1
        if now - self._moves_told_at < _QUIET_S:
            return
        times = "" if self._moves_untold == 1 else f" ({self._moves_untold} times since the last entry)"
        _log.info("audio comes from another source address, after proof%s", times, extra=self._ids)
        self._moves_untold = 0
        self._moves_told_at = now

    def _distrust(self, address: Address) -> None:
        """Starts the rows of `address` over, and a tentative address: a forgery came from it."""
        if self._candidates:
            self._candidates = [row for row in self._candidates if row.address != address]
        if address == self.address and not self.proven:
            self._proof = 0


class Downlink:
    """One session's outgoing side: headers that never repeat, so that no key stream is used twice."""

    __slots__ = ("_cipher", "_sequence", "_ssrc", "_timestamp")

    def __init__(self, cipher: AudioCipher, ssrc: int) -> None:
        self._cipher = cipher
        self._ssrc = ssrc
        self._sequence = 0
        self._timestamp = 0

    def seal(self, opus: bytes, timestamp: int) -> bytes | None:
        """Makes a datagram; None for a `timestamp` (ms, 32 bits) not above the last, or a wrong length."""
        sequence = self._sequence + 1
        if not self._timestamp < timestamp <= 0xFFFFFFFF or sequence > _LAST_SEQUENCE:
            return None
        if not 0 < len(opus) <= MAX_PAYLOAD_BYTES:
            return None
        self._timestamp = timestamp
        self._sequence = sequence
        return self._cipher.encrypt(pack_downlink(self._ssrc, timestamp, sequence, len(opus)), opus)
