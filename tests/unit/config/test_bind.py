"""The address of a listening socket."""

import pytest

from mimi_mqtt.config import BindAddress
from mimi_mqtt.config.bind import before_port


@pytest.mark.parametrize(
    ("host", "told"),
    [("192.0.2.1", "192.0.2.1"), ("2001:db8::1", "[2001:db8::1]"), ("localhost", "localhost")],
)
def test_ipv6_has_brackets_before_a_port(host: str, told: str) -> None:
    assert before_port(host) == told
    assert str(BindAddress(host, 1883)) == f"{told}:1883"
