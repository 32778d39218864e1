"""The token bucket, and the address a device is told."""

import asyncio

import pytest

from mimi_mqtt.transports.mqtt.addresses import local_host
from mimi_mqtt.transports.mqtt.allowance import Allowance


def test_a_burst_is_allowed_and_then_the_rate() -> None:
    allowance = Allowance(4, 0.0)
    assert [allowance.take(2, 4, 0.0) for _ in range(5)] == [True, True, True, True, False]
    assert [allowance.take(2, 4, 1.0) for _ in range(3)] == [True, True, False]


def test_no_more_than_a_burst_is_saved() -> None:
    allowance = Allowance(4, 0.0)
    assert allowance.is_full(2, 4, 0.0)
    allowance.take(2, 4, 0.0)
    assert not allowance.is_full(2, 4, 0.4)
    assert allowance.is_full(2, 4, 0.5)
    assert [allowance.take(2, 4, 100.0) for _ in range(5)] == [True] * 4 + [False]


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
