from ipaddress import ip_address

import pytest

from mimi_mqtt.cli.security.reach import Reach, of_address, of_bind, of_name
from tests.unit.cli.security.installation import HOME, PUBLIC, machine


@pytest.mark.parametrize(
    ("address", "reach"),
    [
        ("127.0.0.9", Reach.MACHINE),
        ("::1", Reach.MACHINE),
        ("10.1.2.3", Reach.NETWORK),
        ("169.254.1.1", Reach.NETWORK),
        ("fe80::1", Reach.NETWORK),
        ("100.64.0.1", Reach.NETWORK),
        (PUBLIC, Reach.INTERNET),
        ("2606:4700::1", Reach.INTERNET),
    ],
)
def test_reach_of_addresses(address: str, reach: Reach) -> None:
    assert of_address(ip_address(address)) is reach


@pytest.mark.parametrize(
    ("host", "reach"),
    [
        ("localhost", Reach.MACHINE),
        ("nas", Reach.NETWORK),
        ("mimi.local", Reach.NETWORK),
        ("Mimi.Fritz.Box.", Reach.NETWORK),
        ("[::1]", Reach.MACHINE),
        ("192.168.0.1", Reach.NETWORK),
        ("voice.example.org", Reach.INTERNET),
        ("local.example.org", Reach.INTERNET),
    ],
)
def test_reach_of_names(host: str, reach: Reach) -> None:
    assert of_name(host) is reach


def test_every_address_reaches_as_far_as_the_farthest_of_the_machine() -> None:
    assert of_bind("0.0.0.0", machine(HOME))[0] is Reach.NETWORK
    assert of_bind("0.0.0.0", machine(HOME, PUBLIC))[0] is Reach.INTERNET
    assert of_bind("127.0.0.1", machine(PUBLIC))[0] is Reach.MACHINE
    assert of_bind(HOME, machine(HOME, PUBLIC))[0] is Reach.NETWORK


def test_an_ipv4_socket_is_not_reached_over_a_public_ipv6_address() -> None:
    assert of_bind("0.0.0.0", machine(HOME, "2606:4700::1"))[0] is Reach.NETWORK
    assert of_bind("::", machine(HOME, "2606:4700::1"))[0] is Reach.INTERNET
