"""The address by which a device reached the server, which it is then told to use for MQTT, UDP and WebSocket.

The Host header comes from the client, and `hosts` decides which ones are allowed. The address in it is sent
to that client alone.
"""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from starlette.requests import Request

LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
"""One label of a host name."""
PORT = re.compile(r"[0-9]{1,5}")
_NAME = re.compile(rf"{LABEL}(?:\.{LABEL})*\.?")


def advertised_host(host_header: str | None, local_address: str | None) -> str | None:
    """The name or IPv4 address to advertise: that of the Host header if devices can use it, else the server's
    end of the connection. None when devices can use neither (they speak IPv4 only)."""
    return _named(host_header or "") or _usable_ipv4(local_address or "")


def ota_address(request: Request, public_host: str | None) -> str:
    """The OTA address to enter in a device, by the name with which `request` was sent, unless `public_host`
    names another."""
    local_host, local_port = request.scope.get("server") or ("", None)
    header = request.headers.get("host")
    host = public_host or advertised_host(header, local_host) or "this-server"
    # The port of a Host header is believed only together with its host.
    believed = header is not None and advertised_host(header, None) is not None
    port = header.partition(":")[2] if header and believed else str(local_port or "")
    scheme, default = ("https", "443") if request.url.scheme == "https" else ("http", "80")
    return f"{scheme}://{host}{'' if port in ('', default) else f':{port}'}/xiaozhi/ota/"


def websocket_origin(
    host: str, host_header: str | None, scheme: str, *, forwarded: bool, tls_port: int | None = None
) -> str | None:
    """The start of a WebSocket address that leads the way the request came: `wss://voice.example.org`.

    A device that asked by https trusts the certificate, and is told wss; one that asked by http may not.
    `scheme` is the request's. With `forwarded`, name and port are those of the Host header, which a proxy
    told; otherwise `host`, and the header's port, which a container may have mapped. Some firmware leaves
    the port out of the header: then it is `tls_port`, the server's own when the TLS is the server's, and for
    http there is no answer.
    """
    name = _named(host_header or "")
    port = (host_header or "").partition(":")[2] if name is not None else ""
    start = "wss" if scheme == "https" else "ws"
    if forwarded and name is not None:
        return f"{start}://{name}" + (f":{port}" if port else "")
    if scheme == "https":
        shown = (port or str(tls_port)) if tls_port is not None else ""
        return f"wss://{host}" + (f":{shown}" if shown not in ("", "443") else "")
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
