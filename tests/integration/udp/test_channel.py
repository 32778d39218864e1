"""A device and the UDP server, over real sockets."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

from mimi_mqtt.config import UdpSettings
from mimi_mqtt.transports.udp import UdpServer
from mimi_mqtt.wire.audio_packet import HEADER_BYTES, parse_header
from tests.integration.udp.conftest import FRAME_BYTES, Device, NewDevice


async def test_audio_flows_both_ways(device: Device) -> None:
    assert not device.channel.send(FRAME_BYTES, 60)
    await device.talk(20)
    assert device.session.sequences == list(range(1, 21))
    for number in range(1, 21):
        assert device.channel.send(FRAME_BYTES, number * 60)
        datagram = await device.receive()
        assert parse_header(datagram).sequence == number
        assert device.cipher.decrypt(datagram) == FRAME_BYTES
    assert (device.channel.stats.received, device.channel.stats.sent) == (20, 20)


async def test_the_downlink_follows_a_nat_rebinding_after_proof_and_no_packet_is_lost(device: Device) -> None:
    await device.talk(5)
    old = device.address
    device.rebind()
    last = 5 + UdpSettings().path_proof_packets
    for sequence in range(6, last):
        device.send(device.seal(sequence))
    device.sequence = last - 1
    await device.talk(1)
    assert device.session.sequences == list(range(1, last + 1))
    assert device.channel.send(FRAME_BYTES, 60)
    assert device.cipher.decrypt(await device.receive()) == FRAME_BYTES
    assert device.address != old
    assert device.channel.stats.address_changes == 1


async def test_until_it_is_proven_a_new_address_gets_nothing(
    device: Device, barrier: Callable[[], Awaitable[None]]
) -> None:
    await device.talk(5)
    device.rebind()
    for sequence in (6, 7):
        device.send(device.seal(sequence))
    await barrier()
    assert device.channel.send(FRAME_BYTES, 60)
    assert device.received() == []
    assert device.old[0].recv(2048)[:1] == b"\x01"


async def test_a_vanished_device_does_not_disturb_the_others(new_device: NewDevice) -> None:
    gone, there = new_device(), new_device()
    await gone.talk(3)
    await there.talk(3)
    gone.close()
    for number in range(1, 50):
        gone.channel.send(FRAME_BYTES, number * 60)
        await there.talk(1)
    assert there.session.sequences == list(range(1, 53))


async def test_a_second_hello_moves_the_device_to_a_new_key_and_the_old_session_is_dead(
    server: UdpServer, new_device: NewDevice, barrier: Callable[[], Awaitable[None]]
) -> None:
    first = new_device()
    await first.talk(5)
    first.channel.close()
    second = new_device()
    await second.talk(5)
    first.send(first.seal(6))
    await barrier()
    assert first.session.sequences == [1, 2, 3, 4, 5]
    assert not first.channel.send(FRAME_BYTES, 60)
    assert server.unknown == 1
    assert server.totals().received == 11


async def test_the_key_stream_is_never_reused_on_the_downlink_over_a_long_session(device: Device) -> None:
    await device.talk(5)
    blocks: set[int] = set()
    used = 0
    for number in range(1, 20_001):
        opus = FRAME_BYTES[: 1 + number % len(FRAME_BYTES)]
        assert device.channel.send(opus, number)
        datagram = device.sock.recv(2048)
        counter = int.from_bytes(datagram[:HEADER_BYTES])
        count = -(-len(opus) // 16)
        blocks.update(range(counter, counter + count))
        used += count
    assert len(blocks) == used
    uplink_flags = device.nonce[1]
    assert all(block >> 112 & 0xFF != uplink_flags for block in blocks)


async def test_the_kernel_is_asked_for_the_configured_receive_buffer(server: UdpServer) -> None:
    sock = server._socket
    assert sock is not None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as fresh:
        ordinary = fresh.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= ordinary


async def test_a_crowd_is_heard_whole_and_each_alone_afterwards(
    server: UdpServer, new_device: NewDevice
) -> None:
    crowd = [new_device() for _ in range(40)]
    for _ in range(40):
        for device in crowd:
            device.sequence += 1
            device.send(device.seal(device.sequence))
            await asyncio.sleep(0)  # lets the server's reader run: one wake-up a datagram
    for device in crowd:
        assert await device.session.until(40) == list(range(1, 41))
    for device in crowd:
        await device.talk(1)
    assert server.totals().received == 40 * 41
