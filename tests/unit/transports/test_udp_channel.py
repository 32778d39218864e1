import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimi_mqtt.audio.opus import OpusEncoder, PacketCheck
from mimi_mqtt.transports.udp_channel import Downlink, Uplink, UplinkLimits
from mimi_mqtt.transports.udp_rows import Address
from mimi_mqtt.wire.audio_packet import (
    DOWNLINK_FLAGS,
    HEADER_BYTES,
    AudioCipher,
    nonce_template,
    pack_uplink,
    parse_header,
)

KEY = bytes(range(16))
SSRC = 0x01020304
HOME, ROAM, EVIL = ("192.0.2.1", 1000), ("192.0.2.1", 2000), ("203.0.113.9", 6)


def frame(loudness: int = 8000) -> bytes:
    wave = loudness * np.sin(2 * np.pi * 440 * np.arange(960) / 16_000)
    return OpusEncoder(16_000).encode(wave.astype(np.int16))


FRAME = frame()


class Session:
    """A sink that keeps what it was given."""

    def __init__(self) -> None:
        self.sequences: list[int] = []
        self.frames: list[bytes] = []

    def audio_received(self, opus: bytes, sequence: int, timestamp: int, now: float) -> None:
        self.sequences.append(sequence)
        self.frames.append(opus)


class Channel:
    """An uplink with the device's and the attacker's side in reach; time passes 60 ms a packet."""

    def __init__(self, proof: int = 3, rate: float = 200.0, jump: int = 250) -> None:
        self.session = Session()
        self.uplink = Uplink(
            AudioCipher(KEY),
            PacketCheck(16_000, 60),
            self.session,
            UplinkLimits(max_sequence_jump=jump, max_datagrams_per_s=rate, path_proof_packets=proof),
            frame_ms=60,
            opened=100.0,
            ids={"device": "aa-bb", "session": "s1"},
        )
        self.device = AudioCipher(KEY)
        self.now = 100.0

    def packet(self, sequence: int, opus: bytes = FRAME) -> bytes:
        return self.device.encrypt(pack_uplink(nonce_template(SSRC), 0, sequence, len(opus)), opus)

    def deliver(self, datagram: bytes, address: Address) -> None:
        self.uplink.receive(datagram, parse_header(datagram), address, self.now)

    def talk(self, *sequences: int, address: Address = HOME) -> None:
        for sequence in sequences:
            self.now += 0.06
            self.deliver(self.packet(sequence), address)

    def forge(self, sequence: int, address: Address = EVIL) -> None:
        """A right header over a payload that does not decrypt to Opus of this session."""
        header = pack_uplink(nonce_template(SSRC), 0, sequence, 100)
        stereo = self.device.encrypt(header, b"\xff" * 100)
        self.deliver(stereo, address)


@pytest.fixture
def channel() -> Channel:
    return Channel()


def test_good_packets_are_delivered_and_the_first_one_gives_the_address(channel: Channel) -> None:
    addresses = [channel.uplink.address]
    channel.talk(1)
    addresses.append(channel.uplink.address)
    assert addresses == [None, HOME]
    proven = [channel.uplink.proven]
    for sequence in (2, 3):
        channel.talk(sequence)
        proven.append(channel.uplink.proven)
    assert proven == [False, False, True]
    assert channel.session.sequences == [1, 2, 3]
    assert channel.session.frames == [FRAME] * 3


def test_losses_late_ones_and_duplicates_are_counted(channel: Channel) -> None:
    channel.talk(1, 2, 5, 4, 4, 1, 6)
    stats = channel.uplink.stats
    assert channel.session.sequences == [1, 2, 5, 4, 6]
    assert (stats.received, stats.lost, stats.late, stats.duplicate) == (5, 1, 1, 2)


def test_steady_packets_have_no_jitter_and_a_pause_is_none(channel: Channel) -> None:
    channel.talk(*range(1, 50))
    assert channel.uplink.stats.jitter_ms == pytest.approx(0, abs=1e-6)
    channel.now += 30
    channel.talk(*range(50, 60))
    assert channel.uplink.stats.jitter_ms == pytest.approx(0, abs=1e-6)


def test_jitter_is_rfc_3550s(channel: Channel) -> None:
    expected = 0.0
    for sequence in range(1, 40):
        channel.now += 0.06 + (0.02 if sequence % 2 else -0.02)
        channel.deliver(channel.packet(sequence), HOME)
        if sequence > 1:
            expected += (20 - expected) / 16
    assert channel.uplink.stats.jitter_ms == pytest.approx(expected, rel=1e-6)


