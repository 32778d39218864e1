"""Names that the server answers to, and pages that may use it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimi_mqtt.config import HttpSettings
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


def test_names_in_the_servers_certificate_are_allowed() -> None:
    rules = HostRules(is_certified=lambda name: name == "voice.example.org")
    assert rules.allows("Voice.example.org:8003")
    assert not rules.allows("other.example.org")


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


PUBLIC = HostRules(public_url="https://voice.example.org")


def test_pages_of_the_public_address_may_use_the_server_whatever_a_proxy_makes_of_host() -> None:
    assert PUBLIC.allows("voice.example.org")
    assert PUBLIC.allows_origin("https://voice.example.org", "inside:8003")
    for other in (
        "http://voice.example.org",
        "https://voice.example.org:8443",
        "https://x.example.org",
        "null",
    ):
        assert not PUBLIC.allows_origin(other, "inside:8003"), other


def test_requests_by_the_public_address_are_known() -> None:
    assert PUBLIC.is_public("https://voice.example.org", "inside:8003")
    assert PUBLIC.is_public("", "voice.example.org")
    assert PUBLIC.is_public("", "Voice.Example.org:443")
    assert not PUBLIC.is_public("", "inside:8003")
    assert not PUBLIC.is_public("http://voice.example.org", "voice.example.org")
    assert not RULES.is_public("https://voice.example.org", "voice.example.org")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://Voice.Example.org/", "https://voice.example.org"),
        ("https://voice.example.org:443", "https://voice.example.org"),
        ("http://192.168.1.5:8003", "http://192.168.1.5:8003"),
        ("https://[fd00::1]:8443", "https://[fd00::1]:8443"),
        ("", None),
    ],
)
def test_a_public_address_is_kept_as_browsers_write_origins(given: str, kept: str | None) -> None:
    assert HttpSettings(public_url=given).public_url == kept


@pytest.mark.parametrize(
    "given",
    [
        "voice.example.org",
        "ftp://x",
        "https://x/app",
        "https://u@x",
        "https://x:0",
        "https://x:99999",
        "https://",
        "x",
    ],
)
def test_what_is_no_public_address_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="public_url"):
        HttpSettings(public_url=given)


@given(st.text(max_size=80), st.text(max_size=80))
def test_whatever_is_sent_is_judged(header: str, origin: str) -> None:
    HostRules().allows_origin(origin, header)
    if HostRules().allows(header):
        assert "/" not in header
