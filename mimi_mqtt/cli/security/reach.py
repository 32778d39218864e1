"""From where an address can be reached: this machine, the local network, or the internet."""

from enum import IntEnum
from ipaddress import ip_address
from typing import Final

from mimi_mqtt.cli.security.machine import IpAddress, Machine

_LOCAL_NAMES: Final = (
    "localhost", "local", "lan", "home", "home.arpa", "internal", "intranet", "fritz.box", "test",
)  # fmt: skip


class Reach(IntEnum):
    """Reach of a listening address, the narrowest first."""

    MACHINE = 0
    NETWORK = 1
    INTERNET = 2


WORDS: Final = {
    Reach.MACHINE: "this machine only",
    Reach.NETWORK: "the local network",
    Reach.INTERNET: "the internet",
}


def of_address(address: IpAddress) -> Reach:
    """The reach of one address; without a look at firewalls and routers."""
    if address.is_loopback:
        return Reach.MACHINE
    return Reach.INTERNET if address.is_global else Reach.NETWORK


def of_bind(host: str, machine: Machine) -> tuple[Reach, tuple[IpAddress, ...]]:
    """The reach of a listening socket on `host`, and the addresses it listens on as far as they are known."""
    try:
        address = ip_address(host)
    except ValueError:
        return of_name(host), ()
    if not address.is_unspecified:
        return of_address(address), (address,)
    # `::` takes IPv4 too, on Linux by default.
    taken = tuple(each for each in machine.addresses if each.version == 4 or address.version == 6)
    return max(map(of_address, taken), default=Reach.NETWORK), taken


def of_name(host: str) -> Reach:
    """The reach of a host name or address, by its form; no name is looked up."""
    bare = host.strip("[]").rstrip(".").lower()
    try:
        return of_address(ip_address(bare))
    except ValueError:
        pass
    if bare == "localhost" or bare.endswith(".localhost"):
        return Reach.MACHINE
    local = "." not in bare or any(bare.endswith(f".{name}") for name in _LOCAL_NAMES)
    return Reach.NETWORK if local else Reach.INTERNET
