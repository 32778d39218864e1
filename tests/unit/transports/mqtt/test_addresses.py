"""The address a device is told."""

import asyncio

import pytest

from mimi_mqtt.transports.mqtt.addresses import local_host, peer_host


@pytest.mark.parametrize(
    ("sockname", "host"),
    [
        (("192.0.2.1", 1883), "192.0.2.1"),
        (("::ffff:192.0.2.1", 1883, 0, 0), "192.0.2.1"),
        (("2001:db8::1", 1883, 0, 0), "2001:db8::1"),
        (None, None),
    ],
)
def test_local_host(sockname: tuple[object, ...] | None, host: str | None) -> None:
    assert local_host(asyncio.BaseTransport({"sockname": sockname})) == host
    assert peer_host(asyncio.BaseTransport({"peername": sockname})) == host
