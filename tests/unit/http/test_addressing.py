import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.http.addressing import advertised_host, websocket_origin


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("192.168.1.5:8003", "192.168.1.5"),
        ("192.168.1.5", "192.168.1.5"),
        ("Voice.LAN:8003", "voice.lan"),
        ("voice.example.", "voice.example"),
        ("localhost", "localhost"),
        ("compose_service:80", "compose_service"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_the_address_a_device_used_is_advertised(header: str, host: str) -> None:
    assert advertised_host(header, "10.0.0.1") == host


@pytest.mark.parametrize(
    "header",
    [
        "",
        ":8003",
        "[::1]:8003",
        "::1",
        "0.0.0.0:8003",
        "255.255.255.255",
        "224.0.0.1",
        "1.2.3",
        "1.2.3.4.5",
        "256.1.1.1",
        "0x7f.1",
        "2130706433",
        "host:0",
        "host:65536",
        "host:8003:1",
        "host:",
        "host: 80",
        "user@host",
        "host/path",
        "host name",
        "host\r\nX: y",
        'a"b',
        "<script>",
        "a..b",
        "-a.b",
        "a" * 64,
        "a." * 127 + "a",
        "bücher.example",
        "１２７.0.0.1",
        "host%00",
    ],
)
def test_anything_else_is_replaced_by_our_own_address(header: str) -> None:
    assert advertised_host(header, "10.0.0.1") == "10.0.0.1"


@pytest.mark.parametrize(
    ("local", "host"),
    [
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("::1", None),
        ("fe80::1", None),
        ("0.0.0.0", None),
        (None, None),
        ("", None),
    ],
)
def test_an_address_devices_can_not_use_is_none(local: str | None, host: str | None) -> None:
    assert advertised_host("[fe80::1]", local) == host
    assert advertised_host(None, local) == host


@given(st.text(max_size=300), st.none() | st.text(max_size=50))
def test_whatever_is_sent_the_answer_is_a_name_or_an_address(header: str, local: str | None) -> None:
    host = advertised_host(header, local)
    assert host is None or re.fullmatch(r"[a-z0-9_.-]{1,253}", host)


@pytest.mark.parametrize(
    ("header", "scheme", "forwarded", "origin"),
    [
        ("192.0.2.1:9000", "http", False, "ws://10.0.0.1:9000"),
        ("192.0.2.1", "http", False, None),
        ("192.0.2.1:99999", "http", False, None),
        (None, "http", False, None),
        ("Voice.example.org", "https", True, "wss://voice.example.org"),
        ("voice.example.org:8443", "https", True, "wss://voice.example.org:8443"),
        ("127.0.0.1:8003", "https", False, "wss://10.0.0.1"),
        ("voice.lan", "http", True, "ws://voice.lan"),
        ("[::1]:8003", "https", True, "wss://10.0.0.1"),
        ("[::1]:8003", "http", True, None),
    ],
)
def test_a_websocket_leads_the_way_that_the_request_came(
    header: str | None, scheme: str, forwarded: bool, origin: str | None
) -> None:
    assert websocket_origin("10.0.0.1", header, scheme, forwarded=forwarded) == origin


@pytest.mark.parametrize(
    ("header", "forwarded", "origin"),
    [
        ("192.0.2.1:9000", False, "wss://10.0.0.1:9000"),
        ("192.0.2.1", False, "wss://10.0.0.1:8003"),
        ("192.0.2.1:443", False, "wss://10.0.0.1"),
        (None, False, "wss://10.0.0.1:8003"),
        ("voice.example.org", True, "wss://voice.example.org"),
    ],
)
def test_with_tls_of_its_own_a_websocket_has_the_port_that_the_request_came_to(
    header: str | None, forwarded: bool, origin: str
) -> None:
    told = websocket_origin("10.0.0.1", header, "https", forwarded=forwarded, tls_port=8003)
    assert told == origin
