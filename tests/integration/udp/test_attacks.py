"""Attacks on the audio channel of a running server; each must leave the device as it was."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from random import Random

from prometheus_client.registry import REGISTRY

from mimi_mqtt.config import UdpSettings
from mimi_mqtt.session.link import AudioRequest
from mimi_mqtt.transports.udp import UdpServer
from mimi_mqtt.wire.audio_packet import HEADER_BYTES, pack_uplink, parse_header
from tests.fakes.session import FakeControlChannel
from tests.integration.udp.conftest import FRAME_BYTES, Device, NewDevice, Peer, Session

Barrier = Callable[[], Awaitable[None]]


async def device_still_works(device: Device) -> None:
    """Up and down, through the device's own socket."""
    device.received()
    await device.talk(3)
    assert device.session.sequences == list(range(1, device.sequence + 1))
    assert device.session.frames == [FRAME_BYTES] * device.sequence
    timestamp = 1_000_000 + device.sequence
    assert device.channel.send(FRAME_BYTES, timestamp)
    datagram = await device.receive()
    assert parse_header(datagram).timestamp == timestamp
    assert device.cipher.decrypt(datagram) == FRAME_BYTES


async def test_forged_datagram_with_the_right_ssrc_and_sequence_ffffffff(
    device: Device, attacker: Peer, barrier: Barrier
) -> None:
    await device.talk(5)
    for _ in range(10):
        attacker.send(pack_uplink(device.nonce, 0, 0xFFFFFFFF, 120) + os.urandom(120))
    await barrier()
    assert device.channel.stats.forged == 10
    await device_still_works(device)
    assert attacker.received() == []


async def test_forged_datagrams_with_the_next_sequences(
    device: Device, attacker: Peer, barrier: Barrier
) -> None:
    await device.talk(5)
    for ahead in range(1, 200):
        attacker.send(device.forge(5 + ahead))
    await barrier()
    await device_still_works(device)
    assert device.channel.stats.address_changes == 0
    assert device.channel.stats.forged == 199
    assert attacker.received() == []


async def test_replayed_datagrams(device: Device, attacker: Peer, barrier: Barrier) -> None:
    await device.talk(10)
    recorded = [device.seal(sequence) for sequence in range(1, 11)]
    for _ in range(5):
        for datagram in recorded:
            attacker.send(datagram)
    await barrier()
    assert device.channel.stats.duplicate == 50
    await device_still_works(device)
    assert attacker.received() == []


async def test_address_hijack_with_one_good_packet(device: Device, attacker: Peer, barrier: Barrier) -> None:
    await device.talk(5)
    attacker.send(device.seal(6))  # caught on its way and sent on from elsewhere
    await barrier()
    await device_still_works(device)
    attacker.send(device.seal(device.sequence + 1))
    await barrier()
    await device_still_works(device)
    assert device.channel.stats.address_changes == 0
    assert attacker.received() == []


async def test_address_hijack_before_the_device_was_heard(
    device: Device, attacker: Peer, barrier: Barrier
) -> None:
    attacker.send(device.seal(1))
    await barrier()
    await device.talk(UdpSettings().path_proof_packets + 1)
    assert device.channel.send(FRAME_BYTES, 60)
    assert parse_header(await device.receive()).timestamp == 60
    assert attacker.received() == []


async def test_the_servers_own_downlink_sent_back(device: Device, attacker: Peer, barrier: Barrier) -> None:
    await device.talk(5)
    for number in range(1, 21):
        assert device.channel.send(FRAME_BYTES, number * 60)
        attacker.send(await device.receive())
    await barrier()
    assert device.channel.stats.forged == 20
    await device_still_works(device)


async def test_a_flood_of_garbage_takes_nothing_from_the_devices_rate(
    device: Device, attacker: Peer, barrier: Barrier
) -> None:
    await device.talk(3)
    for round_ in range(20):
        for number in range(200):
            sequence = device.sequence + 1 + number
            attacker.send(device.forge(sequence))
        await barrier()
        await device_still_works(device)
        assert device.channel.stats.forged == 200 * (round_ + 1)
    assert device.channel.stats.limited == 0
    assert attacker.received() == []


