"""The doctor's look at certificates in their files, and the addresses that it names."""

from datetime import timedelta
from pathlib import Path

import pytest

from mimi_mqtt.cli.doctor_tls import certificates, certified_host, ota_address
from mimi_mqtt.config import Settings
from tests.servers.tls import write_certificates


def settings(folder: Path, *sections: str, **http: object) -> Settings:
    files = {"tls_certificate": folder / "server.crt", "tls_key": folder / "server.key"}
    given: dict[str, dict[str, object]] = {section: dict(files) for section in sections}
    given["http"] = given.get("http", {}) | {"bind": "0.0.0.0:8003"} | http
    return Settings.model_validate(given)


@pytest.mark.parametrize(
    ("ends_in", "grade", "words"),
    [
        (timedelta(days=30), "ok", "valid until"),
        (timedelta(days=13, hours=1), "warn", "expires in 13 days"),
        (-timedelta(days=1), "fail", "expired on"),
    ],
)
def test_one_certificate_of_two_ports_is_looked_at_once(
    tmp_path: Path, ends_in: timedelta, grade: str, words: str
) -> None:
    write_certificates(tmp_path, ends_in)
    (finding,) = certificates(settings(tmp_path, "mqtt", "http"))
    assert (finding.what, finding.grade) == ("certificate of mqtt and http", grade)
    assert words in finding.detail


def test_a_certificate_that_is_none_or_not_there_is_a_failure(tmp_path: Path) -> None:
    for text in (None, "nothing"):
        if text is not None:
            (tmp_path / "server.crt").write_text(text)
        (finding,) = certificates(settings(tmp_path, "http"))
        assert finding.grade == "fail"
    (off,) = certificates(settings(tmp_path))
    assert (off.grade, off.detail) == ("ok", "off")


def test_the_ota_address_is_plain_unless_nothing_plain_is_served(tmp_path: Path) -> None:
    both, secure = settings(tmp_path, "http"), settings(tmp_path, "http", plain=False)
    assert ota_address(both, "nas") == "http://nas:8003/xiaozhi/ota/"
    assert ota_address(both, "nas", tls=True) == "https://nas:8003/xiaozhi/ota/"
    assert ota_address(secure, "nas") == "https://nas:8003/xiaozhi/ota/"


def test_an_https_address_has_a_name_of_the_certificate(tmp_path: Path) -> None:
    write_certificates(tmp_path, host="voice.example.org")
    assert certified_host(tmp_path / "server.crt", "192.168.1.5") == "voice.example.org"
    assert certified_host(tmp_path / "none.crt", "192.168.1.5") == "192.168.1.5"
