"""Fuzz targets of HTTP: what a client says of itself and of the address it reached."""

import re
from ipaddress import IPv4Address

from mimi_mqtt.http.addressing import advertised_host
from tests.fuzz.target import Target

_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")


def check_host(data: bytes) -> bool:
    """The Host header: never an error; a name or an IPv4 address that a device can connect to, or none."""
    text = data.decode("latin-1")
    host = advertised_host(text, None)
    if host is None:
        assert advertised_host(text, "192.0.2.7") == "192.0.2.7"
        return False
    assert len(host) <= 253
    assert _NAME.fullmatch(host), f"{host!r} can't be put into an endpoint"
    if host.rpartition(".")[2][0].isdigit():
        address = IPv4Address(host)
        assert not address.is_unspecified
        assert not address.is_multicast
    assert advertised_host(host, None) == host
    assert advertised_host(f"{host}:8003", None) == host
    return True


TARGETS = (
    Target(
        "web-host",
        check_host,
        (b"192.168.1.7:8003", b"mimi.local", b"Voice.Example.org.:80", b"a_b-c"),
        (b":", b".", b"[", b"]", b"::ffff:", b"0x", b"@", b"xn--"),
        300,
    ),
)
