"""Checks of TLS: that it is on where it must be, and that certificate and key are good."""

from dataclasses import replace
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
from mimi_mqtt.tls.certificate import Facts, first_certificate

SMALLEST_RSA_BITS: Final = 2_048
DEVELOPMENT_CA: Final = "development CA"
"""In the name of the authority that scripts/make-certs makes."""


def examine(settings: Settings, machine: Machine) -> list[Finding]:
    """Findings about TLS: of MQTT, and of HTTP where that has a certificate."""
    mqtt, http, host = settings.mqtt, settings.http, settings.server.public_host
    if mqtt.tls_certificate is None or mqtt.tls_key is None:
        findings = [_off(farthest(settings, machine))]
    else:
        findings = _pair_of("mqtt", mqtt.tls_certificate, mqtt.tls_key, host, machine)
    if http.tls_certificate is not None and http.tls_key is not None:
        of_http = _pair_of("http", http.tls_certificate, http.tls_key, host, machine)
        findings += [replace(finding, what=f"{finding.what} (HTTP)") for finding in of_http]
    return findings


def _pair_of(section: str, certificate: Path, key: Path, host: str | None, machine: Machine) -> list[Finding]:
    try:
        own = first_certificate(certificate.read_bytes())
        facts = Facts.of(own)
    except (OSError, ValueError) as error:
        seen = f"{certificate} can't be read: {error}"
        cure = f"mend {section}.tls_certificate"
        return [Finding("warning", "certificate", seen, cure), *_key_file(section, key)]
    return [
        _time(certificate, facts, machine),
        _issuer(certificate, own),
        *_strength(certificate, own),
        *_name(facts, host),
        *_key_file(section, key),
        *_pair(section, certificate, own, key),
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


def _time(path: Path, facts: Facts, machine: Machine) -> Finding:
    if warning := facts.warning(machine.now):
        cure = "set the clock" if machine.now < facts.begins else "renew it: the server reads it by itself"
        return Finding("warning", "certificate", f"{path} {warning}", cure)
    return Finding("ok", "certificate", f"{path}, valid until {facts.ends:%Y-%m-%d}")


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


def _name(facts: Facts, host: str | None) -> list[Finding]:
    """Finds a certificate that does not name the host that devices are told."""
    if host is None:
        return []
    if facts.fits(host):
        return [Finding("ok", "certificate's names", f"{host} is one of them")]
    cure = f"use a certificate for {host}: clients that verify it refuse this one"
    seen = f"{', '.join(facts.names) or 'none'}; not {host}"
    return [Finding("warning", "certificate's names", seen, cure)]


def _key_file(section: str, key: Path) -> list[Finding]:
    mode = mode_of(key)
    if mode is None:
        return [Finding("warning", "TLS key", f"{key} can't be seen", f"mend {section}.tls_key")]
    if mode & 0o077:
        return [
            Finding("warning", "TLS key", f"{key} is open to others (mode {mode:04o})", f"chmod 600 {key}")
        ]
    return [Finding("ok", "TLS key", f"{key}, mode {mode:04o}")]


def _pair(section: str, certificate: Path, own: x509.Certificate, key: Path) -> list[Finding]:
    """Finds a key that is not the certificate's. One that can't be read, or has a passphrase, is left."""
    try:
        private = load_pem_private_key(key.read_bytes(), None)
    except (OSError, ValueError, TypeError):
        return []
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*form) == own.public_key().public_bytes(*form):
        return []
    seen = f"{key} does not belong to {certificate}"
    return [
        Finding(
            "warning", "TLS key", seen, f"set {section}.tls_certificate and {section}.tls_key to one pair"
        )
    ]
