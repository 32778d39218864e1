"""The client of a request: the peer of the connection, or the address that a trusted proxy names."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

from starlette.types import Scope

_FORWARDED = (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host")
_TRACES = frozenset({*_FORWARDED, b"forwarded", b"x-real-ip", b"via"})
"""Headers by which a proxy shows."""

PROXY_HOST = "mimi.proxy_host"
"""Key in a scope of the Host that a trusted proxy sent, when X-Forwarded-Host took its place."""
VIA_PROXY = "mimi.via_proxy"
"""Key in a scope that is there when a trusted proxy made the connection."""

Headers = list[tuple[bytes, bytes]]


class TrustedProxies:
    """The proxies whose X-Forwarded headers are believed."""

    def __init__(self, networks: Sequence[IPv4Network | IPv6Network]) -> None:
        self._networks = tuple(networks)

    def __contains__(self, address: str) -> bool:
        if not self._networks:
            return False
        parsed = _parsed(address)
        return parsed is not None and any(parsed in network for network in self._networks)

    def resolve(self, scope: Scope) -> None:
        """Puts the client's address, scheme and Host in place of a trusted proxy's.

        The headers that were believed are taken out; those of others stay, and change nothing.
        """
        peer = scope.get("client")
        if peer is None or peer[0] not in self:
            return
        scope[VIA_PROXY] = True
        headers: Headers = scope["headers"]
        said = {name: _joined(headers, name) for name in _FORWARDED}
        if not any(said.values()):
            return
        if (address := self._client(said[b"x-forwarded-for"])) is not None:
            scope["client"] = (address, 0)
        scheme = _last(said[b"x-forwarded-proto"]).lower()
        if scheme in ("http", "https"):
            scope["scheme"] = scheme.replace("http", "ws") if scope["type"] == "websocket" else scheme
        host = _last(said[b"x-forwarded-host"]).encode("latin-1")
        kept = [header for header in headers if header[0].lower() not in _FORWARDED]
        if host:
            scope[PROXY_HOST] = _joined(headers, b"host")
            kept = [(name, host if name.lower() == b"host" else value) for name, value in kept]
        scope["headers"] = kept

    def _client(self, forwarded_for: str) -> str | None:
        """The last address that is not a proxy's. What is left of an entry that is no address was written by
        nobody who is trusted."""
        client = None
        for entry in reversed(forwarded_for.split(",")):
            parsed = _parsed(_without_port(entry.strip()))
            if parsed is None:
                break
            client = str(parsed)
            if client not in self:
                break
        return client


def is_local(scope: Scope) -> bool:
    """True when the request was made on this machine, and not passed on by a proxy that is not trusted."""
    client, server = scope.get("client"), scope.get("server")
    if client is None or any(name.lower() in _TRACES for name, _ in scope["headers"]):
        return False
    return is_same_machine(client[0], str(server[0]) if server is not None else "")


def is_same_machine(client: str, server: str) -> bool:
    """True for the two addresses of a connection that does not leave this machine."""
    address = _parsed(client)
    return address is not None and (address.is_loopback or address == _parsed(server))


def client_address(scope: Scope) -> str:
    """The client's IP address; empty when the connection has none."""
    client: Any = scope.get("client")
    return str(client[0]) if client else ""


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _without_port(entry: str) -> str:
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry


def _joined(headers: Headers, name: bytes) -> str:
    return ",".join(value.decode("latin-1") for key, value in headers if key.lower() == name)


def _last(text: str) -> str:
    return text.rpartition(",")[2].strip()