def test_a_forgery_with_the_last_sequence_changes_nothing(channel: Channel) -> None:
    channel.talk(1, 2, 3)
    for address in (HOME, EVIL):
        channel.forge(0xFFFFFFFF, address)
        channel.deliver(channel.packet(0xFFFFFFFF), address)  # even one that would decrypt
    channel.talk(4, 5)
    assert channel.session.sequences == [1, 2, 3, 4, 5]
    assert channel.uplink.address == HOME
    assert channel.uplink.stats.forged == 4


def test_forged_payloads_change_nothing_from_any_address(channel: Channel) -> None:
    channel.talk(1, 2, 3)
    for sequence in range(4, 60):
        channel.forge(sequence, HOME)
        channel.forge(sequence, EVIL)
    channel.talk(*range(4, 60))
    assert channel.session.sequences == list(range(1, 60))
    assert channel.uplink.address == HOME


def test_a_replay_from_elsewhere_moves_nothing(channel: Channel) -> None:
    channel.talk(*range(1, 20))
    for sequence in range(1, 20):
        channel.deliver(channel.packet(sequence), EVIL)
    assert channel.uplink.address == HOME
    assert channel.uplink.stats.duplicate == 19
    assert len(channel.session.sequences) == 19


def test_our_own_downlink_sent_back_is_a_forgery(channel: Channel) -> None:
    downlink = Downlink(AudioCipher(KEY), SSRC)
    for number in range(1, 10):
        sealed = downlink.seal(FRAME, number * 60)
        assert sealed is not None
        channel.deliver(sealed, EVIL)
    assert channel.uplink.address is None
    assert channel.uplink.stats.forged == 9
    assert channel.session.sequences == []


def test_one_good_packet_from_elsewhere_does_not_move_the_address(channel: Channel) -> None:
    channel.talk(1, 2, 3)
    channel.deliver(channel.packet(4), EVIL)
    assert channel.uplink.address == HOME
    channel.talk(4, 5, 6)
    channel.deliver(channel.packet(7), EVIL)
    channel.talk(7)
    channel.deliver(channel.packet(8), EVIL)
    assert channel.uplink.address == HOME
    assert channel.session.sequences == [1, 2, 3, 4, 5, 6, 7]
    assert channel.uplink.stats.address_changes == 0


def test_a_device_behind_a_rebound_nat_is_followed_and_loses_nothing(channel: Channel) -> None:
    channel.talk(1, 2, 3)
    channel.talk(4, 5, address=ROAM)
    assert channel.uplink.address == HOME
    channel.talk(6, address=ROAM)
    assert channel.uplink.address == ROAM
    channel.talk(7, address=ROAM)
    assert channel.session.sequences == [1, 2, 3, 4, 5, 6, 7]
    assert channel.uplink.stats.address_changes == 1
    assert channel.uplink.stats.lost == 0


def test_packets_of_different_opus_modes_are_no_row(channel: Channel) -> None:
    channel.talk(1, 2, 3)
    other = OpusEncoder(16_000, bitrate=12_000, application="voip").encode(np.zeros(960, np.int16))
    assert other[0] >> 3 != FRAME[0] >> 3
    for sequence, opus in ((4, FRAME), (5, other), (6, FRAME)):
        channel.deliver(channel.packet(sequence, opus), EVIL)
    assert channel.uplink.address == HOME


def test_lucky_forgeries_from_many_ports_do_not_keep_a_device_from_moving(channel: Channel) -> None:
    channel.talk(1, 2, 3)
    for sequence in range(4, 7):
        channel.talk(sequence, address=ROAM)
        for port in range(3):
            channel.deliver(channel.packet(200 + port), ("203.0.113.9", sequence * 100 + port))
    assert channel.uplink.address == ROAM


def test_a_stolen_first_address_is_taken_back_by_the_device(channel: Channel) -> None:
    channel.deliver(channel.packet(240), EVIL)  # a lucky forgery before the device's first packet
    assert channel.uplink.address == EVIL
    channel.talk(1, 2)
    assert channel.uplink.address == HOME
    channel.talk(3, 4, 5)
    assert channel.session.sequences == [240, 1, 2, 3, 4, 5]
    assert channel.uplink.stats.lost == 0


