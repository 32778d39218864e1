"""A device among strangers who know its ssrc, on virtual time: who gets the downlink, what is heard.

A stranger has no key. He sends random payloads under the right ssrc, of which about one in ninety passes for
audio, repeats what the device sends, and writes any source address on it. Random here is seeded.
"""

import heapq
import random
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimi_mqtt.audio.opus import PacketCheck
from mimi_mqtt.transports.udp_channel import Uplink, UplinkLimits
from mimi_mqtt.transports.udp_rows import Address
from mimi_mqtt.wire.audio_packet import AudioCipher, nonce_template, pack_uplink, parse_header
from tests.unit.transports.test_udp_channel import FRAME, KEY, SSRC

HOME, WRONG_PORT, ROAM = ("192.0.2.1", 1000), ("192.0.2.1", 6666), ("192.0.2.1", 2000)
ELSEWHERE, ELSEWHERE_ROAM = ("198.51.100.7", 1000), ("198.51.100.7", 2000)
STRANGER = ("203.0.113.9", 6)
FRAME_S = 0.06
FRAME_BYTES = len(FRAME) + 16


class Air:
    """Datagrams on their way to one session, in order of time; a frame goes down every 60 ms."""

    def __init__(self, home: str | None = HOME[0], seed: int = 1) -> None:
        self.random = random.Random(seed)
        self.heard: list[bytes] = []
        self.frames: Counter[Address | None] = Counter()
        self.uplink = Uplink(
            AudioCipher(KEY),
            PacketCheck(16_000, 60),
            self,
            UplinkLimits(max_sequence_jump=250, max_datagrams_per_s=200.0, path_proof_packets=5),
            60,
            0.0,
            {"device": "aa-bb", "session": "s1"},
            home,
        )
        self._cipher = AudioCipher(KEY)
        self._way: list[tuple[float, int, bytes, Address]] = []
        self.packets: dict[int, bytes] = {}

    def audio_received(self, opus: bytes, sequence: int, timestamp: int, now: float) -> None:
        self.heard.append(opus)

    def send(self, at: float, datagram: bytes, address: Address) -> None:
        heapq.heappush(self._way, (at, len(self._way), datagram, address))

    def talk(self, at: float, sequences: Iterable[int], address: Address = HOME) -> None:
        """The device talks from second `at` on; each packet can be told from all others."""
        for number, sequence in enumerate(sequences):
            opus = FRAME[:-4] + sequence.to_bytes(4)
            header = pack_uplink(nonce_template(SSRC), 0, sequence, len(opus))
            self.packets[sequence] = opus
            self.send(at + number * FRAME_S, self._cipher.encrypt(header, opus), address)

    def repeat(self, by: float, address: Address) -> None:
        """Repeats all that is on its way from `address`, `by` seconds later, or earlier."""
        for at, _, datagram, _ in list(self._way):
            self.send(at + by, datagram, address)

    def garbage(
        self, start: float, end: float, address: Address, *, rate: float = 200.0, count: str = "random"
    ) -> None:
        """Random payloads: with random numbers, small ones, or ones that count up as a device's would."""
        for number in range(int((end - start) * rate)):
            at = start + number / rate
            sequence = {
                "random": self.random.randrange(2**32),
                "small": self.random.randrange(1, 250),
                "real time": 1 + int((at - start) / FRAME_S),
            }[count]
            payload = self.random.randbytes(self.random.randrange(20, 120))
            self.send(at, pack_uplink(nonce_template(SSRC), 0, sequence, len(payload)) + payload, address)

    def run(self, until: float, *, frames_from: float = 0.0) -> None:
        """Lets time pass; frames are counted from second `frames_from` on, by the address they went to."""
        frame_at = 0.0
        while frame_at < until:
            self._arrive(frame_at)
            sent = self.uplink.spend(FRAME_BYTES)
            if frame_at >= frames_from:
                self.frames[self.uplink.address if sent else None] += 1
            frame_at += FRAME_S / 2  # twice as many as there are, so that a short theft is seen
        self._arrive(float("inf"))

    def _arrive(self, until: float) -> None:
        while self._way and self._way[0][0] <= until:
            at, _, datagram, address = heapq.heappop(self._way)
            self.uplink.receive(datagram, parse_header(datagram), address, at)

    @property
    def lost(self) -> list[int]:
        """Numbers of the device's packets that were not heard."""
        heard = set(self.heard)
        return [sequence for sequence, opus in self.packets.items() if opus not in heard]


