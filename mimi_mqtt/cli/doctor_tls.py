"""The doctor's look at TLS: certificates in their files, and the one that the running server shows."""

import asyncio
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding

from mimi_mqtt.cli.device.trust import Trust
from mimi_mqtt.cli.finding import Finding, Grade
from mimi_mqtt.config import Settings
from mimi_mqtt.tls.certificate import Facts, first_certificate

_TIMEOUT_S: Final = 5.0


def certificates(settings: Settings) -> Iterator[Finding]:
    """The certificates of MQTT and of HTTP, as they lie in their files."""
    paths: dict[Path, list[str]] = {}
    for section, path in (("mqtt", settings.mqtt.tls_certificate), ("http", settings.http.tls_certificate)):
        if path is not None:
            paths.setdefault(path, []).append(section)
    if not paths:
        yield Finding("ok", "TLS", "off")
    for path, sections in paths.items():
        yield from _certificate(path, "certificate of " + " and ".join(sections))


def _certificate(path: Path, what: str) -> Iterator[Finding]:
    try:
        own = first_certificate(path.read_bytes())
        facts = Facts.of(own)
    except (OSError, ValueError) as error:
        yield Finding("fail", what, f"{path}: {error}", "run scripts/make-certs, or mend the path")
        return
    now = datetime.now(UTC)
    if warning := facts.warning(now):
        grade: Grade = "warn" if facts.begins <= now < facts.ends else "fail"
        yield Finding(grade, what, f"{path} {warning}", "renew it: the server reads it by itself")
        return
    yield Finding("ok", what, f"{path}, valid until {facts.ends:%Y-%m-%d}")
    if own.issuer == own.subject or "development CA" in own.issuer.rfc4514_string():
        cure = "for them use a certificate of a real domain name, or http:// and plain MQTT"
        yield Finding("warn", what, "stock devices accept public authorities only", cure)


async def https(settings: Settings, host: str) -> Finding | None:
    """The TLS of the running server's HTTP port at `host`; None when it has no certificate."""
    path = settings.http.tls_certificate
    if path is None:
        return None
    port = settings.http.bind.port
    try:
        shown, version = await asyncio.to_thread(_shown, host, port)
    except OSError as error:
        reason = str(error) or type(error).__name__
        return Finding("fail", "HTTPS", f"{host}:{port} does not speak TLS: {reason}", "restart the server")
    try:
        stored = first_certificate(path.read_bytes()).public_bytes(Encoding.DER)
    except (OSError, ValueError) as error:
        return Finding("warn", "HTTPS", f"{path} can't be compared: {error}", "mend http.tls_certificate")
    if shown != stored:
        detail = f"the server shows another certificate than {path}"
        return Finding("warn", "HTTPS", detail, "mimi-mqtt reload, which tells why it is not taken over")
    return Finding("ok", "HTTPS", f"{host}:{port} speaks {version} with {path}")


def _shown(host: str, port: int) -> tuple[bytes, str]:
    """The certificate that is shown, in DER, and the version of TLS."""
    with (
        socket.create_connection((host, port), timeout=_TIMEOUT_S) as plain,
        Trust(insecure=True).context().wrap_socket(plain, server_hostname=host) as secure,
    ):
        return secure.getpeercert(binary_form=True) or b"", secure.version() or "TLS"


def ota_address(settings: Settings, host: str, *, tls: bool | None = None) -> str:
    """The OTA address at `host`: over TLS if `tls`, by default only where nothing else is served."""
    secure = not settings.http.plain if tls is None else tls
    scheme = "https" if secure else "http"
    return f"{scheme}://{host}:{settings.http.bind.port}/xiaozhi/ota/"


def certified_host(path: Path, host: str) -> str:
    """The host that devices name in an https address: `host` unless the certificate is for others alone."""
    try:
        own = first_certificate(path.read_bytes())
        return Facts.of(own).name_for(host)
    except (OSError, ValueError):
        return host
