import pytest

from mimi_mqtt.cli.security.exposure import examine
from mimi_mqtt.config import Settings
from tests.unit.cli.security.installation import HOME, PUBLIC, level, machine, one, settings

LOCAL = {
    "mqtt": {"bind": "127.0.0.1:1883"},
    "http": {"bind": "127.0.0.1:8003"},
    "udp": {"bind": "127.0.0.1:8884"},
}


def with_http(**values: object) -> Settings:
    return settings(http=values)


@pytest.mark.parametrize("what", ["HTTP", "MQTT without TLS"])
def test_plain_ports_on_a_public_address_are_a_warning(what: str) -> None:
    assert level(examine(settings(), machine(HOME)), what) == "ok"
    found = one(examine(settings(), machine(HOME, PUBLIC)), what)
    assert found.level == "warning"
    assert PUBLIC in found.seen
    assert ".bind" in found.cure


def test_the_addresses_in_the_network_are_named() -> None:
    assert HOME in one(examine(settings(), machine(HOME)), "HTTP").seen
    assert "this machine only" in one(examine(settings(**LOCAL), machine(HOME)), "HTTP").seen


def test_encrypted_ports_may_be_public() -> None:
    tls = settings(mqtt={"tls_certificate": "c", "tls_key": "k"})
    findings = examine(tls, machine(PUBLIC))
    assert level(findings, "audio (UDP)") == "ok"
    assert level(findings, "MQTT with TLS") == "ok"


def test_http_with_a_certificate_may_be_public_once_it_is_never_plain() -> None:
    files = {"tls_certificate": "c", "tls_key": "k"}
    both = one(examine(with_http(**files), machine(PUBLIC)), "HTTP")
    assert (both.level, "http.plain: false" in both.cure) == ("warning", True)
    assert level(examine(with_http(**files), machine(HOME)), "HTTP") == "ok"
    assert level(examine(with_http(**files, plain=False), machine(PUBLIC)), "HTTP") == "ok"


def test_a_public_name_for_devices_needs_tls() -> None:
    name = {"public_host": "voice.example.org"}
    assert level(examine(settings(server=name), machine(HOME)), "server.public_host") == "warning"
    tls = settings(server=name, mqtt={"tls_certificate": "c", "tls_key": "k"})
    assert level(examine(tls, machine(HOME)), "server.public_host") == "ok"
    home = settings(server={"public_host": "mimi.local"})
    assert level(examine(home, machine(HOME)), "server.public_host") == "ok"


def test_new_devices_without_a_person_are_advice_at_home_and_a_warning_on_the_internet() -> None:
    assert level(examine(settings(**LOCAL), machine(HOME)), "new devices") == "ok"
    assert level(examine(settings(), machine(HOME)), "new devices") == "advice"
    assert level(examine(settings(), machine(PUBLIC)), "new devices") == "warning"
    named = settings(server={"public_host": "voice.example.org"})
    assert level(examine(named, machine(HOME)), "new devices") == "warning"
    asked = settings(ota={"new_devices": "activate"})
    assert level(examine(asked, machine(PUBLIC)), "new devices") == "ok"


def test_open_metrics() -> None:
    assert level(examine(with_http(metrics="local"), machine(PUBLIC)), "/metrics") == "ok"
    assert (
        level(examine(with_http(metrics="token", metrics_token="t" * 20), machine(PUBLIC)), "/metrics")
        == "ok"
    )
    assert level(examine(with_http(metrics="open"), machine(HOME)), "/metrics") == "advice"
    assert level(examine(with_http(metrics="open"), machine(PUBLIC)), "/metrics") == "warning"


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        ((), "ok"),
        (("voice.example.org", "*.example.net", "*.lan"), "ok"),
        (("a.example", "*.com"), "warning"),
    ],
)
def test_hosts_must_be_ones_own(allowed: tuple[str, ...], expected: str) -> None:
    findings = examine(with_http(allowed_hosts=allowed), machine(HOME))
    assert level(findings, "http.allowed_hosts") == expected


@pytest.mark.parametrize(
    ("trusted", "expected"),
    [
        ((), "ok"),
        (("127.0.0.1", "172.18.0.2"), "ok"),
        (("192.168.0.0/16", "fd00:1:2::/48"), "ok"),
        (("127.0.0.0/8",), "ok"),
        (("0.0.0.0/0",), "warning"),
        (("127.0.0.1", "::/0"), "warning"),
        (("10.0.0.0/8",), "warning"),
    ],
)
def test_trusted_proxies_must_be_ones_own(trusted: tuple[str, ...], expected: str) -> None:
    findings = examine(with_http(trusted_proxies=trusted), machine(HOME))
    assert level(findings, "http.trusted_proxies") == expected


def test_root_is_a_warning_for_a_server_and_advice_for_a_command() -> None:
    assert level(examine(settings(), machine(HOME, pid=7, uid=0)), "user") == "warning"
    assert level(examine(settings(), machine(HOME, uid=0)), "user") == "advice"
    assert level(examine(settings(), machine(HOME, pid=7, uid=1000)), "user") == "ok"