COUNTS = ("random", "small", "real time")
HOMES = {"at its control connection's": (HOME[0], HOME), "elsewhere": (HOME[0], ELSEWHERE)}


def test_nobody_gets_the_downlink_by_garbage_before_the_device_talks() -> None:
    for seed, count in enumerate(COUNTS * 3):
        air = Air(seed=seed)
        air.garbage(0, 10, STRANGER, count=count)
        air.run(10)
        assert air.frames.keys() <= {None}


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("place", HOMES)
def test_garbage_before_and_while_it_talks_keeps_no_frame_from_the_device(place: str, count: str) -> None:
    home, device = HOMES[place]
    for seed in range(5):
        air = Air(home, seed)
        air.garbage(0, 8, STRANGER, count=count)
        air.talk(4, range(1, 60), device)
        air.run(8, frames_from=4 + (3 if device == HOME else 12) * FRAME_S)
        assert air.frames.keys() == {device}
        assert len(air.lost) <= 1


@pytest.mark.parametrize("count", COUNTS)
def test_garbage_under_its_own_address_does_not_lock_the_device_out(count: str) -> None:
    for seed in range(5):
        air = Air(seed=seed)
        air.garbage(0, 8, HOME, count=count)
        air.talk(2, range(1, 60))
        air.run(8, frames_from=2 + 3 * FRAME_S)
        assert air.frames.keys() == {HOME}
        assert len(air.lost) <= 3  # where a forgery passed for the very packet that was next


@pytest.mark.parametrize("count", COUNTS)
def test_garbage_under_its_own_address_elsewhere_only_delays_the_device(count: str) -> None:
    for seed in range(5):
        air = Air(seed=seed)
        air.garbage(0, 8, ELSEWHERE, count=count)
        air.talk(2, range(1, 60), ELSEWHERE)
        air.run(8, frames_from=4)
        assert air.frames.keys() == {ELSEWHERE}
        assert len(air.lost) <= 3


@pytest.mark.parametrize(
    ("rate", "count"),
    [(600.0, "random"), (600.0, "small"), (600.0, "real time"), (2_000.0, "random"), (2_000.0, "small")],
)
def test_a_flood_under_its_own_address_neither_silences_nor_deafens_a_device(rate: float, count: str) -> None:
    for seed in range(3):
        air = Air(seed=seed)
        air.garbage(0, 4, HOME, rate=rate, count=count)
        air.talk(0.05, range(1, 60))
        air.run(4, frames_from=1)
        assert air.frames.keys() == {HOME}
        assert len(air.lost) <= 5  # where a forgery passed for the very packet that was next


def test_garbage_under_its_own_address_and_from_elsewhere_moves_nothing() -> None:
    """What was measured: random datagrams before the first packet, then forgeries under its own address."""
    for seed in range(5):
        air = Air(seed=seed)
        air.garbage(0, 8, STRANGER, count="real time")
        air.garbage(2, 8, HOME, count="real time")
        air.talk(2, range(1, 60))
        air.run(8, frames_from=2 + 3 * FRAME_S)
        assert air.frames.keys() == {HOME}


def test_a_stranger_at_another_port_of_its_address_is_left_as_soon_as_the_device_talks() -> None:
    for seed in range(10):
        air = Air(seed=seed)
        air.garbage(0, 6, WRONG_PORT, count="small")
        air.talk(3, range(1, 50))
        air.run(6, frames_from=3 + 4 * FRAME_S)
        assert air.frames.keys() == {HOME}
        assert air.lost == []


@pytest.mark.parametrize("place", HOMES)
@pytest.mark.parametrize("by", [0.001, 0.03, 0.2])
def test_a_stranger_who_repeats_everything_later_gets_nothing(place: str, by: float) -> None:
    home, device = HOMES[place]
    air = Air(home)
    air.talk(0, range(1, 60), device)
    air.repeat(by, STRANGER)
    air.run(3.5, frames_from=5 * FRAME_S)
    assert air.frames.keys() == {device}
    assert air.lost == []


@pytest.mark.parametrize("by", [-0.001, -0.03, -0.05])
def test_a_stranger_who_repeats_everything_earlier_gets_nothing(by: float) -> None:
    air = Air()
    air.talk(0.1, range(1, 60))
    air.repeat(by, STRANGER)
    air.run(3.5, frames_from=0.1 + FRAME_S)
    assert air.frames.keys() == {HOME}
    assert air.lost == []