def test_a_stolen_first_address_is_not_proven_by_repeating_the_devices_packets(channel: Channel) -> None:
    channel.talk(0, address=EVIL)  # a forgery that passed for audio, before the device was heard
    for sequence in range(1, 4):
        channel.talk(sequence)
        for repeated in range(1, sequence + 1):
            channel.deliver(channel.packet(repeated), EVIL)
        channel.forge(sequence + 3)
    assert channel.uplink.address == HOME
    channel.talk(4, 5)
    assert channel.uplink.address == HOME
    assert set(channel.session.sequences) >= {1, 2, 3, 4, 5}


def test_a_copied_first_packet_that_wins_the_race_is_of_no_use(channel: Channel) -> None:
    channel.deliver(channel.packet(1), EVIL)
    channel.talk(1, 2, 3, 4)
    assert channel.uplink.address == HOME
    assert channel.session.sequences == [1, 2, 3, 4]


def test_a_device_is_found_again_after_a_long_outage(channel: Channel) -> None:
    channel.talk(*range(1, 11))
    channel.now += 20.0
    channel.talk(344, 345)
    assert channel.session.sequences[-1] == 10
    channel.talk(346, 347)
    assert channel.session.sequences[-4:] == [344, 345, 346, 347]
    assert channel.uplink.stats.lost == 333
    assert channel.uplink.stats.address_changes == 0


def test_a_device_may_come_back_from_an_outage_with_another_address(channel: Channel) -> None:
    channel.talk(*range(1, 11))
    channel.now += 60.0
    channel.talk(1000, 1001, 1002, address=ROAM)
    assert channel.uplink.address == ROAM
    assert channel.session.sequences[-3:] == [1000, 1001, 1002]


def test_a_count_ahead_of_time_itself_is_a_forgery(channel: Channel) -> None:
    channel.talk(1, 2, 3)
    channel.now += 10.0
    channel.talk(5000, 5001, 5002, 5003)
    assert channel.session.sequences == [1, 2, 3]
    channel.talk(4)
    assert channel.session.sequences == [1, 2, 3, 4]


def test_far_packets_that_are_not_in_a_row_prove_nothing(channel: Channel) -> None:
    channel.talk(1, 2, 3)
    channel.now += 60.0
    channel.talk(400, 800, 500, 1200)
    channel.talk(4)
    channel.talk(1201, 1202)
    assert channel.session.sequences == [1, 2, 3, 4]


def test_garbage_takes_nothing_from_the_devices_rate() -> None:
    channel = Channel(rate=20.0)
    channel.talk(1, 2, 3)
    for number in range(5000):
        channel.forge(4 + number % 200, (HOME, EVIL)[number % 2])
    channel.talk(*range(4, 100))
    assert channel.session.sequences == list(range(1, 100))
    assert channel.uplink.stats.limited == 0
    assert channel.uplink.stats.forged == 5000


def test_a_device_beyond_its_rate_is_limited_to_it() -> None:
    channel = Channel(rate=20.0)
    for sequence in range(1, 1001):
        channel.now += 0.01
        channel.deliver(channel.packet(sequence), HOME)
    assert len(channel.session.sequences) == pytest.approx(10 + 10 * 20, abs=2)
    assert channel.uplink.stats.limited == 1000 - len(channel.session.sequences)


def test_a_lower_proof_is_honoured() -> None:
    channel = Channel(proof=1)
    channel.talk(1)
    channel.talk(2, address=ROAM)
    assert channel.uplink.address == ROAM


@settings(max_examples=50)
@given(seed=st.integers(0, 2**32), junk=st.lists(st.binary(min_size=1, max_size=80), max_size=40))
def test_whatever_is_thrown_at_it_the_device_is_heard(seed: int, junk: list[bytes]) -> None:
    channel, random = Channel(), np.random.default_rng(seed)
    for sequence in range(1, 61):
        channel.talk(sequence)
        for payload in junk[sequence % 40 : sequence % 40 + 3]:
            header = pack_uplink(nonce_template(SSRC), 0, int(random.integers(1, 2**32)), len(payload))
            channel.deliver(header + payload, EVIL)
    assert channel.uplink.address == HOME
    assert channel.session.sequences == list(range(1, 61))


# ── downlink ─────────────────────────────────────────────────────────────────────────────────────────────


