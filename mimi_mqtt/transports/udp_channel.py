"""Trust in the datagrams that claim to belong to a UDP session, and the headers of those it sends; pure.

Nothing authenticates a datagram: one header is enough to forge others, and about one random payload in ninety
happens to read as Opus. So a datagram changes nothing until its sequence is believable and its decrypted
payload is a packet of the session's own form; and what a lucky forgery could win, another source address or
another place in the count of sequences, must be won by a row of good packets (`udp_rows`). Until then they
are held, and none of them is lost when the row is believed.

The device's control connection tells where the device most likely is. That is a preference: audio may come
from another address, behind a carrier's NAT or where a proxy stands before MQTT.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mimi_mqtt.audio.opus import PacketCheck
from mimi_mqtt.limits import TokenBucket
from mimi_mqtt.session.link import AudioSink, AudioStats
from mimi_mqtt.transports.udp_rows import FORGERY_WEIGHT, Address, Held, Row, Rows
from mimi_mqtt.wire.audio_packet import (
    MAX_PAYLOAD_BYTES,
    UPLINK_FLAGS,
    AudioCipher,
    AudioHeader,
    pack_downlink,
)
from mimi_mqtt.wire.replay_window import ReplayWindow, Verdict

_log = logging.getLogger(__name__)

_WINDOW: Final = 1_024  # packets; wider than the largest jump, so that no jump makes what it skipped too old
_PACE_SLACK: Final = 1.5  # how much faster than real time a device's count may run while nothing is heard
_PAUSE_MS: Final = 1_000.0  # a larger change in transit time is a pause in talking, not jitter
_QUIET_S: Final = 60.0  # between two log entries about changes of the source address
_ATTACK_S: Final = 10.0  # after a forgery, good packets are believed less easily
_NEAR: Final = 3  # under attack, packets that may be missing before one that is believed at once
_REORDERED: Final = 16  # under attack, packets by which one may come late and be believed at once
_DOUBTED_EVERY_S: Final = (
    0.003  # of the device's likely address no more forgeries count than talking outweighs
)
_SURE: Final = 2  # under attack, points of an address from which packets are believed at once
_RESUMED: Final = 3  # points of a row that goes on where the session stopped, after too many forgeries
_LAST_SEQUENCE: Final = 0xFFFFFFFF - (
    MAX_PAYLOAD_BYTES // 16 + 1
)  # its blocks don't carry into the timestamp


@dataclass(slots=True)
class UplinkLimits:
    """Bounds of one session's uplink; see `config.connections.UdpSettings`."""

    max_sequence_jump: int
    max_datagrams_per_s: float
    path_proof_packets: int