def test_a_copy_of_the_first_packet_that_wins_the_race_gets_nothing() -> None:
    air = Air()
    air.talk(1, [1])
    air.repeat(-0.01, STRANGER)
    air.talk(1 + FRAME_S, range(2, 50))
    air.run(3.5)
    assert air.frames.keys() == {None, HOME}
    assert air.lost == []


@pytest.mark.parametrize(
    ("device", "moved"), [(HOME, ROAM), (HOME, ELSEWHERE), (ELSEWHERE, ELSEWHERE_ROAM), (ELSEWHERE, HOME)]
)
@pytest.mark.parametrize("by", [0.01, None])
def test_a_rebound_device_is_followed_though_forgers_are_about(
    device: Address, moved: Address, by: float | None
) -> None:
    for seed in range(5):
        air = Air(seed=seed)
        air.talk(0, range(1, 40), device)
        air.talk(40 * FRAME_S, range(40, 120), moved)
        if by is not None:
            air.repeat(by, STRANGER)
        for address in (device, moved, STRANGER):
            air.garbage(0, 8, address, count="real time")
        air.run(8, frames_from=40 * FRAME_S + (3.5 if device[0] != moved[0] else 2))
        assert air.frames.keys() == {moved}
        assert len(air.lost) <= 5  # where a forgery passed for the very packet that was next


def test_a_rebound_device_is_followed_though_a_stranger_repeats_it_earlier() -> None:
    air = Air()
    air.talk(0.1, range(1, 40))
    air.talk(0.1 + 40 * FRAME_S, range(40, 80), ROAM)
    air.repeat(-0.005, STRANGER)
    air.run(5, frames_from=0.1 + 46 * FRAME_S)
    assert air.frames.keys() == {ROAM}
    assert air.lost == []


def test_a_lucky_forgery_far_ahead_costs_the_device_no_audio() -> None:
    air = Air()
    air.garbage(0, 6, HOME, count="small")
    air.talk(1, range(1, 30))
    air.talk(5, range(30, 60))  # after a pause in which forgers had the address for themselves
    air.run(8)
    assert len(air.lost) <= 3


def test_an_address_that_is_not_proven_is_sent_no_more_than_came_from_it() -> None:
    air = Air(home=None)
    air.talk(0, [1], STRANGER)
    air.run(3)
    assert air.frames[STRANGER] * FRAME_BYTES <= FRAME_BYTES
    assert air.uplink.stats.withheld > 50


def test_a_device_that_only_said_one_packet_hears_all_at_its_control_connections_address() -> None:
    """A device stops sending when it begins to play (device contract, section 3)."""
    air = Air()
    air.talk(0, [1])
    air.run(3)
    assert air.frames.keys() == {HOME}
    assert air.uplink.stats.withheld == 0


def test_a_device_elsewhere_is_believed_after_few_packets_and_loses_none() -> None:
    air = Air()
    air.talk(0, range(1, 40), ELSEWHERE)
    air.run(3, frames_from=5 * FRAME_S)
    assert air.frames.keys() == {ELSEWHERE}
    assert air.lost == []


attacks = st.tuples(
    st.sampled_from([HOME, WRONG_PORT, STRANGER, ("203.0.113.10", 7)]),
    st.sampled_from(COUNTS),
    st.floats(0, 4),
    st.floats(0.1, 3),
    st.sampled_from([20.0, 100.0, 200.0]),
)


@settings(max_examples=40, deadline=None)
@given(
    plan=st.lists(attacks, max_size=3),
    lost=st.sets(st.integers(1, 70), max_size=10),
    repeats=st.lists(st.tuples(st.floats(-0.05, 0.3), st.just(STRANGER)), max_size=2),
    seed=st.integers(0, 2**32),
)
def test_whatever_forgers_do_the_device_gets_the_downlink_and_is_heard(
    plan: list[tuple[Address, str, float, float, float]],
    lost: set[int],
    repeats: list[tuple[float, Address]],
    seed: int,
) -> None:
    air = Air(seed=seed)
    air.talk(1, range(1, 71))
    air._way = [entry for entry in air._way if parse_header(entry[2]).sequence not in lost]
    for sequence in lost:
        del air.packets[sequence]
    for by, address in repeats:
        air.repeat(by, address)
    for address, count, start, length, rate in plan:
        air.garbage(start, start + length, address, rate=rate, count=count)
    air.run(5.1, frames_from=1 + 14 * FRAME_S)
    assert air.frames.keys() == {HOME}
    assert len(air.lost) <= 4
