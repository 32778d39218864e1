from datetime import timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from mimi_mqtt.cli.security.finding import Finding
from mimi_mqtt.cli.security.tls import DEVELOPMENT_CA, examine
from tests.unit.cli.security.installation import HOME, NOW, PUBLIC, level, machine, one, settings

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
DAY = timedelta(days=1)


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Pair:
    """A certificate and its key in a folder."""

    def __init__(self, folder: Path) -> None:
        self.certificate, self.key = folder / "server.crt", folder / "server.key"
        self.issue()

    def issue(
        self,
        *,
        issuer: str = "Public CA",
        subject: str = "voice.example.org",
        begins: timedelta = -DAY,
        ends: timedelta = 90 * DAY,
        key: Key | None = None,
    ) -> None:
        key = key or ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName("voice.example.org"), x509.DNSName("*.house.example"),
                 x509.IPAddress(IPv4Address("192.168.1.5"))]  # fmt: skip
        made = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name(issuer))
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(NOW + begins)
            .not_valid_after(NOW + ends)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(key, SHA256())
        )
        self.certificate.write_bytes(made.public_bytes(Encoding.PEM))
        self.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self.key.chmod(0o600)

    def look(self, host: str | None = None) -> list[Finding]:
        mqtt = {"tls_certificate": self.certificate, "tls_key": self.key}
        return examine(settings(mqtt=mqtt, server={"public_host": host}), machine(HOME))


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def test_a_good_pair_has_nothing_to_mend(pair: Pair) -> None:
    assert {finding.level for finding in pair.look("voice.example.org")} == {"ok"}


def test_without_tls_messages_are_in_clear_beyond_this_machine() -> None:
    home = one(examine(settings(), machine(HOME)), "TLS")
    assert home.level == "advice"
    assert "public authority" in home.cure  # stock devices would not use another certificate
    assert level(examine(settings(), machine(PUBLIC)), "TLS") == "warning"
    local = {part: {"bind": "127.0.0.1:0"} for part in ("mqtt", "http", "udp")}
    assert level(examine(settings(**local), machine(PUBLIC)), "TLS") == "ok"


@pytest.mark.parametrize(
    ("begins", "ends", "words"),
    [(-2 * DAY, -DAY, "expired"), (-80 * DAY, 9 * DAY, "expires in 9 days"), (DAY, 90 * DAY, "valid from")],
)
def test_the_time_of_a_certificate(pair: Pair, begins: timedelta, ends: timedelta, words: str) -> None:
    pair.issue(begins=begins, ends=ends)
    finding = one(pair.look(), "certificate")
    assert finding.level == "warning"
    assert words in finding.seen


@pytest.mark.parametrize("issuer", [f"mimi_mqtt {DEVELOPMENT_CA}", "voice.example.org"])
def test_a_development_certificate_is_advice(pair: Pair, issuer: str) -> None:
    pair.issue(issuer=issuer)
    assert level(pair.look(), "certificate's issuer") == "advice"


def test_the_script_names_its_authority_as_the_check_expects() -> None:
    script = Path(__file__).parents[4] / "scripts" / "make-certs"
    assert DEVELOPMENT_CA in script.read_text(encoding="utf-8")


def test_a_short_rsa_key_is_a_warning(pair: Pair) -> None:
    pair.issue(key=rsa.generate_private_key(65_537, 1_024))
    assert level(pair.look(), "certificate's key") == "warning"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("voice.example.org", "ok"),
        ("Mimi.House.example", "ok"),
        ("192.168.1.5", "ok"),
        ("other.example.org", "warning"),
        ("a.b.house.example", "warning"),
    ],
)
def test_the_certificate_names_the_host_that_devices_are_told(pair: Pair, host: str, expected: str) -> None:
    assert level(pair.look(host), "certificate's names") == expected


def test_a_key_that_others_can_read_is_a_warning(pair: Pair) -> None:
    pair.key.chmod(0o644)
    assert one(pair.look(), "TLS key").cure == f"chmod 600 {pair.key}"


def test_a_key_of_another_certificate_is_a_warning(pair: Pair) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    pair.key.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert "does not belong" in pair.look()[-1].seen


def test_files_that_are_missing_or_no_certificate_are_warnings(pair: Pair) -> None:
    pair.certificate.write_text("none")
    assert level(pair.look(), "certificate") == "warning"
    pair.certificate.unlink()
    pair.key.unlink()
    assert level(pair.look(), "certificate") == "warning"
    assert level(pair.look(), "TLS key") == "warning"


def test_the_certificate_of_http_is_looked_at_too(pair: Pair) -> None:
    files = {"tls_certificate": pair.certificate, "tls_key": pair.key}
    pair.key.chmod(0o640)
    findings = examine(settings(http=files), machine(HOME))
    assert level(findings, "TLS") == "advice"  # MQTT has none
    assert level(findings, "certificate (HTTP)") == "ok"
    assert level(findings, "TLS key (HTTP)") == "warning"
    pair.certificate.unlink()
    findings = examine(settings(http=files), machine(HOME))
    assert one(findings, "certificate (HTTP)").cure == "mend http.tls_certificate"
