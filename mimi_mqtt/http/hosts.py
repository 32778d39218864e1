"""Which names this server answers to, and which web pages may use it; pure.

A web page of a stranger can make its own name resolve to this server (DNS rebinding): to the browser the
server's answers are then that page's own. The attack needs a name that the attacker controls, so requests to
names that are not this server's are refused. IP addresses can't be rebound and are always allowed, as are
names that public DNS can't have.
"""

import re
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import urlsplit

from mimi_mqtt.http.addressing import LABEL, PORT

_NAME = re.compile(rf"{LABEL}(?:\.{LABEL})*")
_NOT_PUBLIC = (".local", ".lan", ".home.arpa", ".internal", ".localhost")
"""Ends of names of home networks, which no public registry gives away (RFC 6761, RFC 6762, RFC 8375)."""
_DEFAULT_PORTS = {"http": "80", "https": "443"}


class HostRules:
    """The names that are allowed: `allowed` of http.allowed_hosts, `public_host`, this `machine`'s, that of
    `public_url`, and those that `is_certified` says are in the server's own certificate: no stranger could
    put a name there."""

    def __init__(
        self,
        allowed: Iterable[str] = (),
        public_host: str | None = None,
        machine: str = "",
        is_certified: Callable[[str], bool] = lambda _: False,
        public_url: str | None = None,
    ) -> None:
        self.public_url = public_url
        self._is_certified = is_certified
        patterns = list(allowed)
        self._listed = {name for name in patterns if not name.startswith("*")}
        self._below = tuple(name[1:] for name in patterns if name.startswith("*"))
        public_name = urlsplit(public_url).hostname if public_url else None
        own = (public_host, machine, public_name)
        self._own = {name.lower().removesuffix(".") for name in own if name}

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
        if "." not in host or host.endswith(_NOT_PUBLIC) or host in self._own:
            return True
        return self._is_listed(host) or self._is_certified(host)

    def allows_origin(self, origin: str, header: str) -> bool:
        """True when a page of `origin` may use the server that it reached by this Host header: a page of the
        server itself, of http.public_url, or of a host in http.allowed_hosts. `null`, a page without an
        origin, may not."""
        if origin == self.public_url or is_same_host(origin, header):
            return True
        found = _split_origin(origin)
        return found is not None and self._is_listed(found[1][0])

    def is_public(self, origin: str, header: str) -> bool:
        """True for a request that was made by http.public_url: its page's origin, or its Host header, says
        so."""
        if self.public_url is None:
            return False
        return origin == self.public_url or (not origin and is_same_host(self.public_url, header))

    def _is_listed(self, host: str) -> bool:
        return host in self._listed or host.endswith(self._below)


def is_same_host(origin: str, header: str) -> bool:
    """True when an origin has the host and port of a Host header, whatever its scheme: a proxy may speak TLS
    for this server, which a Host header does not tell."""
    found, ours = _split_origin(origin), _split(header)
    if found is None or ours is None:
        return False
    default, theirs = found
    return theirs[0] == ours[0] and (theirs[1] or default) == (ours[1] or default)


def _split_origin(origin: str) -> tuple[str, tuple[str, str]] | None:
    """The default port of an origin's scheme, and its host and port; None when it can't be one."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    theirs = _split(parts.netloc)
    if parts.scheme not in _DEFAULT_PORTS or theirs is None:
        return None
    return _DEFAULT_PORTS[parts.scheme], theirs


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
