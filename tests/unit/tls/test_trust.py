"""Certificates that devices accept without being told of their authority."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import Store

from mimi_mqtt.tls import trust
from mimi_mqtt.tls.certificate import ServerCertificate
from mimi_mqtt.tls.trust import is_trusted, public_authorities
from tests.servers import tls

NOW = datetime(2026, 5, 4, tzinfo=UTC)
_USES = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
         "decipher_only")  # fmt: skip

Signer = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def made(name: str, by: Signer | None = None, hosts: tuple[str, ...] = ()) -> Signer:
    """A certificate as public authorities make them: of an authority, unless it is for `hosts`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, signing = (by[0].subject, by[1]) if by is not None else (subject, key)
    is_authority = not hosts
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject if is_authority else x509.Name([]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), False)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not is_authority, key_cert_sign=is_authority, crl_sign=is_authority,
                **dict.fromkeys(_USES, False),
            ),
            critical=True,
        )
    )  # fmt: skip
    if is_authority:
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    else:
        names = [_name(host) for host in hosts]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
    return builder.sign(signing, hashes.SHA256()), key


def _name(host: str) -> x509.GeneralName:
    return x509.IPAddress(ip_address(host)) if host[0].isdigit() else x509.DNSName(host)


@pytest.fixture(scope="module")
def authority() -> Signer:
    return made("authority")


@pytest.mark.parametrize(
    ("host", "trusted"),
    [
        ("voice.example.org", True),
        ("192.0.2.7", True),
        ("other.example.org", False),
        ("192.0.2.8", False),
        ("not a host", False),
        ("", False),
    ],
)
def test_a_chain_is_trusted_for_its_own_hosts(authority: Signer, host: str, trusted: bool) -> None:
    between = made("between", authority)
    own, _ = made("server", between, ("voice.example.org", "192.0.2.7"))
    known = Store([authority[0]])
    assert is_trusted((own, between[0]), host, NOW, known) is trusted
    assert not is_trusted((own,), host, NOW, known), "the authority between is missing"
    assert not is_trusted((own, between[0]), host, NOW + timedelta(days=31), known), "expired"


def test_a_certificate_of_ones_own_making_is_not_public(authority: Signer) -> None:
    for chain in (
        made("server", authority, ("voice.example.org",)),
        made("alone", None, ("voice.example.org",)),
    ):
        assert not is_trusted((chain[0],), "voice.example.org", NOW)


def test_the_list_of_public_authorities_can_be_read() -> None:
    assert isinstance(public_authorities(), Store)


def test_a_listeners_certificate_is_public_for_its_hosts_within_its_time(
    authority: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "public_authorities", lambda: Store([authority[0]]))
    own, key = made("server", authority, ("voice.example.org",))
    (tmp_path / "server.crt").write_bytes(own.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "server.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    now = NOW - timedelta(
        days=365
    )  # of a machine without a clock of its own, until it has asked for the time
    certificate = ServerCertificate(
        "mqtt", tmp_path / "server.crt", tmp_path / "server.key", clock=lambda: now
    )
    assert not certificate.is_public_for("voice.example.org")
    now = NOW
    assert certificate.is_public_for("voice.example.org")
    assert not certificate.is_public_for("other.example.org")
    now = NOW + timedelta(days=31)
    assert not certificate.is_public_for("voice.example.org")


def test_without_the_list_no_certificate_is_public(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing() -> Store:
        raise FileNotFoundError("cacert.pem")

    monkeypatch.setattr(trust, "public_authorities", missing)
    tls.write_certificates(tmp_path)
    certificate = ServerCertificate("mqtt", tmp_path / "server.crt", tmp_path / "server.key")
    assert not certificate.is_public_for("localhost")
    assert "can't be read" in caplog.text
