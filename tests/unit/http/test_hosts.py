"""Names that the server answers to, and pages that may use it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.http.hosts import HostRules

RULES = HostRules(
    ["voice.example.org", "*.example.net"], public_host="Public.Example.", machine="nas.fritz.box"
)


@pytest.mark.parametrize(
    "header",
    [
        "192.168.1.5:8003", "192.168.1.5", "0.0.0.0", "[::1]:8003", "[fe80::1]", "localhost:8003",
        "LOCALHOST",
        "compose_service:80", "nas", "nas.local", "nas.local.", "voice.lan:8003", "nas.home.arpa",
        "x.internal",
        "public.example:8003", "NAS.fritz.box", "voice.example.org", "a.example.net",
        "a.b.example.net", "host:",
    ],
)  # fmt: skip
def test_names_of_this_server_and_of_home_networks_are_allowed(header: str) -> None:
    assert RULES.allows(header)


@pytest.mark.parametrize(
    "header",
    [
        "", "evil.example", "evil.example:8003", "evil.example.", "example.net", "evilexample.net",
        "voice.example.org.evil.example", "other.example.org", "localhost.evil.example", "local",
        "lan.evil.com",
        "192.168.1.5.evil.example", "192.168.1.5.nip.io", "1.2.3", "0x7f.1", "2130706433",
        "256.1.1.1", "[::1",
        "[::1]x", "[evil.example]", "::1", "host:0", "host:65536", "host:1:2", "user@host",
        "host/path", "a b", "<b>",
        "bücher.example", ".local", "a..local", "x" * 64, "a." * 130 + "local",
    ],
)  # fmt: skip
def test_other_names_and_what_is_no_name_are_refused(header: str) -> None:
    assert RULES.allows(header) == (header == "local")


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("http://192.168.1.5:8003", "192.168.1.5:8003", True),
        ("http://192.168.1.5", "192.168.1.5", True),
        ("http://192.168.1.5", "192.168.1.5:80", True),
        ("https://public.example", "public.example", True),
        ("https://public.example", "public.example:443", True),
        ("HTTP://NAS.local:8003", "nas.LOCAL:8003", True),
        ("http://[::1]:8003", "[::1]:8003", True),
        ("https://tool.example.net:9000", "192.168.1.5:8003", True),
        ("http://voice.example.org", "192.168.1.5:8003", True),
        ("http://192.168.1.5:8080", "192.168.1.5:8003", False),
        ("http://192.168.1.6:8003", "192.168.1.5:8003", False),
        ("http://evil.example", "192.168.1.5:8003", False),
        ("http://public.example:81", "192.168.1.5:8003", False),
        ("http://localhost:8003", "127.0.0.1:8003", False),
        ("null", "192.168.1.5:8003", False),
        ("", "192.168.1.5:8003", False),
        ("file://", "192.168.1.5:8003", False),
        ("ftp://192.168.1.5:8003", "192.168.1.5:8003", False),
        ("http://user@192.168.1.5:8003", "192.168.1.5:8003", False),
        ("http://[", "192.168.1.5:8003", False),
        ("http://192.168.1.5:8003", "", False),
    ],
)
def test_only_the_servers_own_pages_and_those_of_listed_hosts_may_use_it(
    origin: str, host: str, allowed: bool
) -> None:
    assert RULES.allows_origin(origin, host) is allowed


@given(st.text(max_size=80), st.text(max_size=80))
def test_whatever_is_sent_is_judged(header: str, origin: str) -> None:
    HostRules().allows_origin(origin, header)
    if HostRules().allows(header):
        assert "/" not in header
