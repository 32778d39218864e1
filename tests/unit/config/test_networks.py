"""Networks and host names in broker.yaml, and what is told when they are wrong."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from mimi_mqtt.config import HttpSettings, load_settings
from mimi_mqtt.errors import ConfigError


def load(folder: Path, text: str) -> HttpSettings:
    file = folder / "broker.yaml"
    file.write_text(text)
    return load_settings(file, {}).http


def test_networks_and_single_addresses_are_read(tmp_path: Path) -> None:
    http = load(tmp_path, "http:\n  trusted_proxies: [172.16.0.0/12, 127.0.0.1, 'fd00::/8']\n")
    assert http.trusted_proxies == (
        ip_network("172.16.0.0/12"),
        ip_network("127.0.0.1/32"),
        ip_network("fd00::/8"),
    )
    assert load(tmp_path, "http:\n  trusted_proxies: 127.0.0.1\n").trusted_proxies == (
        ip_network("127.0.0.1"),
    )


@pytest.mark.parametrize("network", ["10.0.0.1/8", "10.0.0.0/33", "proxy.example", "10.0.0.*"])
def test_a_wrong_network_is_told_with_its_key(tmp_path: Path, network: str) -> None:
    with pytest.raises(ConfigError, match=r"http\.trusted_proxies.*must be an address or a network such as"):
        load(tmp_path, f"http:\n  trusted_proxies: ['{network}']\n")


def test_host_names_are_read_in_lower_case(tmp_path: Path) -> None:
    http = load(tmp_path, "http:\n  allowed_hosts: [Voice.Example.org., '*.example.net']\n")
    assert http.allowed_hosts == ("voice.example.org", "*.example.net")


@pytest.mark.parametrize(
    "host", ["http://voice.example", "voice.example:80", "*", "*example.org", "a.*.org", ""]
)
def test_what_is_no_host_name_is_told_with_its_key(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match=r"http\.allowed_hosts.*must be a host name"):
        load(tmp_path, f"http:\n  allowed_hosts: ['{host}']\n")


def test_reading_metrics_by_token_needs_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="metrics_token must be set"):
        load(tmp_path, "http:\n  metrics: token\n")
