"""A certificate for servers on 127.0.0.1 whose clients insist on TLS; made once in a test run."""

import atexit
import shutil
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    is_ca: bool,
    ends_in: timedelta = timedelta(days=30),
    host: str = "localhost",
) -> bytes:
    """One for 127.0.0.1 and `host`, in PEM."""
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1")), x509.DNSName(host)])
    made = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=60))
        .not_valid_after(now + ends_in)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(names, critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


def write_certificates(
    folder: Path, ends_in: timedelta = timedelta(days=30), host: str = "localhost"
) -> None:
    """`ca.crt`, `server.crt` and `server.key`, of an authority of their own."""
    ca, server = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    (folder / "ca.crt").write_bytes(certificate("test CA", ca, "test CA", ca, True))
    (folder / "server.crt").write_bytes(certificate("localhost", server, "test CA", ca, False, ends_in, host))
    (folder / "server.key").write_bytes(
        server.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="test-certificates-"))
    atexit.register(shutil.rmtree, folder)
    write_certificates(folder)
    return folder


def authority() -> Path:
    """The file of the authority that has signed `server_context`'s certificate."""
    return _folder() / "ca.crt"


def server_context() -> ssl.SSLContext:
    """The TLS context of a server on 127.0.0.1."""
    folder = _folder()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    return context
