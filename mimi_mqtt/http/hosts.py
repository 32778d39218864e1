"""Which names this server answers to, and which web pages may use it; pure.

A web page of a stranger can make its own name resolve to this server (DNS rebinding): to the browser the
server's answers are then that page's own. The attack needs a name that the attacker controls, so requests to
names that are not this server's are refused. IP addresses can't be rebound and are always allowed, as are
names that public DNS can't have.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import urlsplit

from mimi_mqtt.http.addressing import LABEL, PORT

_NAME = re.compile(rf"{LABEL}(?:\.{LABEL})*")
_NOT_PUBLIC = (".local", ".lan", ".home.arpa", ".internal", ".localhost")
"""Ends of names of home networks, which no public registry gives away (RFC 6761, RFC 6762, RFC 8375)."""
_DEFAULT_PORTS = {"http": "80", "https": "443"}


class HostRules:
    """The names that are allowed: `allowed` of http.allowed_hosts, `public_host`, and this `machine`'s."""

    def __init__(
        self, allowed: Iterable[str] = (), public_host: str | None = None, machine: str = ""
    ) -> None:
        patterns = list(allowed)
        self._listed = {name for name in patterns if not name.startswith("*")}
        self._below = tuple(name[1:] for name in patterns if name.startswith("*"))
        self._own = {name.lower().removesuffix(".") for name in (public_host, machine) if name}

    def allows(self, header: str) -> bool:
        """True when a request with this Host header is for this server."""
        split = _split(header)
        if split is None:
            return False
        host = split[0]
        if host.startswith("[") or _is_ipv4(host):
            return True
        # A last label that begins with a digit is some resolver's idea of an address (RFC 1123, 2.1).
        if host.rpartition(".")[2][:1].isdigit():
            return False
        return "." not in host or host.endswith(_NOT_PUBLIC) or host in self._own or self._is_listed(host)

    def allows_origin(self, origin: str, header: str) -> bool:
        """True when a page of `origin` may use the server that it reached by this Host header: a page of the
        server itself, or of a host in http.allowed_hosts. `null`, a page without an origin, may not."""
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        theirs, ours = _split(parts.netloc), _split(header)
        if parts.scheme not in _DEFAULT_PORTS or theirs is None:
            return False
        default = _DEFAULT_PORTS[parts.scheme]
        # The scheme of a Host header is not known for certain: a proxy may speak TLS for this server.
        same = ours is not None and theirs[0] == ours[0] and (theirs[1] or default) == (ours[1] or default)
        return same or self._is_listed(theirs[0])

    def _is_listed(self, host: str) -> bool:
        return host in self._listed or host.endswith(self._below)


def _is_ipv4(host: str) -> bool:
    try:
        IPv4Address(host)
    except ValueError:
        return False
    return True


def _split(header: str) -> tuple[str, str] | None:
    """Host in lower case, IPv6 addresses in brackets, and port; None when it can't be one."""
    if header.startswith("["):
        text, bracket, rest = header[1:].partition("]")
        try:
            host = f"[{IPv6Address(text)}]"
        except ValueError:
            return None
        if not bracket or (rest and not rest.startswith(":")):
            return None
        port = rest[1:]
    else:
        host, _, port = header.partition(":")
        host = host.lower().removesuffix(".")
        if len(host) > 253 or not _NAME.fullmatch(host):
            return None
    if port and not (PORT.fullmatch(port) and 0 < int(port) < 65536):
        return None
    return host, port
