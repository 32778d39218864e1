"""Certificates: what they say, which files are refused and why, and files that change."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mimi_mqtt.errors import StartupError
from mimi_mqtt.tls.certificate import Facts, ServerCertificate, first_certificate
from mimi_mqtt.tls.watch import CertificateWatch
from tests.servers import tls

BEGINS = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def facts(days: float = 90, *names: str) -> Facts:
    return Facts(BEGINS, BEGINS + days * DAY, names)


def loaded(folder: Path, certificate: str = "server.crt", key: str = "server.key") -> ServerCertificate:
    return ServerCertificate("http", folder / certificate, folder / key)


async def looked_at(certificate: ServerCertificate, times: int = 2) -> None:
    """Has the watch look at the files; a change is taken over at the second look."""
    for _ in range(times):
        await CertificateWatch(certificate, None).look()


@pytest.mark.parametrize(
    ("lifetime", "age", "words"),
    [
        (90, -1, "is valid from 2026-01-01 only"),
        (90, 75.9, ""),
        (90, 76.1, "expires in 13 days"),
        (90, 89.5, "expires on 2026-04-01 00:00 UTC"),
        (90, 90, "expired on 2026-04-01"),
        (6, 4, ""),
        (6, 5, "expires on 2026-01-07 00:00 UTC"),
    ],
)
def test_the_end_is_told_two_weeks_or_a_quarter_of_its_life_before(
    lifetime: float, age: float, words: str
) -> None:
    assert facts(lifetime).warning(BEGINS + age * DAY) == words


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("voice.example.org", True),
        ("VOICE.example.org.", True),
        ("a.example.net", True),
        ("example.net", False),
        ("a.b.example.net", False),
        ("192.168.1.5", True),
        ("192.168.1.6", False),
        ("", False),
    ],
)
def test_a_certificate_is_for_its_names_and_one_label_of_a_wildcard(host: str, expected: bool) -> None:
    assert facts(90, "voice.example.org", "*.example.net", "192.168.1.5").fits(host) is expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("192.168.1.5", "voice.example.org"), "192.168.1.5"),
        (("localhost", "127.0.0.1", "*.example.org", "voice.example.org"), "voice.example.org"),
        (("localhost", "*.example.org"), "192.168.1.5"),
        ((), "192.168.1.5"),
    ],
)
def test_devices_are_shown_a_name_of_the_certificate_that_they_can_reach(
    names: tuple[str, ...], expected: str
) -> None:
    assert facts(90, *names).name_for("192.168.1.5") == expected


def test_only_tls_1_2_and_later_without_renegotiation(tmp_path: Path) -> None:
    tls.write_certificates(tmp_path)
    context = loaded(tmp_path).context
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert all("ECDHE" in cipher["name"] or "DHE" in cipher["name"] or cipher["name"].startswith("TLS_")
               for cipher in context.get_ciphers())  # fmt: skip


def test_a_key_of_another_certificate_is_named(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    tls.write_certificates(tmp_path)
    tls.write_certificates(other)
    with pytest.raises(StartupError, match=r"http\.tls_certificate .*the key is not that of the certificate"):
        loaded(tmp_path, key="other/server.key")


async def test_files_that_were_replaced_are_used_from_the_second_look_on(tmp_path: Path) -> None:
    tls.write_certificates(tmp_path)
    certificate = loaded(tmp_path)
    old = certificate.context
    await looked_at(certificate, 3)
    assert certificate.context is old, "nothing was changed"
    tls.write_certificates(tmp_path, host="voice.example.org")
    await looked_at(certificate, 1)
    assert certificate.context is old, "whoever writes may not be ready"
    await looked_at(certificate, 1)
    assert certificate.context is not old
    assert certificate.is_for("voice.example.org")
    assert not certificate.problem


async def test_a_link_to_other_files_is_a_change(tmp_path: Path) -> None:
    """certbot and Kubernetes leave the files alone and turn a link."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        tls.write_certificates(tmp_path / name, host=f"{name}.example.org")
    link = tmp_path / "live"
    link.symlink_to("one")
    certificate = loaded(link)
    link.unlink()
    link.symlink_to("two")
    await looked_at(certificate)
    assert certificate.is_for("two.example.org")