class Uplink:
    """One session's incoming side: verdict, decryption, plausibility, address; delivers to `sink`.

    Times are seconds of one steady clock; `opened` is when the session began; `ids` are for log lines;
    `home` is the IP address of the device's control connection, None when it is not known. Only good packets
    count against the rate of datagrams: a flood of garbage takes nothing from the device.
    """

    __slots__ = (
        "_attacked_until", "_bucket", "_check", "_cipher", "_configs", "_doubted_at", "_followed",
        "_frame_ms", "_home", "_ids", "_last_good", "_last_transit_ms", "_limits", "_moves_told_at",
        "_moves_untold", "_offset", "_proof", "_rows", "_sink", "_window", "proven", "stats",
    )  # fmt: skip

    def __init__(
        self,
        cipher: AudioCipher,
        check: PacketCheck,
        sink: AudioSink,
        limits: UplinkLimits,
        frame_ms: int,
        opened: float,
        ids: Mapping[str, str],
        home: str | None = None,
    ) -> None:
        self._ids = ids
        self._cipher = cipher
        self._check = check
        self._sink = sink
        self._limits = limits
        self._frame_ms = frame_ms
        self._home = home
        self._proof = limits.path_proof_packets
        self._window = self._new_window()
        rate = limits.max_datagrams_per_s
        self._bucket = TokenBucket(rate, max(1.0, rate / 2), opened)
        self._last_good = opened
        self._last_transit_ms: float | None = None
        self._offset = 0  # from the device's sequence to one that counts from 1
        self._moves_untold = 0
        self._moves_told_at = -_QUIET_S
        self._attacked_until = opened
        self._doubted_at = opened
        self._configs = 0  # bits of the Opus configurations that were believed; under attack, no others are
        self._followed: Row | None = None
        self._rows = Rows()
        self.proven = False
        """True once enough good packets came from `address`."""
        self.stats = AudioStats()

    @property
    def address(self) -> Address | None:
        """Address of the downlink; None until the device was heard."""
        return None if self._followed is None else self._followed.address

    def spend(self, size: int) -> bool:
        """Counts a datagram of `size` bytes to `address`; False when it must not be sent.

        An address that is neither proven nor that of the control connection, which can receive since TCP was
        set up with it, is sent no more bytes than came from it (after RFC 9000, section 8): otherwise one
        datagram with a forged source would direct seconds of audio at somebody else.
        """
        row = self._followed
        if row is None:
            return False
        if self.proven or row.address[0] == self._home:
            return True
        if row.credit < size:
            self.stats.withheld += 1
            if self.stats.withheld == 1:
                _log.info("audio waits until the device's address is proven (logged once)", extra=self._ids)
            return False
        row.credit -= size
        return True

    def receive(self, datagram: bytes, header: AudioHeader, address: Address, now: float) -> None:
        """Takes a datagram whose `header` was parsed and names this session."""
        if (
            header.flags != UPLINK_FLAGS
        ):  # above all our own downlink, sent back: it would decrypt to good Opus
            self.stats.forged += 1
            return
        sequence, row = header.sequence, self._followed
        if row is not None and address != row.address:
            row = None
        elif row is not None and not self.proven:
            row.credit += len(datagram)
        verdict = self._window.check(sequence)
        if verdict is Verdict.DUPLICATE:
            self.stats.duplicate += 1
            return
        if verdict is Verdict.TOO_OLD:
            self.stats.late += 1
            return
        attacked = now < self._attacked_until
        if row is not None and (verdict is Verdict.TOO_FAR or (attacked and not self._is_next(sequence))):
            row = None
        if row is None and not self._may_begin_a_row(verdict, sequence, address, now):
            return
        opus = self._cipher.decrypt(datagram)
        if not self._check(opus):
            self._forgery(address, now)
        elif row is not None and (not attacked or self._configs >> (opus[0] >> 3) & 1):
            if not attacked:
                self._configs |= 1 << (opus[0] >> 3)
            self._in_line(opus, header, row, verdict, now)
        else:
            self._out_of_line(Held(opus, sequence, header.timestamp, now), address, len(datagram))

    # ── the row the session follows ──────────────────────────────────────────────────────────────────────

    def _is_next(self, sequence: int) -> bool:
        """True when a packet from `address` may be believed at once, though forgeries come."""
        row = self._followed
        sure = row is not None and row.score >= min(_SURE, self._proof)
        return sure and -_REORDERED <= sequence - self._window.highest <= _NEAR

    def _in_line(self, opus: bytes, header: AudioHeader, row: Row, verdict: Verdict, now: float) -> None:
        sequence = header.sequence
        if not self._believe(opus, sequence, header.timestamp, now):
            return
        rivals = self._rows
        if rivals.rows and not self.proven and rivals.repeats(row.address, sequence, self._rank):
            return  # a packet that came from elsewhere before: repeating it proves nothing
        if row.score < self._proof:
            row.score = min(self._proof, row.score + 1.0)
            self.proven = self.proven or row.score >= self._proof
        if rivals.rows and verdict is Verdict.NEW:
            rivals.contradict(row, self._rank)

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
        elif not ahead and not sequence:  # not a duplicate: the first packet of a stream that begins at 0
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

    # ── other rows ───────────────────────────────────────────────────────────────────────────────────────

    def _may_begin_a_row(self, verdict: Verdict, sequence: int, address: Address, now: float) -> bool:
        if verdict is Verdict.LATE and self.proven and address != self.address:
            self.stats.late += 1
            return False
        if verdict is Verdict.TOO_FAR:
            # A device counts what it sends, in real time: it can't be further than the time since allows.
            sent = (now - self._last_good) * 1000 / self._frame_ms * _PACE_SLACK
            if sequence - self._window.highest > sent + self._limits.max_sequence_jump:
                self.stats.forged += 1  # no luck makes anything of it: whether it reads as audio is no matter
                return False
        if self._rows.hold(address, sequence):
            self.stats.duplicate += 1
            return False
        return True

    def _rank(self, address: Address) -> int:
        """The likelihood that the device is at `address`, before any packet came from there."""
        if address[0] == self._home:
            return 2
        followed = self._followed
        return 1 if self.proven and followed is not None and address[0] == followed.address[0] else 0

    def _out_of_line(self, packet: Held, address: Address, size: int) -> None:
        row = self._rows.of(address, packet.opus[0] >> 3, packet.sequence)
        row.credit += size
        proves = not self._rows.repeats(address, packet.sequence, self._rank)
        if not row.add(packet, proves=proves):
            return
        followed = self._followed
        elsewhere = followed is not None and followed.address != address
        if row.score >= min(_SURE, self._proof):
            self._rows.contradict(row, self._rank)
            if elsewhere and followed is not None:
                followed.score = max(0.0, followed.score - 1.0)
        leads = not elsewhere or followed is None or row.score > followed.score
        if leads and row.score >= self._points_needed(row, packet.arrived) and self._in_time(row):
            self._follow(row)

    def _points_needed(self, row: Row, now: float) -> int:
        """Points by which a row is believed."""
        proof, followed = self._proof, self._followed
        attacked = now < self._attacked_until
        if followed is not None and row.address == followed.address:
            goes_on = 0 < row.first - self._window.highest <= _NEAR
            return min(_RESUMED, proof) if goes_on else proof
        if not self.proven and self._window.check(row.first) is not Verdict.TOO_FAR:
            if row.address[0] == self._home:
                return min(_SURE, proof) if attacked else 1
            if self._home is None:
                return proof if attacked else 1
        return proof if self._rank(row.address) or not attacked else 2 * proof

    def _in_time(self, row: Row) -> bool:
        """False for packets of the followed address that were overtaken on their way: they come in a burst,
        or with newer ones. A device whose count a forger led ahead talks in real time, and alone."""
        followed = self._followed
        if followed is None or row.address != followed.address or row.first > self._window.highest:
            return True
        began, last = row.held[0].arrived, row.held[-1].arrived
        return self._last_good < began and (last - began) * 1000 * 2 >= (len(row.held) - 1) * self._frame_ms

    def _follow(self, row: Row) -> None:
        followed = self._followed
        moved = followed is not None and row.address != followed.address
        ahead = self._window.highest - row.first + 1
        if followed is not None and ahead > 0:
            # What was believed since was perhaps a forger's: goes on from where this row begins.
            if not self.proven:
                self._window = self._new_window()
                self.stats.lost = 0
            elif not moved:
                self._window.rewind(row.first - 1)
                self.stats.lost = max(0, self.stats.lost - ahead)
        if moved:
            self.stats.address_changes += 1
            self._tell_of_a_move(row.held[-1].arrived)
        self.proven = row.score >= self._proof or (self.proven and not moved)
        row.score = min(row.score, self._proof)
        self._followed = row
        self._configs |= 1 << row.config
        self._rows.clear()
        held, row.held = sorted(row.held, key=lambda packet: packet.sequence), []
        for opus, sequence, timestamp, arrived in held:
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

    def _forgery(self, address: Address, now: float) -> None:
        self.stats.forged += 1
        if self.stats.forged == 1:
            _log.warning("audio that is not this device's is ignored (logged once)", extra=self._ids)
        self._attacked_until = now + _ATTACK_S
        followed = self._followed
        if address == followed.address if followed is not None else address[0] == self._home:
            if now - self._doubted_at < _DOUBTED_EVERY_S:
                return
            self._doubted_at = now
        if followed is not None and address == followed.address:
            followed.score = max(0.0, followed.score - FORGERY_WEIGHT)
        if self._rows.rows:
            self._rows.doubt(address)

    def _new_window(self) -> ReplayWindow:
        jump = self._limits.max_sequence_jump
        return ReplayWindow(max(_WINDOW, jump + 1), jump)


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
