"""Checks of TLS: that it is on where it must be, and that certificate and key are good."""

from datetime import timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from mimi_mqtt.cli.security.exposure import farthest
from mimi_mqtt.cli.security.files import mode_of
from mimi_mqtt.cli.security.finding import Finding
from mimi_mqtt.cli.security.machine import Machine
from mimi_mqtt.cli.security.reach import WORDS, Reach
from mimi_mqtt.config import Settings

EXPIRES_SOON: Final = timedelta(days=30)
SMALLEST_RSA_BITS: Final = 2_048
DEVELOPMENT_CA: Final = "development CA"
"""In the name of the authority that scripts/make-certs makes."""


def examine(settings: Settings, machine: Machine) -> list[Finding]:
    """Findings about TLS."""
    certificate, key = settings.mqtt.tls_certificate, settings.mqtt.tls_key
    if certificate is None or key is None:
        return [_off(farthest(settings, machine))]
    try:
        chain = x509.load_pem_x509_certificates(certificate.read_bytes())
    except (OSError, ValueError) as error:
        seen = f"{certificate} can't be read: {error}"
        return [Finding("warning", "certificate", seen, "mend mqtt.tls_certificate"), *_key_file(key)]
    own = chain[0]
    return [
        _time(certificate, own, machine),
        _issuer(certificate, own),
        *_strength(certificate, own),
        *_name(own, settings.server.public_host),
        *_key_file(key),
        *_pair(certificate, own, key),
    ]


def _off(reach: Reach) -> Finding:
    if reach is Reach.MACHINE:
        return Finding("ok", "TLS", "off; only this machine can connect")
    seen = f"off: passwords and messages of MQTT cross {WORDS[reach]} in clear"
    # Stock devices refuse all others (device contract, section 1): one made at home would not be used.
    cure = "set mqtt.tls_certificate and mqtt.tls_key to a certificate of a public authority and its key"
    if reach is Reach.INTERNET:
        return Finding("warning", "TLS", seen, cure)
    return Finding("advice", "TLS", seen, f"leave it so if you trust everyone on it; else {cure}")


def _time(path: Path, own: x509.Certificate, machine: Machine) -> Finding:
    begins, ends = own.not_valid_before_utc, own.not_valid_after_utc
    if machine.now < begins:
        return Finding(
            "warning", "certificate", f"{path} is valid from {begins:%Y-%m-%d} only", "set the clock"
        )
    if machine.now > ends:
        return Finding(
            "warning", "certificate", f"{path} expired on {ends:%Y-%m-%d}", "renew it, and restart"
        )
    if ends - machine.now < EXPIRES_SOON:
        days = (ends - machine.now).days
        return Finding("warning", "certificate", f"{path} expires in {days} days", "renew it, and restart")
    return Finding("ok", "certificate", f"{path}, valid until {ends:%Y-%m-%d}")


def _issuer(path: Path, own: x509.Certificate) -> Finding:
    issuer = own.issuer.rfc4514_string()
    if own.issuer == own.subject or DEVELOPMENT_CA in issuer:
        kind = "a development" if DEVELOPMENT_CA in issuer else "a self-signed"
        seen = (
            f"{path} is {kind} certificate: stock devices refuse it, and others must be given its authority"
        )
        return Finding("advice", "certificate's issuer", seen, "use a certificate of a public authority")
    return Finding("ok", "certificate's issuer", issuer)


def _strength(path: Path, own: x509.Certificate) -> list[Finding]:
    key = own.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < SMALLEST_RSA_BITS:
        seen = f"{path} has an RSA key of {key.key_size} bits only"
        cure = f"make a new one, of {SMALLEST_RSA_BITS} bits or on an elliptic curve"
        return [Finding("warning", "certificate's key", seen, cure)]
    return []


def _name(own: x509.Certificate, host: str | None) -> list[Finding]:
    """Finds a certificate that does not name the host that devices are told."""
    if host is None:
        return []
    try:
        names = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        known: list[str] = []
    else:
        known = [
            *names.get_values_for_type(x509.DNSName),
            *map(str, names.get_values_for_type(x509.IPAddress)),
        ]
    wanted = host.lower().rstrip(".")
    parent = wanted.partition(".")[2]
    if any(name.lower() in (wanted, f"*.{parent}") for name in known):
        return [Finding("ok", "certificate's names", f"{host} is one of them")]
    cure = f"use a certificate for {host}: clients that verify it refuse this one"
    return [Finding("warning", "certificate's names", f"{', '.join(known) or 'none'}; not {host}", cure)]


def _key_file(key: Path) -> list[Finding]:
    mode = mode_of(key)
    if mode is None:
        return [Finding("warning", "TLS key", f"{key} can't be seen", "mend mqtt.tls_key")]
    if mode & 0o077:
        return [
            Finding("warning", "TLS key", f"{key} is open to others (mode {mode:04o})", f"chmod 600 {key}")
        ]
    return [Finding("ok", "TLS key", f"{key}, mode {mode:04o}")]


def _pair(certificate: Path, own: x509.Certificate, key: Path) -> list[Finding]:
    """Finds a key that is not the certificate's. One that can't be read, or has a passphrase, is left."""
    try:
        private = load_pem_private_key(key.read_bytes(), None)
    except (OSError, ValueError, TypeError):
        return []
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*form) == own.public_key().public_bytes(*form):
        return []
    seen = f"{key} does not belong to {certificate}"
    return [Finding("warning", "TLS key", seen, "set mqtt.tls_certificate and mqtt.tls_key to one pair")]