@pytest.mark.parametrize("which", ["server.crt", "server.key"])
@pytest.mark.parametrize("left", [0.0, 0.5, 0.95], ids=["empty", "half", "without its end"])
async def test_a_half_written_file_leaves_the_old_certificate_in_use(
    tmp_path: Path, which: str, left: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls.write_certificates(tmp_path)
    certificate = loaded(tmp_path)
    old = certificate.context
    whole = (tmp_path / which).read_bytes()
    (tmp_path / which).write_bytes(whole[: int(len(whole) * left)])
    await looked_at(certificate)
    assert certificate.context is old
    assert "can't be used" in certificate.describe()
    refused: list[StartupError] = []
    monkeypatch.setattr(certificate, "refuse", refused.append)
    await looked_at(certificate, 5)
    assert not refused, "told once, not at each look"
    (tmp_path / which).write_bytes(whole)
    await looked_at(certificate)
    assert certificate.context is not old
    assert not certificate.problem


async def test_files_that_vanish_or_do_not_fit_together_leave_the_old_certificate_in_use(
    tmp_path: Path,
) -> None:
    tls.write_certificates(tmp_path)
    certificate = loaded(tmp_path)
    old, key = certificate.context, (tmp_path / "server.key").read_bytes()
    (tmp_path / "server.key").unlink()
    await looked_at(certificate)
    assert (certificate.context, bool(certificate.problem)) == (old, True)
    tls.write_certificates(tmp_path)
    (tmp_path / "server.key").write_bytes(key)
    await looked_at(certificate)
    assert (certificate.context, bool(certificate.problem)) == (old, True)


async def test_a_reload_reads_the_files_at_once_or_says_what_is_wrong_with_them(tmp_path: Path) -> None:
    tls.write_certificates(tmp_path)
    certificate = loaded(tmp_path)
    watch = CertificateWatch(certificate)
    assert (await watch.read_again())() == ()
    tls.write_certificates(tmp_path, host="voice.example.org")
    (told,) = (await watch.read_again())()
    assert told.startswith("http.tls_certificate: certificate of http valid until 20")
    old = certificate.context
    (tmp_path / "server.crt").write_text("nothing")
    with pytest.raises(StartupError, match="in PEM"):
        await watch.read_again()
    assert certificate.context is old


def test_a_certificate_that_expired_is_not_well(tmp_path: Path) -> None:
    tls.write_certificates(tmp_path)
    later = datetime.now(UTC) + timedelta(days=31)
    certificate = ServerCertificate("http", tmp_path / "server.crt", tmp_path / "server.key")
    assert not CertificateWatch(certificate, None).expired
    old = ServerCertificate("http", tmp_path / "server.crt", tmp_path / "server.key", clock=lambda: later)
    assert CertificateWatch(certificate, old).expired
    assert "expired on" in CertificateWatch(old).describe()
    assert CertificateWatch(None).describe() == ""


@pytest.mark.parametrize("fault", ["a field twice", "an unknown version"])
def test_a_certificate_that_breaks_the_rules_has_no_facts_and_is_used_if_openssl_takes_it(
    tmp_path: Path, fault: str
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.99"), names.public_bytes())
    der = (
        x509.CertificateBuilder()
        .subject_name(tls.name("localhost"))
        .issuer_name(tls.name("localhost"))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(names, critical=False)
        .add_extension(unknown, critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )
    broken = (
        der.replace(b"\x55\x1d\x63", b"\x55\x1d\x11")  # the name of the unknown field, that of the other
        if fault == "a field twice"
        else der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x03")
    )
    assert broken != der
    pem = ssl.DER_cert_to_PEM_cert(broken)
    (tmp_path / "server.crt").write_text(pem)
    (tmp_path / "server.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    with pytest.raises(ValueError, match=r"."):
        Facts.of(first_certificate(pem.encode()))
    if fault == "a field twice":
        with pytest.raises(StartupError, match="can't be used"):
            loaded(tmp_path)
        return
    certificate = loaded(tmp_path)  # OpenSSL takes it
    assert certificate.facts is None
    assert certificate.describe() == "certificate of http valid"
    assert certificate.name_for("192.0.2.1") == "192.0.2.1"


def test_a_certificate_of_an_authority_of_its_own_is_not_public(tmp_path: Path) -> None:
    tls.write_certificates(tmp_path)
    certificate = ServerCertificate("mqtt", tmp_path / "server.crt", tmp_path / "server.key")
    assert certificate.is_for("localhost")
    assert not certificate.is_public_for("localhost")
