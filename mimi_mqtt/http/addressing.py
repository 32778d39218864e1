"""The address by which a device reached the server, which it is then told to use for MQTT, UDP and WebSocket.

The Host header comes from the client, and `hosts` decides which ones are allowed. The address in it is sent
to that client alone.
"""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address

LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
"""One label of a host name."""
PORT = re.compile(r"[0-9]{1,5}")
_NAME = re.compile(rf"{LABEL}(?:\.{LABEL})*\.?")


def advertised_host(host_header: str | None, local_address: str | None) -> str | None:
    """The name or IPv4 address to advertise: that of the Host header if devices can use it, else the server's
    end of the connection. None when devices can use neither (they speak IPv4 only)."""
    return _named(host_header or "") or _usable_ipv4(local_address or "")


def websocket_origin(host: str, host_header: str | None, scheme: str, *, forwarded: bool) -> str | None:
    """The start of a WebSocket address that leads the way the request came: `wss://voice.example.org`.

    `scheme` is the request's. With `forwarded`, name and port are those of the Host header, which a proxy
    told; otherwise `host`, and for http the header's port, which a container may have mapped. None when
    nothing tells the port: some firmware leaves it out of the header.
    """
    name = _named(host_header or "")
    port = (host_header or "").partition(":")[2] if name is not None else ""
    start = "wss" if scheme == "https" else "ws"
    if forwarded and name is not None:
        return f"{start}://{name}" + (f":{port}" if port else "")
    if scheme == "https":
        return f"wss://{host}"
    return f"ws://{host}:{port}" if port else None


def _named(header: str) -> str | None:
    host, separator, port = header.partition(":")
    if separator and (not PORT.fullmatch(port) or not 0 < int(port) < 65536):
        return None
    if not host or len(host) > 253 or not _NAME.fullmatch(host):
        return None
    # A last label that begins with a digit is an IPv4 address or some resolver's idea of one (RFC 1123, 2.1).
    if host.rstrip(".").rpartition(".")[2][0].isdigit():
        return _usable_ipv4(host)
    return host.rstrip(".").lower()


def _usable_ipv4(text: str) -> str | None:
    try:
        address = IPv4Address(text)
    except AddressValueError:
        try:
            mapped = IPv6Address(text).ipv4_mapped
        except AddressValueError:
            return None
        if mapped is None:
            return None
        address = mapped
    if address.is_unspecified or address.is_multicast or address.is_reserved:
        return None
    return str(address)