async def test_a_flood_of_unknown_sessions_is_counted_and_never_answered(
    server: UdpServer, device: Device, attacker: Peer, barrier: Barrier
) -> None:
    await device.talk(3)
    for _ in range(10):
        for number in range(100):
            attacker.send(pack_uplink(bytes((1, 0, 0, 0)) + number.to_bytes(12), 0, 1, 100) + bytes(100))
        for junk in (b"", b"\x01", bytes(16), bytes(1400)):
            attacker.send(junk)
        await barrier()
    assert server.unknown == 1040
    await device_still_works(device)
    assert attacker.received() == []


async def test_wrong_types_and_lengths(
    server: UdpServer, device: Device, attacker: Peer, barrier: Barrier
) -> None:
    await device.talk(3)
    good = device.seal(4)
    wrong = [b"\x02" + good[1:], good[:-1], good + b"\0", good[:HEADER_BYTES] + bytes(1), good[:17]]
    for datagram in wrong:
        attacker.send(datagram)
        device.send(datagram)
    await barrier()
    assert server.malformed == 2 * len(wrong)
    await device_still_works(device)


async def test_a_device_cannot_speak_for_another(new_device: NewDevice, barrier: Barrier) -> None:
    victim, other = new_device(), new_device()
    await victim.talk(5)
    for sequence in range(6, 40):
        header = pack_uplink(victim.nonce, 0, sequence, len(FRAME_BYTES))
        other.send(other.cipher.encrypt(header, FRAME_BYTES))
    await barrier()
    await device_still_works(victim)
    assert other.received() == []


async def test_a_device_that_floods_is_limited_and_the_others_are_not(new_device: NewDevice) -> None:
    noisy, quiet = new_device(), new_device()
    await quiet.talk(3)
    for sequence in range(1, 400):
        noisy.send(noisy.seal(sequence))
    await quiet.talk(3)
    assert noisy.channel.stats.limited > 0
    assert len(noisy.session.sequences) < 399
    assert quiet.session.sequences == [1, 2, 3, 4, 5, 6]


async def test_garbage_before_the_first_packet_and_under_the_devices_address_moves_no_frame(
    server: UdpServer, barrier: Barrier
) -> None:
    session = Session()
    request = AudioRequest("device", "session", "127.0.0.1", 16_000, 60)
    control = FakeControlChannel(peer_host="127.0.0.2")
    device = Device(server.open(control, request, session), session, server.port, host="127.0.0.2")
    stranger = Peer(server.port, host="127.0.0.3")
    random = Random(5)

    def garbage(sender: Peer, count: int) -> None:
        for number in range(count):
            header = pack_uplink(device.nonce, 0, 1 + number // 12, 60)
            sender.send(header + random.randbytes(60))

    for _ in range(5):  # about one in ninety of these passes for audio
        garbage(stranger, 200)
        await barrier()
    assert not device.channel.ready
    await device.talk(2)
    for number in range(1, 30):
        garbage(stranger, 12)
        garbage(device, 12)  # from the device's own address, as a forger writes it
        await barrier()
        device.sequence += 1
        device.send(device.seal(device.sequence))
        await barrier()
        assert device.channel.send(FRAME_BYTES, number * 60)
    async with asyncio.timeout(20):
        for number in range(1, 30):
            assert parse_header(await device.receive()).timestamp == number * 60
    assert stranger.received() == []
    assert len(set(range(1, device.sequence + 1)) - set(session.sequences)) <= 3
    device.close()
    stranger.close()


async def test_one_datagram_from_an_address_that_is_not_proven_is_answered_by_no_more_than_its_bytes(
    device: Device, attacker: Peer, barrier: Barrier
) -> None:
    attacker.send(device.seal(1))  # as if somebody had written another's address on it
    await barrier()
    for number in range(1, 100):
        device.channel.send(FRAME_BYTES, number * 60)
    assert sum(map(len, attacker.received())) <= HEADER_BYTES + len(FRAME_BYTES)
    assert device.channel.stats.withheld == 98
    assert REGISTRY.get_sample_value("mimi_udp_packets_total", {"kind": "withheld"}) == 98
