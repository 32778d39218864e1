"""The client of a request, with and without trusted proxies."""

from ipaddress import ip_network
from typing import Any

import pytest

from mimi_mqtt.http.clients import VIA_PROXY, TrustedProxies, client_address, is_local

PROXIES = TrustedProxies([ip_network("10.0.0.0/8"), ip_network("fd00::/8")])


def scope(client: str, *headers: tuple[str, str], kind: str = "http", server: str = "10.0.0.9") -> Any:
    return {
        "type": kind,
        "client": (client, 4711),
        "server": (server, 8003),
        "scheme": "ws" if kind == "websocket" else "http",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }


def resolved(client: str, *headers: tuple[str, str], kind: str = "http") -> Any:
    made = scope(client, *headers, kind=kind)
    PROXIES.resolve(made)
    return made


@pytest.mark.parametrize(
    ("said", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:5555", "192.0.2.1"),
        ("203.0.113.9, 192.0.2.1", "192.0.2.1"),  # the first was written by the client
        ("192.0.2.1, 10.0.0.2", "192.0.2.1"),  # the last is a proxy's
        ("127.0.0.1, 192.0.2.1, 10.0.0.2, fd00::3", "192.0.2.1"),
        ("[2001:db8::1]:99", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),  # the client is in a proxy's network
        ("192.0.2.1, unknown", "10.0.0.1"),
        ("192.0.2.1, unknown, 10.0.0.2", "10.0.0.2"),
        ("", "10.0.0.1"),
        ("x" * 10_000, "10.0.0.1"),
    ],
)
def test_a_trusted_proxys_client_is_the_last_that_is_no_proxy(said: str, client: str) -> None:
    assert client_address(resolved("10.0.0.1", ("x-forwarded-for", said))) == client


def test_entries_may_come_in_several_headers() -> None:
    said = (("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "192.0.2.1"))
    assert client_address(resolved("10.0.0.1", *said)) == "192.0.2.1"


def test_a_strangers_headers_change_nothing() -> None:
    said = (
        ("host", "a"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-host", "b"),
        ("x-forwarded-proto", "https"),
    )
    made = scope("192.0.2.77", *said)
    PROXIES.resolve(made)
    assert made == scope("192.0.2.77", *said)


@pytest.mark.parametrize(("kind", "scheme"), [("http", "https"), ("websocket", "wss")])
def test_scheme_and_host_are_the_clients(kind: str, scheme: str) -> None:
    made = resolved(
        "10.0.0.1",
        ("host", "inner:8003"),
        ("x-forwarded-host", "first.example, voice.example"),
        ("x-forwarded-proto", "https"),
        kind=kind,
    )
    assert made["scheme"] == scheme
    assert made["headers"] == [(b"host", b"voice.example")]


def test_a_connection_of_a_proxy_is_known_as_such() -> None:
    assert VIA_PROXY in resolved("10.0.0.1")
    assert VIA_PROXY not in resolved("192.0.2.77", ("x-forwarded-proto", "https"))


def test_a_scheme_that_is_none_is_not_believed() -> None:
    assert resolved("10.0.0.1", ("x-forwarded-proto", "javascript"))["scheme"] == "http"


@pytest.mark.parametrize(
    ("client", "server", "headers", "local"),
    [
        ("127.0.0.1", "127.0.0.1", [], True),
        ("127.0.0.2", "127.0.0.1", [], True),
        ("::1", "::1", [], True),
        ("10.0.0.9", "10.0.0.9", [], True),
        ("::ffff:10.0.0.9", "10.0.0.9", [], True),
        ("10.0.0.8", "10.0.0.9", [], False),
        ("127.0.0.1", "127.0.0.1", [("x-forwarded-for", "192.0.2.1")], False),
        ("127.0.0.1", "127.0.0.1", [("Forwarded", "for=192.0.2.1")], False),
        ("127.0.0.1", "127.0.0.1", [("via", "1.1 proxy")], False),
        ("nonsense", "nonsense", [], False),
    ],
)
def test_local_is_this_machine_and_no_proxy_on_it(
    client: str, server: str, headers: list[tuple[str, str]], local: bool
) -> None:
    assert is_local(scope(client, *headers, server=server)) is local