def test_sealed_packets_open_with_the_devices_key_and_count_up() -> None:
    downlink, device = Downlink(AudioCipher(KEY), SSRC), AudioCipher(KEY)
    for number in range(1, 5):
        datagram = downlink.seal(FRAME, 60 * number)
        assert datagram is not None
        header = parse_header(datagram)
        assert (header.flags, header.ssrc, header.timestamp) == (DOWNLINK_FLAGS, SSRC, 60 * number)
        assert header.sequence == number
        assert device.decrypt(datagram) == FRAME


@pytest.mark.parametrize("timestamp", [0, -1, 59, 60, 1 << 32])
def test_a_timestamp_that_does_not_increase_is_refused(timestamp: int) -> None:
    downlink = Downlink(AudioCipher(KEY), SSRC)
    assert downlink.seal(FRAME, 60) is not None
    assert downlink.seal(FRAME, timestamp) is None
    following = downlink.seal(FRAME, 61)
    assert following is not None
    assert parse_header(following).sequence == 2


def test_impossible_lengths_are_refused() -> None:
    downlink = Downlink(AudioCipher(KEY), SSRC)
    assert downlink.seal(b"", 60) is None
    assert downlink.seal(bytes(1485), 60) is None
    assert downlink.seal(bytes(1484), 60) is not None


def test_the_key_stream_is_never_used_twice_over_a_long_session() -> None:
    downlink = Downlink(AudioCipher(KEY), SSRC)
    blocks: set[int] = set()
    count = 0
    sizes = np.random.default_rng(7).integers(1, 400, 20_000)
    payload = os.urandom(400)
    for number, size in enumerate(sizes, 1):
        datagram = downlink.seal(payload[:size], number * 60)
        assert datagram is not None
        first = int.from_bytes(datagram[:HEADER_BYTES])
        used = range(first, first + -(-int(size) // 16))
        blocks.update(used)
        count += len(used)
    assert len(blocks) == count
    uplink = int.from_bytes(nonce_template(SSRC)) >> 112 << 112
    assert all(block >> 112 != uplink >> 112 for block in blocks)


def test_a_stream_that_begins_at_zero_is_delivered_whole_and_counted_from_one(channel: Channel) -> None:
    """QuecPython clients begin at 0, stock firmware at 1."""
    channel.talk(0, 1, 1, 0, 2)
    assert channel.session.sequences == [1, 2, 3]
    stats = channel.uplink.stats
    assert (stats.received, stats.duplicate, stats.lost, stats.late) == (3, 2, 0, 0)
    assert channel.uplink.address == HOME


def test_a_late_sequence_zero_is_no_loss_made_good(channel: Channel) -> None:
    channel.talk(1, 0, 2)
    stats = channel.uplink.stats
    assert (stats.received, stats.lost, stats.late) == (3, 0, 1)


def test_silence_of_one_byte_is_ordinary_audio(channel: Channel) -> None:
    """The firmware's encoder sends DTX packets (device contract, section 4)."""
    silence = b"\x58"  # TOC alone: one SILK frame, wideband, 60 ms (RFC 6716, 3.1)
    for sequence in range(1, 6):
        channel.now += 0.06
        channel.deliver(channel.packet(sequence, silence), HOME)
    assert channel.session.frames == [silence] * 5
    assert (channel.uplink.stats.forged, channel.uplink.stats.lost) == (0, 0)


@given(st.integers(0, 0xFFFFFFFF))
def test_any_timestamp_of_the_uplink_is_believed(timestamp: int) -> None:
    """0 from stock firmware, an echo with server AEC, a tick count from Espressif's client."""
    channel = Channel()
    header = pack_uplink(nonce_template(SSRC), timestamp, 1, len(FRAME))
    channel.deliver(channel.device.encrypt(header, FRAME), HOME)
    assert channel.session.sequences == [1]


def test_address_changes_are_one_log_entry_a_minute(
    channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    channel.talk(*range(1, 6))
    with caplog.at_level("INFO"):
        for change in range(20):
            first = 6 + change * 5
            channel.talk(*range(first, first + 5), address=ROAM if change % 2 == 0 else HOME)
        assert channel.uplink.stats.address_changes == 20
        assert len(caplog.records) == 1
        channel.now += 60
        channel.talk(*range(106, 111), address=ROAM)
        assert channel.uplink.stats.address_changes == 21
        assert len(caplog.records) == 2
