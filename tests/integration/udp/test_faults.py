"""Faults inside the server while it reads datagrams: the socket goes on being read."""

from collections.abc import Awaitable, Callable

import pytest

from mimi_mqtt.transports import udp
from mimi_mqtt.transports.udp import UdpServer
from tests.integration.udp.conftest import Device, NewDevice

Barrier = Callable[[], Awaitable[None]]


def fail(*args: object) -> None:
    raise RuntimeError("a fault of the server")


async def test_a_datagram_that_fails_keeps_no_other_from_being_read(
    new_device: NewDevice, barrier: Barrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, whole = new_device(), new_device()
    monkeypatch.setattr(type(broken.channel), "uplink", property(uplink_that_fails_for(broken)))
    for _ in range(3):
        broken.send(broken.seal(1)[:-1])  # a wrong length
        broken.send(broken.seal(1))
        await whole.talk(1)
    assert broken.channel.failed


def uplink_that_fails_for(broken: Device) -> Callable[[udp.UdpChannel], object]:
    uplink = vars(udp.UdpChannel)["uplink"].fget
    return lambda channel: fail() if channel is broken.channel else uplink(channel)


@pytest.mark.parametrize("polling", [False, True])
async def test_reading_goes_on_after_a_fault_and_is_unhealthy_until_it_succeeds(
    server: UdpServer, device: Device, monkeypatch: pytest.MonkeyPatch, polling: bool
) -> None:
    await device.talk(1)
    assert server.running
    if polling:
        monkeypatch.setattr(udp.ReadPace, "woke", lambda pace, now: True)
        monkeypatch.setattr(udp.ReadPace, "polled", lambda pace, count: True)
        await device.talk(2)
    drain, failed = UdpServer._drain, 0

    def drain_after_faults(self: UdpServer, *args: object) -> int:
        nonlocal failed
        if failed < 3:
            failed += 1
            fail()
        assert not server.running
        monkeypatch.setattr(UdpServer, "_drain", drain)
        return drain(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(UdpServer, "_drain", drain_after_faults)
    await device.talk(3)
    assert failed == 3
    await device.talk(3)
    assert server.running
