"""Networks and host names as values of settings."""

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

_HOST = re.compile(r"(\*\.)?[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")


def _network(value: Any) -> IPv4Network | IPv6Network:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    try:
        return ip_network(str(value))
    except ValueError as error:
        raise ValueError(
            f"must be an address or a network such as 172.16.0.0/12 or fd00::/8 ({error})"
        ) from None


def _host(value: str) -> str:
    host = value.lower().removesuffix(".")
    if len(host) > 253 or not _HOST.fullmatch(host):
        raise ValueError(
            "must be a host name without scheme or port, or *.example.org for all names below it"
        )
    return host


def _many(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Networks = Annotated[
    tuple[Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)], ...], BeforeValidator(_many)
]
"""Networks in CIDR notation, or single addresses."""

HostPatterns = Annotated[tuple[Annotated[str, AfterValidator(_host)], ...], BeforeValidator(_many)]
"""Host names in lower case; `*.example.org` stands for every name below example.org."""
