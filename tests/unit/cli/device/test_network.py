from collections.abc import Callable

from mimi_mqtt.cli.device.network import Impairment, Network

PACKETS = [b"%d" % number for number in range(1_000)]


class Clock:
    """Calls later, when it is told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, Callable[[bytes], None], bytes]] = []

    def later(self, delay: float, call: Callable[[bytes], None], packet: bytes) -> None:
        self.calls.append((delay, call, packet))

    def run(self) -> None:
        for _, call, packet in sorted(self.calls, key=lambda entry: entry[0]):
            call(packet)


def carry(impairment: Impairment, spacing_s: float = 0.0) -> list[bytes]:
    clock, arrived = Clock(), list[bytes]()
    network = Network(impairment, clock.later)
    for packet in PACKETS:
        network.carry(packet, arrived.append)
    if spacing_s:
        clock.calls = [(n * spacing_s + call[0], call[1], call[2]) for n, call in enumerate(clock.calls)]
    clock.run()
    return arrived


def test_perfect_network_delivers_at_once_and_in_order() -> None:
    assert carry(Impairment()) == PACKETS


def test_loss_is_about_what_was_asked_for() -> None:
    assert 30 <= len(PACKETS) - len(carry(Impairment(loss_percent=5, seed=1))) <= 70
    assert carry(Impairment(loss_percent=100)) == []


def test_jitter_lets_packets_overtake_and_loses_none() -> None:
    arrived = carry(Impairment(jitter_ms=40, seed=1), spacing_s=0.02)
    assert sorted(arrived) == sorted(PACKETS)
    assert arrived != PACKETS


def test_jitter_stays_below_its_bound() -> None:
    clock = Clock()
    network = Network(Impairment(jitter_ms=40), clock.later)
    for packet in PACKETS:
        network.carry(packet, lambda _: None)
    assert all(0 <= delay <= 0.04 for delay, _, _ in clock.calls)


def test_same_seed_same_fate() -> None:
    impairment = Impairment(loss_percent=10, jitter_ms=40, seed=7)
    assert carry(impairment) == carry(impairment)
