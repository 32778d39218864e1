"""Certificates that a simulated device believes, and options that name none."""

import ssl
from pathlib import Path

import pytest

from mimi_mqtt.cli.device.checks import check
from mimi_mqtt.cli.device.options import DeviceOptions
from mimi_mqtt.cli.device.trust import Trust
from mimi_mqtt.errors import ConfigError
from tests.servers.tls import authority

OTA = "https://nas:8003/xiaozhi/ota/"


def test_public_authorities_are_believed_by_default() -> None:
    context = Trust().context()
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert len(context.get_ca_certs()) > 50


def test_an_authority_of_ones_own_takes_their_place() -> None:
    context = Trust(authority()).context()
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert len(context.get_ca_certs()) == 1


def test_insecure_believes_everyone() -> None:
    assert Trust(insecure=True).context().verify_mode == ssl.CERT_NONE


@pytest.mark.parametrize("text", [None, "", "no certificate"])
def test_a_file_that_has_no_authority_is_named(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "ca.crt"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError, match=r"--tls-ca: .*ca\.crt"):
        check(DeviceOptions(ota=OTA, text="hello", tls_ca=file))


def test_one_of_the_two_options_is_enough() -> None:
    with pytest.raises(ConfigError, match="give one of them"):
        check(DeviceOptions(ota=OTA, text="hello", tls_ca=authority(), tls_insecure=True))
